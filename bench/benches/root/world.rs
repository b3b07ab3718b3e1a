//! A state of a million accounts in the product's database, twice: as the product keeps it and as the baseline
//! does.

use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use blindfold_execution::state::{
    Column, StoreError,
    trie::{Change, Nibbles, PagedTrie, RowSource, RowWrite, StateTrie, row_key},
};
use blindfold_node::store::{Durability, Family, Store};
use std::sync::Mutex;
use tempfile::TempDir;

use crate::ethrex;

/// Accounts of the state.
pub const ACCOUNTS: u64 = 1_000_000;
/// Of ten changes one creates an account.
const ONE_IN_IS_NEW: u64 = 10;
/// Rows written at once while the state is built.
const ROWS_AT_ONCE: usize = 20_000;

/// Rows of one trie.
#[derive(Clone)]
pub struct Rows(Store);

impl Rows {
    /// The row under a key of the baseline's.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(Family::State(Column::AccountTrie), key).expect("a disk that works")
    }

    pub fn write(&self, writes: Vec<RowWrite>) {
        let family = Family::State(Column::AccountTrie);
        let writes = writes.into_iter().map(|(key, row)| (family, key, row)).collect();
        self.0.write(writes, Durability::Buffered).expect("a disk that works");
    }

    fn write_in_parts(&self, mut writes: Vec<RowWrite>) {
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(ROWS_AT_ONCE));
            self.write(std::mem::replace(&mut writes, rest));
        }
    }
}

impl RowSource for Rows {
    fn column(&self) -> Column {
        Column::AccountTrie
    }

    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys: Vec<_> = paths.iter().map(row_key).collect();
        let rows = self.0.get_many(Family::State(Column::AccountTrie), &keys);
        rows.map_err(|error| StoreError::Backend(error.to_string()))
    }
}

/// Notes what is asked for.
struct Noting<'a>(&'a Rows, Mutex<Vec<Vec<Nibbles>>>);

impl RowSource for Noting<'_> {
    fn column(&self) -> Column {
        self.0.column()
    }

    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.1.lock().expect("nobody panics").push(paths.to_vec());
        self.0.rows(paths)
    }
}

/// What an update reads, as it asks for it, what it writes, and the root that it comes to.
pub struct UpdateRows {
    root: B256,
    reads: Vec<Vec<Nibbles>>,
    writes: Vec<RowWrite>,
}

/// One of the two tries.
pub struct Kept {
    rows: Rows,
    root: B256,
    _folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let store = Store::open(folder.path(), [1; 32]).expect("an empty folder");
        Self { rows: Rows(store), root: EMPTY_ROOT_HASH, _folder: folder }
    }
}

/// Both tries; they always have the same root.
pub struct World {
    ours: Kept,
    theirs: Kept,
    random: u64,
}

impl World {
    /// Builds the state.
    pub fn new() -> Self {
        let (mut ours, mut theirs) = (Kept::new(), Kept::new());
        let changes = sorted((0..ACCOUNTS).map(|index| change(index, index)));
        let updated = PagedTrie
            .update(&ours.rows, ours.root, &changes, 1)
            .expect("nothing is read from an empty trie");
        ours.root = updated.root;
        ours.rows.write_in_parts(updated.writes);
        // In parts, because it holds all it has changed in memory, and plainly.
        for part in changes.chunks(100_000) {
            theirs.root = ethrex::update(&theirs.rows, theirs.root, part);
        }
        assert_eq!(ours.root, theirs.root, "both compute Ethereum's root");
        Self { ours, theirs, random: 1 }
    }

    /// The next block's changes: balances of random accounts, and some new accounts.
    pub fn changes(&mut self, count: usize) -> Vec<Change> {
        let changed = (0..count).map(|_| {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = self.random >> 20;
            let index = random % ACCOUNTS;
            let new = random.is_multiple_of(ONE_IN_IS_NEW);
            change(if new { ACCOUNTS + random } else { index }, random)
        });
        sorted(changed)
    }

    /// One update by the product, the write included.
    pub fn update(&mut self, changes: &[Change], threads: usize) {
        let Kept { rows, root, .. } = &mut self.ours;
        let updated = PagedTrie.update(rows, *root, changes, threads).expect("a sound trie");
        *root = updated.root;
        rows.write(updated.writes);
    }

    /// What an update by the product reads and writes. Nothing is written.
    pub fn rows_of(&self, changes: &[Change]) -> UpdateRows {
        let noting = Noting(&self.ours.rows, Mutex::default());
        let updated = PagedTrie.update(&noting, self.ours.root, changes, 1).expect("a sound trie");
        let reads = noting.1.into_inner().expect("nobody panics");
        UpdateRows { root: updated.root, reads, writes: updated.writes }
    }

    /// An update by the product of which all is known: reads and writes rows, and computes nothing.
    pub fn read_and_write(&mut self, UpdateRows { root, reads, writes }: UpdateRows) {
        for paths in &reads {
            self.ours.rows.rows(paths).expect("a disk that works");
        }
        self.ours.rows.write(writes);
        self.ours.root = root;
    }

    /// The same by the baseline.
    pub fn update_baseline(&mut self, changes: &[Change]) {
        let Kept { rows, root, .. } = &mut self.theirs;
        *root = ethrex::update(rows, *root, changes);
    }

    /// Whether the two have the same root.
    pub fn agrees(&self) -> bool {
        self.ours.root == self.theirs.root
    }
}

fn change(index: u64, balance: u64) -> Change {
    let account = TrieAccount {
        nonce: index % 100,
        balance: U256::from(balance) * U256::from(1_000_000_007_u64),
        ..TrieAccount::default()
    };
    Change::new(keccak256(index.to_be_bytes()), Some(alloy_rlp::encode(account)))
}

fn sorted(changes: impl Iterator<Item = Change>) -> Vec<Change> {
    let mut changes: Vec<_> = changes.collect();
    changes.sort_by_key(|change| change.key);
    changes.dedup_by_key(|change| change.key);
    changes
}
