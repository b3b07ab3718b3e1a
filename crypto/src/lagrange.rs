//! Interpolation at zero. Member `i` stands at x = i + 1, as in `blsttc`.

use alloy_primitives::U256;

use crate::group::{CurvePoint, Scalar};
use crate::lanes::{Lanes, Multiplier, Term, combine_alone, halves, terms_of};

/// The place of a member on the polynomial.
pub(crate) fn place(member: usize) -> Scalar {
    Scalar::from_u64(member as u64).add(&Scalar::from_u64(1))
}

/// λ_j with f(0) = Σ λ_j·f(x_j) for every polynomial of a degree below the number of members, which
/// must be distinct.
pub(crate) fn at_zero(members: &[usize]) -> Vec<Scalar> {
    coefficients(members, 0)
}

/// λ_j with f(at) = Σ λ_j·f(x_j).
fn coefficients(members: &[usize], at: usize) -> Vec<Scalar> {
    let at = Scalar::from_u64(at as u64);
    let places: Vec<Scalar> = members.iter().map(|member| place(*member)).collect();
    places
        .iter()
        .enumerate()
        .map(|(j, own)| {
            let one = Scalar::from_u64(1);
            let (numerator, denominator) = places.iter().enumerate().filter(|(m, _)| *m != j).fold(
                (one.clone(), one),
                |(numerator, denominator), (_, other)| {
                    (numerator.mul(&other.sub(&at)), denominator.mul(&other.sub(own)))
                },
            );
            numerator.mul(&denominator.inverse())
        })
        .collect()
}

/// Interpolation at one place from the shares of fixed members, for many positions at once.
///
/// λ_j are fractions of small integers: with their common denominator d, the integers d·λ_j have a few
/// dozen bits for committees of the usual size, and one multiplication by 1/d remains. Where they grow
/// too long (from about 40 members), full scalars are used, halved by the endomorphism.
pub(crate) enum Interpolation {
    /// d·λ_j, and 1/d in halves.
    Integers {
        /// d·λ_j in the order of the members.
        multipliers: Vec<Multiplier>,
        /// 1/d; absent for d = 1.
        scale: Option<Scalar>,
    },
    /// λ_j in halves.
    Scalars(Vec<[Multiplier; 2]>),
}

/// Longest d·λ_j, in bits, with which integers cost less than halves of scalars.
const MAX_INTEGER_BITS: usize = 96;

impl Interpolation {
    /// Of the secret, from these members, which must be distinct.
    pub(crate) fn of_secret(members: &[usize]) -> Self {
        Self::at(members, 0)
    }

    /// Of another member's share. The member must not be among `members`, which must be distinct.
    pub(crate) fn of_share(members: &[usize], member: usize) -> Self {
        Self::at(members, member + 1)
    }

    fn at(members: &[usize], at: usize) -> Self {
        Self::integers(members, at).unwrap_or_else(|| {
            Self::Scalars(coefficients(members, at).iter().map(halves).collect())
        })
    }

    fn integers(members: &[usize], at: usize) -> Option<Self> {
        let fractions =
            (0..members.len()).map(|j| fraction(members, j, at)).collect::<Option<Vec<_>>>()?;
        let mut common = U256::from(1);
        for (_, denominator, _) in &fractions {
            common = common.checked_mul(denominator / common.gcd(*denominator))?;
        }
        let multipliers = fractions
            .iter()
            .map(|(numerator, denominator, negative)| {
                let integer = numerator.checked_mul(common / denominator)?;
                (integer.bit_len() <= MAX_INTEGER_BITS).then(|| Multiplier::new(integer, *negative))
            })
            .collect::<Option<Vec<_>>>()?;
        let common = Scalar::from_be_bytes(&common.to_be_bytes())?;
        let one = Scalar::from_u64(1);
        let scale = (common.to_be_bytes() != one.to_be_bytes()).then(|| common.inverse());
        Some(Self::Integers { multipliers, scale })
    }

    /// Lane by lane the value, from one column of points for each member. Right when all points
    /// have prime order.
    pub(crate) fn evaluate(&self, lanes: &mut Lanes, columns: &[&[CurvePoint]]) -> Vec<CurvePoint> {
        let count = columns.first().map_or(0, |points| points.len());
        match self {
            Self::Integers { multipliers, scale } => {
                let terms: Vec<_> = columns
                    .iter()
                    .zip(multipliers)
                    .map(|(points, multiplier)| Term { points, rotated: false, multiplier })
                    .collect();
                let sums = lanes.combine(count, &terms);
                match scale {
                    Some(scale) => lanes.scale(&sums, scale),
                    None => sums,
                }
            }
            Self::Scalars(halves) => {
                let terms: Vec<_> = columns
                    .iter()
                    .zip(halves)
                    .flat_map(|(points, halves)| terms_of(points, halves))
                    .collect();
                lanes.combine(count, &terms)
            }
        }
    }

    /// What [`Self::evaluate`] comes to at one position, whatever the points: a component of small order
    /// vanishes in both or in neither.
    pub(crate) fn evaluate_alone(&self, points: &[CurvePoint]) -> CurvePoint {
        match self {
            Self::Integers { multipliers, scale } => {
                let terms: Vec<_> = points
                    .chunks(1)
                    .zip(multipliers)
                    .map(|(points, multiplier)| Term { points, rotated: false, multiplier })
                    .collect();
                let sum = combine_alone(&terms);
                match scale {
                    Some(scale) => combine_alone(&terms_of(&[sum], &halves(scale))),
                    None => sum,
                }
            }
            Self::Scalars(halves) => {
                let terms: Vec<_> = points
                    .chunks(1)
                    .zip(halves)
                    .flat_map(|(points, halves)| terms_of(points, halves))
                    .collect();
                combine_alone(&terms)
            }
        }
    }
}

/// λ_j as a fraction in lowest terms, and whether it is negative; `None` when it does not fit.
fn fraction(members: &[usize], j: usize, at: usize) -> Option<(U256, U256, bool)> {
    let own = members[j];
    let (mut numerator, mut denominator, mut negative) = (U256::from(1), U256::from(1), false);
    for other in members.iter().filter(|other| **other != own) {
        // The factor (other + 1 − at) / (other − own).
        numerator = numerator.checked_mul(U256::from((other + 1).abs_diff(at)))?;
        denominator = denominator.checked_mul(U256::from(other.abs_diff(own)))?;
        negative ^= (*other < own) ^ (other + 1 < at);
        let common = numerator.gcd(denominator);
        numerator /= common;
        denominator /= common;
    }
    Some((numerator, denominator, negative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GENERATOR;
    use crate::tests::{SMALL_ORDERS, torsion};

    /// Both plans against the polynomial 5 + 7x + 11x² + …, and each kind of plan where it belongs.
    #[test]
    fn interpolates_at_zero() {
        let generator = GENERATOR.point().to_sum();
        for (members, integers) in [
            (vec![0usize], true),
            (vec![3, 1, 2], true),
            (vec![0, 2, 3, 4, 6, 7, 9, 10, 12, 13, 15], true),
            ((5..48).collect(), true),
            ((0..86).filter(|member| member % 2 == 0).collect(), false),
        ] {
            let values = members.iter().map(|member| {
                let at = place(*member);
                (0..members.len() as u64).rev().fold(Scalar::from_u64(0), |value, power| {
                    value.mul(&at).add(&Scalar::from_u64(5 + power))
                })
            });
            let columns: Vec<Vec<_>> = values
                .map(|value| vec![generator.mul_public(&value.to_le_bytes()).to_affine(); 2])
                .collect();
            let columns: Vec<_> = columns.iter().map(|points| &points[..]).collect();
            let plan = Interpolation::of_secret(&members);
            assert_eq!(matches!(plan, Interpolation::Integers { .. }), integers, "{members:?}");
            let expected = generator.mul_public(&[5]).to_affine();
            for plan in
                [plan, Interpolation::Scalars(at_zero(&members).iter().map(halves).collect())]
            {
                assert_eq!(
                    plan.evaluate(&mut Lanes::default(), &columns),
                    [expected; 2],
                    "{members:?}"
                );
            }
        }
    }
    /// The share of a member from those of others.
    #[test]
    fn interpolates_shares() {
        let generator = GENERATOR.point().to_sum();
        let share = |member: usize| {
            let at = place(member);
            let value = (1..=3).fold(Scalar::from_u64(0), |value, coefficient| {
                value.mul(&at).add(&Scalar::from_u64(coefficient))
            });
            generator.mul_public(&value.to_le_bytes()).to_affine()
        };
        for (members, member) in [([0, 1, 2], 3), ([1, 2, 3], 0), ([5, 1, 8], 4), ([90, 3, 50], 60)]
        {
            let points = members.map(share);
            let plan = Interpolation::of_share(&members, member);
            assert_eq!(plan.evaluate_alone(&points), share(member), "{members:?} {member}");
            let scalars = coefficients(&members, member + 1).iter().map(halves).collect();
            assert_eq!(Interpolation::Scalars(scalars).evaluate_alone(&points), share(member));
        }
    }

    /// Abreast and alone come to the same, also where components of small order are multiplied.
    #[test]
    fn small_orders_come_to_the_same_alone() {
        for members in [vec![3usize, 1, 2], (0..11).collect(), (20..63).collect()] {
            let plan = Interpolation::of_secret(&members);
            let halves = at_zero(&members).iter().map(halves).collect();
            for plan in [plan, Interpolation::Scalars(halves)] {
                for order in SMALL_ORDERS {
                    let points: Vec<_> = (0u64..)
                        .zip(&members)
                        .map(|(i, _)| torsion(order).mul_public(&[i as u8]).to_affine())
                        .collect();
                    let columns: Vec<_> = points.chunks(1).collect();
                    let abreast = plan.evaluate(&mut Lanes::default(), &columns);
                    assert_eq!(abreast, [plan.evaluate_alone(&points)], "{members:?} {order}");
                }
            }
        }
    }
}
