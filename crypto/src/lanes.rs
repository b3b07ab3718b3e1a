//! The same operation on many points at once: affine coordinates, one field inversion for all.
//!
//! An affine addition costs six multiplications when its inversion is shared, where a projective one
//! costs eleven and more. So work that takes the same steps at every position of a height (combining
//! shares of the same members, multiplying by tables) goes through here, a chunk of positions abreast.
//!
//! Everything is variable time: for public data only. Additions are complete: equal points, inverses
//! and infinity are found and treated apart, for whoever made the points may have chosen them.
//!
//! Source of the shared inversion: Montgomery (1987), section 10.3.1. Of the endomorphism: Gallant,
//! Lambert and Vanstone (2001).

use std::sync::LazyLock;

use alloy_primitives::U256;
use zeroize::Zeroize;

use crate::fp::Fp;
use crate::group::{CurvePoint, GENERATOR, Scalar, Sum};

/// Positions abreast: enough to share an inversion, few enough for tables to stay in the cache.
pub(crate) const LANES: usize = 128;

/// One addition that waits for its inverse.
struct Pending {
    lane: usize,
    /// What is to be inverted.
    denominator: Fp,
    /// The product of all denominators before this one.
    before: Fp,
}

/// Does the operations; keeps its memory between them.
#[derive(Default)]
pub(crate) struct Lanes {
    pending: Vec<Pending>,
}

impl Lanes {
    /// `sums[i] += term(i)` for every lane; `None` adds nothing.
    pub(crate) fn add(
        &mut self,
        sums: &mut [CurvePoint],
        term: impl Fn(usize) -> Option<CurvePoint>,
    ) {
        let mut product = self.start();
        for (lane, sum) in sums.iter_mut().enumerate() {
            let Some(term) = term(lane).filter(|term| !term.is_infinity()) else { continue };
            if sum.is_infinity() {
                *sum = term;
                continue;
            }
            let denominator = term.x().sub(&sum.x());
            if denominator.is_zero() {
                // The same point, or its inverse.
                *sum = sum.to_sum().add_affine(&term).to_affine();
                continue;
            }
            self.pending.push(Pending { lane, denominator, before: product });
            product = product.mul(&denominator);
        }
        self.finish(product, |lane, inverse| {
            let Some(term) = term(lane) else { return };
            let sum = &mut sums[lane];
            let slope = term.y().sub(&sum.y()).mul(inverse);
            *sum = chord(sum, &term.x(), &slope);
        });
    }

    /// `points[left] += points[right]` for every pair. No index occurs twice.
    pub(crate) fn add_pairs(&mut self, points: &mut [CurvePoint], pairs: &[(usize, usize)]) {
        let mut product = self.start();
        for (lane, (left, right)) in pairs.iter().enumerate() {
            let (sum, term) = (points[*left], points[*right]);
            let denominator = term.x().sub(&sum.x());
            if denominator.is_zero() || sum.is_infinity() || term.is_infinity() {
                points[*left] = sum.to_sum().add_affine(&term).to_affine();
                continue;
            }
            self.pending.push(Pending { lane, denominator, before: product });
            product = product.mul(&denominator);
        }
        self.finish(product, |lane, inverse| {
            let (left, right) = pairs[lane];
            let (sum, term) = (points[left], points[right]);
            let slope = term.y().sub(&sum.y()).mul(inverse);
            points[left] = chord(&sum, &term.x(), &slope);
        });
    }

    /// Doubles every lane. The curve has no point of order two.
    pub(crate) fn double(&mut self, points: &mut [CurvePoint]) {
        let mut product = self.start();
        for (lane, point) in points.iter().enumerate().filter(|(_, point)| !point.is_infinity()) {
            let denominator = point.y().add(&point.y());
            self.pending.push(Pending { lane, denominator, before: product });
            product = product.mul(&denominator);
        }
        self.finish(product, |lane, inverse| {
            let point = &mut points[lane];
            let x = point.x();
            let slope = x.square().triple().mul(inverse);
            *point = chord(point, &x, &slope);
        });
    }

    /// Overwrites what is left of the last operation.
    pub(crate) fn wipe(&mut self) {
        for pending in &mut self.pending {
            pending.denominator.0.l.zeroize();
            pending.before.0.l.zeroize();
        }
    }

    fn start(&mut self) -> Fp {
        self.pending.clear();
        *ONE
    }

    fn finish(&self, product: Fp, mut apply: impl FnMut(usize, &Fp)) {
        let mut inverse = product.inverse();
        for Pending { lane, denominator, before } in self.pending.iter().rev() {
            apply(*lane, &inverse.mul(before));
            inverse = inverse.mul(denominator);
        }
    }

    /// Σ over `terms` of multiplier·points, lane by lane.
    pub(crate) fn combine(&mut self, lanes: usize, terms: &[Term<'_>]) -> Vec<CurvePoint> {
        let tables: Vec<_> = terms.iter().map(|term| self.odd_multiples(lanes, term)).collect();
        let mut sums = vec![CurvePoint::default(); lanes];
        let length = terms.iter().map(|term| term.multiplier.digits.len()).max().unwrap_or(0);
        for place in (0..length).rev() {
            self.double(&mut sums);
            for (term, table) in terms.iter().zip(&tables) {
                let digit = term.multiplier.digits.get(place).copied().unwrap_or(0);
                if digit == 0 {
                    continue;
                }
                let row = &table[usize::from(digit.unsigned_abs()) / 2 * lanes..];
                self.add(&mut sums, |lane| {
                    let multiple = row[lane];
                    Some(if digit < 0 { multiple.negate() } else { multiple })
                });
            }
        }
        sums
    }

    /// Rows of P, 3P, 5P.. for the digits that the multiplier has.
    fn odd_multiples(&mut self, lanes: usize, term: &Term<'_>) -> Vec<CurvePoint> {
        let largest = term.multiplier.digits.iter().map(|digit| digit.unsigned_abs()).max();
        let rows = usize::from(largest.unwrap_or(1)).div_ceil(2).max(1);
        let mut table = Vec::with_capacity(rows * lanes);
        table.extend(term.points.iter().take(lanes).map(|point| match term.rotated {
            true => point.rotate(&ROTATION),
            false => *point,
        }));
        if rows > 1 {
            let mut twice = table.clone();
            self.double(&mut twice);
            for row in 1..rows {
                let mut next = table[(row - 1) * lanes..].to_vec();
                self.add(&mut next, |lane| Some(twice[lane]));
                table.extend(next);
            }
        }
        table
    }

    /// scalar·points, lane by lane: right for points of prime order only.
    pub(crate) fn scale(&mut self, points: &[CurvePoint], scalar: &Scalar) -> Vec<CurvePoint> {
        let halves = halves(scalar);
        self.combine(points.len(), &terms_of(points, &halves))
    }
}

/// The two terms that a scalar in halves stands for.
pub(crate) fn terms_of<'a>(points: &'a [CurvePoint], halves: &'a [Multiplier; 2]) -> [Term<'a>; 2] {
    [
        Term { points, rotated: false, multiplier: &halves[0] },
        Term { points, rotated: true, multiplier: &halves[1] },
    ]
}

/// What [`Lanes::combine`] comes to in the first lane, by complete projective formulas.
pub(crate) fn combine_alone(terms: &[Term<'_>]) -> CurvePoint {
    let tables: Vec<Vec<Sum>> = terms.iter().map(Term::odd_multiples_alone).collect();
    let length = terms.iter().map(|term| term.multiplier.digits.len()).max().unwrap_or(0);
    let mut sum = Sum::zero();
    for place in (0..length).rev() {
        sum = sum.double();
        for (term, table) in terms.iter().zip(&tables) {
            let digit = term.multiplier.digits.get(place).copied().unwrap_or(0);
            if digit != 0 {
                let multiple = table[usize::from(digit.unsigned_abs()) / 2];
                sum = sum.add(&if digit < 0 { multiple.negate() } else { multiple });
            }
        }
    }
    sum.to_affine()
}

/// The third point on the line through `point` and one with the abscissa `other_x`, mirrored.
fn chord(point: &CurvePoint, other_x: &Fp, slope: &Fp) -> CurvePoint {
    let x = slope.square().sub(&point.x()).sub(other_x);
    let y = slope.mul(&point.x().sub(&x)).sub(&point.y());
    CurvePoint::from_coordinates(x, y)
}

static ONE: LazyLock<Fp> = LazyLock::new(Fp::one);

/// Points of all lanes and what they are multiplied with.
pub(crate) struct Term<'a> {
    pub(crate) points: &'a [CurvePoint],
    /// Whether the endomorphism is applied to the points first.
    pub(crate) rotated: bool,
    pub(crate) multiplier: &'a Multiplier,
}

impl Term<'_> {
    /// P, 3P, 5P.. of the first point for the digits that the multiplier has.
    fn odd_multiples_alone(&self) -> Vec<Sum> {
        let largest = self.multiplier.digits.iter().map(|digit| digit.unsigned_abs()).max();
        let point = self.points.first().copied().unwrap_or_default();
        let point = if self.rotated { point.rotate(&ROTATION) } else { point }.to_sum();
        let twice = point.double();
        let multiples = std::iter::successors(Some(point), |multiple| Some(multiple.add(&twice)));
        multiples.take(usize::from(largest.unwrap_or(1)).div_ceil(2).max(1)).collect()
    }
}

/// A public integer as signed odd digits, lowest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Multiplier {
    digits: Vec<i8>,
}

impl Multiplier {
    /// The integer of this magnitude and sign, in the width that takes the fewest additions.
    pub(crate) fn new(magnitude: U256, negative: bool) -> Self {
        let bits = magnitude.bit_len();
        // A width of w takes 2^(w−2) − 1 additions and a doubling for its table and one addition in
        // w + 1 places.
        let cost = |width: &usize| {
            let table = if *width > 2 { 1 << (width - 2) } else { 0 };
            (table * (width + 1) + bits) * 100 / (width + 1)
        };
        let width = (2..=6).min_by_key(cost).unwrap_or(2);
        Self { digits: signed_digits(magnitude, negative, width) }
    }
}

/// The width-w non-adjacent form.
fn signed_digits(mut value: U256, negative: bool, width: usize) -> Vec<i8> {
    let modulus = 1i16 << width;
    let mut digits = Vec::with_capacity(value.bit_len() + 1);
    while !value.is_zero() {
        let mut digit = 0;
        if value.bit(0) {
            let low = i16::from(value.byte(0)) & (modulus - 1);
            if low >= modulus / 2 {
                digit = low - modulus;
                value += U256::from(digit.unsigned_abs());
            } else {
                digit = low;
                value -= U256::from(digit.unsigned_abs());
            }
        }
        digits.push(if negative { -digit } else { digit } as i8);
        value >>= 1;
    }
    digits
}

/// z² for the parameter z of the curve: the endomorphism is multiplication by −z².
pub(crate) const Z_SQUARED: u128 = 0xd201_0000_0001_0000_u128 * 0xd201_0000_0001_0000_u128;

/// scalar = low + high·z², both below 2¹²⁸.
pub(crate) struct Split {
    pub(crate) low: u128,
    pub(crate) high: u128,
}

/// Divides a public scalar by z².
pub(crate) fn split(scalar: &Scalar) -> Split {
    let (high, low) = U256::from_le_bytes(scalar.to_le_bytes()).div_rem(U256::from(Z_SQUARED));
    Split { low: low.to(), high: high.to() }
}

/// A public scalar as multipliers of P and of its rotation, which is −z²·P.
pub(crate) fn halves(scalar: &Scalar) -> [Multiplier; 2] {
    let Split { low, high } = split(scalar);
    [Multiplier::new(U256::from(low), false), Multiplier::new(U256::from(high), true)]
}

impl CurvePoint {
    /// z² times a point of prime order; of a component of small order it makes another one.
    pub(crate) fn times_z_squared(&self) -> Self {
        self.rotate(&ROTATION).negate()
    }
}

/// The cube root of one β for which (x, y) ↦ (β·x, y) is multiplication by −z².
static ROTATION: LazyLock<Fp> = LazyLock::new(|| {
    let generator = GENERATOR.point();
    let expected = generator.to_sum().mul_public(&Z_SQUARED.to_le_bytes()).negate().to_affine();
    // βg.x = (−z²g).x determines β.
    expected.x().mul(&generator.x().inverse())
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::scalar;

    fn multiple(value: u64) -> CurvePoint {
        GENERATOR.point().to_sum().mul_public(&value.to_le_bytes()).to_affine()
    }

    #[test]
    fn the_rotation_is_a_cube_root_of_one() {
        let beta = *ROTATION;
        assert_eq!(beta.square().mul(&beta), Fp::one());
        assert_ne!(beta, Fp::one());
    }

    proptest! {
        /// Among few small multiples, equal points, inverses and infinity come often.
        #[test]
        fn sums_are_those_of_complete_formulas(pairs in prop::collection::vec((0u64..4, 0u64..4, any::<bool>()), 0..40)) {
            let mut sums: Vec<_> = pairs.iter().map(|(left, ..)| multiple(*left)).collect();
            let terms: Vec<_> = pairs.iter().map(|(_, right, negate)| {
                let point = multiple(*right);
                if *negate { point.negate() } else { point }
            }).collect();
            let expected: Vec<_> = sums.iter().zip(&terms)
                .map(|(left, right)| left.to_sum().add_affine(right).to_affine()).collect();
            let mut lanes = Lanes::default();
            lanes.add(&mut sums, |lane| Some(terms[lane]));
            prop_assert_eq!(&sums, &expected);
            lanes.double(&mut sums);
            let doubled: Vec<_> = expected.iter().map(|point| point.to_sum().double().to_affine()).collect();
            prop_assert_eq!(sums, doubled);
        }

        #[test]
        fn digits_add_up(magnitude in any::<[u8; 32]>(), bits in 0usize..=255, negative: bool) {
            let magnitude = U256::from_le_bytes(magnitude) >> (256 - bits);
            for width in 2..=6 {
                let digits = signed_digits(magnitude, negative, width);
                let mut sum = Scalar::from_u64(0);
                for digit in digits.iter().rev() {
                    sum = sum.add(&sum);
                    let step = Scalar::from_u64(u64::from(digit.unsigned_abs()));
                    sum = if *digit < 0 { sum.sub(&step) } else { sum.add(&step) };
                    prop_assert!(*digit == 0 || (digit % 2 != 0 && digit.unsigned_abs() < 1 << (width - 1)));
                }
                let expected = magnitude % U256::from_str_radix("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16).unwrap();
                let mut expected = Scalar::from_be_bytes(&expected.to_be_bytes()).unwrap();
                if negative { expected = Scalar::from_u64(0).sub(&expected); }
                prop_assert_eq!(sum.to_be_bytes(), expected.to_be_bytes());
            }
        }

        #[test]
        fn scaling_is_multiplication(values in prop::collection::vec(0u64..100, 1..5), seed: u64) {
            let by = scalar(seed);
            let points: Vec<_> = values.iter().map(|value| multiple(*value)).collect();
            let scaled = Lanes::default().scale(&points, &by);
            for (point, scaled) in points.iter().zip(scaled) {
                prop_assert_eq!(scaled, point.to_sum().mul_public(&by.to_le_bytes()).to_affine());
            }
        }
    }
}
