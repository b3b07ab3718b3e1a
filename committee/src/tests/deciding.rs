//! A height decided in chunks, on threads: what every position alone comes to.

use blindfold_crypto::{
    Opening, Seed, decide,
    testkit::{add_small_order, seal_undecryptable},
};
use blindfold_wire::envelope::sign_envelope;
use proptest::{prelude::*, sample::Index, test_runner::RngSeed};

use super::*;
use crate::{Blame, Contribution, decide::decide_rest, decide_batch};

/// Sizes of the heights: few positions, and around one chunk of them.
const SIZES: [usize; 7] = [0, 1, 5, 64, 127, 129, 150];
/// Every so many envelopes one is undecryptable.
const UNDECRYPTABLE: usize = 6;

/// A height, every member's right shares, and the right openings.
struct Height {
    batch: SealedBatch,
    shares: Vec<Vec<Share>>,
    openings: Vec<Option<Opening>>,
}

static HEIGHTS: LazyLock<Vec<Height>> = LazyLock::new(|| {
    let longest = SIZES.into_iter().max().unwrap();
    let envelopes: Vec<_> = (0..longest as u64).map(some_envelope).collect();
    let shares: Vec<Vec<Share>> = (0..MEMBERS)
        .map(|member| envelopes.iter().map(|envelope| right_share(member, envelope)).collect())
        .collect();
    SIZES
        .into_iter()
        .map(|size| {
            let parent = Block::genesis(&COMMITTEE.genesis).commitment.commitment;
            let commitment = COMMITTEE.commitment(&parent, &envelopes[..size]);
            let certified = COMMITTEE.certify(commitment);
            let batch = SealedBatch::new(certified, envelopes[..size].to_vec()).unwrap();
            let shares: Vec<_> = shares.iter().map(|own| own[..size].to_vec()).collect();
            let columns: Vec<_> = (0..MEMBERS).zip(&shares).collect();
            let (openings, blamed) = plain(&batch, &columns);
            assert!(blamed.is_empty() && openings.iter().all(Option::is_some));
            Height { batch, shares, openings }
        })
        .collect()
});

fn some_envelope(number: u64) -> CheckedEnvelope {
    if !(number as usize).is_multiple_of(UNDECRYPTABLE) {
        return envelope(number);
    }
    let payer = SigningKey::random(U256::from(number + 1).to_be_bytes());
    let rules = COMMITTEE.genesis.admission_rules().unwrap();
    let header = COMMITTEE.header(0);
    let label = header.label(payer.address());
    let seed = Seed::from_bytes([number as u8; 32]);
    let sealed = seal_undecryptable(&rules.committee, &label, &seed, &message(number)).unwrap();
    let bytes = sign_envelope(header, sealed, &payer).encode();
    CheckedEnvelope::check(&rules, &bytes).unwrap()
}

fn right_share(member: u32, envelope: &CheckedEnvelope) -> Share {
    decryption_key(member).share(envelope.ephemeral())
}

/// Position by position, without threads and chunks.
fn plain(
    batch: &SealedBatch,
    columns: &[(u32, &Vec<Share>)],
) -> (Vec<Option<Opening>>, Vec<Blame>) {
    let mut blamed = Vec::new();
    let openings = batch
        .envelopes()
        .iter()
        .enumerate()
        .map(|(position, envelope)| {
            let shares: Vec<_> = columns
                .iter()
                .map(|(member, shares)| (*member as usize, shares[position]))
                .collect();
            let ciphertext = &envelope.envelope().ciphertext;
            let verdict = decide(&PUBLIC, envelope.label(), ciphertext, &shares);
            let wrong = verdict.blamed.into_iter();
            blamed.extend(wrong.map(|member| Blame { member: member as u32, position }));
            verdict.opening
        })
        .collect();
    blamed.sort_unstable();
    (openings, blamed)
}

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Garbage,
    Undecodable,
    SmallOrder(u64),
    AnotherMembers(u32),
    AnotherPosition(Index),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        Just(Wrong::Garbage),
        Just(Wrong::Undecodable),
        prop::sample::select(vec![3, 11, 33, 0]).prop_map(Wrong::SmallOrder),
        (0..MEMBERS).prop_map(Wrong::AnotherMembers),
        any::<Index>().prop_map(Wrong::AnotherPosition),
    ]
}

#[derive(Clone, Debug)]
struct Change {
    member: u32,
    from: Index,
    step: Option<usize>,
    wrong: Wrong,
}

fn apply(change: &Change, shares: &mut [Vec<Share>]) {
    let own = change.member as usize;
    let size = shares[own].len();
    if size == 0 {
        return;
    }
    let first = change.from.index(size);
    for position in (first..size).step_by(change.step.unwrap_or(size)) {
        shares[own][position] = match change.wrong {
            // A point of the subgroup that has to do with nothing.
            Wrong::Garbage => HEIGHTS[1].shares[own][0],
            Wrong::Undecodable => Share([position as u8; 96]),
            Wrong::SmallOrder(order) => add_small_order(&shares[own][position], order),
            Wrong::AnotherMembers(other) => shares[other as usize][position],
            Wrong::AnotherPosition(other) => shares[own][other.index(size)],
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        rng_seed: RngSeed::Fixed(0xb11d),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn chunks_and_threads_come_to_what_positions_alone_come_to(
        size in 0..SIZES.len(),
        order in Just((0..MEMBERS).collect::<Vec<_>>()).prop_shuffle(),
        shown in prop_oneof![4 => Just(4usize), 2 => Just(3), 1 => 0..=2usize],
        changes in prop::collection::vec(
            (0..MEMBERS, any::<Index>(), prop::option::of(3..40usize), wrong()).prop_map(
                |(member, from, step, wrong)| Change { member, from, step, wrong }
            ),
            0..4,
        ),
        threads in 0..6usize,
        known in prop::collection::vec(any::<bool>(), SIZES[SIZES.len() - 1]),
    ) {
        let Height { batch, shares, openings } = &HEIGHTS[size];
        let mut shares = shares.clone();
        changes.iter().for_each(|change| apply(change, &mut shares));
        let columns: Vec<_> =
            order.iter().take(shown).map(|member| (*member, &shares[*member as usize])).collect();
        let (expected, blamed) = plain(batch, &columns);

        let contributions: Vec<_> = columns
            .iter()
            .map(|(member, shares)| Contribution { member: *member, shares })
            .collect();
        let decided = decide_batch(&PUBLIC, batch, &contributions, threads);
        prop_assert_eq!(decided.openings(), &expected[..]);
        prop_assert_eq!(decided.blamed(), &blamed[..]);

        // Any positions decided before: the others come to the same.
        let before: Vec<_> = openings
            .iter()
            .zip(&known)
            .map(|(opening, known)| opening.clone().filter(|_| *known))
            .collect();
        let rest = decide_rest(&PUBLIC, batch, before, &contributions, threads, &mut |_| {});
        let expected: Vec<_> = expected
            .iter()
            .zip(openings)
            .zip(&known)
            .map(|((expected, truth), known)| if *known { truth } else { expected }.clone())
            .collect();
        prop_assert_eq!(rest.openings(), &expected[..]);
        let blamed: Vec<_> =
            blamed.into_iter().filter(|blame| !known[blame.position]).collect();
        prop_assert_eq!(rest.blamed(), &blamed[..]);
    }
}
