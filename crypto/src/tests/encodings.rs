//! What decodes and what does not; what is printed and what is not.

use super::*;
use crate::group::G2Point;

/// p, the field's modulus, big-endian.
const MODULUS_BE: [u8; 48] = alloy_primitives::hex!(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
);

fn set(sealed: &mut Ciphertext, field: PointField, bytes: [u8; 48]) {
    match field {
        PointField::U => sealed.u = bytes,
        PointField::UBar => sealed.u_bar = bytes,
        PointField::W => sealed.w = bytes,
        PointField::WBar => sealed.w_bar = bytes,
    }
}

/// Compressed encoding with flags 0b100 of a coordinate given as a small integer plus `base`.
fn coordinate(base: &[u8; 48], small: u8) -> [u8; 48] {
    let mut bytes = *base;
    let mut carry = u16::from(small);
    for byte in bytes.iter_mut().rev() {
        carry += u16::from(*byte);
        *byte = carry.to_be_bytes()[1];
        carry >>= 8;
    }
    bytes[0] |= 0x80;
    bytes
}

fn on_curve_x() -> u8 {
    (1..).find(|x| CurvePoint::from_compressed(&coordinate(&[0; 48], *x)).is_ok()).unwrap()
}

fn off_curve_x() -> u8 {
    (1..).find(|x| CurvePoint::from_compressed(&coordinate(&[0; 48], *x)).is_err()).unwrap()
}

fn bad_encodings() -> Vec<([u8; 48], PointError)> {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let (mut signed_infinity, mut dirty_infinity) = (infinity, infinity);
    signed_infinity[0] = 0xe0;
    dirty_infinity[47] = 1;
    let mut no_flag = coordinate(&[0; 48], on_curve_x());
    no_flag[0] &= 0x7f;
    vec![
        (coordinate(&[0; 48], off_curve_x()), PointError::NotOnCurve),
        (coordinate(&MODULUS_BE, on_curve_x()), PointError::Encoding),
        (coordinate(&MODULUS_BE, 0), PointError::Encoding),
        ([0xff; 48], PointError::Encoding),
        ([0; 48], PointError::Encoding),
        (signed_infinity, PointError::Encoding),
        (dirty_infinity, PointError::Encoding),
        (no_flag, PointError::Encoding),
    ]
}

#[test]
fn bad_points_are_refused_in_every_field_one_by_one_and_in_batches() {
    let honest: Vec<(Label, Ciphertext)> = (0..20).map(sealed).collect();
    for field in [PointField::U, PointField::UBar, PointField::W, PointField::WBar] {
        for (bytes, error) in bad_encodings() {
            let (label, mut bad) = sealed(100);
            set(&mut bad, field, bytes);
            let expected = Err(CiphertextError::Point { field, error });
            assert_eq!(verify(FOUR.key(), &label, &bad), expected, "{bytes:02x?}");

            let mut items: Vec<(Label, &Ciphertext)> =
                honest.iter().map(|(l, c)| (*l, c)).collect();
            items.insert(7, (label, &bad));
            let verdicts = verify_batch(FOUR.key(), &items, [0; 32]);
            assert_eq!(verdicts.iter().filter(|verdict| verdict.is_err()).count(), 1);
            assert_eq!(verdicts[7], expected);
        }
    }
}

#[test]
fn infinity_is_refused_as_u_and_proves_nothing_elsewhere() {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let (label, honest) = sealed(1);
    let u_error = CiphertextError::Point { field: PointField::U, error: PointError::Infinity };
    for (field, error) in [
        (PointField::U, u_error),
        (PointField::UBar, CiphertextError::Proof),
        (PointField::W, CiphertextError::Proof),
        (PointField::WBar, CiphertextError::Proof),
    ] {
        let mut bad = honest.clone();
        set(&mut bad, field, infinity);
        assert_eq!(verify(FOUR.key(), &label, &bad), Err(error), "{field}");
    }
}

#[test]
fn z_must_be_canonical() {
    let (label, mut bad) = sealed(1);
    bad.z = GROUP_ORDER_BE;
    assert_eq!(verify(FOUR.key(), &label, &bad), Err(CiphertextError::Scalar));
    bad.z = [0xff; 32];
    assert_eq!(verify(FOUR.key(), &label, &bad), Err(CiphertextError::Scalar));
}

#[test]
fn body_must_have_a_padded_length() {
    let label = label(1);
    for len in [0, 15, 16, 271, 273, 256, 16 + 768, 16 + 2 * MAX_PADDED_BYTES] {
        let mut forger = Forger::new();
        forger.body = vec![0; len];
        let bad = forger.forge(FOUR.key(), &label);
        assert_eq!(
            verify(FOUR.key(), &label, &bad),
            Err(CiphertextError::BodyLength { len }),
            "{len}"
        );
    }
    for len in [272, 528, 16 + MAX_PADDED_BYTES] {
        let mut forger = Forger::new();
        forger.body = vec![0; len];
        let good = forger.forge(FOUR.key(), &label);
        assert!(verify(FOUR.key(), &label, &good).is_ok(), "{len}");
    }
}

#[test]
fn committee_key_must_be_of_prime_order() {
    for (bytes, error) in bad_encodings() {
        assert_eq!(CommitteeKey::from_bytes(&bytes), Err(error));
    }
    for order in SMALL_ORDERS {
        let bytes = plus(&FOUR.dealt.y, &torsion(order));
        assert_eq!(CommitteeKey::from_bytes(&bytes), Err(PointError::Subgroup));
    }
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    assert_eq!(CommitteeKey::from_bytes(&infinity), Err(PointError::Infinity));
}

#[test]
fn a_member_shares_points_of_prime_order_only() {
    let (_, sealed) = sealed(1);
    for order in SMALL_ORDERS {
        let mixed = plus(&sealed.u, &torsion(order));
        assert_eq!(EphemeralPoint::from_bytes(&mixed), Err(PointError::Subgroup));
        let pure = torsion(order).to_affine().to_compressed();
        assert_eq!(EphemeralPoint::from_bytes(&pure), Err(PointError::Subgroup));
    }
    for (bytes, error) in bad_encodings() {
        assert_eq!(EphemeralPoint::from_bytes(&bytes), Err(error));
    }
}

#[test]
fn decryption_key_round_trips_and_refuses_bad_scalars() {
    let key = &FOUR.dealt.keys[2];
    let again = key.expose(DecryptionKey::from_bytes).unwrap();
    assert_eq!(again.verification_key(), FOUR.dealt.verification_keys[2]);
    for bytes in [[0; 32], GROUP_ORDER_BE, [0xff; 32]] {
        assert_eq!(DecryptionKey::from_bytes(&bytes).unwrap_err(), DecryptionKeyError::Scalar);
    }
}

#[test]
fn public_keys_must_belong_together() {
    let Dealt { y, y2, threshold, verification_keys: vks, .. } = &FOUR.dealt;
    let other = deal(4, 3, [8; 32]).unwrap();
    let new = CommitteePublic::new;
    assert!(new(y, y2, *threshold, vks).is_ok());
    assert_eq!(new(y, &other.y2, 3, vks).unwrap_err(), CommitteeError::KeyMismatch);
    assert_eq!(new(&other.y, y2, 3, vks).unwrap_err(), CommitteeError::KeyMismatch);
    assert_eq!(
        new(y, y2, 0, vks).unwrap_err(),
        CommitteeError::Threshold { threshold: 0, members: 4 }
    );
    assert_eq!(
        new(y, y2, 5, vks).unwrap_err(),
        CommitteeError::Threshold { threshold: 5, members: 4 }
    );
    let many = vec![vks[0]; MAX_MEMBERS + 1];
    assert!(matches!(new(y, y2, 3, &many), Err(CommitteeError::TooManyMembers { .. })));

    // A degree too high for the threshold, or so low that fewer shares would open.
    assert_eq!(new(y, y2, 2, vks).unwrap_err(), CommitteeError::Degree);
    assert_eq!(new(y, y2, 4, vks).unwrap_err(), CommitteeError::Degree);
    for wrong in 0..4 {
        let mut vks = vks.clone();
        vks[wrong] = other.verification_keys[wrong];
        assert_eq!(new(y, y2, 3, &vks).unwrap_err(), CommitteeError::Degree, "{wrong}");
    }
    let mut swapped = vks.clone();
    swapped.swap(0, 1);
    assert_eq!(new(y, y2, 3, &swapped).unwrap_err(), CommitteeError::Degree);
}

#[test]
fn points_of_g2_must_be_of_prime_order() {
    let Dealt { y, y2, verification_keys: vks, .. } = &FOUR.dealt;
    let mut outside = None;
    for x in 1..=255 {
        let mut bytes = [0; 96];
        bytes[0] = 0x80;
        bytes[95] = x;
        match G2Point::from_compressed(&bytes) {
            Err(PointError::Subgroup) => outside = Some(bytes),
            Err(PointError::NotOnCurve) => {}
            other => panic!("{other:?}"),
        }
    }
    let outside = outside.unwrap();
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    for (bytes, error) in [
        (outside, PointError::Subgroup),
        (infinity, PointError::Infinity),
        ([0; 96], PointError::Encoding),
    ] {
        let mut vks = vks.clone();
        vks[3] = bytes;
        assert_eq!(
            CommitteePublic::new(y, y2, 3, &vks).unwrap_err(),
            CommitteeError::VerificationKey { member: 3, error }
        );
        assert_eq!(
            CommitteePublic::new(y, &bytes, 3, &vks).unwrap_err(),
            CommitteeError::KeyG2(error)
        );
    }
}

#[test]
fn any_shape_of_committee_can_be_dealt() {
    for (n, t) in [(1, 1), (2, 1), (2, 2), (4, 3), (7, 5), (16, 11)] {
        let committee = Committee::new(n, t);
        assert_eq!((committee.public.members(), committee.public.threshold()), (n, t));
        let label = label(9);
        let sealed = seal(committee.key(), &label, &seed(9), b"x").unwrap();
        let verdict =
            decide(&committee.public, &label, &sealed, &committee.shares(n - t..n, &sealed));
        assert!(matches!(verdict.opening, Some(Opening::Opened { .. })), "{n} {t}");
    }
    for (n, t) in [(0, 0), (0, 1), (3, 0), (3, 4), (MAX_MEMBERS + 1, 1)] {
        assert_eq!(deal(n, t, [0; 32]).unwrap_err(), DealError::Shape { members: n, threshold: t });
    }
}

#[test]
fn nothing_secret_is_printed() {
    let seed = Seed::from_bytes([0xab; 32]);
    assert_eq!(format!("{seed:?}"), "Seed(..)");
    assert_eq!(format!("{:?}", FOUR.dealt.keys[0]), "DecryptionKey(..)");
    let secrets: Vec<String> = FOUR
        .dealt
        .keys
        .iter()
        .flat_map(|key| {
            key.expose(|bytes| [alloy_primitives::hex::encode(bytes), format!("{bytes:?}")])
        })
        .collect();
    let printed = format!("{:?}", FOUR.dealt);
    assert!(secrets.iter().all(|secret| !printed.contains(secret.trim_matches(['[', ']']))));
    let opening = Opening::Opened { seed: [0xab; 32], message: b"private".to_vec() };
    assert_eq!(format!("{opening:?}"), "Opened(7 bytes)");
}
