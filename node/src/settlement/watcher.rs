//! Follows L1: what became final there feeds the ordering's view of L1 and the book of posted batches; what is
//! newer only shows in the book, and is read again each time, since a reorg may take it away.
//!
//! ```text
//!        final on L1                         newer
//!  ──────────────────────────┬────────────────────────── latest
//!   read once, then stored   │  read again at each look
//!   · batches → book         │  · batches → book, not final
//!   · outputs → their book   │  · outputs → their book, not final
//!   · forced items, base fees → view of L1
//!   · challenges: as batches, but read anew by each process from one window back
//! ```

use super::{
    Contracts, SettlementError,
    challenges::{ChallengeEvent, Challenges},
    outputs::OutputEvent,
    rows::PostedRow,
};
use crate::{member::Shared, metrics};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Address, B256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::{Filter, Log};
use alloy_sol_types::{SolEvent as _, SolEventInterface as _};
use blindfold_ordering::l1::{L1Block, L1Update, QueuedItem};
use blindfold_settlement::{
    bindings::{BatchInbox, ForcedQueue},
    l1::SharedL1,
    reveal::{Asked, OpenChallenge},
};
use blindfold_wire::ForcedItem;
use commonware_runtime::Clock;
use std::{sync::Arc, time::Duration};
use tracing::{debug, error, info, warn};

/// L1 blocks that are read at a time: nodes answer for a bounded number of logs and fees.
const BLOCKS_AT_ONCE: u64 = 512;
/// Blocks above the final one that are looked at. Ethereum has about 64 of them.
const MAX_OPEN_BLOCKS: u64 = 1_024;
/// Looks at L1 that may fail in a row before it is an error in the log, and not only a warning.
const FAILURES_TOLERATED: u32 = 5;

/// The watcher's own state.
pub struct Watcher {
    shared: Arc<Shared>,
    l1: SharedL1,
    contracts: Contracts,
    challenges: Arc<Challenges>,
    /// Whether challenges of blocks that were final before this process began were read.
    recalled: bool,
    /// First L1 block that can hold anything of this chain.
    from_block: u64,
    poll: Duration,
}

impl Watcher {
    /// A watcher of the chain's contracts, that begins at `from_block` if nothing is known yet.
    pub fn new(
        shared: Arc<Shared>,
        l1: SharedL1,
        contracts: Contracts,
        challenges: Arc<Challenges>,
        from_block: u64,
        poll: Duration,
    ) -> Self {
        Self { shared, l1, contracts, challenges, recalled: false, from_block, poll }
    }

    /// Looks at L1 until the node ends.
    pub async fn run<E: Clock>(mut self, clock: E) {
        let mut failures = 0u32;
        loop {
            match self.look(super::unix_ms(&clock)).await {
                Ok(more) => {
                    failures = 0;
                    if more {
                        continue;
                    }
                }
                Err(reason) => {
                    failures = failures.saturating_add(1);
                    metrics::settlement_failure("watcher");
                    if failures >= FAILURES_TOLERATED {
                        error!(target: "blindfold::settlement", %reason, failures, "L1 cannot be followed");
                    } else {
                        warn!(target: "blindfold::settlement", %reason, "L1 was not read; trying again");
                    }
                }
            }
            clock.sleep(self.poll).await;
        }
    }

    /// One look. Says whether there is more of what is final, so that the next look should follow at once.
    async fn look(&mut self, now_ms: u64) -> Result<bool, SettlementError> {
        let heads = self.l1.heads().await?;
        let known = self.shared.l1.view().finalized().map(|block| block.number);
        let next = known.map_or(self.from_block, |known| known.saturating_add(1));
        if let Some(known) = known.filter(|_| !self.recalled) {
            self.recall(known.min(heads.finalized.number), heads.latest.timestamp_s).await?;
        }
        self.recalled = true;
        if next <= heads.finalized.number {
            let last = heads.finalized.number.min(next.saturating_add(BLOCKS_AT_ONCE - 1));
            self.take_final(next, last, now_ms).await?;
            metrics::l1_final_block(last);
            if last < heads.finalized.number {
                return Ok(true);
            }
        }
        if known.is_some_and(|known| heads.finalized.number < known) {
            // A back end that lost its past, or another one: what is known to be final stays so.
            return Err(SettlementError::FinalityBroken {
                known: known.unwrap_or_default(),
                got: heads.finalized.number,
            });
        }
        let first = heads.finalized.number.saturating_add(1);
        let last = heads.latest.number.min(first.saturating_add(MAX_OPEN_BLOCKS - 1));
        let (open, asked, outputs) = match first <= last {
            true => (
                self.batches(first, last).await?,
                self.challenges(first, last).await?,
                self.outputs(first, last).await?,
            ),
            false => (Vec::new(), Vec::new(), Vec::new()),
        };
        self.shared.book.see(open);
        self.challenges.see(asked, heads.finalized.timestamp_s);
        self.shared.outputs.see(&self.shared.book, &outputs, heads.latest)?;
        if let Some(newest) = self.shared.outputs.newest()?.first() {
            metrics::output_height(newest.last_height);
        }
        if let (Some(newest), _) = self.shared.book.newest()? {
            metrics::posted_height(newest.batch.last_height);
        }
        Ok(false)
    }

    /// Reads final blocks and stores what is in them. The view of L1 comes last: it says from where to go on, and
    /// all before it is written again the same way after a crash.
    async fn take_final(&self, first: u64, last: u64, now_ms: u64) -> Result<(), SettlementError> {
        let batches = self.batches(first, last).await?;
        self.shared.book.settle(&batches)?;
        for row in batches.iter().filter(|row| row.batch.heights() == 0) {
            metrics::fallback();
            warn!(target: "blindfold::settlement", batch = row.batch.index, forced_items = row.batch.forced_head,
                by = %row.batch.poster, l1_block = row.batch.l1_block,
                "forced items were taken out of the committee's hands: they waited for longer than it may need");
        }
        for row in batches.iter().filter(|row| row.batch.heights() > 0) {
            info!(target: "blindfold::settlement", batch = row.batch.index, first = row.batch.first_height,
                last = row.batch.last_height, l1_block = row.batch.l1_block, "a batch is final on L1");
        }
        self.challenges.settle(&self.challenges(first, last).await?);
        self.shared.outbox.settle(&batches)?;
        let outputs = self.outputs(first, last).await?;
        self.shared.outputs.settle(&self.shared.book, &outputs)?;
        let items = self.items(first, last).await?;
        let blocks = self.base_fees(first, last).await?;
        let (count, update) = (items.len(), L1Update { blocks, items });
        self.shared.update_l1(&update, now_ms)?;
        debug!(target: "blindfold::settlement", first, last, count, "L1 blocks are final");
        Ok(())
    }

    /// Reads the challenges of final blocks from the newest that is known, `last`, back to the one that is a whole
    /// window older than `latest_s`, the time of the newest block: what was asked before that is over.
    async fn recall(&self, last: u64, latest_s: u64) -> Result<(), SettlementError> {
        let oldest_s = latest_s.saturating_sub(self.contracts.challenge_window_s);
        let (mut last, mut pages) = (last, Vec::new());
        loop {
            let first = last.saturating_sub(BLOCKS_AT_ONCE - 1).max(self.from_block.min(last));
            pages.push(self.challenges(first, last).await?);
            let Some(before) = first.checked_sub(1).filter(|_| first > self.from_block) else {
                break;
            };
            let block = self
                .l1
                .provider()
                .get_block_by_number(BlockNumberOrTag::Number(first))
                .await
                .map_err(super::transport)?
                .ok_or(SettlementError::Unusable("a block that it does not have"))?;
            if block.header.timestamp < oldest_s {
                break;
            }
            last = before;
        }
        for page in pages.iter().rev() {
            self.challenges.settle(page);
        }
        Ok(())
    }

    async fn logs(
        &self,
        address: Address,
        events: &[B256],
        first: u64,
        last: u64,
    ) -> Result<Vec<Log>, SettlementError> {
        let mut filter = Filter::new().address(address).from_block(first).to_block(last);
        if !events.is_empty() {
            filter = filter.event_signature(events.to_vec());
        }
        let mut logs = self.l1.provider().get_logs(&filter).await.map_err(super::transport)?;
        logs.retain(|log| !log.removed && log.inner.address == address);
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }

    async fn batches(&self, first: u64, last: u64) -> Result<Vec<PostedRow>, SettlementError> {
        let logs = self.logs(
            self.contracts.inbox,
            &[BatchInbox::BatchPosted::SIGNATURE_HASH],
            first,
            last,
        );
        logs.await?
            .iter()
            .map(|log| {
                let event = BatchInbox::BatchPosted::decode_log(&log.inner)
                    .map_err(|_| SettlementError::Unusable("a BatchPosted event"))?;
                let transaction = log
                    .transaction_hash
                    .ok_or(SettlementError::Unusable("a log without its transaction"))?;
                Ok(PostedRow { batch: (&event.data.batch).into(), transaction })
            })
            .collect()
    }

    /// What blocks say about challenges, in their order.
    async fn challenges(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<ChallengeEvent>, SettlementError> {
        let events = [
            BatchInbox::Challenged::SIGNATURE_HASH,
            BatchInbox::CommitmentRevealed::SIGNATURE_HASH,
            BatchInbox::OpeningRevealed::SIGNATURE_HASH,
            BatchInbox::Withheld::SIGNATURE_HASH,
        ];
        let logs = self.logs(self.contracts.inbox, &events, first, last).await?;
        logs.iter()
            .map(|log| {
                challenge_event(log).ok_or(SettlementError::Unusable("an event of a challenge"))
            })
            .collect()
    }

    async fn outputs(&self, first: u64, last: u64) -> Result<Vec<OutputEvent>, SettlementError> {
        let logs = self.logs(self.contracts.oracle, &[], first, last).await?;
        logs.iter().filter_map(|log| OutputEvent::read(log, &self.contracts).transpose()).collect()
    }

    async fn items(&self, first: u64, last: u64) -> Result<Vec<QueuedItem>, SettlementError> {
        let logs =
            self.logs(self.contracts.queue, &[ForcedQueue::Forced::SIGNATURE_HASH], first, last);
        // A node that came new to an old chain has no use for what was consumed before.
        let next = self.shared.l1.view().next_index();
        logs.await?
            .iter()
            .map(|log| {
                let event = ForcedQueue::Forced::decode_log(&log.inner)
                    .map_err(|_| SettlementError::Unusable("a Forced event"))?;
                let block =
                    log.block_number.ok_or(SettlementError::Unusable("a log without its block"))?;
                let ForcedQueue::Forced { index, kind, sender, data } = event.data;
                Ok(QueuedItem { item: ForcedItem { index, kind, sender, data }, block })
            })
            .filter(|queued| queued.as_ref().map_or(true, |queued| queued.item.index >= next))
            .collect()
    }

    /// Base fees of blocks, without gaps.
    async fn base_fees(&self, first: u64, last: u64) -> Result<Vec<L1Block>, SettlementError> {
        let count = last.saturating_sub(first).saturating_add(1);
        let history = self
            .l1
            .provider()
            .get_fee_history(count, BlockNumberOrTag::Number(last), &[])
            .await
            .map_err(super::transport)?;
        // One more than asked for: of the block that comes next.
        let complete = history.oldest_block == first
            && u64::try_from(history.base_fee_per_gas.len()) == Ok(count.saturating_add(1));
        if !complete {
            return Err(SettlementError::Unusable("a fee history that is not whole"));
        }
        (first..=last)
            .zip(history.base_fee_per_gas)
            .map(|(number, fee)| {
                let base_fee = u64::try_from(fee)
                    .map_err(|_| SettlementError::Unusable("a base fee beyond 64 bits"))?;
                Ok(L1Block { number, base_fee })
            })
            .collect()
    }
}

fn challenge_event(log: &Log) -> Option<ChallengeEvent> {
    use BatchInbox::BatchInboxEvents as Event;
    let asked = |batch, height, position| Asked { batch, height, position };
    Some(match BatchInbox::BatchInboxEvents::decode_log(&log.inner).ok()?.data {
        Event::Challenged(e) => ChallengeEvent::Asked(OpenChallenge {
            asked: asked(e.index, e.height, e.position),
            deadline_s: e.deadline,
        }),
        Event::CommitmentRevealed(e) => ChallengeEvent::Ended(asked(e.index, e.height, e.position)),
        Event::OpeningRevealed(e) => ChallengeEvent::Ended(asked(e.index, e.height, e.position)),
        Event::Withheld(e) => ChallengeEvent::Ended(asked(e.index, e.height, e.position)),
        _ => return None,
    })
}
