//! From what a block changed to its state root and the rows of the store.
//!
//! A function of its inputs that shares nothing with execution: it may run on a thread of its own
//! while the next height executes.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, U256, keccak256};

use super::account::{AccountRow, storage_key, storage_prefix};
use super::diff::{AccountDiff, StateDiff};
use super::parent::ParentState;
use super::store::{Column, StateWrite, StoreError};
use super::threads::in_turn;
use super::trie::{Change, Nibbles, PagedTrie, RowSource, StateTrie, Updated, push_row_key};

/// Accounts that a thread takes at a time.
const ACCOUNTS_AT_A_TIME: usize = 128;

/// Changed slots from which all threads work on one account's storage.
const MANY_SLOTS: usize = 512;

/// A slot that the block changed, with the value its parent had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormerSlot {
    pub(crate) slot: U256,
    pub(crate) value: U256,
}

/// What [`seal`] computes.
pub(crate) struct Sealed {
    pub(crate) state_root: B256,
    pub(crate) writes: Vec<StateWrite>,
    /// Changed slots of the watched account, ordered by slot.
    pub(crate) watched: Vec<FormerSlot>,
}

/// Computes the state root after a block, and everything the store has to take, on some threads.
///
/// `height` becomes the incarnation of every account that came to life in the block. The slots of
/// `watched` that changed are returned with the values they had.
pub(crate) fn seal(
    parent: &ParentState,
    diff: &StateDiff,
    height: u64,
    watched: Address,
    threads: usize,
) -> Result<Sealed, StoreError> {
    let mut large = HashMap::new();
    for (address, changed) in &diff.accounts {
        if changed.storage.len() >= MANY_SLOTS {
            let row = parent.row(*address)?;
            let sealed = seal_account(parent, *address, row, changed, height, threads)?;
            large.insert(*address, sealed);
        }
    }
    let rest: Vec<_> =
        diff.accounts.iter().filter(|(address, _)| !large.contains_key(*address)).collect();
    let jobs: Vec<_> = rest.chunks(ACCOUNTS_AT_A_TIME).collect();
    let parts = in_turn(jobs.len(), threads, |job| {
        let addresses: Vec<_> = jobs[job].iter().map(|(address, _)| **address).collect();
        let rows = parent.rows(&addresses)?;
        jobs[job]
            .iter()
            .zip(rows)
            .map(|((address, changed), row)| {
                seal_account(parent, **address, row, changed, height, 1)
            })
            .collect::<Result<Vec<_>, _>>()
    });

    let mut sealed: Vec<_> = large.into_values().collect();
    for part in parts {
        sealed.extend(part?);
    }
    sealed.sort_unstable_by_key(|account| account.key);
    let mut writes = Vec::with_capacity(sealed.len() * 4);
    let mut changes = Vec::with_capacity(sealed.len());
    for SealedAccount { key, leaf, writes: rows } in sealed {
        writes.extend(rows);
        if let Some(value) = leaf {
            changes.push(Change::new(key, value));
        }
    }
    let source = StoredTrie::accounts(parent);
    let root = parent.tip().state_root;
    let Updated { root: state_root, writes: rows } =
        PagedTrie.update(&source, root, &changes, threads)?;
    writes.extend(rows.into_iter().map(|(key, row)| (Column::AccountTrie, key, row)));
    for (hash, code) in &diff.codes {
        writes.push((Column::Code, hash.to_vec(), Some(code.to_vec())));
    }
    let watched = match diff.accounts.get(&watched) {
        Some(changed) => former_slots(parent, watched, &changed.storage)?,
        None => Vec::new(),
    };
    Ok(Sealed { state_root, writes, watched })
}

fn former_slots(
    parent: &ParentState,
    address: Address,
    changed: &BTreeMap<U256, U256>,
) -> Result<Vec<FormerSlot>, StoreError> {
    let slots = changed.keys();
    slots
        .map(|slot| Ok(FormerSlot { slot: *slot, value: parent.storage(address, *slot)? }))
        .collect()
}

/// An account after the block.
struct SealedAccount {
    key: B256,
    /// The account trie's change, if there is one: the new leaf, or its removal.
    leaf: Option<Option<Vec<u8>>>,
    writes: Vec<StateWrite>,
}

fn seal_account(
    parent: &ParentState,
    address: Address,
    old: Option<AccountRow>,
    changed: &AccountDiff,
    height: u64,
    threads: usize,
) -> Result<SealedAccount, StoreError> {
    let mut writes = Vec::new();
    let mut leaf = None;
    match changed.account {
        None if old.is_some() => {
            writes.push((Column::Accounts, address.to_vec(), None));
            leaf = Some(None);
        }
        None => {}
        Some(account) => {
            let mut row = match old {
                Some(old) if !changed.wiped => AccountRow { account, ..old },
                _ => AccountRow::fresh(account, height),
            };
            if !changed.storage.is_empty() {
                row.storage_root =
                    seal_storage(parent, address, &row, &changed.storage, threads, &mut writes)?;
            }
            if old != Some(row) {
                writes.push((Column::Accounts, address.to_vec(), Some(row.encode())));
                leaf = Some(Some(row.trie_leaf()));
            }
        }
    }
    Ok(SealedAccount { key: keccak256(address), leaf, writes })
}

/// Writes the changed slots of one account and returns its storage root.
fn seal_storage(
    parent: &ParentState,
    address: Address,
    row: &AccountRow,
    changed: &BTreeMap<U256, U256>,
    threads: usize,
    writes: &mut Vec<StateWrite>,
) -> Result<B256, StoreError> {
    let mut changes = Vec::with_capacity(changed.len());
    for (slot, value) in changed {
        let key = storage_key(address, row.incarnation, *slot);
        let present = !value.is_zero();
        writes.push((Column::Storage, key, present.then(|| value.to_be_bytes_trimmed_vec())));
        let key = keccak256(slot.to_be_bytes::<32>());
        changes.push(Change::new(key, present.then(|| alloy_rlp::encode(value))));
    }
    changes.sort_unstable_by_key(|change| change.key);
    let source = StoredTrie::storage(parent, address, row.incarnation);
    let updated = PagedTrie.update(&source, row.storage_root, &changes, threads)?;
    writes.extend(updated.writes.into_iter().map(|(key, row)| {
        let key = [source.prefix.as_slice(), &key].concat();
        (Column::StorageTrie, key, row)
    }));
    Ok(updated.root)
}

/// The rows of one trie of a state.
pub(crate) struct StoredTrie<'a> {
    state: &'a ParentState,
    column: Column,
    prefix: Vec<u8>,
}

impl<'a> StoredTrie<'a> {
    pub(crate) const fn accounts(state: &'a ParentState) -> Self {
        Self { state, column: Column::AccountTrie, prefix: Vec::new() }
    }

    pub(crate) fn storage(state: &'a ParentState, address: Address, incarnation: u64) -> Self {
        let prefix = storage_prefix(address, incarnation);
        Self { state, column: Column::StorageTrie, prefix }
    }
}

impl RowSource for StoredTrie<'_> {
    fn column(&self) -> Column {
        self.column
    }

    fn rows(&self, paths: &[Nibbles]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys: Vec<_> = paths
            .iter()
            .map(|path| {
                let mut key = Vec::with_capacity(self.prefix.len() + 1 + path.byte_len());
                key.extend_from_slice(&self.prefix);
                push_row_key(path, &mut key);
                key
            })
            .collect();
        self.state.get_many(self.column, &keys)
    }
}
