//! Which ciphertexts are valid, and that one-by-one and batched checks agree on it.

use proptest::prelude::*;

use super::*;

/// Enough to go through multi-scalar multiplication and bisection.
const POOL: u64 = 48;

static HONEST: LazyLock<Vec<(Label, Ciphertext)>> =
    LazyLock::new(|| (0..POOL).map(sealed).collect());

/// Checks one by one and in one batch, demands the same verdicts and returns them.
fn verdicts(items: &[(Label, Ciphertext)]) -> Vec<Result<(), CiphertextError>> {
    let singles: Vec<_> = items.iter().map(|(l, c)| verify(FOUR.key(), l, c)).collect();
    for (single, (_, sealed)) in singles.iter().zip(items) {
        assert!(single.as_ref().is_ok_and(|u| u.to_bytes() == sealed.u) || single.is_err());
    }
    let references: Vec<(Label, &Ciphertext)> = items.iter().map(|(l, c)| (*l, c)).collect();
    for weights_seed in [[0; 32], [9; 32]] {
        assert_eq!(verify_batch(FOUR.key(), &references, weights_seed), singles);
    }
    singles.into_iter().map(|verdict| verdict.map(drop)).collect()
}

fn among_honest(item: (Label, Ciphertext), at: usize) -> Vec<(Label, Ciphertext)> {
    let mut items = HONEST.clone();
    items[at] = item;
    items
}

#[test]
fn honest_ciphertexts_are_valid_in_batches_of_every_size() {
    for size in [0, 1, 2, 15, 16, 17, 31, 32, 33, POOL as usize] {
        assert!(verdicts(&HONEST[..size]).iter().all(Result::is_ok), "{size}");
    }
}

#[test]
fn a_batch_longer_than_a_chunk_keeps_its_order() {
    let mut items: Vec<(Label, &Ciphertext)> =
        HONEST.iter().cycle().take(600).map(|(l, c)| (*l, c)).collect();
    for bad in [3, 511, 512, 599] {
        items[bad].0 = Label([0; 32]);
    }
    let verdicts = verify_batch(FOUR.key(), &items, [1; 32]);
    let bad: Vec<usize> = (0..600).filter(|i| verdicts[*i].is_err()).collect();
    assert_eq!(bad, [3, 511, 512, 599]);
}

/// A small-order component is refused in `u`. In the other points it passes when the proof was made
/// over it, and breaks the proof when not; one by one and in a batch alike.
#[test]
fn small_orders_get_the_same_verdict_in_every_position() {
    let label = label(1);
    for order in SMALL_ORDERS {
        for position in 0..4 {
            let mut forger = Forger::new();
            forger.offsets[position] = Some(torsion(order));
            let proven = forger.forge(FOUR.key(), &label);

            let honest = HONEST[1].1.clone();
            let mut added = honest.clone();
            let field = match position {
                0 => &mut added.u,
                1 => &mut added.u_bar,
                2 => &mut added.w,
                _ => &mut added.w_bar,
            };
            *field = plus(field, &torsion(order));

            let mut items = among_honest((label, proven), 30);
            items[1].1 = added;
            let verdicts = verdicts(&items);
            let refused =
                Err(CiphertextError::Point { field: PointField::U, error: PointError::Subgroup });
            let (expect_proven, expect_added) = if position == 0 {
                (refused, refused)
            } else {
                (Ok(()), Err(CiphertextError::Proof))
            };
            assert_eq!(verdicts[30], expect_proven, "order {order} at {position}");
            assert_eq!(verdicts[1], expect_added, "order {order} at {position}");
            assert_eq!(verdicts.iter().filter(|v| v.is_err()).count(), [2, 1, 1, 1][position]);
        }
    }
}

/// Points that consist of nothing but a small-order component, all positions at once.
#[test]
fn pure_small_orders_get_the_same_verdict() {
    let label = label(2);
    for order in SMALL_ORDERS {
        // s = 0 makes w and w̅ pure; the proof holds.
        let mut forger = Forger::new();
        forger.s = Scalar::from_u64(0);
        forger.offsets = [None, Some(torsion(order)), Some(torsion(order)), Some(torsion(order))];
        let zero_s = forger.forge(FOUR.key(), &label);
        assert_eq!(verdicts(&among_honest((label, zero_s.clone()), 5))[5], Ok(()), "{order}");

        // An invalid one whose points could vanish from a careless sum.
        let mut vanishing = zero_s;
        let pure = torsion(order).to_affine().to_compressed();
        (vanishing.u_bar, vanishing.w, vanishing.w_bar, vanishing.z) = (pure, pure, pure, [0; 32]);
        let invalid = vec![(label, vanishing); 20];
        assert!(verdicts(&invalid).iter().all(|v| *v == Err(CiphertextError::Proof)), "{order}");
        assert_eq!(
            verdicts(&among_honest(invalid[0].clone(), 5))[5],
            Err(CiphertextError::Proof),
            "{order}"
        );
    }
}

/// Two wrong items whose errors cancel in an unweighted sum.
#[test]
fn errors_do_not_cancel() {
    let mut items = HONEST.clone();
    let delta = GENERATOR.mul_secret(&scalar(77));
    items[3].1.w = plus(&items[3].1.w, &delta);
    items[4].1.w = plus(&items[4].1.w, &delta.negate());
    let verdicts = verdicts(&items);
    let bad: Vec<usize> = (0..items.len()).filter(|i| verdicts[*i].is_err()).collect();
    assert_eq!(bad, [3, 4]);
}

fn mix(own: &Ciphertext, victim: &Ciphertext, fields: u8) -> Ciphertext {
    let take = |bit: u8| fields >> bit & 1 == 1;
    Ciphertext {
        u: if take(0) { victim.u } else { own.u },
        u_bar: if take(1) { victim.u_bar } else { own.u_bar },
        w: if take(2) { victim.w } else { own.w },
        w_bar: if take(3) { victim.w_bar } else { own.w_bar },
        z: if take(4) { victim.z } else { own.z },
        wrapped_seed: if take(5) { victim.wrapped_seed } else { own.wrapped_seed },
        body: if take(6) { victim.body.clone() } else { own.body.clone() },
    }
}

/// An attacker's envelope has another label: no field of a victim's ciphertext, and no set of fields,
/// can be put into it. Nor can anything be put into the victim's.
#[test]
fn copied_fields_are_refused_each_and_in_every_combination() {
    let ((own_label, own), (victim_label, victim)) = (&HONEST[0], &HONEST[1]);
    for fields in 0..128 {
        let mixed = mix(own, victim, fields);
        let expected = if fields == 0 { Ok(()) } else { Err(CiphertextError::Proof) };
        assert_eq!(verify(FOUR.key(), own_label, &mixed).map(drop), expected, "{fields:07b}");
        let expected = if fields == 127 { Ok(()) } else { Err(CiphertextError::Proof) };
        assert_eq!(verify(FOUR.key(), victim_label, &mixed).map(drop), expected, "{fields:07b}");
    }
}

#[test]
fn another_committee_key_is_refused() {
    let other = deal(4, 3, [8; 32]).unwrap().public().unwrap();
    let (label, sealed) = &HONEST[0];
    assert_eq!(verify(other.key(), label, sealed), Err(CiphertextError::Proof));
}

/// One way to spoil a ciphertext.
#[derive(Clone, Debug)]
enum Change {
    None,
    Label,
    Flip { byte: prop::sample::Index, bit: u8 },
    Small { order: usize, position: usize },
    Copy { from: prop::sample::Index, fields: u8 },
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Change::None),
        1 => Just(Change::Label),
        3 => (index(), 0..8u8).prop_map(|(byte, bit)| Change::Flip { byte, bit }),
        2 => (0..SMALL_ORDERS.len(), 0..4usize)
            .prop_map(|(order, position)| Change::Small { order, position }),
        2 => (index(), 1..127u8).prop_map(|(from, fields)| Change::Copy { from, fields }),
    ]
}

fn apply(change: &Change, i: usize) -> (Label, Ciphertext) {
    let (mut label, mut sealed) = HONEST[i].clone();
    match change {
        Change::None => {}
        Change::Label => label.0[0] ^= 1,
        Change::Flip { byte, bit } => {
            let mut parts: [&mut [u8]; 7] = [
                &mut sealed.u,
                &mut sealed.u_bar,
                &mut sealed.w,
                &mut sealed.w_bar,
                &mut sealed.z,
                &mut sealed.wrapped_seed,
                &mut sealed.body,
            ];
            let mut at = byte.index(parts.iter().map(|part| part.len()).sum());
            for part in &mut parts {
                if at < part.len() {
                    part[at] ^= 1 << bit;
                    break;
                }
                at -= part.len();
            }
        }
        Change::Small { order, position } => {
            let mut forger = Forger::new();
            forger.offsets[*position] = Some(torsion(SMALL_ORDERS[*order]));
            sealed = forger.forge(FOUR.key(), &label);
        }
        Change::Copy { from, fields } => {
            sealed = mix(&sealed, &HONEST[from.index(HONEST.len())].1, *fields);
        }
    }
    (label, sealed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_and_single_checks_agree(changes in prop::collection::vec(change(), 0..POOL as usize)) {
        let items: Vec<_> = changes.iter().enumerate().map(|(i, c)| apply(c, i)).collect();
        for (i, (verdict, change)) in verdicts(&items).iter().zip(&changes).enumerate() {
            match change {
                Change::None => prop_assert!(verdict.is_ok()),
                Change::Small { position, .. } => prop_assert_eq!(verdict.is_ok(), *position != 0),
                Change::Copy { from, .. } if from.index(HONEST.len()) == i => {
                    prop_assert!(verdict.is_ok());
                }
                _ => prop_assert!(verdict.is_err()),
            }
        }
    }
}
