//! `inspect replay-blocks` on a folder that nobody has seen before.

use crate::harness::BLINDFOLD;
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
};

fn replay(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BLINDFOLD);
    command.args(["inspect", "replay-blocks"]).arg(folder).args(["--runs", "2"]).args(arguments);
    command.output().expect("runs")
}

/// A block with one payment, as a node's JSON-RPC shows it.
fn write_block(folder: &Path, gas_used: &str) {
    let address = |number: u8| format!("0x{number:040x}");
    let hash = |number: u8| format!("0x{number:064x}");
    let block = json!({
        "number": "0x1e8480", "timestamp": "0x10", "miner": address(9), "parentHash": hash(7),
        "gasLimit": "0x47e7c4", "gasUsed": gas_used, "difficulty": "0x1", "mixHash": hash(0),
        "receiptsRoot": hash(1), "logsBloom": format!("0x{}", "00".repeat(256)),
        "transactions": [{
            "nonce": "0x3", "gas": "0x5208", "gasPrice": "0xa", "input": "0x", "value": "0x1",
            "to": address(3), "from": address(2),
        }],
    });
    let payer = json!({"balance": "0xffffffffff", "nonce": 3, "storage": {}});
    let folder = folder.join("2000000");
    std::fs::create_dir_all(&folder).expect("writable");
    for (name, content) in [
        ("block.json", block),
        ("pre_state.json", json!({ address(2): payer })),
        ("codes.json", json!({})),
        ("block_hashes.json", json!({})),
    ] {
        std::fs::write(folder.join(name), content.to_string()).expect("writable");
    }
}

#[test]
fn a_folder_of_blocks_is_replayed_and_judged() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_block(folder.path(), "0x5208");
    let good = replay(folder.path(), &["--threads", "2", "--json"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let report: Value = serde_json::from_slice(&good.stdout).expect("one JSON object");
    let keys: Vec<_> = report.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["blocks", "geomean_ratio", "mismatches", "worst_ratio"]);
    assert_eq!((&report["blocks"], &report["mismatches"]), (&json!(1), &json!(0)));
    assert!(report["worst_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{report}");

    // A header that says something else.
    write_block(folder.path(), "0x5209");
    let wrong = replay(folder.path(), &[]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let (rows, reasons) =
        (String::from_utf8_lossy(&wrong.stdout), String::from_utf8_lossy(&wrong.stderr));
    assert!(rows.contains("mismatches: 1") && rows.contains("MISMATCH"), "{rows}");
    assert!(reasons.contains("block 2000000: gas used is 21000, not 21001"), "{reasons}");

    // A file that is none.
    std::fs::write(folder.path().join("2000000/codes.json"), "[]").expect("writable");
    let damaged = replay(folder.path(), &["--json"]);
    assert_eq!(damaged.status.code(), Some(2), "{damaged:?}");
    let reasons = String::from_utf8_lossy(&damaged.stderr);
    assert!(reasons.contains("codes.json") && reasons.contains("is not an object"), "{reasons}");
    assert!(damaged.stdout.is_empty());
}
