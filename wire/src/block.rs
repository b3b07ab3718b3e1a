//! A block: a signed commitment followed by the ordered envelopes in full, and by the forced items that its height
//! consumes.
//!
//! RLP `[commitment, signature, [envelope…], forced]`, envelopes as byte strings, `forced` as
//! [`ForcedSpan::encode`] writes it.
//!
//! # What a digest fixes
//! The digest fixes the commitment, and through `order_root` every envelope's id, and so every byte
//! of an envelope but the payer's signature. Whoever relays a block can garble the leader's and the
//! payers' signatures without changing the digest. A garbled leader's signature recovers to someone
//! else than the scheduled leader. A garbled payer's does not pass [`Block::check_envelopes`]:
//! another recovered payer means another label, under which the ciphertext's proof fails. A receiver
//! must therefore run both checks **while decoding**, and blame the sender of bytes that fail them,
//! not the digest: another peer may hold the right bytes.
//!
//! Forced items are fixed by the digest too, but only together with the parent's commitment, which the digest
//! names: it says from where on the queue was consumed. It travels with the items, so that the shape of a block
//! can be checked without any other block. Without it a relay could leave out the first items of a height.

use alloy_primitives::{B256, Bytes};

use crate::{
    checked::{AdmissionRules, CheckedEnvelope, EnvelopeError},
    codec::{DecodeError, ListReader, ListWriter, bounded},
    commitment::{OrderCommitment, SignedCommitment, order_root},
    envelope::{Envelope, MAX_ENVELOPE_BYTES},
    forced::{ForcedError, ForcedSpan},
    genesis::Genesis,
    signature::Signature65,
};

/// Largest encoded block any chain may allow, in bytes.
pub const MAX_BLOCK_BYTES: usize = 4 << 20;

/// Most envelopes in a block any chain may allow.
pub const MAX_BLOCK_COUNT: usize = 4_096;

/// Why a block's envelopes do not belong to its commitment. The fault of whoever sent the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The number of envelopes is not the commitment's count.
    #[error("block holds {got} envelopes, its commitment says {expected}")]
    Count {
        /// The commitment's count.
        expected: u32,
        /// Envelopes found.
        got: usize,
    },
    /// The envelopes are others, or in another order, than the commitment's root says.
    #[error("the envelopes' order root is not the commitment's")]
    OrderRoot,
    /// The forced items are not those that the commitment consumes.
    #[error("forced items: {0}")]
    Forced(#[from] ForcedError),
    /// One envelope is invalid.
    #[error("envelope at position {position} is invalid")]
    Envelope {
        /// Its position.
        position: usize,
        /// What is wrong with it.
        source: EnvelopeError,
    },
}

/// A proposed block as it travels. Only its encoding has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The order and the leader's signature.
    pub commitment: SignedCommitment,
    /// Encoded envelopes in that order.
    pub envelopes: Vec<Bytes>,
    /// The forced items that the height consumes.
    pub forced: ForcedSpan,
}

impl Block {
    /// The block at height 0: no envelopes, no signature, the genesis hash as parent.
    pub fn genesis(genesis: &Genesis) -> Self {
        let commitment = OrderCommitment {
            chain_id: genesis.chain_id,
            settlement: genesis.settlement,
            parent: genesis.hash(),
            timestamp_ms: genesis.timestamp_ms,
            base_fee: genesis.params.initial_base_fee,
            order_root: order_root(&[]),
            ..OrderCommitment::default()
        };
        Self {
            commitment: SignedCommitment { commitment, signature: Signature65::ZERO },
            envelopes: Vec::new(),
            forced: ForcedSpan::none(),
        }
    }

    /// The commitment's digest: the engine's payload.
    pub fn digest(&self) -> B256 {
        self.commitment.digest()
    }

    /// The block's height.
    pub fn height(&self) -> u64 {
        self.commitment.commitment.height
    }

    /// Digest of the block one height below.
    pub fn parent(&self) -> B256 {
        self.commitment.commitment.parent
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut envelopes = ListWriter::new();
        for envelope in &self.envelopes {
            envelopes.bytes(envelope);
        }
        ListWriter::new()
            .raw(&self.commitment.commitment.encode())
            .bytes(&self.commitment.signature.to_bytes())
            .raw(&envelopes.finish())
            .raw(&self.forced.encode())
            .finish()
    }

    /// Reads canonical bytes. Checks the encoding and bounds, nothing else.
    ///
    /// # Errors
    /// If they are anything else, or over [`MAX_BLOCK_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "block", MAX_BLOCK_BYTES)?;
        let mut list = ListReader::exact(bytes, "block")?;
        let commitment = OrderCommitment::decode(list.raw("commitment")?)?;
        let signature = Signature65::from_bytes(&list.get("signature")?)?;
        let envelopes = list.list("envelopes")?.items("envelopes", MAX_BLOCK_COUNT, |items| {
            items.bytes("envelope", MAX_ENVELOPE_BYTES).map(Bytes::copy_from_slice)
        })?;
        let forced = ForcedSpan::decode(list.raw("forced")?)?;
        list.finish()?;
        Ok(Self { commitment: SignedCommitment { commitment, signature }, envelopes, forced })
    }

    /// Checks that the envelopes decode and are those that the commitment orders, and that the forced items are
    /// those that it consumes; returns the envelopes' ids. Says nothing about the payers' signatures or the
    /// proofs.
    ///
    /// # Errors
    /// If the count, the order root or the forced items differ or an envelope does not decode.
    pub fn validate_shape(&self) -> Result<Vec<B256>, BlockError> {
        self.check_count()?;
        self.forced.check(&self.commitment.commitment)?;
        let ids = self
            .envelopes
            .iter()
            .enumerate()
            .map(|(position, bytes)| {
                Envelope::decode(bytes)
                    .map(|envelope| envelope.id())
                    .map_err(|error| BlockError::Envelope { position, source: error.into() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.check_order(&ids)?;
        Ok(ids)
    }

    /// Checks the shape and every envelope, and returns the checked envelopes in order. A block that
    /// passes is fixed by its digest, but for a payer's choice among its own signatures.
    ///
    /// `weights_seed` as in [`CheckedEnvelope::check_batch`].
    ///
    /// # Errors
    /// As [`Block::validate_shape`], or if an envelope fails a stateless check.
    pub fn check_envelopes(
        &self,
        rules: &AdmissionRules,
        weights_seed: [u8; 32],
    ) -> Result<Vec<CheckedEnvelope>, BlockError> {
        self.check_count()?;
        self.forced.check(&self.commitment.commitment)?;
        let checked = CheckedEnvelope::check_batch(rules, &self.envelopes, weights_seed)
            .into_iter()
            .enumerate()
            .map(|(position, verdict)| {
                verdict.map_err(|source| BlockError::Envelope { position, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = checked.iter().map(CheckedEnvelope::id).collect();
        self.check_order(&ids)?;
        Ok(checked)
    }

    fn check_count(&self) -> Result<(), BlockError> {
        let expected = self.commitment.commitment.count;
        if usize::try_from(expected) == Ok(self.envelopes.len()) {
            Ok(())
        } else {
            Err(BlockError::Count { expected, got: self.envelopes.len() })
        }
    }

    fn check_order(&self, ids: &[B256]) -> Result<(), BlockError> {
        if order_root(ids) == self.commitment.commitment.order_root {
            Ok(())
        } else {
            Err(BlockError::OrderRoot)
        }
    }
}
