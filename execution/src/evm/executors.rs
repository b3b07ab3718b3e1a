//! The executors: how an opened batch becomes a block, on whichever engine.

use std::sync::Arc;

use blindfold_wire::{ChainParams, Genesis, OpenedBatch};

use super::parallel::Parallel;
use super::{DecodedAhead, Engine, Finished, Run, Sequential, assemble};
use crate::block::ExecutedBlock;
use crate::executor::{BlockContext, ExecutionError, Executor};
use crate::state::{BlockView, Overlay, ParentState};

/// What a chain's blocks have in common.
#[derive(Clone, Debug)]
struct Chain {
    chain_id: u64,
    params: Arc<ChainParams>,
    ahead: DecodedAhead,
}

impl Chain {
    fn new(genesis: &Genesis) -> Self {
        let chain_id = genesis.chain_id;
        let params = Arc::new(genesis.params.clone());
        Self { chain_id, params, ahead: DecodedAhead::new(chain_id) }
    }

    fn execute(
        &self,
        engine: &impl Engine,
        parent: &ParentState,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<ExecutedBlock, ExecutionError> {
        let facts = assemble::facts_of(parent, batch, context, self.chain_id, &self.params)?;
        let mut overlay = Overlay::new(Arc::new(BlockView::new(parent.clone())));
        overlay.record_access();
        let (jobs, held) =
            batch.items().iter().map(|item| assemble::prepare(item, &self.ahead, &facts)).unzip();
        let run = Run { params: Arc::clone(&self.params), facts, overlay, jobs };
        let Finished { results, diff, access } = engine.run(run)?;
        let results = assemble::results(batch.items(), held, results, facts.base_fee_wei);
        assemble::block(parent, batch, &facts, results, diff, access.unwrap_or_default())
    }
}

/// [`Executor`] without parallelism: one envelope after the other. The reference that others must equal.
#[derive(Clone, Debug)]
pub struct SequentialExecutor {
    chain: Chain,
    engine: Sequential,
}

impl SequentialExecutor {
    /// An executor for the chain of this genesis.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self { chain: Chain::new(genesis), engine: Sequential::default() }
    }

    /// Has the executor use what was decoded while the height was still being opened. The blocks are
    /// the same with or without.
    #[must_use]
    pub fn with_decoded(mut self, ahead: DecodedAhead) -> Self {
        self.chain.ahead = ahead;
        self
    }
}

impl Executor for SequentialExecutor {
    fn execute(
        &self,
        parent: &ParentState,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<ExecutedBlock, ExecutionError> {
        self.chain.execute(&self.engine, parent, batch, context)
    }
}

/// [`Executor`] on several threads, where that pays. Clones share the threads and what was measured.
#[derive(Clone, Debug)]
pub struct ParallelExecutor {
    chain: Chain,
    engine: Parallel,
}

impl ParallelExecutor {
    /// An executor for the chain of this genesis on so many threads, the caller's own among them; between 1
    /// and [`MAX_EXECUTION_THREADS`](crate::MAX_EXECUTION_THREADS).
    #[must_use]
    pub fn new(genesis: &Genesis, threads: usize) -> Self {
        Self { chain: Chain::new(genesis), engine: Parallel::new(threads, Default::default()) }
    }

    /// As [`SequentialExecutor::with_decoded`].
    #[must_use]
    pub fn with_decoded(mut self, ahead: DecodedAhead) -> Self {
        self.chain.ahead = ahead;
        self
    }

    /// Has everything run in parallel, whether it pays or not, with injected delays.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn forced(mut self, seed: u64) -> Self {
        self.engine = self.engine.forced(seed);
        self
    }
}

impl Executor for ParallelExecutor {
    fn execute(
        &self,
        parent: &ParentState,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<ExecutedBlock, ExecutionError> {
        self.chain.execute(&self.engine, parent, batch, context)
    }
}
