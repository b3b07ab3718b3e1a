//! Optimistic parallel execution over multi-version memory, of the Block-STM family (Gelashvili et al.,
//! "Block-STM: Scaling Blockchain Execution by Turning Ordering Curse to a Performance Blessing", PPoPP 2023).
//!
//! | part | does |
//! |---|---|
//! | `decode` | recovers senders, on all threads |
//! | `profile` | decides what is worth running in parallel, from what was measured |
//! | `pool` | threads that sleep between blocks |
//! | `shares` | work that falls into independent shares, on all of them |
//! | `stretch` | schedules, checks and commits positions that run in parallel |
//! | `harvest` | brings in what a stretch and a block changed, on all threads |
//! | `cells` | multi-version memory: what the committed positions left, what those ahead would write |
//! | `view` | what a position sees of it, noted |
//! | `handler` | the EVM's rules, without what would tie each transaction to the one before |
//! | `attempt` | one run of one position: seen, changed, result |
//!
//! A block is a row of stretches. Where parallelism cannot pay, a stretch runs in order with the very code of the
//! sequential engine; between two stretches, at the commit frontier, the plan may change either way.

mod attempt;
mod cells;
mod clock;
mod decode;
mod handler;
mod harvest;
mod pool;
mod profile;
mod shares;
mod stretch;
mod view;

use std::sync::Arc;

use self::clock::Stopwatch;
use self::decode::DecodeTask;
use self::pool::Pool;
use self::profile::{Plan, Profiles};
use self::shares::Shares;
use self::stretch::{Stretch, StretchEnd, StretchRules};
use super::engine::{Decoded, Engine, Finished, Messages, Run, Session, Underway};
use super::{CodeCache, Job};
use crate::executor::ExecutionError;

/// Of the positions that run in order, one in this many is measured.
const MEASURE_ONE_IN: usize = 8;

/// Positions run in order before the next plan; twice as many each time that the plan stays the same, because
/// a plan and a fresh EVM cost as much as some plain transfers.
const IN_ORDER: usize = 256;

/// How often that doubles at most.
const MAX_DOUBLINGS: u32 = 4;

/// Most threads of an engine.
pub const MAX_THREADS: usize = 64;

/// Runs positions on several threads.
#[derive(Clone)]
pub(crate) struct Parallel {
    pool: Arc<Pool>,
    profiles: Arc<Profiles>,
    codes: CodeCache,
    /// Runs everything in parallel, whether it pays or not, with delays of this seed. For tests.
    forced: Option<u64>,
}

impl std::fmt::Debug for Parallel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parallel").field("threads", &self.pool.threads()).finish_non_exhaustive()
    }
}

impl Parallel {
    /// An engine on so many threads, between 1 and [`MAX_THREADS`]; one of them is the caller's.
    pub(crate) fn new(threads: usize, codes: CodeCache) -> Self {
        let helpers = threads.clamp(1, MAX_THREADS) - 1;
        Self { pool: Arc::new(Pool::new(helpers)), profiles: Arc::default(), codes, forced: None }
    }

    /// Has everything run in parallel, with injected delays.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn forced(mut self, seed: u64) -> Self {
        self.forced = Some(seed);
        self
    }

    /// Threads that work on a block, the caller's own among them.
    pub(crate) fn threads(&self) -> usize {
        self.pool.threads()
    }

    pub(crate) const fn codes(&self) -> &CodeCache {
        &self.codes
    }

    /// Whether going along an access list promises to be faster than running in order.
    pub(crate) fn pays_along(&self, jobs: &[Job]) -> bool {
        self.profiles.pays_along(jobs, self.pool.threads())
    }

    /// Does all of `count` shares of some work, on all threads, each of which makes a state of its own first.
    /// If a thread panics, the share it was at is not done.
    pub(crate) fn share<S: 'static>(
        &self,
        count: usize,
        state: impl Fn() -> S + Send + Sync + 'static,
        work: impl Fn(&mut S, usize) + Send + Sync + 'static,
    ) {
        self.pool.run(&Arc::new(Shares::new(count, state, work)));
    }

    /// Whether all is to run in parallel, also where it does not pay.
    const fn is_forced(&self) -> bool {
        self.forced.is_some()
    }

    fn plan(&self, jobs: &[Job]) -> Plan {
        match self.forced {
            Some(_) => Plan::Parallel,
            None => self.profiles.plan(jobs, self.pool.threads()),
        }
    }
}

impl Engine for Parallel {
    fn begin(&self, run: Run) -> Box<dyn Session> {
        Box::new(ParallelSession { engine: self.clone(), block: Underway::new(run), in_order: 0 })
    }

    fn decode(&self, messages: Messages, chain_id: u64) -> Vec<Decoded> {
        let task = Arc::new(DecodeTask::new(messages, chain_id));
        self.pool.run(&task);
        task.take()
    }
}

struct ParallelSession {
    engine: Parallel,
    block: Underway,
    /// Runs of positions in order since the last stretch: each is twice as long as the one before.
    in_order: u32,
}

impl Session for ParallelSession {
    fn push(&mut self, jobs: Vec<Job>) -> Result<(), ExecutionError> {
        let jobs = Arc::new(jobs);
        let mut at = 0;
        while at < jobs.len() {
            let before = self.block.results.len();
            let left = jobs.len() - at;
            match self.engine.plan(&jobs[at..]) {
                Plan::InOrder => {
                    let count = left.min(IN_ORDER << self.in_order.min(MAX_DOUBLINGS));
                    self.in_order += 1;
                    self.in_order(&jobs[at..at + count])?;
                }
                Plan::Parallel => {
                    self.in_order = 0;
                    self.parallel(&jobs, at, left)?;
                }
            }
            at += self.block.results.len() - before;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Finished, ExecutionError> {
        let Self { engine, block, .. } = *self;
        block.finish_by(|accounts, parts| harvest::changes(&engine, accounts, parts))
    }
}

impl ParallelSession {
    fn in_order(&mut self, jobs: &[Job]) -> Result<(), ExecutionError> {
        let profiles = &self.engine.profiles;
        self.block.in_order(&self.engine.codes, jobs, |run, number, job| {
            let measured = (number % MEASURE_ONE_IN == 0).then(|| profiles.of(job));
            let Some(profile) = measured.flatten() else { return run.job(job) };
            let begun = Stopwatch::start();
            let result = run.job(job);
            profile.took(begun.elapsed());
            result
        })
    }

    fn parallel(
        &mut self,
        jobs: &Arc<Vec<Job>>,
        at: usize,
        count: usize,
    ) -> Result<(), ExecutionError> {
        let overlay = self.block.take()?;
        let rules = StretchRules {
            params: Arc::clone(&self.block.params),
            facts: self.block.facts,
            codes: self.engine.codes.clone(),
            threads: self.engine.pool.threads(),
            jitter: self.engine.forced,
        };
        let (jobs, gas_used) = (Arc::clone(jobs), self.block.gas_used);
        let profiles = &self.engine.profiles;
        let stretch = Arc::new(Stretch::new(rules, jobs, (at, count), overlay, gas_used, profiles));
        self.engine.pool.run(&stretch);
        let StretchEnd { overlay, results, gas_used } = stretch.end(&self.engine)?;
        self.block.put(overlay, gas_used);
        self.block.results.extend(results);
        Ok(())
    }
}
