//! Recoverable secp256k1 signatures, low-s only, as Ethereum uses them.
//!
//! # Source
//! SEC 1 §4.1; EIP-2 for the low-s rule; RFC 6979 for the nonce.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use secp256k1::{
    All, Message, PublicKey, Secp256k1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use crate::{codec::DecodeError, domain};

static CONTEXT: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Half the group order, big-endian: the largest `s` that is not malleable.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Why a signature names no signer. The fault of whoever made or altered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `s` is over half the group order, so its mirror image would be valid too.
    #[error("signature is malleable: s is over half the group order")]
    HighS,
    /// `r` or `s` is out of range, or no public key fits.
    #[error("signature does not recover to any key")]
    Unrecoverable,
}

/// Why bytes are not a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 secret key: zero or not below the group order")]
pub struct SigningKeyError;

/// A recoverable signature: parity of R's y coordinate, r and s as 32 bytes big-endian each.
///
/// Holding one says nothing about its validity; [`Signature65::recover`] checks everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature65 {
    /// Whether R's y coordinate is odd.
    pub y_parity: bool,
    /// The x coordinate of R.
    pub r: [u8; 32],
    /// The proof scalar.
    pub s: [u8; 32],
}

impl Signature65 {
    /// The all-zero signature of the genesis block; recovers to nobody.
    pub const ZERO: Self = Self { y_parity: false, r: [0; 32], s: [0; 32] };

    /// `r ‖ s ‖ v` with v = 27 or 28, as contracts and wallets expect it.
    pub fn to_bytes(&self) -> [u8; 65] {
        let mut out = [0; 65];
        out[..32].copy_from_slice(&self.r);
        out[32..64].copy_from_slice(&self.s);
        out[64] = 27 + u8::from(self.y_parity);
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// If the last byte is neither 27 nor 28.
    pub fn from_bytes(bytes: &[u8; 65]) -> Result<Self, DecodeError> {
        let y_parity = match bytes[64] {
            27 => false,
            28 => true,
            _ => {
                return Err(DecodeError::Invalid {
                    field: "signature",
                    reason: "v is neither 27 nor 28",
                });
            }
        };
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..64]);
        Ok(Self { y_parity, r, s })
    }

    /// The address of the key that signed `digest`.
    ///
    /// # Errors
    /// If s is high, r or s is out of range, or no key fits.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        if self.s > HALF_ORDER {
            return Err(SignatureError::HighS);
        }
        let mut compact = [0; 64];
        compact[..32].copy_from_slice(&self.r);
        compact[32..].copy_from_slice(&self.s);
        let parity = if self.y_parity { RecoveryId::One } else { RecoveryId::Zero };
        let key = RecoverableSignature::from_compact(&compact, parity)
            .and_then(|signature| CONTEXT.recover_ecdsa(Message::from_digest(digest.0), &signature))
            .map_err(|_| SignatureError::Unrecoverable)?;
        Ok(address_of(&key))
    }
}

impl std::fmt::Debug for Signature65 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature65({})", alloy_primitives::hex::encode(self.to_bytes()))
    }
}

/// A secp256k1 secret key. Erased on drop; `Debug` shows the address only.
///
/// # Security
/// Signing is constant-time (libsecp256k1) with RFC 6979 nonces.
#[derive(Clone)]
pub struct SigningKey {
    secret: SecretKey,
    address: Address,
}

impl SigningKey {
    /// Takes a 32-byte big-endian scalar.
    ///
    /// # Errors
    /// If it is zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SigningKeyError> {
        let secret = SecretKey::from_byte_array(*bytes).map_err(|_| SigningKeyError)?;
        let address = address_of(&PublicKey::from_secret_key(&CONTEXT, &secret));
        Ok(Self { secret, address })
    }

    /// Derives a key from 32 random bytes, the same key for the same bytes.
    pub fn random(seed: [u8; 32]) -> Self {
        let seed = zeroize::Zeroizing::new(seed);
        let mut counter = 0u32;
        loop {
            let mut input = zeroize::Zeroizing::new(domain::SIGNING_KEY_SEED.to_vec());
            input.extend_from_slice(seed.as_slice());
            input.extend_from_slice(&counter.to_be_bytes());
            let candidate = zeroize::Zeroizing::new(keccak256(input.as_slice()).0);
            if let Ok(key) = Self::from_bytes(&candidate) {
                return key;
            }
            counter += 1;
        }
    }

    /// The Ethereum address of the key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte digest. The result is low-s and deterministic.
    pub fn sign_digest(&self, digest: B256) -> Signature65 {
        let signature =
            CONTEXT.sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.secret);
        let (parity, compact) = signature.serialize_compact();
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&compact[..32]);
        s.copy_from_slice(&compact[32..]);
        // An x coordinate over the order (ids 2 and 3) has probability 2^-127 and no known message.
        Signature65 { y_parity: matches!(parity, RecoveryId::One | RecoveryId::Three), r, s }
    }

    /// Hands the secret scalar (32 bytes, big-endian) to `f`; for key files only.
    pub fn expose<R>(&self, f: impl FnOnce(&[u8; 32]) -> R) -> R {
        f(&zeroize::Zeroizing::new(self.secret.secret_bytes()))
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("address", &self.address).finish_non_exhaustive()
    }
}

fn address_of(key: &PublicKey) -> Address {
    Address::from_raw_public_key(&key.serialize_uncompressed()[1..])
}
