//! What the EVM reads, wherever it comes from.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use alloy_primitives::{Address, B256, Bytes, U256};

use super::account::{Account, AccountRow};
use super::parent::ParentState;
use super::store::StoreError;

/// The state before a block, as its transactions may read it. Shared by all threads that execute it.
pub trait StateView: Send + Sync {
    /// The account at `address`, or `None` if it is not part of the state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the state cannot be read.
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError>;

    /// The value of a storage slot; zero if it was never set.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the state cannot be read.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError>;

    /// The code with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the state cannot be read, or has no such code.
    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError>;

    /// The hash of a block among the last 256, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the state cannot be read.
    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError>;
}

/// A [`ParentState`] for the execution of one block. Remembers the rows of accounts, because every read of
/// a slot needs its account's incarnation.
pub(crate) struct BlockView {
    parent: ParentState,
    rows: RwLock<HashMap<Address, Option<AccountRow>>>,
}

impl BlockView {
    pub(crate) fn new(parent: ParentState) -> Self {
        Self { parent, rows: RwLock::default() }
    }

    fn row(&self, address: Address) -> Result<Option<AccountRow>, StoreError> {
        let known = self.rows.read().unwrap_or_else(PoisonError::into_inner).get(&address).copied();
        if let Some(row) = known {
            return Ok(row);
        }
        let row = self.parent.row(address)?;
        self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(address, row);
        Ok(row)
    }
}

impl StateView for BlockView {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        Ok(self.row(address)?.map(|row| row.account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        match self.row(address)? {
            Some(row) => self.parent.storage_of(address, row.incarnation, slot),
            None => Ok(U256::ZERO),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        self.parent.code(code_hash)
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        self.parent.block_hash(height)
    }
}

impl StateView for ParentState {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        Self::account(self, address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        Self::storage(self, address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        Self::code(self, code_hash)
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        Self::block_hash(self, height)
    }
}
