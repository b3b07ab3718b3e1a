//! What a block has changed so far, over the state before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::map::{AddressMap, B256Map, U256Map, hash_map::Entry as At};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use revm::primitives::hardfork::SpecId;

use super::account::Account;
use super::diff::{AccountDiff, StateDiff};
use super::store::StoreError;
use super::view::StateView;
use crate::access::{AccessRecord, AccountAccess};

/// An account as the block has left it.
#[derive(Clone, Debug)]
struct Entry {
    /// Before the block.
    former: Option<Account>,
    /// `None`: not part of the state.
    now: Option<Account>,
    /// The former storage is gone: the account was created or destroyed in this block.
    wiped: bool,
    slots: U256Map<Slot>,
    /// The last position that accessed it; see [`Overlay::begin`].
    seen: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    former: U256,
    now: U256,
    seen: u32,
}

/// What a position first saw of what it accessed.
#[derive(Default)]
struct Seen {
    accounts: Vec<(Address, Option<Account>)>,
    slots: Vec<(Address, U256, U256)>,
}

/// The changes of one block over the state before it. Reads fall through; what was read once is kept.
pub(crate) struct Overlay {
    view: Arc<dyn StateView>,
    /// Before EIP-161 an account could be empty and yet be part of the state.
    keep_empty: bool,
    accounts: AddressMap<Entry>,
    codes: B256Map<Bytes>,
    /// Number of the position being executed, from 1; 0 before the first.
    position: u32,
    seen: Seen,
    access: Option<AccessRecord>,
}

impl Overlay {
    pub(crate) fn new(view: Arc<dyn StateView>) -> Self {
        Self {
            view,
            keep_empty: false,
            accounts: AddressMap::default(),
            codes: B256Map::default(),
            position: 0,
            seen: Seen::default(),
            access: None,
        }
    }

    /// Before EIP-161, keeps empty accounts in the state.
    pub(crate) fn follow(&mut self, spec: SpecId) {
        self.keep_empty = !spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
    }

    /// Has every position's reads and changes recorded.
    pub(crate) fn record_access(&mut self) {
        self.access = Some(AccessRecord::default());
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, StoreError> {
        let entry = match self.accounts.entry(address) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => at.insert(Entry::of(self.view.account(address)?)),
        };
        if self.access.is_some() && entry.seen != self.position {
            entry.seen = self.position;
            self.seen.accounts.push((address, entry.now));
        }
        Ok(entry)
    }

    fn slot(&mut self, address: Address, slot: U256) -> Result<&mut Slot, StoreError> {
        let recorded = self.access.is_some();
        let entry = match self.accounts.entry(address) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => at.insert(Entry::of(self.view.account(address)?)),
        };
        if recorded && entry.seen != self.position {
            entry.seen = self.position;
            self.seen.accounts.push((address, entry.now));
        }
        let at = match entry.slots.entry(slot) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => {
                let value = match entry.wiped {
                    true => U256::ZERO,
                    false => self.view.storage(address, slot)?,
                };
                at.insert(Slot { former: value, now: value, seen: 0 })
            }
        };
        if recorded && at.seen != self.position {
            at.seen = self.position;
            self.seen.slots.push((address, slot, at.now));
        }
        Ok(at)
    }

    pub(crate) fn account(&mut self, address: Address) -> Result<Option<Account>, StoreError> {
        Ok(self.entry(address)?.now)
    }

    pub(crate) fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        Ok(self.slot(address, slot)?.now)
    }

    pub(crate) fn code(&mut self, code_hash: B256) -> Result<Bytes, StoreError> {
        if let Some(access) = &mut self.access {
            access.codes.insert(code_hash);
        }
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.view.code(code_hash),
        }
    }

    pub(crate) fn block_hash(&mut self, height: u64) -> Result<Option<B256>, StoreError> {
        if let Some(access) = &mut self.access {
            access.block_hashes.insert(height);
        }
        self.view.block_hash(height)
    }

    /// Notes that a code was read from a cache.
    pub(crate) fn note_code(&mut self, code_hash: B256) {
        if let Some(access) = &mut self.access {
            access.codes.insert(code_hash);
        }
    }

    /// Sets an account; an empty one leaves the state (EIP-161) and takes its storage with it.
    pub(crate) fn set_account(
        &mut self,
        address: Address,
        account: Account,
    ) -> Result<(), StoreError> {
        let gone = account.is_empty() && !self.keep_empty;
        let entry = self.entry(address)?;
        if gone {
            entry.leave();
        } else {
            entry.now = Some(account);
        }
        Ok(())
    }

    /// Takes an account and its storage out of the state.
    pub(crate) fn destroy(&mut self, address: Address) -> Result<(), StoreError> {
        self.entry(address)?.leave();
        Ok(())
    }

    /// Forgets the storage of an account that is being created.
    pub(crate) fn clear_storage(&mut self, address: Address) -> Result<(), StoreError> {
        let entry = self.entry(address)?;
        entry.wiped = true;
        entry.slots.clear();
        Ok(())
    }

    /// Notes that a slot was accessed.
    pub(crate) fn note_slot(&mut self, address: Address, slot: U256) -> Result<(), StoreError> {
        if self.access.is_some() {
            self.slot(address, slot)?;
        }
        Ok(())
    }

    pub(crate) fn set_storage(
        &mut self,
        address: Address,
        slot: U256,
        value: U256,
    ) -> Result<(), StoreError> {
        self.slot(address, slot)?.now = value;
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

    /// Begins the next position: what was accessed so far counts as accessed by the one before.
    pub(crate) const fn begin(&mut self) {
        self.position = self.position.saturating_add(1);
    }

    /// Ends a position: what it accessed enters the record.
    pub(crate) fn end(&mut self) -> Result<(), StoreError> {
        if self.access.is_none() {
            return Ok(());
        }
        let Seen { accounts, slots } = std::mem::take(&mut self.seen);
        let mut accessed: BTreeMap<Address, AccountAccess> = BTreeMap::new();
        for (address, before) in accounts {
            let now = self.accounts.get(&address).and_then(|entry| entry.now);
            let access = self.account_access(address, before, now)?;
            accessed.insert(address, access);
        }
        for (address, slot, before) in slots {
            let entry = self.accounts.get(&address).ok_or_else(lost)?;
            // What goes with its account was not written.
            let now = entry.slots.get(&slot).map_or(before, |slot| slot.now);
            let access = accessed.entry(address).or_insert_with(|| AccountAccess::of(address));
            access.slot(slot, before, now);
        }
        if let Some(record) = &mut self.access {
            record.positions.push(accessed.into_values().map(AccountAccess::sorted).collect());
        }
        Ok(())
    }

    fn account_access(
        &self,
        address: Address,
        before: Option<Account>,
        now: Option<Account>,
    ) -> Result<AccountAccess, StoreError> {
        let code = |hash| match self.codes.get(&hash) {
            Some(code) => Ok(code.clone()),
            None => self.view.code(hash),
        };
        AccountAccess::between(address, before, now, code)
    }

    /// Whether accesses are recorded.
    pub(crate) const fn records_access(&self) -> bool {
        self.access.is_some()
    }

    pub(crate) const fn keeps_empty(&self) -> bool {
        self.keep_empty
    }

    /// The account, without keeping what had to be read.
    pub(crate) fn peek_account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        match self.accounts.get(&address) {
            Some(entry) => Ok(entry.now),
            None => self.view.account(address),
        }
    }

    /// The slot, without keeping what had to be read.
    pub(crate) fn peek_slot(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(entry) = self.accounts.get(&address) {
            if let Some(slot) = entry.slots.get(&slot) {
                return Ok(slot.now);
            }
            if entry.wiped {
                return Ok(U256::ZERO);
            }
        }
        self.view.storage(address, slot)
    }

    /// The code, without noting that it was read.
    pub(crate) fn peek_code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        match self.codes.get(&code_hash) {
            Some(code) => Ok(code.clone()),
            None => self.view.code(code_hash),
        }
    }

    /// The block hash, without noting that it was read.
    pub(crate) fn peek_block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        self.view.block_hash(height)
    }

    /// Takes over an account from an execution on top of this overlay: what it was here, what it is now, and
    /// whether its storage was lost on the way.
    pub(crate) fn put_account(
        &mut self,
        address: Address,
        base: Option<Account>,
        now: Option<Account>,
        wiped: bool,
    ) {
        let entry = self.accounts.entry(address).or_insert_with(|| Entry::of(base));
        entry.now = now;
        if wiped {
            entry.wiped = true;
            entry.slots.clear();
        }
    }

    /// Takes over a slot, as [`Self::put_account`]. Its account is taken over first.
    pub(crate) fn put_slot(
        &mut self,
        address: Address,
        slot: U256,
        base: U256,
        now: U256,
    ) -> Result<(), StoreError> {
        let entry = match self.accounts.entry(address) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => at.insert(Entry::of(self.view.account(address)?)),
        };
        entry.slots.entry(slot).or_insert(Slot { former: base, now, seen: 0 }).now = now;
        Ok(())
    }

    /// Takes over code that was created on top of this overlay.
    pub(crate) fn put_code(&mut self, code_hash: B256, code: Bytes) {
        self.codes.insert(code_hash, code);
    }

    /// Takes over what positions on top of this overlay accessed.
    pub(crate) fn put_access(&mut self, more: AccessRecord) {
        if let Some(record) = &mut self.access {
            record.positions.extend(more.positions);
            record.codes.extend(more.codes);
            record.block_hashes.extend(more.block_hashes);
        }
    }

    /// What changed, and the record of accesses if one was kept.
    pub(crate) fn finish(self) -> (StateDiff, Option<AccessRecord>) {
        let mut diff =
            StateDiff { codes: self.codes.into_iter().collect(), ..StateDiff::default() };
        for (address, entry) in self.accounts {
            if let Some(changed) = entry.into_diff() {
                diff.accounts.insert(address, changed);
            }
        }
        (diff, self.access)
    }
}

impl Entry {
    fn of(former: Option<Account>) -> Self {
        Self { former, now: former, wiped: false, slots: U256Map::default(), seen: 0 }
    }

    fn leave(&mut self) {
        self.now = None;
        self.wiped = true;
        self.slots.clear();
    }

    fn into_diff(self) -> Option<AccountDiff> {
        // Storage of an account that was not there cannot be lost.
        let wiped = self.wiped && self.former.is_some();
        let storage: BTreeMap<U256, U256> = match (self.now, self.wiped) {
            (None, _) => BTreeMap::new(),
            (Some(_), true) => self
                .slots
                .into_iter()
                .filter(|(_, slot)| !slot.now.is_zero())
                .map(|(key, slot)| (key, slot.now))
                .collect(),
            (Some(_), false) => self
                .slots
                .into_iter()
                .filter(|(_, slot)| slot.now != slot.former)
                .map(|(key, slot)| (key, slot.now))
                .collect(),
        };
        let changed = self.now != self.former || wiped || !storage.is_empty();
        changed.then_some(AccountDiff { account: self.now, wiped, storage })
    }
}

/// An entry that was just made is not there.
const fn lost() -> StoreError {
    StoreError::damaged(super::store::Column::Accounts, "overlay entry lost")
}
