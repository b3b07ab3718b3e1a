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
//! back as events. A height whose opening is late is asked for from one peer after another, which
//! covers lost bundles, a restart, a member that was away, and a follower, which gets no bundles at all.
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

use super::{
    MemberError, Shared,
    asking::{Asking, PATIENCE_MS, Parked},
    executor::{Chunk, ToExecute},
    hints::Hint,
    messages::{MAX_HINT_BYTES, ShareMessage},
    pool,
    records::{FinalProof, HeightRecord},
};
use crate::metrics;
use blindfold_committee::{
    batch::SealedBatch,
    catchup,
    collector::{CertifiedError, Collector, CollectorConfig, Effect},
    decide::{DecidedBatch, OpenedChunk},
    resend::ResendSchedule,
};
use blindfold_ordering::{
    engine::Identity,
    events::{self, FinalizedHeight},
};
use blindfold_wire::{
    Certified, OpenedEnvelope, OrderCommitment, bundle::ShareBundle, evidence::Evidence,
    opened::OpenedBatch, opening::OpeningSet,
};
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Spawner};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

/// Threads that one decision or release may use.
const WORKER_THREADS: usize = 2;
/// Peers' messages that wait for the loop. A message may hold the openings of a whole height, and the
/// transport keeps more of them back.
pub const SHARE_QUEUE: usize = 32;
/// How often resends and late openings are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long openings of a height behind are only asked for.
const RELEASE_ANYWAY_MS: u64 = 6_000;
/// Events handled before what they wrote is made durable.
const EVENTS_TOGETHER: usize = 64;
/// Opened heights that wait for a lower one.
const OPENED_MAX: usize = 4_096;

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

/// Takes share messages off the network; a peer whose message does not decode is blocked.
pub async fn read_shares<R, B>(mut receiver: R, queue: mpsc::Sender<PipelineEvent>, mut blocker: B)
where
    R: Receiver<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    while let Ok((peer, message)) = receiver.recv().await {
        match ShareMessage::decode(message.as_ref()) {
            Ok(message) => {
                if queue.send(PipelineEvent::Peer(peer, Box::new(message))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(target: "blindfold::committee", %peer, %error, "undecodable share message; blocking the peer");
                blocker.block(peer);
            }
        }
    }
}

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
    /// A pipeline that continues above the executed tip. `peers` are the other members.
    pub fn new(
        context: E,
        shared: Arc<Shared>,
        (sender, blocker): (X, B),
        peers: Vec<Identity>,
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

    async fn on_finalized(&mut self, finalized: FinalizedHeight) -> Result<(), MemberError> {
        let FinalizedHeight { block, certified, certificate, descendants, ack } = finalized;
        let height = certified.get().height;
        // Delivered again after a restart, and taken up by `resume` or handed to the executor already.
        if height < self.next_to_execute
            || self.open.contains_key(&height)
            || self.opened.contains_key(&height)
        {
            ack.done();
            return Ok(());
        }
        let envelopes = self.check(block.block()).await?;
        let record = HeightRecord {
            digest: certified.digest(),
            ordered_ms: self.now_ms(),
            proof: FinalProof { certificate, descendants },
            released: None,
            opened_ms: 0,
            executed_ms: 0,
        };
        let batch = SealedBatch::new(certified, envelopes)?;
        self.shared.keep_forced(block.block());
        self.shared.chain.on_ordered(batch.commitment(), batch.envelopes());
        pool::on_height(&self.shared, height, batch.envelopes())?;
        self.shared.announce_ordered(&batch, self.now_ms());
        self.release_and_collect(batch, Some(ack), record).await
    }

    /// Stores the record, releases our shares, and hands the height to the collector.
    async fn release_and_collect(
        &mut self,
        batch: SealedBatch,
        ack: Option<events::Ack>,
        mut record: HeightRecord,
    ) -> Result<(), MemberError> {
        let height = batch.height();
        let behind = self.shared.is_behind(height);
        let mut own = None;
        if !behind {
            own = self.release(&batch, &mut record).await?;
        }
        // Acknowledged heights are not delivered again, so the record must be durable: with the journal's
        // write, or, where nothing was signed, before the acknowledgement.
        self.shared.records.store_ordered(&batch, &record)?;
        self.unsynced |= own.is_none();
        let now_ms = self.now_ms();
        let releases_later = behind && !batch.is_empty() && self.shared.keys.is_some();
        let open = OpenHeight {
            batch: batch.clone(),
            own: own.clone(),
            release_at_ms: releases_later.then(|| now_ms.saturating_add(RELEASE_ANYWAY_MS)),
        };
        if !batch.is_empty() {
            let at_once = behind || self.shared.keys.is_none();
            let patience_ms = if at_once { 0 } else { PATIENCE_MS };
            self.asking.missing(height, now_ms.saturating_add(patience_ms));
        }
        self.open.insert(height, open);
        self.waiting.push_back((batch, ack));
        if let Some(bundle) = own {
            self.spread(bundle).await?;
        }
        self.ask();
        Ok(())
    }

    /// Signs our bundle of a final height, if we are a member and the height orders anything. What it
    /// leaves to do: [`spread`](Self::spread), after the record is stored.
    async fn release(
        &self,
        batch: &SealedBatch,
        record: &mut HeightRecord,
    ) -> Result<Option<Arc<ShareBundle>>, MemberError> {
        let Some(keys) = self.shared.keys.as_ref().filter(|_| !batch.is_empty()) else {
            return Ok(None);
        };
        // The proof is stored before the journal's synchronous write, and so is durable with it.
        self.shared.records.store_height(batch.height(), record)?;
        let (releaser, sealed) = (Arc::clone(&keys.releaser), batch.clone());
        let release = self
            .context
            .child("release")
            .shared(true)
            .spawn(move |_| async move { releaser.release(&sealed, WORKER_THREADS) });
        let released = release.await.map_err(|_| MemberError::Stopping)??;
        record.released = released.as_ref().map(|release| release.bundle.signed_header());
        Ok(released.map(|release| release.bundle))
    }

    /// Sends our bundle, now and again until the height is opened, and counts it ourselves.
    async fn spread(&mut self, bundle: Arc<ShareBundle>) -> Result<(), MemberError> {
        self.resend.on_released(Arc::clone(&bundle), self.now_ms());
        self.tell(&ShareMessage::Bundle(bundle.as_ref().clone()));
        self.on_bundle(bundle.as_ref().clone(), None).await
    }

    /// Releases what was only asked for, and what nobody had.
    async fn release_after_all(&mut self, now_ms: u64) -> Result<(), MemberError> {
        let due = |open: &OpenHeight| open.release_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        while let Some((height, open)) = self.open.iter_mut().find(|(_, open)| due(open)) {
            open.release_at_ms = None;
            let (height, batch) = (*height, open.batch.clone());
            let stored = self.shared.records.height(height)?;
            let mut record =
                stored.ok_or(MemberError::Missing { what: "height record", height })?;
            if let Some(bundle) = self.release(&batch, &mut record).await? {
                warn!(target: "blindfold::committee", height, "nobody has the openings; releasing shares again");
                self.shared.records.store_height(height, &record)?;
                if let Some(open) = self.open.get_mut(&height) {
                    open.own = Some(Arc::clone(&bundle));
                }
                self.spread(bundle).await?;
            }
        }
        Ok(())
    }

    /// The number of a member among those that are asked.
    fn number(&self, peer: &Identity) -> Option<usize> {
        self.peers.iter().position(|member| member == peer)
    }

    /// Asks for the openings that are due.
    fn ask(&mut self) {
        for (height, number) in self.asking.due(self.now_ms()) {
            let recipient = Recipients::One(self.peers[number].clone());
            self.sender.send(recipient, ShareMessage::Wanted(height).encode(), false);
        }
    }

    async fn collect_waiting(&mut self) -> Result<(), MemberError> {
        if std::mem::take(&mut self.unsynced) {
            self.shared.records.sync().await?;
        }
        while let Some((batch, ack)) = self.waiting.pop_front() {
            match self.collector.on_certified(batch.clone()) {
                Ok(effects) => {
                    if let Some(ack) = ack {
                        ack.done();
                    }
                    self.perform(effects).await?;
                }
                Err(CertifiedError::Backlog) => {
                    // Not acknowledged, so the engine holds back too.
                    self.waiting.push_front((batch, ack));
                    return Ok(());
                }
                Err(forked @ CertifiedError::Forked { .. }) => return Err(forked.into()),
            }
        }
        Ok(())
    }

    async fn on_bundle(
        &mut self,
        bundle: ShareBundle,
        from: Option<Identity>,
    ) -> Result<(), MemberError> {
        match self.collector.on_bundle(bundle) {
            Ok(effects) => self.perform(effects).await,
            Err(error) => {
                if let Some(peer) = from.filter(|_| error.peer_at_fault()) {
                    warn!(target: "blindfold::committee", %peer, %error, "share bundle refused; blocking the peer");
                    self.blocker.block(peer);
                } else {
                    debug!(target: "blindfold::committee", %error, "share bundle not kept");
                }
                Ok(())
            }
        }
    }

    async fn on_message(
        &mut self,
        peer: Identity,
        message: ShareMessage,
    ) -> Result<(), MemberError> {
        match message {
            ShareMessage::Bundle(bundle) => self.on_bundle(bundle, Some(peer)).await,
            ShareMessage::Wanted(height) => self.answer(peer, height),
            ShareMessage::Openings(set) => {
                let height = set.height;
                // Verifying costs as much as deciding: only what was asked for, of members, one set of a
                // height at a time.
                if let Some(open) = self.open.get(&height)
                    && let Some(number) = self.number(&peer)
                    && self.asking.answered(height, number)
                {
                    let (public, batch, events) =
                        (self.shared.public.clone(), open.batch.clone(), self.events.clone());
                    self.context.child("verify").shared(true).spawn(move |_| async move {
                        let outcome =
                            catchup::verify_openings(&public, &batch, set, WORKER_THREADS);
                        let _ =
                            events.send(PipelineEvent::Verified(peer, height, Box::new(outcome)));
                    });
                }
                Ok(())
            }
            ShareMessage::AccessList { height, list } => {
                // Followed or refuted when the height is executed; wanted of those who can be asked.
                if self.open.contains_key(&height) && self.number(&peer).is_some() {
                    self.shared.hints.keep(height, Hint { peer, bytes: list });
                }
                Ok(())
            }
            ShareMessage::Evidence(evidence) => {
                self.on_evidence(peer, &evidence);
                Ok(())
            }
        }
    }

    /// Answers a peer that misses a height: with its openings, now or once there are some. A member
    /// meanwhile gets our bundle; a follower, which collects none, does not.
    fn answer(&mut self, peer: Identity, height: u64) -> Result<(), MemberError> {
        let message = match self.shared.records.openings(height)? {
            Some(set) => Some(ShareMessage::Openings(set)),
            None => {
                let opened_height = self.shared.chain.progress().opened_height;
                self.parked.park(height, opened_height, peer.clone());
                let own = self.open.get(&height).and_then(|open| open.own.as_deref());
                own.filter(|_| self.number(&peer).is_some()).cloned().map(ShareMessage::Bundle)
            }
        };
        if let Some(message) = message {
            // Before the openings, so that it is there when they are.
            if matches!(message, ShareMessage::Openings(_))
                && let Some(list) = self.shared.records.access_list_bytes(height)?
                && list.len() <= MAX_HINT_BYTES
            {
                let hint = ShareMessage::AccessList { height, list: list.into() };
                self.sender.send(Recipients::One(peer.clone()), hint.encode(), false);
            }
            self.sender.send(Recipients::One(peer), message.encode(), false);
        }
        Ok(())
    }

    fn on_evidence(&mut self, peer: Identity, evidence: &Evidence) {
        if !self.shared.keep_evidence(evidence) {
            warn!(target: "blindfold::committee", %peer, "false evidence; blocking the peer");
            self.blocker.block(peer);
        }
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), MemberError> {
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

    async fn on_opened_elsewhere(&mut self, opened: OpenedBatch) -> Result<(), MemberError> {
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
        let set = OpeningSet {
            height,
            commitment: opened.certified().digest(),
            openings: opened.items().iter().map(|item| item.opening.clone()).collect(),
        };
        self.shared.records.store_openings(&set, self.now_ms())?;
        self.resend.on_opened(height);
        self.asking.found(height);
        let waiting = self.parked.take(height);
        if !waiting.is_empty() {
            let answer = ShareMessage::Openings(set).encode();
            self.sender.send(Recipients::Some(waiting), answer, false);
        }
        self.queue_opened(opened).await
    }

    async fn queue_opened(&mut self, opened: OpenedBatch) -> Result<(), MemberError> {
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

    /// To all members.
    fn tell(&mut self, message: &ShareMessage) {
        self.sender.send(Recipients::Some(self.peers.clone()), message.encode(), true);
    }

    /// To all members and followers.
    fn tell_all(&mut self, message: &ShareMessage) {
        self.sender.send(Recipients::All, message.encode(), true);
    }
}
