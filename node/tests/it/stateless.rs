//! A block of a running network, executed again by a program that has nothing but a file.

use crate::harness::{BLINDFOLD, Network};
use alloy_primitives::{B256, U64};
use blindfold_sdk::{SigningKey, TxStatus};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
};

fn inspect(arguments: &[&str]) -> Output {
    Command::new(BLINDFOLD).arg("inspect").args(arguments).output().expect("runs")
}

/// Exit code and report of `replay-witness`.
fn replay(path: &Path) -> (Option<i32>, Value) {
    let path = path.to_str().expect("UTF-8");
    let output = inspect(&["replay-witness", path, "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

#[test]
fn a_block_is_executed_again_from_a_file() {
    let key = SigningKey::random([9; 32]);
    let network = Network::start_funding(2, std::slice::from_ref(&key));
    let mut payer = network.wallet(key);
    let sent = payer.send(&network, 0, 4);
    network.expect_executed(0, &sent);
    let client = &network.clients[0];
    let Ok(Some(TxStatus::Executed { height, position, .. })) = client.status(sent[0]) else {
        panic!("not executed");
    };

    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("block.json");
    let url = format!("http://{}", network.config(0).rpc.listen);
    let out = path.to_str().expect("UTF-8");
    let height_text = height.to_string();
    let fetched = inspect(&["witness", "--rpc", &url, "--height", &height_text, "--out", out]);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));

    let (code, report) = replay(&path);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report}");
    assert_eq!(report["height"], height);
    assert_eq!(report["genesisHash"], json!(network.genesis.hash()));

    // Another receipt is named by position and field.
    let text = std::fs::read_to_string(&path).expect("written");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    let index = file["claimed"]["outcomes"][position as usize]["transactionIndex"].clone();
    let index: U64 = serde_json::from_value(index).expect("executed");
    file["claimed"]["receipts"][index.to::<usize>()]["gasUsed"] = json!("0x1");
    std::fs::write(&path, file.to_string()).expect("writable");
    let (code, report) = replay(&path);
    let first = &report["differences"][0];
    assert_eq!((code, &first["position"]), (Some(1), &json!(position)), "{report}");
    assert_eq!(
        (&first["location"]["field"], &first["claimed"]),
        (&json!("gasUsed"), &json!("0x1"))
    );

    // What cannot be judged is an error, and no verdict.
    std::fs::write(&path, &text[..text.len() / 2]).expect("writable");
    assert_eq!(replay(&path).0, Some(2));
    std::fs::write(&path, &text).expect("writable");
    let other = B256::repeat_byte(7).to_string();
    assert_eq!(inspect(&["replay-witness", out, "--genesis-hash", &other]).status.code(), Some(2));

    // The witness and the access list of the same block, under their usual names.
    let number = format!("{height:#x}");
    let witness: Value = client.request("debug_executionWitness", [&number]).expect("kept");
    assert_eq!(witness, file["witness"]);
    let list: Value = client.request("eth_getBlockAccessList", [&number]).expect("stored");
    assert_eq!(list, file["claimed"]["accessList"]);
    for refused in ["pending", "earliest"] {
        client.request::<Value>("debug_executionWitness", [refused]).expect_err("never executed");
    }
}
