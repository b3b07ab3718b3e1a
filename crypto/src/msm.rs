//! Multi-scalar multiplication by bucket sums in affine coordinates.
//!
//! `blst` adds into buckets with projective formulas. Here additions wait until a whole window can share
//! one inversion, which halves their cost; and the sums are complete, so points of small order are
//! welcome at any number of points.
//!
//! Variable time: for public data only. Source: Pippenger (1976), as in Bernstein et al., "Faster
//! batch forgery identification" (2012), section 4, with signed digits.

use crate::group::{CurvePoint, Sum};
use crate::lanes::Lanes;

/// Bits of a scalar, at most; shorter ones cost less.
const BITS: usize = 128;
/// Parts into which the buckets of a window are cut, to be summed up abreast.
const SEGMENTS: usize = 8;
/// Narrowest and widest windows. Every segment has a bucket in the narrowest.
const WIDTHS: std::ops::RangeInclusive<usize> = 4..=12;

/// Σ scalar·point, for every point of the curve. Scalars without a point and points without a scalar do not
/// count.
pub(crate) fn msm(lanes: &mut Lanes, points: &[CurvePoint], scalars: &[u128]) -> Sum {
    let count = points.len().min(scalars.len());
    let bits = scalars[..count].iter().map(|scalar| u128::BITS - scalar.leading_zeros()).max();
    let bits = bits.unwrap_or(0) as usize;
    let width = width(count, bits);
    let windows = windows(width, bits);
    let buckets = 1usize << (width - 1);
    let digits: Vec<_> = scalars[..count].iter().map(|scalar| digits(*scalar, width)).collect();

    let mut rows = vec![CurvePoint::default(); windows * buckets];
    let mut window_sums = Window::default();
    for (window, row) in rows.chunks_exact_mut(buckets).enumerate() {
        window_sums.fill(lanes, points, row, |point| digits[point][window]);
    }

    // Horner's rule over the windows, highest first.
    weighted_sums(lanes, &rows, windows, buckets)
        .iter()
        .rev()
        .fold(Sum::zero(), |sum, window| (0..width).fold(sum, |sum, _| sum.double()).add(window))
}

/// The width with the fewest additions.
fn width(count: usize, bits: usize) -> usize {
    let cost = |width: &usize| windows(*width, bits) * (count + (2 << (*width - 1)));
    WIDTHS.min_by_key(cost).unwrap_or(*WIDTHS.start())
}

/// Windows of a scalar; the last takes the carry.
fn windows(width: usize, bits: usize) -> usize {
    (bits + 1).div_ceil(width)
}

/// Most windows that a scalar can have.
const MAX_WINDOWS: usize = (BITS + 1).div_ceil(*WIDTHS.start());

/// Signed digits from −2^(width−1) + 1 to 2^(width−1), lowest first.
fn digits(mut scalar: u128, width: usize) -> [i16; MAX_WINDOWS] {
    let (mask, half) = ((1u128 << width) - 1, 1i16 << (width - 1));
    let mut carry = 0;
    std::array::from_fn(|_| {
        let digit = (scalar & mask) as i16 + carry;
        scalar >>= width;
        carry = i16::from(digit > half);
        digit - (carry << width)
    })
}

/// Sums up the points of each bucket of one window; keeps its memory between windows.
#[derive(Default)]
struct Window {
    /// Where each bucket begins in `points`, and how many of its points are left.
    spans: Vec<(usize, usize)>,
    points: Vec<CurvePoint>,
    pairs: Vec<(usize, usize)>,
}

impl Window {
    fn fill(
        &mut self,
        lanes: &mut Lanes,
        points: &[CurvePoint],
        buckets: &mut [CurvePoint],
        digit: impl Fn(usize) -> i16,
    ) {
        let bucket = |digit: i16| usize::from(digit.unsigned_abs()).checked_sub(1);
        let count = points.len();
        self.spans.clear();
        self.spans.resize(buckets.len(), (0, 0));
        for point in 0..count {
            if let Some(bucket) = bucket(digit(point)) {
                self.spans[bucket].1 += 1;
            }
        }
        let mut begin = 0;
        for span in &mut self.spans {
            let length = std::mem::take(&mut span.1);
            span.0 = begin;
            begin += length;
        }
        self.points.clear();
        self.points.resize(begin, CurvePoint::default());
        for (index, point) in points.iter().enumerate().take(count) {
            let digit = digit(index);
            let Some(bucket) = bucket(digit) else { continue };
            let (begin, length) = &mut self.spans[bucket];
            self.points[*begin + *length] = if digit < 0 { point.negate() } else { *point };
            *length += 1;
        }
        // Fold every bucket in the middle until one point is left of it.
        loop {
            self.pairs.clear();
            for (begin, length) in &mut self.spans {
                let folds = *length / 2;
                self.pairs.extend((0..folds).map(|at| (*begin + at, *begin + *length - 1 - at)));
                *length -= folds;
            }
            if self.pairs.is_empty() {
                break;
            }
            lanes.add_pairs(&mut self.points, &self.pairs);
        }
        for (bucket, (begin, length)) in buckets.iter_mut().zip(&self.spans) {
            *bucket = if *length > 0 { self.points[*begin] } else { CurvePoint::default() };
        }
    }
}

/// Σ (bucket + 1)·point of every window.
fn weighted_sums(
    lanes: &mut Lanes,
    rows: &[CurvePoint],
    windows: usize,
    buckets: usize,
) -> Vec<Sum> {
    let length = buckets / SEGMENTS;
    let mut running = vec![CurvePoint::default(); windows * SEGMENTS];
    let mut totals = running.clone();
    for offset in (0..length).rev() {
        // A window's segments follow each other, as its buckets do.
        lanes.add(&mut running, |lane| Some(rows[lane * length + offset]));
        lanes.add(&mut totals, |lane| Some(running[lane]));
    }
    // A bucket of segment s counts s·length times more than its place in the segment says.
    running
        .chunks_exact(SEGMENTS)
        .zip(totals.chunks_exact(SEGMENTS))
        .map(|(running, totals)| {
            let (mut above, mut segments) = (Sum::zero(), Sum::zero());
            for sum in running.iter().skip(1).rev() {
                above = above.add_affine(sum);
                segments = segments.add(&above);
            }
            let shifted = (0..length.trailing_zeros()).fold(segments, |sum, _| sum.double());
            totals.iter().fold(shifted, |sum, total| sum.add_affine(total))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::group::GENERATOR;
    use crate::tests::{SMALL_ORDERS, torsion};

    fn plain(points: &[CurvePoint], scalars: &[u128]) -> Sum {
        points.iter().zip(scalars).fold(Sum::zero(), |sum, (point, scalar)| {
            sum.add(&point.to_sum().mul_public(&scalar.to_le_bytes()))
        })
    }

    fn edge() -> impl Strategy<Value = u128> {
        prop_oneof![
            any::<u128>(),
            (0u32..128).prop_map(|bit| 1 << bit),
            (0u32..128).prop_map(|bit| (1 << bit) - 1),
            Just(u128::MAX),
            any::<u64>().prop_map(u128::from),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Few different points, so that buckets hold equal ones, inverses and infinity; with components
        /// of small order.
        #[test]
        fn agrees_with_double_and_add(
            terms in prop::collection::vec((0u8..5, prop::option::of(0usize..6), edge()), 0..40),
            bits in 0u32..=128,
        ) {
            let points: Vec<_> = terms.iter().map(|(multiple, order, _)| {
                let point = GENERATOR.point().to_sum().mul_public(&[*multiple]);
                order.map_or(point, |order| point.add(&torsion(SMALL_ORDERS[order]))).to_affine()
            }).collect();
            let short = |scalar: u128| scalar.checked_shr(128 - bits).unwrap_or(0);
            let scalars: Vec<_> = terms.iter().map(|(.., scalar)| short(*scalar)).collect();
            let sum = msm(&mut Lanes::default(), &points, &scalars);
            prop_assert_eq!(sum.to_affine(), plain(&points, &scalars).to_affine());
        }

        #[test]
        fn digits_add_up(scalar in edge(), width in WIDTHS) {
            let mut left = scalar;
            for digit in digits(scalar, width) {
                prop_assert!(i32::from(digit.unsigned_abs()) <= 1 << (width - 1));
                // What is left is a multiple of the window after the digit is taken away.
                left = left.wrapping_sub(digit as u128);
                prop_assert_eq!(left & ((1 << width) - 1), 0);
                left = (left >> width) | if digit < 0 && left == 0 { 1 << (BITS - width) } else { 0 };
            }
            prop_assert_eq!(left, 0);
        }
    }

    /// Every width, by the number of points that asks for it.
    #[test]
    fn all_sizes() {
        let mut seen = std::collections::BTreeSet::new();
        for count in [0usize, 1, 2, 15, 40, 100, 300, 700, 3_000] {
            seen.insert(width(count, BITS));
            let points: Vec<_> = (0..count)
                .scan(Sum::zero(), |sum, _| {
                    *sum = sum.add_affine(&GENERATOR.point());
                    Some(sum.to_affine())
                })
                .collect();
            let scalars: Vec<u128> = (1..=count as u128)
                .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
                .collect();
            let sum = msm(&mut Lanes::default(), &points, &scalars);
            assert_eq!(sum.to_affine(), plain(&points, &scalars).to_affine(), "{count}");
        }
        assert!(seen.len() > 4, "{seen:?}");
    }
}
