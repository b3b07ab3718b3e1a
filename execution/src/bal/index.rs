//! The state between two positions, as an access list tells it.

use std::sync::{Arc, OnceLock};

use alloy_eip7928::{AccountChanges, BlockAccessIndex};
use alloy_primitives::map::{AddressMap, B256Map, U256Map};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::list::BlockAccessList;
use crate::evm::Parallel;
use crate::state::{Account, StateView, StoreError};

/// Accounts that a thread loads at a time.
const LOADED_AT_ONCE: usize = 64;

/// What came of loading them.
type Loaded = Result<Vec<(Address, Listed)>, StoreError>;

/// Values by the index at which they came to be, ascending.
struct Changes<T>(Vec<(u64, T)>);

impl<T: Copy> Changes<T> {
    fn of<'a, C: 'a>(
        changes: impl IntoIterator<Item = &'a C>,
        read: impl Fn(&'a C) -> (BlockAccessIndex, T),
    ) -> Self {
        let read = |change| {
            let (index, value) = read(change);
            (index.get(), value)
        };
        Self(changes.into_iter().map(read).collect())
    }

    /// The value after everything up to `index`; `None` if it has not changed by then.
    fn at(&self, index: u64) -> Option<T> {
        let after = self.0.partition_point(|(changed_at, _)| *changed_at <= index);
        after.checked_sub(1).and_then(|last| self.0.get(last)).map(|(_, value)| *value)
    }
}

/// An account with all that the list says of it.
struct Listed {
    /// Before the block.
    former: Option<Account>,
    balances: Changes<U256>,
    nonces: Changes<u64>,
    code_hashes: Changes<B256>,
    /// Values before the block, and their changes.
    slots: U256Map<(U256, Changes<U256>)>,
}

impl Listed {
    fn load(listed: &AccountChanges, parent: &dyn StateView) -> Result<Self, StoreError> {
        let address = listed.address;
        let mut slots = U256Map::default();
        for slot in &listed.storage_changes {
            let former = parent.storage(address, slot.slot)?;
            let changes = Changes::of(&slot.changes, |at| (at.block_access_index, at.new_value));
            slots.insert(slot.slot, (former, changes));
        }
        for slot in &listed.storage_reads {
            slots.insert(*slot, (parent.storage(address, *slot)?, Changes(Vec::new())));
        }
        Ok(Self {
            former: parent.account(address)?,
            balances: Changes::of(&listed.balance_changes, |at| {
                (at.block_access_index, at.post_balance)
            }),
            nonces: Changes::of(&listed.nonce_changes, |at| (at.block_access_index, at.new_nonce)),
            code_hashes: Changes::of(&listed.code_changes, |at| {
                (at.block_access_index, keccak256(&at.new_code))
            }),
            slots,
        })
    }
}

/// An access list, arranged for reading, with the values before the block of everything it names: every
/// position reads them, and the state is asked once.
pub(super) struct Index {
    accounts: AddressMap<Listed>,
    codes: B256Map<Bytes>,
}

impl Index {
    /// Loads what a list names, on all threads of an engine.
    pub(super) fn load(
        list: &Arc<BlockAccessList>,
        parent: &Arc<dyn StateView>,
        engine: &Parallel,
    ) -> Result<Self, StoreError> {
        let load = |list: &BlockAccessList, parent: &dyn StateView, share: usize| -> Loaded {
            let of_share = list.accounts().iter().skip(share * LOADED_AT_ONCE).take(LOADED_AT_ONCE);
            of_share.map(|listed| Ok((listed.address, Listed::load(listed, parent)?))).collect()
        };
        let shares = list.accounts().len().div_ceil(LOADED_AT_ONCE);
        let loaded: Arc<Vec<OnceLock<Loaded>>> =
            Arc::new((0..shares).map(|_| OnceLock::new()).collect());
        let (to, from, state) = (Arc::clone(&loaded), Arc::clone(list), Arc::clone(parent));
        engine.share(
            shares,
            || (),
            move |(), share| {
                // Each share is taken once.
                let _ = to[share].set(load(&from, state.as_ref(), share));
            },
        );
        let mut accounts = AddressMap::default();
        for (share, loaded) in Arc::into_inner(loaded).unwrap_or_default().into_iter().enumerate() {
            // Of a thread that panicked: the same again, where it is seen.
            let loaded = loaded.into_inner();
            accounts.extend(loaded.unwrap_or_else(|| load(list, parent.as_ref(), share))?);
        }
        let codes = list.accounts().iter().flat_map(|listed| &listed.code_changes);
        let codes = codes.map(|change| (keccak256(&change.new_code), change.new_code.clone()));
        Ok(Self { accounts, codes: codes.collect() })
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
        let Some(listed) = self.index.accounts.get(&address) else {
            return self.parent.account(address);
        };
        let mut account = listed.former.unwrap_or_default();
        account.balance = listed.balances.at(self.position).unwrap_or(account.balance);
        account.nonce = listed.nonces.at(self.position).unwrap_or(account.nonce);
        account.code_hash = listed.code_hashes.at(self.position).unwrap_or(account.code_hash);
        // An empty account is none (EIP-161).
        Ok((!account.is_empty()).then_some(account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let listed = self.index.accounts.get(&address).and_then(|account| account.slots.get(&slot));
        match listed {
            Some((former, changes)) => Ok(changes.at(self.position).unwrap_or(*former)),
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
