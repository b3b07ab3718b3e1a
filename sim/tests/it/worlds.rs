//! Twenty seeds, one of each scenario. One test each, so that they run in parallel; the rest of two hundred
//! by `make test-slow`.

use crate::run;
use blindfold_sim::{
    observation::Observation,
    observer::Said,
    plan::{AdversaryKind, ENVELOPES_PER_WALLET, Fault, MEMBERS, Plan, SCENARIOS, WALLETS},
};
use std::collections::{BTreeMap, BTreeSet};

fn keeps_every_property(seed: u64) {
    let outcome = run(&Plan::new(seed));
    let lines: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}\n  {}", outcome.plan, lines.join("\n  "));
    has_something_to_judge(&outcome.observation);
    assert_eq!(outcome.observation.recovery.is_some(), outcome.plan.calm_ms().is_some());
}

/// Every envelope was shared by enough members, voted on by a quorum, and replayed.
fn has_something_to_judge(world: &Observation) {
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
    let (_, up) = world.honest().find(|(_, member)| member.up).expect("two are up");
    let mut ordered = BTreeSet::new();
    for (height, view) in &up.heights {
        let (digest, block) = view.block.as_ref().expect("P2 holds");
        if !block.ids.is_empty() && view.roots.is_some() {
            assert!(
                sharers[digest].len() >= world.threshold,
                "height {height} opened from too few shares"
            );
            assert!(replayed.contains_key(height), "height {height} was not replayed");
            ordered.extend(block.ids.iter().copied());
        }
    }
    assert!(world.expected.iter().all(|expected| ordered.contains(&expected.id)));
    // Forced items of every kind were consumed, good and bad.
    let forced = || up.heights.values().flat_map(|view| &view.forced.items);
    assert!(forced().count() as u64 >= world.l1.awaited);
    let kinds: BTreeSet<u8> = forced().map(|item| item.kind).collect();
    assert_eq!(kinds, BTreeSet::from([0, 1, 2, 3, 4, 9]));
    // All that honest members signed was offered to the slasher, and all that they would post.
    let stake = &world.stake;
    assert!(stake.commitments > 0 && stake.bundles >= world.threshold && stake.batches > 1);
    let ended = up.heights.values().filter_map(|view| view.forced.verdicts.as_ref());
    assert!(ended.map(Vec::len).sum::<usize>() as u64 >= world.l1.awaited);
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

/// Members that crash and are back before anyone misses them, so that they lead, vote and release where they did
/// before: whatever they signed, they sign nothing that goes against it.
fn comes_back_within_its_view(seed: u64) {
    let plan = Plan::new(seed * SCENARIOS);
    let (member, at_ms) = (seed as usize % MEMBERS, 250 + seed * 173 % 3_000);
    let back_ms = at_ms + 10;
    let fault = match seed % 5 {
        0 => Fault::RestartAll { at_ms, back_ms },
        _ => Fault::Restart { member, at_ms, back_ms },
    };
    let outcome = run(&Plan { fault, adversary: None, ..plan });
    let lines: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}\n  {}", outcome.plan, lines.join("\n  "));
    has_something_to_judge(&outcome.observation);
}

#[test]
fn members_that_come_back_within_their_view_sign_nothing_else() {
    (0..5).for_each(comes_back_within_its_view);
}

/// Run by `make test-slow`.
#[test]
#[ignore = "a minute"]
fn many_members_that_come_back_within_their_view_sign_nothing_else() {
    (5..60).for_each(comes_back_within_its_view);
}

/// One that leaves out forced items and a payer: both come through by the others, in time.
#[test]
fn seed_20_has_a_censor() {
    let plan = Plan::new(SCENARIOS);
    assert_eq!(plan.adversary.map(|it| it.kind), Some(AdversaryKind::Censors));
    keeps_every_property(SCENARIOS);
}

macro_rules! more_seeds {
    ($($name:ident = $seeds:expr),* $(,)?) => {
        $(
            /// Sixty more worlds; run by `make test-slow`.
            #[test]
            #[ignore = "a minute"]
            fn $name() {
                $seeds.for_each(keeps_every_property);
            }
        )*
    };
}

more_seeds! {
    seeds_020_to_079 = 20..80,
    seeds_080_to_139 = 80..140,
    seeds_140_to_199 = 140..200,
}

#[test]
fn the_seeds_cover_every_fault_and_every_adversary() {
    let (mut faults, mut kinds, mut storms) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut losses: BTreeMap<u64, BTreeSet<u8>> = BTreeMap::new();
    for (seed, plan) in (0..200).map(|seed| (seed, Plan::new(seed))) {
        if seed < SCENARIOS {
            let fault = format!("{:?}", plan.fault);
            faults.insert(fault.split_whitespace().next().expect("a name").to_owned());
        }
        if seed < 2 * SCENARIOS {
            kinds.extend(plan.adversary.map(|adversary| format!("{:?}", adversary.kind)));
        }
        storms.insert(plan.storm);
        losses.entry(seed % SCENARIOS).or_default().insert(plan.loss_percent);
        // Nobody is asked to survive a member that is gone for good besides one that lies.
        assert!(plan.adversary.is_none() || !plan.fault.lasts());
        let away = plan.fault.member();
        assert!(away.is_none() || away != plan.adversary.map(|adversary| adversary.member));
    }
    assert_eq!(faults.len(), 6);
    assert_eq!(kinds.len(), AdversaryKind::ALL.len());
    assert_eq!(storms.len(), 2);
    assert!(losses.values().all(|losses| losses.len() == 3), "{losses:?}");
}

/// A kept world proves little if the adversary had no chance to do harm.
#[test]
fn an_adversary_is_in_the_world_that_it_is_put_into() {
    let plan = Plan::new(2);
    assert!(matches!(plan.fault, Fault::Crash { .. }));
    let plan = plan.with_adversary(AdversaryKind::GarbageShares);
    assert_eq!(plan.fault, Fault::None);
    assert!(plan.to_string().contains("sends garbage shares"), "{plan}");
}
