//! The arithmetic below the scheme, against slower or foreign arithmetic.

use blsttc::group::{Curve, prime::PrimeCurveAffine};
use proptest::prelude::*;

use super::*;
use crate::comb::Comb;
use crate::group::{Subgroup, msm_subgroup};
use crate::key::{
    GENERATOR_COMB, SECOND_GENERATOR_COMB, SECRET_GENERATOR_COMB, SECRET_SECOND_GENERATOR_COMB,
};
use crate::lagrange;

fn same(a: &Sum, b: &Sum) -> bool {
    a.to_affine() == b.to_affine()
}

#[test]
fn comb_agrees_with_constant_time_multiplication_at_the_edges() {
    let q_minus_1 = Scalar::from_u64(0).sub(&Scalar::from_u64(1));
    let edges = [0, 1, 2, 127, 128, 129, 255, 256, 0x8080, 0x8180, u64::MAX].map(Scalar::from_u64);
    for scalar in edges.into_iter().chain([q_minus_1]) {
        assert!(same(&GENERATOR_COMB.mul_public(&scalar), &GENERATOR.mul_secret(&scalar)));
        assert!(same(&SECRET_GENERATOR_COMB.mul_secret(&scalar), &GENERATOR.mul_secret(&scalar)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn comb_agrees_with_constant_time_multiplication(bytes in any::<[u8; 32]>()) {
        let scalar = expand_scalar(&bytes, 0);
        prop_assert!(same(&GENERATOR_COMB.mul_public(&scalar), &GENERATOR.mul_secret(&scalar)));
        prop_assert!(same(
            &SECRET_SECOND_GENERATOR_COMB.mul_secret(&scalar),
            &SECOND_GENERATOR.mul_secret(&scalar),
        ));
        prop_assert!(same(
            &SECOND_GENERATOR_COMB.mul_public(&scalar),
            &SECOND_GENERATOR.mul_secret(&scalar)
        ));
        prop_assert!(same(
            &SECOND_GENERATOR.point().to_sum().mul_public(&scalar.to_le_bytes()),
            &SECOND_GENERATOR.mul_secret(&scalar)
        ));
    }

    #[test]
    fn scalar_bytes_round_trip(bytes in any::<[u8; 32]>(), wide in any::<[u8; 32]>()) {
        let scalar = expand_scalar(&bytes, 1);
        let encoded = scalar.to_be_bytes();
        prop_assert_eq!(Scalar::from_be_bytes(&encoded).unwrap().to_be_bytes(), encoded);
        // A wide integer hi·2²⁵⁶ + lo, by hand.
        let (hi, lo) = (expand_scalar(&wide, 0), scalar);
        let mut joined = [0; 64];
        joined[..32].copy_from_slice(&hi.to_be_bytes());
        joined[32..].copy_from_slice(&lo.to_be_bytes());
        let mut power = Scalar::from_u64(1);
        for _ in 0..256 {
            power = power.add(&power);
        }
        let expected = hi.mul(&power).add(&lo);
        prop_assert_eq!(Scalar::from_wide_be(&joined).to_be_bytes(), expected.to_be_bytes());
    }
}

#[test]
fn scalars_must_be_below_the_order() {
    assert!(Scalar::from_be_bytes(&GROUP_ORDER_BE).is_none());
    assert!(Scalar::from_be_bytes(&[0xff; 32]).is_none());
    assert!(Scalar::from_be_bytes(&[0; 32]).unwrap().is_zero());
}

#[test]
fn small_order_points_have_their_order() {
    for order in SMALL_ORDERS {
        let point = torsion(order);
        let full = if order == 0 { TORSION_EXPONENT } else { order };
        assert!(!point.is_infinity());
        assert!(point.mul_public(&full.to_le_bytes()).is_infinity(), "{order}");
        assert!(point.clear_cofactor().is_infinity(), "{order}");
        assert_eq!(point.to_affine().into_subgroup(), Err(PointError::Subgroup), "{order}");
        let bytes = point.to_affine().to_compressed();
        assert_eq!(CurvePoint::from_compressed(&bytes), Ok(point.to_affine()), "{order}");
    }
    assert!(!GENERATOR.point().to_sum().clear_cofactor().is_infinity());
}

#[test]
fn second_generator_is_in_the_subgroup_and_another_point() {
    assert!(SECOND_GENERATOR.point().into_subgroup().is_ok());
    assert_ne!(*SECOND_GENERATOR, *GENERATOR);
}

#[test]
fn subgroup_multiplication_agrees_for_every_size() {
    for count in [0, 1, 2, 5, 31, 32, 33] {
        let points: Vec<CurvePoint> =
            (0..count).map(|i| GENERATOR.mul_secret(&scalar(i)).to_affine()).collect();
        let scalars: Vec<Scalar> = (0..count).map(|i| scalar(i + 50)).collect();
        let exponent =
            (0..count).fold(Scalar::from_u64(0), |sum, i| sum.add(&scalar(i).mul(&scalar(i + 50))));
        assert!(
            same(&msm_subgroup(&points, &scalars), &GENERATOR.mul_secret(&exponent)),
            "{count}"
        );
    }
}

#[test]
fn interpolation_finds_the_constant() {
    let coefficients: Vec<Scalar> = (0..4).map(scalar).collect();
    let value = |member: usize| {
        let x = lagrange::place(member);
        coefficients.iter().rev().fold(Scalar::from_u64(0), |sum, c| sum.mul(&x).add(c))
    };
    for members in [vec![0, 1, 2, 3], vec![9, 2, 700, 1], vec![5, 4, 3, 2, 1]] {
        let sum = members
            .iter()
            .zip(lagrange::at_zero(&members))
            .fold(Scalar::from_u64(0), |sum, (member, l)| sum.add(&l.mul(&value(*member))));
        assert_eq!(sum.to_be_bytes(), coefficients[0].to_be_bytes(), "{members:?}");
    }
}

/// Keys and shares mean the same to `blsttc` as here.
#[test]
fn shares_agree_with_blsttc() {
    let (_, sealed) = sealed(1);
    let u = blsttc::G1Affine::from_compressed(&sealed.u).unwrap();
    for key in &FOUR.dealt.keys {
        let x: blsttc::Fr = key.expose(|bytes| blsttc::Fr::from_bytes_be(bytes).unwrap());
        let expected = (u.to_curve() * x).to_affine().to_uncompressed();
        let u = EphemeralPoint::from_bytes(&sealed.u).unwrap();
        assert_eq!(key.share(&u).0, expected);
        assert_eq!(key.shares([&u; 2]), [Share(expected); 2]);
    }
    let y = blsttc::PublicKey::from_bytes(FOUR.dealt.y).unwrap();
    assert_eq!(CommitteeKey::from_blsttc(&y).unwrap(), *FOUR.key());
}

#[test]
fn a_table_of_another_base_gives_other_points() {
    let base = Subgroup::from_compressed(&FOUR.dealt.y).unwrap();
    let comb = Comb::new(&base);
    assert!(same(&comb.mul_public(&scalar(5)), &base.mul_secret(&scalar(5))));
    assert!(!same(&comb.mul_public(&scalar(5)), &GENERATOR_COMB.mul_public(&scalar(5))));
}
