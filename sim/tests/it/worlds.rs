//! Twenty seeds: every fault, under every rate of loss. One test each, so that they run in parallel.

use crate::run;
use blindfold_sim::{
    observer::Said,
    plan::{ENVELOPES_PER_WALLET, Plan, WALLETS},
    report::ReplayHint,
};
use std::collections::{BTreeMap, BTreeSet};

fn keeps_every_property(seed: u64) {
    let _hint = ReplayHint(seed, None);
    let outcome = run(&Plan::new(seed));
    let lines: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}\n  {}", outcome.plan, lines.join("\n  "));

    // The properties had something to judge: every envelope was shared by enough members, voted on by
    // a quorum, and replayed.
    let world = &outcome.observation;
    assert_eq!(world.expected.len(), WALLETS * ENVELOPES_PER_WALLET);
    let mut sharers: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
    let mut voters: BTreeMap<_, BTreeSet<usize>> = BTreeMap::new();
    for event in &world.log.events {
        match event.said {
            Said::Shares { digest, .. } => sharers.entry(digest).or_default().insert(event.member),
            Said::Finalize { digest } => voters.entry(digest).or_default().insert(event.member),
            _ => false,
        };
    }
    assert!(voters.values().any(|voters| voters.len() >= world.quorum));
    let replayed = world.replay.as_ref().expect("a replay without violations");
    let up = world.members.iter().flatten().find(|member| member.up).expect("three are up");
    let mut ordered = BTreeSet::new();
    for (height, view) in &up.heights {
        let (digest, block) = view.block.as_ref().expect("P2 holds");
        if !block.ids.is_empty() {
            assert!(
                sharers[digest].len() >= world.threshold,
                "height {height} opened from too few shares"
            );
            assert!(replayed.contains_key(height), "height {height} was not replayed");
            ordered.extend(block.ids.iter().copied());
        }
    }
    assert!(world.expected.iter().all(|expected| ordered.contains(&expected.id)));
}

macro_rules! seeds {
    ($($name:ident = $seed:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                keeps_every_property($seed);
            }
        )*
    };
}

seeds! {
    seed_00 = 0, seed_01 = 1, seed_02 = 2, seed_03 = 3, seed_04 = 4,
    seed_05 = 5, seed_06 = 6, seed_07 = 7, seed_08 = 8, seed_09 = 9,
    seed_10 = 10, seed_11 = 11, seed_12 = 12, seed_13 = 13, seed_14 = 14,
    seed_15 = 15, seed_16 = 16, seed_17 = 17, seed_18 = 18, seed_19 = 19,
}

macro_rules! more_seeds {
    ($($name:ident = $seeds:expr),* $(,)?) => {
        $(
            /// A hundred more worlds; run by `make test-slow`.
            #[test]
            #[ignore = "minutes"]
            fn $name() {
                $seeds.for_each(keeps_every_property);
            }
        )*
    };
}

more_seeds! {
    seeds_020_to_119 = 20..120,
    seeds_120_to_219 = 120..220,
    seeds_220_to_319 = 220..320,
    seeds_320_to_419 = 320..420,
}

#[test]
fn the_seeds_cover_every_fault_under_every_loss() {
    let covered: BTreeSet<_> = (0..20)
        .map(Plan::new)
        .map(|plan| (std::mem::discriminant(&plan.fault), plan.loss_percent))
        .map(|(fault, loss)| (format!("{fault:?}"), loss))
        .collect();
    assert_eq!(covered.len(), 4 * 3);
}
