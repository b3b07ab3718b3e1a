//! Members that die, freeze and come back.

use crate::harness::{Dice, Load, Network, Witness, keys};
use std::{thread, time::Duration};

/// Time to let the load run between two events.
const A_WHILE: Duration = Duration::from_millis(500);

#[test]
fn a_leader_that_is_killed_under_load_is_replaced_and_comes_back() {
    let keys = keys::<2>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1, 2, 3]);
    network.until_heights(0, 3);

    let leader = network.next_leader(0);
    let others: Vec<_> = (0..4).filter(|member| *member != leader).collect();
    let mark = network.mark(&others);
    network.kill(leader);
    network.report("leader killed: next height", network.until_next_height(mark, &others));
    network
        .report("leader killed: its view", network.gap_around_a_view_of(leader, others[0], mark));
    thread::sleep(A_WHILE);

    let mark = network.mark(&others);
    network.run(leader);
    network.report("leader back: next height", network.until_next_height(mark, &others));
    network.report("leader back: it is in step", network.until_in_step(mark, leader));

    let sent = load.stop();
    assert!(!sent.is_empty(), "no load");
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
fn a_frozen_member_is_passed_over_and_goes_on_where_the_others_are() {
    let keys = keys::<2>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1, 2]);
    network.until_heights(0, 3);

    let others = [0, 1, 2];
    let mark = network.mark(&others);
    network.freeze(3);
    network.report("member frozen: next height", network.until_next_height(mark, &others));
    // Longer than a view may take.
    let certification = network.genesis.params.certification_timeout_ms;
    thread::sleep(Duration::from_millis(certification + 500));
    let mark = network.mark(&others);
    network.thaw(3);
    network.report("member thawed: next height", network.until_next_height(mark, &others));
    network.report("member thawed: it is in step", network.until_in_step(mark, 3));

    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
fn without_a_quorum_the_network_stops_and_goes_on_by_itself() {
    let keys = keys::<2>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1]);
    network.until_heights(0, 3);

    network.kill(2);
    network.kill(3);
    // What was final when they died may still be delivered; after that nothing can become final.
    thread::sleep(network.leader_timeout());
    let stopped_at = network.mark(&[0, 1]).height;
    thread::sleep(network.leader_timeout());
    assert_eq!(network.mark(&[0, 1]).height, stopped_at, "ordered without a quorum");

    let mark = network.mark(&[0, 1]);
    network.run(2);
    network.report("quorum back: next height", network.until_next_height(mark, &[0, 1]));
    let mark = network.mark(&[0, 1]);
    network.run(3);
    network.report("fourth back: it is in step", network.until_in_step(mark, 3));

    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}

/// Names the seed of the random kills.
const SEED_VARIABLE: &str = "BLINDFOLD_FAULT_SEED";

#[test]
#[ignore = "slow: make test-slow"]
fn fifty_random_kills_lose_nothing() {
    let keys = keys::<3>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1, 2, 3]);
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("{SEED_VARIABLE}={seed}");
    let mut dice = Dice::new(seed);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let member = dice.below(4);
        let others: Vec<_> = (0..4).filter(|other| *other != member).collect();
        network.kill(member);
        thread::sleep(Duration::from_millis(dice.below(1_500) as u64));
        let mark = network.mark(&others);
        network.run(member);
        // Nobody else is down: the cause has gone away.
        slowest = slowest.max(network.until_next_height(mark, &[0, 1, 2, 3]));
        thread::sleep(Duration::from_millis(dice.below(1_000) as u64));
    }
    network.report("fifty random kills, slowest: next height", slowest);
    let sent = load.stop();
    assert!(!sent.is_empty(), "no load");
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
#[ignore = "slow: make test-slow"]
fn a_member_frozen_until_its_links_are_given_up_comes_back() {
    let keys = keys::<2>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1, 2]);
    network.until_heights(0, 3);
    for _ in 0..3 {
        network.freeze(3);
        // Longer than the transport keeps a silent link and queues messages for it.
        thread::sleep(Duration::from_secs(15));
        let mark = network.mark(&[0, 1, 2]);
        network.thaw(3);
        network.report(
            "long frozen, thawed: next height",
            network.until_next_height(mark, &[0, 1, 2]),
        );
        network.report("long frozen, thawed: it is in step", network.until_in_step(mark, 3));
    }
    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
#[ignore = "slow: make test-slow"]
fn a_quorum_that_was_away_for_long_goes_on_by_itself() {
    let keys = keys::<2>();
    let mut network = Network::start_funding(4, &keys);
    let witness = Witness::start(&network);
    let load = Load::start(&network, &keys, &[0, 1]);
    network.until_heights(0, 3);
    for (first, second) in [(2, 3), (3, 2), (2, 3)] {
        network.kill(first);
        network.kill(second);
        thread::sleep(Duration::from_secs(20));
        let mark = network.mark(&[0, 1]);
        network.run(first);
        network.report(
            "quorum back after 20 s: next height",
            network.until_next_height(mark, &[0, 1]),
        );
        network.run(second);
        network.until_heights(0, 10);
    }
    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}
