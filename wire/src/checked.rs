//! Envelopes that passed every check which needs no state.
//!
//! A [`CheckedEnvelope`] is the only form in which an envelope enters the mempool, an order or an
//! opening. Its fields are private and [`CheckedEnvelope::check`] (or its batched form) is the only
//! way to make one.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use blindfold_crypto::{CiphertextError, CommitteeKey, EphemeralPoint, Label};

use crate::{
    codec::DecodeError,
    envelope::{
        Envelope, EnvelopeHeader, KeyId, MAX_ENVELOPE_BYTES, is_body_len, is_gas_class,
        signing_digest,
    },
    signature::SignatureError,
};

/// What the stateless checks compare an envelope with.
#[derive(Clone)]
pub struct AdmissionRules {
    /// The chain's id.
    pub chain_id: u64,
    /// The committee key that is in force.
    pub committee: CommitteeKey,
    /// The name of that key.
    pub key_id: KeyId,
}

impl std::fmt::Debug for AdmissionRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdmissionRules")
            .field("chain_id", &self.chain_id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why an envelope is not valid whatever the state is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`MAX_ENVELOPE_BYTES`].
    #[error("envelope has {got_bytes} of at most {MAX_ENVELOPE_BYTES} bytes")]
    Size {
        /// Length found.
        got_bytes: usize,
    },
    /// Not a canonical encoding.
    #[error("envelope does not decode")]
    Decode(#[from] DecodeError),
    /// For another chain.
    #[error("envelope is for chain {got}, this is chain {expected}")]
    WrongChain {
        /// This chain.
        expected: u64,
        /// The envelope's chain.
        got: u64,
    },
    /// Sealed to a key that is not in force.
    #[error("envelope is sealed to key {got}, in force is {expected}")]
    UnknownKey {
        /// Key in force.
        expected: KeyId,
        /// The envelope's key.
        got: KeyId,
    },
    /// The gas limit is not a published class.
    #[error("gas limit {0} is not a gas class (a power of two from 2^15 to 2^24)")]
    GasClass(u64),
    /// The priority fee is above the fee.
    #[error("max_priority_fee_per_gas is above max_fee_per_gas")]
    Fees,
    /// The body's length is not that of a padded payload.
    #[error("body has {got_bytes} bytes, which is not 16 + 256·2^k")]
    BodyLength {
        /// Length found.
        got_bytes: usize,
    },
    /// The payer's signature is malleable or recovers to nobody.
    #[error("payer's signature is invalid")]
    Signature(#[from] SignatureError),
    /// The ciphertext's proof does not hold under this header and payer.
    #[error("ciphertext is invalid under this header and payer")]
    Ciphertext(#[from] CiphertextError),
}

impl EnvelopeError {
    /// Whether the peer that forwarded the envelope broke a rule. Always true: every check here can
    /// be made by anyone, before forwarding.
    pub fn peer_at_fault(&self) -> bool {
        true
    }

    /// Stable, machine-readable name of the check that failed, in snake case.
    ///
    /// A forged payer's signature recovers to another payer, under whose label the ciphertext's proof does
    /// not hold, and so does a ciphertext copied from another envelope: both are `ciphertext_proof`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Size { .. } => "oversized",
            Self::Decode(error) => error.reason(),
            Self::WrongChain { .. } => "wrong_chain",
            Self::UnknownKey { .. } => "wrong_key_id",
            Self::GasClass(_) => "gas_class",
            Self::Fees => "priority_above_fee",
            Self::BodyLength { .. } | Self::Ciphertext(CiphertextError::BodyLength { .. }) => {
                "body_length"
            }
            Self::Signature(_) => "payer_signature",
            Self::Ciphertext(CiphertextError::Proof) => "ciphertext_proof",
            Self::Ciphertext(CiphertextError::Point { .. } | CiphertextError::Scalar) => {
                "ciphertext_encoding"
            }
        }
    }
}

#[derive(Debug)]
struct Inner {
    envelope: Envelope,
    bytes: Bytes,
    id: B256,
    payer: Address,
    label: Label,
    u: EphemeralPoint,
}

/// What is known of an envelope before its proof is checked.
struct Unproved {
    envelope: Envelope,
    bytes: Bytes,
    id: B256,
    payer: Address,
    label: Label,
}

impl Unproved {
    fn proved(self, u: EphemeralPoint) -> CheckedEnvelope {
        let Self { envelope, bytes, id, payer, label } = self;
        CheckedEnvelope { inner: Arc::new(Inner { envelope, bytes, id, payer, label, u }) }
    }
}

/// An envelope that passed all stateless checks. Cheap to clone.
///
/// There is no way to make one without the checks:
///
/// ```compile_fail,E0451
/// let envelope = blindfold_wire::CheckedEnvelope { inner: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct CheckedEnvelope {
    inner: Arc<Inner>,
}

impl CheckedEnvelope {
    /// Checks encoded envelope `bytes`: size, canonical encoding, chain, key, gas class, fees, body
    /// length, signature, and the ciphertext's proof under the label that the signature implies.
    ///
    /// # Errors
    /// The first check that fails; the forwarding peer is at fault.
    pub fn check(rules: &AdmissionRules, bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let unproved = Self::check_fields(rules, bytes)?;
        let sealed = &unproved.envelope.ciphertext;
        let u = blindfold_crypto::verify(&rules.committee, &unproved.label, sealed)?;
        Ok(unproved.proved(u))
    }

    /// Checks many envelopes, verifying the proofs together. Verdicts are those of [`Self::check`],
    /// but for a chance of about 2^-128 over `weights_seed`, which must be unpredictable to the
    /// makers of the envelopes.
    pub fn check_batch(
        rules: &AdmissionRules,
        envelopes: &[Bytes],
        weights_seed: [u8; 32],
    ) -> Vec<Result<Self, EnvelopeError>> {
        let fields: Vec<_> =
            envelopes.iter().map(|bytes| Self::check_fields(rules, bytes)).collect();
        let items: Vec<_> = fields
            .iter()
            .flatten()
            .map(|unproved| (unproved.label, &unproved.envelope.ciphertext))
            .collect();
        let mut proofs =
            blindfold_crypto::verify_batch(&rules.committee, &items, weights_seed).into_iter();
        fields
            .into_iter()
            .map(|fields| {
                let unproved = fields?;
                // One proof for each envelope whose fields are right.
                let u = proofs.next().unwrap_or(Err(CiphertextError::Proof))?;
                Ok(unproved.proved(u))
            })
            .collect()
    }

    /// Everything but the ciphertext's proof.
    fn check_fields(rules: &AdmissionRules, bytes: &[u8]) -> Result<Unproved, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::Size { got_bytes: bytes.len() });
        }
        let envelope = Envelope::decode(bytes)?;
        let header = &envelope.header;
        if header.chain_id != rules.chain_id {
            return Err(EnvelopeError::WrongChain {
                expected: rules.chain_id,
                got: header.chain_id,
            });
        }
        if header.key_id != rules.key_id {
            return Err(EnvelopeError::UnknownKey { expected: rules.key_id, got: header.key_id });
        }
        if !is_gas_class(header.gas_limit) {
            return Err(EnvelopeError::GasClass(header.gas_limit));
        }
        if header.max_priority_fee_per_gas > header.max_fee_per_gas {
            return Err(EnvelopeError::Fees);
        }
        if !is_body_len(envelope.ciphertext.body.len()) {
            return Err(EnvelopeError::BodyLength { got_bytes: envelope.ciphertext.body.len() });
        }
        let id = envelope.id();
        let payer = envelope.signature.recover(signing_digest(id))?;
        let label = header.label(payer);
        let bytes = Bytes::copy_from_slice(bytes);
        Ok(Unproved { envelope, bytes, id, payer, label })
    }

    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.inner.envelope
    }

    /// The envelope's clear fields.
    pub fn header(&self) -> &EnvelopeHeader {
        &self.inner.envelope.header
    }

    /// Its id.
    pub fn id(&self) -> B256 {
        self.inner.id
    }

    /// The address that signed it and pays for it.
    pub fn payer(&self) -> Address {
        self.inner.payer
    }

    /// The label its ciphertext is sealed under.
    pub fn label(&self) -> &Label {
        &self.inner.label
    }

    /// The point u of its ciphertext, decoded.
    pub fn ephemeral(&self) -> &EphemeralPoint {
        &self.inner.u
    }

    /// Its encoding.
    pub fn bytes(&self) -> &Bytes {
        &self.inner.bytes
    }

    /// Length of its encoding, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.inner.bytes.len()
    }
}

impl PartialEq for CheckedEnvelope {
    fn eq(&self, other: &Self) -> bool {
        self.inner.bytes == other.inner.bytes
    }
}

impl Eq for CheckedEnvelope {}
