//! Tells metrics and subscribers how far a height has come.

use super::{Shared, documents};
use crate::{metrics, rpc::api::NodeEvent};
use blindfold_committee::batch::SealedBatch;
use blindfold_crypto::Opening;
use blindfold_execution::{ExecutedBlock, ForcedOutcome, ForcedVerdict};
use blindfold_sdk::rpc::{OpenedNotice, OrderedNotice};
use blindfold_wire::{CheckedEnvelope, ForcedKind, opened::OpenedBatch};
use std::{sync::Arc, time::Duration};

impl Shared {
    /// The order of a height became final at `now_ms`.
    pub(super) fn announce_ordered(&self, batch: &SealedBatch, now_ms: u64) {
        let commitment = batch.commitment();
        metrics::envelopes("ordered", batch.len() as u64);
        metrics::stage_height("ordered", batch.height());
        let took_ms = now_ms.saturating_sub(commitment.timestamp_ms);
        metrics::stage_time("ordered", Duration::from_millis(took_ms));
        if self.events.receiver_count() == 0 {
            return;
        }
        let _ = self.events.send(NodeEvent::Ordered(Arc::new(OrderedNotice {
            height: commitment.height,
            digest: batch.digest(),
            leader: u32::try_from(self.leader_of(commitment)).unwrap_or(u32::MAX),
            timestamp_ms: commitment.timestamp_ms,
            envelope_ids: batch.envelopes().iter().map(CheckedEnvelope::id).collect(),
        })));
    }

    /// Every position of a height, and of those below, is decided.
    pub(super) fn announce_opened(&self, opened: &OpenedBatch) {
        let is_undecryptable = |opening: &Opening| matches!(opening, Opening::Undecryptable { .. });
        let undecryptable =
            opened.items().iter().filter(|item| is_undecryptable(&item.opening)).count();
        let readable = opened.items().len() - undecryptable;
        metrics::envelopes("opened", readable as u64);
        metrics::stage_height("opened", opened.height());
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let _ = self.events.send(NodeEvent::Opened(OpenedNotice {
            height: opened.height(),
            opened: narrow(readable),
            undecryptable: narrow(undecryptable),
        }));
    }

    /// A height was executed and written.
    pub(super) fn announce_executed(&self, block: &ExecutedBlock) {
        metrics::stage_height("executed", block.record.height());
        for (status, count) in documents::counts(&block.record) {
            metrics::envelopes(status, count);
        }
        for outcome in &block.record.forced {
            let (kind, became) = labels(outcome);
            metrics::forced(kind, became);
        }
        if self.events.receiver_count() == 0 {
            return;
        }
        let _ =
            self.events.send(NodeEvent::Executed(Arc::new(documents::block_view(&block.record))));
        for (envelope_id, status) in documents::statuses(&block.record) {
            let _ = self.events.send(NodeEvent::Status { envelope_id, status });
        }
    }
}

/// Kind of a forced item, and what became of it, as metrics name them.
fn labels(outcome: &ForcedOutcome) -> (&'static str, &'static str) {
    let kind = ForcedKind::from_code(outcome.kind).map_or("unknown", ForcedKind::name);
    let became = match outcome.verdict {
        ForcedVerdict::Ordered { .. } => "ordered",
        ForcedVerdict::Executed { success: true, .. } => "executed",
        ForcedVerdict::Executed { success: false, .. } => "reverted",
        ForcedVerdict::Credited { .. } => "credited",
        ForcedVerdict::Skipped { .. } => "skipped",
    };
    (kind, became)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, U256};
    use blindfold_wire::SkipReason;

    #[test]
    fn forced_items_are_counted_by_kind_and_end() {
        let executed = |success| ForcedVerdict::Executed {
            transaction_index: 0,
            transaction_hash: B256::ZERO,
            success,
        };
        let reason = SkipReason::ForcedInvalid;
        for (kind, verdict, expected) in [
            (0, ForcedVerdict::Ordered { position: 0 }, ("sealed", "ordered")),
            (1, executed(true), ("plain", "executed")),
            (1, executed(false), ("plain", "reverted")),
            (
                3,
                ForcedVerdict::Credited { to: Address::ZERO, wei: U256::ZERO },
                ("escrow_deposit", "credited"),
            ),
            (9, ForcedVerdict::Skipped { reason, transaction_hash: None }, ("unknown", "skipped")),
        ] {
            let outcome = ForcedOutcome { index: 7, kind, sender: Address::ZERO, verdict };
            assert_eq!(labels(&outcome), expected);
        }
    }
}
