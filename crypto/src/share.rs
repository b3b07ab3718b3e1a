//! Decryption shares: what a member of the committee makes of its part of the key.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{DecryptionKeyError, PointError};
use crate::group::{CurvePoint, G1_RAW_BYTES, G2_BYTES, G2Point, Scalar};
use crate::key::EphemeralPoint;
use crate::secret::mul_secret_all;

/// A member's share x_j of the decryption key: a `blsttc` secret key share.
///
/// # Security
///
/// `threshold` of them open everything that was ever sealed for the committee key. Zeroized on drop;
/// never printed.
pub struct DecryptionKey(blsttc::SecretKeyShare);

impl DecryptionKey {
    /// Decodes 32 bytes, big-endian: a scalar below the group order, not zero.
    ///
    /// # Errors
    ///
    /// When the bytes are anything else.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, DecryptionKeyError> {
        let scalar = Scalar::from_be_bytes(bytes).ok_or(DecryptionKeyError::Scalar)?;
        if scalar.is_zero() {
            return Err(DecryptionKeyError::Scalar);
        }
        let share =
            blsttc::SecretKeyShare::from_bytes(*bytes).map_err(|_| DecryptionKeyError::Scalar)?;
        Ok(Self(share))
    }

    /// Takes a share of a `blsttc` key set.
    ///
    /// # Errors
    ///
    /// When the share is zero.
    pub fn from_blsttc(share: &blsttc::SecretKeyShare) -> Result<Self, DecryptionKeyError> {
        Self::from_bytes(&Zeroizing::new(share.to_bytes()))
    }

    /// Shows the 32 big-endian bytes to `read`, for a keystore; the copy is zeroized afterwards.
    pub fn expose<T>(&self, read: impl FnOnce(&[u8; 32]) -> T) -> T {
        read(&Zeroizing::new(self.0.to_bytes()))
    }

    /// The share D_j = x_j·u of the secret of a ciphertext.
    ///
    /// # Security
    ///
    /// Constant time in the key. Says nothing about whether the share may be released.
    pub fn share(&self, u: &EphemeralPoint) -> Share {
        let mut product = u.0.mul_secret(&self.scalar());
        let share = Share(product.to_affine().to_raw());
        product.wipe();
        share
    }

    /// The shares of many ciphertexts, in order, at about half the cost of [`Self::share`] for each.
    ///
    /// # Security
    ///
    /// As for [`Self::share`].
    pub fn shares<'a>(&self, points: impl IntoIterator<Item = &'a EphemeralPoint>) -> Vec<Share> {
        let points: Vec<_> = points.into_iter().map(|point| point.0).collect();
        let products = mul_secret_all(&points, &self.scalar());
        products.into_iter().map(|product| Share(product.to_raw())).collect()
    }

    /// The verification key VK_j = x_j·g₂, compressed.
    pub fn verification_key(&self) -> [u8; G2_BYTES] {
        G2Point::generator_times(&self.scalar())
    }

    fn scalar(&self) -> Scalar {
        // The constructor has checked that the bytes are canonical.
        self.expose(Scalar::from_be_bytes).unwrap_or_else(|| Scalar::from_u64(0))
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecryptionKey(..)")
    }
}

/// A decryption share D_j: an uncompressed point of G1, x ‖ y, big-endian. Any bytes can be in here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Share(pub [u8; G1_RAW_BYTES]);

impl Share {
    /// Canonical, on the curve, not infinity; the order is not checked.
    pub(crate) fn decode(&self) -> Result<CurvePoint, PointError> {
        CurvePoint::from_raw(&self.0)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}..)", alloy_primitives::hex::encode(&self.0[..8]))
    }
}
