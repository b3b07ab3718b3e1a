//! Executes opened heights in order, each while later ones are being ordered, and writes each in one
//! atomic batch.

use super::{MemberError, Shared};
use blindfold_execution::{BlockContext, ExecutedBlock, Executor as _, SequentialExecutor};
use blindfold_ordering::validity::certified_height;
use blindfold_wire::opened::OpenedBatch;
use commonware_runtime::{Clock, Spawner};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::mpsc;
use tracing::{debug, error};

/// Opened heights that wait for execution. Ordering runs at most `executed_lag` heights ahead, so the
/// queue never fills on a healthy node.
pub const EXECUTOR_QUEUE: usize = 128;

/// The loop. `batches` come in height order from the one after the executed tip. Ends when the sender
/// is gone, or when a height cannot be executed: going on would mean to diverge.
pub async fn run<E: Clock + Spawner>(
    context: E,
    shared: Arc<Shared>,
    mut batches: mpsc::Receiver<OpenedBatch>,
) {
    while let Some(batch) = batches.recv().await {
        let height = batch.height();
        let worker = Arc::clone(&shared);
        let done = context.child("block").shared(true).spawn(move |context| async move {
            execute(&worker, &batch, || super::unix_ms(context.current()))
        });
        match done.await {
            Ok(Ok(block)) => {
                debug!(target: "blindfold::execution", height, transactions = block.record.transactions.len(), "executed");
                shared.announce_executed(&block);
            }
            Ok(Err(MemberError::AlreadyExecuted)) => {}
            Ok(Err(reason)) => {
                error!(target: "blindfold::execution", height, %reason, "height cannot be executed; the node stops following");
                shared.fail(format!("height {height} cannot be executed: {reason}"));
                return;
            }
            Err(_) => return,
        }
    }
}

fn execute(
    shared: &Shared,
    batch: &OpenedBatch,
    now_ms: impl Fn() -> u64,
) -> Result<ExecutedBlock, MemberError> {
    let state = shared.chain.state();
    if batch.height() <= state.tip().height {
        return Err(MemberError::AlreadyExecuted);
    }
    check_certified_root(shared, batch)?;
    let leader = shared.leader_of(batch.commitment());
    let beneficiary = shared
        .genesis
        .committee
        .members
        .get(leader)
        .map(|member| member.fee_address)
        .unwrap_or_default();
    let executor = SequentialExecutor::new(&shared.genesis).with_decoded(shared.decoded.clone());
    let block = executor.execute(&state, batch, &BlockContext { beneficiary })?;
    let records = &shared.records;
    shared.chain.commit(&block, || records.store_executed(&block, batch, now_ms()))?;
    Ok(block)
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
