//! What a block has changed so far, over its parent state; and the state root it ends in.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use super::account::{Account, AccountRow, storage_key, storage_prefix};
use super::parent::ParentState;
use super::store::{Column, StateWrite, StoreError};
use super::trie::{NodeSource, PathTrie, StateTrie};

/// An account as the block has left it.
#[derive(Clone, Debug, Default)]
struct Changed {
    /// `None`: not part of the state.
    account: Option<Account>,
    /// The parent's storage is gone: the account was created or destroyed in this block.
    wiped: bool,
    /// Slots written in this block, since the last wipe.
    storage: BTreeMap<U256, U256>,
}

/// A slot that the block changed, with the value its parent had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormerSlot {
    pub(crate) slot: U256,
    pub(crate) value: U256,
}

/// What [`Overlay::finish`] computes.
pub(crate) struct Finished {
    pub(crate) state_root: B256,
    pub(crate) writes: Vec<StateWrite>,
    /// Changed slots of the watched account, ordered by slot.
    pub(crate) watched: Vec<FormerSlot>,
}

/// The changes of one block over its parent. Reads fall through to the parent; rows once read are
/// kept for the block.
pub(crate) struct Overlay {
    parent: ParentState,
    changed: BTreeMap<Address, Changed>,
    codes: BTreeMap<B256, Bytes>,
    rows: HashMap<Address, Option<AccountRow>>,
    slots: HashMap<(Address, U256), U256>,
}

impl Overlay {
    pub(crate) fn new(parent: ParentState) -> Self {
        Self {
            parent,
            changed: BTreeMap::new(),
            codes: BTreeMap::new(),
            rows: HashMap::new(),
            slots: HashMap::new(),
        }
    }

    pub(crate) const fn parent(&self) -> &ParentState {
        &self.parent
    }

    fn parent_row(&mut self, address: Address) -> Result<Option<AccountRow>, StoreError> {
        if let Some(row) = self.rows.get(&address) {
            return Ok(*row);
        }
        let row = self.parent.row(address)?;
        self.rows.insert(address, row);
        Ok(row)
    }

    fn parent_slot(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(value) = self.slots.get(&(address, slot)) {
            return Ok(*value);
        }
        let value = match self.parent_row(address)? {
            Some(row) => self.parent.storage_of(address, row.incarnation, slot)?,
            None => U256::ZERO,
        };
        self.slots.insert((address, slot), value);
        Ok(value)
    }

    pub(crate) fn account(&mut self, address: Address) -> Result<Option<Account>, StoreError> {
        match self.changed.get(&address) {
            Some(changed) => Ok(changed.account),
            None => Ok(self.parent_row(address)?.map(|row| row.account)),
        }
    }

    pub(crate) fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(changed) = self.changed.get(&address) {
            if let Some(value) = changed.storage.get(&slot) {
                return Ok(*value);
            }
            if changed.wiped {
                return Ok(U256::ZERO);
            }
        }
        self.parent_slot(address, slot)
    }

    pub(crate) fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.parent.code(code_hash),
        }
    }

    fn entry(&mut self, address: Address) -> Result<&mut Changed, StoreError> {
        if !self.changed.contains_key(&address) {
            let account = self.parent_row(address)?.map(|row| row.account);
            self.changed.insert(address, Changed { account, ..Changed::default() });
        }
        Ok(self.changed.entry(address).or_default())
    }

    /// Sets an account; an empty one leaves the state (EIP-161) and takes its storage with it.
    pub(crate) fn set_account(
        &mut self,
        address: Address,
        account: Account,
    ) -> Result<(), StoreError> {
        let entry = self.entry(address)?;
        if account.is_empty() {
            *entry = Changed { account: None, wiped: true, storage: BTreeMap::new() };
        } else {
            entry.account = Some(account);
        }
        Ok(())
    }

    /// Takes an account and its storage out of the state.
    pub(crate) fn destroy(&mut self, address: Address) -> Result<(), StoreError> {
        *self.entry(address)? = Changed { account: None, wiped: true, storage: BTreeMap::new() };
        Ok(())
    }

    /// Forgets the storage of an account that is being created.
    pub(crate) fn clear_storage(&mut self, address: Address) -> Result<(), StoreError> {
        let entry = self.entry(address)?;
        entry.wiped = true;
        entry.storage.clear();
        Ok(())
    }

    pub(crate) fn set_storage(
        &mut self,
        address: Address,
        slot: U256,
        value: U256,
    ) -> Result<(), StoreError> {
        self.entry(address)?.storage.insert(slot, value);
        Ok(())
    }

    pub(crate) fn set_code(&mut self, code: Bytes) -> B256 {
        if code.is_empty() {
            return KECCAK256_EMPTY;
        }
        let hash = keccak256(&code);
        self.codes.insert(hash, code);
        hash
    }

    /// Adds wei to an account; a zero amount does not bring it to life.
    pub(crate) fn credit(&mut self, address: Address, amount: U256) -> Result<(), StoreError> {
        if amount.is_zero() {
            return Ok(());
        }
        let mut account = self.account(address)?.unwrap_or_default();
        account.balance = account.balance.saturating_add(amount);
        self.set_account(address, account)
    }

    /// Computes the state root and everything the store has to take.
    ///
    /// `height` becomes the incarnation of every account that came to life in the block. The
    /// slots of `watched` that changed are returned with the values they had.
    pub(crate) fn finish(mut self, height: u64, watched: Address) -> Result<Finished, StoreError> {
        let mut writes = Vec::new();
        let mut former = Vec::new();
        let mut accounts = PathTrie::open(
            Box::new(StoredNodes {
                state: self.parent.clone(),
                column: Column::AccountTrie,
                prefix: Vec::new(),
            }),
            self.parent.tip().state_root,
        );

        for (address, changed) in std::mem::take(&mut self.changed) {
            let old = self.parent_row(address)?;
            if address == watched {
                for (slot, value) in &changed.storage {
                    let was = self.parent_slot(address, *slot)?;
                    if was != *value {
                        former.push(FormerSlot { slot: *slot, value: was });
                    }
                }
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
            row.storage_root = self.write_storage(address, &row, &changed, &mut writes)?;
            if old != Some(row) {
                writes.push((Column::Accounts, address.to_vec(), Some(row.encode())));
                accounts.insert(keccak256(address), row.trie_leaf())?;
            }
        }

        let (state_root, nodes) = accounts.finish();
        writes
            .extend(nodes.into_iter().map(|(path, node)| (Column::AccountTrie, path, Some(node))));
        for (hash, code) in &self.codes {
            writes.push((Column::Code, hash.to_vec(), Some(code.to_vec())));
        }
        Ok(Finished { state_root, writes, watched: former })
    }

    /// Writes the changed slots of one account and returns its storage root.
    fn write_storage(
        &mut self,
        address: Address,
        row: &AccountRow,
        changed: &Changed,
        writes: &mut Vec<StateWrite>,
    ) -> Result<B256, StoreError> {
        if changed.storage.is_empty() {
            return Ok(row.storage_root);
        }
        let prefix = storage_prefix(address, row.incarnation);
        let mut trie = PathTrie::open(
            Box::new(StoredNodes {
                state: self.parent.clone(),
                column: Column::StorageTrie,
                prefix: prefix.clone(),
            }),
            row.storage_root,
        );
        for (slot, value) in &changed.storage {
            let was = if changed.wiped { U256::ZERO } else { self.parent_slot(address, *slot)? };
            if was == *value {
                continue;
            }
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
