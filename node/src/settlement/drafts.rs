//! Makes batches of what this node stored.

use super::SettlementError;
use crate::member::{MemberError, Shared};
use alloy_primitives::{Address, B256};
use blindfold_settlement::batch::{BatchBuilder, Draft, Limits, PushError};
use blindfold_wire::{FinalizationCertificate, OpenedBatch, OrderCommitment, Signature65};

/// Heights that are looked at for one batch, at most.
const MAX_HEIGHTS_AT_ONCE: u64 = 2_048;

/// A batch that is ready, and the state root after its last height.
pub(super) struct Built {
    pub(super) draft: Draft,
    pub(super) state_root: B256,
    #[cfg(feature = "demo")]
    heights: Vec<(OpenedBatch, Signature65)>,
}

#[cfg(feature = "demo")]
impl Built {
    pub(super) fn reordered(self) -> Self {
        match super::misposting::reordered(&self.draft, &self.heights) {
            Some(draft) => Self { draft, ..self },
            None => self,
        }
    }
}

/// A batch of the heights from `first` on. Nothing if none of them has a certificate of its own yet.
pub(super) fn draft(
    shared: &Shared,
    limits: Limits,
    first: u64,
) -> Result<Option<Built>, SettlementError> {
    let executed = shared.chain.progress().executed_height;
    let mut builder = BatchBuilder::new(limits);
    #[cfg(feature = "demo")]
    let mut heights = Vec::new();
    for height in first..=executed.min(first.saturating_add(MAX_HEIGHTS_AT_ONCE)) {
        let Some((opened, signature, leader)) = opened(shared, height)? else { break };
        match builder.push(&opened, signature, leader) {
            Ok(()) => {
                #[cfg(feature = "demo")]
                heights.push((opened, signature));
            }
            Err(PushError::Full | PushError::Epoch { .. }) => break,
            Err(source) => return Err(SettlementError::Height { height, source }),
        }
    }
    if builder.last_certified().is_none() {
        return Ok(None);
    }
    let draft = builder.build()?;
    let missing = MemberError::Missing { what: "executed block", height: draft.last.height };
    let record = shared.records.executed(draft.last.height)?.ok_or(missing)?;
    Ok(Some(Built {
        draft,
        state_root: record.state_root(),
        #[cfg(feature = "demo")]
        heights,
    }))
}

/// The lowest of the executed heights from `first` on that has consumed `cursor` forced items and has a certificate of
/// its own. Nothing if there is none yet.
pub(super) fn consuming(
    shared: &Shared,
    first: u64,
    cursor: u64,
) -> Result<Option<(OrderCommitment, FinalizationCertificate)>, MemberError> {
    let executed = shared.chain.progress().executed_height;
    let of = |height| {
        let block = shared.records.block(height)?;
        let missing = MemberError::Missing { what: "block", height };
        Ok::<_, MemberError>(block.ok_or(missing)?.commitment.commitment)
    };
    // Cursors never go back.
    let (mut low, mut high) = (first, executed.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match of(middle)?.forced_cursor >= cursor {
            true => high = middle,
            false => low = middle.saturating_add(1),
        }
    }
    for height in low..=executed.min(low.saturating_add(MAX_HEIGHTS_AT_ONCE)) {
        let missing = MemberError::Missing { what: "height record", height };
        let record = shared.records.height(height)?.ok_or(missing)?;
        let certified = record
            .certify(of(height)?, &shared.votes)
            .map_err(|_| MemberError::Damaged("height record"))?;
        if let Some(certificate) = certified.certificate() {
            return Ok(Some((certified.get().clone(), certificate.clone())));
        }
    }
    Ok(None)
}

/// A height as it is posted: opened, with its leader's signature and address. `None` if this member does not have
/// all of it.
///
/// # Errors
/// If the database fails, or holds what does not belong together.
pub fn opened(
    shared: &Shared,
    height: u64,
) -> Result<Option<(OpenedBatch, Signature65, Address)>, MemberError> {
    let (records, votes) = (&shared.records, &shared.votes);
    let (Some(record), Some(block), Some(openings)) =
        (records.height(height)?, records.block(height)?, records.openings(height)?)
    else {
        return Ok(None);
    };
    let commitment = block.commitment.commitment.clone();
    let leader = shared.leader_of(&commitment);
    let leader = shared.genesis.committee.members.get(leader).map(|member| member.signer);
    let certified =
        record.certify(commitment, votes).map_err(|_| MemberError::Damaged("height record"))?;
    let envelopes = shared.checker.check_block(&block)?;
    let items = envelopes.into_iter().zip(openings.openings).collect();
    let opened = OpenedBatch::new(certified, items)
        .map_err(|_| MemberError::Damaged("openings of a height"))?;
    Ok(Some((opened, block.commitment.signature, leader.unwrap_or_default())))
}
