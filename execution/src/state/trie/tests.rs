//! The trie against `alloy-trie`'s, which recomputes every root from all keys.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, TrieAccount};
use proptest::prelude::*;

use super::*;

/// Rows in memory.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows {
    fn apply(&mut self, writes: Vec<RowWrite>) {
        for (key, row) in writes {
            match row {
                Some(row) => self.0.insert(key, row),
                None => self.0.remove(&key),
            };
        }
    }
}

impl RowSource for Rows {
    fn column(&self) -> Column {
        Column::StorageTrie
    }

    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Ok(paths.iter().map(|path| self.0.get(&row_key(path)).cloned()).collect())
    }
}

type Model = BTreeMap<Nibbles, Vec<u8>>;

fn from_scratch(model: &Model) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in model {
        builder.add_leaf(*key, value);
    }
    builder.root()
}

/// A key of 64 nibbles out of a few thousand, crowded: long common beginnings, then branches close
/// to each other, some at the very end.
fn key(index: u16) -> Nibbles {
    let mut key = if index & 1 == 0 { B256::ZERO } else { keccak256([(index >> 8) as u8]) };
    let at = usize::from(index >> 1 & 3) * 10;
    key[at] ^= (index >> 3 & 0x1f) as u8 * 8;
    key[31] ^= (index >> 8) as u8 & 0x33;
    Nibbles::unpack_array(&key.0)
}

/// Values of all lengths that are treated differently: within a parent's RLP, plain accounts,
/// rows of their own.
fn value(index: u8, content: u64) -> Vec<u8> {
    match index % 5 {
        0 => vec![1 + (content % 255) as u8],
        1 => alloy_rlp::encode(U256::from(content)),
        2 | 3 => alloy_rlp::encode(TrieAccount {
            nonce: content,
            storage_root: if index % 5 == 2 { EMPTY_ROOT_HASH } else { keccak256([index]) },
            ..TrieAccount::default()
        }),
        _ => content.to_be_bytes().repeat(10 * usize::from(index)),
    }
}

/// What a block does: sets and removes, and removes again nearly all there is.
#[derive(Clone, Debug)]
enum Block {
    Changes(Vec<(u16, Option<(u8, u64)>)>),
    /// Removes all keys but those whose place is a multiple of the number.
    Thin(usize),
}

fn block(most: usize) -> impl Strategy<Value = Block> {
    let new = prop::option::weighted(0.6, (any::<u8>(), any::<u64>()));
    prop_oneof![
        5 => prop::collection::vec((any::<u16>(), new), 0..most).prop_map(Block::Changes),
        1 => (1usize..80).prop_map(Block::Thin),
    ]
}

fn changes(block: &Block, model: &Model) -> Vec<Change> {
    let changes: BTreeMap<_, _> = match block {
        Block::Changes(changes) => changes
            .iter()
            .map(|(index, new)| (key(*index), new.map(|(kind, content)| value(kind, content))))
            .collect(),
        Block::Thin(keep) => {
            let keys = model.keys().enumerate().filter(|(place, _)| place % keep != 1);
            keys.map(|(_, key)| (*key, None)).collect()
        }
    };
    changes.into_iter().map(|(key, value)| Change { key, value }).collect()
}

fn update(rows: &Rows, root: B256, changes: &[Change], threads: usize) -> Updated {
    PagedTrie.update(rows, root, changes, threads).expect("rows are sound")
}

/// Applies blocks and checks everything after each of them.
fn check_blocks(blocks: &[Block], threads: usize) -> (Rows, B256, Model) {
    let (mut rows, mut root, mut model) = (Rows::default(), EMPTY_ROOT_HASH, Model::new());
    for block in blocks {
        let changes = changes(block, &model);
        let updated = update(&rows, root, &changes, threads);
        for change in changes {
            match change.value {
                Some(value) => model.insert(change.key, value),
                None => model.remove(&change.key),
            };
        }
        assert_eq!(updated.root, from_scratch(&model));
        root = updated.root;
        rows.apply(updated.writes);
    }
    (rows, root, model)
}

/// Rows are a function of the trie's content: the way to it leaves nothing behind.
fn check_rows(rows: &Rows, model: &Model) {
    let all: Vec<_> =
        model.iter().map(|(key, value)| Change { key: *key, value: Some(value.clone()) }).collect();
    let mut fresh = Rows::default();
    fresh.apply(update(&Rows::default(), EMPTY_ROOT_HASH, &all, 1).writes);
    assert_eq!(*rows, fresh);
}

fn check_proofs(rows: &Rows, root: B256, model: &Model) {
    for key in model.keys().copied().chain((0..64).map(|index| key(index * 577))) {
        let proof = PagedTrie.proof(rows, root, &key).expect("rows are sound");
        verify_proof(root, key, model.get(&key).cloned(), &proof).expect("a proof");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn small_blocks_equal_recomputation(blocks in prop::collection::vec(block(12), 1..12)) {
        let (rows, root, model) = check_blocks(&blocks, 1);
        check_rows(&rows, &model);
        check_proofs(&rows, root, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn large_blocks_equal_recomputation_on_any_number_of_threads(
        blocks in prop::collection::vec(block(400), 1..6),
    ) {
        let one = check_blocks(&blocks, 1);
        check_rows(&one.0, &one.2);
        for threads in [2, 4] {
            prop_assert_eq!(&check_blocks(&blocks, threads), &one);
        }
        // The very writes are the same, in the same order.
        let (rows, root, model) = one;
        let changes = changes(&Block::Thin(3), &model);
        prop_assert_eq!(update(&rows, root, &changes, 1), update(&rows, root, &changes, 4));
    }

    /// Whatever a row holds, the answer is a result: an error, or a root of other content.
    #[test]
    fn malformed_rows_are_no_panic(
        blocks in prop::collection::vec(block(200), 1..3),
        next in block(200),
        harm in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u8>(), 0u8..4), 1..20),
    ) {
        let (rows, root, model) = check_blocks(&blocks, 1);
        let changes = changes(&next, &model);
        for (which, place, byte, kind) in harm {
            let mut rows = rows.clone();
            let count = rows.0.len();
            let Some(row) = rows.0.values_mut().nth(usize::from(which) % count.max(1)) else { break };
            let place = usize::from(place) % row.len();
            match kind {
                0 => row[place] = byte,
                // Where the structure is.
                1 => row[place % 8] = byte,
                2 => row.truncate(place),
                _ => row.insert(place, byte),
            }
            for threads in [1, 2] {
                let _ = PagedTrie.update(&rows, root, &changes, threads);
            }
            for change in changes.iter().take(20) {
                let _ = PagedTrie.proof(&rows, root, &change.key);
            }
        }
    }
}

#[test]
fn the_edges() {
    let mut rows = Rows::default();
    let one = vec![Change { key: key(5), value: Some(vec![7]) }];
    assert_eq!(update(&rows, EMPTY_ROOT_HASH, &[], 2).root, EMPTY_ROOT_HASH);
    let nothing = [Change { key: key(9), value: None }];
    assert_eq!(
        update(&rows, EMPTY_ROOT_HASH, &nothing, 1),
        Updated { root: EMPTY_ROOT_HASH, writes: Vec::new() }
    );
    assert_eq!(PagedTrie.proof(&rows, EMPTY_ROOT_HASH, &key(5)).unwrap(), Vec::<Bytes>::new());

    // A single leaf, removed again together with a key that never was.
    let updated = update(&rows, EMPTY_ROOT_HASH, &one, 1);
    assert_eq!(updated.root, from_scratch(&Model::from([(key(5), vec![7])])));
    rows.apply(updated.writes);
    assert_eq!(rows.0.len(), 1);
    let mut gone: Vec<_> =
        [5, 13].map(|index| Change { key: key(index), value: None }).into_iter().collect();
    gone.sort_by_key(|change| change.key);
    let emptied = update(&rows, updated.root, &gone, 1);
    assert_eq!(emptied.root, EMPTY_ROOT_HASH);
    rows.apply(emptied.writes);
    assert_eq!(rows, Rows::default());
}

#[test]
fn a_missing_row_is_damage() {
    let content = |keep| {
        (0..500u64)
            .filter(move |index| index % 7 < keep)
            .map(|index| Change::new(keccak256(index.to_be_bytes()), Some(value(3, index))))
    };
    let mut changes: Vec<_> = content(7).collect();
    changes.sort_by_key(|change| change.key);
    let built = update(&Rows::default(), EMPTY_ROOT_HASH, &changes, 1);
    let mut rows = Rows::default();
    rows.apply(built.writes);
    assert!(rows.0.len() > 17, "the root, its children and more have rows");
    for missing in rows.0.keys() {
        let mut rows = rows.clone();
        rows.0.remove(missing);
        for threads in [1, 2] {
            let failed = PagedTrie.update(&rows, built.root, &changes, threads);
            assert!(matches!(
                failed,
                Err(StoreError::Damaged { column: Column::StorageTrie, what: "trie row missing" })
            ));
        }
    }
}
