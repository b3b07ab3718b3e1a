//! Execution along a block access list that somebody gave: parallel, without speculation, and checked.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use blindfold_wire::{ChainParams, Genesis, OpenedBatch, Prices};

use super::index::{Before, Index};
use super::list::{AccessListError, BlockAccessList};
use crate::access::AccessRecord;
use crate::evm::{
    BlockFacts, Body, CodeCache, DoneForced, Engine, Executed, Finished, Forced, ForcedJob,
    ForcedRan, InOrder, Job, JobResult, Parallel, ParallelExecutor, Run, Sequential, Transaction,
    assemble,
};
use crate::executor::{BlockContext, ExecutionError, Executor};
use crate::state::{Overlay, StateDiff, StateView, StoreError};
use crate::unsealed::{ExecutionParent, UnsealedBlock};

/// Steps that a thread takes at a time. Few: they differ much in cost.
const TAKEN_AT_ONCE: usize = 2;

/// What a hint turned out to be worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintUse {
    /// It was the list of the block, and the block was executed along it.
    Followed,
    /// It is not the list of the block; whoever gave it is at fault. The block was executed without it.
    Wrong(HintFault),
}

/// What was wrong with a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HintFault {
    /// It is no access list.
    #[error(transparent)]
    Malformed(#[from] AccessListError),
    /// The block has another list.
    #[error("the block has the access list {computed}, given was {given}")]
    Differs {
        /// Hash of the given one.
        given: B256,
        /// Hash of the block's.
        computed: B256,
    },
}

/// Executes blocks along access lists that peers gave, and in the ordinary way where they are wrong. Where
/// going along a list cannot pay (on one thread, or where the calls are cheap), everything runs in order, and the
/// list that comes of it is compared.
#[derive(Clone, Debug)]
pub struct BalExecutor {
    chain_id: u64,
    params: Arc<ChainParams>,
    codes: CodeCache,
    engine: Parallel,
    /// Goes along a list whether it pays or not. For tests.
    always: bool,
}

impl BalExecutor {
    /// An executor for the chain of this genesis, on so many threads of its own.
    #[must_use]
    pub fn new(genesis: &Genesis, threads: NonZeroUsize) -> Self {
        Self::on(genesis, Parallel::new(threads.get(), CodeCache::default()))
    }

    /// An executor on the threads of another, which also knows what calls cost.
    #[must_use]
    pub fn sharing(genesis: &Genesis, executor: &ParallelExecutor) -> Self {
        Self::on(genesis, executor.engine().clone())
    }

    fn on(genesis: &Genesis, engine: Parallel) -> Self {
        Self {
            chain_id: genesis.chain_id,
            params: Arc::new(genesis.params.clone()),
            codes: engine.codes().clone(),
            engine,
            always: false,
        }
    }

    /// Has it go along every list, whether it pays or not.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub const fn forced(mut self) -> Self {
        self.always = true;
        self
    }

    /// Executes `batch` on top of `parent` along `hint`, the encoded access list that somebody gave for it, and
    /// with `ordinary` if that is not its list. The block is the same whatever the hint is.
    ///
    /// # Errors
    ///
    /// As [`Executor::execute`]; never because of the hint.
    pub fn execute_along(
        &self,
        ordinary: &dyn Executor,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        context: &BlockContext,
        hint: &[u8],
    ) -> Result<(UnsealedBlock, HintUse), ExecutionError> {
        let execute = || ordinary.begin(parent, batch.certified(), context)?.finish(batch);
        let indices = context.forced.items().len() + batch.items().len();
        let list = match BlockAccessList::decode(hint, indices) {
            Ok(list) => Arc::new(list),
            Err(fault) => {
                let block = execute()?;
                return Ok((block, HintUse::Wrong(fault.into())));
            }
        };
        // What a list names is loaded; more than a block can pay for is not.
        let affordable = list.items() <= most_items(self.params.block_gas_limit, indices);
        let several = self.engine.threads() > 1 || self.always;
        let block = match affordable && several {
            true => {
                let prepared = self.prepare(parent, batch, context)?;
                // Forced items are few: what is gained is gained by positions.
                if !self.always && !self.engine.pays_along(&prepared.jobs) {
                    self.in_order(parent, batch, prepared)?
                } else if let Some(block) = self.follow(parent, batch, prepared, &list)? {
                    return Ok((block, HintUse::Followed));
                } else {
                    execute()?
                }
            }
            false => execute()?,
        };
        let computed = block.access().map(BlockAccessList::of).unwrap_or_default();
        let used = match computed == *list {
            // It was right. Either nothing was to be gained by it, or something else stood in the way: an order
            // that goes beyond the block's gas.
            true => HintUse::Followed,
            false => {
                let (given, computed) = (list.hash(), computed.hash());
                HintUse::Wrong(HintFault::Differs { given, computed })
            }
        };
        Ok((block, used))
    }

    fn prepare(
        &self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<Prepared, ExecutionError> {
        let (tip, order) = (parent.height, batch.certified());
        let facts = assemble::facts_of(tip, order, context, self.chain_id, &self.params)?;
        let forced = Forced::of(&context.forced, order.get(), self.chain_id)?;
        let decode = |messages| self.engine.decode(messages, self.chain_id);
        let (jobs, held) = assemble::prepare(batch.items(), Prices::from(order.get()), decode);
        Ok(Prepared { facts, forced, jobs, held })
    }

    /// The block, executed without the list.
    fn in_order(
        &self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        prepared: Prepared,
    ) -> Result<UnsealedBlock, ExecutionError> {
        let Prepared { facts, forced, jobs, held } = prepared;
        let mut overlay = Overlay::new(Arc::clone(&parent.view));
        overlay.record_access();
        let (forced, overlay, gas_used) = forced.run(&self.params, facts, overlay)?;
        let run = Run { params: Arc::clone(&self.params), facts, overlay, gas_used };
        let engine = Sequential { codes: self.codes.clone() };
        Ok(unsealed(batch, facts, forced, held, engine.run(run, jobs)?))
    }

    /// The block, if the list is its list.
    fn follow(
        &self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        prepared: Prepared,
        list: &Arc<BlockAccessList>,
    ) -> Result<Option<UnsealedBlock>, ExecutionError> {
        let Prepared { facts, forced, jobs, held } = prepared;
        let view = Arc::clone(&parent.view);
        let steps = Steps { forced, jobs };
        let along = Along {
            params: Arc::clone(&self.params),
            facts,
            codes: self.codes.clone(),
            view: Arc::clone(&view),
            index: Arc::new(Index::load(list, &view, &self.engine)?),
            done: (0..steps.count()).map(|_| OnceLock::new()).collect(),
            steps,
            failed: AtomicBool::new(false),
        };
        // A wrong list may lead anywhere, also to an error. What is really in the way shows in the ordinary
        // execution.
        let Some((steps, done)) = along.all(&self.engine) else { return Ok(None) };
        if !fits(&steps, &done, &facts) {
            return Ok(None);
        }
        let Steps { forced, jobs } = steps;
        let mut access = AccessRecord::default();
        let mut diffs = Vec::with_capacity(done.len());
        let mut ran = Vec::with_capacity(forced.jobs.len());
        let mut results = Vec::with_capacity(jobs.len());
        for Done { result, diff, access: at } in done {
            access.positions.extend(at.positions);
            access.codes.extend(at.codes);
            access.block_hashes.extend(at.block_hashes);
            diffs.push(diff);
            match result {
                StepResult::Forced(item) => ran.push(item),
                StepResult::Position(result) => results.push(result),
            }
        }
        // By induction over the steps: the first one ran on the parent state, so what it left behind is
        // right; the list says the same, so the second one ran on the right state; and so on.
        if BlockAccessList::of(&access) != **list {
            return Ok(None);
        }
        let diff = joined(view.as_ref(), diffs)?;
        let finished = Finished { results, diff, access: Some(access) };
        Ok(Some(unsealed(batch, facts, DoneForced { forced, ran }, held, finished)))
    }
}

/// A block ready to run.
struct Prepared {
    facts: BlockFacts,
    forced: Forced,
    jobs: Vec<Job>,
    held: Vec<Option<Transaction>>,
}

fn unsealed(
    batch: &OpenedBatch,
    facts: BlockFacts,
    forced: DoneForced,
    held: Vec<Option<Transaction>>,
    finished: Finished,
) -> UnsealedBlock {
    let Finished { results, diff, access } = finished;
    let results = assemble::results(forced, batch.items(), held, results, facts.base_fee_wei);
    let (commitment, opening_root) = (batch.certified().digest(), batch.opening_root());
    let (diff, access) = (Arc::new(diff), Arc::new(access.unwrap_or_default()));
    UnsealedBlock::new(Executed { facts, commitment, opening_root, results, diff, access })
}

/// Accounts and slots that a block can access: each costs gas (EIP-7928), but for those that belong to an
/// envelope, a transaction or a forced item anyway.
fn most_items(gas_limit: u64, steps: usize) -> usize {
    /// Sender, recipient, beneficiary, escrow, the payer's slots, and to spare.
    const FREE_ITEMS: usize = 16;
    let paid = gas_limit / alloy_eip7928::ITEM_COST as u64;
    usize::try_from(paid).unwrap_or(usize::MAX).saturating_add(steps.saturating_mul(FREE_ITEMS))
}

/// Whether no transaction's gas limit exceeds what those before it left of the block's gas: alone it cannot
/// tell. Classes of a height never add up to so much.
fn fits(steps: &Steps, done: &[Done], facts: &BlockFacts) -> bool {
    let mut gas_used = 0u64;
    steps.iter().zip(done).all(|(step, done)| {
        let room = facts.gas_limit.saturating_sub(gas_used);
        gas_used = gas_used.saturating_add(done.result.gas_used());
        match step {
            Step::Position(Job { body: Body::Run(tx), .. }) | Step::Forced(ForcedJob::Run(tx)) => {
                tx.gas_limit <= room
            }
            Step::Position(_) | Step::Forced(_) => true,
        }
    })
}

/// A forced item or a position: what an index of the list stands for.
#[derive(Clone, Copy)]
enum Step<'a> {
    Forced(&'a ForcedJob),
    Position(&'a Job),
}

/// All of a block: its forced items, then its positions.
struct Steps {
    forced: Forced,
    jobs: Vec<Job>,
}

impl Steps {
    const fn count(&self) -> usize {
        self.forced.jobs.len() + self.jobs.len()
    }

    fn get(&self, at: usize) -> Option<Step<'_>> {
        match at.checked_sub(self.forced.jobs.len()) {
            None => self.forced.jobs.get(at).map(Step::Forced),
            Some(position) => self.jobs.get(position).map(Step::Position),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Step<'_>> {
        self.forced.jobs.iter().map(Step::Forced).chain(self.jobs.iter().map(Step::Position))
    }
}

enum StepResult {
    Forced(ForcedRan),
    Position(JobResult),
}

impl StepResult {
    const fn gas_used(&self) -> u64 {
        match self {
            Self::Forced(ran) => ran.gas_used(),
            Self::Position(result) => result.ran.gas_used(),
        }
    }
}

/// What one step came to.
struct Done {
    result: StepResult,
    diff: StateDiff,
    access: AccessRecord,
}

/// A block being executed along a list.
struct Along {
    params: Arc<ChainParams>,
    facts: BlockFacts,
    codes: CodeCache,
    view: Arc<dyn StateView>,
    index: Arc<Index>,
    steps: Steps,
    done: Vec<OnceLock<Done>>,
    /// A step failed: the rest need not run.
    failed: AtomicBool,
}

impl Along {
    /// Every step, each on the state that the list gives for it; none if one of them failed.
    fn all(self, engine: &Parallel) -> Option<(Steps, Vec<Done>)> {
        let shares = self.steps.count().div_ceil(TAKEN_AT_ONCE);
        let along = Arc::new(self);
        let (evms, work) = (Arc::clone(&along), Arc::clone(&along));
        engine.share(shares, move || evms.evm(), move |evm, share| work.share(evm, share));
        let Self { steps, done, .. } = Arc::into_inner(along)?;
        let done = done.into_iter().map(OnceLock::into_inner).collect::<Option<Vec<_>>>()?;
        Some((steps, done))
    }

    fn evm(&self) -> InOrder {
        let (params, codes) = (Arc::clone(&self.params), self.codes.clone());
        InOrder::new(params, self.facts, self.overlay(0), codes, 0)
    }

    fn share(&self, evm: &mut InOrder, share: usize) {
        let first = share * TAKEN_AT_ONCE;
        for at in first..first.saturating_add(TAKEN_AT_ONCE) {
            // The last share may be a smaller one.
            let (Some(step), Some(place)) = (self.steps.get(at), self.done.get(at)) else { return };
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            evm.restart(self.overlay(at));
            let result = match step {
                Step::Forced(job) => evm.forced(job).map(StepResult::Forced),
                Step::Position(job) => evm.job(job).map(StepResult::Position),
            };
            let Ok(result) = result else {
                self.failed.store(true, Ordering::Relaxed);
                return;
            };
            let (diff, access) = evm.restart(self.overlay(at)).finish();
            let access = access.unwrap_or_default();
            // Each step is of one share.
            let _ = place.set(Done { result, diff, access });
        }
    }

    /// The state before a step, without changes.
    fn overlay(&self, step: usize) -> Overlay {
        let before = Before {
            parent: Arc::clone(&self.view),
            index: Arc::clone(&self.index),
            position: step as u64,
        };
        let mut overlay = Overlay::new(Arc::new(before));
        overlay.record_access();
        overlay.follow(self.facts.spec);
        overlay
    }
}

/// The changes of all steps as those of one block: what changed back is no change.
fn joined(parent: &dyn StateView, diffs: Vec<StateDiff>) -> Result<StateDiff, StoreError> {
    let mut block = StateDiff::default();
    for diff in diffs {
        block.codes.extend(diff.codes);
        for (address, later) in diff.accounts {
            let changed = block.accounts.entry(address).or_default();
            changed.account = later.account;
            if later.wiped || later.account.is_none() {
                changed.wiped |= later.wiped;
                changed.storage.clear();
            }
            changed.storage.extend(later.storage);
        }
    }
    let mut unchanged = Vec::new();
    for (address, changed) in &mut block.accounts {
        let former = parent.account(*address)?;
        // Storage of an account that was not there cannot be lost.
        changed.wiped &= former.is_some();
        let mut kept = std::mem::take(&mut changed.storage);
        if changed.wiped || former.is_none() {
            kept.retain(|_, value| !value.is_zero());
        } else {
            for (slot, value) in std::mem::take(&mut kept) {
                if parent.storage(*address, slot)? != value {
                    kept.insert(slot, value);
                }
            }
        }
        changed.storage = kept;
        if changed.account == former && !changed.wiped && changed.storage.is_empty() {
            unchanged.push(*address);
        }
    }
    for address in unchanged {
        block.accounts.remove(&address);
    }
    Ok(block)
}
