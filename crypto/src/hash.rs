//! Keccak-256 in the few shapes that the scheme needs.

use alloy_primitives::Keccak256;
use zeroize::{Zeroize, Zeroizing};

use crate::group::Scalar;

/// keccak256(domain ‖ parts).
pub(crate) fn keccak(domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().0
}

/// keccak256 of bytes without a domain: the digest of a whole field, hashed again under a domain.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    alloy_primitives::keccak256(bytes).0
}

/// The `index`-th scalar expanded from a 32-byte hash: two keccak256 blocks, 512 bits big-endian,
/// reduced modulo the group order. The distance from uniform is below 2⁻²⁵⁶.
pub(crate) fn expand_scalar(hash: &[u8; 32], index: u32) -> Scalar {
    let mut wide = Zeroizing::new([0; 64]);
    for (half, block) in wide.chunks_exact_mut(32).zip(0u8..) {
        let mut bytes = keccak(crate::domain::EXPAND, &[hash, &index.to_be_bytes(), &[block]]);
        half.copy_from_slice(&bytes);
        bytes.zeroize();
    }
    Scalar::from_wide_be(&wide)
}
