//! `sealed_*`: what a sealing wallet needs.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64};
use blindfold_sdk::rpc::{
    CommitteeDocument, PendingDocument, ReceiptDocument, SendDocument, TransactionDocument, codes,
};
use blindfold_wire::{ENVELOPE_TYPE, MAX_ENVELOPE_BYTES};
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{Params, error::INTERNAL_ERROR_CODE},
};
use tokio::time::Instant;

use super::{
    errors, reasons,
    server::{Answer, Context, read},
};
use crate::metrics;

/// Withdrawals that one `sealed_getWithdrawals` returns at most.
const MAX_WITHDRAWALS: usize = 256;
/// Envelopes that one `sealed_getPending` returns at most.
const MAX_PENDING: usize = 1_000;

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "sealed_getCommittee", |context, _| committee(context))?;
    read(module, "sealed_getHead", |context, _| Ok(context.api.head()))?;
    read(module, "sealed_getPayer", |context, params| {
        Ok(context.api.payer(params.sequence().next::<Address>()?)?)
    })?;
    read(module, "sealed_getPending", |context, params| -> Answer<Vec<PendingDocument>> {
        let limit: Option<U64> = params.sequence().optional_next()?;
        Ok(pending(context, limit.map_or(MAX_PENDING, |limit| limit.to())))
    })?;
    read(module, "sealed_getHeight", |context, params| {
        Ok(context.api.height_record(params.sequence().next::<U64>()?.to())?)
    })?;
    read(module, "sealed_getEvidence", |context, _| Ok(context.api.evidence()?))?;
    read(module, "sealed_getTransaction", |context, params| {
        transaction(context, params.sequence().next()?)
    })?;
    read(module, "sealed_getWithdrawal", |context, params| {
        Ok(context.api.withdrawal(params.sequence().next::<U64>()?.to())?)
    })?;
    read(module, "sealed_getWithdrawals", |context, params| {
        let mut params = params.sequence();
        let (sender, first): (Address, Option<U64>) = (params.next()?, params.optional_next()?);
        let first = first.map_or(0, |first| first.to());
        Ok(context.api.withdrawals(sender, first, MAX_WITHDRAWALS)?)
    })?;
    read(module, "sealed_getSettlement", |context, _| Ok(context.api.settlement_head()?))?;
    read(module, "sealed_getCommitment", |context, params| match height_or_digest(params)? {
        HeightOrDigest::Height(height) => Ok(context.api.commitment_by_height(height)?),
        HeightOrDigest::Digest(digest) => Ok(context.api.commitment_by_digest(digest)?),
    })?;
    read(module, "sealed_getOpening", |context, params| {
        let mut params = params.sequence();
        let (height, position): (U64, U64) = (params.next()?, params.next()?);
        let Ok(position) = u32::try_from(position.to::<u64>()) else { return Ok(None) };
        Ok(context.api.opening(height.to(), position)?)
    })?;
    module.register_async_method("sealed_sendTransaction", |params, context, _| async move {
        let started = Instant::now();
        let answer = send(&context, &params).await;
        metrics::rpc_call("sealed_sendTransaction", started.elapsed(), answer.is_ok());
        answer
    })?;
    Ok(())
}

async fn send(context: &Arc<Context>, params: &Params<'static>) -> Answer<SendDocument> {
    let envelope: Bytes = params.sequence().next()?;
    match envelope.first() {
        Some(&ENVELOPE_TYPE) => {}
        // Any other first byte is a signed Ethereum transaction, or nothing at all.
        Some(_) => return Err(errors::plaintext_refused()),
        None => {
            let message = "invalid envelope: no bytes";
            return Err(errors::refusal(codes::ENVELOPE_INVALID, "empty", message));
        }
    }
    if envelope.len() > MAX_ENVELOPE_BYTES {
        let message = format!("invalid envelope: more than {MAX_ENVELOPE_BYTES} bytes");
        return Err(errors::refusal(codes::ENVELOPE_INVALID, "oversized", message));
    }
    let Ok(_turn) = context.submissions.try_acquire() else {
        let message = "too many submissions at once; try again";
        return Err(errors::refusal(codes::UNAVAILABLE, reasons::BUSY, message));
    };
    let receipt = context.api.submit(envelope).await?;
    let receipt = ReceiptDocument::from(&receipt);
    Ok(SendDocument { envelope_id: receipt.envelope_id, receipt })
}

/// Waiting envelopes, as many as fit half of the largest answer.
fn pending(context: &Context, limit: usize) -> Vec<PendingDocument> {
    /// Characters of an entry beside the hex digits of its envelope.
    const ENTRY_CHARS: usize = 256;
    let mut room = context.limits.max_response_bytes as usize / 2;
    let fits = |entry: &PendingDocument| {
        let size = ENTRY_CHARS + 2 * entry.envelope.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    context.api.pending(limit.min(MAX_PENDING)).into_iter().take_while(fits).collect()
}

fn committee(context: &Context) -> Answer<CommitteeDocument> {
    CommitteeDocument::from_genesis(&context.api.genesis()).map_err(|failure| {
        tracing::error!(target: "blindfold::rpc", %failure, "genesis does not serialize");
        errors::error(INTERNAL_ERROR_CODE, "internal error")
    })
}

/// Status of an envelope, with the batch that holds its height.
fn transaction(context: &Context, id: B256) -> Answer<Option<TransactionDocument>> {
    let Some(status) = context.api.status(id)? else { return Ok(None) };
    let settlement = match status.height() {
        Some(height) => context.api.settlement(height)?,
        None => None,
    };
    Ok(Some(TransactionDocument { status, settlement }))
}

enum HeightOrDigest {
    Height(u64),
    Digest(B256),
}

/// A 32-byte string is a digest; anything else must be a quantity.
fn height_or_digest(params: &Params<'static>) -> Answer<HeightOrDigest> {
    const DIGEST_CHARS: usize = 2 + 64;
    let given: String = params.sequence().next()?;
    if given.len() == DIGEST_CHARS {
        let digest = given.parse().map_err(|_| errors::invalid_params("digest is not hex"))?;
        return Ok(HeightOrDigest::Digest(digest));
    }
    let digits = given.strip_prefix("0x").unwrap_or_default();
    let height = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    let height = height.ok_or_else(|| {
        errors::invalid_params("expected a height (0x quantity) or a digest (0x and 64 hex digits)")
    })?;
    Ok(HeightOrDigest::Height(height))
}
