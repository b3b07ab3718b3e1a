//! Whether many points have prime order, with few of the checks that one point costs.
//!
//! Each of k sums takes every point with a random coefficient −1, 0 or 1. A component outside the
//! prime-order subgroup has an order of at least three, so whatever the other points are, at most one of
//! the three coefficients cancels it: a sum misses it with probability 1/3, all of them with 3⁻ᵏ.
//! Coefficients are taken three points at a time, from a table of their 27 combinations.
//!
//! Variable time: for public points only.

use crate::domain;
use crate::group::CurvePoint;
use crate::hash::keccak;
use crate::lanes::{LANES, Lanes};

/// How likely a point of another order is missed.
#[derive(Clone, Copy)]
pub(crate) enum Soundness {
    /// Below 2⁻⁶⁴.
    Bits64,
    /// Below 2⁻¹²⁸.
    Bits128,
}

impl Soundness {
    /// Random sums that it takes.
    fn sums(self) -> usize {
        match self {
            Self::Bits64 => 41,
            Self::Bits128 => 81,
        }
    }

    /// Up to so many points, checking one by one costs less.
    fn singles(self) -> usize {
        self.sums() * 5 / 4
    }
}

/// Points whose combinations make one table.
const BLOCK_POINTS: usize = 3;
/// Multiples 0..=13 in balanced ternary, without signs.
const TABLE: usize = 14;

/// Which of the points are outside the prime-order subgroup (infinity is inside), ascending.
///
/// `seed` should be unpredictable for those who made the points.
pub(crate) fn outside_subgroup(
    lanes: &mut Lanes,
    points: &[CurvePoint],
    seed: &[u8; 32],
    soundness: Soundness,
) -> Vec<usize> {
    let mut found = Vec::new();
    search(lanes, points, 0, seed, soundness, &mut found);
    found
}

fn search(
    lanes: &mut Lanes,
    points: &[CurvePoint],
    first: usize,
    seed: &[u8; 32],
    soundness: Soundness,
    found: &mut Vec<usize>,
) {
    if points.len() <= soundness.singles() {
        let outside = points.iter().enumerate().filter(|(_, point)| !point.is_in_subgroup());
        found.extend(outside.map(|(index, _)| first + index));
    } else if !sums(lanes, points, seed, soundness).iter().all(CurvePoint::is_in_subgroup) {
        let (left, right) = points.split_at(points.len() / 2);
        // The same coefficients again would tell nothing new of the halves.
        let seed = keccak(domain::ORDERS, &[seed, &[0]]);
        search(lanes, left, first, &seed, soundness, found);
        search(lanes, right, first + left.len(), &seed, soundness, found);
    }
}

/// The random sums.
fn sums(
    lanes: &mut Lanes,
    points: &[CurvePoint],
    seed: &[u8; 32],
    soundness: Soundness,
) -> Vec<CurvePoint> {
    let mut coefficients = Coefficients::new(seed);
    let mut sums = vec![CurvePoint::default(); soundness.sums()];
    let mut chosen = vec![0i8; sums.len()];
    for points in points.chunks(LANES * BLOCK_POINTS) {
        for table in tables(lanes, points).chunks_exact(TABLE) {
            chosen.fill_with(|| coefficients.next());
            lanes.add(&mut sums, |sum| {
                let multiple = table[usize::from(chosen[sum].unsigned_abs())];
                Some(if chosen[sum] < 0 { multiple.negate() } else { multiple })
            });
        }
    }
    sums
}

/// For each block (a, b, c) of points the combinations of value v = i + 3·j + 9·k, |i|, |j|, |k| ≤ 1, at
/// place v from 0 to 13.
fn tables(lanes: &mut Lanes, points: &[CurvePoint]) -> Vec<CurvePoint> {
    let blocks = points.len().div_ceil(BLOCK_POINTS);
    let mut tables = vec![CurvePoint::default(); blocks * TABLE];
    for (block, table) in points.chunks(BLOCK_POINTS).zip(tables.chunks_exact_mut(TABLE)) {
        for (point, place) in block.iter().zip([1, 3, 9]) {
            table[place] = *point;
        }
    }
    // Every entry is one of a higher digit plus or minus an earlier one.
    let mut row = vec![CurvePoint::default(); blocks];
    for (place, higher, lower, minus) in [
        (2, 3, 1, true),
        (4, 3, 1, false),
        (5, 9, 4, true),
        (6, 9, 3, true),
        (7, 9, 2, true),
        (8, 9, 1, true),
        (10, 9, 1, false),
        (11, 9, 2, false),
        (12, 9, 3, false),
        (13, 9, 4, false),
    ] {
        for (sum, table) in row.iter_mut().zip(tables.chunks_exact(TABLE)) {
            *sum = table[higher];
        }
        lanes.add(&mut row, |block| {
            let term = tables[block * TABLE + lower];
            Some(if minus { term.negate() } else { term })
        });
        for (sum, table) in row.iter().zip(tables.chunks_exact_mut(TABLE)) {
            table[place] = *sum;
        }
    }
    tables
}

/// A stream of numbers from −13 to 13.
struct Coefficients {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    next: usize,
}

impl Coefficients {
    fn new(seed: &[u8; 32]) -> Self {
        Self { seed: *seed, counter: 0, block: [0; 32], next: 32 }
    }

    fn next(&mut self) -> i8 {
        loop {
            if self.next == self.block.len() {
                let counter = self.counter.to_be_bytes();
                self.block = keccak(domain::ORDERS, &[&self.seed, &[1], &counter]);
                self.counter += 1;
                self.next = 0;
            }
            let byte = self.block[self.next];
            self.next += 1;
            // 243 is the largest multiple of 27 in a byte: what is above would favour small numbers.
            if byte < 243 {
                return (byte % 27) as i8 - 13;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{GENERATOR, Sum};
    use crate::tests::{SMALL_ORDERS, torsion};

    fn points(count: usize) -> Vec<CurvePoint> {
        (0..count)
            .scan(Sum::zero(), |sum, _| {
                *sum = sum.add_affine(&GENERATOR.point());
                Some(sum.to_affine())
            })
            .collect()
    }

    #[test]
    fn finds_every_small_order_at_every_place() {
        let lanes = &mut Lanes::default();
        let soundness = Soundness::Bits128;
        // More than one round of tables.
        let count = LANES * BLOCK_POINTS + 1;
        let good = points(count);
        assert!(outside_subgroup(lanes, &good, &[1; 32], soundness).is_empty());
        for (case, order) in SMALL_ORDERS.iter().enumerate() {
            for places in
                [vec![0], vec![count - 1], vec![7, 8], vec![1, 100, 200], (0..count).collect()]
            {
                let mut bad = good.clone();
                for place in &places {
                    bad[*place] = bad[*place].to_sum().add(&torsion(*order)).to_affine();
                }
                for soundness in [soundness, Soundness::Bits64] {
                    let found = outside_subgroup(lanes, &bad, &[case as u8; 32], soundness);
                    assert_eq!(found, places, "{order}");
                }
            }
        }
    }

    /// Two points whose components of order three cancel in their plain sum.
    #[test]
    fn components_that_cancel_are_found() {
        let mut points = points(Soundness::Bits64.singles() + 50);
        let third = torsion(3);
        points[4] = points[4].to_sum().add(&third).to_affine();
        points[90] = points[90].to_sum().add(&third.negate()).to_affine();
        points[91] = CurvePoint::default();
        assert_eq!(
            outside_subgroup(&mut Lanes::default(), &points, &[9; 32], Soundness::Bits64),
            [4, 90]
        );
    }

    /// What the soundness rests on: each coefficient of each point comes a third of the time, and the
    /// table holds the combination that the number stands for.
    #[test]
    fn coefficients_are_even_and_tables_right() {
        let mut stream = Coefficients::new(&[5; 32]);
        let mut seen = [0u32; 27];
        for _ in 0..27_000 {
            seen[(stream.next() + 13) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");

        let points = points(3);
        let table = tables(&mut Lanes::default(), &points);
        for value in 0..TABLE as i64 {
            let (mut rest, mut sum) = (value, Sum::zero());
            for point in &points {
                let digit = (rest + 1).rem_euclid(3) - 1;
                rest = (rest - digit) / 3;
                match digit {
                    1 => sum = sum.add_affine(point),
                    -1 => sum = sum.add_affine(&point.negate()),
                    _ => {}
                }
            }
            assert_eq!(table[value as usize], sum.to_affine(), "{value}");
        }
    }
}
