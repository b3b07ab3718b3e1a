//! The gateway's methods: the node's, with those replaced that concern transactions on their way.
//!
//! Every read is answered by the follower in this process, so no method forwards anything.

use std::{sync::Arc, time::Duration};

use alloy_consensus::{Transaction as _, transaction::Recovered};
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U128, U256};
use alloy_rpc_types_eth::{
    BlockId, BlockNumberOrTag, Transaction, TransactionInfo, TransactionReceipt, TransactionRequest,
};
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params, error::INTERNAL_ERROR_CODE},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    Gateway,
    hold::{End, Held},
    now_ms,
    round::account,
};
use crate::{
    config::RpcConfig,
    metrics,
    rpc::{
        NodeApi, convert, errors,
        eth::call_request,
        server::{self, Answer, Context, read},
    },
};

/// Codes of EIP-7966.
mod sync_codes {
    /// Not executed in time; `data` is the hash.
    pub(super) const TIMEOUT: i32 = 4;
    /// Held, but it cannot go on now; `data` is the hash.
    pub(super) const NOT_READY: i32 = 5;
    /// Held, but a lower nonce is missing; `data` is the nonce expected.
    pub(super) const NONCE_GAP: i32 = 6;
}

/// Calls of `eth_sendRawTransactionSync` that wait at a time.
const MAX_WAITING: usize = 256;
/// How often they look.
const SYNC_POLL: Duration = Duration::from_millis(25);
/// Methods of the node that are replaced here.
const REPLACED: [&str; 5] = [
    "eth_sendRawTransaction",
    "eth_sendRawTransactionSync",
    "eth_sendTransaction",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
];

/// All methods.
pub(super) fn module(
    config: RpcConfig,
    api: Arc<dyn NodeApi>,
    gateway: &Arc<Gateway>,
) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = server::module(config, api)?;
    for name in REPLACED {
        module.remove_method(name);
    }
    sending(&mut module, gateway)?;
    looking(&mut module, gateway)?;
    own(&mut module, gateway)?;
    Ok(module)
}

fn sending(
    module: &mut RpcModule<Context>,
    gateway: &Arc<Gateway>,
) -> Result<(), RegisterMethodError> {
    let own = Arc::clone(gateway);
    read(module, "eth_sendRawTransaction", move |_, params| -> Answer<B256> {
        own.take(&params.sequence().next()?)
    })?;
    let (own, waiting) = (Arc::clone(gateway), Arc::new(Semaphore::new(MAX_WAITING)));
    module.register_async_method("eth_sendRawTransactionSync", move |params, _, _| {
        let (own, waiting) = (Arc::clone(&own), Arc::clone(&waiting));
        async move {
            let started = Instant::now();
            let answer = match waiting.try_acquire() {
                Ok(_turn) => send_and_wait(&own, &params).await,
                Err(_) => Err(errors::limit_exceeded("too many calls wait; try again")),
            };
            metrics::rpc_call("eth_sendRawTransactionSync", started.elapsed(), answer.is_ok());
            answer
        }
    })?;
    read(module, "eth_sendTransaction", |_, _| -> Answer<()> {
        Err(errors::error(
            -32000,
            "unknown account: the gateway signs for nobody; let the wallet sign",
        ))
    })
}

/// EIP-7966.
async fn send_and_wait(own: &Arc<Gateway>, params: &Params<'static>) -> Answer<TransactionReceipt> {
    let mut params = params.sequence();
    let raw: Bytes = params.next()?;
    // Wallets give the time as a number or as a quantity; what is neither means the default.
    let wanted = params.optional_next::<Value>()?;
    let patience = patience(own, wanted.as_ref());
    let deadline = Instant::now() + patience;
    let gateway = Arc::clone(own);
    let hash = blocking(move || gateway.take(&raw)).await?;
    loop {
        let gateway = Arc::clone(own);
        if let Some(receipt) = blocking(move || gateway.progress(hash)).await? {
            return Ok(receipt);
        }
        if Instant::now() >= deadline {
            let message = format!(
                "The transaction is held but was not executed in {} ms.",
                patience.as_millis()
            );
            return Err(ErrorObjectOwned::owned(sync_codes::TIMEOUT, message, Some(hash)));
        }
        tokio::time::sleep(SYNC_POLL).await;
    }
}

fn patience(own: &Gateway, wanted: Option<&Value>) -> Duration {
    let wanted_ms = wanted.and_then(|value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => {
            text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
        }
        _ => None,
    });
    let valid = wanted_ms.filter(|ms| (1..=own.config.max_sync_timeout_ms).contains(ms));
    Duration::from_millis(valid.unwrap_or(own.config.sync_timeout_ms))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(errors::error(INTERNAL_ERROR_CODE, "internal error")))
}

fn looking(
    module: &mut RpcModule<Context>,
    gateway: &Arc<Gateway>,
) -> Result<(), RegisterMethodError> {
    let own = Arc::clone(gateway);
    read(module, "eth_getTransactionByHash", move |context, params| {
        let hash: B256 = params.sequence().next()?;
        let place = context.find_transaction(hash)?;
        if let Some(found) = place.and_then(|(view, index)| convert::transaction(&view, index)) {
            return Ok(Some(found));
        }
        Ok(own.state.lock().hold.get(&hash).map(pending))
    })?;
    let own = Arc::clone(gateway);
    read(module, "eth_getTransactionCount", move |context, params| {
        let mut params = params.sequence();
        let address: Address = params.next()?;
        let at: Option<BlockId> = params.optional_next()?;
        let account = context.on_state_at(at, |height| context.api.account(height, address))?;
        let next = match at {
            Some(BlockId::Number(BlockNumberOrTag::Pending)) => {
                own.state.lock().hold.next_nonce(&address, account.nonce)
            }
            _ => account.nonce,
        };
        Ok(U64::from(next))
    })?;
    let own = Arc::clone(gateway);
    read(module, "eth_fillTransaction", move |context, params| {
        own.fill(context, params.sequence().next()?)
    })
}

/// A held transaction, as Ethereum clients show one that waits.
fn pending(held: &Held) -> Transaction {
    let signed = held.transaction.signed().clone();
    let info = TransactionInfo { hash: Some(held.hash()), ..Default::default() };
    Transaction::from_transaction(Recovered::new_unchecked(signed, held.sender()), info)
}

fn own(module: &mut RpcModule<Context>, gateway: &Arc<Gateway>) -> Result<(), RegisterMethodError> {
    let own = Arc::clone(gateway);
    read(module, "gateway_getTransaction", move |_, params| {
        Ok(own.describe(params.sequence().next()?))
    })?;
    let own = Arc::clone(gateway);
    read(module, "gateway_status", move |_, _| own.status())
}

/// Answer of `gateway_getTransaction`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    hash: B256,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope_id: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_nonce: Option<U64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<B256>,
    /// Why it is where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    state: Standing,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Standing {
    Held { state: &'static str },
    Ended(End),
}

impl Gateway {
    /// The receipt, if there is one by now.
    fn progress(&self, hash: B256) -> Answer<Option<TransactionReceipt>> {
        if let Some(place) = self.api.transaction_location(hash)? {
            let view = self.api.block(place.height)?;
            return Ok(view.and_then(|view| convert::receipt(&view, place.index as usize)));
        }
        let not_ready = |message: String| {
            Err(ErrorObjectOwned::owned(sync_codes::NOT_READY, message, Some(hash)))
        };
        let state = self.state.lock();
        let Some(held) = state.hold.get(&hash) else {
            return match state.hold.end_of(&hash) {
                // The block may be written a moment after its status.
                Some(End::Executed { .. }) | None => Ok(None),
                Some(end) => not_ready(format!("The transaction ended without a receipt: {end:?}")),
            };
        };
        let next = account(&*self.api, held.sender())?.nonce;
        let expected = state.hold.next_nonce(&held.sender(), next);
        if expected < held.nonce() {
            let message = format!(
                "The transaction is held, but nonce {} comes after a gap: {expected} is missing.",
                held.nonce()
            );
            let expected = U64::from(expected);
            return Err(ErrorObjectOwned::owned(sync_codes::NONCE_GAP, message, Some(expected)));
        }
        Ok(None)
    }

    fn describe(&self, hash: B256) -> Option<Description> {
        let state = self.state.lock();
        let envelope = state.hold.envelope_of(&hash);
        let mut description = Description {
            hash,
            envelope_id: envelope.map(|(_, _, sealed)| sealed.id),
            payer_nonce: envelope.map(|(nonce, _, _)| U64::from(nonce)),
            replaced_by: None,
            reason: None,
            state: Standing::Held { state: "queued" },
        };
        if let Some(held) = state.hold.get(&hash) {
            description.replaced_by = held.replaced_by;
            description.reason.clone_from(&held.waits_for);
            if let Some((_, slot, sealed)) = envelope {
                let is_last = slot.last().is_some_and(|last| last.id == sealed.id);
                description.state = Standing::Held {
                    state: match (slot.ordered, slot.taken_at.is_some() || !is_last) {
                        (true, _) => "ordered",
                        (false, true) => "submitted",
                        (false, false) => "sealed",
                    },
                };
                description.reason = slot.problem.clone().or(description.reason);
            }
            return Some(description);
        }
        let end = state.hold.end_of(&hash)?.clone();
        description.state = Standing::Ended(end);
        Some(description)
    }

    /// What `gateway_getTransaction` says.
    #[cfg(test)]
    pub(super) fn told(&self, hash: B256) -> Value {
        serde_json::to_value(self.describe(hash)).unwrap()
    }

    fn status(&self) -> Answer<Value> {
        let payer = self.api.payer(self.wallet.address())?;
        let state = self.state.lock();
        let (hold, now) = (&state.hold, now_ms());
        let reserved = hold.reserved_wei(self.params());
        Ok(json!({
            "payer": payer.address,
            "escrowWei": payer.escrow_wei,
            "alarmBelowWei": self.config.alarm_below_wei,
            "alarm": payer.escrow_wei < self.config.alarm_below_wei,
            "spentTodayWei": hold.ledger().today_wei(now),
            "maxDayWei": self.config.max_day_wei,
            "spentTotalWei": hold.ledger().total_wei,
            "maxTotalWei": self.config.max_total_wei,
            "reservedWei": reserved,
            "held": U64::from(hold.len()),
            "inFlight": U64::from(hold.slots().len()),
            "submit": self.members.urls().collect::<Vec<_>>(),
        }))
    }

    /// Completes a transaction that a wallet is about to sign.
    fn fill(&self, context: &Context, mut request: TransactionRequest) -> Answer<Value> {
        let head = self.api.head();
        let from = request.from.ok_or_else(|| errors::invalid_params("from is missing"))?;
        if request.nonce.is_none() {
            let next = account(&*self.api, from)?.nonce;
            request.nonce = Some(self.state.lock().hold.next_nonce(&from, next));
        }
        if request.gas_price.is_none() {
            let tip =
                *request.max_priority_fee_per_gas.get_or_insert(head.suggested_priority_fee_wei);
            let cap = head.next_base_fee_wei.saturating_mul(2).saturating_add(tip);
            request.max_fee_per_gas.get_or_insert(cap);
        }
        request.chain_id.get_or_insert(self.api.genesis().chain_id);
        request.value.get_or_insert(U256::ZERO);
        if request.to.is_none() {
            request.to = Some(TxKind::Create);
        }
        let input = request.input.clone().into_input().unwrap_or_default();
        request.input = input.into();
        if request.gas.is_none() {
            let mut call = request.clone();
            // The sender's funds are checked when it is sent.
            (call.gas_price, call.max_fee_per_gas, call.max_priority_fee_per_gas) =
                (None, None, None);
            let call = call_request(call, context.limits.call_gas_cap)?;
            let gas = context.on_state_at(None, |at| self.api.estimate_gas(at, call.clone()))?;
            request.gas = Some(gas.map_err(errors::call_failed)?);
        }
        let kind = request.preferred_type();
        request.transaction_type = Some(kind.into());
        let unsigned = request
            .clone()
            .build_typed_tx()
            .map_err(|_| errors::invalid_params("this is no transaction that could be signed"))?;
        let raw = Bytes::from(alloy_consensus::SignableTransaction::<
            alloy_primitives::Signature,
        >::encoded_for_signing(&unsigned));
        let mut shown = serde_json::to_value(&request)
            .map_err(|_| errors::error(INTERNAL_ERROR_CODE, "internal error"))?;
        if let Some(fields) = shown.as_object_mut() {
            if unsigned.is_create() {
                fields.insert("to".to_owned(), Value::Null);
            }
            if request.gas_price.is_none() {
                fields.entry("accessList").or_insert_with(|| json!([]));
            }
            let _ = fields.remove("data");
            let price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
            fields.entry("gasPrice").or_insert(json!(U128::from(price)));
        }
        Ok(json!({ "raw": raw, "tx": shown }))
    }
}
