//! Folders that are not what they should be.

use std::path::Path;

use serde_json::{Value, json};

use crate::replay::Fork;
use crate::replay::folder::{BlockFolder, FolderError};
use crate::testkit::fixtures::LocalDisk;

/// A block with one unsigned transfer.
fn block() -> Value {
    json!({
        "number": "0x2a", "timestamp": "0x10", "miner": format!("0x{:040x}", 9),
        "parentHash": format!("0x{:064x}", 7), "gasLimit": "0x5208", "gasUsed": "0x5208",
        "difficulty": "0x1", "mixHash": format!("0x{:064x}", 0), "receiptsRoot": format!("0x{:064x}", 1),
        "logsBloom": format!("0x{}", "00".repeat(256)), "baseFeePerGas": "0x7",
        "transactions": [{
            "type": "0x0", "nonce": "0x0", "gas": "0x5208", "gasPrice": "0xa", "input": "0x",
            "value": "0x1", "to": format!("0x{:040x}", 3), "from": format!("0x{:040x}", 2),
        }],
    })
}

fn write(folder: &Path, name: &str, value: &Value) {
    std::fs::write(folder.join(name), value.to_string()).unwrap();
}

/// Writes a folder with one block after `change` had its way with it, and reads it.
fn load(change: impl FnOnce(&mut Value, &mut Value, &mut Value)) -> Result<Fork, FolderError> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("42");
    std::fs::create_dir(&folder).unwrap();
    let account = json!({"balance": "0xffffffff", "nonce": 0, "storage": {"0x1": "0x2"}});
    let mut state = json!({ format!("0x{:040x}", 2): account });
    let (mut block, mut manifest) = (block(), json!({"42": {"spec": "LONDON"}}));
    change(&mut block, &mut state, &mut manifest);
    write(&folder, "block.json", &block);
    write(&folder, "pre_state.json", &state);
    write(&folder, "codes.json", &json!({}));
    write(&folder, "block_hashes.json", &json!({"41": format!("0x{:064x}", 7)}));
    write(dir.path(), "manifest.json", &manifest);
    let found = BlockFolder::open(dir.path(), &LocalDisk)?.load(42)?.expect("it is there");
    assert_eq!(found.block.transactions.len(), 1);
    Ok(found.block.fork)
}

#[test]
fn the_manifest_names_the_fork() {
    assert_eq!(load(|_, _, _| {}).unwrap(), Fork::London);
    assert_eq!(load(|_, _, manifest| *manifest = json!({})).unwrap(), Fork::Frontier);
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut Value, &mut Value, &mut Value);
    let cases: [(&str, Change); 9] = [
        ("block.json: gasUsed is missing", |block, _, _| {
            block.as_object_mut().unwrap().remove("gasUsed");
        }),
        ("block.json: number is not 42, the folder's name", |block, _, _| {
            block["number"] = json!("0x2b");
        }),
        ("block.json: transactions[0].value is not a number", |block, _, _| {
            block["transactions"][0]["value"] = json!("12x");
        }),
        ("block.json: transactions[0].type is not a known", |block, _, _| {
            block["transactions"][0]["type"] = json!("0x7e");
        }),
        ("block.json: transactions[0] has a signature of no key", |block, _, _| {
            for (name, value) in [("r", "0x0"), ("s", "0x0"), ("v", "0x1b")] {
                block["transactions"][0][name] = json!(value);
            }
        }),
        ("block.json: transactions[0].from is", |block, _, _| {
            for (name, value) in [("r", "0x1"), ("s", "0x1"), ("v", "0x1b")] {
                block["transactions"][0][name] = json!(value);
            }
        }),
        ("block.json: transactions is not a list", |block, _, _| {
            block["transactions"] = json!({});
        }),
        (".nonce does not fit 64 bits", |_, state, _| {
            state[format!("0x{:040x}", 2)]["nonce"] = json!("0x10000000000000000");
        }),
        ("manifest.json: 42.spec is not a known fork", |_, _, manifest| {
            manifest["42"]["spec"] = json!("TOMORROW");
        }),
    ];
    for (expected, change) in cases {
        let error = load(change).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

#[test]
fn a_folder_without_blocks_or_files_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let opened = BlockFolder::open(dir.path(), &LocalDisk);
    assert!(matches!(opened, Err(FolderError::Empty { .. })));
    std::fs::create_dir(dir.path().join("7")).unwrap();
    let error = BlockFolder::open(dir.path(), &LocalDisk).unwrap().load(7).unwrap_err().to_string();
    assert!(error.contains("block.json"), "{error}");
    std::fs::write(dir.path().join("7/block.json"), "{").unwrap();
    // The folder of a single block is a folder of blocks.
    let single = dir.path().join("7");
    let error = BlockFolder::open(&single, &LocalDisk).err().expect("not JSON").to_string();
    assert!(error.contains("block.json: not JSON"), "{error}");
}
