//! Takes up a final height: stores the proof that it is final, releases our shares, hands it to the collector.

use super::{OpenHeight, Pipeline, WORKER_THREADS};
use crate::member::{
    MemberError,
    asking::PATIENCE_MS,
    messages::ShareMessage,
    pool,
    records::{FinalProof, HeightRecord},
};
use blindfold_committee::{batch::SealedBatch, collector::CertifiedError};
use blindfold_ordering::{
    engine::Identity,
    events::{self, FinalizedHeight},
};
use blindfold_wire::bundle::ShareBundle;
use commonware_p2p::{Blocker, Sender};
use commonware_runtime::{Clock, Spawner};
use std::sync::Arc;
use tracing::warn;

/// How long openings of a height behind are only asked for.
const RELEASE_ANYWAY_MS: u64 = 6_000;

impl<E, X, B> Pipeline<E, X, B>
where
    E: Clock + Spawner,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity> + Sync,
{
    pub(super) async fn on_finalized(
        &mut self,
        finalized: FinalizedHeight,
    ) -> Result<(), MemberError> {
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
    pub(super) async fn release_and_collect(
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
    pub(super) async fn release_after_all(&mut self, now_ms: u64) -> Result<(), MemberError> {
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

    pub(super) async fn collect_waiting(&mut self) -> Result<(), MemberError> {
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
}
