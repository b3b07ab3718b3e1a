//! Execution along a block access list that somebody gave: parallel, without speculation, and checked.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use alloy_primitives::B256;
use blindfold_wire::{ChainParams, Genesis, OpenedBatch, Prices};

use super::index::{Before, Index};
use super::list::{AccessListError, BlockAccessList};
use crate::access::AccessRecord;
use crate::evm::{
    BlockFacts, Body, CodeCache, Decoded, DoneForced, Executed, Forced, ForcedJob, ForcedRan,
    InOrder, Job, JobResult, Messages, assemble, decode_in_order,
};
use crate::executor::{BlockContext, ExecutionError, Executor};
use crate::state::{Overlay, StateDiff, StateView, StoreError};
use crate::unsealed::{ExecutionParent, UnsealedBlock};

/// Positions that a thread takes at a time. Few: they differ much in cost.
const TAKEN_AT_ONCE: usize = 2;

/// Messages that a thread decodes at least: fewer are not worth one.
const DECODED_AT_ONCE: usize = 8;

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

/// Executes blocks along access lists that peers gave, and in the ordinary way where they are wrong.
#[derive(Clone, Debug)]
pub struct BalExecutor {
    chain_id: u64,
    params: Arc<ChainParams>,
    codes: CodeCache,
    threads: NonZeroUsize,
}

impl BalExecutor {
    /// An executor for the chain of this genesis, on so many threads.
    #[must_use]
    pub fn new(genesis: &Genesis, threads: NonZeroUsize) -> Self {
        Self {
            chain_id: genesis.chain_id,
            params: Arc::new(genesis.params.clone()),
            codes: CodeCache::default(),
            threads,
        }
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
            Ok(list) => list,
            Err(fault) => {
                let block = execute()?;
                return Ok((block, HintUse::Wrong(fault.into())));
            }
        };
        if let Some(block) = self.follow(parent, batch, context, &list)? {
            return Ok((block, HintUse::Followed));
        }
        let block = execute()?;
        let computed = block.access().map(BlockAccessList::of).unwrap_or_default().hash();
        let given = list.hash();
        let used = match given == computed {
            // It was right, and something else stood in the way: an order that goes beyond the block's gas.
            true => HintUse::Followed,
            false => HintUse::Wrong(HintFault::Differs { given, computed }),
        };
        Ok((block, used))
    }

    /// The block, if the list is its list.
    fn follow(
        &self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        context: &BlockContext,
        list: &BlockAccessList,
    ) -> Result<Option<UnsealedBlock>, ExecutionError> {
        // What a list names is loaded; more than a block can pay for is not.
        let indices = context.forced.items().len() + batch.items().len();
        if list.items() > most_items(self.params.block_gas_limit, indices) {
            return Ok(None);
        }
        let (tip, order) = (parent.height, batch.certified());
        let facts = assemble::facts_of(tip, order, context, self.chain_id, &self.params)?;
        let decode = |messages| self.decode(messages);
        let forced = Forced::of(&context.forced, order.get(), self.chain_id)?;
        let (jobs, held) = assemble::prepare(batch.items(), Prices::from(order.get()), decode);
        let items = forced.jobs.iter().map(Step::Forced);
        let steps: Vec<Step<'_>> = items.chain(jobs.iter().map(Step::Position)).collect();
        let view = Arc::clone(&parent.view);
        let run = Along {
            params: &self.params,
            facts: &facts,
            codes: &self.codes,
            view: Arc::clone(&view),
            index: Arc::new(Index::load(list, view.as_ref(), self.threads)?),
        };
        // A wrong list may lead anywhere, also to an error. What is really in the way shows in the ordinary
        // execution.
        let Ok(done) = run.all(&steps, self.threads) else { return Ok(None) };
        if !fits(&steps, &done, &facts) {
            return Ok(None);
        }
        let mut access = AccessRecord::default();
        let mut diffs = Vec::with_capacity(done.len());
        let (mut ran, mut results) = (Vec::new(), Vec::with_capacity(jobs.len()));
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
        // By induction over the positions: the first one ran on the parent state, so what it left behind is
        // right; the list says the same, so the second one ran on the right state; and so on.
        if BlockAccessList::of(&access) != *list {
            return Ok(None);
        }
        let diff = joined(view.as_ref(), diffs)?;
        let forced = DoneForced { forced, ran };
        let results = assemble::results(forced, batch.items(), held, results, facts.base_fee_wei);
        let (commitment, opening_root) = (order.digest(), batch.opening_root());
        let (diff, access) = (Arc::new(diff), Arc::new(access));
        let executed = Executed { facts, commitment, opening_root, results, diff, access };
        Ok(Some(UnsealedBlock::new(executed)))
    }

    /// Decodes messages and recovers their senders, on all threads.
    fn decode(&self, messages: Messages) -> Vec<Decoded> {
        let share = messages.len().div_ceil(self.threads.get()).max(DECODED_AT_ONCE);
        let decode = |share: &[(Vec<u8>, u64)]| decode_in_order(share.to_vec(), self.chain_id);
        thread::scope(|scope| {
            let mut shares = messages.chunks(share);
            let first = shares.next().unwrap_or_default();
            let helpers: Vec<_> =
                shares.map(|share| (share, scope.spawn(move || decode(share)))).collect();
            let mut decoded = decode(first);
            for (share, helper) in helpers {
                // Of a thread that panicked: the same again, where it is seen.
                decoded.extend(helper.join().unwrap_or_else(|_| decode(share)));
            }
            decoded
        })
    }
}

/// Accounts and slots that a block can access: each costs gas (EIP-7928), but for those that belong to an
/// envelope or a transaction anyway.
fn most_items(gas_limit: u64, positions: usize) -> usize {
    /// Sender, recipient, beneficiary, escrow, the payer's slots, and to spare.
    const FREE_ITEMS: usize = 16;
    let paid = gas_limit / alloy_eip7928::ITEM_COST as u64;
    usize::try_from(paid).unwrap_or(usize::MAX).saturating_add(positions.saturating_mul(FREE_ITEMS))
}

/// Whether no transaction's gas limit exceeds what those before it left of the block's gas: alone it cannot
/// tell. Classes of a height never add up to so much.
fn fits(steps: &[Step<'_>], done: &[Done], facts: &BlockFacts) -> bool {
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
struct Along<'a> {
    params: &'a Arc<ChainParams>,
    facts: &'a BlockFacts,
    codes: &'a CodeCache,
    view: Arc<dyn StateView>,
    index: Arc<Index>,
}

impl Along<'_> {
    /// Every step, each on the state that the list gives for it.
    fn all(&self, steps: &[Step<'_>], threads: NonZeroUsize) -> Result<Vec<Done>, ExecutionError> {
        let next = AtomicUsize::new(0);
        let worker = || -> Result<Vec<(usize, Done)>, ExecutionError> {
            let (params, codes) = (Arc::clone(self.params), self.codes.clone());
            let mut evm = InOrder::new(params, *self.facts, self.overlay(0), codes, 0);
            let mut done = Vec::new();
            loop {
                let from = next.fetch_add(TAKEN_AT_ONCE, Ordering::Relaxed);
                let Some(rest) = steps.get(from..).filter(|rest| !rest.is_empty()) else {
                    return Ok(done);
                };
                for (position, step) in (from..).zip(rest.iter().take(TAKEN_AT_ONCE)) {
                    evm.restart(self.overlay(position));
                    let result = match step {
                        Step::Forced(job) => StepResult::Forced(evm.forced(job)?),
                        Step::Position(job) => StepResult::Position(evm.job(job)?),
                    };
                    let (diff, access) = evm.restart(self.overlay(position)).finish();
                    let access = access.unwrap_or_default();
                    done.push((position, Done { result, diff, access }));
                }
            }
        };
        let helpers = threads.get().min(steps.len().div_ceil(TAKEN_AT_ONCE)).saturating_sub(1);
        let mut done = thread::scope(|scope| {
            let spawned: Vec<_> = (0..helpers).map(|_| scope.spawn(worker)).collect();
            let mut done = worker()?;
            for helper in spawned {
                let helped = helper
                    .join()
                    .map_err(|_| ExecutionError::Evm("a thread panicked".to_owned()))?;
                done.extend(helped?);
            }
            Ok::<_, ExecutionError>(done)
        })?;
        done.sort_unstable_by_key(|(position, _)| *position);
        Ok(done.into_iter().map(|(_, done)| done).collect())
    }

    /// The state before a step, without changes.
    fn overlay(&self, position: usize) -> Overlay {
        let before = Before {
            parent: Arc::clone(&self.view),
            index: Arc::clone(&self.index),
            position: position as u64,
        };
        let mut overlay = Overlay::new(Arc::new(before));
        overlay.record_access();
        overlay.follow(self.facts.spec);
        overlay
    }
}

/// The changes of all positions as those of one block: what changed back is no change.
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
