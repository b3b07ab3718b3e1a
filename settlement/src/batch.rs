//! Batches: runs of certified heights, as posted on L1.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::SolValue;
use blindfold_wire::{
    Certified, FinalizationCertificate, MerkleProof, OpenedBatch, OrderCommitment, Signature65,
    SignatureError, SignedCommitment,
};

use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees},
    bindings::BatchInbox,
    codec::{self, BatchData, EncodeError, MAX_DATA_BYTES, MAX_HEIGHTS, PostedHeight},
};

/// A batch as the inbox knows it: the event carries it, L1 keeps its hash.
///
/// One without heights (`last_height` is one below `first_height`, all roots are zero) is the fallback of the forced
/// queue: anyone may post it over a committee that failed ([`crate::posting::ForcedRule`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Batch {
    /// From 1.
    pub index: u64,
    /// Hash of the batch before; of the first: the genesis hash.
    pub parent: B256,
    /// Committee epoch of all its heights.
    pub epoch: u64,
    /// One above the last height of the batch before; of the first: 1.
    pub first_height: u64,
    /// Not below the first, unless it has no heights: then one below.
    pub last_height: u64,
    /// Digest of the commitment of the last height, whose certificate L1 verified.
    pub last_commitment: B256,
    /// Root over its heights.
    pub accumulator_root: B256,
    /// Root over its openings.
    pub opening_root: B256,
    /// Number of openings.
    pub opening_count: u32,
    /// State root after the last height.
    pub state_root: B256,
    /// Forced items consumed up to the last height; of a fallback: up to which later heights must have consumed them.
    pub forced_head: u64,
    /// Of its data: [`crate::blobs::calldata_hash`] or [`crate::blobs::blobs_hash`].
    pub data_hash: B256,
    /// The member that posted it.
    pub poster: Address,
    /// L1 block it is in.
    pub l1_block: u64,
    /// Time of that block, in seconds since the Unix epoch.
    pub posted_at: u64,
}

impl Batch {
    /// keccak256 of the Solidity struct's ABI encoding.
    pub fn hash(&self) -> B256 {
        keccak256(BatchInbox::Batch::from(self).abi_encode())
    }

    /// How many heights it has; 0 if its range is not one.
    pub fn heights(&self) -> u64 {
        self.last_height.checked_sub(self.first_height).map_or(0, |above| above.saturating_add(1))
    }

    /// Where a height stands in the accumulator.
    pub fn index_of(&self, height: u64) -> Option<u32> {
        let index = height.checked_sub(self.first_height)?;
        if height > self.last_height { None } else { u32::try_from(index).ok() }
    }
}

/// A certified height with its leader's signature: what is posted, and what posted batches are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedHeight {
    /// The commitment with its leader's signature.
    pub signed: SignedCommitment,
    /// Envelopes and openings.
    pub opened: OpenedBatch,
}

/// How large a batch may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most heights.
    pub max_heights: u32,
    /// Most bytes of data.
    pub max_data_bytes: usize,
}

impl Default for Limits {
    /// As much as one blob transaction holds.
    fn default() -> Self {
        Self { max_heights: MAX_HEIGHTS, max_data_bytes: MAX_DATA_BYTES }
    }
}

/// Why a height cannot be added to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The batch is full; post it, and begin another with this height.
    #[error("the batch is full")]
    Full,
    /// The height alone is over the limit: it can never be posted. `max_block_bytes` of the chain is too
    /// large for its settlement.
    #[error("height {height} alone has {got} of at most {limit} bytes of data")]
    TooLarge {
        /// The height.
        height: u64,
        /// The limit, in bytes.
        limit: usize,
        /// Bytes it would take.
        got: usize,
    },
    /// It does not follow the last height; the caller's fault.
    #[error("height {0} does not follow the last one of the batch")]
    NotNext(u64),
    /// It is of another epoch: post the batch, and begin another.
    #[error("height is of epoch {got}, the batch of epoch {expected}")]
    Epoch {
        /// The batch's epoch.
        expected: u64,
        /// The height's epoch.
        got: u64,
    },
    /// The signature is not the leader's. Posting it would be slashable: get the right one.
    #[error("commitment is signed by {got}, the leader is {expected}")]
    Leader {
        /// The scheduled leader.
        expected: Address,
        /// The signer.
        got: Address,
    },
    /// The signature is nobody's. Posting it would be slashable: get the right one.
    #[error("leader's signature is invalid")]
    Signature(#[from] SignatureError),
    /// The height has no encoding.
    #[error("height cannot be encoded")]
    Encode(#[from] EncodeError),
}

/// Why there is nothing to post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No height has a finalization certificate of its own, which L1 wants for the last one.
    #[error("no height of the batch has a certificate of its own")]
    NoCertificate,
    /// The heights have no encoding together.
    #[error("batch cannot be encoded")]
    Encode(#[from] EncodeError),
}

struct Pushed {
    certified: Certified<OrderCommitment>,
    posted: PostedHeight,
    openings: Vec<OpeningLeaf>,
}

/// Collects heights of one epoch until they fill a batch.
pub struct BatchBuilder {
    limits: Limits,
    heights: Vec<Pushed>,
    data_bytes: usize,
}

impl BatchBuilder {
    /// An empty batch. Limits over the format's own count as those.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            max_heights: limits.max_heights.min(MAX_HEIGHTS),
            max_data_bytes: limits.max_data_bytes.min(MAX_DATA_BYTES),
        };
        Self { limits, heights: Vec::new(), data_bytes: 0 }
    }

    /// Adds a height with its leader's signature. A batch that is full says so and stays as it is.
    ///
    /// # Errors
    /// If it does not fit, does not follow, or is not signed by `leader`, whose turn its view was.
    pub fn push(
        &mut self,
        opened: &OpenedBatch,
        signature: Signature65,
        leader: Address,
    ) -> Result<(), PushError> {
        let commitment = opened.commitment();
        if let Some(last) = self.heights.last() {
            let before = last.certified.get();
            let follows = before.height.checked_add(1) == Some(commitment.height)
                && commitment.parent == last.certified.digest();
            if !follows {
                return Err(PushError::NotNext(commitment.height));
            }
            if commitment.epoch != before.epoch {
                return Err(PushError::Epoch { expected: before.epoch, got: commitment.epoch });
            }
        }
        let got = signature.recover(opened.certified().digest())?;
        if got != leader {
            return Err(PushError::Leader { expected: leader, got });
        }
        if self.heights.len() >= self.limits.max_heights as usize {
            return Err(PushError::Full);
        }
        let posted = PostedHeight::of_batch(opened, signature);
        // Alone it takes no fewer bytes than it will among others, a few for its place aside.
        let alone = BatchData {
            chain_id: commitment.chain_id,
            epoch: commitment.epoch,
            first_height: commitment.height,
            heights: vec![posted],
        };
        let got = match codec::encode(&alone) {
            Ok(data) => data.len(),
            Err(EncodeError::TooLong { got, .. }) => got,
            Err(error) => return Err(error.into()),
        };
        let data_bytes = self.data_bytes.saturating_add(got);
        if data_bytes > self.limits.max_data_bytes {
            let (height, limit) = (commitment.height, self.limits.max_data_bytes);
            return Err(match self.heights.is_empty() {
                true => PushError::TooLarge { height, limit, got },
                false => PushError::Full,
            });
        }
        self.data_bytes = data_bytes;
        let openings = opening_leaves(opened);
        for posted in alone.heights {
            self.heights.push(Pushed {
                certified: opened.certified().clone(),
                posted,
                openings: openings.clone(),
            });
        }
        Ok(())
    }

    /// How many heights it holds.
    pub fn len(&self) -> usize {
        self.heights.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.heights.is_empty()
    }

    /// Estimate of the data's length, in bytes: the sum of what each height takes alone, which is at most as much
    /// together unless it compresses too well.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// The last height that could end the batch: it has a certificate of its own.
    pub fn last_certified(&self) -> Option<u64> {
        self.end(self.heights.len()).map(|end| self.heights[end - 1].certified.get().height)
    }

    /// Ends the batch at the last height that has a certificate of its own; later ones are left out.
    ///
    /// Heights that compress far better together than a reader allows ([`codec`]) are stored as they are, and may be
    /// too long then: so it ends earlier where it has to.
    ///
    /// # Errors
    /// If there is no such height, or none up to which heights can be encoded.
    pub fn build(&self) -> Result<Draft, BuildError> {
        let mut end = self.end(self.heights.len()).ok_or(BuildError::NoCertificate)?;
        loop {
            match self.draft(&self.heights[..end]) {
                Err(BuildError::Encode(error @ EncodeError::TooLong { .. })) => {
                    let fewer = self.end(end / 2).or_else(|| self.end(end - 1));
                    end = fewer.ok_or(BuildError::Encode(error))?;
                }
                draft => return draft,
            }
        }
    }

    fn draft(&self, heights: &[Pushed]) -> Result<Draft, BuildError> {
        let (Some(first), Some(last)) = (heights.first(), heights.last()) else {
            return Err(BuildError::NoCertificate);
        };
        let Some(certificate) = last.certified.certificate() else {
            return Err(BuildError::NoCertificate);
        };
        let data = codec::encode(&BatchData {
            chain_id: first.certified.get().chain_id,
            epoch: first.certified.get().epoch,
            first_height: first.certified.get().height,
            heights: heights.iter().map(|height| height.posted.clone()).collect(),
        })?;
        if data.len() > self.limits.max_data_bytes {
            let (limit, got) = (self.limits.max_data_bytes, data.len());
            return Err(EncodeError::TooLong { limit, got }.into());
        }
        let mut trees = Trees::new();
        for height in heights {
            let openings = height.openings.iter().copied();
            trees.push(height.certified.get(), &height.posted.signature, openings);
        }
        Ok(Draft {
            first_height: first.certified.get().height,
            last: last.certified.get().clone(),
            certificate: certificate.clone(),
            trees,
            data,
        })
    }

    /// Number of heights up to the last with a certificate, of the first `most`.
    fn end(&self, most: usize) -> Option<usize> {
        let heights = &self.heights[..most];
        let last = heights.iter().rposition(|height| height.certified.certificate().is_some());
        last.map(|index| index + 1)
    }
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder")
            .field("heights", &self.heights.len())
            .field("data_bytes", &self.data_bytes)
            .finish_non_exhaustive()
    }
}

/// The opening leaves of one height.
pub fn opening_leaves(opened: &OpenedBatch) -> Vec<OpeningLeaf> {
    (0u32..)
        .zip(opened.items())
        .map(|(position, item)| {
            OpeningLeaf::of(opened.height(), position, item.envelope.id(), &item.opening)
        })
        .collect()
}

/// A batch that is ready to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The first height.
    pub first_height: u64,
    /// The commitment of the last height.
    pub last: OrderCommitment,
    /// Its certificate.
    pub certificate: FinalizationCertificate,
    /// All leaves.
    pub trees: Trees,
    /// The data, for calldata or [`crate::blobs::pack`].
    pub data: Vec<u8>,
}

/// What of a batch only L1 and execution know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Posting {
    /// Index of the batch.
    pub index: u64,
    /// Hash of the batch before, or the genesis hash.
    pub parent: B256,
    /// State root after the last height.
    pub state_root: B256,
    /// Hash of the data, by the way it is carried.
    pub data_hash: B256,
    /// Who posts it.
    pub poster: Address,
    /// L1 block.
    pub l1_block: u64,
    /// Time of that block, in seconds.
    pub posted_at: u64,
}

impl Draft {
    /// The header that the inbox makes of it.
    pub fn header(&self, posting: &Posting) -> Batch {
        Batch {
            index: posting.index,
            parent: posting.parent,
            epoch: self.last.epoch,
            first_height: self.first_height,
            last_height: self.last.height,
            last_commitment: self.last.digest(),
            accumulator_root: self.trees.accumulator_root(),
            opening_root: self.trees.opening_root(),
            opening_count: self.trees.opening_count(),
            state_root: posting.state_root,
            forced_head: self.last.forced_cursor,
            data_hash: posting.data_hash,
            poster: posting.poster,
            l1_block: posting.l1_block,
            posted_at: posting.posted_at,
        }
    }

    /// The last height's leaf with its proof, which the inbox wants to see.
    pub fn last_leaf(&self) -> Option<(AccumulatorLeaf, MerkleProof)> {
        let last = self.trees.heights().len().checked_sub(1)?;
        self.trees.prove_height(u32::try_from(last).ok()?)
    }
}
