//! The product through its real ports: members as processes, wallets over HTTP.

use std::process::{Command, Stdio};

use crate::harness::{BLINDFOLD, Network};
use blindfold_sdk::SigningKey;
use serde_json::Value;

#[test]
fn a_devnet_settles_everything_and_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BLINDFOLD)
        .args(["devnet", "--transactions", "24", "--exit", "--json", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    for (field, expected) in [
        ("nodes", 4),
        ("sealed", 24),
        ("ordered", 24),
        ("opened", 24),
        ("opened_before_final", 0),
        ("diverged_nodes", 0),
    ] {
        assert_eq!(summary[field], expected, "{field} of {summary}");
    }
    let ends = ["executed", "skipped", "undecryptable", "expired", "replaced"];
    let ended: u64 = ends.iter().map(|end| summary[end].as_u64().unwrap()).sum();
    assert_eq!(ended, 24);
    assert!(summary["bundles_checked"].as_u64().unwrap() > 0, "nothing was checked: {summary}");
    assert_eq!(summary["bot"]["recognised"], 0, "the bot read a sealed transaction");
    assert_eq!(summary["heights"].as_array().unwrap().len(), 4);
    assert!(stderr.contains("test dealer"), "the dealer was not loud");
    // Everything is on L1, in few bytes, and derived again from there alone.
    assert!(stderr.contains("not a real L1"), "the L1 was not honest");
    assert!(summary["batches"].as_u64().unwrap() > 0, "nothing was posted: {summary}");
    assert!(summary["posted"].as_u64().unwrap() >= 24, "{summary}");
    assert!(summary["posted_bytes_per_tx"].as_f64().unwrap() > 0.0, "{summary}");
    assert!(summary["l1_gas"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["derived_heights"].as_u64().unwrap() > 0, "{summary}");
    assert!(stderr.contains("gateway: http://127.0.0.1:"), "no gateway was started");
}

/// A killed member is not missed, and comes back where it was; the others' order is its order.
#[test]
fn a_killed_member_is_not_missed_and_catches_up() {
    let key = SigningKey::random([7; 32]);
    let mut network = Network::start(&[key.address()]);
    let mut payer = network.wallet(key);
    let sent = payer.send(&network, 0, 3);
    network.expect_executed(0, &sent);

    network.kill(3);
    let sent = payer.send(&network, 1, 5);
    network.expect_executed(1, &sent);

    network.run(3);
    let sent = payer.send(&network, 2, 2);
    network.expect_executed(2, &sent);
    // The one that was away serves what happened meanwhile, from its own database.
    network.expect_executed(3, &sent);
    network.expect_agreement(&[0, 1, 2, 3]);
}

/// All members are killed at once, with envelopes in every state, and go on from their databases.
#[test]
fn a_network_that_was_killed_goes_on() {
    let key = SigningKey::random([8; 32]);
    let mut network = Network::start(&[key.address()]);
    let mut payer = network.wallet(key);
    let first = payer.send(&network, 0, 6);
    (0..4).for_each(|member| network.kill(member));
    (0..4).for_each(|member| network.run(member));
    network.expect_executed(0, &first);
    let second = payer.send(&network, 1, 2);
    network.expect_executed(2, &second);
    network.expect_agreement(&[0, 1, 2, 3]);
}
