//! From shares to openings, with members and sealers that lie.

use proptest::prelude::*;

use super::*;
use crate::seal::{Points, assemble, reseal_padded};

fn opened(message: &[u8], seed: &Seed) -> Option<Opening> {
    Some(Opening::Opened { seed: *seed.expose(), message: message.to_vec() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_sealed_opens(
        message in prop::collection::vec(any::<u8>(), 0..1200),
        label in any::<[u8; 32]>().prop_map(Label),
        seed in any::<[u8; 32]>().prop_map(Seed::from_bytes),
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let sealed = seal(SEVEN.key(), &label, &seed, &message).unwrap();
        prop_assert_eq!(sealed.body.len(), padded_len(message.len()).unwrap() + TAG_BYTES);
        prop_assert_eq!(&seal(SEVEN.key(), &label, &seed, &message).unwrap(), &sealed);
        prop_assert_eq!(&reseal(SEVEN.key(), &label, seed.expose(), &message).unwrap(), &sealed);
        prop_assert!(verify(SEVEN.key(), &label, &sealed).is_ok());

        let shares = SEVEN.shares(order, &sealed);
        let verdict = decide(&SEVEN.public, &label, &sealed, &shares);
        prop_assert_eq!(&verdict.opening, &opened(&message, &seed));
        prop_assert!(verdict.blamed.is_empty());
        let opening = verdict.opening.unwrap();
        prop_assert_eq!(check_opening(&SEVEN.public, &label, &sealed, &opening), Ok(()));

        let few = decide(&SEVEN.public, &label, &sealed, &shares[..4]);
        prop_assert_eq!(few, Verdict { opening: None, blamed: vec![] });
    }

    #[test]
    fn a_changed_input_changes_the_sealing(i in 0u64..1000) {
        let base = seal(FOUR.key(), &label(i), &seed(i), b"message").unwrap();
        for other in [
            seal(FOUR.key(), &label(i + 1), &seed(i), b"message").unwrap(),
            seal(FOUR.key(), &label(i), &seed(i + 1), b"message").unwrap(),
            seal(FOUR.key(), &label(i), &seed(i), b"massage").unwrap(),
            seal(SEVEN.key(), &label(i), &seed(i), b"messages").unwrap(),
        ] {
            prop_assert!(base.u != other.u && base.w != other.w && base.z != other.z);
            prop_assert!(base.wrapped_seed != other.wrapped_seed && base.body != other.body);
        }
    }
}

#[test]
fn the_longest_message_opens() {
    let message = vec![0x5a; MAX_MESSAGE_BYTES];
    let (label, seed) = (label(1), seed(1));
    let sealed = seal(FOUR.key(), &label, &seed, &message).unwrap();
    assert!(verify(FOUR.key(), &label, &sealed).is_ok());
    let verdict = decide(&FOUR.public, &label, &sealed, &FOUR.shares(0..3, &sealed));
    assert_eq!(verdict.opening, opened(&message, &seed));
    let longer = vec![0; MAX_MESSAGE_BYTES + 1];
    let error = SealError::TooLong { len: longer.len(), max: MAX_MESSAGE_BYTES };
    assert_eq!(seal(FOUR.key(), &label, &seed, &longer), Err(error));
}

/// Every kind of wrong share that a member could send.
fn wrong_shares(member: usize, sealed: &Ciphertext) -> Vec<(&'static str, Share)> {
    let (_, right) = SEVEN.share(member, sealed);
    let point = CurvePoint::from_raw(&right.0).unwrap().to_sum();
    let raw = |sum: Sum| Share(sum.to_affine().to_raw());
    let mut infinity = [0; 96];
    infinity[0] = 0x40;
    let mut compressed = [0; 96];
    compressed[..48].copy_from_slice(&point.to_affine().to_compressed());
    let mut off_curve = right;
    off_curve.0[95] ^= 1;
    let mut flagged = right;
    flagged.0[0] |= 0x20;
    vec![
        ("random point", raw(GENERATOR.mul_secret(&scalar(member as u64)))),
        ("another member's", SEVEN.share((member + 1) % 7, sealed).1),
        ("negated", raw(point.negate())),
        ("doubled", raw(point.double())),
        ("with order 3", raw(point.add(&torsion(3)))),
        ("with order 11", raw(point.add(&torsion(11)))),
        ("with all small orders", raw(point.add(&torsion(0)))),
        ("order 3", raw(torsion(3))),
        ("order 11", raw(torsion(11))),
        ("infinity", Share(infinity)),
        ("compressed", Share(compressed)),
        ("off the curve", off_curve),
        ("flagged", flagged),
        ("zeros", Share([0; 96])),
        ("ones", Share([0xff; 96])),
    ]
}

/// Up to f members lie, in every way: they are blamed, and the position opens with the others.
#[test]
fn wrong_shares_are_blamed_and_replaced() {
    let (label, seed) = (label(3), seed(3));
    let sealed = seal(SEVEN.key(), &label, &seed, b"hello").unwrap();
    let kinds = wrong_shares(0, &sealed).len();
    for kind in 0..kinds {
        for liars in [vec![0], vec![2, 0], vec![6, 5]] {
            let mut shares: Vec<(usize, Share)> =
                liars.iter().map(|liar| (*liar, wrong_shares(*liar, &sealed)[kind].1)).collect();
            let name = wrong_shares(0, &sealed)[kind].0;
            for (member, share) in &shares {
                assert!(!SEVEN.public.verify_share(*member, &sealed.u, share), "{name}");
            }
            shares.extend(SEVEN.shares((0..7).filter(|m| !liars.contains(m)), &sealed));
            let verdict = decide(&SEVEN.public, &label, &sealed, &shares);
            assert_eq!(verdict.opening, opened(b"hello", &seed), "{name}");
            // A component of order 3 or 11 may vanish by chance, multiplied by an integer.
            if !(verdict.blamed.is_empty() && matches!(name, "with order 3" | "with order 11")) {
                let mut blamed = liars.clone();
                blamed.sort_unstable();
                assert_eq!(verdict.blamed, blamed, "{name}");
            }
        }
    }
}

/// One lie more than the committee tolerates: no opening, and still nobody honest is blamed.
#[test]
fn too_many_wrong_shares_open_nothing() {
    let (label, seed) = (label(3), seed(3));
    let sealed = seal(SEVEN.key(), &label, &seed, b"hello").unwrap();
    let mut shares: Vec<(usize, Share)> =
        (0..3).map(|liar| (liar, wrong_shares(liar, &sealed)[0].1)).collect();
    shares.extend(SEVEN.shares(3..7, &sealed));
    let verdict = decide(&SEVEN.public, &label, &sealed, &shares);
    assert_eq!(verdict, Verdict { opening: None, blamed: vec![0, 1, 2] });
}

#[test]
fn repeated_and_foreign_indices_are_ignored() {
    let (label, seed) = (label(3), seed(3));
    let sealed = seal(FOUR.key(), &label, &seed, b"hello").unwrap();
    let first = FOUR.share(0, &sealed);
    let noise = [first, first, (4, first.1), (usize::MAX, first.1), (0, Share([0; 96]))];
    let mut shares = noise.to_vec();
    let verdict = decide(&FOUR.public, &label, &sealed, &shares);
    assert_eq!(verdict, Verdict { opening: None, blamed: vec![] });
    shares.extend(FOUR.shares([2, 3], &sealed));
    let verdict = decide(&FOUR.public, &label, &sealed, &shares);
    assert_eq!(verdict, Verdict { opening: opened(b"hello", &seed), blamed: vec![] });
    assert!(!FOUR.public.verify_share(4, &sealed.u, &first.1));
}

#[test]
fn nobody_is_blamed_for_an_invalid_u() {
    let (label, mut sealed) = sealed(1);
    let shares = FOUR.shares(0..4, &sealed);
    sealed.u = plus(&sealed.u, &torsion(3));
    let verdict = decide(&FOUR.public, &label, &sealed, &shares);
    assert_eq!(verdict, Verdict { opening: None, blamed: vec![] });
}

#[test]
fn shares_combine_to_the_secret() {
    let (_, sealed) = sealed(1);
    let secret = FOUR.secret(&sealed);
    assert!(FOUR.public.verify_secret(&sealed.u, &secret));
    assert_eq!(combine(&FOUR.shares([3, 1, 2], &sealed)).unwrap(), secret);
    assert_eq!(combine(&FOUR.shares([3, 1, 2, 0], &sealed)).unwrap(), secret);
    assert_ne!(combine(&FOUR.shares([3, 1], &sealed)).unwrap(), secret);
    assert_eq!(combine(&[]), Err(CombineError::Empty));
    let twice = FOUR.shares([1, 2, 1], &sealed);
    assert_eq!(combine(&twice), Err(CombineError::Duplicate { member: 1 }));
    let bad = [(5, Share([0xff; 96]))];
    let error = CombineError::Share { member: 5, error: PointError::Encoding };
    assert_eq!(combine(&bad), Err(error));
}

/// Ciphertexts for `label(3)` that pass admission but were not made by the rules.
pub(super) fn undecryptable(key: &CommitteeKey) -> Vec<(&'static str, Ciphertext)> {
    let (label, seed) = (label(3), seed(3));
    let honest = || Forger::honest(key, &label, &seed, b"hello");
    let forged = |change: &dyn Fn(&mut Forger)| {
        let mut forger = honest();
        change(&mut forger);
        forger.forge(key, &label)
    };
    // The right seed and cipher, but padded to twice the length.
    let padded = {
        let mut padded = crate::pad::pad(b"hello").unwrap().to_vec();
        padded.resize(512, 0);
        reseal_padded(key, &label, seed.expose(), &padded).unwrap()
    };
    // The right seed, wrapped and encrypted by the rules, but scalars that do not come from it.
    let scalars = Scalars { r: scalar(8), s: scalar(9) };
    let points: Points = scalars.points_secret(key);
    let plain = crate::pad::pad(b"hello").unwrap();
    let chosen = assemble(key, &label, seed.expose(), &plain, &scalars, &points);
    vec![
        ("garbage everywhere", Forger::new().forge(key, &label)),
        ("garbage seed", forged(&|forger| forger.wrapped_seed[0] ^= 1)),
        ("garbage body", forged(&|forger| forger.body[5] ^= 1)),
        ("garbage tag", forged(&|forger| *forger.body.last_mut().unwrap() ^= 1)),
        ("another s", forged(&|forger| forger.s = scalar(4))),
        ("order 3 in u_bar", forged(&|forger| forger.offsets[1] = Some(torsion(3)))),
        ("order 3 in w", forged(&|forger| forger.offsets[2] = Some(torsion(3)))),
        ("order 11 in w_bar", forged(&|forger| forger.offsets[3] = Some(torsion(11)))),
        ("long padding", padded),
        ("chosen scalars", chosen),
    ]
}

#[test]
fn undecryptable_is_the_same_for_everybody_and_publicly_checked() {
    let label = label(3);
    for (name, sealed) in undecryptable(SEVEN.key()) {
        assert!(verify(SEVEN.key(), &label, &sealed).is_ok(), "{name}");
        let secret = SEVEN.secret(&sealed);
        let expected = Opening::Undecryptable { secret };
        for members in [[0, 1, 2, 3, 4], [6, 5, 4, 3, 2], [1, 3, 5, 6, 0]] {
            let shares = SEVEN.shares(members, &sealed);
            let verdict = decide(&SEVEN.public, &label, &sealed, &shares);
            let expected = Verdict { opening: Some(expected.clone()), blamed: vec![] };
            assert_eq!(verdict, expected, "{name}");
        }
        // Also with liars among the members.
        let mut shares =
            vec![(0, wrong_shares(0, &sealed)[0].1), (1, wrong_shares(1, &sealed)[4].1)];
        shares.extend(SEVEN.shares(2..7, &sealed));
        let verdict = decide(&SEVEN.public, &label, &sealed, &shares);
        let blamed = Verdict { opening: Some(expected.clone()), blamed: vec![0, 1] };
        assert_eq!(verdict, blamed, "{name}");

        let check = |opening: &Opening| check_opening(&SEVEN.public, &label, &sealed, opening);
        assert_eq!(check(&expected), Ok(()), "{name}");
        let wrong = plus(&secret, &GENERATOR.point().to_sum());
        assert_eq!(
            check(&Opening::Undecryptable { secret: wrong }),
            Err(OpeningError::WrongSecret),
            "{name}"
        );
        for order in SMALL_ORDERS {
            let shifted = Opening::Undecryptable { secret: plus(&secret, &torsion(order)) };
            let error = OpeningError::Secret(PointError::Subgroup);
            assert_eq!(check(&shifted), Err(error), "{name}");
        }
        let claimed = Opening::Opened { seed: *seed(3).expose(), message: b"hello".to_vec() };
        assert_eq!(check(&claimed), Err(OpeningError::Mismatch), "{name}");
    }
}

#[test]
fn an_opening_is_checked_byte_for_byte() {
    let (label, seed) = (label(3), seed(3));
    let sealed = seal(SEVEN.key(), &label, &seed, b"hello").unwrap();
    let check = |opening: &Opening| check_opening(&SEVEN.public, &label, &sealed, opening);
    let right = opened(b"hello", &seed).unwrap();
    assert_eq!(check(&right), Ok(()));

    let other_seed = Opening::Opened { seed: [1; 32], message: b"hello".to_vec() };
    let other_message = Opening::Opened { seed: *seed.expose(), message: b"hallo".to_vec() };
    let too_long =
        Opening::Opened { seed: *seed.expose(), message: vec![0; MAX_MESSAGE_BYTES + 1] };
    for wrong in [other_seed, other_message, too_long] {
        assert_eq!(check(&wrong), Err(OpeningError::Mismatch));
    }
    let secret = SEVEN.secret(&sealed);
    let slander = Opening::Undecryptable { secret };
    assert_eq!(check(&slander), Err(OpeningError::Decryptable));
    let garbage = Opening::Undecryptable { secret: [0; 48] };
    assert_eq!(check(&garbage), Err(OpeningError::Secret(PointError::Encoding)));
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let infinite = Opening::Undecryptable { secret: infinity };
    assert_eq!(check(&infinite), Err(OpeningError::Secret(PointError::Infinity)));

    let mut changed = sealed.clone();
    changed.w_bar = plus(&changed.w_bar, &torsion(3));
    assert_eq!(
        check_opening(&SEVEN.public, &label, &changed, &right),
        Err(OpeningError::Mismatch),
        "a small-order component is a different byte string"
    );
}

/// Fewer shares than the threshold give a secret that neither opens nor passes for the right one.
#[test]
fn too_few_shares_say_nothing() {
    let (_, sealed) = sealed(1);
    let guess = combine(&FOUR.shares([0, 1], &sealed)).unwrap();
    assert!(!FOUR.public.verify_secret(&sealed.u, &guess));
}

/// Every kind of wrong share, alone and by whole columns, with and without a quorum of members that are
/// right throughout.
#[test]
fn shares_checked_together_and_one_by_one_agree() {
    let items: Vec<_> = (0..40)
        .map(|i| {
            let label = label(i);
            seal(SEVEN.key(), &label, &seed(i), b"message").unwrap()
        })
        .collect();
    let points: Vec<_> =
        items.iter().map(|sealed| EphemeralPoint::from_bytes(&sealed.u).unwrap()).collect();
    let honest: Vec<Vec<Share>> = SEVEN.dealt.keys.iter().map(|key| key.shares(&points)).collect();
    let third = torsion(3);
    let small = |share: &Share| {
        let sum = share.decode().unwrap().to_sum().add(&third);
        Share(sum.to_affine().to_raw())
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<Vec<Share>>);
    let cases: [(&str, Change<'_>); 9] = [
        ("none", &|_| {}),
        ("exchanged", &|shares| shares[2].swap(3, 39)),
        ("another member's column", &|shares| shares[0] = shares[1].clone()),
        ("undecodable", &|shares| shares[6][0] = Share([9; 96])),
        ("of small order", &|shares| shares[5][20] = small(&shares[5][20])),
        ("opposite errors of one member", &|shares| {
            shares[3][0] = small(&shares[3][0]);
            shares[3][1] = Share(
                shares[3][1].decode().unwrap().to_sum().add(&third.negate()).to_affine().to_raw(),
            );
        }),
        ("two members", &|shares| {
            shares[1].reverse();
            shares[4][7] = shares[4][8];
        }),
        ("too many for a quorum", &|shares| {
            shares[1].reverse();
            (2..5).for_each(|member| shares[member][member] = shares[member][0]);
        }),
        ("all", &|shares| shares.iter_mut().for_each(|column| column.rotate_left(1))),
    ];
    for (name, change) in cases {
        let mut shares = honest.clone();
        change(&mut shares);
        let columns: Vec<_> =
            shares.iter().enumerate().map(|(member, shares)| Column { member, shares }).collect();
        let expected: Vec<_> = (0..7)
            .flat_map(|member| (0..items.len()).map(move |position| (member, position)))
            .filter(|(member, position)| {
                let share = &shares[*member][*position];
                !SEVEN.public.verify_share(*member, &items[*position].u, share)
            })
            .collect();
        assert_eq!(expected.is_empty(), name == "none");
        assert_eq!(check_shares(&SEVEN.public, &points, &columns), expected, "{name}");
    }
}
