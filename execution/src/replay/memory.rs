//! A state in memory.

use alloy_primitives::map::{AddressMap, B256Map, HashMap, U256Map};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use crate::state::{Account, StateDiff, StateView, StoreError};

/// One account with its storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    account: Account,
    storage: U256Map<U256>,
}

/// A state in memory: what a block is replayed on. What was not put in is not there: an account that a
/// partial pre-state leaves out counts as absent, a slot as zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    accounts: AddressMap<Entry>,
    codes: B256Map<Bytes>,
    block_hashes: HashMap<u64, B256>,
}

impl MemoryState {
    /// A state with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an account in, or replaces it; its storage stays.
    pub fn set_account(&mut self, address: Address, account: Account) {
        self.accounts.entry(address).or_default().account = account;
    }

    /// Puts an account with code in.
    pub fn set_contract(&mut self, address: Address, balance: U256, nonce: u64, code: Bytes) {
        let code_hash = self.set_code(code);
        self.set_account(address, Account { nonce, balance, code_hash });
    }

    /// Sets a slot; creates the account if it is not there. Zero is the same as nothing.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        let storage = &mut self.accounts.entry(address).or_default().storage;
        if value.is_zero() {
            storage.remove(&slot);
        } else {
            storage.insert(slot, value);
        }
    }

    /// Puts code in and returns its hash.
    pub fn set_code(&mut self, code: Bytes) -> B256 {
        if code.is_empty() {
            return KECCAK256_EMPTY;
        }
        let hash = keccak256(&code);
        self.codes.insert(hash, code);
        hash
    }

    /// Sets the hash of a former block.
    pub fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// Takes over everything another state has.
    pub fn merge(&mut self, other: &Self) {
        for (address, entry) in &other.accounts {
            self.accounts.insert(*address, entry.clone());
        }
        self.codes.extend(other.codes.iter().map(|(hash, code)| (*hash, code.clone())));
        self.block_hashes.extend(&other.block_hashes);
    }

    /// Takes over what a block changed.
    pub fn apply(&mut self, diff: &StateDiff) {
        for (address, changed) in &diff.accounts {
            let Some(account) = changed.account else {
                self.accounts.remove(address);
                continue;
            };
            let entry = self.accounts.entry(*address).or_default();
            entry.account = account;
            if changed.wiped {
                entry.storage.clear();
            }
            for (slot, value) in &changed.storage {
                self.set_storage(*address, *slot, *value);
            }
        }
        self.codes.extend(diff.codes.iter().map(|(hash, code)| (*hash, code.clone())));
    }

    /// Addresses of all accounts, in no order.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.accounts.keys().copied()
    }

    /// The slots of an account that are not zero, in no order.
    pub fn slots(&self, address: Address) -> impl Iterator<Item = (U256, U256)> {
        let storage = self.accounts.get(&address).map(|entry| &entry.storage);
        storage.into_iter().flatten().map(|(slot, value)| (*slot, *value))
    }
}

impl StateView for MemoryState {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        Ok(self.accounts.get(&address).map(|entry| entry.account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let entry = self.accounts.get(&address);
        Ok(entry.and_then(|entry| entry.storage.get(&slot)).copied().unwrap_or_default())
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        self.codes
            .get(&code_hash)
            .cloned()
            .ok_or_else(|| StoreError::Backend(format!("the pre-state lacks code {code_hash}")))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StoreError> {
        Ok(self.block_hashes.get(&number).copied())
    }
}
