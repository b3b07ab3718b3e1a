//! Points of BLS12-381 as EIP-2537 takes them.
//!
//! On the wire points are compressed (48 bytes in G1, 96 in G2); the precompiles and our contracts take
//! coordinates of 64 bytes each, 48 of them used, big-endian. In G2 the real part of a coordinate comes
//! first; the compressed form and the common uncompressed one have it last. Infinity is all zeros.
//!
//! Everything here is public, so nothing is constant-time.

use blst::{BLST_ERROR, min_pk, min_sig};

/// Bytes of a compressed point of G1.
pub const G1_COMPRESSED: usize = 48;
/// Bytes of a compressed point of G2.
pub const G2_COMPRESSED: usize = 96;
/// Bytes of a point of G1 in EIP-2537's form.
pub const G1_BYTES: usize = 128;
/// Bytes of a point of G2 in EIP-2537's form.
pub const G2_BYTES: usize = 256;

/// Bytes of a field element.
const FP: usize = 48;
/// Bytes of a field element with the zeros before it.
const PADDED: usize = 64;

/// Why bytes are not a point of the group. The fault of whoever made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not the canonical form: a coordinate over the modulus, a wrong flag, padding that is not zero.
    #[error("not a canonical encoding of a point")]
    Encoding,
    /// Not on the curve.
    #[error("the point is not on the curve")]
    Curve,
    /// On the curve, but outside the subgroup of prime order.
    #[error("the point is outside the prime-order subgroup")]
    Subgroup,
}

impl From<BLST_ERROR> for PointError {
    fn from(error: BLST_ERROR) -> Self {
        match error {
            BLST_ERROR::BLST_POINT_NOT_ON_CURVE => Self::Curve,
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => Self::Subgroup,
            _ => Self::Encoding,
        }
    }
}

/// A compressed point of G1 in EIP-2537's form. Infinity is a point.
///
/// # Errors
/// [`PointError`] if it is no point of the subgroup.
pub fn g1_to_eip2537(compressed: &[u8; G1_COMPRESSED]) -> Result<[u8; G1_BYTES], PointError> {
    let point = min_sig::Signature::uncompress(compressed)?;
    point.validate(false)?;
    let mut out = [0; G1_BYTES];
    if !is_infinity(compressed) {
        for (to, from) in out.chunks_exact_mut(PADDED).zip(point.serialize().chunks_exact(FP)) {
            to[PADDED - FP..].copy_from_slice(from);
        }
    }
    Ok(out)
}

/// A compressed point of G2 in EIP-2537's form. Infinity is a point.
///
/// # Errors
/// [`PointError`] if it is no point of the subgroup.
pub fn g2_to_eip2537(compressed: &[u8; G2_COMPRESSED]) -> Result<[u8; G2_BYTES], PointError> {
    let point = min_pk::Signature::uncompress(compressed)?;
    point.validate(false)?;
    let mut out = [0; G2_BYTES];
    if !is_infinity(compressed) {
        let plain = point.serialize();
        for (index, from) in SWAPPED.into_iter().zip(plain.chunks_exact(FP)) {
            out[index * PADDED + PADDED - FP..(index + 1) * PADDED].copy_from_slice(from);
        }
    }
    Ok(out)
}

/// A point of G1 in EIP-2537's form, compressed.
///
/// # Errors
/// [`PointError`] if it is no point of the subgroup.
pub fn g1_from_eip2537(bytes: &[u8; G1_BYTES]) -> Result<[u8; G1_COMPRESSED], PointError> {
    let mut plain = [0; 2 * FP];
    for (to, from) in plain.chunks_exact_mut(FP).zip(bytes.chunks_exact(PADDED)) {
        to.copy_from_slice(unpad(from)?);
    }
    if plain == [0; 2 * FP] {
        plain[0] = INFINITY_FLAG;
    }
    refuse_flags(&plain, bytes)?;
    let point = min_sig::Signature::deserialize(&plain)?;
    point.validate(false)?;
    Ok(point.compress())
}

/// A point of G2 in EIP-2537's form, compressed.
///
/// # Errors
/// [`PointError`] if it is no point of the subgroup.
pub fn g2_from_eip2537(bytes: &[u8; G2_BYTES]) -> Result<[u8; G2_COMPRESSED], PointError> {
    let mut plain = [0; 4 * FP];
    for (index, to) in SWAPPED.into_iter().zip(plain.chunks_exact_mut(FP)) {
        to.copy_from_slice(unpad(&bytes[index * PADDED..(index + 1) * PADDED])?);
    }
    if plain == [0; 4 * FP] {
        plain[0] = INFINITY_FLAG;
    }
    refuse_flags(&plain, bytes)?;
    let point = min_pk::Signature::deserialize(&plain)?;
    point.validate(false)?;
    Ok(point.compress())
}

/// Where each element of the common uncompressed form (x₁ x₀ y₁ y₀) stands in EIP-2537's (x₀ x₁ y₀ y₁).
const SWAPPED: [usize; 4] = [1, 0, 3, 2];

/// First byte of infinity in the common forms; compressed it has the highest bit too.
const INFINITY_FLAG: u8 = 0x40;

fn is_infinity(compressed: &[u8]) -> bool {
    compressed.first().is_some_and(|first| first & INFINITY_FLAG != 0)
}

fn unpad(padded: &[u8]) -> Result<&[u8], PointError> {
    let (zeros, element) = padded.split_at(PADDED - FP);
    if zeros.iter().all(|byte| *byte == 0) { Ok(element) } else { Err(PointError::Encoding) }
}

/// The three highest bits of the common form are flags; in EIP-2537's they make an element too large.
fn refuse_flags(plain: &[u8], original: &[u8]) -> Result<(), PointError> {
    let flagged = plain.first().is_some_and(|first| first & 0xe0 != 0);
    let infinity = original.iter().all(|byte| *byte == 0);
    if flagged && !infinity { Err(PointError::Encoding) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Generators and infinity, and where their coordinates lie: EIP-2537's own numbers.
    const G1: &str = "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb";
    const G1_Y: &str = "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";
    const G2_X0: &str = "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8";
    const G2_X1: &str = "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e";
    const G2_Y0: &str = "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801";
    const G2_Y1: &str = "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";

    fn padded(elements: &[&str]) -> Vec<u8> {
        let zeros = "00".repeat(PADDED - FP);
        let text: String = elements.iter().flat_map(|one| [zeros.as_str(), *one]).collect();
        alloy_primitives::hex::decode(text).expect("hex")
    }

    fn secret(seed: u64) -> blst::min_pk::SecretKey {
        let mut ikm = [7; 32];
        ikm[..8].copy_from_slice(&seed.to_be_bytes());
        blst::min_pk::SecretKey::key_gen(&ikm, &[]).expect("32 bytes")
    }

    #[test]
    fn the_generators_have_the_published_coordinates() {
        let mut one = [0; 32];
        one[31] = 1;
        let g1 = min_pk::SecretKey::from_bytes(&one).expect("one").sk_to_pk().compress();
        assert_eq!(g1_to_eip2537(&g1).expect("a point").to_vec(), padded(&[G1, G1_Y]));
        let g2 = min_sig::SecretKey::from_bytes(&one).expect("one").sk_to_pk().compress();
        let expected = padded(&[G2_X0, G2_X1, G2_Y0, G2_Y1]);
        assert_eq!(g2_to_eip2537(&g2).expect("a point").to_vec(), expected);
    }

    #[test]
    fn infinity_is_all_zeros() {
        let mut g1 = [0; G1_COMPRESSED];
        g1[0] = 0xc0;
        assert_eq!(g1_to_eip2537(&g1), Ok([0; G1_BYTES]));
        assert_eq!(g1_from_eip2537(&[0; G1_BYTES]), Ok(g1));
        let mut g2 = [0; G2_COMPRESSED];
        g2[0] = 0xc0;
        assert_eq!(g2_to_eip2537(&g2), Ok([0; G2_BYTES]));
        assert_eq!(g2_from_eip2537(&[0; G2_BYTES]), Ok(g2));
    }

    #[test]
    fn points_outside_the_group_are_refused() {
        // (0, 2) is on y² = x³ + 4 and has order 3.
        let mut bytes = [0; G1_BYTES];
        bytes[G1_BYTES - 1] = 2;
        assert_eq!(g1_from_eip2537(&bytes), Err(PointError::Subgroup));
        bytes[G1_BYTES - 1] = 3;
        assert_eq!(g1_from_eip2537(&bytes), Err(PointError::Curve));
        let mut compressed = [0; G1_COMPRESSED];
        compressed[0] = 0x80;
        assert_eq!(g1_to_eip2537(&compressed), Err(PointError::Subgroup));
        compressed[0] = 0;
        assert_eq!(g1_to_eip2537(&compressed), Err(PointError::Encoding));
    }

    proptest! {
        #[test]
        fn both_forms_say_the_same(seed: u64) {
            let g1 = secret(seed).sk_to_pk().compress();
            prop_assert_eq!(g1_from_eip2537(&g1_to_eip2537(&g1).expect("a point")), Ok(g1));
            let g2 = secret(seed).sign(b"m", b"BLINDFOLD-TEST", &[]).compress();
            prop_assert_eq!(g2_from_eip2537(&g2_to_eip2537(&g2).expect("a point")), Ok(g2));
        }

        /// Any byte changed: no other point's encoding comes of it (a random point is on neither).
        #[test]
        fn a_changed_byte_is_refused(seed: u64, at in 0..G2_BYTES, bit in 0..8u8) {
            let g1 = secret(seed).sk_to_pk().compress();
            let mut changed = g1_to_eip2537(&g1).expect("a point");
            changed[at % G1_BYTES] ^= 1 << bit;
            prop_assert!(g1_from_eip2537(&changed).is_err());
            let g2 = secret(seed).sign(b"m", b"BLINDFOLD-TEST", &[]).compress();
            let mut changed = g2_to_eip2537(&g2).expect("a point");
            changed[at] ^= 1 << bit;
            prop_assert!(g2_from_eip2537(&changed).is_err());
        }
    }
}
