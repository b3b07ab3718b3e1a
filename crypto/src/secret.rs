//! Many points times one secret scalar: a member's shares of a whole height.
//!
//! All positions take the same steps, so they go abreast, as in [`crate::lanes`]. What depends on the
//! scalar is which multiples are added: they are picked by reading all of them. The scalar is halved by
//! the endomorphism and recoded into odd digits, none of which is zero, so the steps are always the same.
//!
//! ```text
//! x = low + high·z²            P, Q = z²·P             both halves made odd by adding 1 or 2
//! 33 digits ±1, ±3 … ±15 each  8 odd multiples of each  128 doublings, 67 additions
//! ```
//!
//! Exceptions of the affine formulas (equal points, infinity) branch, but need partial sums that meet by
//! chance: for a random scalar that happens with a probability of about 2⁻¹²⁰.
//!
//! Source of the recoding: Joye and Tunstall, "Exponent recoding and regular exponentiation
//! algorithms" (2009), section 4.

use std::hint::black_box;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::comb::OddDigit;
use crate::group::{CurvePoint, Scalar, Subgroup};
use crate::lanes::{LANES, Lanes, Z_SQUARED};

/// Bits of a digit.
const WIDTH: u32 = 4;
/// Digits below the highest, which is always one.
const DIGITS: usize = 32;
/// Odd multiples 1, 3 … 15.
const ROWS: usize = 1 << (WIDTH - 1);

/// Fewer points are multiplied one by one: they are too few to pay for the inversions.
const FEWEST_LANES: usize = 30;

/// scalar·point for each point, in constant time.
pub(crate) fn mul_secret_all(points: &[Subgroup], scalar: &Scalar) -> Vec<CurvePoint> {
    let few = points.len() % LANES;
    let (many, few) = points.split_at(points.len() - if few < FEWEST_LANES { few } else { 0 });
    let mut products = mul_secret_abreast(many, scalar);
    products.extend(few.iter().map(|point| {
        let mut product = point.mul_secret(scalar);
        let point = product.to_affine();
        product.wipe();
        point
    }));
    products
}

/// As [`mul_secret_all`], however few the points are.
pub(crate) fn mul_secret_abreast(points: &[Subgroup], scalar: &Scalar) -> Vec<CurvePoint> {
    let halves = [Half::Low, Half::High].map(|half| Recoded::new(&split_secret(scalar), half));
    let mut lanes = Lanes::default();
    points.chunks(LANES).flat_map(|points| chunk(&mut lanes, points, &halves)).collect()
}

fn chunk(lanes: &mut Lanes, points: &[Subgroup], halves: &[Recoded; 2]) -> Vec<CurvePoint> {
    let points: Vec<_> = points.iter().map(Subgroup::point).collect();
    let mut twice = points.clone();
    lanes.double(&mut twice);
    let low = odd_multiples(lanes, &points, &twice);
    let high = low.iter().map(|row| rotated(row)).collect::<Vec<_>>();
    let tables = [low, high];

    let mut sums = points.clone();
    lanes.add(&mut sums, |lane| Some(tables[1][0][lane]));
    let mut chosen = Wiped(vec![CurvePoint::default(); points.len()]);
    for place in (0..DIGITS).rev() {
        (0..WIDTH).for_each(|_| lanes.double(&mut sums));
        for (half, table) in halves.iter().zip(&tables) {
            choose(&mut chosen.0, table, half.digits[place]);
            lanes.add(&mut sums, |lane| Some(chosen.0[lane]));
        }
    }
    // Take away what made the halves odd.
    for (half, [once, twice]) in
        halves.iter().zip([[points.clone(), twice.clone()], [rotated(&points), rotated(&twice)]])
    {
        for (chosen, (once, twice)) in chosen.0.iter_mut().zip(once.iter().zip(&twice)) {
            *chosen = once.negate();
            chosen.assign_if(&twice.negate(), half.added_two);
        }
        lanes.add(&mut sums, |lane| Some(chosen.0[lane]));
    }
    // Here, while it has all lanes: the next chunk may have fewer.
    lanes.wipe();
    sums
}

/// P, 3P … 15P, row by row.
fn odd_multiples(
    lanes: &mut Lanes,
    points: &[CurvePoint],
    twice: &[CurvePoint],
) -> Vec<Vec<CurvePoint>> {
    let mut rows = vec![points.to_vec()];
    for _ in 1..ROWS {
        let mut row = rows.last().cloned().unwrap_or_default();
        lanes.add(&mut row, |lane| Some(twice[lane]));
        rows.push(row);
    }
    rows
}

fn rotated(points: &[CurvePoint]) -> Vec<CurvePoint> {
    points.iter().map(CurvePoint::times_z_squared).collect()
}

/// The multiples that an odd digit stands for; reads every row.
fn choose(chosen: &mut [CurvePoint], table: &[Vec<CurvePoint>], digit: i8) {
    let digit = OddDigit::new(digit);
    for (row, points) in (0u8..).zip(table) {
        let wanted = row.ct_eq(&digit.place);
        for (chosen, point) in chosen.iter_mut().zip(points) {
            chosen.assign_if(point, wanted);
        }
    }
    for chosen in chosen {
        chosen.assign_if(&chosen.negate(), digit.negative);
    }
}

/// Multiples that tell digits of the scalar: overwritten at the end.
struct Wiped(Vec<CurvePoint>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(CurvePoint::wipe);
    }
}

enum Half {
    Low,
    High,
}

/// Half of the scalar, made odd, as odd digits below the highest, lowest first.
struct Recoded {
    digits: [i8; DIGITS],
    /// Whether two was added to make it odd, and not one.
    added_two: Choice,
}

impl Recoded {
    fn new(split: &Zeroizing<[u128; 2]>, half: Half) -> Self {
        let value = match half {
            Half::Low => split[0],
            Half::High => split[1],
        };
        let odd = black_box(value & 1);
        // Both halves are below z², so there is room.
        let mut rest = value + 1 + odd;
        let digits = std::array::from_fn(|_| {
            let digit = (rest & 31) as i8 - 16;
            rest = rest >> WIDTH | 1;
            digit
        });
        rest.zeroize();
        Self { digits, added_two: Choice::from(odd as u8) }
    }
}

impl Drop for Recoded {
    fn drop(&mut self) {
        self.digits.zeroize();
        self.added_two = Choice::from(0);
    }
}

/// scalar = low + high·z² by long division in constant time.
fn split_secret(scalar: &Scalar) -> Zeroizing<[u128; 2]> {
    let bytes = Zeroizing::new(scalar.to_le_bytes());
    let half = |from: usize| {
        let mut half = Zeroizing::new([0; 16]);
        half.copy_from_slice(&bytes[from..from + 16]);
        u128::from_le_bytes(*half)
    };
    let (mut low, mut high) = (half(0), half(16));
    let mut quotient = 0;
    for bit in (0..u128::BITS).rev() {
        let (take_low, take_high) = (Z_SQUARED << bit, (Z_SQUARED >> 1) >> (127 - bit));
        let (less_low, borrow) = low.overflowing_sub(take_low);
        let (less_high, under) = high.overflowing_sub(take_high);
        let (less_high, under_too) = less_high.overflowing_sub(u128::from(borrow));
        // All ones where the divisor fits.
        let fits = black_box(u128::from(!(under | under_too))).wrapping_neg();
        low ^= fits & (low ^ less_low);
        high ^= fits & (high ^ less_high);
        quotient |= fits & (1 << bit);
    }
    Zeroizing::new([low, quotient])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::group::GENERATOR;
    use crate::lanes::split;
    use crate::tests::scalar;

    fn agree(count: usize, by: &Scalar) {
        let points: Vec<_> = (0..count as u64)
            .map(|index| {
                let point = GENERATOR.mul_secret(&scalar(index)).to_affine();
                point.into_subgroup().expect("a multiple of the generator")
            })
            .collect();
        let expected: Vec<_> =
            points.iter().map(|point| point.mul_secret(by).to_affine()).collect();
        assert_eq!(mul_secret_abreast(&points, by), expected);
        assert_eq!(mul_secret_all(&points, by), expected);
        let public = split(by);
        assert_eq!(*split_secret(by), [public.low, public.high]);
    }

    #[test]
    fn edges_agree_with_plain_multiplication() {
        let z_squared = Scalar::from_short_le(&Z_SQUARED.to_le_bytes());
        let one = Scalar::from_u64(1);
        for small in [1, 2, 3, 15, 16, 17, 31, 32, 33, u64::MAX].map(Scalar::from_u64) {
            agree(2, &small);
            agree(2, &Scalar::from_u64(0).sub(&small));
            agree(2, &small.mul(&z_squared));
            agree(2, &z_squared.sub(&small));
            agree(2, &z_squared.mul(&z_squared).sub(&small));
        }
        agree(LANES + 1, &one.add(&z_squared));
        agree(0, &one);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn agrees_with_plain_multiplication(by: u64, count in 1usize..4) {
            agree(count, &scalar(by));
        }
    }
}
