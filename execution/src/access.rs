//! What every position of a block read and changed: the raw material of block access lists and witnesses.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::state::{Account, StoreError};

/// What one position did to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountAccess {
    /// The account.
    pub address: Address,
    /// The balance after the position, if it changed.
    pub balance: Option<U256>,
    /// The nonce after the position, if it changed.
    pub nonce: Option<u64>,
    /// The code after the position, if it changed; empty if there is none any more.
    pub code: Option<Bytes>,
    /// Slots that the position changed, with the value after it, ordered by slot.
    pub writes: Vec<(U256, U256)>,
    /// Other slots that it read, ordered.
    pub reads: Vec<U256>,
}

impl AccountAccess {
    pub(crate) fn of(address: Address) -> Self {
        Self { address, ..Self::default() }
    }

    /// What changed in an account; `code` looks a changed code up.
    pub(crate) fn between(
        address: Address,
        before: Option<Account>,
        after: Option<Account>,
        code: impl FnOnce(B256) -> Result<Bytes, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut access = Self::of(address);
        if before == after {
            return Ok(access);
        }
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        access.balance = (before.balance != after.balance).then_some(after.balance);
        access.nonce = (before.nonce != after.nonce).then_some(after.nonce);
        if before.code_hash != after.code_hash {
            access.code =
                Some(if after.has_code() { code(after.code_hash)? } else { Bytes::new() });
        }
        Ok(access)
    }

    /// Adds a slot: as changed or as read.
    pub(crate) fn slot(&mut self, slot: U256, before: U256, after: U256) {
        if before == after {
            self.reads.push(slot);
        } else {
            self.writes.push((slot, after));
        }
    }

    /// Puts the slots in order. A slot that was changed does not count as read.
    pub(crate) fn sorted(mut self) -> Self {
        self.writes.sort_unstable();
        self.reads.sort_unstable();
        self.reads.dedup();
        let writes = &self.writes;
        self.reads.retain(|slot| writes.binary_search_by_key(slot, |(key, _)| *key).is_err());
        self
    }
}

/// What every position of a block read and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRecord {
    /// One entry for each forced item and then for each position; in each the accounts accessed, ordered by address.
    pub positions: Vec<Vec<AccountAccess>>,
    /// Hashes of codes that were read, and were in the state before the block or came into it.
    pub codes: BTreeSet<B256>,
    /// Heights whose block hash was asked for.
    pub block_hashes: BTreeSet<u64>,
}
