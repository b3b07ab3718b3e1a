//! Deciding from shares, and verifying openings that others made.

use blindfold_wire::OpeningSet;
use proptest::prelude::*;

use super::*;
use crate::{Blame, CatchUpError, Contribution, decide_batch, verify_openings};

fn contributions(bundles: &[ShareBundle]) -> Vec<Contribution<'_>> {
    bundles
        .iter()
        .map(|bundle| Contribution { member: bundle.header.member, shares: &bundle.shares })
        .collect()
}

#[test]
fn any_quorum_and_any_thread_count_decide_alike() {
    let batch = batch(1, &[0, 1, 2], 0);
    let all: Vec<_> = (0..MEMBERS).map(|member| honest(member, &batch)).collect();
    let expected = decide_batch(&PUBLIC, &batch, &contributions(&all), 1).openings().to_vec();
    for absent in 0..MEMBERS {
        let some: Vec<_> =
            all.iter().filter(|bundle| bundle.header.member != absent).cloned().collect();
        let decided = decide_batch(&PUBLIC, &batch, &contributions(&some), 1 + absent as usize);
        assert_eq!(decided.openings(), expected);
        assert!(decided.blamed().is_empty());
        assert_opened(&decided.into_opened().unwrap().unwrap(), 1, &[0, 1, 2]);
    }
}

#[test]
fn fewer_than_t_shares_open_nothing() {
    let batch = batch(1, &[0, 1], 0);
    let two: Vec<_> = (0..2).map(|member| honest(member, &batch)).collect();
    let decided = decide_batch(&PUBLIC, &batch, &contributions(&two), 1);
    assert_eq!(decided.missing().collect::<Vec<_>>(), [0, 1]);
    assert!(decided.into_opened().is_err());
}

#[test]
fn unusable_contributions_count_for_nothing() {
    let batch = batch(1, &[0], 0);
    let [first, second] = [honest(0, &batch), honest(1, &batch)];
    let contribution = |member, shares| Contribution { member, shares };
    let useless = [
        contribution(0, &first.shares[..]),
        contribution(1, &second.shares[..]),
        contribution(1, &second.shares[..]),
        contribution(4, &second.shares[..]),
        contribution(u32::MAX, &second.shares[..]),
        contribution(2, &[][..]),
    ];
    let decided = decide_batch(&PUBLIC, &batch, &useless, 1);
    assert!(!decided.is_complete() && decided.blamed().is_empty());
}

fn opening_set(batch: &SealedBatch) -> OpeningSet {
    let bundles: Vec<_> = (1..MEMBERS).map(|member| honest(member, batch)).collect();
    let decided = decide_batch(&PUBLIC, batch, &contributions(&bundles), 1);
    let openings = decided.openings().iter().cloned().map(Option::unwrap).collect();
    OpeningSet { height: batch.height(), commitment: batch.digest(), openings }
}

#[test]
fn openings_of_others_are_verified_one_by_one() {
    let batch = batch(5, &[0, 1, 2], 0);
    let good = opening_set(&batch);
    assert_opened(&verify_openings(&PUBLIC, &batch, good.clone(), 2).unwrap(), 5, &[0, 1, 2]);

    let refused = |tamper: &dyn Fn(&mut OpeningSet)| {
        let mut set = good.clone();
        tamper(&mut set);
        let error = verify_openings(&PUBLIC, &batch, set, 2).map(|_| ()).unwrap_err();
        assert!(error.peer_at_fault());
        error
    };
    let other = refused(&|set| set.commitment = B256::ZERO);
    assert!(matches!(other, CatchUpError::OtherCommitment { .. }));
    assert!(matches!(refused(&|set| set.height = 6), CatchUpError::OtherCommitment { .. }));
    assert!(matches!(
        refused(&|set| drop(set.openings.pop())),
        CatchUpError::Count { expected: 3, got: 2 }
    ));
    let swapped = refused(&|set| set.openings.swap(1, 2));
    assert!(matches!(swapped, CatchUpError::Wrong { position: 1, .. }));
    let denied = refused(&|set| set.openings[2] = Opening::Undecryptable { secret: [0; 48] });
    assert!(matches!(denied, CatchUpError::Wrong { position: 2, .. }));
    // The right secret in place of an opening that exists: a peer may not call it undecryptable.
    let secret = {
        let envelope = envelope(2);
        let shares: Vec<_> = (0..3)
            .map(|member| (member as usize, decryption_key(member).share(envelope.ephemeral())))
            .collect();
        blindfold_crypto::combine(&shares).unwrap()
    };
    let denied = refused(&|set| set.openings[2] = Opening::Undecryptable { secret });
    assert!(matches!(denied, CatchUpError::Wrong { position: 2, .. }));
    let forged = refused(&|set| {
        if let Opening::Opened { message, .. } = &mut set.openings[0] {
            message[0] ^= 1;
        }
    });
    assert!(matches!(forged, CatchUpError::Wrong { position: 0, .. }));
}

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Garbage,
    AnotherMembers,
    AnotherPosition,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// One liar among all four: every position opens, and exactly its used wrong shares are blamed.
    #[test]
    fn one_liar_stops_nothing_and_alone_is_blamed(
        liar in 0..MEMBERS,
        wrong in prop::collection::vec(
            prop::option::of(prop_oneof![
                Just(Wrong::Garbage), Just(Wrong::AnotherMembers), Just(Wrong::AnotherPosition)
            ]),
            3,
        ),
    ) {
        let batch = batch(1, &[0, 1, 2], 0);
        let mut bundles: Vec<_> = (0..MEMBERS).map(|member| honest(member, &batch)).collect();
        let lent = bundles[(liar as usize + 1) % 4].shares.clone();
        let own = bundles[liar as usize].shares.clone();
        for (position, wrong) in wrong.iter().enumerate() {
            bundles[liar as usize].shares[position] = match wrong {
                None => own[position],
                Some(Wrong::Garbage) => Share([position as u8; 96]),
                Some(Wrong::AnotherMembers) => lent[position],
                Some(Wrong::AnotherPosition) => own[(position + 1) % 3],
            };
        }
        let decided = decide_batch(&PUBLIC, &batch, &contributions(&bundles), 2);
        for blame in decided.blamed() {
            prop_assert_eq!(blame.member, liar);
            prop_assert!(wrong[blame.position].is_some());
        }
        // The first three are combined first, so that a liar among them is found out.
        if liar < 3 {
            let expected: Vec<_> = (0..3)
                .filter(|position| wrong[*position].is_some())
                .map(|position| Blame { member: liar, position })
                .collect();
            prop_assert_eq!(decided.blamed(), expected);
        }
        assert_opened(&decided.into_opened().unwrap().unwrap(), 1, &[0, 1, 2]);
    }
}
