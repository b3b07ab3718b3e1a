//! What a wallet seals with: the committee key, the label, the seed.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::comb::{Comb, SecretComb};
use crate::error::PointError;
use crate::group::{self, G1_BYTES, Subgroup};

/// The committee's public key Y = x·g in G1.
///
/// A clone is cheap. Tables for fixed-base multiplication (384 KiB) are made at the first re-seal, not
/// before: a wallet never needs them.
#[derive(Clone)]
pub struct CommitteeKey(Arc<Inner>);

struct Inner {
    point: Subgroup,
    bytes: [u8; G1_BYTES],
    comb: OnceLock<Comb>,
}

impl CommitteeKey {
    /// Decodes 48 bytes: canonical compressed point of prime order.
    ///
    /// # Errors
    ///
    /// When the bytes are anything else, infinity included.
    pub fn from_bytes(bytes: &[u8; G1_BYTES]) -> Result<Self, PointError> {
        Ok(Self(Arc::new(Inner {
            point: Subgroup::from_compressed(bytes)?,
            bytes: *bytes,
            comb: OnceLock::new(),
        })))
    }

    /// Takes the key of a `blsttc` key set.
    ///
    /// # Errors
    ///
    /// When the key is infinity.
    pub fn from_blsttc(key: &blsttc::PublicKey) -> Result<Self, PointError> {
        Self::from_bytes(&key.to_bytes())
    }

    /// Encodes the key: 48 bytes, compressed.
    pub fn to_bytes(&self) -> [u8; G1_BYTES] {
        self.0.bytes
    }

    pub(crate) fn point(&self) -> &Subgroup {
        &self.0.point
    }

    pub(crate) fn comb(&self) -> &Comb {
        self.0.comb.get_or_init(|| Comb::new(&self.0.point))
    }
}

impl PartialEq for CommitteeKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for CommitteeKey {}

impl fmt::Debug for CommitteeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitteeKey({})", alloy_primitives::hex::encode(self.0.bytes))
    }
}

/// Tables of the two generators.
pub(crate) static GENERATOR_COMB: LazyLock<Comb> = LazyLock::new(|| Comb::new(&group::GENERATOR));
pub(crate) static SECOND_GENERATOR_COMB: LazyLock<Comb> =
    LazyLock::new(|| Comb::new(&group::SECOND_GENERATOR));

/// Tables of the two generators for secret scalars; a wallet makes them at its first sealing.
pub(crate) static SECRET_GENERATOR_COMB: LazyLock<SecretComb> =
    LazyLock::new(|| SecretComb::new(&group::GENERATOR));
pub(crate) static SECRET_SECOND_GENERATOR_COMB: LazyLock<SecretComb> =
    LazyLock::new(|| SecretComb::new(&group::SECOND_GENERATOR));

/// The point u = r·g of a ciphertext, decoded and found to be of prime order: what a decryption key may
/// be multiplied with. [`crate::verify`] returns it, so that nobody has to decode it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EphemeralPoint(pub(crate) Subgroup);

impl EphemeralPoint {
    /// Decodes 48 bytes: a canonical compressed point of prime order.
    ///
    /// # Errors
    ///
    /// When the bytes are anything else, infinity included.
    pub fn from_bytes(bytes: &[u8; G1_BYTES]) -> Result<Self, PointError> {
        Subgroup::from_compressed(bytes).map(Self)
    }

    /// Encodes the point: 48 bytes, compressed.
    pub fn to_bytes(&self) -> [u8; G1_BYTES] {
        self.0.point().to_compressed()
    }
}

/// The 32-byte label that a ciphertext is bound to: a hash over everything in the envelope that the
/// sealing must not be separated from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(pub [u8; 32]);

/// The 32 random bytes that determine a sealing.
///
/// # Security
///
/// Secret until the committee opens the ciphertext; whoever has it reads the message. It must be
/// fresh for every sealing: two ciphertexts from one seed let the reader of the first link or read
/// the second.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Takes 32 bytes, which the caller got from a cryptographic random generator.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Shows the bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Seed {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Seed {}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}
