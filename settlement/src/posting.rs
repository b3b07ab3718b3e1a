//! Batches as the inbox's call and event have them, and what it asks of them about forced items.

use alloy_primitives::{B256, Bytes};
use blindfold_wire::{FinalizationCertificate, OrderCommitment};

use crate::{
    batch::{Batch, Draft},
    bindings::BatchInbox,
    points::PointError,
};

impl From<&BatchInbox::Batch> for Batch {
    fn from(from: &BatchInbox::Batch) -> Self {
        Self {
            index: from.index,
            parent: from.parent,
            epoch: from.epoch,
            first_height: from.firstHeight,
            last_height: from.lastHeight,
            last_commitment: from.lastCommitment,
            accumulator_root: from.accumulatorRoot,
            opening_root: from.openingRoot,
            opening_count: from.openingCount,
            state_root: from.stateRoot,
            forced_head: from.forcedHead,
            data_hash: from.dataHash,
            poster: from.poster,
            l1_block: from.l1Block,
            posted_at: from.postedAt,
        }
    }
}

/// Why a draft cannot be called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It has no height.
    #[error("the draft has no height")]
    Empty,
    /// The certificate's signature is no point: it would not be a certificate.
    #[error("the certificate's signature: {0}")]
    Signature(#[from] PointError),
}

/// The call that posts `draft` after the batch with hash `parent`. `data` is the draft's, or empty if that lies
/// in the transaction's blobs; `state_root` is the one after its last height.
///
/// # Errors
/// [`CallError`]; a draft that [`crate::BatchBuilder`] made has none of it.
pub fn call(
    draft: &Draft,
    parent: B256,
    state_root: B256,
    data: Bytes,
) -> Result<BatchInbox::postBatchCall, CallError> {
    let (leaf, proof) = draft.last_leaf().ok_or(CallError::Empty)?;
    Ok(BatchInbox::postBatchCall {
        input: BatchInbox::PostInput {
            parent,
            firstHeight: draft.first_height,
            accumulatorRoot: draft.trees.accumulator_root(),
            openingRoot: draft.trees.opening_root(),
            openingCount: draft.trees.opening_count(),
            stateRoot: state_root,
        },
        last: (&draft.last).into(),
        cert: (&draft.certificate).try_into()?,
        lastLeaf: (&leaf).into(),
        lastProof: (&proof).into(),
        data,
    })
}

/// How far above the posted heights a height can be shown, as the inbox has it.
pub const MAX_SHOWN_HEIGHTS: u64 = 1 << 24;

/// What the inbox asks of the next batch about forced items.
///
/// ```text
///              posted │ not posted                         shown: has consumed what is due
///  heights  ──────────┼──────────────────┬─────────────────┬────────────▶
///                     │ as many as fit   │ as many as fit  │ this batch reaches it
///  cursor             │ may skip         │ may skip        │ must be the shown one at least
/// ```
///
/// Heights that were ordered before an item came, or before anyone posted the fallback, cannot have consumed it, and
/// there may be more of them than one batch holds. So the inbox is shown a certified height above all of them that has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForcedRule {
    /// The last posted height.
    pub last_height: u64,
    /// Forced items that batches have consumed, or a fallback has taken.
    pub head: u64,
    /// Forced items that no batch may leave out any more, because they have waited for the deadline.
    pub due: u64,
    /// The height that was shown last, 0 if none was.
    pub shown_height: u64,
    /// Forced items that it has consumed.
    pub shown_cursor: u64,
}

impl ForcedRule {
    /// Whether a shown height still stands above the posted ones.
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        self.last_height < self.shown_height
    }

    /// How many items the last height of a batch must have consumed if no shown height stands.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.head.max(self.due)
    }

    /// Whether a batch may end with this height, which has consumed `cursor` items.
    #[must_use]
    pub fn takes(&self, height: u64, cursor: u64) -> bool {
        match self.is_shown() {
            true => height < self.shown_height || cursor >= self.shown_cursor,
            false => cursor >= self.needed(),
        }
    }

    /// Whether this height, which has consumed `cursor` items, can be shown now.
    #[must_use]
    pub fn can_show(&self, height: u64, cursor: u64) -> bool {
        let above = height.saturating_sub(self.last_height);
        !self.is_shown() && (1..=MAX_SHOWN_HEIGHTS).contains(&above) && cursor >= self.needed()
    }
}

/// The call that shows a certified height above the posted ones.
///
/// # Errors
/// [`CallError::Signature`]: then it is no certificate.
pub fn show(
    later: &OrderCommitment,
    certificate: &FinalizationCertificate,
) -> Result<BatchInbox::showOrderedCall, CallError> {
    Ok(BatchInbox::showOrderedCall { later: later.into(), cert: certificate.try_into()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use alloy_sol_types::SolValue as _;

    #[test]
    fn what_is_due_is_consumed_or_shown_to_be() {
        let rule = ForcedRule { last_height: 10, head: 3, due: 5, ..ForcedRule::default() };
        assert_eq!([4, 5, 6].map(|cursor| rule.takes(20, cursor)), [false, true, true]);
        assert!(!ForcedRule { head: 7, ..rule }.takes(20, 6), "a fallback counts as what is due");
        let far = 10 + MAX_SHOWN_HEIGHTS;
        for (height, cursor, can) in [
            (11, 5, true),
            (far, 9, true),
            (far + 1, 9, false),
            (10, 9, false),
            (0, 9, false),
            (11, 4, false),
        ] {
            assert_eq!(rule.can_show(height, cursor), can, "{height} {cursor}");
        }
        let shown = ForcedRule { shown_height: 30, shown_cursor: 6, due: 9, ..rule };
        assert!(!shown.can_show(40, 9), "one at a time");
        for (height, cursor, takes) in
            [(11, 0, true), (29, 0, true), (30, 5, false), (30, 6, true), (90, 6, true)]
        {
            assert_eq!(shown.takes(height, cursor), takes, "{height} {cursor}");
        }
        let reached = ForcedRule { last_height: 30, ..shown };
        assert!(!reached.takes(31, 8) && reached.takes(31, 9) && reached.can_show(31, 9));
    }

    #[test]
    fn a_batch_hashes_as_the_inbox_hashes_it() {
        let event = BatchInbox::Batch {
            index: 1,
            parent: B256::repeat_byte(2),
            epoch: 3,
            firstHeight: 4,
            lastHeight: 5,
            lastCommitment: B256::repeat_byte(6),
            accumulatorRoot: B256::repeat_byte(7),
            openingRoot: B256::repeat_byte(8),
            openingCount: 9,
            stateRoot: B256::repeat_byte(10),
            forcedHead: 11,
            dataHash: B256::repeat_byte(12),
            poster: alloy_primitives::Address::repeat_byte(13),
            l1Block: 14,
            postedAt: 15,
        };
        assert_eq!(Batch::from(&event).hash(), keccak256(event.abi_encode()));
    }
}
