//! A stretch of positions that run in parallel.
//!
//! Positions **commit** in order, at the frontier. All threads do the same: commit what can be committed;
//! run the position at the frontier if nobody does; otherwise run one ahead of it on what the multi-version
//! memory shows; park if there is none. A position that ran ahead is checked when the frontier reaches it: it
//! stands if all that it saw is still what it would see, and else it runs again, now on the final state
//! before it. So every position runs at most twice, the frontier never waits for a run in vain longer than
//! that run takes, and what is committed is what running in order would have given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use alloy_primitives::map::{AddressMap, B256Map};
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::Bytecode;

use blindfold_wire::ChainParams;

use super::attempt::{Attempt, attempt, without_room};
use super::cells::{Base, Cells, Filter};
use super::clock::Stopwatch;
use super::handler::{LazyEvm, watch_balances};
use super::pool::Task;
use super::profile::{Profile, Profiles, sender};
use super::view::View;
use crate::access::{AccessRecord, AccountAccess};
use crate::evm::database::analysed;
use crate::evm::{BlockFacts, Body, CodeCache, Job, JobResult, Ran, build};
use crate::executor::ExecutionError;
use crate::state::{Account, Overlay, StoreError};

/// Positions ahead of the frontier that may run, for each thread.
const WINDOW_PER_THREAD: usize = 32;

/// Positions that the frontier advances before a thread that found none to run looks again. Waking it for each
/// would cost more than most of them.
const WAKE_EVERY: usize = 16;

/// Looks around so often before a thread that has nothing to do sleeps.
const LOOKS_BEFORE_SLEEP: usize = 64;

/// Runs in vain that a stretch stands before it ends early, besides one in four.
const IN_VAIN_BEFORE_END: usize = 6;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// One position of a stretch.
struct Slot {
    status: AtomicU8,
    /// Failed ahead; left to the frontier.
    at_frontier_only: AtomicBool,
    attempt: Mutex<Option<Box<Attempt>>>,
    profile: Option<Arc<Profile>>,
    /// The position before it of the same sender.
    after: Option<u32>,
}

/// What one position accessed: accounts and slots, with their values before and after.
#[derive(Default)]
struct Accessed {
    accounts: BTreeMap<Address, (Option<Account>, Option<Account>)>,
    slots: Vec<((Address, U256), U256, U256)>,
}

/// What was committed.
struct Committed {
    results: Vec<JobResult>,
    gas_used: u64,
    access: AccessRecord,
    codes: Vec<(B256, Bytes)>,
    /// What each position changed, or said it would and then did not.
    filters: Vec<Filter>,
    /// What the position at the frontier said it would change, and does not.
    taken_back: Filter,
    in_vain: usize,
    error: Option<ExecutionError>,
}

/// What a stretch leaves behind.
pub(super) struct StretchEnd {
    pub(super) overlay: Overlay,
    pub(super) results: Vec<JobResult>,
    pub(super) gas_used: u64,
}

/// Rules and settings of a stretch.
pub(super) struct StretchRules {
    pub(super) params: Arc<ChainParams>,
    pub(super) facts: BlockFacts,
    pub(super) codes: CodeCache,
    pub(super) threads: usize,
    /// Seed of injected delays, for tests.
    pub(super) jitter: Option<u64>,
}

/// Positions that run in parallel, over an overlay that nobody changes meanwhile.
pub(super) struct Stretch {
    rules: StretchRules,
    jobs: Arc<Vec<Job>>,
    /// The first job of the stretch.
    first: usize,
    base: RwLock<Option<Overlay>>,
    records_access: bool,
    cells: Cells,
    /// Code that positions of the stretch created.
    created: RwLock<B256Map<Bytecode>>,
    slots: Vec<Slot>,
    committed: Mutex<Committed>,
    frontier: AtomicUsize,
    finished: AtomicBool,
    /// A thread panicked.
    broken: AtomicBool,
    /// Changes when there may be something to do for a thread that found nothing.
    events: AtomicU64,
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    wake: Condvar,
    delays: AtomicU64,
}

impl Stretch {
    /// A stretch of the jobs from `first` on, `count` of them, on an overlay in which `gas_used` is used up.
    pub(super) fn new(
        rules: StretchRules,
        jobs: Arc<Vec<Job>>,
        (first, count): (usize, usize),
        overlay: Overlay,
        gas_used: u64,
        profiles: &Profiles,
    ) -> Self {
        let mut last: AddressMap<u32> = AddressMap::default();
        let slots = jobs[first..first + count]
            .iter()
            .zip(0..)
            .map(|(job, at)| Slot {
                status: AtomicU8::new(IDLE),
                at_frontier_only: AtomicBool::new(false),
                attempt: Mutex::default(),
                profile: profiles.of(job),
                after: sender(job).and_then(|sender| last.insert(sender, at)),
            })
            .collect();
        Self {
            rules,
            jobs,
            first,
            records_access: overlay.records_access(),
            cells: Cells::new(overlay.keeps_empty()),
            base: RwLock::new(Some(overlay)),
            created: RwLock::default(),
            slots,
            committed: Mutex::new(Committed {
                results: Vec::with_capacity(count),
                gas_used,
                access: AccessRecord::default(),
                codes: Vec::new(),
                filters: Vec::with_capacity(count),
                taken_back: Filter::default(),
                in_vain: 0,
                error: None,
            }),
            frontier: AtomicUsize::new(0),
            finished: AtomicBool::new(count == 0),
            broken: AtomicBool::new(false),
            events: AtomicU64::new(0),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::default(),
            wake: Condvar::new(),
            delays: AtomicU64::new(0),
        }
    }

    /// What was committed. All threads have left.
    pub(super) fn end(&self) -> Result<StretchEnd, ExecutionError> {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = committed.error.take() {
            return Err(error);
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(ExecutionError::Evm("a thread panicked".to_owned()));
        }
        let overlay = self.base.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut overlay = overlay.ok_or_else(ended_twice)?;
        self.cells.drain(&mut overlay)?;
        for (hash, code) in committed.codes.drain(..) {
            overlay.put_code(hash, code);
        }
        overlay.put_access(std::mem::take(&mut committed.access));
        let results = std::mem::take(&mut committed.results);
        Ok(StretchEnd { overlay, results, gas_used: committed.gas_used })
    }

    pub(super) fn account(
        &self,
        address: Address,
        before: u32,
    ) -> Result<Option<Account>, StoreError> {
        self.cells.account(self, address, before)
    }

    pub(super) fn slot(
        &self,
        address: Address,
        slot: U256,
        before: u32,
    ) -> Result<U256, StoreError> {
        self.cells.slot(self, address, slot, before)
    }

    pub(super) fn code(&self, hash: B256) -> Result<Bytecode, StoreError> {
        if let Some(code) = self.rules.codes.get(hash) {
            return Ok(code);
        }
        if let Some(code) = self.created.read().unwrap_or_else(PoisonError::into_inner).get(&hash) {
            return Ok(code.clone());
        }
        let code = analysed(self.base(|overlay| overlay.peek_code(hash))?)?;
        self.rules.codes.put(hash, &code);
        Ok(code)
    }

    pub(super) fn block_hash(&self, height: u64) -> Result<B256, StoreError> {
        // The interpreter asks for the last 256 heights only.
        Ok(self.base(|overlay| overlay.peek_block_hash(height))?.unwrap_or_default())
    }

    fn base<T>(
        &self,
        read: impl FnOnce(&Overlay) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.base.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(overlay) => read(overlay),
            None => Err(StoreError::Backend("the stretch has ended".to_owned())),
        }
    }

    /// In tests: sometimes lets others go first.
    pub(super) fn jitter(&self) {
        let Some(seed) = self.rules.jitter else { return };
        let number = self.delays.fetch_add(1, Ordering::Relaxed);
        let mixed = (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match mixed >> 59 {
            0 => std::thread::sleep(std::time::Duration::from_micros(50)),
            1..=3 => std::thread::yield_now(),
            _ => {}
        }
    }

    fn evm(self: &Arc<Self>) -> LazyEvm {
        let mut evm = build(View::new(Arc::clone(self)), &self.rules.facts, |_| {});
        watch_balances(&mut evm);
        evm
    }

    fn job(&self, at: usize) -> &Job {
        &self.jobs[self.first + at]
    }

    /// Runs the position at the frontier or one ahead of it.
    fn run(&self, evm: &mut LazyEvm, at: usize) -> Result<Attempt, ExecutionError> {
        let beneficiary = self.rules.facts.beneficiary;
        // What is committed from here on may be seen or not.
        let begun_at = self.frontier.load(Ordering::Acquire);
        let Some(profile) = &self.slots[at].profile else {
            return attempt(evm, &self.rules.params, beneficiary, self.job(at), at as u32)
                .map(|attempt| Attempt { begun_at, ..attempt });
        };
        let begun = Stopwatch::start();
        let done = attempt(evm, &self.rules.params, beneficiary, self.job(at), at as u32);
        profile.took(begun.elapsed());
        done.map(|attempt| Attempt { begun_at, ..attempt })
    }

    /// Commits as far as can be, running what nobody runs. Returns at once if another thread is at it.
    fn advance(&self, evm: &mut LazyEvm) {
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

    fn create(&self, hash: B256, code: &Bytes) -> Result<(), StoreError> {
        let code = analysed(code.clone())?;
        self.created.write().unwrap_or_else(PoisonError::into_inner).insert(hash, code);
        Ok(())
    }

    /// A position ahead of the frontier that is worth running.
    fn claim(&self) -> Option<usize> {
        let frontier = self.frontier.load(Ordering::Acquire);
        let end = self.slots.len().min(frontier + WINDOW_PER_THREAD * self.rules.threads);
        (frontier + 1..end).find(|at| {
            let slot = &self.slots[*at];
            let done = |before: u32| {
                (before as usize) < frontier
                    || self.slots[before as usize].status.load(Ordering::Acquire) == DONE
            };
            slot.status.load(Ordering::Relaxed) == IDLE
                && !slot.at_frontier_only.load(Ordering::Relaxed)
                && slot.after.is_none_or(done)
                && match &slot.profile {
                    _ if self.rules.jitter.is_some() => true,
                    Some(profile) if profile.worth_running_ahead() => true,
                    _ => {
                        slot.at_frontier_only.store(true, Ordering::Relaxed);
                        false
                    }
                }
                && slot
                    .status
                    .compare_exchange(IDLE, RUNNING, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
        })
    }

    /// Runs a position ahead of the frontier and shows the others what it would change.
    fn run_ahead(&self, evm: &mut LazyEvm, at: usize) {
        let slot = &self.slots[at];
        // Whatever happens, the frontier must not wait for this thread for ever.
        let release = Release(self, at);
        // A failure here may be due to what was seen too early: the frontier finds out.
        let Ok(mut attempt) = self.run(evm, at) else { return };
        self.jitter();
        // What is shown in part was seen in part: the frontier takes it back.
        attempt.shown = self.publish(&attempt, at).is_ok();
        *slot.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(attempt));
        slot.status.store(DONE, Ordering::SeqCst);
        drop(release);
    }

    fn publish(&self, attempt: &Attempt, at: usize) -> Result<(), StoreError> {
        for (hash, code) in &attempt.changes.codes {
            self.create(*hash, code)?;
        }
        for (address, entry) in &attempt.changes.accounts {
            self.cells.publish_account(self, *address, at as u32, *entry)?;
        }
        for (key, entry) in &attempt.changes.slots {
            self.cells.publish_slot(self, *key, at as u32, *entry)?;
        }
        Ok(())
    }

    fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
        self.happened();
    }

    /// Tells whoever sleeps that there may be something to do. A stretch goes on without it but for one case: a
    /// run ahead ends at the frontier while its thread cannot commit, because another just looked and left.
    fn happened(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed();
            self.wake.notify_all();
        }
    }

    fn bed(&self) -> MutexGuard<'_, ()> {
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has happened since `events` was read.
    fn rest(&self, events: u64) {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.events.load(Ordering::SeqCst) != events {
                return;
            }
            std::hint::spin_loop();
        }
        let mut bed = self.bed();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.events.load(Ordering::SeqCst) == events {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives a position back to the frontier if its run ahead came to nothing.
struct Release<'a>(&'a Stretch, usize);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let Self(stretch, at) = self;
        let slot = &stretch.slots[*at];
        if slot.status.load(Ordering::Acquire) != DONE {
            slot.at_frontier_only.store(true, Ordering::Relaxed);
            slot.status.store(IDLE, Ordering::SeqCst);
        }
        // Whoever looked at it while it ran, at the frontier, may have gone to sleep over it.
        if stretch.frontier.load(Ordering::SeqCst) >= *at {
            stretch.happened();
        }
    }
}

/// Ends the stretch if its thread panics: the others must not wait for it.
struct EndOnPanic<'a>(&'a Stretch);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
            self.0.finish();
        }
    }
}

impl Base for Stretch {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        self.base(|overlay| overlay.peek_account(address))
    }

    fn slot(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.base(|overlay| overlay.peek_slot(address, slot))
    }
}

impl Task for Stretch {
    fn work(self: Arc<Self>) {
        let _end = EndOnPanic(&self);
        let mut evm = self.evm();
        loop {
            let events = self.events.load(Ordering::SeqCst);
            self.advance(&mut evm);
            if self.finished.load(Ordering::SeqCst) {
                return;
            }
            match self.claim() {
                Some(at) => self.run_ahead(&mut evm, at),
                None => self.rest(events),
            }
        }
    }
}

fn ended_twice() -> ExecutionError {
    ExecutionError::Evm("a stretch ended twice".to_owned())
}
