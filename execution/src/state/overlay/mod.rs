//! What a block has changed so far, over the state before it.

mod part;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use alloy_primitives::map::{B256Map, hash_map::Entry as At};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use revm::primitives::hardfork::SpecId;

pub(crate) use self::part::{Changes, PARTS, Part, part_of};
use self::part::{Entry, Slot};

use super::account::Account;
use super::diff::StateDiff;
use super::store::StoreError;
use super::view::StateView;
use crate::access::{AccessRecord, AccountAccess};

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
    /// By [`part_of`].
    parts: [Part; PARTS],
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
            parts: Default::default(),
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

    fn get(&self, address: &Address) -> Option<&Entry> {
        self.parts[part_of(address)].0.get(address)
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, StoreError> {
        let entry = match self.parts[part_of(&address)].0.entry(address) {
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
        let entry = match self.parts[part_of(&address)].0.entry(address) {
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
            let now = self.get(&address).and_then(|entry| entry.now);
            let access = self.account_access(address, before, now)?;
            accessed.insert(address, access);
        }
        for (address, slot, before) in slots {
            let entry = self.get(&address).ok_or_else(lost)?;
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
        match self.get(&address) {
            Some(entry) => Ok(entry.now),
            None => self.view.account(address),
        }
    }

    /// The slot, without keeping what had to be read.
    pub(crate) fn peek_slot(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(entry) = self.get(&address) {
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

    /// All accounts, to be changed by an execution on top of this overlay, and the state below. Until they are
    /// given back with [`Self::put_parts`], the overlay is as before the block.
    pub(crate) fn take_parts(&mut self) -> ([Part; PARTS], Arc<dyn StateView>) {
        (std::mem::take(&mut self.parts), Arc::clone(&self.view))
    }

    /// Gives back what was taken.
    pub(crate) fn put_parts(&mut self, parts: [Part; PARTS]) {
        self.parts = parts;
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

    /// Accounts that were read or changed.
    pub(crate) fn accounts(&self) -> usize {
        self.parts.iter().map(|part| part.0.len()).sum()
    }

    /// What changed, and the record of accesses if one was kept.
    pub(crate) fn finish(self) -> (StateDiff, Option<AccessRecord>) {
        let changes = |parts: [Part; PARTS]| Ok(parts.map(Part::into_changes));
        let Ok(finished) = self.finish_by::<Infallible>(changes);
        finished
    }

    /// As [`Self::finish`]; `changes` finds out what changed in each part.
    pub(crate) fn finish_by<E>(
        self,
        changes: impl FnOnce([Part; PARTS]) -> Result<[Changes; PARTS], E>,
    ) -> Result<(StateDiff, Option<AccessRecord>), E> {
        let diff = StateDiff {
            accounts: changes(self.parts)?.into_iter().flatten().collect(),
            codes: self.codes.into_iter().collect(),
        };
        Ok((diff, self.access))
    }
}

/// An entry that was just made is not there.
const fn lost() -> StoreError {
    StoreError::damaged(super::store::Column::Accounts, "overlay entry lost")
}
