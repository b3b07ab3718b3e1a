//! The whole engine with four members over simulated links.

mod forced;
mod harness;

use blindfold_ordering::engine::Identity;
use blindfold_wire::Evidence;
use commonware_p2p::{
    Recipients,
    simulated::{SplitOrigin, SplitTarget},
};
use commonware_runtime::{
    Clock as _, IoBuf, Runner as _, Supervisor as _,
    deterministic::{self, Context},
};
use harness::{LAG, World};
use std::{future::Future, sync::atomic::Ordering, time::Duration};

fn run<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Context) -> F) {
    let config =
        deterministic::Config::new().with_seed(seed).with_timeout(Some(Duration::from_secs(600)));
    deterministic::Runner::new(config).start(test);
}

#[test]
fn members_agree_and_order_every_envelope_once() {
    run(1, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        let envelopes = world.envelopes(4);
        for stub in &world.stubs {
            stub.offer(&envelopes);
        }
        let mut handles = Vec::new();
        for member in 0..4 {
            handles.push(world.start(&context, member).await);
        }
        world.reach(&context, &[0, 1, 2, 3], 12).await;
        let chain = world.agreed(&[0, 1, 2, 3]);
        let ordered: usize = chain.values().map(|seen| seen.envelopes.len()).sum();
        assert_eq!(ordered, envelopes.len());
        for stub in &world.stubs {
            assert!(stub.0.evidence.lock().is_empty());
            assert!(stub.0.vote_faults.lock().is_empty());
            let deliveries = stub.0.deliveries.lock();
            assert!(deliveries.is_sorted(), "heights come in order");
        }
        // Idle heights keep a pace and do not spin: 100 ms each, plus the way of the votes.
        let before = world.stubs[0].height();
        context.sleep(Duration::from_secs(2)).await;
        let paced = world.stubs[0].height() - before;
        assert!((8..=20).contains(&paced), "{paced} idle heights in two seconds");
    });
}

#[test]
fn one_member_down_costs_only_its_views() {
    run(2, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        let mut handles = Vec::new();
        for member in 0..3 {
            handles.push(world.start(&context, member).await);
        }
        world.reach(&context, &[0, 1, 2], 10).await;
        world.agreed(&[0, 1, 2]);
        let schedule = world.config(0, String::new()).schedule;
        let nullified = world.stubs[0].0.nullified.lock().clone();
        assert!(!nullified.is_empty(), "the missing member had turns");
        for view in nullified {
            assert_eq!(schedule.leader(view), 3, "view {view} was lost by a member that is up");
        }
    });
}

/// Runs member 3 twice under the same keys. `reach` says whom each of the two may talk to.
fn equivocation(seed: u64, gossip: bool, reach: fn(SplitOrigin, &[Identity]) -> Vec<Identity>) {
    run(seed, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        world.gossip = gossip;
        let envelopes = world.envelopes(3);
        let mut handles = Vec::new();
        for member in 0..3 {
            world.stubs[member].offer(&envelopes);
            handles.push(world.start(&context, member).await);
        }
        let honest = world.identities[..3].to_vec();
        let forward = move |origin: SplitOrigin, to: &Recipients<Identity>, _: &IoBuf| {
            let allowed = reach(origin, &honest);
            Some(match to {
                Recipients::All => Recipients::Some(allowed),
                Recipients::One(one) => {
                    Recipients::Some(allowed.into_iter().filter(|peer| peer == one).collect())
                }
                Recipients::Some(some) => Recipients::Some(
                    allowed.into_iter().filter(|peer| some.contains(peer)).collect(),
                ),
            })
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (index, (sender, receiver)) in world.channels(3).await.into_iter().enumerate() {
            let (a, b) = sender.split_with(forward.clone());
            let split = context.child("split").with_attribute("channel", index);
            let (c, d) = receiver.split_with(split, |_| SplitTarget::Both);
            first.push((a, c));
            second.push((b, d));
        }
        // One of the two knows envelopes, the other none: their proposals differ.
        let (a, b) = (world.twin(3), world.twin(3));
        a.offer(&envelopes);
        handles.push(
            world.start_with(&context, 3, "twin-a".into(), first, a, Default::default()).await,
        );
        handles.push(
            world.start_with(&context, 3, "twin-b".into(), second, b, Default::default()).await,
        );

        let public = world.genesis.committee_public().unwrap();
        for _ in 0..1_500 {
            if world.stubs[..3].iter().all(|stub| !stub.0.evidence.lock().is_empty()) {
                break;
            }
            context.sleep(Duration::from_millis(20)).await;
        }
        if !gossip {
            let blind = world.stubs[..3].iter().filter(|stub| stub.0.evidence.lock().is_empty());
            assert!(
                blind.count() > 0,
                "the split came out without gossip: the test proves nothing"
            );
            return;
        }
        for (member, stub) in world.stubs[..3].iter().enumerate() {
            let evidence = stub.0.evidence.lock().clone();
            assert!(!evidence.is_empty(), "member {member} holds no evidence");
            for evidence in evidence {
                assert!(matches!(evidence, Evidence::Equivocation { .. }));
                let offender = evidence.verify(&world.genesis, &public).expect("verifies");
                assert_eq!(offender.member, 3);
            }
        }
        let height = world.stubs[..3].iter().map(|stub| stub.height()).max().unwrap();
        world.reach(&context, &[0, 1, 2], height + 4).await;
        world.agreed(&[0, 1, 2]);
    });
}

#[test]
fn a_leader_that_shows_both_orders_to_all_is_caught() {
    equivocation(3, true, |_, honest| honest.to_vec());
}

#[test]
fn a_leader_that_shows_each_member_another_order_is_caught() {
    equivocation(4, true, split);
}

/// The test of the test: the split needs the gossip to come out.
#[test]
fn without_gossip_a_split_stays_unseen() {
    equivocation(4, false, split);
}

/// One of the two talks to member 0 only, the other to the rest.
fn split(origin: SplitOrigin, honest: &[Identity]) -> Vec<Identity> {
    match origin {
        SplitOrigin::Primary => honest[1..].to_vec(),
        SplitOrigin::Secondary => honest[..1].to_vec(),
    }
}

#[test]
fn a_member_restarts_from_storage_and_never_signs_twice() {
    run(5, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        let envelopes = world.envelopes(6);
        let mut handles = Vec::new();
        for member in 0..4 {
            handles.push(world.start(&context, member).await);
        }
        world.reach(&context, &[0, 1, 2, 3], 4).await;
        for (round, victim) in [1usize, 2, 1].into_iter().enumerate() {
            handles[victim].abort();
            context.sleep(Duration::from_millis(700)).await;
            for stub in &world.stubs {
                stub.offer(&envelopes[4 * round..4 * (round + 1)]);
            }
            handles[victim] = world.start(&context, victim).await;
            let height = world.stubs[0].height();
            world.reach(&context, &[0, 1, 2, 3], height + 4).await;
        }
        // Everybody at once: nobody is left to ask.
        for handle in &handles {
            handle.abort();
        }
        context.sleep(Duration::from_millis(100)).await;
        let height = world.stubs.iter().map(|stub| stub.height()).max().unwrap();
        for (member, handle) in handles.iter_mut().enumerate() {
            *handle = world.start(&context, member).await;
        }
        world.reach(&context, &[0, 1, 2, 3], height + 5).await;
        let chain = world.agreed(&[0, 1, 2, 3]);
        let ordered: usize = chain.values().map(|seen| seen.envelopes.len()).sum();
        assert_eq!(ordered, envelopes.len());
        for stub in &world.stubs {
            assert!(stub.0.evidence.lock().is_empty(), "a crash looked like equivocation");
            assert!(stub.0.vote_faults.lock().is_empty(), "a crash looked like a double vote");
        }
    });
}

#[test]
fn a_leader_that_crashed_after_signing_proposes_the_same_bytes() {
    run(7, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        let envelopes = world.envelopes(2);
        let mut handles = Vec::new();
        for member in 0..4 {
            handles.push(world.start(&context, member).await);
        }
        world.reach(&context, &[0, 1, 2, 3], 4).await;

        // Member 1 journals its next proposal and dies before anybody sees it.
        let victim = world.stubs[1].clone();
        let before = victim.0.journal.lock().len();
        victim.0.hang_after_signing.store(true, Ordering::SeqCst);
        while victim.0.journal.lock().len() == before {
            context.sleep(Duration::from_millis(5)).await;
        }
        handles[1].abort();
        let (slot, journaled) = {
            let journal = victim.0.journal.lock();
            let (slot, block) = journal.iter().max_by_key(|(slot, _)| **slot).unwrap();
            (*slot, block.clone())
        };
        assert!(journaled.envelopes.is_empty(), "signed when there was nothing to order");

        // By now it would build another block. It is still its turn.
        for stub in &world.stubs {
            stub.offer(&envelopes);
        }
        victim.0.hang_after_signing.store(false, Ordering::SeqCst);
        handles[1] = world.start(&context, 1).await;
        let height = world.stubs[0].height();
        world.reach(&context, &[0, 1, 2, 3], height + 4).await;
        let chain = world.agreed(&[0, 1, 2, 3]);
        let proposed = chain.values().find(|seen| seen.view == slot.1);
        assert_eq!(proposed.map(|seen| seen.digest), Some(journaled.digest()));
        assert!(world.stubs.iter().all(|stub| stub.0.evidence.lock().is_empty()));
    });
}

#[test]
fn waiting_for_execution_is_pending_and_never_a_vote_against() {
    run(6, |context| async move {
        let mut world = World::new(&context, 4, 20).await;
        let mut handles = Vec::new();
        for member in 0..4 {
            handles.push(world.start(&context, member).await);
        }
        world.reach(&context, &[0, 1, 2, 3], 5).await;

        // One slow member: the others go on, it follows without executing.
        world.stubs[0].pause_execution(true);
        world.reach(&context, &[0, 1, 2, 3], 9).await;

        // Two slow members: no quorum votes, so ordering waits for execution.
        world.stubs[1].pause_execution(true);
        context.sleep(Duration::from_secs(3)).await;
        let stuck = world.stubs[2].height();
        context.sleep(Duration::from_secs(4)).await;
        assert!(world.stubs[2].height() <= stuck + 1, "heights went on without execution");

        // Both go on: nothing was voted down for good.
        world.stubs[0].pause_execution(false);
        world.stubs[1].pause_execution(false);
        world.reach(&context, &[0, 1, 2, 3], stuck + 2 * LAG + 3).await;
        world.agreed(&[0, 1, 2, 3]);
    });
}

/// What a member that was away for long holds: it fetched blocks from the top down by parent links, and so
/// without certificates.
#[test]
fn a_member_without_certificates_asks_for_them() {
    run(17, |context| async move {
        let mut world = World::new(&context, 4, 10).await;
        for member in 0..3 {
            world.start(&context, member).await;
        }
        world.reach(&context, &[0, 1, 2], 60).await;
        world.give_blocks(0, 3).await;
        world.start(&context, 3).await;
        world.reach(&context, &[3], 60).await;
        world.agreed(&[0, 1, 2, 3]);
        let longest = *world.stubs[3].0.longest_proof.lock();
        assert!(longest <= 16, "a height needed {longest} descendants as proof");
    });
}
