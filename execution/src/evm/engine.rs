//! What runs the positions of a block: in order, or in parallel. All engines give the same results.

use std::sync::Arc;

use blindfold_wire::{ChainParams, SkipReason};

use super::{BlockFacts, CodeCache, InOrder, Job, JobResult, Transaction};
use crate::access::AccessRecord;
use crate::executor::ExecutionError;
use crate::state::{Changes, Overlay, PARTS, Part, StateDiff};

/// A block to run: rules, and the state before the first position.
pub(crate) struct Run {
    pub(crate) params: Arc<ChainParams>,
    pub(crate) facts: BlockFacts,
    pub(crate) overlay: Overlay,
    /// Gas used up before the first position.
    pub(crate) gas_used: u64,
}

/// What a block came to.
pub(crate) struct Finished {
    /// One for each position.
    pub(crate) results: Vec<JobResult>,
    pub(crate) diff: StateDiff,
    /// If the overlay was told to record it.
    pub(crate) access: Option<AccessRecord>,
}

/// Messages to decode, each with the gas class of its envelope.
pub(crate) type Messages = Vec<(Vec<u8>, u64)>;

/// What became of a message.
pub(crate) type Decoded = Result<Transaction, SkipReason>;

/// Runs positions.
pub(crate) trait Engine: Send + Sync {
    /// Begins a block.
    fn begin(&self, run: Run) -> Box<dyn Session>;

    /// Decodes messages and recovers their senders.
    fn decode(&self, messages: Messages, chain_id: u64) -> Vec<Decoded>;

    /// Runs a whole block.
    fn run(&self, run: Run, jobs: Vec<Job>) -> Result<Finished, ExecutionError> {
        let mut session = self.begin(run);
        session.push(jobs)?;
        session.finish()
    }
}

/// A block under way. After an error it is of no use.
pub(crate) trait Session: Send {
    /// Runs the next positions.
    fn push(&mut self, jobs: Vec<Job>) -> Result<(), ExecutionError>;

    /// What the block came to.
    fn finish(self: Box<Self>) -> Result<Finished, ExecutionError>;
}

/// One position after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequential {
    pub(crate) codes: CodeCache,
}

impl Engine for Sequential {
    fn begin(&self, run: Run) -> Box<dyn Session> {
        Box::new(InOrderSession { codes: self.codes.clone(), block: Underway::new(run) })
    }

    fn decode(&self, messages: Messages, chain_id: u64) -> Vec<Decoded> {
        let decode =
            |(message, class): &(Vec<u8>, u64)| Transaction::decode(message, chain_id, *class);
        messages.iter().map(decode).collect()
    }
}

struct InOrderSession {
    codes: CodeCache,
    block: Underway,
}

impl Session for InOrderSession {
    fn push(&mut self, jobs: Vec<Job>) -> Result<(), ExecutionError> {
        self.block.in_order(&self.codes, &jobs, |run, _, job| run.job(job))
    }

    fn finish(self: Box<Self>) -> Result<Finished, ExecutionError> {
        self.block.finish()
    }
}

/// A block between two runs of positions.
pub(super) struct Underway {
    pub(super) params: Arc<ChainParams>,
    pub(super) facts: BlockFacts,
    /// Gone after an error.
    overlay: Option<Overlay>,
    pub(super) gas_used: u64,
    pub(super) results: Vec<JobResult>,
}

impl Underway {
    pub(super) fn new(run: Run) -> Self {
        let Run { params, facts, mut overlay, gas_used } = run;
        overlay.follow(facts.spec);
        Self { params, facts, overlay: Some(overlay), gas_used, results: Vec::new() }
    }

    /// The overlay, to be given back with [`Self::put`].
    pub(super) fn take(&mut self) -> Result<Overlay, ExecutionError> {
        self.overlay.take().ok_or_else(|| ExecutionError::Evm("the block failed before".to_owned()))
    }

    pub(super) fn put(&mut self, overlay: Overlay, gas_used: u64) {
        self.overlay = Some(overlay);
        self.gas_used = gas_used;
    }

    /// Runs positions in order, each by `job`, which also gets its number among them.
    pub(super) fn in_order(
        &mut self,
        codes: &CodeCache,
        jobs: &[Job],
        run: impl Fn(&mut InOrder, usize, &Job) -> Result<JobResult, ExecutionError>,
    ) -> Result<(), ExecutionError> {
        let overlay = self.take()?;
        let params = Arc::clone(&self.params);
        let mut in_order = InOrder::new(params, self.facts, overlay, codes.clone(), self.gas_used);
        self.results.reserve(jobs.len());
        for (number, job) in jobs.iter().enumerate() {
            self.results.push(run(&mut in_order, number, job)?);
        }
        let (overlay, gas_used) = in_order.into_parts();
        self.put(overlay, gas_used);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Finished, ExecutionError> {
        let (diff, access) = self.take()?.finish();
        Ok(Finished { results: self.results, diff, access })
    }

    /// As [`Self::finish`]; `changes` gets the number of accounts and finds out what changed in each part.
    pub(super) fn finish_by(
        mut self,
        changes: impl FnOnce(usize, [Part; PARTS]) -> Result<[Changes; PARTS], ExecutionError>,
    ) -> Result<Finished, ExecutionError> {
        let overlay = self.take()?;
        let accounts = overlay.accounts();
        let (diff, access) = overlay.finish_by(|parts| changes(accounts, parts))?;
        Ok(Finished { results: self.results, diff, access })
    }
}
