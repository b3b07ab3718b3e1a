//! Tests of the tests: each property has something that makes it fail, and it alone. Where a run can be
//! broken it is; the rest are honest runs whose observation is changed.

use crate::run;
use alloy_primitives::{Address, B256};
use blindfold_execution::ForcedVerdict;
use blindfold_sim::{
    observation::{Accusation, ForcedView, HeightView, Observation, Recovery},
    observer::{Event, Said},
    plan::{Adversary, AdversaryKind, Fault, Mutation, Plan, VoteFaultKind},
    properties::{self, Property, RECOVERY_MS},
    scenario::Proof,
    wallets::Content,
};
use blindfold_wire::{Opening, SkipReason, TxStatus};
use std::collections::BTreeSet;

/// A seed with all members up and a calm network, in which no view is lost: a proposal that does not become final
/// would make early releasers double ones.
const HONEST_SEED: u64 = 120;

fn broken(plan: Plan, mutation: Mutation) -> (Observation, BTreeSet<Property>) {
    let outcome = run(&plan.with_mutation(mutation));
    let properties = outcome.violations.iter().map(|violation| violation.property).collect();
    (outcome.observation, properties)
}

#[test]
fn members_that_release_before_the_certificate_break_p1() {
    let plan = Plan::new(HONEST_SEED);
    assert_eq!((plan.fault, plan.adversary), (Fault::None, None));
    let (world, properties) = broken(plan, Mutation::EagerRelease { members: 4 });
    assert!(
        !properties::p1_secrecy(&world).is_empty(),
        "envelopes could be opened early, unnoticed"
    );
    assert!(
        !properties::p1_ground(&world).is_empty(),
        "bundles without a certificate went unnoticed"
    );
    // Order and execution do not suffer: what is broken is secrecy alone.
    assert_eq!(properties, BTreeSet::from([Property::P1]));
}

#[test]
fn as_many_members_as_an_adversary_lacks_are_enough() {
    let (world, _) = broken(Plan::new(HONEST_SEED), Mutation::EagerRelease { members: 2 });
    assert_eq!(world.threshold - world.adversaries, 2);
    assert!(!properties::p1_secrecy(&world).is_empty());
}

#[test]
fn one_eager_member_is_noticed_and_opens_nothing() {
    let (world, properties) = broken(Plan::new(HONEST_SEED), Mutation::EagerRelease { members: 1 });
    assert_eq!(properties::p1_secrecy(&world), Vec::<String>::new());
    let noticed = properties::p1_ground(&world);
    assert!(!noticed.is_empty());
    assert!(noticed.iter().all(|violation| violation.contains("member 0 released")), "{noticed:?}");
    assert_eq!(properties, BTreeSet::from([Property::P1]));
}

#[test]
fn proof_against_a_member_that_counts_as_honest_breaks_honesty_and_stake() {
    let plan = Plan::new(HONEST_SEED).with_adversary(AdversaryKind::GarbageShares);
    let (_, properties) = broken(plan, Mutation::HiddenAdversary);
    assert_eq!(properties, BTreeSet::from([Property::Honesty, Property::Stake]));
}

/// Of all that is caught, this alone needs the gossip: each member has seen one order only.
#[test]
fn without_gossip_a_split_stays_unseen() {
    let plan = Plan { latency_ms: 20, ..Plan::new(HONEST_SEED) }
        .with_adversary(AdversaryKind::EquivocatesSplit);
    let (world, properties) = broken(plan, Mutation::NoGossip);
    assert_eq!(properties, BTreeSet::from([Property::Capture]));
    assert!(world.deeds > 0, "it did equivocate");
}

/// n - t may keep their shares; with one more nothing is ever read.
#[test]
fn more_silent_members_than_the_protocol_endures_break_liveness() {
    let (world, properties) =
        broken(Plan::new(HONEST_SEED), Mutation::SilentMembers { members: 2 });
    assert_eq!(properties, BTreeSet::from([Property::Liveness]));
    assert!(world.members.iter().flatten().all(|member| member.failure.is_none()));
}

#[test]
fn a_network_that_stays_cut_breaks_recovery() {
    let fault = Fault::Partition { member: 0, with: Some(1), at_ms: 1_500, heal_ms: 2_500 };
    let plan = Plan { fault, ..Plan::new(HONEST_SEED) };
    let (_, properties) = broken(plan, Mutation::NoRecovery);
    assert!(properties.contains(&Property::Recovery));
    // What was not ordered before the cut cannot end, of course; safety holds throughout.
    assert!(properties.is_subset(&BTreeSet::from([Property::Recovery, Property::Liveness])));
}

/// Members that do not hold proposals against the queue order nothing of it, and nobody stops them.
#[test]
fn members_that_do_not_check_due_items_break_p6() {
    let (world, properties) = broken(Plan::new(HONEST_SEED), Mutation::BlindMembers);
    assert!(!properties::p6_due(&world).is_empty(), "heights skip items, unnoticed");
    assert!(!properties::p6_deadline(&world).is_empty(), "items are late, unnoticed");
    // Nothing else suffers.
    assert_eq!(properties, BTreeSet::from([Property::P6]));
}

/// What a member's lowest height with forced items says of L1.
fn forcing(world: &mut Observation, member: usize) -> &mut ForcedView {
    let heights = &mut world.members[member].as_mut().expect("all are up").heights;
    let mut views = heights.values_mut().map(|view| &mut view.forced);
    views.find(|forced| !forced.items.is_empty()).expect("something was forced")
}

/// A member's view of the lowest height that has envelopes.
fn busy(world: &mut Observation, member: usize) -> (u64, &mut HeightView) {
    let heights = &mut world.members[member].as_mut().expect("all are up").heights;
    heights
        .iter_mut()
        .map(|(height, view)| (*height, view))
        .find(|(_, view)| view.block.as_ref().is_some_and(|(_, block)| !block.ids.is_empty()))
        .expect("something was ordered")
}

/// Index of the first event that satisfies `wanted`.
fn first(world: &Observation, wanted: impl Fn(&Said) -> bool) -> usize {
    world.log.events.iter().position(|event| wanted(&event.said)).expect("it happened")
}

fn accuse(world: &mut Observation, by: usize, proof: Proof, against: Result<usize, String>) {
    let accusations = &mut world.members[by].as_mut().expect("up").accusations;
    accusations.push(Accusation { proof, against });
}

/// Makes member 3 an adversary that all others caught.
fn lie(world: &mut Observation, kind: AdversaryKind) {
    world.adversary = Some(Adversary { member: 3, kind });
    world.deeds = 1;
    for by in 0..3 {
        world.members[by].as_mut().expect("up").uncertified = 1;
        if let Some(proof) = kind.proof() {
            accuse(world, by, proof, Ok(3));
        }
    }
    if let Some(Proof::Evidence(offence)) = kind.proof() {
        world.stake.proven.insert((offence, 3));
    }
}

type Change = fn(&mut Observation);

/// What is changed in an honest world's observation, and the property that must notice.
const CHANGES: &[(&str, Property, Change)] = &[
    ("all shares are sent before any vote", Property::P1, |world| {
        world.log.events.sort_by_key(|event| !matches!(event.said, Said::Shares { .. }));
    }),
    ("openings are sent before any vote", Property::P1, |world| {
        let shares =
            world.log.events[first(world, |said| matches!(said, Said::Shares { .. }))].clone();
        let Said::Shares { height, digest, ground } = shares.said else { unreachable!() };
        world
            .log
            .events
            .insert(0, Event { said: Said::Openings { height, digest, ground }, ..shares });
    }),
    ("a bundle for a block that nobody proposed", Property::P1, |world| {
        let said = Said::Shares { height: 1, digest: B256::repeat_byte(9), ground: Ok(()) };
        world.log.events.push(Event { at_ms: 0, member: 0, said });
    }),
    ("a quorum's votes without one of them", Property::P1, |world| {
        // Only two members voted: what was released has no certificate under it.
        world
            .log
            .events
            .retain(|event| !matches!(event.said, Said::Finalize { .. }) || event.member < 2);
    }),
    ("a bundle without a proof in its sender's database", Property::P1, |world| {
        let at = first(world, |said| matches!(said, Said::Shares { .. }));
        let Said::Shares { ground, .. } = &mut world.log.events[at].said else { unreachable!() };
        *ground = Err("none".to_owned());
    }),
    ("a bundle that its sender did not sign", Property::P1, |world| {
        world.log.events.push(Event {
            at_ms: 0,
            member: 1,
            said: Said::Nonsense("forged".to_owned()),
        });
    }),
    ("a member has another digest", Property::P2, |world| busy(world, 2).1.digest = B256::ZERO),
    ("a member has another order", Property::P2, |world| {
        let view = busy(world, 1).1;
        let ids = &mut view.block.as_mut().expect("a block").1.ids;
        ids.push(B256::repeat_byte(3));
        ids.rotate_right(1);
    }),
    ("a member has another opening", Property::P2, |world| {
        let openings = busy(world, 3).1.openings.as_mut().expect("opened");
        openings[0] = Opening::Opened { seed: [0; 32], message: b"something else".to_vec() };
    }),
    ("a member's proof does not verify", Property::P2, |world| {
        busy(world, 0).1.proof = Err("wrong".to_owned())
    }),
    ("a height does not follow the one below", Property::P2, |world| {
        busy(world, 0).1.block.as_mut().expect("a block").1.parent = B256::repeat_byte(4);
    }),
    ("an envelope is ordered twice", Property::P2, |world| {
        for member in 0..world.members.len() {
            let ids = &mut busy(world, member).1.block.as_mut().expect("a block").1.ids;
            ids.push(ids[0]);
        }
    }),
    ("two blocks of one height have a quorum", Property::P2, |world| {
        let (digest, block) = busy(world, 0).1.block.clone().expect("a block");
        let other = B256::repeat_byte(5);
        assert_ne!(digest, other);
        world.log.blocks.insert(other, block);
        for member in 0..3 {
            world.log.events.push(Event {
                at_ms: 0,
                member,
                said: Said::Finalize { digest: other },
            });
        }
    }),
    ("a member executes differently", Property::P5, |world| {
        busy(world, 1).1.roots.as_mut().expect("executed").state_root = B256::ZERO;
    }),
    ("a member has another block hash", Property::P5, |world| {
        busy(world, 2).1.roots.as_mut().expect("executed").block_hash = B256::ZERO;
    }),
    ("all members execute differently, alike", Property::P5, |world| {
        for member in 0..world.members.len() {
            busy(world, member).1.roots.as_mut().expect("executed").state_root = B256::ZERO;
        }
    }),
    ("a commitment carries another executed root", Property::P5, |world| {
        let lag = world.executed_lag;
        for member in world.members.iter_mut().flatten() {
            for (_, view) in member.heights.iter_mut().filter(|(height, _)| **height > lag) {
                view.carries = B256::repeat_byte(6);
            }
        }
    }),
    ("the replay does not get through", Property::P5, |world| {
        world.replay = Err("wrong opening".to_owned())
    }),
    ("a height cannot be replayed", Property::P5, |world| {
        let height = busy(world, 0).0;
        world.replay.as_mut().expect("a replay").remove(&height);
    }),
    ("a height skips a due item", Property::P6, |world| drop(forcing(world, 2).items.pop())),
    ("a height brings an item before it is due", Property::P6, |world| {
        forcing(world, 1).l1_block -= 1;
    }),
    ("a height brings an item that is not in the queue", Property::P6, |world| {
        forcing(world, 0).items[0].sender = Address::ZERO;
    }),
    ("a height names another base fee of L1", Property::P6, |world| {
        forcing(world, 3).l1_base_fee += 1;
    }),
    ("a height says another head of the queue", Property::P6, |world| {
        forcing(world, 3).hash = B256::ZERO;
    }),
    ("a forced item comes to another end", Property::P6, |world| {
        let verdicts = forcing(world, 2).verdicts.as_mut().expect("executed");
        verdicts[0] =
            ForcedVerdict::Skipped { reason: SkipReason::ForcedInvalid, transaction_hash: None };
    }),
    ("an item is consumed late", Property::P6, |world| {
        for member in 0..world.members.len() {
            forcing(world, member).final_ms = 1_000_000;
        }
    }),
    ("an item is never consumed", Property::P6, |world| world.ended_ms = 1_000_000),
    ("an envelope stays pending", Property::Liveness, |world| {
        let id = world.expected[0].id;
        world.members[2].as_mut().expect("up").statuses.insert(id, TxStatus::Pending);
    }),
    ("a member never heard of an envelope", Property::Liveness, |world| {
        let id = world.expected[0].id;
        world.members[1].as_mut().expect("up").statuses.remove(&id);
    }),
    ("a transfer ends as undecryptable", Property::Liveness, |world| {
        let id = world
            .expected
            .iter()
            .find(|expected| expected.content == Content::Transfer)
            .expect("most are")
            .id;
        let status = TxStatus::Undecryptable { height: 1, position: 0 };
        world.members[0].as_mut().expect("up").statuses.insert(id, status);
    }),
    ("an envelope is never admitted", Property::Liveness, |world| {
        world.expected[0].admitted = Err("full".to_owned());
    }),
    ("a member gives up", Property::Liveness, |world| {
        world.members[0].as_mut().expect("up").failure = Some("disk".to_owned());
    }),
    ("the faults stop and nothing more is final", Property::Recovery, |world| {
        world.recovery = Some(Recovery { calm_ms: 900, height: 7, next_ms: None });
    }),
    ("the next height is late", Property::Recovery, |world| {
        let next_ms = Some(900 + RECOVERY_MS + 1);
        world.recovery = Some(Recovery { calm_ms: 900, height: 7, next_ms });
    }),
    ("an honest member is accused of two orders", Property::Honesty, |world| {
        accuse(world, 0, Proof::Evidence("equivocation"), Ok(1));
    }),
    ("an honest member is accused of two votes", Property::Honesty, |world| {
        accuse(world, 2, Proof::Votes(VoteFaultKind::NullifyFinalize), Ok(1));
    }),
    ("a member holds a proof of nothing", Property::Honesty, |world| {
        accuse(world, 3, Proof::Evidence("bad_share"), Err("the share is correct".to_owned()));
    }),
    ("a member saw shares of an order that is not final", Property::Honesty, |world| {
        world.members[0].as_mut().expect("up").uncertified = 1;
    }),
    ("a member holds no proof", Property::Capture, |world| {
        lie(world, AdversaryKind::EquivocatesSplit);
        world.members[1].as_mut().expect("up").accusations.clear();
    }),
    ("a member holds another proof", Property::Capture, |world| {
        lie(world, AdversaryKind::VotesTwice(VoteFaultKind::ConflictingFinalize));
        let accusations = &mut world.members[2].as_mut().expect("up").accusations;
        accusations[0].proof = Proof::Votes(VoteFaultKind::ConflictingNotarize);
    }),
    ("nobody counts an uncertified release", Property::Capture, |world| {
        lie(world, AdversaryKind::ReleasesTwice);
        for member in world.members.iter_mut().flatten() {
            member.uncertified = 0;
        }
    }),
    ("the adversary does nothing", Property::Capture, |world| {
        lie(world, AdversaryKind::SilentShares);
        world.deeds = 0;
    }),
    ("an honest member can be proven guilty", Property::Stake, |world| {
        world.stake.proven.insert(("double_release", 2));
    }),
    ("an auditor suspects an honest batch", Property::Stake, |world| {
        world.stake.doubted.push("a batch".to_owned());
    }),
    ("nothing that was sent proves what the adversary did", Property::Stake, |world| {
        lie(world, AdversaryKind::GarbageShares);
        world.stake.proven.clear();
    }),
    ("an honest member is cut off", Property::Honesty, |world| world.blocked.push((0, 1))),
];

#[test]
fn each_property_notices_what_breaks_it() {
    let honest = run(&Plan::new(HONEST_SEED)).observation;
    assert_eq!(properties::check(&honest), Vec::new());
    for (_, kind) in AdversaryKind::ALL {
        let mut world = honest.clone();
        lie(&mut world, kind);
        assert_eq!(properties::check(&world), Vec::new(), "{kind:?} is caught");
    }
    for (name, property, change) in CHANGES {
        let mut world = honest.clone();
        change(&mut world);
        let violations = properties::check(&world);
        assert!(
            violations.iter().any(|violation| violation.property == *property),
            "unnoticed: {name}"
        );
        assert!(
            violations.iter().all(|violation| violation.property == *property),
            "{name}: {violations:?}"
        );
    }
}
