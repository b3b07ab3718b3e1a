//! A dealer for tests and development networks. **It knows every secret.**
//!
//! Whoever ran it, or can guess its seed, reads everything that is ever sealed for the key. A network
//! with something at stake makes its key in a distributed ceremony instead.

use blsttc::poly::Poly;
use zeroize::Zeroizing;

use crate::committee::{CommitteePublic, MAX_MEMBERS};
use crate::domain;
use crate::error::{CommitteeError, DealError};
use crate::group::{G2Point, Scalar};
use crate::hash::{expand_scalar, keccak};
use crate::share::DecryptionKey;

/// A dealt key: all public data, and the share of every member.
#[derive(Debug)]
pub struct Dealt {
    /// Committee key in G1, compressed.
    pub y: [u8; 48],
    /// Committee key in G2, compressed.
    pub y2: [u8; 96],
    /// Shares needed to open.
    pub threshold: usize,
    /// Verification keys in the order of the members, compressed G2.
    pub verification_keys: Vec<[u8; 96]>,
    /// Secret shares in the order of the members.
    pub keys: Vec<DecryptionKey>,
}

impl Dealt {
    /// The checked public data.
    ///
    /// # Errors
    ///
    /// Never for the result of [`deal`] that was not changed since.
    pub fn public(&self) -> Result<CommitteePublic, CommitteeError> {
        CommitteePublic::new(&self.y, &self.y2, self.threshold, &self.verification_keys)
    }
}

/// Deals `n` shares of a key of which `threshold` open. The same seed deals the same key.
///
/// # Errors
///
/// When the threshold is zero or above `n`, or `n` above [`MAX_MEMBERS`].
///
/// # Security
///
/// The seed is the secret of the whole network. See the module's documentation.
pub fn deal(n: usize, threshold: usize, seed: [u8; 32]) -> Result<Dealt, DealError> {
    let error = DealError::Shape { members: n, threshold };
    if threshold == 0 || threshold > n || n > MAX_MEMBERS {
        return Err(error);
    }
    let seed = Zeroizing::new(seed);
    let hash = Zeroizing::new(keccak(domain::DEALER, &[&seed[..]]));
    let coefficients: Vec<Scalar> =
        (0u32..).take(threshold).map(|i| expand_scalar(&hash, i)).collect();
    let secret = coefficients.first().ok_or(error)?;
    let y2 = G2Point::generator_times(secret);
    let polynomial = coefficients
        .iter()
        .map(|scalar| {
            let bytes = Zeroizing::new(scalar.to_be_bytes());
            Option::<blsttc::Fr>::from(blsttc::Fr::from_bytes_be(&bytes)).ok_or(error)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let keys = blsttc::SecretKeySet::from(Poly::from(polynomial));
    let shares = (0..n)
        .map(|member| DecryptionKey::from_blsttc(&keys.secret_key_share(member)).map_err(|_| error))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Dealt {
        y: keys.public_keys().public_key().to_bytes(),
        y2,
        threshold,
        verification_keys: shares.iter().map(DecryptionKey::verification_key).collect(),
        keys: shares,
    })
}
