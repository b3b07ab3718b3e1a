//! From what a block changed to its state root and the rows of the store.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};

use super::account::{AccountRow, storage_key, storage_prefix};
use super::diff::{AccountDiff, StateDiff};
use super::parent::ParentState;
use super::store::{Column, StateWrite, StoreError};
use super::trie::{NodeSource, PathTrie, StateTrie};

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

/// Computes the state root after a block, and everything the store has to take.
///
/// `height` becomes the incarnation of every account that came to life in the block. The slots of
/// `watched` that changed are returned with the values they had.
pub(crate) fn seal(
    parent: &ParentState,
    diff: &StateDiff,
    height: u64,
    watched: Address,
) -> Result<Sealed, StoreError> {
    let mut writes = Vec::new();
    let mut former = Vec::new();
    let mut accounts = PathTrie::open(
        Box::new(StoredNodes {
            state: parent.clone(),
            column: Column::AccountTrie,
            prefix: Vec::new(),
        }),
        parent.tip().state_root,
    );
    for (address, changed) in &diff.accounts {
        let (address, old) = (*address, parent.row(*address)?);
        if address == watched {
            former = former_slots(parent, address, old.as_ref(), &changed.storage)?;
        }
        let Some(account) = changed.account else {
            if old.is_some() {
                writes.push((Column::Accounts, address.to_vec(), None));
                accounts.remove(keccak256(address))?;
            }
            continue;
        };
        let mut row = match old {
            Some(old) if !changed.wiped => AccountRow { account, ..old },
            _ => AccountRow::fresh(account, height),
        };
        row.storage_root = write_storage(parent, address, &row, changed, &mut writes)?;
        if old != Some(row) {
            writes.push((Column::Accounts, address.to_vec(), Some(row.encode())));
            accounts.insert(keccak256(address), row.trie_leaf())?;
        }
    }
    let (state_root, nodes) = accounts.finish();
    writes.extend(nodes.into_iter().map(|(path, node)| (Column::AccountTrie, path, Some(node))));
    for (hash, code) in &diff.codes {
        writes.push((Column::Code, hash.to_vec(), Some(code.to_vec())));
    }
    Ok(Sealed { state_root, writes, watched: former })
}

fn former_slots(
    parent: &ParentState,
    address: Address,
    old: Option<&AccountRow>,
    changed: &BTreeMap<U256, U256>,
) -> Result<Vec<FormerSlot>, StoreError> {
    let mut former = Vec::with_capacity(changed.len());
    for slot in changed.keys() {
        let value = match old {
            Some(row) => parent.storage_of(address, row.incarnation, *slot)?,
            None => U256::ZERO,
        };
        former.push(FormerSlot { slot: *slot, value });
    }
    Ok(former)
}

/// Writes the changed slots of one account and returns its storage root.
fn write_storage(
    parent: &ParentState,
    address: Address,
    row: &AccountRow,
    changed: &AccountDiff,
    writes: &mut Vec<StateWrite>,
) -> Result<B256, StoreError> {
    if changed.storage.is_empty() {
        return Ok(row.storage_root);
    }
    let prefix = storage_prefix(address, row.incarnation);
    let mut trie = PathTrie::open(
        Box::new(StoredNodes {
            state: parent.clone(),
            column: Column::StorageTrie,
            prefix: prefix.clone(),
        }),
        row.storage_root,
    );
    for (slot, value) in &changed.storage {
        let key = storage_key(address, row.incarnation, *slot);
        let trie_key = keccak256(slot.to_be_bytes::<32>());
        if value.is_zero() {
            writes.push((Column::Storage, key, None));
            trie.remove(trie_key)?;
        } else {
            writes.push((Column::Storage, key, Some(value.to_be_bytes_trimmed_vec())));
            trie.insert(trie_key, alloy_rlp::encode(value))?;
        }
    }
    let (root, nodes) = trie.finish();
    writes.extend(nodes.into_iter().map(|(path, node)| {
        let mut key = prefix.clone();
        key.extend_from_slice(&path);
        (Column::StorageTrie, key, Some(node))
    }));
    Ok(root)
}

/// Trie nodes in one column of a state, under a common prefix.
pub(crate) struct StoredNodes {
    pub(crate) state: ParentState,
    pub(crate) column: Column,
    pub(crate) prefix: Vec<u8>,
}

impl NodeSource for StoredNodes {
    fn column(&self) -> Column {
        self.column
    }

    fn node(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.prefix.is_empty() {
            return self.state.get(self.column, path);
        }
        let mut key = self.prefix.clone();
        key.extend_from_slice(path);
        self.state.get(self.column, &key)
    }
}
