//! From what every position accessed to the list of the block.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eip7928::{
    AccountChanges, BalanceChange, BlockAccessIndex, CodeChange, NonceChange, SlotChanges,
    StorageChange,
};
use alloy_primitives::{Address, U256};

use super::list::BlockAccessList;
use crate::access::{AccessRecord, AccountAccess};

/// What the block did to one account so far.
#[derive(Default)]
struct Account {
    written: BTreeMap<U256, Vec<StorageChange>>,
    read: BTreeSet<U256>,
    balances: Vec<BalanceChange>,
    nonces: Vec<NonceChange>,
    codes: Vec<CodeChange>,
}

impl Account {
    fn add(&mut self, index: BlockAccessIndex, access: &AccountAccess) {
        self.balances.extend(access.balance.map(|balance| BalanceChange::new(index, balance)));
        self.nonces.extend(access.nonce.map(|nonce| NonceChange::new(index, nonce)));
        self.codes.extend(access.code.clone().map(|code| CodeChange::new(index, code)));
        for (slot, value) in &access.writes {
            self.written.entry(*slot).or_default().push(StorageChange::new(index, *value));
        }
        self.read.extend(&access.reads);
    }

    fn finish(self, address: Address) -> AccountChanges {
        let Self { written, read, balances, nonces, codes } = self;
        AccountChanges {
            address,
            // A slot is listed once: among the changes if it ever changed.
            storage_reads: read.into_iter().filter(|slot| !written.contains_key(slot)).collect(),
            storage_changes: written
                .into_iter()
                .map(|(slot, changes)| SlotChanges { slot, changes })
                .collect(),
            balance_changes: balances,
            nonce_changes: nonces,
            code_changes: codes,
        }
    }
}

impl BlockAccessList {
    /// The list of a block of which this was recorded.
    #[must_use]
    pub fn of(record: &AccessRecord) -> Self {
        let mut accounts: BTreeMap<Address, Account> = BTreeMap::new();
        for (index, accesses) in (1u64..).zip(&record.positions) {
            for access in accesses {
                let account = accounts.entry(access.address).or_default();
                account.add(BlockAccessIndex::new(index), access);
            }
        }
        Self::canonical(
            accounts.into_iter().map(|(address, account)| account.finish(address)).collect(),
        )
    }
}
