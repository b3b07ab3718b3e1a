//! Tests of the tests: each property has something that makes it fail.

use crate::run;
use alloy_primitives::B256;
use blindfold_sim::{
    observation::{HeightView, Observation},
    observer::{Event, Said},
    plan::{Fault, Mutation, Plan},
    properties::{self, Property},
    wallets::Content,
};
use blindfold_wire::{Opening, TxStatus};

/// A seed with all members up.
const HONEST_SEED: u64 = 4;

#[test]
fn members_that_release_before_the_certificate_break_p1() {
    let plan = Plan::new(HONEST_SEED);
    assert_eq!(plan.fault, Fault::None);
    let outcome = run(&plan.with_mutation(Mutation::EagerRelease { members: 4 }));
    let world = &outcome.observation;
    assert!(
        !properties::p1_secrecy(world).is_empty(),
        "envelopes could be opened early, unnoticed"
    );
    assert!(
        !properties::p1_ground(world).is_empty(),
        "bundles without a certificate went unnoticed"
    );
    // Order and execution do not suffer: what is broken is secrecy alone.
    assert_eq!(properties::p2(world), Vec::<String>::new());
    assert_eq!(properties::p5(world), Vec::<String>::new());
    assert!(outcome.violations.iter().any(|violation| violation.property == Property::P1));
}

#[test]
fn as_many_members_as_an_adversary_lacks_are_enough() {
    let outcome = run(&Plan::new(HONEST_SEED).with_mutation(Mutation::EagerRelease { members: 2 }));
    let world = &outcome.observation;
    assert_eq!(world.threshold - world.adversaries, 2);
    assert!(!properties::p1_secrecy(world).is_empty());
}

#[test]
fn one_eager_member_is_noticed_and_opens_nothing() {
    let outcome = run(&Plan::new(HONEST_SEED).with_mutation(Mutation::EagerRelease { members: 1 }));
    let world = &outcome.observation;
    assert_eq!(properties::p1_secrecy(world), Vec::<String>::new());
    let noticed = properties::p1_ground(world);
    assert!(!noticed.is_empty());
    assert!(noticed.iter().all(|violation| violation.contains("member 0 released")), "{noticed:?}");
    assert_eq!(properties::liveness(world), Vec::<String>::new());
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
    ("an honest member is accused", Property::Honesty, |world| {
        world.members[0].as_mut().expect("up").evidence = 1
    }),
    ("an honest member is cut off", Property::Honesty, |world| world.blocked.push((0, 1))),
];

#[test]
fn each_property_notices_what_breaks_it() {
    let honest = run(&Plan::new(HONEST_SEED)).observation;
    assert_eq!(properties::check(&honest), Vec::new());
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
