//! A stretch of positions that run in parallel.
//!
//! Positions **commit** in order, at the frontier. All threads do the same: commit what can be committed;
//! run the position at the frontier if nobody does; otherwise run one ahead of it on what the multi-version
//! memory shows; park if there is none. A position that ran ahead is checked when the frontier reaches it: it
//! stands if all that it saw is still what it would see, and else it runs again, now on the final state
//! before it. So every position runs at most twice, the frontier never waits for a run in vain longer than
//! that run takes, and what is committed is what running in order would have given.

mod commit;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use alloy_primitives::map::{AddressMap, B256Map};
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::Bytecode;
use revm::context::ContextTr as _;

use blindfold_wire::ChainParams;

use self::commit::Committed;
use super::Parallel;
use super::attempt::{Attempt, attempt};
use super::cells::{Base, Cells};
use super::clock::Stopwatch;
use super::handler::{LazyEvm, watch_balances};
use super::harvest::drain;
use super::profile::{Profile, Profiles, sender};
use super::view::View;
use crate::evm::database::analysed;
use crate::evm::{BlockFacts, CodeCache, Job, JobResult, build};
use crate::executor::ExecutionError;
use crate::state::{Account, Overlay, StoreError};

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// Of the runs of a thread, one in this many is measured, besides the first of every kind of call.
const MEASURE_ONE_IN: u32 = 4;

/// One position of a stretch. Each has cache lines of its own: neighbours run on different threads.
#[repr(align(64))]
struct Slot {
    status: AtomicU8,
    /// Failed ahead; left to the frontier.
    at_frontier_only: AtomicBool,
    attempt: Mutex<Option<Box<Attempt>>>,
    profile: Option<Arc<Profile>>,
    /// The position before it of the same sender.
    after: Option<u32>,
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
    base: Overlay,
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
            cells: Cells::new(overlay.keeps_empty(), profiles.touched(count)),
            base: overlay,
            created: RwLock::default(),
            slots,
            committed: Mutex::new(Committed::new(count, gas_used)),
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
    pub(super) fn end(self: Arc<Self>, engine: &Parallel) -> Result<StretchEnd, ExecutionError> {
        let Some(Self { base: mut overlay, cells, committed, broken, .. }) = Arc::into_inner(self)
        else {
            return Err(ExecutionError::Evm("a thread has not left the stretch".to_owned()));
        };
        let committed = committed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = committed.error {
            return Err(error);
        }
        if broken.into_inner() {
            return Err(ExecutionError::Evm("a thread panicked".to_owned()));
        }
        let settled = cells.settled();
        engine.profiles.have_touched(committed.results.len(), settled.count());
        drain(engine, settled, &mut overlay)?;
        for (hash, code) in committed.codes {
            overlay.put_code(hash, code);
        }
        overlay.put_access(committed.access);
        Ok(StretchEnd { overlay, results: committed.results, gas_used: committed.gas_used })
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
        let code = analysed(self.base.peek_code(hash)?)?;
        self.rules.codes.put(hash, &code);
        Ok(code)
    }

    pub(super) fn block_hash(&self, height: u64) -> Result<B256, StoreError> {
        // The interpreter asks for the last 256 heights only.
        Ok(self.base.peek_block_hash(height)?.unwrap_or_default())
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
        let turn = evm.ctx.db_mut().count_run();
        let run = |evm| attempt(evm, &self.rules.params, beneficiary, self.job(at), at as u32);
        let done = match &self.slots[at].profile {
            Some(profile) if turn.is_multiple_of(MEASURE_ONE_IN) || profile.is_young() => {
                let begun = Stopwatch::start();
                let done = run(evm);
                profile.took(begun.elapsed());
                done
            }
            _ => run(evm),
        };
        done.map(|attempt| Attempt { begun_at, ..attempt })
    }

    fn create(&self, hash: B256, code: &Bytes) -> Result<(), StoreError> {
        let code = analysed(code.clone())?;
        self.created.write().unwrap_or_else(PoisonError::into_inner).insert(hash, code);
        Ok(())
    }
}

impl Base for Stretch {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        self.base.peek_account(address)
    }

    fn slot(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.base.peek_slot(address, slot)
    }
}
