//! At the frontier: what ran ahead is checked, what does not stand runs again, and all is committed in order.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use alloy_primitives::{Address, B256, Bytes, U256};

use super::{DONE, IDLE, RUNNING, Stretch};
use crate::access::{AccessRecord, AccountAccess};
use crate::evm::parallel::attempt::{Attempt, without_room};
use crate::evm::parallel::cells::Filter;
use crate::evm::parallel::handler::LazyEvm;
use crate::evm::{Body, JobResult, Ran};
use crate::executor::ExecutionError;
use crate::state::{Account, StoreError};

/// Positions that the frontier advances before a thread that found none to run looks again. Waking it for each
/// would cost more than most of them.
const WAKE_EVERY: usize = 16;

/// Runs in vain that a stretch stands before it ends early, besides one in four.
const IN_VAIN_BEFORE_END: usize = 6;

/// What one position accessed: accounts and slots, with their values before and after.
#[derive(Default)]
struct Accessed {
    accounts: BTreeMap<Address, (Option<Account>, Option<Account>)>,
    slots: Vec<((Address, U256), U256, U256)>,
}

/// What was committed.
pub(super) struct Committed {
    pub(super) results: Vec<JobResult>,
    pub(super) gas_used: u64,
    pub(super) access: AccessRecord,
    pub(super) codes: Vec<(B256, Bytes)>,
    /// What each position changed, or said it would and then did not.
    filters: Vec<Filter>,
    /// What the position at the frontier said it would change, and does not.
    taken_back: Filter,
    in_vain: usize,
    pub(super) error: Option<ExecutionError>,
}

impl Committed {
    /// Nothing yet of `count` positions, in a block of which `gas_used` is used up.
    pub(super) fn new(count: usize, gas_used: u64) -> Self {
        Self {
            results: Vec::with_capacity(count),
            gas_used,
            access: AccessRecord::default(),
            codes: Vec::new(),
            filters: Vec::with_capacity(count),
            taken_back: Filter::default(),
            in_vain: 0,
            error: None,
        }
    }
}

impl Stretch {
    /// Commits as far as can be, running what nobody runs. Returns at once if another thread is at it.
    pub(super) fn advance(&self, evm: &mut LazyEvm) {
        let mut committed = match self.committed.try_lock() {
            Ok(committed) => committed,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return,
        };
        loop {
            let at = self.frontier.load(Ordering::Relaxed);
            if at >= self.slots.len() || self.finished.load(Ordering::Acquire) {
                self.finish();
                return;
            }
            let slot = &self.slots[at];
            // In one order with the end of a run ahead: either this sees that it ended, or that sees that the
            // frontier has come to it and wakes somebody.
            let done = match slot.status.load(Ordering::SeqCst) {
                RUNNING => return,
                DONE => self.check(evm, &mut committed, at),
                _ => {
                    let claimed = slot.status.compare_exchange(
                        IDLE,
                        RUNNING,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    if claimed.is_err() {
                        continue;
                    }
                    self.run(evm, at)
                }
            };
            let committed_now =
                done.and_then(|attempt| self.commit(evm, &mut committed, at, attempt));
            if let Err(error) = committed_now {
                committed.error.get_or_insert(error);
                self.finish();
                return;
            }
            self.frontier.store(at + 1, Ordering::SeqCst);
            if at + 1 >= self.slots.len() || committed.in_vain > IN_VAIN_BEFORE_END + (at + 1) / 4 {
                self.finish();
                return;
            }
            if (at + 1).is_multiple_of(WAKE_EVERY) {
                self.happened();
            }
        }
    }

    /// What a position at the frontier comes to that ran ahead: the same if it saw the right things.
    fn check(
        &self,
        evm: &mut LazyEvm,
        committed: &mut Committed,
        at: usize,
    ) -> Result<Attempt, ExecutionError> {
        let slot = &self.slots[at];
        let attempt = slot.attempt.lock().unwrap_or_else(PoisonError::into_inner).take();
        let valid = match &attempt {
            Some(attempt) => attempt.shown && self.stands(attempt, &committed.filters)?,
            None => false,
        };
        if let Some(profile) = &slot.profile {
            profile.ran_ahead(!valid);
        }
        match attempt {
            Some(attempt) if valid => Ok(*attempt),
            attempt => {
                committed.in_vain += 1;
                if let Some(attempt) = attempt {
                    self.retract(&attempt, committed, at);
                }
                self.run(evm, at)
            }
        }
    }

    /// Whether an attempt that ran ahead would do the same at the frontier. Only what positions committed
    /// since it began may have changed is looked up.
    fn stands(&self, attempt: &Attempt, filters: &[Filter]) -> Result<bool, StoreError> {
        let at = filters.len() as u32;
        let mut changed = Filter::default();
        for filter in filters.get(attempt.begun_at..).unwrap_or(filters) {
            changed.join(filter);
        }
        let look_at_all = self.cells.any_wipe();
        for seen in &attempt.seen.accounts {
            if (look_at_all || changed.may_contain(self.cells.account_hash(&seen.address)))
                && !seen.holds(self.account(seen.address, at)?)
            {
                return Ok(false);
            }
        }
        for seen in &attempt.seen.slots {
            if (look_at_all || changed.may_contain(self.cells.slot_hash(&seen.address, &seen.slot)))
                && !seen.holds(self.slot(seen.address, seen.slot, at)?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes back what a position showed the later ones. Those that saw it saw what never was.
    fn retract(&self, attempt: &Attempt, committed: &mut Committed, at: usize) {
        for (address, _) in &attempt.changes.accounts {
            self.cells.retract_account(*address, at as u32);
            committed.taken_back.insert(self.cells.account_hash(address));
        }
        for (key, _) in &attempt.changes.slots {
            self.cells.retract_slot(*key, at as u32);
            committed.taken_back.insert(self.cells.slot_hash(&key.0, &key.1));
        }
    }

    fn commit(
        &self,
        evm: &mut LazyEvm,
        committed: &mut Committed,
        at: usize,
        mut attempt: Attempt,
    ) -> Result<(), ExecutionError> {
        let facts = &self.rules.facts;
        if let (Body::Run(tx), Ran::Executed { .. } | Ran::Skipped(_)) =
            (&self.job(at).body, &attempt.result.ran)
        {
            // Only here it is known how much gas the positions before it used.
            if tx.gas_limit > facts.gas_limit.saturating_sub(committed.gas_used) {
                self.retract(&attempt, committed, at);
                let (params, job) = (&self.rules.params, self.job(at));
                attempt = without_room(evm, params, facts.beneficiary, job, at as u32)?;
            }
        }
        let Attempt { seen, changes, result, .. } = attempt;
        committed.gas_used = committed.gas_used.saturating_add(result.ran.gas_used());
        let position = at as u32;
        for (hash, code) in &changes.codes {
            self.create(*hash, code)?;
        }
        let mut accessed = Accessed::default();
        let mut filter = std::mem::take(&mut committed.taken_back);
        for (address, entry) in &changes.accounts {
            filter.insert(self.cells.account_hash(address));
            let change = self.cells.commit_account(self, *address, position, *entry)?;
            if self.records_access {
                let at = accessed.accounts.entry(*address).or_insert((change.before, change.after));
                at.1 = change.after;
            }
        }
        for (key, entry) in &changes.slots {
            filter.insert(self.cells.slot_hash(&key.0, &key.1));
            let change = self.cells.commit_slot(self, *key, position, *entry)?;
            if self.records_access {
                accessed.slots.push((*key, change.before, change.after));
            }
        }
        committed.filters.push(filter);
        committed.codes.extend(changes.codes);
        if self.records_access {
            for seen in &seen.accounts {
                accessed.accounts.entry(seen.address).or_default();
            }
            let keys = seen.slots.iter().map(|seen| (seen.address, seen.slot));
            let read = keys.chain(changes.noted).map(|key| (key, U256::ZERO, U256::ZERO));
            accessed.slots.extend(read);
            committed.access.positions.push(self.access(accessed)?);
            committed.access.codes.extend(seen.codes);
            committed.access.block_hashes.extend(seen.block_hashes);
        }
        committed.results.push(result);
        Ok(())
    }

    /// What one position accessed, in the order of addresses.
    fn access(&self, accessed: Accessed) -> Result<Vec<AccountAccess>, StoreError> {
        let mut by_address = BTreeMap::new();
        for (address, (before, after)) in accessed.accounts {
            let code = |hash| Ok(self.code(hash)?.original_bytes());
            by_address.insert(address, AccountAccess::between(address, before, after, code)?);
        }
        for ((address, slot), before, after) in accessed.slots {
            let access = by_address.entry(address).or_insert_with(|| AccountAccess::of(address));
            access.slot(slot, before, after);
        }
        Ok(by_address.into_values().map(AccountAccess::sorted).collect())
    }
}
