//! What a poster's own batch proves against it.

use alloy_primitives::{Address, B256};
use blindfold_crypto::{MAX_MESSAGE_BYTES, Opening, reseal};
use blindfold_wire::{
    CheckedEnvelope, MerkleProof, OrderCommitment, Signature65, domain, order_leaf,
};

use super::{OffenceError, PostedBatches};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, hash, schedule_leaf, signature_hash},
    batch::Batch,
    derive::ChainRules,
};

/// A leaf of a batch's accumulator with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLeaf {
    /// The leaf.
    pub leaf: AccumulatorLeaf,
    /// Its place under the batch's root.
    pub proof: MerkleProof,
}

impl BatchLeaf {
    /// The leaf stands in the accumulator of `batch`.
    fn check(&self, batch: &Batch) -> Result<(), OffenceError> {
        linked(self.proof.verify(batch.accumulator_root, self.leaf.hash()))
    }
}

/// The batch has another envelope at a position than the commitment it posted for the height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reordering {
    /// The batch.
    pub batch: Batch,
    /// Leaf of the height.
    pub at: BatchLeaf,
    /// The leaf's commitment.
    pub commitment: OrderCommitment,
    /// What the batch has at the position, by index.
    pub posted: OpeningLeaf,
    /// Its place under the opening root.
    pub opening_proof: MerkleProof,
    /// What the commitment has at the position.
    pub ordered_id: B256,
    /// Its place under the order root; its index is the position.
    pub order_proof: MerkleProof,
}

impl Reordering {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        let position = self.order_proof.index;
        accepted(batches, &self.batch)?;
        self.at.check(&self.batch)?;
        names(chain, &self.commitment, self.at.leaf.digest)?;
        let index = u64::from(self.at.leaf.offset) + u64::from(position);
        linked(u64::from(self.opening_proof.index) == index)?;
        linked(self.opening_proof.verify(self.batch.opening_root, self.posted.hash()))?;
        let leaf = order_leaf(position, self.ordered_id);
        linked(self.order_proof.verify(self.commitment.order_root, leaf))?;
        let same = self.posted.height == self.commitment.height
            && self.posted.position == position
            && self.posted.id == self.ordered_id;
        guilty(&self.batch, !same)
    }
}

/// A leaf of the accumulator is not what its place and its commitment say: height, order root, or for the
/// first leaf its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLeaf {
    /// The batch.
    pub batch: Batch,
    /// The leaf.
    pub at: BatchLeaf,
    /// The leaf's commitment.
    pub commitment: OrderCommitment,
}

impl BrokenLeaf {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        let BatchLeaf { leaf, proof } = &self.at;
        accepted(batches, &self.batch)?;
        self.at.check(&self.batch)?;
        names(chain, &self.commitment, leaf.digest)?;
        let height = self.batch.first_height.checked_add(proof.index.into());
        let right = Some(leaf.height) == height
            && Some(self.commitment.height) == height
            && leaf.order_root == self.commitment.order_root
            && (proof.index != 0 || leaf.offset == 0);
        guilty(&self.batch, !right)
    }
}

/// Two leaves next to each other, and the commitment of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLink {
    /// The batch.
    pub batch: Batch,
    /// The leaf below.
    pub lower: BatchLeaf,
    /// The leaf above.
    pub upper: BatchLeaf,
    /// Of the upper leaf for the parent, of the lower one for the offset.
    pub commitment: OrderCommitment,
}

impl BrokenLink {
    fn check(&self, batches: &dyn PostedBatches) -> Result<(), OffenceError> {
        accepted(batches, &self.batch)?;
        self.lower.check(&self.batch)?;
        self.upper.check(&self.batch)?;
        linked(self.lower.proof.index.checked_add(1) == Some(self.upper.proof.index))
    }

    pub(super) fn verify_parent(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        self.check(batches)?;
        names(chain, &self.commitment, self.upper.leaf.digest)?;
        guilty(&self.batch, self.commitment.parent != self.lower.leaf.digest)
    }

    pub(super) fn verify_offset(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        self.check(batches)?;
        names(chain, &self.commitment, self.lower.leaf.digest)?;
        let end = self.lower.leaf.offset.checked_add(self.commitment.count);
        guilty(&self.batch, Some(self.upper.leaf.offset) != end)
    }
}

/// The first commitment does not name the last one of the batch before as its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenFirst {
    /// The batch.
    pub batch: Batch,
    /// The batch before.
    pub previous: Batch,
    /// The first leaf.
    pub at: BatchLeaf,
    /// The leaf's commitment.
    pub commitment: OrderCommitment,
}

impl BrokenFirst {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        accepted(batches, &self.batch)?;
        // A batch without heights has no commitment that could be followed.
        linked(self.previous.hash() == self.batch.parent)?;
        linked(self.previous.last_commitment != B256::ZERO && self.at.proof.index == 0)?;
        self.at.check(&self.batch)?;
        names(chain, &self.commitment, self.at.leaf.digest)?;
        guilty(&self.batch, self.commitment.parent != self.previous.last_commitment)
    }
}

/// The opening root is one over another number of openings than the batch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenCount {
    /// The batch.
    pub batch: Batch,
    /// The number that the root is over.
    pub count: u32,
    /// The topmost node of its tree.
    pub top: B256,
}

impl BrokenCount {
    pub(super) fn verify(&self, batches: &dyn PostedBatches) -> Result<Address, OffenceError> {
        accepted(batches, &self.batch)?;
        let root = hash(domain::MERKLE_ROOT, &[&self.count.to_be_bytes(), self.top.as_slice()]);
        linked(root == self.batch.opening_root)?;
        guilty(&self.batch, self.count != self.batch.opening_count)
    }
}

/// The signature posted with a commitment is not that of the leader whose view it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgedCommitment {
    /// The batch.
    pub batch: Batch,
    /// Leaf of the height.
    pub at: BatchLeaf,
    /// The leaf's commitment.
    pub commitment: OrderCommitment,
    /// What was posted as its signature.
    pub signature: Signature65,
    /// Whose view it was.
    pub leader: Address,
    /// Place of the leader under the schedule root.
    pub schedule_proof: MerkleProof,
}

impl ForgedCommitment {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        let digest = self.at.leaf.digest;
        accepted(batches, &self.batch)?;
        self.at.check(&self.batch)?;
        names(chain, &self.commitment, digest)?;
        linked(signature_hash(&self.signature) == self.at.leaf.signature_hash)?;
        let slot = chain.leaders.slot(self.commitment.view);
        let leaf = schedule_leaf(slot, self.leader);
        linked(self.schedule_proof.index == slot)?;
        linked(self.schedule_proof.verify(chain.leaders.root(), leaf))?;
        guilty(&self.batch, self.signature.recover(digest) != Ok(self.leader))
    }
}

/// The opening that the batch has for an envelope does not open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongOpening {
    /// The batch.
    pub batch: Batch,
    /// Height of the opening's leaf.
    pub height: u64,
    /// Position in the leaf.
    pub position: u32,
    /// The leaf's place under the opening root.
    pub opening_proof: MerkleProof,
    /// The whole envelope, whose id is the leaf's.
    pub envelope: Vec<u8>,
    /// The opening, whose hash is the leaf's.
    pub opening: Opening,
}

impl WrongOpening {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        accepted(batches, &self.batch)?;
        // The proof inside the envelope binds it to the payer that its signature names, and so to the label.
        let envelope = CheckedEnvelope::check(&chain.rules, &self.envelope)?;
        let leaf = OpeningLeaf::of(self.height, self.position, envelope.id(), &self.opening);
        linked(self.opening_proof.verify(self.batch.opening_root, leaf.hash()))?;
        guilty(&self.batch, !opens(chain, &envelope, &self.opening))
    }
}

/// Whether an opening passes the test that L1 can make: the seed gives the envelope's u, or the secret pairs
/// with it.
pub(crate) fn opens(chain: &ChainRules, envelope: &CheckedEnvelope, opening: &Opening) -> bool {
    let u = &envelope.envelope().ciphertext.u;
    match opening {
        Opening::Opened { seed, message } => {
            message.len() <= MAX_MESSAGE_BYTES
                && reseal(&chain.rules.committee, envelope.label(), seed, message)
                    .is_ok_and(|sealed| sealed.u == *u)
        }
        Opening::Undecryptable { secret } => chain.public.verify_secret(u, secret),
    }
}

pub(super) fn linked(holds: bool) -> Result<(), OffenceError> {
    if holds { Ok(()) } else { Err(OffenceError::Unlinked) }
}

pub(super) fn guilty(batch: &Batch, wrong: bool) -> Result<Address, OffenceError> {
    if wrong { Ok(batch.poster) } else { Err(OffenceError::NoFault) }
}

pub(super) fn accepted(batches: &dyn PostedBatches, batch: &Batch) -> Result<(), OffenceError> {
    match batches.batch_hash(batch.index) {
        Some(hash) if hash == batch.hash() => Ok(()),
        _ => Err(OffenceError::UnknownBatch),
    }
}

/// The commitment is of this chain and has this digest.
fn names(
    chain: &ChainRules,
    commitment: &OrderCommitment,
    digest: B256,
) -> Result<(), OffenceError> {
    ours(chain, commitment)?;
    linked(commitment.digest() == digest)
}

/// The commitment is of this chain.
pub(super) fn ours(chain: &ChainRules, commitment: &OrderCommitment) -> Result<(), OffenceError> {
    let same =
        commitment.chain_id == chain.chain_id() && commitment.settlement == chain.settlement();
    if same { Ok(()) } else { Err(OffenceError::WrongChain) }
}
