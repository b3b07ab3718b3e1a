//! Makes answers to challenges: from what this node stored of the batch's heights, or, where that is not what the
//! batch stands for, from the batch's own data on L1.
//!
//! A leader may have signed one commitment twice, so that members hold different signatures of it, all of them good;
//! the batch stands for the one that its poster holds. A member that came later, or lost its records, may hold nothing
//! at all. Both are in the data.

use super::{SettlementError, leader_table, read, rows::PostedRow};
use crate::member::{MemberError, Shared};
use alloy_primitives::B256;
use blindfold_settlement::{
    accumulator::Trees,
    batch::Batch,
    codec::MAX_HEIGHTS,
    derive::{ChainRules, InboxChecked, Start, derive},
    l1::L1,
    reveal::{Answer, Asked, RevealError, ShownHeight, answer},
};
use blindfold_wire::Envelope;
use std::{sync::Arc, thread};
use tracing::debug;

/// Answers a challenge of the batch in `row`.
///
/// # Errors
/// If neither what is stored nor what is on L1 leads to the batch's roots: then whoever posted it has to know.
pub(super) async fn make(
    shared: &Arc<Shared>,
    l1: &dyn L1,
    row: &PostedRow,
    asked: &Asked,
) -> Result<Answer, SettlementError> {
    let (own, batch, question) = (Arc::clone(shared), row.batch.clone(), *asked);
    let stored = blocking(move || from_records(&own, &batch, &question)).await;
    let reason = match stored {
        Ok(answer) => return Ok(answer),
        Err(reason) => reason,
    };
    debug!(target: "blindfold::settlement", %reason, ?asked, "answering from the batch's data on L1");
    let posted = read::batch(l1, &shared.genesis, row.batch.clone(), row.transaction).await?;
    let (own, question) = (Arc::clone(shared), *asked);
    blocking(move || from_data(&own, &posted, &question)).await
}

/// Hashing, and sealing again, away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SettlementError> + Send + 'static,
) -> Result<T, SettlementError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(SettlementError::Unusable("nothing: a worker died")))
}

fn from_records(shared: &Shared, batch: &Batch, asked: &Asked) -> Result<Answer, SettlementError> {
    // A poster may claim any range; one that nobody could post is not looked up height by height.
    if batch.heights() > u64::from(MAX_HEIGHTS) {
        return Err(RevealError::OtherRoots.into());
    }
    let heights = (batch.first_height..=batch.last_height).map(|height| stored(shared, height));
    from_heights(shared, batch, asked, heights)
}

fn from_data(
    shared: &Shared,
    posted: &read::ReadBatch,
    asked: &Asked,
) -> Result<Answer, SettlementError> {
    let (genesis, header) = (&shared.genesis, &posted.header);
    let start = Start {
        digest: digest_below(shared, header.first_height)?,
        first_height: header.first_height,
        batch: header.parent,
    };
    let chain = ChainRules::new(Arc::clone(genesis), leader_table(genesis)?)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let derived = derive(&chain, &start, header, &posted.data, &InboxChecked, threads)?;
    let heights = derived.into_iter().map(|height| {
        let items = height.items.into_iter().map(|item| (item.envelope, item.opening)).collect();
        Ok(ShownHeight { signed: height.signed, items })
    });
    from_heights(shared, header, asked, heights)
}

fn from_heights(
    shared: &Shared,
    batch: &Batch,
    asked: &Asked,
    heights: impl Iterator<Item = Result<ShownHeight, SettlementError>>,
) -> Result<Answer, SettlementError> {
    let (mut trees, mut shown) = (Trees::new(), None);
    for height in heights {
        let height = height?;
        let leaves = height.leaves();
        trees.push(&height.signed.commitment, &height.signed.signature, leaves);
        if height.signed.commitment.height == asked.height {
            shown = Some(height);
        }
    }
    let nowhere = RevealError::NotInBatch { batch: asked.batch, height: asked.height };
    let shown = shown.ok_or(nowhere)?;
    Ok(answer(batch, asked, &trees, &shown, shared.genesis.committee.epoch)?)
}

/// A height as this node stored it.
fn stored(shared: &Shared, height: u64) -> Result<ShownHeight, SettlementError> {
    let records = &shared.records;
    let missing = |what| MemberError::Missing { what, height };
    let block = records.block(height)?.ok_or(missing("block"))?;
    let openings = records.openings(height)?.ok_or(missing("openings"))?.openings;
    if openings.len() != block.envelopes.len() {
        return Err(MemberError::Damaged("openings of a height").into());
    }
    let envelopes = block.envelopes.iter().map(|bytes| Envelope::decode(bytes));
    let items = envelopes
        .zip(openings)
        .map(|(envelope, opening)| Ok((envelope?, opening)))
        .collect::<Result<_, blindfold_wire::DecodeError>>()
        .map_err(|_| MemberError::Damaged("finalized block"))?;
    Ok(ShownHeight { signed: block.commitment, items })
}

/// Digest of the commitment below a height.
fn digest_below(shared: &Shared, height: u64) -> Result<B256, SettlementError> {
    let below = match height.checked_sub(1) {
        None | Some(0) => return Ok(Start::of_chain(&shared.genesis).digest),
        Some(below) => below,
    };
    let record = shared.records.height(below)?;
    let missing = MemberError::Missing { what: "height record", height: below };
    Ok(record.ok_or(missing)?.digest)
}
