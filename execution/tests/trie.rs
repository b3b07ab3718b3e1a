//! Ethereum's TrieTests: roots of small tries with keys of any length, one of which may begin another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use alloy_primitives::{B256, hex, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use blindfold_execution::state::trie::{Change, Nibbles, PagedTrie, RowSource, StateTrie, row_key};
use blindfold_execution::state::{Column, StoreError};
use serde_json::Value;

/// Rows in memory.
#[derive(Default)]
struct Rows(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl RowSource for Rows {
    fn column(&self) -> Column {
        Column::AccountTrie
    }

    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let rows = self.0.lock().expect("no panics");
        Ok(paths.iter().map(|path| rows.get(&row_key(path)).cloned()).collect())
    }
}

/// A trie that is updated in batches of any size.
struct Trie {
    rows: Rows,
    root: B256,
}

impl Trie {
    fn new() -> Self {
        Self { rows: Rows::default(), root: EMPTY_ROOT_HASH }
    }

    /// Of several entries for a key the last one counts.
    fn update(&mut self, entries: &[Entry]) {
        let last: BTreeMap<_, _> = entries.iter().cloned().collect();
        let changes: Vec<_> = last
            .into_iter()
            .map(|(key, value)| Change { key: Nibbles::unpack(key), value })
            .collect();
        let updated = PagedTrie.update(&self.rows, self.root, &changes, 1).expect("memory");
        self.root = updated.root;
        let mut rows = self.rows.0.lock().expect("no panics");
        for (key, row) in updated.writes {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
    }
}

type Entry = (Vec<u8>, Option<Vec<u8>>);

fn bytes(text: &str) -> Vec<u8> {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).expect("hex"),
        None => text.as_bytes().to_vec(),
    }
}

fn entry(key: &str, value: &Value, secure: bool) -> Entry {
    let key = bytes(key);
    let key = if secure { keccak256(key).to_vec() } else { key };
    (key, value.as_str().map(bytes))
}

/// The entries of a test, and whether their order is part of it.
fn entries(test: &Value, secure: bool) -> (Vec<Entry>, bool) {
    match &test["in"] {
        Value::Object(entries) => {
            (entries.iter().map(|(key, value)| entry(key, value, secure)).collect(), false)
        }
        Value::Array(entries) => {
            let entry = |pair: &Value| entry(pair[0].as_str().expect("a key"), &pair[1], secure);
            (entries.iter().map(entry).collect(), true)
        }
        other => panic!("neither list nor map: {other}"),
    }
}

/// Orders of `count` things: as they are, backwards, and some shuffled ones.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let straight: Vec<_> = (0..count).collect();
    let mut orders = vec![straight.clone(), straight.iter().rev().copied().collect()];
    for seed in 0..20u8 {
        let mut order = straight.clone();
        order.sort_by_key(|index| keccak256([seed, *index as u8]));
        orders.push(order);
    }
    orders
}

fn check(name: &str, test: &Value, secure: bool) {
    let root: B256 = test["root"].as_str().expect("a root").parse().expect("a hash");
    let (entries, ordered) = entries(test, secure);
    let mut at_once = Trie::new();
    at_once.update(&entries);
    assert_eq!(at_once.root, root, "{name}: at once");

    let straight = vec![(0..entries.len()).collect()];
    for order in if ordered { straight } else { orders(entries.len()) } {
        for batch in [1, 2, 3] {
            let mut trie = Trie::new();
            for part in order.chunks(batch) {
                let part: Vec<_> = part.iter().map(|index| entries[*index].clone()).collect();
                trie.update(&part);
            }
            assert_eq!(trie.root, root, "{name}: {batch} at a time, order {order:?}");
            assert_eq!(*trie.rows.0.lock().unwrap(), *at_once.rows.0.lock().unwrap(), "{name}");
            for part in order.chunks(batch) {
                let part: Vec<_> =
                    part.iter().map(|index| (entries[*index].0.clone(), None)).collect();
                trie.update(&part);
            }
            assert_eq!(trie.root, EMPTY_ROOT_HASH, "{name}: everything removed");
            assert!(trie.rows.0.lock().unwrap().is_empty(), "{name}: rows are left");
        }
    }
}

/// The folder of fixtures, or `None` with a word about it.
fn fixtures(archive: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BLINDFOLD_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"),
        PathBuf::from,
    );
    let archive = folder.join(archive);
    if !archive.is_file() {
        eprintln!("SKIPPED: no {} (set BLINDFOLD_FIXTURES)", archive.display());
        return None;
    }
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ethereum-trie-tests");
    std::fs::create_dir_all(&unpacked).expect("a writable target folder");
    let tar = Command::new("tar").arg("xJf").arg(&archive).arg("-C").arg(&unpacked).status();
    assert!(tar.expect("tar").success(), "{} does not unpack", archive.display());
    Some(unpacked)
}

#[test]
fn ethereum_trie_tests() {
    let Some(folder) = fixtures("ethereum-trie-tests.tar.xz") else { return };
    let mut checked = 0;
    for (file, secure) in [
        ("trietest.json", false),
        ("trietest_secureTrie.json", true),
        ("trieanyorder.json", false),
        ("trieanyorder_secureTrie.json", true),
        ("hex_encoded_securetrie_test.json", true),
    ] {
        let text = std::fs::read_to_string(folder.join("TrieTests").join(file)).expect(file);
        let tests: BTreeMap<String, Value> = serde_json::from_str(&text).expect(file);
        for (name, test) in &tests {
            check(&format!("{file}: {name}"), test, secure);
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} tests found");
}
