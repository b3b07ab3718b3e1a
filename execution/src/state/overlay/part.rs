//! Accounts as a block has left them, in parts that threads can take one by one.

use std::collections::BTreeMap;

use alloy_primitives::map::{AddressMap, U256Map, hash_map::Entry as At};
use alloy_primitives::{Address, U256};

use crate::state::account::Account;
use crate::state::diff::AccountDiff;
use crate::state::store::StoreError;
use crate::state::view::StateView;

/// Parts of an overlay: enough to spread the work of many threads, few enough to cost nothing.
pub(crate) const PARTS: usize = 16;

/// The part that an account belongs to. Bytes from all over the address, for some are numbered rather than hashed.
pub(crate) const fn part_of(address: &Address) -> usize {
    let bytes = address.0.0;
    (bytes[0] ^ bytes[10] ^ bytes[19]) as usize % PARTS
}

/// What changed in a part, by address.
pub(crate) type Changes = Vec<(Address, AccountDiff)>;

/// An account as the block has left it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Before the block.
    pub(super) former: Option<Account>,
    /// `None`: not part of the state.
    pub(super) now: Option<Account>,
    /// The former storage is gone: the account was created or destroyed in this block.
    pub(super) wiped: bool,
    pub(super) slots: U256Map<Slot>,
    /// The last position that accessed it.
    pub(super) seen: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) former: U256,
    pub(super) now: U256,
    pub(super) seen: u32,
}

/// The accounts of one part.
#[derive(Default)]
pub(crate) struct Part(pub(super) AddressMap<Entry>);

impl Part {
    /// Takes over an account from an execution on top of the overlay: what it was there, what it is now, and
    /// whether its storage was lost on the way.
    pub(crate) fn put_account(
        &mut self,
        address: Address,
        base: Option<Account>,
        now: Option<Account>,
        wiped: bool,
    ) {
        let entry = self.0.entry(address).or_insert_with(|| Entry::of(base));
        entry.now = now;
        if wiped {
            entry.wiped = true;
            entry.slots.clear();
        }
    }

    /// Takes over a slot, as [`Self::put_account`]. Its account is taken over first; `view` is asked for one that
    /// did not change.
    pub(crate) fn put_slot(
        &mut self,
        view: &dyn StateView,
        (address, slot): (Address, U256),
        base: U256,
        now: U256,
    ) -> Result<(), StoreError> {
        let entry = match self.0.entry(address) {
            At::Occupied(at) => at.into_mut(),
            At::Vacant(at) => at.insert(Entry::of(view.account(address)?)),
        };
        entry.slots.entry(slot).or_insert(Slot { former: base, now, seen: 0 }).now = now;
        Ok(())
    }

    /// What changed, in the order of addresses.
    pub(crate) fn into_changes(self) -> Changes {
        let changed = |(address, entry): (_, Entry)| Some((address, entry.into_diff()?));
        let mut changes: Changes = self.0.into_iter().filter_map(changed).collect();
        changes.sort_unstable_by_key(|(address, _)| *address);
        changes
    }
}

impl Entry {
    pub(super) fn of(former: Option<Account>) -> Self {
        Self { former, now: former, wiped: false, slots: U256Map::default(), seen: 0 }
    }

    pub(super) fn leave(&mut self) {
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
