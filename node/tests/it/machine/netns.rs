//! Members in network namespaces of their own, and what networks do between them.
//!
//! ```text
//!   namespace m0          namespace m1                    this one
//!   wire 10.213.0.1 ────  wire 10.213.0.2 ──── ... ─────▶ bridge zero, bridge one
//!   desk 10.214.0.2 ────  desk 10.214.1.2 ──── ... ─────▶ 10.214.i.1, for the tests' RPC alone
//! ```
//!
//! The members speak over `wire`; a partition moves some of the wires' ends to the other bridge.

use super::{prepared, sh};
use crate::harness::{Load, Network, Witness, keys, processes::Launch};
use std::{net::SocketAddr, thread};

/// UDP port of QUIC, TCP port of RPC and of metrics: the same in every namespace.
const PORTS: (u16, u16, u16) = (30_600, 8_545, 9_600);

/// Namespaces and wires. Dropping it removes them.
struct Wires {
    members: usize,
}

impl Wires {
    fn lay(members: usize) -> Self {
        for bridge in ["zero", "one"] {
            sh(&format!("ip link add {bridge} type bridge"));
            sh(&format!("ip link set {bridge} up"));
        }
        for at in 0..members {
            sh(&format!("ip netns add m{at}"));
            sh(&format!("ip -n m{at} link set lo up"));
            sh(&format!("ip link add w{at} type veth peer name wire netns m{at}"));
            sh(&format!("ip link set w{at} master zero up"));
            sh(&format!("ip -n m{at} addr add 10.213.0.{}/24 dev wire", at + 1));
            sh(&format!("ip -n m{at} link set wire up"));
            sh(&format!("ip link add d{at} type veth peer name desk netns m{at}"));
            sh(&format!("ip addr add 10.214.{at}.1/24 dev d{at}"));
            sh(&format!("ip link set d{at} up"));
            sh(&format!("ip -n m{at} addr add 10.214.{at}.2/24 dev desk"));
            sh(&format!("ip -n m{at} link set desk up"));
        }
        Self { members }
    }

    /// Cuts `away` off from the others, and leaves them connected with each other.
    fn part(&self, away: &[usize]) {
        away.iter().for_each(|at| sh(&format!("ip link set w{at} master one")));
    }

    fn heal(&self) {
        (0..self.members).for_each(|at| sh(&format!("ip link set w{at} master zero")));
    }

    /// Makes every member's packets late and lose some.
    fn spoil(&self, how: &str) {
        (0..self.members)
            .for_each(|at| sh(&format!("tc -n m{at} qdisc add dev wire root netem {how}")));
    }

    fn mend(&self) {
        (0..self.members).for_each(|at| sh(&format!("tc -n m{at} qdisc del dev wire root")));
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        let quietly = |words: &str| {
            let mut split = words.split_whitespace();
            let _ = std::process::Command::new(split.next().unwrap()).args(split).output();
        };
        (0..self.members).for_each(|at| quietly(&format!("ip netns del m{at}")));
        ["zero", "one"].iter().for_each(|bridge| quietly(&format!("ip link del {bridge}")));
    }
}

/// Four members, each in its namespace, all running.
fn apart(keys: &[blindfold_sdk::SigningKey]) -> (Network, Wires) {
    prepared();
    let wires = Wires::lay(4);
    let funded: Vec<_> = keys.iter().map(blindfold_sdk::SigningKey::address).collect();
    let mut network = Network::prepare(4, &funded);
    let identities: Vec<_> =
        network.genesis.committee.members.iter().map(|member| member.identity).collect();
    let wire =
        |at: usize| -> SocketAddr { format!("10.213.0.{}:{}", at + 1, PORTS.0).parse().unwrap() };
    for at in 0..4 {
        network.configure(at, |config| {
            config.network.listen = wire(at);
            for peer in &mut config.network.peers {
                let other = identities.iter().position(|known| *known == peer.identity).unwrap();
                peer.address = wire(other);
            }
            config.rpc.listen = format!("10.214.{at}.2:{}", PORTS.1).parse().unwrap();
            config.metrics.listen = format!("10.214.{at}.2:{}", PORTS.2).parse().unwrap();
        });
        let prefix = ["ip", "netns", "exec", &format!("m{at}")].map(str::to_owned).to_vec();
        network.launch_as(at, Launch { prefix, ..Launch::default() });
    }
    network.run_all();
    (network, wires)
}

#[test]
#[ignore = "needs network namespaces: make test-netns"]
fn halves_stop_and_go_on_when_they_meet() {
    let keys = keys::<2>();
    let (mut network, wires) = apart(&keys);
    let witness = Witness::start(&network);
    let all = [0, 1, 2, 3];
    let load = Load::start(&network, &keys, &all);
    network.until_heights(0, 5);

    wires.part(&[2, 3]);
    // What was final on one side may still arrive within it; after that nothing becomes final.
    thread::sleep(2 * network.leader_timeout());
    let stopped_at = network.mark(&all).height;
    // Longer than the transport keeps a silent link.
    thread::sleep(5 * network.leader_timeout());
    assert_eq!(network.mark(&all).height, stopped_at, "ordered without a quorum");

    let mark = network.mark(&all);
    wires.heal();
    network.report("2|2 healed: next height", network.until_next_height(mark, &all));
    for member in all {
        let took = network.until_in_step(mark, member);
        network.report(&format!("2|2 healed: member {member} is in step"), took);
    }
    let sent = load.stop();
    assert!(!sent.is_empty(), "no load");
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
#[ignore = "needs network namespaces: make test-netns"]
fn three_go_on_without_one_that_is_cut_off() {
    let keys = keys::<2>();
    let (mut network, wires) = apart(&keys);
    let witness = Witness::start(&network);
    let others = [0, 1, 2];
    let load = Load::start(&network, &keys, &others);
    network.until_heights(0, 5);

    let mark = network.mark(&others);
    wires.part(&[3]);
    network.report("3|1 parted: next height", network.until_next_height(mark, &others));
    thread::sleep(6 * network.leader_timeout());
    network.until_heights(0, 5);
    let alone = network.head(3).ordered_height;
    assert!(alone < network.head(0).ordered_height, "the one that is cut off ordered");

    let mark = network.mark(&others);
    wires.heal();
    network.report("3|1 healed: next height", network.until_next_height(mark, &others));
    network.report("3|1 healed: the one is in step", network.until_in_step(mark, 3));
    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}

#[test]
#[ignore = "needs network namespaces and tc netem: make test-netns"]
fn slow_and_lossy_links_slow_the_network_down_and_no_more() {
    let keys = keys::<2>();
    let (mut network, wires) = apart(&keys);
    let witness = Witness::start(&network);
    let all = [0, 1, 2, 3];
    let load = Load::start(&network, &keys, &all);
    network.until_heights(0, 5);

    wires.spoil("delay 100ms loss 5%");
    let mark = network.mark(&all);
    network.report("100 ms and 5 % loss: next height", network.until_next_height(mark, &all));
    all.iter().for_each(|member| network.until_heights(*member, 20));

    // A partition on top.
    wires.part(&[3]);
    network.until_heights(0, 10);
    let mark = network.mark(&all);
    wires.heal();
    network.report(
        "100 ms and 5 % loss, 3|1 healed: the one is in step",
        network.until_in_step(mark, 3),
    );

    let mark = network.mark(&all);
    wires.mend();
    network.report("links mended: next height", network.until_next_height(mark, &all));
    let sent = load.stop();
    network.expect_unharmed(&sent, &witness.stop());
}
