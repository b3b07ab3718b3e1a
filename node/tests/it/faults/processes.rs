//! Members that die, freeze and come back.

use crate::harness::{Load, Network, Witness, keys};
use std::{thread, time::Duration};

/// Time to let the load run between two events.
const A_WHILE: Duration = Duration::from_millis(1_500);

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
    // Longer than every time-out and than the transport keeps a silent link.
    thread::sleep(Duration::from_secs(10));
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
    thread::sleep(2 * network.leader_timeout());
    let stopped_at = network.mark(&[0, 1]).height;
    thread::sleep(2 * network.leader_timeout());
    assert_eq!(network.mark(&[0, 1]).height, stopped_at, "ordered without a quorum");

    let mark = network.mark(&[0, 1]);
    network.spawn(2);
    network.until_answers(2);
    network
        .report("quorum back, from start: next height", network.until_next_height(mark, &[0, 1]));
    let mark = network.mark(&[0, 1]);
    network.run(3);
    network.report("fourth back: it is in step", network.until_in_step(mark, 3));

    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}
