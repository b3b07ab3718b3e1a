//! What a quorum's certificate proves against a poster: an opening that the committee did not have.
//!
//! ```text
//! posted leaf ─▶ opening root of the batch         opening root of the height ◀─ certified leaf
//!  (height, position, id, another opening)                  │ with the state root
//!                                                           ▼
//!                                     commitment of height + executed_lag ─parents─▶ certificate
//! ```

use alloy_primitives::{Address, B256};
use blindfold_wire::{
    Certified, FinalizationCertificate, MerkleProof, OrderCommitment, executed_root,
};

use super::{
    OffenceError, PostedBatches,
    posted::{accepted, guilty, linked, ours},
};
use crate::{accumulator::OpeningLeaf, batch::Batch, derive::ChainRules};

/// Most commitments from the one that carries an executed root up to the one with a certificate. Heights
/// without a certificate of their own are rare, and never many in a row.
pub const MAX_CHAIN: usize = 256;

/// What a quorum certified of a height that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedRoot {
    /// State root after the height.
    pub state_root: B256,
    /// Root over the openings of the height alone, by position.
    pub opening_root: B256,
    /// From the commitment that carries the executed root upwards without holes, at most [`MAX_CHAIN`].
    pub chain: Vec<OrderCommitment>,
    /// Of the last of them.
    pub certificate: FinalizationCertificate,
}

impl ExecutedRoot {
    /// Takes certified commitments, of which the first carries the executed root, up to the first one with a
    /// certificate of its own. `None` if there is none among the first [`MAX_CHAIN`], if they do not follow
    /// each other, or if the first carries the root of another state or of other openings.
    pub fn new<'a>(
        state_root: B256,
        opening_root: B256,
        commitments: impl IntoIterator<Item = &'a Certified<OrderCommitment>>,
    ) -> Option<Self> {
        let mut chain = Vec::new();
        let mut below: Option<B256> = None;
        for certified in commitments.into_iter().take(MAX_CHAIN) {
            let commitment = certified.get();
            let follows = match below {
                Some(digest) => commitment.parent == digest,
                None => commitment.executed_root == executed_root(state_root, opening_root),
            };
            if !follows {
                return None;
            }
            below = Some(certified.digest());
            chain.push(commitment.clone());
            if let Some(certificate) = certified.certificate() {
                let certificate = certificate.clone();
                return Some(Self { state_root, opening_root, chain, certificate });
            }
        }
        None
    }

    /// The commitments are of our chain, the first carries the root of `height`, and the last is certified by
    /// the committee of the genesis document, the only one that is known offline.
    fn check(&self, chain: &ChainRules, height: u64) -> Result<(), OffenceError> {
        let (Some(first), Some((last, below))) = (self.chain.first(), self.chain.split_last())
        else {
            return Err(OffenceError::Unlinked);
        };
        linked(self.chain.len() <= MAX_CHAIN)?;
        self.chain.iter().try_for_each(|commitment| ours(chain, commitment))?;
        let carried_at = height.checked_add(chain.genesis.params.executed_lag);
        linked(carried_at == Some(first.height))?;
        linked(first.executed_root == executed_root(self.state_root, self.opening_root))?;
        let mut above = Certified::by_certificate(last.clone(), &self.certificate, &chain.votes)?;
        for commitment in below.iter().rev() {
            above = Certified::by_child(commitment.clone(), &above)?;
        }
        Ok(())
    }
}

/// The batch has another opening for an envelope than the one that a quorum certified. Neither envelope nor
/// opening is needed, so it also proves what sealing again and pairing cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisownedOpening {
    /// The batch.
    pub batch: Batch,
    /// What it has for an envelope.
    pub posted: OpeningLeaf,
    /// Its place under the batch's opening root.
    pub posted_proof: MerkleProof,
    /// Hash of the opening that was certified for the envelope.
    pub certified_hash: B256,
    /// Place of its leaf under the height's opening root; its index is the position.
    pub certified_proof: MerkleProof,
    /// What was certified of the height.
    pub executed: ExecutedRoot,
}

impl DisownedOpening {
    pub(super) fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Address, OffenceError> {
        let Self { batch, posted, executed, .. } = self;
        accepted(batches, batch)?;
        linked(self.posted_proof.verify(batch.opening_root, posted.hash()))?;
        let certified = OpeningLeaf { opening_hash: self.certified_hash, ..*posted };
        linked(self.certified_proof.index == posted.position)?;
        linked(self.certified_proof.verify(executed.opening_root, certified.hash()))?;
        executed.check(chain, posted.height)?;
        guilty(batch, posted.opening_hash != self.certified_hash)
    }
}
