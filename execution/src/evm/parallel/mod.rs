//! Optimistic parallel execution over multi-version memory, of the Block-STM family (Gelashvili et al.,
//! "Block-STM: Scaling Blockchain Execution by Turning Ordering Curse to a Performance Blessing", PPoPP 2023).
//!
//! | part | does |
//! |---|---|
//! | `decode` | recovers senders, on all threads |
//! | `profile` | decides what is worth running in parallel, from what was measured |
//! | `pool` | threads that sleep between blocks |
//! | `stretch` | schedules, checks and commits positions that run in parallel |
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
mod pool;
mod profile;
mod stretch;
mod view;

use std::sync::Arc;

use self::clock::Stopwatch;
use self::decode::DecodeTask;
use self::pool::Pool;
use self::profile::{Plan, Profiles};
use self::stretch::{Stretch, StretchEnd, StretchRules};
use super::engine::{Decoded, Engine, Finished, Messages, Run, Session, Underway};
use super::{CodeCache, Job};
use crate::executor::ExecutionError;

/// Of the positions that run in order, one in this many is measured.
const MEASURE_ONE_IN: usize = 8;

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

    fn plan(&self, jobs: &[Job]) -> Plan {
        match self.forced {
            Some(_) => Plan::Parallel(jobs.len()),
            None => self.profiles.plan(jobs, self.pool.threads()),
        }
    }
}

impl Engine for Parallel {
    fn begin(&self, run: Run) -> Box<dyn Session> {
        Box::new(ParallelSession { engine: self.clone(), block: Underway::new(run) })
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
}

impl Session for ParallelSession {
    fn push(&mut self, jobs: Vec<Job>) -> Result<(), ExecutionError> {
        let jobs = Arc::new(jobs);
        let mut at = 0;
        while at < jobs.len() {
            let before = self.block.results.len();
            match self.engine.plan(&jobs[at..]) {
                Plan::InOrder(count) => self.in_order(&jobs[at..at + count])?,
                Plan::Parallel(count) => self.parallel(&jobs, at, count)?,
            }
            at += self.block.results.len() - before;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Finished, ExecutionError> {
        self.block.finish()
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
        let StretchEnd { overlay, results, gas_used } = stretch.end()?;
        self.block.put(overlay, gas_used);
        self.block.results.extend(results);
        Ok(())
    }
}
