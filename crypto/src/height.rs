//! Opening many positions from the shares of the same members: the verdicts of [`decide`], sooner.
//!
//! ```text
//! decode ─ positions with the same first t members ─ combine abreast ─ unwrap, decrypt, seal again abreast
//!                                                                             │ other bytes
//!                     undecryptable ◀─ yes ─ all secrets right, in one equation? ◀─┘
//!                                                     │ no
//!              combine right ones, blame others ◀─ check all shares (`blame`)
//! ```
//!
//! What goes through abreast is what honest wallets and members make. Both ways accept an opening only when
//! sealing again gives the same bytes, so it does not matter for the result which way a position went.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::blame::{Decoded, check_all, secrets_hold};
use crate::comb::{Digits, WINDOWS};
use crate::committee::CommitteePublic;
use crate::domain;
use crate::group::CurvePoint;
use crate::hash::keccak;
use crate::key::Label;
use crate::lagrange::Interpolation;
use crate::lanes::{LANES, Lanes};
use crate::open::{Opening, Verdict, decide, decide_knowing};
use crate::orders::{Soundness, outside_subgroup};
use crate::pad;
use crate::seal::{Ciphertext, Points, Scalars, assemble, bases, decrypt_body, mask_seed};
use crate::share::Share;

/// Positions whose shares are decoded, and checked if need be, together: bounds the memory.
const CHUNK_POSITIONS: usize = 512;
/// Fewer positions that do not open are settled one by one.
const FEWEST_POSITIONS: usize = 2;

/// One member's shares, in the order of the positions.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// The member.
    pub member: usize,
    /// Its shares: one for each position.
    pub shares: &'a [Share],
}

/// Decides many positions from the shares of the same members, with the verdicts of [`decide`], in order.
///
/// Each of `items` must have passed [`crate::verify`] for its label. Columns of members outside the
/// committee, second columns of one member, and columns of another length than `items` are ignored. Runs
/// on the calling thread: split positions to use more.
pub fn decide_all(
    public: &CommitteePublic,
    items: &[(&Label, &Ciphertext)],
    columns: &[Column<'_>],
) -> Vec<Verdict> {
    let usable = usable(public, items.len(), columns);
    let mut lanes = Lanes::default();
    let mut verdicts = Vec::with_capacity(items.len());
    for (number, items) in items.chunks(CHUNK_POSITIONS).enumerate() {
        let begin = number * CHUNK_POSITIONS;
        let columns: Vec<_> = usable
            .iter()
            .map(|column| Column {
                member: column.member,
                shares: &column.shares[begin..begin + items.len()],
            })
            .collect();
        verdicts.extend(Chunk::new(public, items, &columns).decide(&mut lanes));
    }
    verdicts
}

/// Columns of distinct members of the committee, with `positions` shares each.
pub(crate) fn usable<'a>(
    public: &CommitteePublic,
    positions: usize,
    columns: &[Column<'a>],
) -> Vec<Column<'a>> {
    let mut usable: Vec<Column<'_>> = Vec::with_capacity(columns.len());
    for column in columns {
        let known = column.member < public.members()
            && usable.iter().all(|seen| seen.member != column.member);
        if known && column.shares.len() == positions {
            usable.push(*column);
        }
    }
    usable
}

/// Some positions with everybody's decoded shares.
struct Chunk<'a> {
    public: &'a CommitteePublic,
    items: &'a [(&'a Label, &'a Ciphertext)],
    shares: &'a [Column<'a>],
    columns: Vec<Decoded>,
}

/// A position that did not open from the shares at hand, and the secret that they combine to.
struct Unopened {
    position: usize,
    secret: CurvePoint,
}

impl<'a> Chunk<'a> {
    fn new(
        public: &'a CommitteePublic,
        items: &'a [(&'a Label, &'a Ciphertext)],
        shares: &'a [Column<'a>],
    ) -> Self {
        let columns = shares.iter().map(Decoded::from_column);
        Self { public, items, shares, columns: columns.collect() }
    }

    fn decide(&self, lanes: &mut Lanes) -> Vec<Verdict> {
        let mut verdicts: Vec<_> = (0..self.items.len())
            .map(|position| Verdict { opening: None, blamed: self.undecodable(position) })
            .collect();
        let mut unopened = Vec::new();
        for (columns, positions) in self.first_quorums() {
            let plan = Interpolation::of_secret(&self.members(&columns));
            for positions in positions.chunks(LANES) {
                let secrets = self.interpolate(lanes, &plan, &columns, positions);
                let opened = self.open(lanes, positions, &secrets);
                for ((position, opening), secret) in positions.iter().zip(opened).zip(secrets) {
                    match opening {
                        Some(_) => verdicts[*position].opening = opening,
                        None => unopened.push(Unopened { position: *position, secret }),
                    }
                }
            }
        }
        self.settle(lanes, unopened, &mut verdicts);
        verdicts
    }

    /// Positions by the columns of the first members, as many as the threshold, whose shares decode there.
    fn first_quorums(&self) -> BTreeMap<Vec<usize>, Vec<usize>> {
        let threshold = self.public.threshold();
        let mut quorums = BTreeMap::<Vec<usize>, Vec<usize>>::new();
        let mut quorum = Vec::with_capacity(threshold);
        for position in 0..self.items.len() {
            quorum.clear();
            quorum.extend(
                (0..self.columns.len())
                    .filter(|column| !self.columns[*column].points[position].is_infinity())
                    .take(threshold),
            );
            if quorum.len() < threshold {
                continue;
            }
            // Most positions have the same: nothing is allocated for them.
            match quorums.get_mut(quorum.as_slice()) {
                Some(positions) => positions.push(position),
                None => {
                    quorums.insert(quorum.clone(), vec![position]);
                }
            }
        }
        quorums
    }

    fn members(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().map(|column| self.columns[*column].member).collect()
    }

    /// Members whose shares do not decode at a position.
    fn undecodable(&self, position: usize) -> Vec<usize> {
        let undecodable =
            self.columns.iter().filter(|column| column.points[position].is_infinity());
        let mut members: Vec<_> = undecodable.map(|column| column.member).collect();
        members.sort_unstable();
        members
    }

    fn interpolate(
        &self,
        lanes: &mut Lanes,
        plan: &Interpolation,
        columns: &[usize],
        positions: &[usize],
    ) -> Vec<CurvePoint> {
        let points: Vec<Vec<_>> = columns
            .iter()
            .map(|column| {
                positions.iter().map(|position| self.columns[*column].points[*position]).collect()
            })
            .collect();
        plan.evaluate(lanes, &points.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn open(
        &self,
        lanes: &mut Lanes,
        positions: &[usize],
        secrets: &[CurvePoint],
    ) -> Vec<Option<Opening>> {
        let items: Vec<_> = positions.iter().map(|position| self.items[*position]).collect();
        open_abreast(self.public, &items, secrets, lanes)
    }

    /// Finds out why positions did not open: undecryptable, or wrong shares. Blames, and opens what can be.
    fn settle(&self, lanes: &mut Lanes, unopened: Vec<Unopened>, verdicts: &mut [Verdict]) {
        // An invalid u is the caller's mistake; nobody is blamed for what it leads to.
        let us: Vec<_> = unopened
            .iter()
            .map(|unopened| {
                CurvePoint::from_compressed(&self.items[unopened.position].1.u).unwrap_or_default()
            })
            .collect();
        let bytes: Vec<u8> =
            unopened.iter().flat_map(|unopened| self.items[unopened.position].1.u).collect();
        let seed = keccak(domain::ORDERS, &[&[2], &bytes]);
        let valid = outside_subgroup(lanes, &us, &seed, Soundness::Bits128).is_empty()
            && us.iter().all(|u| !u.is_infinity());
        if unopened.len() < FEWEST_POSITIONS || !valid {
            for Unopened { position, .. } in unopened {
                verdicts[position] = self.decide_alone(position);
            }
            return;
        }
        let secrets: Vec<_> = unopened.iter().map(|unopened| unopened.secret).collect();
        if secrets_hold(self.public, lanes, &us, &secrets) {
            for Unopened { position, secret } in unopened {
                verdicts[position].opening = Some(undecryptable(&secret));
            }
            return;
        }

        let positions: Vec<_> = unopened.iter().map(|unopened| unopened.position).collect();
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| Decoded {
                member: column.member,
                points: positions.iter().map(|position| column.points[*position]).collect(),
            })
            .collect();
        let truth = check_all(self.public, lanes, &us, &columns);
        let Some(quorum) = &truth.quorum else {
            for (at, position) in positions.iter().enumerate() {
                verdicts[*position] =
                    self.decide_knowing(*position, |column| truth.right[column][at]);
            }
            return;
        };
        let plan = Interpolation::of_secret(&self.members(quorum));
        let secrets: Vec<_> = positions
            .chunks(LANES)
            .flat_map(|positions| self.interpolate(lanes, &plan, quorum, positions))
            .collect();
        let opened: Vec<_> = positions
            .chunks(LANES)
            .zip(secrets.chunks(LANES))
            .flat_map(|(positions, secrets)| self.open(lanes, positions, secrets))
            .collect();
        // One equation for what is undecryptable. It holds, for the shares were checked.
        let (closed_us, closed): (Vec<_>, Vec<_>) = us
            .iter()
            .zip(&secrets)
            .zip(&opened)
            .filter(|(_, opening)| opening.is_none())
            .map(|((u, secret), _)| (*u, *secret))
            .unzip();
        let holds = closed.is_empty() || secrets_hold(self.public, lanes, &closed_us, &closed);
        for (at, opening) in opened.into_iter().enumerate() {
            let Unopened { position, secret } = unopened[at];
            let verdict = &mut verdicts[position];
            if secret != secrets[at] {
                self.blame(position, |column| truth.right[column][at], &mut verdict.blamed);
            }
            verdict.opening = match opening {
                None if holds => Some(undecryptable(&secrets[at])),
                None => self.decide_alone(position).opening,
                opening => opening,
            };
        }
    }

    /// Goes through the shares of a position until enough are right, as [`decide`] does.
    fn blame(&self, position: usize, right: impl Fn(usize) -> bool, blamed: &mut Vec<usize>) {
        let mut good = 0;
        for (column, decoded) in self.columns.iter().enumerate() {
            if good == self.public.threshold() {
                break;
            }
            if right(column) {
                good += 1;
            } else if !decoded.points[position].is_infinity() {
                blamed.push(decoded.member);
            }
        }
        blamed.sort_unstable();
    }

    fn decide_alone(&self, position: usize) -> Verdict {
        let (label, sealed) = self.items[position];
        decide(self.public, label, sealed, &self.shares_at(position))
    }

    /// As [`decide`], when it is known which shares are right.
    fn decide_knowing(&self, position: usize, right: impl Fn(usize) -> bool) -> Verdict {
        let (label, sealed) = self.items[position];
        decide_knowing(self.public, label, sealed, &self.shares_at(position), |member, _| {
            self.columns.iter().position(|column| column.member == member).is_some_and(&right)
        })
    }

    fn shares_at(&self, position: usize) -> Vec<(usize, Share)> {
        self.shares.iter().map(|column| (column.member, column.shares[position])).collect()
    }
}

fn undecryptable(secret: &CurvePoint) -> Opening {
    Opening::Undecryptable { secret: secret.to_compressed() }
}

/// A position that decrypts, and what has to be sealed again.
struct Candidate {
    offset: usize,
    seed: Zeroizing<[u8; 32]>,
    padded: Zeroizing<Vec<u8>>,
    scalars: Scalars,
    digits: [Digits; 5],
}

/// The openings of the positions that the secrets open.
fn open_abreast(
    public: &CommitteePublic,
    items: &[(&Label, &Ciphertext)],
    secrets: &[CurvePoint],
    lanes: &mut Lanes,
) -> Vec<Option<Opening>> {
    let candidates: Vec<Candidate> = items
        .iter()
        .zip(secrets)
        .enumerate()
        .filter_map(|(offset, ((label, sealed), secret))| {
            let secret = secret.to_compressed();
            let seed = Zeroizing::new(mask_seed(&sealed.wrapped_seed, &secret, &sealed.u, label));
            let padded = Zeroizing::new(decrypt_body(&seed, label, sealed)?);
            pad::unpad(&padded)?;
            let scalars = Scalars::derive(public.key(), label, &seed, &padded).ok()?;
            let digits = scalars.digits();
            Some(Candidate { offset, seed, padded, scalars, digits })
        })
        .collect();

    // The five points of each candidate side by side, so that all share each inversion.
    let bases = bases(public.key());
    let mut points = vec![CurvePoint::default(); candidates.len() * bases.len()];
    for window in 0..WINDOWS {
        lanes.add(&mut points, |lane| {
            let (candidate, base) = (&candidates[lane / bases.len()], lane % bases.len());
            bases[base].multiple(window, &candidate.digits[base])
        });
    }

    let mut opened = vec![None; items.len()];
    for (candidate, points) in candidates.into_iter().zip(points.chunks_exact(bases.len())) {
        let Candidate { offset, seed, padded, scalars, .. } = candidate;
        let (label, sealed) = items[offset];
        let Ok(points) = points.try_into().map(Points::of_affine) else { continue };
        let again = assemble(public.key(), label, &seed, &padded, &scalars, &points);
        if again == *sealed
            && let Some(message) = pad::unpad(&padded)
        {
            opened[offset] = Some(Opening::Opened { seed: *seed, message: message.to_vec() });
        }
    }
    opened
}
