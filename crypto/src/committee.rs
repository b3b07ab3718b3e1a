//! The public data of a committee that shares one decryption key.

use std::fmt;
use std::sync::Arc;

use crate::domain;
use crate::error::{CommitteeError, PointError};
use crate::group::{self, G2_BYTES, G2Point, Scalar, Subgroup, g2_sum, pairing_equal};
use crate::hash::{expand_scalar, keccak};
use crate::key::CommitteeKey;
use crate::lagrange::place;
use crate::share::Share;

/// Largest committee.
pub const MAX_MEMBERS: usize = 1024;

/// The public side of a shared key: Y in G1, Y₂ in G2, and a verification key for each member.
/// A clone is cheap.
///
/// A value of this type is consistent: Y and Y₂ belong to one secret x, and Y₂ and the verification
/// keys VK_i = f(i+1)·g₂ lie on one polynomial f of degree `threshold − 1` with f(0) = x. So any
/// `threshold` verified shares give the one right secret, and fewer do not.
#[derive(Clone)]
pub struct CommitteePublic(Arc<Inner>);

struct Inner {
    key: CommitteeKey,
    key_g2: G2Point,
    threshold: usize,
    verification_keys: Vec<G2Point>,
}

impl CommitteePublic {
    /// Checks and takes the keys: `y` compressed G1, `y2` and `verification_keys` compressed G2, in the
    /// order of the members; `threshold` shares are needed to open.
    ///
    /// # Errors
    ///
    /// When an encoding is wrong, or the keys do not belong together.
    pub fn new(
        y: &[u8; 48],
        y2: &[u8; 96],
        threshold: usize,
        verification_keys: &[[u8; 96]],
    ) -> Result<Self, CommitteeError> {
        let members = verification_keys.len();
        if members > MAX_MEMBERS {
            return Err(CommitteeError::TooManyMembers { members, max: MAX_MEMBERS });
        }
        if threshold == 0 || threshold > members {
            return Err(CommitteeError::Threshold { threshold, members });
        }
        let key = CommitteeKey::from_bytes(y).map_err(CommitteeError::Key)?;
        let key_g2 = G2Point::from_compressed(y2).map_err(CommitteeError::KeyG2)?;
        let points = verification_keys
            .iter()
            .enumerate()
            .map(|(member, bytes)| {
                G2Point::from_compressed(bytes)
                    .map_err(|error| CommitteeError::VerificationKey { member, error })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !pairing_equal(key.point(), &G2Point::generator(), &group::GENERATOR, &key_g2) {
            return Err(CommitteeError::KeyMismatch);
        }
        let degree_below = |bound| has_degree_below(bound, y2, &key_g2, verification_keys, &points);
        if !degree_below(threshold) || (threshold > 1 && degree_below(threshold - 1)) {
            return Err(CommitteeError::Degree);
        }
        Ok(Self(Arc::new(Inner { key, key_g2, threshold, verification_keys: points })))
    }

    /// The key that wallets seal with.
    pub fn key(&self) -> &CommitteeKey {
        &self.0.key
    }

    /// Shares needed to open.
    pub fn threshold(&self) -> usize {
        self.0.threshold
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.0.verification_keys.len()
    }

    /// The committee key in G2, compressed.
    pub fn key_g2(&self) -> [u8; G2_BYTES] {
        self.0.key_g2.to_compressed()
    }

    /// The committee key in G2.
    pub(crate) fn key_g2_point(&self) -> &G2Point {
        &self.0.key_g2
    }

    /// The verification key of a member, who must exist.
    pub(crate) fn verification_point(&self, member: usize) -> G2Point {
        self.0.verification_keys[member]
    }

    /// A member's verification key, compressed.
    pub fn verification_key(&self, member: usize) -> Option<[u8; G2_BYTES]> {
        self.0.verification_keys.get(member).map(|key| key.to_compressed())
    }

    /// Whether a share is what the member's key makes of `u`: canonical, of prime order, and
    /// e(D_j, g₂) = e(u, VK_j). False for an index outside the committee and for an invalid `u`.
    pub fn verify_share(&self, member: usize, u: &[u8; 48], share: &Share) -> bool {
        let (Some(key), Ok(u)) =
            (self.0.verification_keys.get(member), Subgroup::from_compressed(u))
        else {
            return false;
        };
        share
            .decode()
            .and_then(|share| share.into_subgroup())
            .is_ok_and(|share| pairing_equal(&share, &G2Point::generator(), &u, key))
    }

    /// Whether `secret` is the secret D of a ciphertext with this `u`: a canonical compressed point of
    /// prime order with e(D, g₂) = e(u, Y₂).
    pub fn verify_secret(&self, u: &[u8; 48], secret: &[u8; 48]) -> bool {
        self.check_secret(u, secret) == Ok(true)
    }

    pub(crate) fn check_secret(&self, u: &[u8; 48], secret: &[u8; 48]) -> Result<bool, PointError> {
        let u = Subgroup::from_compressed(u)?;
        let secret = Subgroup::from_compressed(secret)?;
        Ok(pairing_equal(&secret, &G2Point::generator(), &u, &self.0.key_g2))
    }
}

impl fmt::Debug for CommitteePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitteePublic")
            .field("key", &self.0.key)
            .field("threshold", &self.0.threshold)
            .field("members", &self.members())
            .finish()
    }
}

impl PartialEq for CommitteePublic {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
            && self.0.key_g2 == other.0.key_g2
            && self.0.threshold == other.0.threshold
            && self.0.verification_keys == other.0.verification_keys
    }
}

impl Eq for CommitteePublic {}

/// Whether Y₂ at x = 0 and the verification keys at x = 1..=n lie on one polynomial of degree below
/// `threshold`.
///
/// Values on such a polynomial are orthogonal to v_i·m(x_i) for v_i = Π_{j≠i} 1/(x_i − x_j) and every
/// polynomial m of degree at most n − threshold; values off it are orthogonal for a random m with
/// probability 2⁻²⁵⁵ only. m comes from a hash of the keys.
///
/// # Source
///
/// Cascudo and David, "SCRAPE" (2017), section 2.1.
fn has_degree_below(
    threshold: usize,
    y2: &[u8; G2_BYTES],
    key_g2: &G2Point,
    key_bytes: &[[u8; G2_BYTES]],
    keys: &[G2Point],
) -> bool {
    let hash =
        keccak(domain::DEGREE, &[&(threshold as u64).to_be_bytes(), y2, key_bytes.as_flattened()]);
    let coefficients: Vec<Scalar> =
        (0u32..).take(keys.len() - threshold + 1).map(|i| expand_scalar(&hash, i)).collect();
    let places: Vec<Scalar> =
        std::iter::once(Scalar::from_u64(0)).chain((0..keys.len()).map(place)).collect();
    let terms: Vec<(Scalar, G2Point)> = places
        .iter()
        .zip(std::iter::once(key_g2).chain(keys))
        .enumerate()
        .map(|(i, (x, point))| {
            let differences = places
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .fold(Scalar::from_u64(1), |product, (_, other)| product.mul(&x.sub(other)));
            let m = coefficients
                .iter()
                .rev()
                .fold(Scalar::from_u64(0), |value, coefficient| value.mul(x).add(coefficient));
            (m.mul(&differences.inverse()), *point)
        })
        .collect();
    g2_sum(&terms).is_none()
}
