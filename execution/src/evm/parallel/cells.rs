//! Multi-version memory: for every location what the committed positions left in it, and what positions
//! beyond the commit frontier would write.
//!
//! A location is found by its whole key, never by a hash of it alone: two slots whose hashes collide are two
//! cells. The hash is keyed at random in every process, so nobody can choose slots that fall into one shard.
//!
//! Balances, and slots of the escrow, are changed by **deltas** where whoever changes them does not look at
//! them. Deltas of different positions commute, so a common recipient, the beneficiary or a common payer
//! makes no two positions depend on each other.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::map::{AddressMap, DefaultHashBuilder};
use alloy_primitives::{Address, B256, U256};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use crate::state::{Account, PARTS, Part, StateView, StoreError, part_of};

/// Number of separately locked parts; a power of two.
const SHARDS: usize = 64;

/// An amount to add or to take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delta {
    negative: bool,
    amount: U256,
}

impl Delta {
    pub(super) const fn plus(amount: U256) -> Self {
        Self { negative: false, amount }
    }

    /// What leads from one amount to another.
    pub(super) fn between(from: U256, to: U256) -> Self {
        if to >= from {
            Self { negative: false, amount: to - from }
        } else {
            Self { negative: true, amount: from - to }
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self.negative, other.negative) {
            (false, false) | (true, true) => {
                Self { amount: self.amount.saturating_add(other.amount), ..self }
            }
            (false, true) => Self::between(other.amount, self.amount),
            (true, false) => Self::between(self.amount, other.amount),
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    fn apply(self, to: U256) -> U256 {
        match self.negative {
            true => to.saturating_sub(self.amount),
            false => to.saturating_add(self.amount),
        }
    }
}

/// What a position does to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountEntry {
    /// Takes it out of the state, with its storage.
    Destroy,
    Update {
        nonce: Option<u64>,
        code_hash: Option<B256>,
        balance: Delta,
        /// Its former storage is gone: it is created anew.
        wipe: bool,
    },
}

impl AccountEntry {
    fn apply(&self, account: Option<Account>, keep_empty: bool) -> Option<Account> {
        match self {
            Self::Destroy => None,
            Self::Update { nonce, code_hash, balance, .. } => {
                let mut account = account.unwrap_or_default();
                account.nonce = nonce.unwrap_or(account.nonce);
                account.code_hash = code_hash.unwrap_or(account.code_hash);
                account.balance = balance.apply(account.balance);
                (keep_empty || !account.is_empty()).then_some(account)
            }
        }
    }
}

/// What a position does to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotEntry {
    Set(U256),
    Add(Delta),
}

impl SlotEntry {
    fn apply(&self, value: U256) -> U256 {
        match self {
            Self::Set(value) => *value,
            Self::Add(delta) => delta.apply(value),
        }
    }
}

/// What positions ahead of the frontier would do to a location: hardly ever more than one of them.
type Versions<T> = SmallVec<[(u32, T); 1]>;

struct AccountCell {
    address: Address,
    /// Before the stretch.
    base: Option<Account>,
    committed: Option<Account>,
    /// How often the storage was wiped by committed positions.
    wipes: u32,
    dirty: bool,
    /// By position, ascending; several of one position in the order they apply.
    versions: Versions<AccountEntry>,
}

struct SlotCell {
    address: Address,
    slot: U256,
    /// Before the stretch.
    base: U256,
    committed: U256,
    /// The account's number of wipes when `committed` was set.
    wipes: u32,
    dirty: bool,
    versions: Versions<SlotEntry>,
}

struct Shard {
    accounts: HashTable<AccountCell>,
    slots: HashTable<SlotCell>,
}

/// A shard in cache lines of its own: taking its lock disturbs nobody who is at another.
#[repr(align(128))]
struct Locked(Mutex<Shard>);

/// Hashes in words rather than in bytes, which takes a third of the time.
fn write_address(hasher: &mut impl Hasher, address: &Address) {
    let (words, rest) = address.as_slice().as_chunks::<8>();
    for word in words {
        hasher.write_u64(u64::from_le_bytes(*word));
    }
    let (last, _) = rest.as_chunks::<4>();
    for word in last {
        hasher.write_u32(u32::from_le_bytes(*word));
    }
}

/// A set of locations, as bits of their hashes: what is not in it for certain may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter([u64; 16]);

impl Filter {
    pub(super) const fn insert(&mut self, hash: u64) {
        let bit = (hash >> 20) % 1024;
        self.0[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    pub(super) const fn may_contain(&self, hash: u64) -> bool {
        let bit = (hash >> 20) % 1024;
        self.0[(bit / 64) as usize] & (1 << (bit % 64)) != 0
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }
}

/// What a commit changed in one location.
pub(super) struct Change<T> {
    pub(super) before: T,
    pub(super) after: T,
}

/// The multi-version memory of one stretch of a block, over what came before the stretch.
pub(super) struct Cells {
    hasher: DefaultHashBuilder,
    shards: Vec<Locked>,
    keep_empty: bool,
    /// Whether any committed position wiped the storage of an account. Hardly ever.
    any_wipe: AtomicBool,
}

/// Where a location's value comes from while it has no cell yet.
pub(super) trait Base {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError>;
    fn slot(&self, address: Address, slot: U256) -> Result<U256, StoreError>;
}

impl Cells {
    /// A memory with room for so many cells of accounts and of slots: growing a table moves all that is in it.
    pub(super) fn new(keep_empty: bool, (accounts, slots): (usize, usize)) -> Self {
        // Locations do not spread quite evenly.
        let room = |cells: usize| (cells + cells / 4) / SHARDS;
        let shard = || Shard {
            accounts: HashTable::with_capacity(room(accounts)),
            slots: HashTable::with_capacity(room(slots)),
        };
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: (0..SHARDS).map(|_| Locked(Mutex::new(shard()))).collect(),
            keep_empty,
            any_wipe: AtomicBool::new(false),
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table uses the low and the top bits of the hash: take others.
        let at = (hash >> 40) as usize % SHARDS;
        self.shards[at].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash under which an account is found.
    pub(super) fn account_hash(&self, address: &Address) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        write_address(&mut hasher, address);
        hasher.finish()
    }

    /// The hash under which a slot is found.
    pub(super) fn slot_hash(&self, address: &Address, slot: &U256) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        write_address(&mut hasher, address);
        for limb in slot.as_limbs() {
            hasher.write_u64(*limb);
        }
        hasher.finish()
    }

    /// Whether any committed position wiped the storage of an account, which changes slots without naming them.
    pub(super) fn any_wipe(&self) -> bool {
        self.any_wipe.load(Ordering::Acquire)
    }

    /// Runs `look` on the cell of an account, making it first if need be.
    fn with_account<T>(
        &self,
        base: &impl Base,
        address: Address,
        look: impl FnOnce(&mut AccountCell) -> T,
    ) -> Result<T, StoreError> {
        let hash = self.account_hash(&address);
        if let Some(cell) = self.shard(hash).accounts.find_mut(hash, |cell| cell.address == address)
        {
            return Ok(look(cell));
        }
        // Reading may take long: not under the lock. Whoever comes first makes the cell.
        let committed = base.account(address)?;
        let mut shard = self.shard(hash);
        let rehash = |cell: &AccountCell| self.account_hash(&cell.address);
        let cell = match shard.accounts.entry(hash, |cell| cell.address == address, rehash) {
            Entry::Occupied(at) => at.into_mut(),
            Entry::Vacant(at) => at
                .insert(AccountCell {
                    address,
                    base: committed,
                    committed,
                    wipes: 0,
                    dirty: false,
                    versions: Versions::new(),
                })
                .into_mut(),
        };
        Ok(look(cell))
    }

    /// As [`Self::with_account`], for a slot; `look` also gets the account's number of wipes.
    fn with_slot<T>(
        &self,
        base: &impl Base,
        address: Address,
        slot: U256,
        look: impl FnOnce(&mut SlotCell) -> T,
    ) -> Result<T, StoreError> {
        let wipes = match self.any_wipe.load(Ordering::Acquire) {
            true => self.with_account(base, address, |cell| cell.wipes)?,
            false => 0,
        };
        let hash = self.slot_hash(&address, &slot);
        let is = |cell: &SlotCell| cell.slot == slot && cell.address == address;
        let renewed = |cell: &mut SlotCell| {
            if cell.wipes < wipes {
                cell.wipes = wipes;
                cell.committed = U256::ZERO;
            }
        };
        if let Some(cell) = self.shard(hash).slots.find_mut(hash, is) {
            renewed(cell);
            return Ok(look(cell));
        }
        let committed = match wipes {
            0 => base.slot(address, slot)?,
            _ => U256::ZERO,
        };
        let mut shard = self.shard(hash);
        let rehash = |cell: &SlotCell| self.slot_hash(&cell.address, &cell.slot);
        let cell = match shard.slots.entry(hash, is, rehash) {
            Entry::Occupied(at) => at.into_mut(),
            Entry::Vacant(at) => at
                .insert(SlotCell {
                    address,
                    slot,
                    base: committed,
                    committed,
                    wipes,
                    dirty: false,
                    versions: Versions::new(),
                })
                .into_mut(),
        };
        renewed(cell);
        Ok(look(cell))
    }

    /// The account as position `before` sees it.
    pub(super) fn account(
        &self,
        base: &impl Base,
        address: Address,
        before: u32,
    ) -> Result<Option<Account>, StoreError> {
        self.with_account(base, address, |cell| {
            let versions = cell.versions.iter().take_while(|(position, _)| *position < before);
            versions
                .fold(cell.committed, |account, (_, entry)| entry.apply(account, self.keep_empty))
        })
    }

    /// The slot as position `before` sees it.
    pub(super) fn slot(
        &self,
        base: &impl Base,
        address: Address,
        slot: U256,
        before: u32,
    ) -> Result<U256, StoreError> {
        self.with_slot(base, address, slot, |cell| {
            let versions = cell.versions.iter().take_while(|(position, _)| *position < before);
            versions.fold(cell.committed, |value, (_, entry)| entry.apply(value))
        })
    }

    /// Shows the later positions what position `at` would do to an account.
    pub(super) fn publish_account(
        &self,
        base: &impl Base,
        address: Address,
        at: u32,
        entry: AccountEntry,
    ) -> Result<(), StoreError> {
        self.with_account(base, address, |cell| {
            let after = cell.versions.partition_point(|(position, _)| *position <= at);
            cell.versions.insert(after, (at, entry));
        })
    }

    /// As [`Self::publish_account`], for a slot.
    pub(super) fn publish_slot(
        &self,
        base: &impl Base,
        (address, slot): (Address, U256),
        at: u32,
        entry: SlotEntry,
    ) -> Result<(), StoreError> {
        self.with_slot(base, address, slot, |cell| {
            let after = cell.versions.partition_point(|(position, _)| *position <= at);
            cell.versions.insert(after, (at, entry));
        })
    }

    /// Takes back what position `at` would have done to an account.
    pub(super) fn retract_account(&self, address: Address, at: u32) {
        let hash = self.account_hash(&address);
        if let Some(cell) = self.shard(hash).accounts.find_mut(hash, |cell| cell.address == address)
        {
            cell.versions.retain(|(position, _)| *position != at);
        }
    }

    /// Takes back what position `at` would have done to a slot.
    pub(super) fn retract_slot(&self, (address, slot): (Address, U256), at: u32) {
        let hash = self.slot_hash(&address, &slot);
        let is = |cell: &SlotCell| cell.slot == slot && cell.address == address;
        if let Some(cell) = self.shard(hash).slots.find_mut(hash, is) {
            cell.versions.retain(|(position, _)| *position != at);
        }
    }

    /// Makes what position `at` does to an account final. Positions commit in order.
    pub(super) fn commit_account(
        &self,
        base: &impl Base,
        address: Address,
        at: u32,
        entry: AccountEntry,
    ) -> Result<Change<Option<Account>>, StoreError> {
        self.with_account(base, address, |cell| {
            cell.versions.retain(|(position, _)| *position != at);
            let before = cell.committed;
            let after = entry.apply(before, self.keep_empty);
            let wipe =
                matches!(entry, AccountEntry::Destroy | AccountEntry::Update { wipe: true, .. });
            if wipe || (before.is_some() && after.is_none()) {
                cell.wipes += 1;
                self.any_wipe.store(true, Ordering::Release);
            }
            cell.committed = after;
            cell.dirty = true;
            Change { before, after }
        })
    }

    /// As [`Self::commit_account`], for a slot.
    pub(super) fn commit_slot(
        &self,
        base: &impl Base,
        (address, slot): (Address, U256),
        at: u32,
        entry: SlotEntry,
    ) -> Result<Change<U256>, StoreError> {
        self.with_slot(base, address, slot, |cell| {
            cell.versions.retain(|(position, _)| *position != at);
            let before = cell.committed;
            cell.committed = entry.apply(before);
            cell.dirty = true;
            Change { before, after: cell.committed }
        })
    }

    /// What is left when nobody uses the memory any more.
    pub(super) fn settled(self) -> Settled {
        let shard = |at: Locked| at.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Settled { shards: self.shards.into_iter().map(shard).collect() }
    }
}

/// A multi-version memory after its stretch: it does not change any more.
pub(super) struct Settled {
    shards: Vec<Shard>,
}

impl Settled {
    /// Cells of accounts and of slots.
    pub(super) fn count(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(accounts, slots), shard| {
            (accounts + shard.accounts.len(), slots + shard.slots.len())
        })
    }

    /// Puts what was committed into those parts of the overlay that are given, by number. `view` is the state
    /// below the overlay.
    pub(super) fn drain(
        &self,
        view: &dyn StateView,
        parts: &mut [Option<MutexGuard<'_, Part>>; PARTS],
    ) -> Result<(), StoreError> {
        let mut wiped: AddressMap<u32> = AddressMap::default();
        for cell in self.shards.iter().flat_map(|shard| &shard.accounts).filter(|cell| cell.dirty) {
            let Some(part) = &mut parts[part_of(&cell.address)] else { continue };
            part.put_account(cell.address, cell.base, cell.committed, cell.wipes > 0);
            if cell.wipes > 0 {
                wiped.insert(cell.address, cell.wipes);
            }
        }
        for cell in self.shards.iter().flat_map(|shard| &shard.slots).filter(|cell| cell.dirty) {
            let Some(part) = &mut parts[part_of(&cell.address)] else { continue };
            // What was written before the last wipe is gone.
            let wipes = match wiped.is_empty() {
                true => 0,
                false => wiped.get(&cell.address).copied().unwrap_or(0),
            };
            if cell.wipes == wipes {
                part.put_slot(view, (cell.address, cell.slot), cell.base, cell.committed)?;
            }
        }
        Ok(())
    }
}
