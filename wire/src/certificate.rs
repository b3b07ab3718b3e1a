//! Finalization certificates, decoded and verified without the engine.
//!
//! A certificate is an attributable BLS multi-signature (public keys in G2, signatures in G1) of a
//! quorum of members over the engine's finalize message. This module knows the engine's bytes and
//! checks them on `blst` alone, so that a wallet or an auditor needs nothing else; the tests compare
//! it with the engine's own encoding.
//!
//! # Format (`commonware-consensus` simplex `Finalization<bls12381_multisig, Digest32>`)
//!
//! | field | bytes |
//! |---|---|
//! | epoch, view, parent view | LEB128 varints, shortest form |
//! | payload | 32 |
//! | n, the number of members | 8, big-endian |
//! | signers | ⌈n/8⌉; member i is bit i mod 8 (lowest first) of byte i/8; unused bits zero |
//! | signature | 48, compressed G1 |
//!
//! # What is signed
//! hash_to_g1(`BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_`, varint(length of ns) ‖ ns ‖ epoch ‖ view
//! ‖ parent view ‖ payload) with ns = namespace ‖ `_FINALIZE`, the fields encoded as above.
//!
//! # Security
//! Adding up keys is safe because genesis carries a proof of possession for each. One pairing check:
//! e(H(m), Σ pk_i) = e(σ, g₂); keys and signature are checked to be in their prime-order subgroups,
//! the signature not to be infinity.

use alloy_primitives::B256;
use blst::{
    BLST_ERROR, Pairing, blst_p1_affine, blst_p2_affine,
    min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature},
};

use crate::{codec::DecodeError, domain, genesis::Genesis};

/// Most members a committee may have.
pub const MAX_MEMBERS: usize = 1_024;

/// Upper bound of an encoded certificate, in bytes: three varints, payload, bitmap, signature.
pub const MAX_CERTIFICATE_BYTES: usize = 3 * 10 + 32 + 8 + MAX_MEMBERS / 8 + 48;

const MESSAGE_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const FINALIZE_SUFFIX: &[u8] = b"_FINALIZE";

/// The engine's base namespace on this protocol, before the genesis hash.
pub const ENGINE_NAMESPACE: &[u8] = domain::ENGINE;

/// The engine's namespace on one chain: [`ENGINE_NAMESPACE`] ‖ genesis hash. Votes of one chain are
/// never valid on another.
pub fn engine_namespace(genesis_hash: B256) -> Vec<u8> {
    [ENGINE_NAMESPACE, genesis_hash.as_slice()].concat()
}

/// Members that may fail: f = (n − 1) / 3, and 0 for an empty committee.
pub fn max_faults(members: usize) -> usize {
    members.saturating_sub(1) / 3
}

/// Votes that finalize: q = n − f.
pub fn quorum(members: usize) -> usize {
    members - max_faults(members)
}

/// Why a certificate proves nothing. The fault of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Made for a committee of another size.
    #[error("certificate is of {got} members, the committee has {expected}")]
    CommitteeSize {
        /// Members of the committee.
        expected: usize,
        /// Members the certificate speaks of.
        got: usize,
    },
    /// From another epoch than the committee's.
    #[error("certificate is of epoch {got}, the committee of epoch {expected}")]
    Epoch {
        /// The committee's epoch.
        expected: u64,
        /// The certificate's epoch.
        got: u64,
    },
    /// Signers are not strictly ascending or not all members.
    #[error("signers are not distinct members in ascending order")]
    Signers,
    /// Fewer signers than a quorum.
    #[error("certificate has {got} signers, a quorum is {quorum}")]
    Quorum {
        /// Signers needed.
        quorum: usize,
        /// Signers found.
        got: usize,
    },
    /// The signature does not verify under the signers' keys.
    #[error("aggregate signature is invalid")]
    Signature,
    /// The certificate finalizes another digest or epoch than the commitment's.
    #[error("certificate is for another commitment")]
    OtherCommitment,
    /// The certified child names another parent, or another height or epoch than follows.
    #[error("the certified commitment is not a child of this one")]
    NotAChild,
}

/// Why a key or a proof of possession is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteKeyError {
    /// Not a canonical point of the prime-order subgroup of G2, or infinity.
    #[error("vote key is not a valid public key")]
    PublicKey,
    /// Not a scalar between 1 and the group order.
    #[error("vote secret is not a valid scalar")]
    Secret,
    /// The proof of possession does not verify.
    #[error("proof of possession is invalid")]
    Possession,
    /// No member, or more than [`MAX_MEMBERS`].
    #[error("a committee has between 1 and {MAX_MEMBERS} members, not {0}")]
    CommitteeSize(usize),
}

/// A quorum's proof that `payload` is final. Nothing in it is verified until
/// [`FinalizationCertificate::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FinalizationCertificate {
    /// Epoch of the committee that voted.
    pub epoch: u64,
    /// View in which it was finalized.
    pub view: u64,
    /// View of the parent proposal.
    pub parent_view: u64,
    /// Digest of the finalized commitment.
    pub payload: B256,
    /// Number of members of the committee.
    pub members: u16,
    /// Indices of the signers, ascending.
    pub signers: Vec<u16>,
    /// Sum of their signatures, compressed G1.
    pub signature: [u8; 48],
}

impl FinalizationCertificate {
    /// Reads the engine's bytes for a committee of `members`.
    ///
    /// # Errors
    /// If they are not the canonical encoding, or of another committee size.
    pub fn decode_engine(bytes: &[u8], members: usize) -> Result<Self, DecodeError> {
        crate::codec::bounded(bytes, "certificate", MAX_CERTIFICATE_BYTES)?;
        let mut input = bytes;
        let epoch = read_varint(&mut input, "epoch")?;
        let view = read_varint(&mut input, "view")?;
        let parent_view = read_varint(&mut input, "parent view")?;
        let payload = B256::from(read_array::<32>(&mut input, "payload")?);
        let found = u64::from_be_bytes(read_array(&mut input, "members")?);
        let members = u16::try_from(members)
            .ok()
            .filter(|members| u64::from(*members) == found && usize::from(*members) <= MAX_MEMBERS)
            .ok_or(DecodeError::Invalid { field: "members", reason: "not the committee's size" })?;
        let (bitmap, rest) =
            input.split_at_checked(usize::from(members).div_ceil(8)).ok_or(SHORT)?;
        input = rest;
        let is_set = |index: usize| bitmap[index / 8] >> (index % 8) & 1 == 1;
        if (usize::from(members)..bitmap.len() * 8).any(is_set) {
            return Err(DecodeError::Invalid {
                field: "signers",
                reason: "bits beyond the last member",
            });
        }
        let signers: Vec<_> = (0..members).filter(|index| is_set(usize::from(*index))).collect();
        let signature = read_array(&mut input, "signature")?;
        if !input.is_empty() {
            return Err(DecodeError::Trailing(input.len()));
        }
        Ok(Self { epoch, view, parent_view, payload, members, signers, signature })
    }

    /// The engine's bytes. Signers out of range are left out.
    pub fn encode_engine(&self) -> Vec<u8> {
        let mut bitmap = vec![0u8; usize::from(self.members).div_ceil(8)];
        for signer in self.signers.iter().filter(|signer| **signer < self.members) {
            bitmap[usize::from(signer / 8)] |= 1 << (signer % 8);
        }
        let mut out = proposal_bytes(self.epoch, self.view, self.parent_view, self.payload);
        out.extend_from_slice(&u64::from(self.members).to_be_bytes());
        out.extend_from_slice(&bitmap);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Checks that a quorum of `committee` signed the finalize message.
    ///
    /// # Errors
    /// If the committee differs, signers are not a quorum of it, or the signature is invalid.
    pub fn verify(&self, committee: &VoteCommittee) -> Result<(), CertificateError> {
        let expected = committee.keys.len();
        if usize::from(self.members) != expected {
            return Err(CertificateError::CommitteeSize { expected, got: self.members.into() });
        }
        if self.epoch != committee.epoch {
            return Err(CertificateError::Epoch { expected: committee.epoch, got: self.epoch });
        }
        if !self.signers.is_sorted_by(|a, b| a < b) {
            return Err(CertificateError::Signers);
        }
        let keys = self
            .signers
            .iter()
            .map(|signer| committee.keys.get(usize::from(*signer)))
            .collect::<Option<Vec<_>>>()
            .ok_or(CertificateError::Signers)?;
        if keys.len() < committee.quorum() {
            return Err(CertificateError::Quorum { quorum: committee.quorum(), got: keys.len() });
        }
        let key =
            AggregatePublicKey::aggregate(&keys, false).map_err(|_| CertificateError::Signature)?;
        let message = finalize_message(
            &committee.namespace,
            self.epoch,
            self.view,
            self.parent_view,
            self.payload,
        );
        if verify_signature(&key.to_public_key(), MESSAGE_DST, &message, &self.signature) {
            Ok(())
        } else {
            Err(CertificateError::Signature)
        }
    }
}

/// The keys that finalize one epoch, in member order.
#[derive(Clone, Debug)]
pub struct VoteCommittee {
    epoch: u64,
    namespace: Vec<u8>,
    keys: Vec<PublicKey>,
}

impl VoteCommittee {
    /// Takes the engine's `namespace` and the members' compressed G2 keys in member order.
    ///
    /// # Security
    /// Every key's proof of possession must have been verified.
    ///
    /// # Errors
    /// If a key is not a valid point, or their number is not between 1 and [`MAX_MEMBERS`].
    pub fn new(epoch: u64, namespace: &[u8], keys: &[[u8; 96]]) -> Result<Self, VoteKeyError> {
        if keys.is_empty() || keys.len() > MAX_MEMBERS {
            return Err(VoteKeyError::CommitteeSize(keys.len()));
        }
        let keys = keys.iter().map(public_key).collect::<Result<_, _>>()?;
        Ok(Self { epoch, namespace: namespace.to_vec(), keys })
    }

    /// The committee of the first epoch. `genesis` must have been validated.
    ///
    /// # Errors
    /// As [`VoteCommittee::new`].
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, VoteKeyError> {
        let keys: Vec<_> = genesis.committee.members.iter().map(|member| member.vote_key).collect();
        Self::new(genesis.committee.epoch, &engine_namespace(genesis.hash()), &keys)
    }

    /// Signers needed to finalize.
    pub fn quorum(&self) -> usize {
        quorum(self.keys.len())
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.keys.len()
    }

    /// The epoch this committee finalizes.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The engine's namespace.
    pub fn namespace(&self) -> &[u8] {
        &self.namespace
    }
}

/// The compressed G2 public key of a vote secret (32 bytes, big-endian).
///
/// # Errors
/// If the secret is zero or not below the group order.
pub fn vote_public_key(secret: &[u8; 32]) -> Result<[u8; 96], VoteKeyError> {
    Ok(secret_key(secret)?.sk_to_pk().to_bytes())
}

/// Proves possession of a vote key: its signature, under a domain of its own, over its public key.
///
/// # Errors
/// If the secret is zero or not below the group order.
pub fn vote_key_pop_sign(secret: &[u8; 32]) -> Result<[u8; 48], VoteKeyError> {
    let secret = secret_key(secret)?;
    let message = with_namespace(domain::VOTE_KEY_POSSESSION, &secret.sk_to_pk().to_bytes());
    Ok(secret.sign(&message, POSSESSION_DST, &[]).to_bytes())
}

/// Verifies what [`vote_key_pop_sign`] made.
///
/// # Errors
/// If the key is not a valid point or the proof is not of this key.
pub fn vote_key_pop_verify(key: &[u8; 96], proof: &[u8; 48]) -> Result<(), VoteKeyError> {
    let public = public_key(key)?;
    let message = with_namespace(domain::VOTE_KEY_POSSESSION, key);
    if verify_signature(&public, POSSESSION_DST, &message, proof) {
        Ok(())
    } else {
        Err(VoteKeyError::Possession)
    }
}

/// One member's finalize vote, as the engine signs it.
///
/// # Security
/// For tests and tools. A member's votes are signed by the engine alone, which journals them.
///
/// # Errors
/// If the secret is zero or not below the group order.
pub fn sign_finalize_vote(
    secret: &[u8; 32],
    namespace: &[u8],
    epoch: u64,
    view: u64,
    parent_view: u64,
    payload: B256,
) -> Result<[u8; 48], VoteKeyError> {
    let message = finalize_message(namespace, epoch, view, parent_view, payload);
    Ok(secret_key(secret)?.sign(&message, MESSAGE_DST, &[]).to_bytes())
}

/// The sum of compressed G1 signatures; `None` if there are none or one is not in the subgroup.
pub fn aggregate_votes(votes: &[[u8; 48]]) -> Option<[u8; 48]> {
    let votes =
        votes.iter().map(|vote| Signature::uncompress(vote)).collect::<Result<Vec<_>, _>>().ok()?;
    let votes: Vec<_> = votes.iter().collect();
    Some(AggregateSignature::aggregate(&votes, true).ok()?.to_signature().to_bytes())
}

fn secret_key(secret: &[u8; 32]) -> Result<SecretKey, VoteKeyError> {
    SecretKey::from_bytes(secret).map_err(|_| VoteKeyError::Secret)
}

fn public_key(bytes: &[u8; 96]) -> Result<PublicKey, VoteKeyError> {
    let key = PublicKey::uncompress(bytes).map_err(|_| VoteKeyError::PublicKey)?;
    key.validate().map_err(|_| VoteKeyError::PublicKey)?;
    Ok(key)
}

/// One pairing check on this thread (blst's own `verify` would hand it to a thread pool).
fn verify_signature(key: &PublicKey, dst: &[u8], message: &[u8], signature: &[u8; 48]) -> bool {
    let Ok(signature) = Signature::uncompress(signature) else { return false };
    if signature.validate(true).is_err() {
        return false;
    }
    let key: &blst_p2_affine = key.into();
    let signature: &blst_p1_affine = (&signature).into();
    let mut pairing = Pairing::new(true, dst);
    if pairing.aggregate(key, false, signature, false, message, &[]) != BLST_ERROR::BLST_SUCCESS {
        return false;
    }
    pairing.commit();
    pairing.finalverify(None)
}

fn finalize_message(
    namespace: &[u8],
    epoch: u64,
    view: u64,
    parent_view: u64,
    payload: B256,
) -> Vec<u8> {
    let namespace = [namespace, FINALIZE_SUFFIX].concat();
    with_namespace(&namespace, &proposal_bytes(epoch, view, parent_view, payload))
}

fn with_namespace(namespace: &[u8], message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(namespace.len() + message.len() + 2);
    write_varint(namespace.len() as u64, &mut out);
    out.extend_from_slice(namespace);
    out.extend_from_slice(message);
    out
}

fn proposal_bytes(epoch: u64, view: u64, parent_view: u64, payload: B256) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * 10 + 32);
    write_varint(epoch, &mut out);
    write_varint(view, &mut out);
    write_varint(parent_view, &mut out);
    out.extend_from_slice(payload.as_slice());
    out
}

const SHORT: DecodeError =
    DecodeError::Rlp { field: "certificate", source: alloy_rlp::Error::InputTooShort };

fn read_array<const N: usize>(
    input: &mut &[u8],
    _field: &'static str,
) -> Result<[u8; N], DecodeError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(SHORT)?;
    *input = rest;
    Ok(*head)
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Shortest form only: a final zero byte after others is refused, as is what exceeds 64 bits.
fn read_varint(input: &mut &[u8], field: &'static str) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(SHORT)?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift > 0 && byte == 0 || bits << shift >> shift != bits {
            return Err(DecodeError::Invalid { field, reason: "not a canonical varint" });
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Invalid { field, reason: "varint over 64 bits" })
}
