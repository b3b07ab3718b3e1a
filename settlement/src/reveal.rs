//! Answers to challenges: who shows on L1 what a batch stands for, when, and with which call.
//!
//! ```text
//!  deadline − window          ¼                            ¾      deadline
//!  ├── the poster itself ─────┼─ the other members in turn ┼─────────┤ failReveal: its stake is gone
//!  challenged                 next seat  the one after  …
//! ```
//!
//! L1 takes an answer from anyone, and what it shows belongs to the batch whoever shows it. So a poster that is
//! away does not lose its stake as long as one other member is there; the bond of the challenge is the poster's
//! in any case.

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::{SolCall as _, SolValue as _};
use blindfold_wire::{Envelope, Opening, SignedCommitment};

use crate::{
    accumulator::{OpeningLeaf, Trees, signature_hash},
    batch::Batch,
    evidence::sealed_envelope,
    sol,
};

/// Position that stands for the commitment of a height in a challenge.
pub const COMMITMENT: u32 = sol::COMMITMENT;

/// A challenge on L1: somebody bets that nobody can show this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    /// Index of the batch.
    pub batch: u64,
    /// A height of it.
    pub height: u64,
    /// The position whose opening is asked for, or [`COMMITMENT`]. The height need not have it.
    pub position: u32,
}

impl Asked {
    /// The inbox's id of the challenge: keccak256 of the ABI encoding of the three numbers.
    #[must_use]
    pub fn id(&self) -> B256 {
        keccak256((self.batch, self.height, self.position).abi_encode())
    }
}

/// A challenge that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenChallenge {
    /// What is asked for.
    pub asked: Asked,
    /// Last moment for an answer, in seconds of L1's time.
    pub deadline_s: u64,
}

/// Which challenges a member answers, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The member's seat.
    pub seat: u32,
    /// Members of the committee; at least one.
    pub members: u32,
    /// Time between a challenge and its deadline, in seconds.
    pub window_s: u64,
    /// Whether it answers for others, too.
    pub for_others: bool,
}

impl Turns {
    /// From when on this member answers, in seconds of L1's time: at once if it posted the batch; `None` if never.
    /// The others begin after a quarter of the window, one after the other from the poster's seat on, and all of
    /// them before its last quarter. `poster` is the seat of the batch's poster, if it has one.
    #[must_use]
    pub fn begin_s(&self, challenge: &OpenChallenge, poster: Option<u32>) -> Option<u64> {
        let asked_s = challenge.deadline_s.saturating_sub(self.window_s);
        let members = self.members.max(1);
        let before = match poster {
            Some(poster) if poster == self.seat => return Some(asked_s),
            // Below `members`, whatever the seats are.
            Some(poster) => (self.seat % members + members - poster % members) % members,
            None => self.seat % members,
        };
        let step_s = self.window_s / 2 / u64::from(members);
        let wait_s = self.window_s / 4 + step_s * u64::from(before);
        self.for_others.then(|| asked_s.saturating_add(wait_s))
    }

    /// The challenge that this member answers next, of those whose turn has come at `now_s` and whose deadline has
    /// not passed: its own first, then what ends first. Beside each stands the seat of the batch's poster.
    pub fn next(
        &self,
        open: impl IntoIterator<Item = (OpenChallenge, Option<u32>)>,
        now_s: u64,
    ) -> Option<OpenChallenge> {
        // A block comes after now, so at the deadline itself it is too late.
        open.into_iter()
            .filter(|(challenge, poster)| {
                now_s < challenge.deadline_s
                    && self.begin_s(challenge, *poster).is_some_and(|begin_s| begin_s <= now_s)
            })
            .min_by_key(|(challenge, poster)| {
                (*poster != Some(self.seat), challenge.deadline_s, challenge.asked)
            })
            .map(|(challenge, _)| challenge)
    }
}

/// A height as its poster posted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHeight {
    /// The commitment with its leader's signature.
    pub signed: SignedCommitment,
    /// Envelopes and openings, by position.
    pub items: Vec<(Envelope, Opening)>,
}

impl ShownHeight {
    /// The leaves of its openings.
    #[must_use]
    pub fn leaves(&self) -> Vec<OpeningLeaf> {
        let height = self.signed.commitment.height;
        (0u32..)
            .zip(&self.items)
            .map(|(position, (envelope, opening))| {
                OpeningLeaf::of(height, position, envelope.id(), opening)
            })
            .collect()
    }
}

/// Why a challenge cannot be answered with what is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevealError {
    /// The challenge is of another batch, or of a height that the batch does not have: the caller's fault.
    #[error("batch {batch} has no height {height}")]
    NotInBatch {
        /// Index of the batch.
        batch: u64,
        /// The height.
        height: u64,
    },
    /// The heights at hand are others than those that the batch's roots stand for: the poster posted something
    /// else, or they have other signatures here.
    #[error("the heights at hand do not lead to the roots of the batch")]
    OtherRoots,
    /// The envelope has no form on L1. Members order no such envelope, so what is at hand is damaged.
    #[error("the envelope at position {0} has no form on L1")]
    Envelope(u32),
}

/// What an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The commitment: it was asked for, or it says that the height does not have the position.
    Commitment,
    /// The opening of the position.
    Opening,
}

/// An answer that the inbox takes while the challenge is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it shows.
    pub shows: Shows,
    /// Call data for the inbox.
    pub call: Vec<u8>,
}

/// Answers a challenge of `batch`. `trees` are over all of its heights, `shown` is the height asked for, and
/// `key_epoch` the epoch of a committee with the key that its envelopes are sealed to. What the inbox compares is
/// compared here first.
///
/// # Errors
/// [`RevealError`].
pub fn answer(
    batch: &Batch,
    asked: &Asked,
    trees: &Trees,
    shown: &ShownHeight,
    key_epoch: u64,
) -> Result<Answer, RevealError> {
    let Asked { height, position, .. } = *asked;
    let commitment = &shown.signed.commitment;
    let index = batch
        .index_of(height)
        .filter(|_| batch.index == asked.batch && commitment.height == height)
        .ok_or(RevealError::NotInBatch { batch: asked.batch, height })?;
    let (leaf, leaf_proof) = trees.prove_height(index).ok_or(RevealError::OtherRoots)?;
    let right = trees.accumulator_root() == batch.accumulator_root
        && trees.opening_root() == batch.opening_root
        && leaf.height == height
        && leaf.digest == shown.signed.digest()
        && leaf.signature_hash == signature_hash(&shown.signed.signature);
    if !right {
        return Err(RevealError::OtherRoots);
    }
    // [`COMMITMENT`] is above every count.
    if position >= commitment.count {
        let call = sol::revealCommitmentCall {
            b: batch.into(),
            position,
            leaf: (&leaf).into(),
            proof: (&leaf_proof).into(),
            commitment: commitment.into(),
            signature: (&shown.signed.signature).into(),
        };
        return Ok(Answer { shows: Shows::Commitment, call: call.abi_encode() });
    }
    let item = usize::try_from(position).ok().and_then(|position| shown.items.get(position));
    let (envelope, opening) = item.ok_or(RevealError::OtherRoots)?;
    let at = leaf.offset.checked_add(position).ok_or(RevealError::OtherRoots)?;
    let (posted, opening_proof) = trees.prove_opening(at).ok_or(RevealError::OtherRoots)?;
    if posted != OpeningLeaf::of(height, position, envelope.id(), opening) {
        return Err(RevealError::OtherRoots);
    }
    let envelope =
        sealed_envelope(envelope, key_epoch).map_err(|_| RevealError::Envelope(position))?;
    let call = sol::revealOpeningCall {
        b: batch.into(),
        position,
        leaf: (&leaf).into(),
        leafProof: (&leaf_proof).into(),
        envelope: envelope.into(),
        opening: opening.into(),
        openingProof: (&opening_proof).into(),
    };
    Ok(Answer { shows: Shows::Opening, call: call.abi_encode() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TURNS: Turns = Turns { seat: 1, members: 4, window_s: 800, for_others: true };

    fn open(height: u64, deadline_s: u64) -> OpenChallenge {
        OpenChallenge { asked: Asked { batch: 3, height, position: 0 }, deadline_s }
    }

    #[test]
    fn ids_are_the_inboxs() {
        let asked = Asked { batch: 1, height: 2, position: COMMITMENT };
        let mut words = [0u8; 96];
        (words[31], words[63]) = (1, 2);
        words[92..].fill(0xff);
        assert_eq!(asked.id(), keccak256(words));
    }

    #[test]
    fn the_poster_answers_at_once_and_the_others_one_after_the_other() {
        let challenge = open(5, 1_800);
        let begin = |seat, poster| Turns { seat, ..TURNS }.begin_s(&challenge, poster);
        assert_eq!(begin(2, Some(2)), Some(1_000));
        assert_eq!([3, 0, 1].map(|seat| begin(seat, Some(2))), [1_300, 1_400, 1_500].map(Some));
        // Whoever posted it is no member any more.
        assert_eq!([0, 3].map(|seat| begin(seat, None)), [Some(1_200), Some(1_500)]);
        let alone = Turns { for_others: false, ..TURNS };
        assert_eq!(
            [Some(1), Some(2), None].map(|p| alone.begin_s(&challenge, p)),
            [Some(1_000), None, None]
        );
        let nobody = Turns { seat: 0, members: 0, window_s: 0, for_others: true };
        assert_eq!(nobody.begin_s(&open(1, 0), Some(9)), Some(0), "nonsense does not panic");
    }

    #[test]
    fn ones_own_comes_first_then_what_ends_first() {
        let next = |open: &[(OpenChallenge, Option<u32>)], now_s| {
            TURNS.next(open.iter().copied(), now_s).map(|challenge| challenge.asked.height)
        };
        let (own, late, early) = (open(1, 2_000), open(2, 1_990), open(3, 1_500));
        let all = [(late, Some(1)), (own, Some(1)), (early, Some(0))];
        assert_eq!(next(&all, 1_300), Some(2));
        assert_eq!(next(&all[1..], 1_300), Some(1));
        assert_eq!(next(&all[2..], 1_000), Some(3));
        assert_eq!(next(&all[2..], 800), None, "not yet: another posted it");
        assert_eq!(next(&all[2..], 1_499), Some(3));
        assert_eq!(next(&all[2..], 1_500), None, "no block comes in time");
        assert_eq!(next(&[], 0), None);
    }

    proptest! {
        /// Everybody's turn comes after a quarter of the window and before its last quarter, and no two members
        /// begin at once if there is time.
        #[test]
        fn turns_fit_the_window(
            members in 1u32..=64, poster in 0u32..64, window_s in 1u64..1 << 32, deadline_s in 1u64 << 32..1 << 33,
        ) {
            let poster = poster % members;
            let challenge = open(1, deadline_s);
            let asked_s = deadline_s - window_s;
            let begins: Vec<_> = (0..members)
                .map(|seat| Turns { seat, members, window_s, for_others: true }.begin_s(&challenge, Some(poster)).unwrap())
                .collect();
            for (seat, begin_s) in (0u32..).zip(&begins) {
                let waited = begin_s - asked_s;
                let in_turn = waited >= window_s / 4 && waited * 4 <= window_s * 3;
                prop_assert_eq!(waited == 0, seat == poster || window_s < 4);
                prop_assert!(in_turn || seat == poster);
            }
            let distinct: std::collections::BTreeSet<_> = begins.iter().collect();
            prop_assert!(window_s < 256 || distinct.len() == begins.len());
        }
    }
}
