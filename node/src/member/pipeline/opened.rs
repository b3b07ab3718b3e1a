//! From what the collector decides to heights that the executor gets in order.

use super::{Pipeline, PipelineEvent, WORKER_THREADS};
use crate::{
    member::{
        MemberError,
        executor::{Chunk, ToExecute},
        messages::ShareMessage,
    },
    metrics,
};
use blindfold_committee::{collector::Effect, decide::OpenedChunk};
use blindfold_ordering::engine::Identity;
use blindfold_wire::{Certified, OpenedEnvelope, OrderCommitment, opened::OpenedBatch};
use commonware_p2p::{Blocker, Recipients, Sender};
use commonware_runtime::{Clock, Spawner};
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tracing::{error, warn};

/// Opened heights that wait for a lower one.
const OPENED_MAX: usize = 4_096;

/// Hands what a chunk opened to the executor, while the chunks after it are being opened. Of the last one
/// nothing is open for that long: the whole height follows at once.
fn execute_ahead(
    executor: &mpsc::Sender<ToExecute>,
    order: &Certified<OrderCommitment>,
    chunk: &OpenedChunk<'_>,
) {
    let Some(first) = chunk.positions.first().filter(|_| chunk.to_come > 0) else { return };
    let gapless = chunk.positions.iter().zip(first.position..);
    let items = gapless
        .take_while(|(opened, position)| opened.position == *position)
        .map(|(opened, _)| OpenedEnvelope {
            envelope: opened.envelope.clone(),
            opening: opened.opening.clone(),
        })
        .collect();
    let chunk = Chunk { order: order.clone(), first: first.position, items };
    // Where there is no room the executor has enough to do.
    let _ = executor.try_send(ToExecute::Chunk(chunk));
}

impl<E, X, B> Pipeline<E, X, B>
where
    E: Clock + Spawner,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity> + Sync,
{
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), MemberError> {
        for effect in effects {
            match effect {
                Effect::Decide(job) => {
                    let (events, executor) = (self.events.clone(), self.executor.clone());
                    // Only of the next height: the executor has no use for the others yet.
                    let next = job.height() == self.next_to_execute;
                    self.context.child("decide").shared(true).spawn(move |_| async move {
                        let order = job.order().clone();
                        let decided = job.run_in_chunks(WORKER_THREADS, |chunk| {
                            if next {
                                execute_ahead(&executor, &order, &chunk);
                            }
                        });
                        let _ = events.send(PipelineEvent::Decided(decided));
                    });
                }
                Effect::Opened(opened) => self.on_opened(opened).await?,
                Effect::Evidence(evidence) => {
                    warn!(target: "blindfold::committee", "a member can be slashed");
                    // What does not verify here would cost us our peers.
                    if self.shared.keep_evidence(&evidence) {
                        self.tell_all(&ShareMessage::Evidence(evidence));
                    }
                }
                Effect::Uncertified(release) => {
                    metrics::evidence("uncertified_release");
                    self.shared.uncertified_releases.fetch_add(1, Ordering::Relaxed);
                    error!(target: "blindfold::committee", member = release.signed.header.member,
                        height = release.signed.header.height, "a member released shares of an order that is not final");
                }
            }
        }
        Ok(())
    }

    pub(super) async fn on_opened_elsewhere(
        &mut self,
        opened: OpenedBatch,
    ) -> Result<(), MemberError> {
        if !self.open.contains_key(&opened.height()) {
            return Ok(());
        }
        self.collector.on_opened_elsewhere(&opened);
        self.on_opened(opened).await
    }

    async fn on_opened(&mut self, opened: OpenedBatch) -> Result<(), MemberError> {
        let height = opened.height();
        if self.open.remove(&height).is_none() {
            return Ok(());
        }
        let set = opened.encode_opening_set();
        let waiting = self.parked.take(height);
        let answer = (!waiting.is_empty()).then(|| ShareMessage::openings(&set));
        self.shared.records.store_openings(height, set, self.now_ms())?;
        self.resend.on_opened(height);
        self.asking.found(height);
        if let Some(answer) = answer {
            self.sender.send(Recipients::Some(waiting), answer, false);
        }
        self.queue_opened(opened).await
    }

    pub(super) async fn queue_opened(&mut self, opened: OpenedBatch) -> Result<(), MemberError> {
        self.opened.insert(opened.height(), opened);
        while let Some(next) = self.opened.remove(&self.next_to_execute) {
            self.shared.announce_opened(&next);
            self.shared.chain.on_opened(next.height());
            self.next_to_execute += 1;
            self.executor.send(ToExecute::Height(next)).await.map_err(|_| MemberError::Stopping)?;
        }
        if self.opened.len() > OPENED_MAX {
            return Err(MemberError::Missing { what: "opening", height: self.next_to_execute });
        }
        Ok(())
    }
}
