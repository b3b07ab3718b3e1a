//! BLS12-381 on `blst`. Only this module and [`crate::fp`] contain `unsafe`.
//!
//! The types say what is known about a point:
//!
//! * [`CurvePoint`]: on the curve, affine, possibly infinity, possibly with a component of small
//!   order. Arithmetic on it uses complete formulas only.
//! * [`Subgroup`]: of prime order and not infinity. Only these may be multiplied by a secret.
//! * [`Sum`]: a projective accumulator, nothing known.
//! * [`G2Point`]: in the prime-order subgroup of G2 and not infinity.
//!
//! Two traps of `blst` that the types and the checks here keep away: `blst_p1_mult` with a scalar of
//! 176 bits or more goes through an endomorphism that is right only in the subgroup; and multi-scalar
//! multiplication of fewer than 32 points normalises its tables with one shared inversion that infinity
//! spoils, so that one point of order three makes every other term wrong.

use std::ptr;
use std::sync::LazyLock;

use blst::*;
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroize;

use crate::domain;
use crate::error::PointError;
use crate::fp::Fp;

/// Bytes of a compressed point of G1.
pub(crate) const G1_BYTES: usize = 48;
/// Bytes of an uncompressed point of G1.
pub(crate) const G1_RAW_BYTES: usize = 96;
/// Bytes of a compressed point of G2.
pub(crate) const G2_BYTES: usize = 96;
/// Bits of a scalar.
pub(crate) const SCALAR_BITS: usize = 255;

/// The true cofactor h = (x−1)²/3 of the curve, little-endian (126 bits).
const COFACTOR_LE: [u8; 16] = 0x396c_8c00_5555_e156_8c00_aaab_0000_aaab_u128.to_le_bytes();

/// An integer modulo the group order. Always zeroized on drop, for many of them are secret.
#[derive(Clone)]
pub(crate) struct Scalar(blst_fr);

impl Drop for Scalar {
    fn drop(&mut self) {
        self.0.l.zeroize();
    }
}

impl Scalar {
    pub(crate) fn from_u64(value: u64) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: both pointers are to four limbs.
        unsafe { blst_fr_from_uint64(&mut fr, [value, 0, 0, 0].as_ptr()) };
        Self(fr)
    }

    /// Little-endian integer of at most 128 bits.
    pub(crate) fn from_short_le(bytes: &[u8; 16]) -> Self {
        let mut scalar = blst_scalar::default();
        scalar.b[..16].copy_from_slice(bytes);
        Self::from_blst(&scalar)
    }

    /// Canonical big-endian bytes; `None` when not below the group order.
    pub(crate) fn from_be_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let mut scalar = blst_scalar::default();
        // SAFETY: 32 bytes in, a scalar out; the check reads the scalar only.
        let canonical = unsafe {
            blst_scalar_from_bendian(&mut scalar, bytes.as_ptr());
            blst_scalar_fr_check(&scalar)
        };
        canonical.then(|| Self::from_blst(&scalar))
    }

    /// A 512-bit big-endian integer, reduced modulo the group order.
    pub(crate) fn from_wide_be(bytes: &[u8; 64]) -> Self {
        let mut scalar = blst_scalar::default();
        // SAFETY: the length given is the array's. The result is reduced; it may be zero.
        unsafe { blst_scalar_from_be_bytes(&mut scalar, bytes.as_ptr(), bytes.len()) };
        Self::from_blst(&scalar)
    }

    fn from_blst(scalar: &blst_scalar) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: plain conversion between two fixed-size types.
        unsafe { blst_fr_from_scalar(&mut fr, scalar) };
        Self(fr)
    }

    fn to_blst(&self) -> blst_scalar {
        let mut scalar = blst_scalar::default();
        // SAFETY: plain conversion between two fixed-size types.
        unsafe { blst_scalar_from_fr(&mut scalar, &self.0) };
        scalar
    }

    pub(crate) fn to_le_bytes(&self) -> [u8; 32] {
        self.to_blst().b
    }

    pub(crate) fn to_be_bytes(&self) -> [u8; 32] {
        let mut bytes = self.to_le_bytes();
        bytes.reverse();
        bytes
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0 == blst_fr::default()
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: three pointers to field elements.
        unsafe { blst_fr_add(&mut fr, &self.0, &other.0) };
        Self(fr)
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: three pointers to field elements.
        unsafe { blst_fr_sub(&mut fr, &self.0, &other.0) };
        Self(fr)
    }

    pub(crate) fn mul(&self, other: &Self) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: three pointers to field elements.
        unsafe { blst_fr_mul(&mut fr, &self.0, &other.0) };
        Self(fr)
    }

    /// Multiplicative inverse; zero for zero.
    pub(crate) fn inverse(&self) -> Self {
        let mut fr = blst_fr::default();
        // SAFETY: two pointers to field elements.
        unsafe { blst_fr_inverse(&mut fr, &self.0) };
        Self(fr)
    }
}

/// A point on the curve; nothing is known about its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CurvePoint(blst_p1_affine);

impl CurvePoint {
    /// Decodes 48 bytes: canonical, on the curve. Infinity and points of small order pass.
    ///
    /// `blst` reports the two points of order three, (0, ±2), as outside the subgroup already here.
    /// They are on the curve, so they pass.
    pub(crate) fn from_compressed(bytes: &[u8; G1_BYTES]) -> Result<Self, PointError> {
        let mut point = blst_p1_affine::default();
        // SAFETY: 48 bytes in, an affine point out, which is written in full on these two codes.
        let code = unsafe { blst_p1_uncompress(&mut point, bytes.as_ptr()) };
        match code {
            BLST_ERROR::BLST_SUCCESS | BLST_ERROR::BLST_POINT_NOT_IN_GROUP => {}
            BLST_ERROR::BLST_POINT_NOT_ON_CURVE => return Err(PointError::NotOnCurve),
            _ => return Err(PointError::Encoding),
        }
        let point = Self(point);
        if point.to_compressed() != *bytes {
            return Err(PointError::Encoding);
        }
        Ok(point)
    }

    /// Decodes 96 bytes: canonical uncompressed, on the curve, not infinity, x ≠ 0.
    pub(crate) fn from_raw(bytes: &[u8; G1_RAW_BYTES]) -> Result<Self, PointError> {
        let mut point = blst_p1_affine::default();
        // SAFETY: 96 bytes in, an affine point out.
        let code = unsafe { blst_p1_deserialize(&mut point, bytes.as_ptr()) };
        match code {
            BLST_ERROR::BLST_SUCCESS => {}
            BLST_ERROR::BLST_POINT_NOT_ON_CURVE => return Err(PointError::NotOnCurve),
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => return Err(PointError::Subgroup),
            _ => return Err(PointError::Encoding),
        }
        let point = Self(point);
        if point.to_raw() != *bytes {
            return Err(PointError::Encoding);
        }
        if point.is_infinity() {
            return Err(PointError::Infinity);
        }
        Ok(point)
    }

    pub(crate) fn to_compressed(self) -> [u8; G1_BYTES] {
        let mut out = [0; G1_BYTES];
        // SAFETY: the output has the 48 bytes that are written.
        unsafe { blst_p1_affine_compress(out.as_mut_ptr(), &self.0) };
        out
    }

    pub(crate) fn to_raw(self) -> [u8; G1_RAW_BYTES] {
        let mut out = [0; G1_RAW_BYTES];
        // SAFETY: the output has the 96 bytes that are written.
        unsafe { blst_p1_affine_serialize(out.as_mut_ptr(), &self.0) };
        out
    }

    /// Overwrites the point with infinity.
    pub(crate) fn wipe(&mut self) {
        self.0.x.l.zeroize();
        self.0.y.l.zeroize();
    }

    /// Takes the value of `other` where `choice` says so, in constant time.
    pub(crate) fn assign_if(&mut self, other: &Self, choice: Choice) {
        let limbs = self.0.x.l.iter_mut().chain(&mut self.0.y.l);
        for (limb, other) in limbs.zip(other.0.x.l.iter().chain(&other.0.y.l)) {
            limb.conditional_assign(other, choice);
        }
    }

    #[inline]
    pub(crate) fn is_infinity(&self) -> bool {
        // How `blst` writes infinity in affine coordinates.
        self.0.x.l.iter().chain(&self.0.y.l).fold(0, |sum, limb| sum | limb) == 0
    }

    pub(crate) fn x(&self) -> Fp {
        Fp(self.0.x)
    }

    pub(crate) fn y(&self) -> Fp {
        Fp(self.0.y)
    }

    /// The point with these coordinates, which the caller knows to be on the curve.
    pub(crate) fn from_coordinates(x: Fp, y: Fp) -> Self {
        Self(blst_p1_affine { x: x.0, y: y.0 })
    }

    pub(crate) fn negate(&self) -> Self {
        Self::from_coordinates(self.x(), self.y().negate())
    }

    /// (root·x, y): on the curve again for a cube root of one.
    pub(crate) fn rotate(&self, root: &Fp) -> Self {
        Self::from_coordinates(self.x().mul(root), self.y())
    }

    /// Checks prime order and that the point is not infinity.
    pub(crate) fn into_subgroup(self) -> Result<Subgroup, PointError> {
        if self.is_infinity() {
            return Err(PointError::Infinity);
        }
        if !self.is_in_subgroup() {
            return Err(PointError::Subgroup);
        }
        Ok(Subgroup(self))
    }

    /// Whether the point has prime order or is infinity.
    pub(crate) fn is_in_subgroup(&self) -> bool {
        // SAFETY: reads one affine point on the curve.
        unsafe { blst_p1_affine_in_g1(&self.0) }
    }

    pub(crate) fn to_sum(self) -> Sum {
        let mut sum = blst_p1::default();
        // SAFETY: one affine point in, one projective point out.
        unsafe { blst_p1_from_affine(&mut sum, &self.0) };
        Sum(sum)
    }
}

/// A point of prime order, not infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subgroup(CurvePoint);

impl Subgroup {
    pub(crate) fn from_compressed(bytes: &[u8; G1_BYTES]) -> Result<Self, PointError> {
        CurvePoint::from_compressed(bytes)?.into_subgroup()
    }

    /// For a point that the caller found to be of prime order, among others, and not infinity.
    pub(crate) fn checked(point: CurvePoint) -> Self {
        debug_assert!(!point.is_infinity() && point.is_in_subgroup());
        Self(point)
    }

    pub(crate) fn point(&self) -> CurvePoint {
        self.0
    }

    /// Scalar multiplication in constant time.
    pub(crate) fn mul_secret(&self, scalar: &Scalar) -> Sum {
        let mut out = blst_p1::default();
        let bytes = scalar.to_blst();
        // SAFETY: the scalar has 32 bytes, enough for 255 bits; the point is in the subgroup, as the
        // endomorphism inside needs.
        unsafe { blst_p1_mult(&mut out, &self.0.to_sum().0, bytes.b.as_ptr(), SCALAR_BITS) };
        Sum(out)
    }
}

/// The standard generator g of G1.
pub(crate) static GENERATOR: LazyLock<Subgroup> = LazyLock::new(|| {
    // SAFETY: blst returns a pointer to a constant with static lifetime.
    Subgroup(CurvePoint(unsafe { *blst_p1_affine_generator() }))
});

/// The second generator g̅: a hash to the curve, so nobody knows its logarithm to base g.
pub(crate) static SECOND_GENERATOR: LazyLock<Subgroup> = LazyLock::new(|| {
    let (msg, dst) = (domain::SECOND_GENERATOR, domain::SECOND_GENERATOR_DST);
    let mut out = blst_p1::default();
    // SAFETY: pointers and lengths belong together; the absent augmentation has length zero. The
    // result is in the subgroup (RFC 9380 clears the cofactor).
    unsafe {
        blst_hash_to_g1(&mut out, msg.as_ptr(), msg.len(), dst.as_ptr(), dst.len(), ptr::null(), 0);
    }
    Subgroup(Sum(out).to_affine())
});

/// A projective point.
#[derive(Clone, Copy)]
pub(crate) struct Sum(blst_p1);

impl Sum {
    pub(crate) const fn zero() -> Self {
        let zero = blst_fp { l: [0; 6] };
        Self(blst_p1 { x: zero, y: zero, z: zero })
    }

    /// Overwrites the point with infinity.
    pub(crate) fn wipe(&mut self) {
        self.0.x.l.zeroize();
        self.0.y.l.zeroize();
        self.0.z.l.zeroize();
    }

    /// Complete addition: right for equal points, inverses and infinity.
    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut out = blst_p1::default();
        // SAFETY: three pointers to projective points.
        unsafe { blst_p1_add_or_double(&mut out, &self.0, &other.0) };
        Self(out)
    }

    /// Complete addition of an affine point.
    pub(crate) fn add_affine(&self, other: &CurvePoint) -> Self {
        let mut out = blst_p1::default();
        // SAFETY: three pointers to points.
        unsafe { blst_p1_add_or_double_affine(&mut out, &self.0, &other.0) };
        Self(out)
    }

    pub(crate) fn double(&self) -> Self {
        let mut out = blst_p1::default();
        // SAFETY: two pointers to projective points. The curve has no point of order two.
        unsafe { blst_p1_double(&mut out, &self.0) };
        Self(out)
    }

    pub(crate) fn negate(mut self) -> Self {
        // SAFETY: one projective point, changed in place.
        unsafe { blst_p1_cneg(&mut self.0, true) };
        self
    }

    pub(crate) fn is_infinity(&self) -> bool {
        // SAFETY: reads one projective point.
        unsafe { blst_p1_is_inf(&self.0) }
    }

    pub(crate) fn to_affine(self) -> CurvePoint {
        let mut out = blst_p1_affine::default();
        // SAFETY: one projective point in, one affine point out; infinity is handled.
        unsafe { blst_p1_to_affine(&mut out, &self.0) };
        CurvePoint(out)
    }

    /// Multiplication by a public little-endian integer, right for every point of the curve.
    /// Time depends on the integer.
    pub(crate) fn mul_public(&self, scalar_le: &[u8]) -> Self {
        let mut out = Self::zero();
        for byte in scalar_le.iter().rev() {
            for bit in (0..8).rev() {
                out = out.double();
                if byte >> bit & 1 == 1 {
                    out = out.add(self);
                }
            }
        }
        out
    }

    /// h times the point, h being the true cofactor: infinity exactly when the point has no
    /// component of prime order.
    pub(crate) fn clear_cofactor(&self) -> Self {
        self.mul_public(&COFACTOR_LE)
    }
}

/// Converts many points with one field inversion.
pub(crate) fn to_affine_all(sums: &[Sum]) -> Vec<CurvePoint> {
    let mut out = vec![CurvePoint::default(); sums.len()];
    if sums.is_empty() {
        return out;
    }
    let sources: Vec<*const blst_p1> = sums.iter().map(|sum| ptr::from_ref(&sum.0)).collect();
    // SAFETY: `CurvePoint` has one field of type `blst_p1_affine` and is used as such; both arrays
    // have `sums.len()` entries. Infinity is handled.
    unsafe {
        blst_p1s_to_affine(out.as_mut_ptr().cast::<blst_p1_affine>(), sources.as_ptr(), sums.len());
    }
    out
}

/// Multi-scalar multiplication by full scalars in variable time. With a point outside the subgroup
/// the result may be any point: the caller has to check what it gets.
pub(crate) fn msm_subgroup(points: &[CurvePoint], scalars: &[Scalar]) -> Sum {
    assert_eq!(points.len(), scalars.len(), "one scalar for each point");
    if points.is_empty() {
        return Sum::zero();
    }
    let bytes: Vec<u8> = scalars.iter().flat_map(Scalar::to_le_bytes).collect();
    pippenger(points, &bytes, SCALAR_BITS)
}

fn pippenger(points: &[CurvePoint], scalars_le: &[u8], bits: usize) -> Sum {
    assert!(!points.is_empty() && scalars_le.len() == points.len() * bits.div_ceil(8));
    let mut out = blst_p1::default();
    // SAFETY: an array of pointers that ends with null after the first entry means that the rest
    // follows contiguously; lengths were checked above. `CurvePoint` is one `blst_p1_affine`. The
    // scratch space has the size that blst asks for, in 8-byte limbs.
    unsafe {
        let mut scratch =
            vec![0 as limb_t; blst_p1s_mult_pippenger_scratch_sizeof(points.len()).div_ceil(8)];
        let point_list = [points.as_ptr().cast::<blst_p1_affine>(), ptr::null()];
        let scalar_list = [scalars_le.as_ptr(), ptr::null()];
        blst_p1s_mult_pippenger(
            &mut out,
            point_list.as_ptr(),
            points.len(),
            scalar_list.as_ptr(),
            bits,
            scratch.as_mut_ptr(),
        );
    }
    Sum(out)
}

/// A point of G2 of prime order, not infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct G2Point(blst_p2_affine);

impl G2Point {
    pub(crate) fn generator() -> Self {
        // SAFETY: blst returns a pointer to a constant with static lifetime.
        Self(unsafe { *blst_p2_affine_generator() })
    }

    pub(crate) fn from_compressed(bytes: &[u8; G2_BYTES]) -> Result<Self, PointError> {
        let mut point = blst_p2_affine::default();
        // SAFETY: 96 bytes in, an affine point out; the later calls read it only.
        unsafe {
            match blst_p2_uncompress(&mut point, bytes.as_ptr()) {
                BLST_ERROR::BLST_SUCCESS => {}
                BLST_ERROR::BLST_POINT_NOT_ON_CURVE => return Err(PointError::NotOnCurve),
                BLST_ERROR::BLST_POINT_NOT_IN_GROUP => return Err(PointError::Subgroup),
                _ => return Err(PointError::Encoding),
            }
            if blst_p2_affine_is_inf(&point) {
                return Err(PointError::Infinity);
            }
            if !blst_p2_affine_in_g2(&point) {
                return Err(PointError::Subgroup);
            }
        }
        let point = Self(point);
        if point.to_compressed() != *bytes {
            return Err(PointError::Encoding);
        }
        Ok(point)
    }

    pub(crate) fn to_compressed(self) -> [u8; G2_BYTES] {
        let mut out = [0; G2_BYTES];
        // SAFETY: the output has the 96 bytes that are written.
        unsafe { blst_p2_affine_compress(out.as_mut_ptr(), &self.0) };
        out
    }

    /// The scalar times the generator, in constant time.
    pub(crate) fn generator_times(scalar: &Scalar) -> [u8; G2_BYTES] {
        let mut sum = blst_p2::default();
        let bytes = scalar.to_blst();
        let mut out = [0; G2_BYTES];
        // SAFETY: the scalar has 32 bytes for 255 bits, the output 96 bytes.
        unsafe {
            blst_p2_mult(&mut sum, blst_p2_generator(), bytes.b.as_ptr(), SCALAR_BITS);
            blst_p2_compress(out.as_mut_ptr(), &sum);
        }
        out
    }
}

/// A sum of multiples of points of G2; `None` for infinity.
pub(crate) fn g2_sum(terms: &[(Scalar, G2Point)]) -> Option<G2Point> {
    let mut sum = blst_p2::default();
    for (scalar, point) in terms {
        let (mut projective, mut term) = (blst_p2::default(), blst_p2::default());
        let bytes = scalar.to_blst();
        // SAFETY: fixed-size points, 32 bytes for 255 bits; the point is in the subgroup.
        unsafe {
            blst_p2_from_affine(&mut projective, &point.0);
            blst_p2_mult(&mut term, &projective, bytes.b.as_ptr(), SCALAR_BITS);
            let previous = sum;
            blst_p2_add_or_double(&mut sum, &previous, &term);
        }
    }
    let mut affine = blst_p2_affine::default();
    // SAFETY: reads one projective point, writes one affine point.
    unsafe {
        blst_p2_to_affine(&mut affine, &sum);
        (!blst_p2_is_inf(&sum)).then_some(G2Point(affine))
    }
}

/// Whether e(a, b) = e(c, d).
pub(crate) fn pairing_equal(a: &Subgroup, b: &G2Point, c: &Subgroup, d: &G2Point) -> bool {
    let (mut left, mut right) = (blst_fp12::default(), blst_fp12::default());
    // SAFETY: fixed-size inputs and outputs; no point is infinity, which the types keep out.
    unsafe {
        blst_miller_loop(&mut left, &b.0, &a.0.0);
        blst_miller_loop(&mut right, &d.0, &c.0.0);
        blst_fp12_finalverify(&left, &right)
    }
}
