//! How many curve operations interpolation at zero takes: counted, not measured.

/// Curve operations for one position.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Operations {
    /// Additions of points.
    pub additions: f64,
    /// Doublings.
    pub doublings: f64,
}

impl Operations {
    /// Products in the base field, when every operation is affine and shares its inversion with many others:
    /// three for the inversion (Montgomery's trick), two and a square for an addition, two and two squares
    /// for a doubling.
    pub fn field_products(self) -> f64 {
        6.0 * self.additions + 7.0 * self.doublings
    }
}

/// Bits of the multipliers by the endomorphism: half of the order.
const HALF_BITS: usize = 128;
/// Longest multiplier with which integers take less than halves of scalars.
const MAX_INTEGER_BITS: usize = 96;

/// Combination of the shares of `members` (their places are one higher), as a sum of multiples by
/// d·λ_j and one multiplication by 1/d, or by λ_j in halves where d·λ_j is long.
pub fn combination(members: &[usize]) -> Operations {
    match integers(members) {
        Some((bits, denominator)) => {
            let longest = bits.iter().copied().max().unwrap_or(0);
            let sum = sum(&bits, longest);
            if denominator == 1 {
                return sum;
            }
            let scale = self::sum(&[HALF_BITS; 2], HALF_BITS);
            Operations {
                additions: sum.additions + scale.additions,
                doublings: sum.doublings + scale.doublings,
            }
        }
        None => sum(&vec![HALF_BITS; 2 * members.len()], HALF_BITS),
    }
}

/// A sum of multiples by integers of these lengths, doublings shared.
fn sum(bits: &[usize], longest: usize) -> Operations {
    let mut operations = Operations { additions: 0.0, doublings: longest as f64 };
    for bits in bits {
        // Signed odd digits of w bits: 2^(w−2) − 1 additions and a doubling make the table, and one digit
        // in w + 1 is not zero.
        let (additions, doublings) = (2usize..=6)
            .map(|width| {
                let table = if width > 2 { (1 << (width - 2)) - 1 } else { 0 };
                let additions = table as f64 + *bits as f64 / (width + 1) as f64;
                (additions, if width > 2 { 1.0 } else { 0.0 })
            })
            .min_by(|left, right| (left.0 + left.1).total_cmp(&(right.0 + right.1)))
            .unwrap_or_default();
        operations.additions += additions;
        operations.doublings += doublings;
    }
    operations
}

/// Lengths of d·λ_j in bits, and d; `None` when they are too long.
fn integers(members: &[usize]) -> Option<(Vec<usize>, u128)> {
    let fractions =
        members.iter().map(|own| fraction(members, *own)).collect::<Option<Vec<_>>>()?;
    let mut common = 1u128;
    for (_, denominator) in &fractions {
        common = common.checked_mul(denominator / gcd(common, *denominator))?;
    }
    let bits = fractions
        .iter()
        .map(|(numerator, denominator)| {
            let integer = numerator.checked_mul(common / denominator)?;
            let bits = (u128::BITS - integer.leading_zeros()) as usize;
            (bits <= MAX_INTEGER_BITS).then_some(bits)
        })
        .collect::<Option<Vec<_>>>()?;
    Some((bits, common))
}

/// |λ_j| in lowest terms.
fn fraction(members: &[usize], own: usize) -> Option<(u128, u128)> {
    let (mut numerator, mut denominator) = (1u128, 1u128);
    for other in members.iter().copied().filter(|other| *other != own) {
        numerator = numerator.checked_mul(other as u128 + 1)?;
        denominator = denominator.checked_mul(other.abs_diff(own) as u128)?;
        let common = gcd(numerator, denominator);
        numerator /= common;
        denominator /= common;
    }
    Some((numerator, denominator))
}

fn gcd(left: u128, right: u128) -> u128 {
    if right == 0 { left } else { gcd(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_are_those_of_lagrange() {
        // Places 1, 2, 3: λ = 3, −3, 1.
        assert_eq!(integers(&[0, 1, 2]), Some((vec![2, 2, 1], 1)));
        // Places 1, 3, 4: λ = 2, −2, 1.
        assert_eq!(integers(&[0, 2, 3]), Some((vec![2, 2, 1], 1)));
        // Places 1, 3: λ = 3/2, −1/2.
        assert_eq!(integers(&[0, 2]), Some((vec![2, 1], 2)));
        // One member holds the value itself.
        assert_eq!(combination(&[0]), Operations { additions: 1.0 / 3.0, doublings: 1.0 });
        assert_eq!(integers(&(0..86).filter(|member| member % 2 == 0).collect::<Vec<_>>()), None);
    }

    #[test]
    fn more_members_take_more() {
        let cost = |n: usize| combination(&((n - 1) / 3..n).collect::<Vec<_>>()).field_products();
        let costs: Vec<_> = [4, 7, 16, 32, 64].map(cost).to_vec();
        assert!(costs.is_sorted(), "{costs:?}");
        assert_eq!(Operations { additions: 1.0, doublings: 1.0 }.field_products(), 13.0);
    }
}
