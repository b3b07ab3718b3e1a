//! From a final order to an opened batch: certify, release, collect, open.
//!
//! ```text
//!  engine ── finalized h ──▶ check envelopes ─▶ journal, sign, store ─▶ send bundle ─▶ ack
//!                                                        │
//!  peers ─── bundles, openings ──────▶ Collector ◀───────┘
//!                                          │ t bundles
//!                                          ▼
//!                                   decide (worker) ──▶ openings stored ──▶ executor, in order
//! ```
//!
//! One loop owns the collector, so its decisions need no lock; arithmetic runs on workers and comes
//! back as events, and what peers ask for is read and sent [beside it](Requests). A height whose opening
//! is late is asked for from one peer after another, which covers lost bundles, a restart, a member that
//! was away, and a follower, which gets no bundles at all.
//!
//! # What is durable when
//!
//! 1. before a bundle leaves: the journal's record of it (synchronous) and the height's record with
//!    the proof that it is final;
//! 2. before the engine forgets the height (ack): the same. One fsync serves all heights that came together;
//! 3. before a height is executed: its openings.
//!
//! # Behind
//!
//! A height that the committee has behind it (`Shared::is_behind`) is open at a quorum. For it nothing is
//! released: its openings are asked for at once, of all members in turn. Only if nobody has them after
//! `RELEASE_ANYWAY_MS`, as after a power failure of all, are shares released as for a new height.

mod aside;
mod opened;
mod peers;
mod release;

pub use aside::{Requests, serve};
pub use peers::read_shares;

use super::{
    MemberError, Shared,
    asking::{Asking, Parked},
    executor::ToExecute,
    messages::ShareMessage,
    pool,
};
use blindfold_committee::{
    batch::SealedBatch,
    catchup,
    collector::{Collector, CollectorConfig},
    decide::DecidedBatch,
    resend::ResendSchedule,
};
use blindfold_ordering::{
    engine::Identity,
    events::{self, FinalizedHeight},
};
use blindfold_wire::{bundle::ShareBundle, opened::OpenedBatch};
use commonware_p2p::{Blocker, Sender};
use commonware_runtime::{Clock, Spawner};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

/// Threads that one decision or release may use.
const WORKER_THREADS: usize = 2;
/// Peers' messages that wait for the loop. A message may hold the openings of a whole height, and the
/// transport keeps more of them back.
pub const SHARE_QUEUE: usize = 32;
/// How often resends and late openings are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Events handled before what they wrote is made durable.
const EVENTS_TOGETHER: usize = 64;
/// Something for the loop to do.
pub enum PipelineEvent {
    /// A height is final.
    Finalized(Box<FinalizedHeight>),
    /// A peer said something.
    Peer(Identity, Box<ShareMessage>),
    /// A decision is made.
    Decided(DecidedBatch),
    /// A peer's openings of a height were verified, or not.
    Verified(Identity, u64, Box<Result<OpenedBatch, catchup::CatchUpError>>),
    /// Tell all members and followers.
    Tell(ShareMessage),
}

/// A final height without its openings.
struct OpenHeight {
    batch: SealedBatch,
    /// What we released.
    own: Option<Arc<ShareBundle>>,
    /// When we release after all; `None` if we have, or have nothing to release.
    release_at_ms: Option<u64>,
}

/// The loop's own state.
pub struct Pipeline<E, X, B> {
    context: E,
    shared: Arc<Shared>,
    sender: X,
    blocker: B,
    peers: Vec<Identity>,
    requests: Requests,
    events: mpsc::UnboundedSender<PipelineEvent>,
    executor: mpsc::Sender<ToExecute>,
    collector: Collector,
    resend: ResendSchedule,
    /// Final heights that wait for room in the collector.
    waiting: VecDeque<(SealedBatch, Option<events::Ack>)>,
    /// Records were written that are not durable yet.
    unsynced: bool,
    /// Final, not opened.
    open: BTreeMap<u64, OpenHeight>,
    asking: Asking,
    /// Peers that asked for openings before there were any.
    parked: Parked,
    /// Opened, waiting for a lower height.
    opened: BTreeMap<u64, OpenedBatch>,
    next_to_execute: u64,
}

impl<E, X, B> Pipeline<E, X, B>
where
    E: Clock + Spawner,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity> + Sync,
{
    /// A pipeline that continues above the executed tip. `peers` are the other members, who have their places
    /// in `requests`.
    pub fn new(
        context: E,
        shared: Arc<Shared>,
        (sender, blocker): (X, B),
        (peers, requests): (Vec<Identity>, Requests),
        events: mpsc::UnboundedSender<PipelineEvent>,
        executor: mpsc::Sender<ToExecute>,
    ) -> Self {
        let first_height = shared.chain.progress().executed_height + 1;
        let collector = Collector::new(CollectorConfig {
            chain_id: shared.genesis.chain_id,
            settlement: shared.genesis.settlement,
            public: shared.public.clone(),
            signers: shared.genesis.committee.members.iter().map(|member| member.signer).collect(),
            first_height,
        });
        // Each begins with another one, so that late members do not all ask the same.
        let asking = Asking::new(peers.len(), shared.seat());
        Self {
            context,
            shared,
            sender,
            blocker,
            peers,
            requests,
            events,
            executor,
            collector,
            resend: ResendSchedule::new(),
            waiting: VecDeque::new(),
            unsynced: false,
            open: BTreeMap::new(),
            asking,
            parked: Parked::default(),
            opened: BTreeMap::new(),
            next_to_execute: first_height,
        }
    }

    /// The loop. Ends when the engine is gone or the database fails.
    pub async fn run(
        mut self,
        mut inputs: mpsc::UnboundedReceiver<PipelineEvent>,
        mut messages: mpsc::Receiver<PipelineEvent>,
    ) {
        if let Err(reason) = self.resume().await {
            return self.stop(&reason);
        }
        let mut tick_at = self.context.current() + TICK;
        loop {
            // In order of preference: what is due must not wait behind a flood of messages.
            let event = commonware_macros::select! {
                _ = self.context.sleep_until(tick_at) => None,
                event = inputs.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                event = messages.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
            };
            let handled = match event {
                Some(event) => {
                    let mut handled = self.handle(event).await;
                    // Heights come in flocks while we catch up: they share an fsync.
                    for _ in 1..EVENTS_TOGETHER {
                        let Some(event) = inputs.try_recv().ok().filter(|_| handled.is_ok()) else {
                            break;
                        };
                        handled = self.handle(event).await;
                    }
                    match handled {
                        // An opened height may have made room for one that waits.
                        Ok(()) => self.collect_waiting().await,
                        failed => failed,
                    }
                }
                None => {
                    let done = self.tick().await;
                    // From its end, so that a slow one cannot crowd out the messages in turn.
                    tick_at = self.context.current() + TICK;
                    done
                }
            };
            if let Err(reason) = handled {
                return self.stop(&reason);
            }
        }
    }

    fn stop(&self, reason: &MemberError) {
        error!(target: "blindfold::committee", %reason, "the pipeline stops");
        self.shared.fail(reason.to_string());
    }

    fn now_ms(&self) -> u64 {
        super::unix_ms(self.context.current())
    }

    /// Takes up final heights that an earlier run acknowledged but did not execute.
    async fn resume(&mut self) -> Result<(), MemberError> {
        let mut height = self.next_to_execute;
        // The base fee of the next height follows from the last one, executed or not.
        if let Some(tip) = self.shared.records.block(height - 1)? {
            let envelopes = self.check(&tip).await?;
            self.shared.chain.on_ordered(&tip.commitment.commitment, &envelopes);
        }
        while let Some(record) = self.shared.records.height(height)? {
            let block = self
                .shared
                .records
                .block(height)?
                .ok_or(MemberError::Missing { what: "block", height })?;
            let certified =
                record.certify(block.commitment.commitment.clone(), &self.shared.votes)?;
            let envelopes = self.check(&block).await?;
            let batch = SealedBatch::new(certified, envelopes)?;
            self.shared.keep_forced(&block);
            self.shared.chain.on_ordered(batch.commitment(), batch.envelopes());
            // The pool was restored as of the executed height.
            pool::on_height(&self.shared, height, batch.envelopes())?;
            if let Some(set) = self.shared.records.openings(height)? {
                let items = batch.envelopes().iter().cloned().zip(set.openings).collect();
                let opened = OpenedBatch::new(batch.certified().clone(), items)?;
                self.collector.on_opened_elsewhere(&opened);
                self.queue_opened(opened).await?;
            } else {
                self.release_and_collect(batch, None, record).await?;
                self.collect_waiting().await?;
            }
            height += 1;
        }
        if height > self.next_to_execute {
            info!(target: "blindfold::committee", first = self.next_to_execute, last = height - 1, "resumed final heights");
        }
        Ok(())
    }

    async fn handle(&mut self, event: PipelineEvent) -> Result<(), MemberError> {
        match event {
            PipelineEvent::Finalized(finalized) => self.on_finalized(*finalized).await,
            PipelineEvent::Peer(peer, message) => self.on_message(peer, *message).await,
            PipelineEvent::Decided(decided) => {
                let effects = self.collector.on_decided(decided);
                self.perform(effects).await
            }
            PipelineEvent::Verified(peer, height, outcome) => match *outcome {
                Ok(opened) => self.on_opened_elsewhere(opened).await,
                Err(error) => {
                    let now_ms = self.now_ms();
                    if let Some(number) = self.number(&peer) {
                        self.asking.refused(height, number, now_ms);
                    }
                    warn!(target: "blindfold::committee", %peer, height, %error, "openings refused");
                    if error.peer_at_fault() {
                        self.blocker.block(peer);
                    }
                    Ok(())
                }
            },
            PipelineEvent::Tell(message) => {
                self.tell_all(&message);
                Ok(())
            }
        }
    }

    async fn check(
        &self,
        block: &blindfold_wire::block::Block,
    ) -> Result<Vec<blindfold_wire::CheckedEnvelope>, MemberError> {
        if block.envelopes.is_empty() {
            return Ok(self.shared.checker.check_block(block)?);
        }
        let (checker, block) = (Arc::clone(&self.shared.checker), block.clone());
        let checked = self
            .context
            .child("check")
            .shared(true)
            .spawn(move |_| async move { checker.check_block(&block) });
        Ok(checked.await.map_err(|_| MemberError::Stopping)??)
    }

    /// Sends again what is owed, and asks for what is late: the lowest first, each time another peer.
    async fn tick(&mut self) -> Result<(), MemberError> {
        let now_ms = self.now_ms();
        // The schedule keeps the lowest heights; the others come back once it has room.
        for (height, open) in &self.open {
            if let Some(bundle) = open.own.as_ref().filter(|_| !self.resend.holds(*height))
                && !self.resend.on_released(Arc::clone(bundle), now_ms)
            {
                break;
            }
        }
        for bundle in self.resend.due(now_ms) {
            self.tell(&ShareMessage::Bundle(bundle.as_ref().clone()));
        }
        self.release_after_all(now_ms).await?;
        for peer in self.shared.hints.liars() {
            warn!(target: "blindfold::committee", %peer, "wrong access list; blocking the peer");
            self.blocker.block(peer);
        }
        self.ask();
        Ok(())
    }
}
