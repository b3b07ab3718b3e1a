//! Members that do not help to open, or hinder it.

use super::faulty::Fault;
use crate::harness::{Load, Network, Outcome, Witness, keys};
use blindfold_wire::Evidence;
use std::collections::BTreeSet;

/// Runs a network of `members` with these `faults` under load until enough was ordered, and returns what
/// must hold of it.
fn run(members: usize, faults: &[(usize, Fault)]) {
    let keys = keys::<2>();
    let funded: Vec<_> = keys.iter().map(blindfold_sdk::SigningKey::address).collect();
    let mut network = Network::prepare(members, &funded);
    for (member, fault) in faults {
        network.launch_as(*member, fault.launch());
    }
    network.run_all();
    let witness = Witness::start(&network);
    let honest: Vec<_> =
        (0..members).filter(|member| faults.iter().all(|(faulty, _)| faulty != member)).collect();
    let load = Load::start(&network, &keys, &honest);

    let offenders: BTreeSet<u32> = faults
        .iter()
        .filter(|(_, fault)| matches!(fault, Fault::WrongShares | Fault::Nonsense))
        .map(|(member, _)| u32::try_from(*member).unwrap())
        .collect();
    // Blame takes a wrong share that was needed, which the order of arrival decides: the load goes on
    // until every honest member holds the proof.
    network.until("wrong shares are proven", || {
        let proven = |member: &usize| blamed(&network, *member) == offenders;
        honest.iter().all(proven).then_some(())
    });
    network.until_heights(honest[0], 10);
    let sent = load.stop();
    assert!(!sent.is_empty(), "no load");

    let cut_off = faults.iter().any(|(_, fault)| *fault == Fault::Bytes);
    network.expect(
        &sent,
        &witness.stop(),
        &Outcome {
            // Whoever sends bytes that are no message is blocked, and so left behind.
            members: if cut_off { honest } else { (0..members).collect() },
            offenders,
            tolerated: if cut_off { &["blocking the peer"] } else { &["can be slashed"] },
        },
    );
}

/// Members that the evidence at `member` proves an offence of, each a wrong share and verified here.
fn blamed(network: &Network, member: usize) -> BTreeSet<u32> {
    let public = network.genesis.committee_public().unwrap();
    network
        .evidence(member)
        .iter()
        .map(|document| {
            assert_eq!(document.offence, "bad_share");
            let evidence = Evidence::decode(&document.evidence).unwrap();
            evidence.verify(&network.genesis, &public).unwrap().member
        })
        .collect()
}

#[test]
fn wrong_shares_are_proven_and_change_nothing() {
    run(4, &[(1, Fault::WrongShares)]);
}

#[test]
fn a_member_that_is_silent_on_shares_is_not_needed() {
    run(4, &[(2, Fault::Silence)]);
}

#[test]
#[ignore = "slow: make test-slow"]
fn shares_that_are_no_points_are_proven_and_change_nothing() {
    run(4, &[(0, Fault::Nonsense)]);
}

#[test]
#[ignore = "slow: make test-slow"]
fn bytes_instead_of_shares_cost_the_sender_its_links() {
    run(4, &[(3, Fault::Bytes)]);
}

#[test]
#[ignore = "slow: make test-slow"]
fn of_seven_one_sends_wrong_shares_and_one_sends_none() {
    run(7, &[(1, Fault::WrongShares), (4, Fault::Silence)]);
}
