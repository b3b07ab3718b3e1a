//! Executes opened heights in order, each while later ones are being ordered, and writes each in one
//! atomic batch.
//!
//! ```text
//!  chunks of h, as they open ─▶ push ─┐
//!  height h, all open ────────▶ finish ─▶ unsealed h ─▶ seal: state root ─▶ commit
//!                                             └─▶ h + 1 is executed meanwhile, if it waits
//! ```
//!
//! A height is begun with its first opened chunk where nothing else is to do, so that only its last chunk is
//! left when it is all open. Where heights wait, as in catching up, the state root of one is computed while the
//! next is executed.

use super::{MemberError, Shared, hints::Hint, recheck::Recheck, records::Beside};
pub use crate::config::ExecutorKind;
use crate::metrics;
use blindfold_execution::{
    BlockContext, ExecutedBlock, Execution, ExecutionError, ExecutionParent, Executor,
    ParallelExecutor, SequentialExecutor, UnsealedBlock,
    bal::{BalExecutor, HintUse},
    state::ParentState,
};
use blindfold_ordering::validity::certified_height;
use blindfold_wire::{
    Certified, OpenedEnvelope, OrderCommitment, genesis::Genesis, opened::OpenedBatch,
};
use commonware_runtime::{Clock, Spawner};
use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, thread};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

/// Opened heights, and chunks of heights, that wait for execution. Ordering runs at most `executed_lag`
/// heights ahead, and chunks that find no room are left out: so the queue never fills on a healthy node.
pub const EXECUTOR_QUEUE: usize = 256;

/// An executor of this kind, and one that executes along access lists. `threads` 0 means one for each core.
pub fn executors(
    genesis: &Genesis,
    kind: ExecutorKind,
    threads: usize,
) -> (Arc<dyn Executor>, BalExecutor) {
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = NonZeroUsize::new(threads).unwrap_or_else(cores);
    match kind {
        ExecutorKind::Parallel => {
            let parallel = ParallelExecutor::new(genesis, threads.get());
            let along = BalExecutor::sharing(genesis, &parallel);
            (Arc::new(parallel), along)
        }
        ExecutorKind::Sequential => {
            let along = BalExecutor::new(genesis, threads);
            (Arc::new(SequentialExecutor::new(genesis)), along)
        }
    }
}

/// Something to execute.
pub enum ToExecute {
    /// Positions of a height of which others are still being opened.
    Chunk(Chunk),
    /// A height, all open. They come in order from the one after the executed tip.
    Height(OpenedBatch),
}

/// Positions that were opened together.
pub struct Chunk {
    /// The order that they are part of.
    pub order: Certified<OrderCommitment>,
    /// The first position.
    pub first: usize,
    /// The positions from there on, without gaps.
    pub items: Vec<OpenedEnvelope>,
}

/// A height that was begun before it was all open.
struct Begun {
    height: u64,
    /// Positions executed.
    pushed: usize,
    execution: Box<dyn Execution>,
}

/// An executed height without its state root, with what it is made of.
struct Unsealed {
    block: UnsealedBlock,
    batch: OpenedBatch,
}

/// The loop. Ends when the sender is gone, or when a height cannot be executed: going on would mean to
/// diverge.
pub async fn run<E: Clock + Spawner>(
    context: E,
    shared: Arc<Shared>,
    mut queue: mpsc::Receiver<ToExecute>,
) {
    let mut line = Line { shared: Arc::clone(&shared), begun: None, unsealed: None };
    loop {
        // What is executed already is not kept waiting for the height after it.
        let next = match &line.unsealed {
            Some(_) => queue.try_recv().ok(),
            None => match queue.recv().await {
                Some(next) => Some(next),
                None => return,
            },
        };
        let now = context.child("clock");
        let work = context.child("block").shared(true).spawn(move |_| async move {
            let now_ms = || super::unix_ms(now.current());
            let done = line.step(next, now_ms);
            (line, done)
        });
        let Ok((back, done)) = work.await else { return };
        line = back;
        match done {
            Ok(Some((block, recheck))) => {
                if let Some(again) = recheck.and_then(|recheck| shared.rechecks.take(recheck)) {
                    let genesis = Arc::clone(&shared.genesis);
                    // Nobody waits for it.
                    let spawner = context.child("recheck").shared(true);
                    drop(spawner.spawn(move |_| async move { again(&genesis) }));
                }
                debug!(target: "blindfold::execution", height = block.height(), transactions = block.record.transactions.len(), "executed");
                shared.announce_executed(&block);
            }
            Ok(None) => {}
            Err((height, reason)) => {
                error!(target: "blindfold::execution", height, %reason, "height cannot be executed; the node stops following");
                shared.fail(format!("height {height} cannot be executed: {reason}"));
                return;
            }
        }
    }
}

/// Heights on their way through execution: at most one begun, and one that lacks its state root.
struct Line {
    shared: Arc<Shared>,
    begun: Option<Begun>,
    unsealed: Option<Unsealed>,
}

type Failure = (u64, MemberError);

/// A block that was written, and what it takes to execute it again if it was chosen for that.
type Written = (ExecutedBlock, Option<Recheck>);

impl Line {
    /// Does what there is to do; returns the block that was written, if one was.
    fn step(
        &mut self,
        next: Option<ToExecute>,
        now_ms: impl Fn() -> u64,
    ) -> Result<Option<Written>, Failure> {
        let state = self.shared.chain.state();
        let unsealed = self.unsealed.take();
        match (unsealed, next) {
            (None, None) => Ok(None),
            (None, Some(ToExecute::Chunk(chunk))) => {
                self.push(&ExecutionParent::of(&state), chunk);
                Ok(None)
            }
            (None, Some(ToExecute::Height(batch))) => {
                let height = batch.height();
                if height > state.tip().height {
                    let parent = ExecutionParent::of(&state);
                    let block = self.execute(&parent, &batch).map_err(|e| (height, e))?;
                    self.unsealed = Some(Unsealed { block, batch });
                }
                Ok(None)
            }
            (Some(Unsealed { block, batch }), next) => {
                let height = block.height();
                let after = ExecutionParent::after(&state, &block);
                let shared = Arc::clone(&self.shared);
                let (sealed, executed) = thread::scope(|scope| {
                    // Beside whatever comes next: its transactions may wait for the hash of this block.
                    let Some(next) = next else { return (seal(&shared, block, &state), None) };
                    let sealing = scope.spawn(|| seal(&shared, block, &state));
                    let executed = match next {
                        ToExecute::Height(next) if next.height() == height + 1 => {
                            Some((self.execute(&after, &next), next))
                        }
                        ToExecute::Chunk(chunk) => {
                            self.push(&after, chunk);
                            None
                        }
                        ToExecute::Height(_) => None,
                    };
                    let panicked = || ExecutionError::Evm("sealing a block panicked".to_owned());
                    (sealing.join().unwrap_or_else(|_| Err(panicked().into())), executed)
                });
                let (sealed, beside) = sealed.map_err(|error| (height, error))?;
                let recheck = self.recheck(&sealed, &beside, &batch);
                self.commit(&sealed, beside, &batch, now_ms()).map_err(|error| (height, error))?;
                if let Some((executed, batch)) = executed {
                    let block = executed.map_err(|error| (batch.height(), error))?;
                    self.unsealed = Some(Unsealed { block, batch });
                }
                Ok(Some((sealed, recheck)))
            }
        }
    }

    /// Executes a chunk, if it is the next one of the next height. Nothing depends on it: what goes wrong here
    /// goes wrong again with the whole height, which says so.
    fn push(&mut self, parent: &ExecutionParent, chunk: Chunk) {
        let height = chunk.order.get().height;
        if chunk.first == 0 {
            let begin = |context| self.shared.executor.begin(parent, &chunk.order, &context).ok();
            self.begun = context_of(&self.shared, chunk.order.get())
                .ok()
                .and_then(begin)
                .map(|execution| Begun { height, pushed: 0, execution });
        }
        let Some(begun) = &mut self.begun else { return };
        if begun.height != height || begun.pushed != chunk.first {
            return;
        }
        begun.pushed += chunk.items.len();
        if begun.execution.push(&chunk.items).is_err() {
            self.begun = None;
        }
    }

    fn execute(
        &mut self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
    ) -> Result<UnsealedBlock, MemberError> {
        let hint = self.shared.hints.take(batch.height());
        if let Some(begun) = self.begun.take().filter(|begun| begun.height == batch.height()) {
            match begun.execution.finish(batch) {
                // Begun with other openings, which a peer's superseded: from the start, then.
                Err(ExecutionError::OtherBatch { .. }) => {}
                done => return Ok(done?),
            }
        }
        let context = context_of(&self.shared, batch.commitment())?;
        if let Some(hint) = hint {
            return self.execute_along(parent, batch, &context, hint);
        }
        let execution = self.shared.executor.begin(parent, batch.certified(), &context)?;
        Ok(execution.finish(batch)?)
    }

    /// Executes along an access list that came with the openings, if it is the height's.
    fn execute_along(
        &self,
        parent: &ExecutionParent,
        batch: &OpenedBatch,
        context: &BlockContext,
        Hint { peer, bytes }: Hint,
    ) -> Result<UnsealedBlock, MemberError> {
        let shared = &self.shared;
        let ordinary = shared.executor.as_ref();
        let (block, used) = shared.along.execute_along(ordinary, parent, batch, context, &bytes)?;
        match used {
            HintUse::Followed => metrics::hint("followed"),
            HintUse::Wrong(fault) => {
                metrics::hint("wrong");
                warn!(target: "blindfold::execution", height = batch.height(), %peer, %fault, "wrong access list");
                shared.hints.wrong(peer);
            }
        }
        Ok(block)
    }

    /// What it takes to execute the height again, if it is to be.
    fn recheck(
        &self,
        block: &ExecutedBlock,
        beside: &Beside,
        batch: &OpenedBatch,
    ) -> Option<Recheck> {
        let witness = beside.witness.as_ref();
        let witness = witness.filter(|_| self.shared.rechecks.wants(block.height()))?;
        Some(Recheck {
            record: Arc::clone(&block.record),
            batch: batch.clone(),
            context: context_of(&self.shared, batch.commitment()).ok()?,
            witness: witness.bytes.clone(),
        })
    }

    fn commit(
        &self,
        block: &ExecutedBlock,
        beside: Beside,
        batch: &OpenedBatch,
        now_ms: u64,
    ) -> Result<(), MemberError> {
        let shared = &self.shared;
        check_certified_root(shared, batch)?;
        shared
            .chain
            .commit(block, || shared.records.store_executed(block, beside, batch, now_ms))?;
        shared.forced_executed(batch.commitment());
        Ok(())
    }
}

/// Computes the state root of a block, and makes what needs the state before it while that is still there.
fn seal(
    shared: &Shared,
    block: UnsealedBlock,
    parent: &ParentState,
) -> Result<(ExecutedBlock, Beside), MemberError> {
    let sealed = block.seal(parent)?;
    let wanted = shared.rechecks.wants(sealed.height());
    let witness = shared.witnesses.make(&shared.records, parent, &sealed, wanted);
    let outbox = shared.outbox.writes(&shared.book, parent, &sealed)?;
    Ok((sealed, Beside { witness, outbox }))
}

fn context_of(shared: &Shared, commitment: &OrderCommitment) -> Result<BlockContext, MemberError> {
    let leader = shared.leader_of(commitment);
    let members = &shared.genesis.committee.members;
    let beneficiary = members.get(leader).map(|member| member.fee_address).unwrap_or_default();
    Ok(BlockContext { beneficiary, forced: shared.forced_of(commitment)? })
}

/// A quorum has certified the root of h − k in the commitment of h. A node whose own root is another
/// has diverged, by a fault of its disk, its memory or its version: it must not go on serving.
fn check_certified_root(shared: &Shared, batch: &OpenedBatch) -> Result<(), MemberError> {
    let commitment = batch.commitment();
    let Some(height) = certified_height(&shared.genesis.params, commitment.height) else {
        return Ok(());
    };
    let ours = shared.chain.executed(height, &BTreeSet::new())?.executed_root;
    if ours == commitment.executed_root {
        return Ok(());
    }
    Err(MemberError::Diverged { height, ours, certified: commitment.executed_root })
}
