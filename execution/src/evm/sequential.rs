//! One envelope after the other, on one core. The reference that faster executors must equal.

use std::sync::Arc;

use blindfold_wire::{ChainParams, Genesis, OpenedBatch};

use super::{DecodedAhead, Engine as _, Finished, Run, Sequential, assemble};
use crate::block::ExecutedBlock;
use crate::executor::{BlockContext, ExecutionError, Executor};
use crate::state::{BlockView, Overlay, ParentState};

/// [`Executor`] without parallelism.
#[derive(Clone, Debug)]
pub struct SequentialExecutor {
    chain_id: u64,
    params: Arc<ChainParams>,
    ahead: DecodedAhead,
    engine: Sequential,
}

impl SequentialExecutor {
    /// An executor for the chain of this genesis.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let chain_id = genesis.chain_id;
        Self {
            chain_id,
            params: Arc::new(genesis.params.clone()),
            ahead: DecodedAhead::new(chain_id),
            engine: Sequential::default(),
        }
    }

    /// Has the executor use what was decoded while the height was still being opened. The blocks are
    /// the same with or without.
    #[must_use]
    pub fn with_decoded(mut self, ahead: DecodedAhead) -> Self {
        self.ahead = ahead;
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
        let facts = assemble::facts_of(parent, batch, context, self.chain_id, &self.params)?;
        let mut overlay = Overlay::new(Arc::new(BlockView::new(parent.clone())));
        overlay.record_access();
        let (jobs, held) =
            batch.items().iter().map(|item| assemble::prepare(item, &self.ahead, &facts)).unzip();
        let run = Run { params: Arc::clone(&self.params), facts, overlay, jobs };
        let Finished { results, diff, access } = self.engine.run(run)?;
        let results = assemble::results(batch.items(), held, results, facts.base_fee_wei);
        assemble::block(parent, batch, &facts, results, diff, access.unwrap_or_default())
    }
}
