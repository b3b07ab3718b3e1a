//! A dealt committee: every secret of every member, made in one place, for tests and development networks.
//!
//! **The dealer knows all keys and can read everything.** The distributed ceremony replaces it; until then
//! show [`DEALER_WARNING`] wherever it is used.

use blindfold_crypto::{DealError, dealer};
use blindfold_wire::{
    Address, B256,
    certificate::{VoteKeyError, quorum, vote_key_pop_sign, vote_public_key},
    genesis::{CommitteeInfo, MemberInfo},
    signature::{SigningKey, SigningKeyError},
};
use commonware_codec::{DecodeFixed, EncodeFixed};
use commonware_cryptography::{Signer, ed25519};
use zeroize::Zeroizing;

use crate::secrets::{MemberSecrets, SecretsError};

/// What to print when the dealer runs, and when a network made by it starts.
pub const DEALER_WARNING: &str = "\
WARNING: these keys come from a test dealer. One process held every secret of this committee, so whoever \
ran it can read every sealed transaction and sign for every member. Never use them where anything is at stake.";

const DOMAIN: &[u8] = b"BLINDFOLD-V1/test-dealer/";

/// A committee and the secrets of its members, by index.
#[derive(Debug)]
pub struct DealtCommittee {
    /// The public side, as it stands in genesis.
    pub info: CommitteeInfo,
    /// The members' secrets, in member order.
    pub secrets: Vec<MemberSecrets>,
}

/// Why no committee was dealt.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The number of members is not possible.
    #[error("cannot deal keys for {members} members")]
    Shape {
        /// The number asked for.
        members: usize,
        /// Why.
        #[source]
        error: DealError,
    },
    /// A derived scalar is out of range; take another seed. No such seed is known.
    #[error("the seed leads to an invalid vote key, take another one")]
    Vote(#[from] VoteKeyError),
    /// A derived scalar is out of range; take another seed. No such seed is known.
    #[error("the seed leads to an invalid signer key, take another one")]
    Signer(#[from] SigningKeyError),
    /// A derived scalar is out of range; take another seed. No such seed is known.
    #[error("the seed leads to invalid secrets, take another one")]
    Secrets(#[from] SecretsError),
}

/// Deals a committee of `stakes.len()` members from `seed`: epoch 0, threshold n − f, each member's fees going
/// to its signer's address. The same arguments deal the same committee.
///
/// Members are sorted by identity, as everywhere; `stakes[i]` is that of the i-th member in that order.
///
/// # Errors
///
/// When there is no member or there are too many.
///
/// # Security
///
/// `seed` is the secret of the whole network.
pub fn deal_committee(stakes: &[u64], seed: [u8; 32]) -> Result<DealtCommittee, SetupError> {
    let seed = Zeroizing::new(seed);
    let members = stakes.len();
    let threshold = if members == 0 { 0 } else { quorum(members) };
    let dealt = dealer::deal(members, threshold, *derive(&seed, b"decryption", 0))
        .map_err(|error| SetupError::Shape { members, error })?;

    let mut identities: Vec<_> = (0u32..)
        .take(members)
        .map(|serial| {
            let secret = derive(&seed, b"identity", serial);
            (identity_public_key(&secret), secret)
        })
        .collect();
    identities.sort_unstable_by_key(|(public, _)| *public);

    let mut infos = Vec::with_capacity(members);
    let mut secrets = Vec::with_capacity(members);
    let keys = dealt.keys.iter().zip(&dealt.verification_keys);
    for (((member, (identity, identity_secret)), (key, verification_key)), stake) in
        (0u32..).zip(identities).zip(keys).zip(stakes)
    {
        let mut vote = derive(&seed, b"vote", member);
        // Below 2^254, and so below the group order.
        vote[0] &= 0x3f;
        let signer = derive(&seed, b"signer", member);
        let signer_address: Address = SigningKey::from_bytes(&signer)?.address();
        infos.push(MemberInfo {
            identity,
            vote_key: vote_public_key(&vote)?,
            vote_key_pop: vote_key_pop_sign(&vote)?,
            signer: signer_address,
            fee_address: signer_address,
            stake: *stake,
            verification_key: *verification_key,
        });
        let decryption = key.expose(|bytes| Zeroizing::new(*bytes));
        secrets.push(MemberSecrets::new(member, *identity_secret, *vote, *signer, *decryption)?);
    }
    let info = CommitteeInfo {
        epoch: 0,
        threshold: u32::try_from(threshold).unwrap_or(u32::MAX),
        y: dealt.y,
        y2: dealt.y2,
        members: infos,
    };
    Ok(DealtCommittee { info, secrets })
}

/// The ed25519 public key of an identity seed, 32 bytes.
pub fn identity_public_key(seed: &[u8; 32]) -> [u8; 32] {
    identity_key(seed).public_key().encode_fixed()
}

/// The engine's key object of an identity seed.
pub fn identity_key(seed: &[u8; 32]) -> ed25519::PrivateKey {
    // Any 32 bytes are a seed.
    match ed25519::PrivateKey::decode_fixed(*seed) {
        Ok(key) => key,
        Err(error) => unreachable!("32 bytes are an ed25519 seed: {error}"),
    }
}

fn derive(seed: &[u8; 32], purpose: &[u8], serial: u32) -> Zeroizing<[u8; 32]> {
    let mut input = Zeroizing::new(Vec::with_capacity(DOMAIN.len() + 64));
    input.extend_from_slice(DOMAIN);
    input.extend_from_slice(seed);
    input.extend_from_slice(&serial.to_be_bytes());
    input.extend_from_slice(purpose);
    let hash: B256 = alloy_primitives::keccak256(&input);
    Zeroizing::new(hash.0)
}
