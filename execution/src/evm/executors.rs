//! The executors: how an opened height becomes a block, on whichever engine.

use std::sync::Arc;

use alloy_primitives::B256;
use blindfold_wire::{
    Certified, ChainParams, Genesis, OpenedBatch, OpenedEnvelope, Opening, OrderCommitment, Prices,
};

use super::assemble::{self, Executed};
use super::parallel::Parallel;
use super::{
    BlockFacts, DoneForced, Engine, Finished, Forced, Run, Sequential, Session, Transaction,
};
use crate::executor::{BlockContext, Execution, ExecutionError, Executor};
use crate::state::Overlay;
use crate::unsealed::{ExecutionParent, UnsealedBlock};

/// An executor on some engine.
#[derive(Clone, Debug)]
struct On<E> {
    chain_id: u64,
    params: Arc<ChainParams>,
    engine: E,
}

impl<E: Engine + Clone + 'static> On<E> {
    fn new(genesis: &Genesis, engine: E) -> Self {
        Self { chain_id: genesis.chain_id, params: Arc::new(genesis.params.clone()), engine }
    }

    fn begin(
        &self,
        parent: &ExecutionParent,
        order: &Certified<OrderCommitment>,
        context: &BlockContext,
    ) -> Result<Box<dyn Execution>, ExecutionError> {
        let facts = assemble::facts_of(parent.height, order, context, self.chain_id, &self.params)?;
        let mut overlay = Overlay::new(Arc::clone(&parent.view));
        overlay.record_access();
        let forced = Forced::of(&context.forced, order.get(), self.chain_id)?;
        let (forced, overlay, gas_used) = forced.run(&self.params, facts, overlay)?;
        let params = Arc::clone(&self.params);
        let session = self.engine.begin(Run { params, facts, overlay, gas_used });
        Ok(Box::new(Height {
            executor: self.clone(),
            digest: order.digest(),
            facts,
            prices: Prices::from(order.get()),
            forced,
            session,
            pushed: Vec::new(),
            held: Vec::new(),
        }))
    }
}

/// A height being executed.
struct Height<E> {
    executor: On<E>,
    digest: B256,
    facts: BlockFacts,
    prices: Prices,
    /// What was done before the first position.
    forced: DoneForced,
    session: Box<dyn Session>,
    /// What was executed before the whole height was known: envelopes and openings.
    pushed: Vec<(B256, Opening)>,
    /// The transactions of the executed positions.
    held: Vec<Option<Transaction>>,
}

impl<E: Engine> Height<E> {
    fn run(&mut self, items: &[OpenedEnvelope]) -> Result<(), ExecutionError> {
        let On { engine, chain_id, .. } = &self.executor;
        let decode = |messages| engine.decode(messages, *chain_id);
        let (jobs, held) = assemble::prepare(items, self.prices, decode);
        self.held.extend(held);
        self.session.push(jobs)
    }
}

impl<E: Engine> Execution for Height<E> {
    fn push(&mut self, items: &[OpenedEnvelope]) -> Result<(), ExecutionError> {
        self.run(items)?;
        let pushed = items.iter().map(|item| (item.envelope.id(), item.opening.clone()));
        self.pushed.extend(pushed);
        Ok(())
    }

    fn finish(mut self: Box<Self>, batch: &OpenedBatch) -> Result<UnsealedBlock, ExecutionError> {
        let same = |((id, opening), item): (&(B256, Opening), &OpenedEnvelope)| {
            *id == item.envelope.id() && *opening == item.opening
        };
        let items = batch.items();
        let begun = batch.certified().digest() == self.digest
            && self.pushed.len() <= items.len()
            && self.pushed.iter().zip(items).all(same);
        if !begun {
            return Err(ExecutionError::OtherBatch { height: batch.height() });
        }
        let rest = self.pushed.len();
        self.run(&items[rest..])?;
        let Self { facts, forced, session, held, .. } = *self;
        let Finished { results, diff, access } = session.finish()?;
        let results = assemble::results(forced, items, held, results, facts.base_fee_wei);
        let (diff, access) = (Arc::new(diff), Arc::new(access.unwrap_or_default()));
        let (commitment, opening_root) = (batch.certified().digest(), batch.opening_root());
        let executed = Executed { facts, commitment, opening_root, results, diff, access };
        Ok(UnsealedBlock::new(executed))
    }
}

/// [`Executor`] without parallelism: one envelope after the other. The reference that others must equal.
#[derive(Clone, Debug)]
pub struct SequentialExecutor(On<Sequential>);

impl SequentialExecutor {
    /// An executor for the chain of this genesis.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self(On::new(genesis, Sequential::default()))
    }
}

impl Executor for SequentialExecutor {
    fn begin(
        &self,
        parent: &ExecutionParent,
        order: &Certified<OrderCommitment>,
        context: &BlockContext,
    ) -> Result<Box<dyn Execution>, ExecutionError> {
        self.0.begin(parent, order, context)
    }
}

/// [`Executor`] on several threads, where that pays. Clones share the threads and what was measured.
#[derive(Clone, Debug)]
pub struct ParallelExecutor(On<Parallel>);

impl ParallelExecutor {
    /// An executor for the chain of this genesis on so many threads, the caller's own among them; between 1
    /// and [`MAX_EXECUTION_THREADS`](crate::MAX_EXECUTION_THREADS).
    #[must_use]
    pub fn new(genesis: &Genesis, threads: usize) -> Self {
        Self(On::new(genesis, Parallel::new(threads, Default::default())))
    }

    pub(crate) const fn engine(&self) -> &Parallel {
        &self.0.engine
    }

    /// Has everything run in parallel, whether it pays or not, with injected delays.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn forced(mut self, seed: u64) -> Self {
        self.0.engine = self.0.engine.forced(seed);
        self
    }
}

impl Executor for ParallelExecutor {
    fn begin(
        &self,
        parent: &ExecutionParent,
        order: &Certified<OrderCommitment>,
        context: &BlockContext,
    ) -> Result<Box<dyn Execution>, ExecutionError> {
        self.0.begin(parent, order, context)
    }
}
