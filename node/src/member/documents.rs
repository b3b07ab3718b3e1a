//! What the RPC serves, made of what is stored.

use super::{MemberError, Shared, records::HeightRecord};
use crate::rpc::api::{BlockView, ExecutedTransaction, ReadError};
use alloy_consensus::Receipt;
use alloy_primitives::B256;
use blindfold_execution::{BlockRecord, ForcedVerdict, Verdict};
use blindfold_mempool::{PoolStatus, Removal};
use blindfold_sdk::rpc::{
    CommitmentDocument, ForcedDocument, ForcedStatus, HeightDocument, OpeningDocument,
};
use blindfold_wire::{ForcedItem, ForcedSpan, Opening, TxStatus, encode_opening};

/// The database, or what is stored in it, failed.
pub(super) fn failed(error: impl std::fmt::Display) -> ReadError {
    ReadError::Store(error.to_string())
}

/// An executed block as the RPC serves it.
pub(super) fn block_view(record: &BlockRecord) -> BlockView {
    let transactions = record
        .transactions
        .iter()
        .zip(&record.receipts)
        .map(|(transaction, receipt)| ExecutedTransaction {
            transaction: transaction.signed().clone(),
            sender: transaction.sender(),
            receipt: Receipt {
                status: receipt.success.into(),
                cumulative_gas_used: receipt.cumulative_gas_used,
                logs: receipt.logs.clone(),
            },
            gas_used: receipt.gas_used,
        })
        .collect();
    BlockView { hash: record.hash, header: record.header.clone(), transactions }
}

/// Every envelope of a block with its final status.
pub(super) fn statuses(record: &BlockRecord) -> impl Iterator<Item = (B256, TxStatus)> + '_ {
    (0u32..)
        .zip(&record.outcomes)
        .map(|(position, outcome)| (outcome.envelope_id, outcome.status(record.height(), position)))
}

/// How many envelopes of a block ended how.
pub(super) fn counts(record: &BlockRecord) -> [(&'static str, u64); 3] {
    let count = |wanted: fn(&Verdict) -> bool| {
        record.outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count() as u64
    };
    [
        ("executed", count(|verdict| matches!(verdict, Verdict::Executed { .. }))),
        ("skipped", count(|verdict| matches!(verdict, Verdict::Skipped { .. }))),
        ("undecryptable", count(|verdict| matches!(verdict, Verdict::Undecryptable))),
    ]
}

/// The forced items of a height, and what became of them once it is executed.
fn forced_documents(forced: &ForcedSpan, executed: Option<&BlockRecord>) -> Vec<ForcedDocument> {
    let document = |(at, item): (usize, &ForcedItem)| {
        let outcome = executed.and_then(|executed| executed.forced.get(at));
        ForcedDocument {
            index: item.index,
            kind: item.kind().map_or_else(|| item.kind.to_string(), |kind| kind.name().to_owned()),
            sender: item.sender,
            data: item.data.clone(),
            outcome: outcome.map(|outcome| forced_status(&outcome.verdict)),
        }
    };
    forced.items().iter().enumerate().map(document).collect()
}

fn forced_status(verdict: &ForcedVerdict) -> ForcedStatus {
    match *verdict {
        ForcedVerdict::Ordered { position } => ForcedStatus::Ordered { position },
        ForcedVerdict::Executed { transaction_index, transaction_hash, success } => {
            ForcedStatus::Executed {
                tx_hash: transaction_hash,
                tx_index: transaction_index,
                success,
            }
        }
        ForcedVerdict::Credited { to, wei } => ForcedStatus::Credited { to, wei },
        ForcedVerdict::Skipped { reason, transaction_hash } => {
            ForcedStatus::Skipped { reason, tx_hash: transaction_hash }
        }
    }
}

impl Shared {
    /// Status of an envelope.
    pub(super) fn envelope_status(&self, id: B256) -> Result<Option<TxStatus>, MemberError> {
        if let Some(place) = self.records.envelope(id)? {
            let (height, position) = (place.height, place.at);
            if let Some(record) = self.records.executed(height)? {
                let outcome = record.outcomes.get(position as usize);
                return Ok(outcome.map(|outcome| outcome.status(height, position)));
            }
            let opened = self.records.openings(height)?;
            let opening = opened.as_ref().and_then(|set| set.openings.get(position as usize));
            return Ok(Some(match opening {
                Some(Opening::Undecryptable { .. }) => TxStatus::Undecryptable { height, position },
                Some(Opening::Opened { .. }) => TxStatus::Opened { height, position },
                None => TxStatus::Ordered { height, position },
            }));
        }
        let pool = self.pool.lock();
        Ok(pool.status(&id).map(|status| match status {
            PoolStatus::Pending | PoolStatus::Gapped => TxStatus::Pending,
            PoolStatus::Ended(Removal::Replaced { by } | Removal::Superseded { by }) => {
                TxStatus::Replaced { by }
            }
            PoolStatus::Ended(Removal::Expired { height }) => TxStatus::Expired { height },
            PoolStatus::Ended(
                Removal::Evicted | Removal::Unpaid | Removal::Stale | Removal::NotRestored,
            ) => TxStatus::Evicted,
            // Its index is written with the height; between the two it is still on its way.
            PoolStatus::Ended(Removal::Ordered { .. }) => TxStatus::Pending,
        }))
    }

    pub(super) fn commitment_document(
        &self,
        height: u64,
    ) -> Result<Option<CommitmentDocument>, MemberError> {
        let (Some(record), Some(block)) =
            (self.records.height(height)?, self.records.block(height)?)
        else {
            return Ok(None);
        };
        let commitment = &block.commitment.commitment;
        let leader = self.leader_of(commitment);
        let own = record.proof.descendants.is_empty();
        Ok(Some(CommitmentDocument {
            height,
            digest: record.digest,
            leader: u32::try_from(leader).unwrap_or(u32::MAX),
            leader_address: self
                .genesis
                .committee
                .members
                .get(leader)
                .map(|member| member.signer)
                .unwrap_or_default(),
            commitment: block.commitment.encode().into(),
            envelope_ids: block.validate_shape()?,
            certificate: own.then(|| record.proof.certificate.encode_engine().into()),
            certified_by: record
                .proof
                .descendants
                .first()
                .map(blindfold_wire::OrderCommitment::digest),
        }))
    }

    pub(super) fn height_document(
        &self,
        height: u64,
    ) -> Result<Option<HeightDocument>, MemberError> {
        let (Some(record), Some(block)) =
            (self.records.height(height)?, self.records.block(height)?)
        else {
            return Ok(None);
        };
        let executed = self.records.executed(height)?;
        let [executed_count, skipped, undecryptable] =
            executed.as_ref().map(counts).unwrap_or_default();
        let narrow = |(_, count): (&str, u64)| u32::try_from(count).unwrap_or(u32::MAX);
        let HeightRecord { digest, proof, released, ordered_ms, opened_ms, executed_ms } = record;
        let commitment = block.commitment.commitment;
        Ok(Some(HeightDocument {
            height,
            digest,
            leader: u32::try_from(self.leader_of(&commitment)).unwrap_or(u32::MAX),
            count: commitment.count,
            proposed_ms: commitment.timestamp_ms,
            ordered_ms,
            opened_ms,
            executed_ms,
            commitment: commitment.encode().into(),
            certificate: proof.certificate.encode_engine().into(),
            descendants: proof.descendants.iter().map(|link| link.encode().into()).collect(),
            released: released.map(|header| header.encode().into()),
            l1_block: commitment.l1_block,
            l1_base_fee_wei: commitment.l1_base_fee,
            forced: forced_documents(&block.forced, executed.as_ref()),
            state_root: executed.map(|executed| executed.state_root()),
            executed: narrow(executed_count),
            skipped: narrow(skipped),
            undecryptable: narrow(undecryptable),
        }))
    }

    pub(super) fn opening_document(
        &self,
        height: u64,
        position: u32,
    ) -> Result<Option<OpeningDocument>, MemberError> {
        let (Some(set), Some(block)) =
            (self.records.openings(height)?, self.records.block(height)?)
        else {
            return Ok(None);
        };
        let ids = block.validate_shape()?;
        let at = position as usize;
        let (Some(opening), Some(envelope), Some(envelope_id)) =
            (set.openings.get(at), block.envelopes.get(at), ids.get(at))
        else {
            return Ok(None);
        };
        Ok(Some(OpeningDocument {
            height,
            position,
            envelope_id: *envelope_id,
            envelope: envelope.clone(),
            decryptable: matches!(opening, Opening::Opened { .. }),
            opening: encode_opening(opening).into(),
        }))
    }
}
