//! Opening many positions from the shares of the same members: the verdicts of [`decide`], sooner.
//!
//! ```text
//! chunk of positions ─ decode t columns of shares ─ combine abreast ─ unwrap, decrypt ─ seal again abreast
//!                            │ a share does not decode                     │ fails          │ other bytes
//!                            └──────────────────────────▶ position alone ◀─┴────────────────┘
//! ```
//!
//! What goes through abreast is what honest wallets and members make. A position that does not open that
//! way is decided alone, with blame. Both ways accept an opening only when sealing again gives the same
//! bytes, so it does not matter for the result which way a position went.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::comb::{Digits, WINDOWS};
use crate::committee::CommitteePublic;
use crate::group::CurvePoint;
use crate::key::Label;
use crate::lagrange::Interpolation;
use crate::lanes::{LANES, Lanes};
use crate::open::{Opening, Verdict, decide};
use crate::pad;
use crate::seal::{Ciphertext, Points, Scalars, assemble, bases, decrypt_body, mask_seed};
use crate::share::Share;

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
    let mut usable: Vec<Column<'_>> = Vec::with_capacity(columns.len());
    for column in columns {
        let known = column.member < public.members()
            && usable.iter().all(|seen| seen.member != column.member);
        if known && column.shares.len() == items.len() {
            usable.push(*column);
        }
    }
    let quorum: Vec<_> =
        usable.iter().take(public.threshold()).map(|column| column.member).collect();
    let plan = (quorum.len() == public.threshold()).then(|| Interpolation::new(&quorum));
    let mut lanes = Lanes::default();
    let mut verdicts = Vec::with_capacity(items.len());
    for (chunk, items) in items.chunks(LANES).enumerate() {
        let positions = chunk * LANES..chunk * LANES + items.len();
        let shares: Vec<_> =
            usable.iter().map(|column| decode(column, positions.clone())).collect();
        let opened = match &plan {
            Some(plan) => open_abreast(public, items, &shares[..quorum.len()], plan, &mut lanes),
            None => vec![None; items.len()],
        };
        for ((offset, opening), (label, sealed)) in opened.into_iter().enumerate().zip(items) {
            verdicts.push(match opening {
                Some(_) => Verdict { opening, blamed: undecodable(&shares, offset) },
                None => {
                    let shares: Vec<_> = usable
                        .iter()
                        .map(|column| (column.member, column.shares[positions.start + offset]))
                        .collect();
                    decide(public, label, sealed, &shares)
                }
            });
        }
    }
    verdicts
}

/// One member's points at some positions; infinity, which no share is, where one does not decode.
struct Decoded {
    member: usize,
    points: Vec<CurvePoint>,
}

fn decode(column: &Column<'_>, positions: Range<usize>) -> Decoded {
    let points = column.shares[positions].iter().map(|share| share.decode().unwrap_or_default());
    Decoded { member: column.member, points: points.collect() }
}

fn undecodable(shares: &[Decoded], offset: usize) -> Vec<usize> {
    let mut members: Vec<_> = shares
        .iter()
        .filter(|column| column.points[offset].is_infinity())
        .map(|column| column.member)
        .collect();
    members.sort_unstable();
    members
}

/// A position that decrypts, and what has to be sealed again.
struct Candidate {
    offset: usize,
    seed: Zeroizing<[u8; 32]>,
    padded: Zeroizing<Vec<u8>>,
    scalars: Scalars,
    digits: [Digits; 5],
}

/// The openings of the positions at which the shares of the first `threshold` members are right and
/// the sealing was made by the rules.
fn open_abreast(
    public: &CommitteePublic,
    items: &[(&Label, &Ciphertext)],
    shares: &[Decoded],
    plan: &Interpolation,
    lanes: &mut Lanes,
) -> Vec<Option<Opening>> {
    let columns: Vec<&[CurvePoint]> = shares.iter().map(|column| &*column.points).collect();
    let secrets = plan.at_zero(lanes, &columns);
    let candidates: Vec<Candidate> = items
        .iter()
        .zip(&secrets)
        .enumerate()
        .filter(|(offset, _)| columns.iter().all(|points| !points[*offset].is_infinity()))
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
