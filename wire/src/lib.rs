//! Everything that is signed, hashed, stored or sent: codecs, signing domains, and the types that
//! say how far a value has been checked.
//!
//! # What may enter this crate
//! Formats and stateless checks that at least two other crates need. No clock, no randomness, no
//! I/O, no state; nothing that can parse a plaintext transaction; none of the ordering engine's
//! crates (certificates are verified here on `blst` alone).
//!
//! # The stages as types
//!
//! ```text
//! bytes ──Envelope::decode──▶ Envelope ──CheckedEnvelope::check──▶ CheckedEnvelope
//!                                                                      │ ordered
//! OrderCommitment ──quorum──▶ Certified<OrderCommitment> ──────────────┤
//!                                                                      ▼ opened
//!                                                                 OpenedBatch
//! ```
//!
//! Each later type has private fields and a constructor that checks; there is no other way to it.
//!
//! # Encodings
//! Canonical RLP written by hand ([`codec`]), typed EIP-712 digests for what an L1 contract checks
//! ([`eip712`]), keccak under one domain string per purpose for the rest ([`domain`]), and the
//! engine's own bytes for certificates ([`certificate`]). A decoder accepts only what its encoder
//! writes. The formats are frozen by hash in the tests.

pub mod block;
pub mod bundle;
pub mod certificate;
pub mod certified;
pub mod checked;
pub mod codec;
pub mod commitment;
pub mod domain;
pub mod eip712;
pub mod envelope;
pub mod evidence;
pub mod fees;
pub mod forced;
pub mod genesis;
mod human;
pub mod merkle;
pub mod opened;
pub mod opening;
pub mod params;
pub mod receipt;
pub mod signature;
pub mod status;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(test)]
mod tests;

pub use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
pub use blindfold_crypto::{Ciphertext, Label, Opening, Seed, Share};

pub use crate::{
    block::{Block, BlockError, MAX_BLOCK_BYTES, MAX_BLOCK_COUNT},
    bundle::{
        BundleError, BundleHeader, MAX_BUNDLE_BYTES, ShareBundle, SignedBundleHeader, share_leaf,
        share_proof, shares_root,
    },
    certificate::{
        CertificateError, ENGINE_NAMESPACE, FinalizationCertificate, MAX_CERTIFICATE_BYTES,
        MAX_MEMBERS, VoteCommittee, VoteKeyError, engine_namespace, max_faults, quorum,
        vote_key_pop_sign, vote_key_pop_verify, vote_public_key,
    },
    certified::{Certified, Finality},
    checked::{AdmissionRules, CheckedEnvelope, EnvelopeError},
    codec::DecodeError,
    commitment::{
        OrderCommitment, SignedCommitment, executed_root, opening_leaf, opening_root, order_leaf,
        order_proof, order_root,
    },
    envelope::{
        ENVELOPE_TYPE, Envelope, EnvelopeHeader, KeyId, MAX_ENVELOPE_BYTES, MAX_GAS_CLASS,
        MIN_GAS_CLASS, SealedTransaction, gas_class, is_gas_class, key_id, sign_envelope,
    },
    evidence::{BadShare, Evidence, EvidenceError, MAX_EVIDENCE_BYTES, Offender},
    fees::{Charge, Floor, Prices},
    forced::{ForcedError, ForcedItem, ForcedKind, ForcedSpan},
    genesis::{CommitteeInfo, Genesis, GenesisAccount, GenesisError, MemberInfo},
    merkle::MerkleProof,
    opened::{OpenedBatch, OpenedBatchError, OpenedEnvelope},
    opening::{MAX_OPENING_BYTES, OpeningSet, decode_opening, encode_opening, opening_hash},
    params::ChainParams,
    receipt::{AdmissionReceipt, SignedReceipt},
    signature::{Signature65, SignatureError, SigningKey, SigningKeyError},
    status::{SkipReason, TxStatus},
};
