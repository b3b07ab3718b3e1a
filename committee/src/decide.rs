//! Deciding the openings of a height from members' shares.
//!
//! Per position, with the shares of at least t members: combine t of them, unwrap, decrypt, seal again. Equal
//! bytes open the position. Otherwise the combined secret is checked in public; if it holds, the envelope
//! is undecryptable, if not, shares are checked one by one, wrong ones blamed, and others combined.
//! [`blindfold_crypto::decide_all`] does that for many positions at once; this module runs it over a height.
//!
//! Which shares were used never shows in the result: an opening that re-seals to the envelope's bytes is
//! unique, and so is the secret that satisfies the pairing equation.

use blindfold_crypto::{Column, CommitteePublic, Opening, Share, Verdict};
use blindfold_wire::{
    CheckedEnvelope,
    opened::{OpenedBatch, OpenedBatchError},
};

use crate::{
    batch::SealedBatch,
    parallel::{chunk_len, for_each_in_order},
};

/// Positions that one thread decides together.
const CHUNK_POSITIONS: usize = 128;

/// A member's share that does not satisfy its pairing equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blame {
    /// The member.
    pub member: u32,
    /// The position of the wrong share.
    pub position: usize,
}

/// One member's shares for every position of a height.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'a> {
    /// The member.
    pub member: u32,
    /// Its shares by position.
    pub shares: &'a [Share],
}

/// What could be decided of a height. Only [`decide_batch`] and
/// [`DecideJob::run`](crate::DecideJob::run) make one.
#[derive(Debug)]
pub struct DecidedBatch {
    batch: SealedBatch,
    openings: Vec<Option<Opening>>,
    blamed: Vec<Blame>,
}

impl DecidedBatch {
    /// The height it belongs to.
    pub fn batch(&self) -> &SealedBatch {
        &self.batch
    }

    /// The openings by position; `None` where fewer than t shares are right.
    pub fn openings(&self) -> &[Option<Opening>] {
        &self.openings
    }

    /// Every wrong share that was found, by member, then position. A member with wrong shares that were
    /// never needed is not among them.
    pub fn blamed(&self) -> &[Blame] {
        &self.blamed
    }

    /// The positions still sealed.
    pub fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        self.openings
            .iter()
            .enumerate()
            .filter(|(_, opening)| opening.is_none())
            .map(|(position, _)| position)
    }

    /// Whether every position is decided.
    pub fn is_complete(&self) -> bool {
        self.openings.iter().all(Option::is_some)
    }

    /// The opened batch, or `self` back while positions are missing.
    ///
    /// # Errors
    ///
    /// The inner error says that the openings do not fit the commitment, which [`SealedBatch`] rules out.
    pub fn into_opened(self) -> Result<Result<OpenedBatch, OpenedBatchError>, Box<Self>> {
        if !self.is_complete() {
            return Err(Box::new(self));
        }
        let items = self
            .batch
            .envelopes()
            .iter()
            .cloned()
            .zip(self.openings.into_iter().flatten())
            .collect();
        Ok(OpenedBatch::new(self.batch.certified().clone(), items))
    }
}

/// Decides every position of `batch` from `contributions`, on up to `threads` threads.
///
/// Contributions of members that do not exist, of members named twice and with another number of shares than
/// the height has are left out. The result does not depend on `threads`.
pub fn decide_batch(
    public: &CommitteePublic,
    batch: &SealedBatch,
    contributions: &[Contribution<'_>],
    threads: usize,
) -> DecidedBatch {
    decide_rest(public, batch, vec![None; batch.len()], contributions, threads, &mut |_| {})
}

/// A position that was just opened, or found to be undecryptable.
#[derive(Clone, Copy, Debug)]
pub struct OpenedPosition<'a> {
    /// Its place in the certified order.
    pub position: usize,
    /// The envelope.
    pub envelope: &'a CheckedEnvelope,
    /// What it held.
    pub opening: &'a Opening,
}

/// Some positions of a height, opened while others still are not.
#[derive(Debug)]
pub struct OpenedChunk<'a> {
    /// Ascending. A position for which there were too few right shares is left out.
    pub positions: Vec<OpenedPosition<'a>>,
    /// Positions that come in later chunks.
    pub to_come: usize,
}

/// As [`decide_batch`], for the positions that `decided` leaves open. Hands each chunk to `opened` in order,
/// on this thread, while other threads go on.
pub(crate) fn decide_rest(
    public: &CommitteePublic,
    batch: &SealedBatch,
    mut decided: Vec<Option<Opening>>,
    contributions: &[Contribution<'_>],
    threads: usize,
    opened: &mut dyn FnMut(OpenedChunk<'_>),
) -> DecidedBatch {
    decided.resize(batch.len(), None);
    let usable = usable(public, batch, contributions);
    let open: Vec<usize> = decided
        .iter()
        .enumerate()
        .filter(|(_, opening)| opening.is_none())
        .map(|(position, _)| position)
        .collect();
    let chunks: Vec<&[usize]> =
        open.chunks(chunk_len(open.len(), threads, CHUNK_POSITIONS)).collect();
    let mut blamed = Vec::new();
    let mut to_come = open.len();
    for_each_in_order(
        chunks.len(),
        threads,
        |chunk| decide_chunk(public, batch, chunks[chunk], &usable),
        |chunk, verdicts| {
            to_come -= chunks[chunk].len();
            for (position, verdict) in chunks[chunk].iter().zip(verdicts) {
                decided[*position] = verdict.opening;
                let wrong =
                    verdict.blamed.into_iter().filter_map(|member| u32::try_from(member).ok());
                blamed.extend(wrong.map(|member| Blame { member, position: *position }));
            }
            let position = |position: &usize| {
                let opening = decided[*position].as_ref()?;
                let envelope = &batch.envelopes()[*position];
                Some(OpenedPosition { position: *position, envelope, opening })
            };
            let positions = chunks[chunk].iter().filter_map(position).collect();
            opened(OpenedChunk { positions, to_come });
        },
    );
    blamed.sort_unstable();
    DecidedBatch { batch: batch.clone(), openings: decided, blamed }
}

/// Decides some positions together, which costs less than one by one.
fn decide_chunk(
    public: &CommitteePublic,
    batch: &SealedBatch,
    positions: &[usize],
    contributions: &[(usize, &[Share])],
) -> Vec<Verdict> {
    let items: Vec<_> = positions
        .iter()
        .map(|position| {
            let envelope = &batch.envelopes()[*position];
            (envelope.label(), &envelope.envelope().ciphertext)
        })
        .collect();
    let shares: Vec<(usize, Vec<Share>)> = contributions
        .iter()
        .map(|(member, shares)| {
            (*member, positions.iter().map(|position| shares[*position]).collect())
        })
        .collect();
    let columns: Vec<_> =
        shares.iter().map(|(member, shares)| Column { member: *member, shares }).collect();
    blindfold_crypto::decide_all(public, &items, &columns)
}

fn usable<'a>(
    public: &CommitteePublic,
    batch: &SealedBatch,
    contributions: &[Contribution<'a>],
) -> Vec<(usize, &'a [Share])> {
    let mut usable: Vec<(usize, &[Share])> = Vec::with_capacity(contributions.len());
    for contribution in contributions {
        let Ok(member) = usize::try_from(contribution.member) else { continue };
        let known = member < public.members() && !usable.iter().any(|(seen, _)| *seen == member);
        if known && contribution.shares.len() == batch.len() {
            usable.push((member, contribution.shares));
        }
    }
    usable
}
