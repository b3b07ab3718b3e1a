//! Interpolation at zero. Member `i` stands at x = i + 1, as in `blsttc`.

use crate::group::Scalar;

/// The place of a member on the polynomial.
pub(crate) fn place(member: usize) -> Scalar {
    Scalar::from_u64(member as u64).add(&Scalar::from_u64(1))
}

/// λ_j with f(0) = Σ λ_j·f(x_j) for every polynomial of a degree below the number of members, which
/// must be distinct.
pub(crate) fn at_zero(members: &[usize]) -> Vec<Scalar> {
    let places: Vec<Scalar> = members.iter().map(|member| place(*member)).collect();
    places
        .iter()
        .enumerate()
        .map(|(j, own)| {
            let one = Scalar::from_u64(1);
            let (numerator, denominator) = places.iter().enumerate().filter(|(m, _)| *m != j).fold(
                (one.clone(), one),
                |(numerator, denominator), (_, other)| {
                    (numerator.mul(other), denominator.mul(&other.sub(own)))
                },
            );
            numerator.mul(&denominator.inverse())
        })
        .collect()
}
