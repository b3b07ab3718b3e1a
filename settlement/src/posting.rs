//! Batches as the inbox's call and event have them.

use alloy_primitives::{B256, Bytes};

use crate::{
    accumulator::AccumulatorLeaf,
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

impl From<&AccumulatorLeaf> for BatchInbox::AccumulatorLeaf {
    fn from(from: &AccumulatorLeaf) -> Self {
        Self {
            height: from.height,
            digest: from.digest,
            orderRoot: from.order_root,
            offset: from.offset,
            signatureHash: from.signature_hash,
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use alloy_sol_types::SolValue as _;

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
