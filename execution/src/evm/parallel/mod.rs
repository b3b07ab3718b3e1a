//! Optimistic parallel execution over multi-version memory, of the Block-STM family (Gelashvili et al.,
//! "Block-STM: Scaling Blockchain Execution by Turning Ordering Curse to a Performance Blessing", PPoPP 2023).
//!
//! | part | does |
//! |---|---|
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
mod handler;
mod pool;
mod profile;
mod stretch;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use blindfold_wire::ChainParams;

use self::pool::Pool;
use self::profile::{Plan, Profiles};
use self::stretch::{Stretch, StretchEnd, StretchRules};
use super::engine::{Engine, Finished, Run};
use super::{BlockFacts, CodeCache, InOrder, Job, JobResult};
use crate::executor::ExecutionError;
use crate::state::Overlay;

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

    /// Begins a block whose positions come bit by bit.
    pub(crate) fn begin(
        &self,
        params: Arc<ChainParams>,
        facts: BlockFacts,
        overlay: Overlay,
    ) -> Session {
        Session {
            engine: self.clone(),
            params,
            facts,
            overlay: Some(overlay),
            gas_used: 0,
            results: Vec::new(),
        }
    }

    fn plan(&self, jobs: &[Job]) -> Plan {
        match self.forced {
            Some(_) => Plan::Parallel(jobs.len()),
            None => self.profiles.plan(jobs, self.pool.threads()),
        }
    }
}

impl Engine for Parallel {
    fn run(&self, run: Run) -> Result<Finished, ExecutionError> {
        let Run { params, facts, overlay, jobs } = run;
        let mut session = self.begin(params, facts, overlay);
        session.push(jobs)?;
        session.finish()
    }
}

/// A block under way.
pub(crate) struct Session {
    engine: Parallel,
    params: Arc<ChainParams>,
    facts: BlockFacts,
    /// Gone after an error.
    overlay: Option<Overlay>,
    gas_used: u64,
    results: Vec<JobResult>,
}

impl Session {
    /// Runs the next positions.
    pub(crate) fn push(&mut self, jobs: Vec<Job>) -> Result<(), ExecutionError> {
        let jobs = Arc::new(jobs);
        let mut at = 0;
        while at < jobs.len() {
            let before = self.results.len();
            match self.engine.plan(&jobs[at..]) {
                Plan::InOrder(count) => self.in_order(&jobs[at..at + count])?,
                Plan::Parallel(count) => self.parallel(&jobs, at, count)?,
            }
            at += self.results.len() - before;
        }
        Ok(())
    }

    /// What the block came to.
    pub(crate) fn finish(self) -> Result<Finished, ExecutionError> {
        let (diff, access) = self.overlay.ok_or_else(failed)?.finish();
        Ok(Finished { results: self.results, diff, access })
    }

    fn in_order(&mut self, jobs: &[Job]) -> Result<(), ExecutionError> {
        let overlay = self.overlay.take().ok_or_else(failed)?;
        let codes = self.engine.codes.clone();
        let mut run = InOrder::new(&self.params, &self.facts, overlay, codes, self.gas_used);
        for (number, job) in jobs.iter().enumerate() {
            let measured = (number % MEASURE_ONE_IN == 0).then(|| self.engine.profiles.of(job));
            let result = match measured.flatten() {
                Some(profile) => {
                    let begun = Instant::now();
                    let result = run.job(job)?;
                    profile.took(begun.elapsed());
                    result
                }
                None => run.job(job)?,
            };
            self.results.push(result);
        }
        let (overlay, gas_used) = run.into_parts();
        self.overlay = Some(overlay);
        self.gas_used = gas_used;
        Ok(())
    }

    fn parallel(
        &mut self,
        jobs: &Arc<Vec<Job>>,
        at: usize,
        count: usize,
    ) -> Result<(), ExecutionError> {
        let mut overlay = self.overlay.take().ok_or_else(failed)?;
        overlay.follow(self.facts.spec);
        let rules = StretchRules {
            params: Arc::clone(&self.params),
            facts: self.facts,
            codes: self.engine.codes.clone(),
            threads: self.engine.pool.threads(),
            jitter: self.engine.forced,
        };
        let profiles = &self.engine.profiles;
        let range = (at, count);
        let stretch = Arc::new(Stretch::new(
            rules,
            Arc::clone(jobs),
            range,
            overlay,
            self.gas_used,
            profiles,
        ));
        self.engine.pool.run(&stretch);
        let StretchEnd { overlay, results, gas_used } = stretch.end()?;
        self.overlay = Some(overlay);
        self.gas_used = gas_used;
        self.results.extend(results);
        Ok(())
    }
}

fn failed() -> ExecutionError {
    ExecutionError::Evm("the block failed before".to_owned())
}
