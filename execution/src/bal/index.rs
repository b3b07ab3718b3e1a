//! The state between two positions, as an access list tells it.

use std::sync::Arc;

use alloy_primitives::map::{AddressMap, B256Map, U256Map};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::list::BlockAccessList;
use crate::state::{Account, StateView, StoreError};

/// Values by the index at which they came to be, ascending.
struct Changes<T>(Vec<(u64, T)>);

impl<T: Copy> Changes<T> {
    /// The value after everything up to `index`; `None` if it has not changed by then.
    fn at(&self, index: u64) -> Option<T> {
        let after = self.0.partition_point(|(changed_at, _)| *changed_at <= index);
        after.checked_sub(1).and_then(|last| self.0.get(last)).map(|(_, value)| *value)
    }
}

struct Indexed {
    balances: Changes<U256>,
    nonces: Changes<u64>,
    code_hashes: Changes<B256>,
    slots: U256Map<Changes<U256>>,
}

/// An access list, arranged for reading.
pub(super) struct Index {
    accounts: AddressMap<Indexed>,
    codes: B256Map<Bytes>,
}

impl Index {
    pub(super) fn of(list: &BlockAccessList) -> Self {
        let mut codes = B256Map::default();
        let accounts = list
            .accounts()
            .iter()
            .map(|account| {
                let mut code_hashes = Vec::with_capacity(account.code_changes.len());
                for change in &account.code_changes {
                    let hash = keccak256(&change.new_code);
                    codes.insert(hash, change.new_code.clone());
                    code_hashes.push((change.block_access_index.get(), hash));
                }
                let balances = account.balance_changes.iter();
                let nonces = account.nonce_changes.iter();
                let slots = account.storage_changes.iter().map(|slot| {
                    let changes = slot.changes.iter();
                    let changes =
                        changes.map(|change| (change.block_access_index.get(), change.new_value));
                    (slot.slot, Changes(changes.collect()))
                });
                let indexed = Indexed {
                    balances: Changes(
                        balances
                            .map(|change| (change.block_access_index.get(), change.post_balance))
                            .collect(),
                    ),
                    nonces: Changes(
                        nonces
                            .map(|change| (change.block_access_index.get(), change.new_nonce))
                            .collect(),
                    ),
                    code_hashes: Changes(code_hashes),
                    slots: slots.collect(),
                };
                (account.address, indexed)
            })
            .collect();
        Self { accounts, codes }
    }
}

/// The state before one position: the parent's, and what the list says the positions below have changed.
pub(super) struct Before {
    pub(super) parent: Arc<dyn StateView>,
    pub(super) index: Arc<Index>,
    /// The position. What it changes itself has an index one higher.
    pub(super) position: u64,
}

impl StateView for Before {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        let former = self.parent.account(address)?;
        let Some(listed) = self.index.accounts.get(&address) else { return Ok(former) };
        let mut account = former.unwrap_or_default();
        account.balance = listed.balances.at(self.position).unwrap_or(account.balance);
        account.nonce = listed.nonces.at(self.position).unwrap_or(account.nonce);
        account.code_hash = listed.code_hashes.at(self.position).unwrap_or(account.code_hash);
        // An empty account is none (EIP-161).
        Ok((!account.is_empty()).then_some(account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let listed = self.index.accounts.get(&address).and_then(|account| account.slots.get(&slot));
        match listed.and_then(|changes| changes.at(self.position)) {
            Some(value) => Ok(value),
            None => self.parent.storage(address, slot),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        match self.index.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.parent.code(code_hash),
        }
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        self.parent.block_hash(height)
    }
}
