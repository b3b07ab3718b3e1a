//! `eth_subscribe` (`newHeads`, `logs`) and `sealed_subscribe` (`status`, `ordered`, `opened`,
//! `executed`), over WebSocket.
//!
//! A subscriber that cannot keep up is told so and cut off, rather than left to believe that it
//! has seen everything.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, pubsub::SubscriptionKind};
use blindfold_sdk::rpc::ExecutedNotice;
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionSink,
    core::{RegisterMethodError, SubscriptionError},
    types::{ErrorObjectOwned, Params},
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::broadcast;

use super::{
    api::{HeaderView, NodeEvent},
    convert, errors,
    server::{Answer, Context},
};

/// How long one notification may wait for room in a subscriber's queue.
const SLOW_SUBSCRIBER_TIMEOUT: Duration = Duration::from_secs(5);

/// What one subscription picks from the node's events.
enum Selection {
    NewHeads,
    Logs(Box<Filter>),
    Ordered,
    Opened,
    Executed,
    Status(B256),
}

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, context, _| async move {
            let selection = eth_selection(&params);
            serve(pending, selection, &context).await
        },
    )?;
    module.register_subscription(
        "sealed_subscribe",
        "sealed_subscription",
        "sealed_unsubscribe",
        |params, pending, context, _| async move {
            let selection = sealed_selection(&params);
            serve(pending, selection, &context).await
        },
    )?;
    Ok(())
}

fn eth_selection(params: &Params<'_>) -> Answer<Selection> {
    let mut params = params.sequence();
    match params.next::<SubscriptionKind>()? {
        SubscriptionKind::NewHeads => Ok(Selection::NewHeads),
        SubscriptionKind::Logs => {
            let filter: Option<Filter> = params.optional_next()?;
            Ok(Selection::Logs(Box::new(filter.unwrap_or_default())))
        }
        _ => Err(errors::invalid_params("only newHeads and logs; pending transactions are sealed")),
    }
}

fn sealed_selection(params: &Params<'_>) -> Answer<Selection> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        Ordered,
        Opened,
        Executed,
        Status,
    }
    let mut params = params.sequence();
    Ok(match params.next::<Kind>()? {
        Kind::Ordered => Selection::Ordered,
        Kind::Opened => Selection::Opened,
        Kind::Executed => Selection::Executed,
        Kind::Status => Selection::Status(params.next()?),
    })
}

async fn serve(
    pending: PendingSubscriptionSink,
    selection: Answer<Selection>,
    context: &Arc<Context>,
) -> Result<(), SubscriptionError> {
    let selection = match selection {
        Ok(selection) => selection,
        Err(refusal) => {
            pending.reject(refusal).await;
            return Ok(());
        }
    };
    // Events first, then the present state: nothing falls between the two.
    let events = context.api.events();
    let present = match present(&selection, context).await {
        Ok(present) => present,
        Err(refusal) => {
            pending.reject(refusal).await;
            return Ok(());
        }
    };
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    pump(sink, events, selection, present).await
}

/// What a new subscriber is told at once: the present status, for a status subscription.
async fn present(selection: &Selection, context: &Arc<Context>) -> Answer<Option<Box<RawValue>>> {
    let Selection::Status(id) = *selection else { return Ok(None) };
    let context = Arc::clone(context);
    let status = tokio::task::spawn_blocking(move || context.api.status(id)).await;
    match status {
        Ok(Ok(Some(status))) => Ok(to_raw_value(&status).ok()),
        Ok(Ok(None)) => Ok(None),
        Ok(Err(failure)) => Err(ErrorObjectOwned::from(failure)),
        Err(_) => {
            Err(errors::error(jsonrpsee::types::error::INTERNAL_ERROR_CODE, "internal error"))
        }
    }
}

async fn pump(
    sink: SubscriptionSink,
    mut events: broadcast::Receiver<NodeEvent>,
    selection: Selection,
    present: Option<Box<RawValue>>,
) -> Result<(), SubscriptionError> {
    let is_status = matches!(selection, Selection::Status(_));
    let mut last: Option<String> = None;
    let mut ready: Vec<Box<RawValue>> = present.into_iter().collect();
    loop {
        for notice in ready.drain(..) {
            // The present status may come again as an event.
            if is_status && last.as_deref() == Some(notice.get()) {
                continue;
            }
            last = is_status.then(|| notice.get().to_owned());
            if sink.send_timeout(notice, SLOW_SUBSCRIBER_TIMEOUT).await.is_err() {
                return Err("subscriber too slow, or gone".into());
            }
        }
        tokio::select! {
            () = sink.closed() => return Ok(()),
            event = events.recv() => match event {
                Ok(event) => ready = pick(&selection, &event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Err(format!("{missed} events missed; subscribe again").into());
                }
                Err(broadcast::error::RecvError::Closed) => return Err("the node is stopping".into()),
            },
        }
    }
}

/// Notifications that an event is worth to a subscription.
fn pick(selection: &Selection, event: &NodeEvent) -> Vec<Box<RawValue>> {
    match (selection, event) {
        (Selection::NewHeads, NodeEvent::Executed(view)) => {
            let head = HeaderView { hash: view.hash, header: view.header.clone() };
            raw([convert::header(&head)])
        }
        (Selection::Logs(filter), NodeEvent::Executed(view)) => {
            if !filter.matches_bloom(view.header.logs_bloom) {
                return Vec::new();
            }
            raw(convert::matching_logs(view, filter))
        }
        (Selection::Executed, NodeEvent::Executed(view)) => raw([ExecutedNotice {
            height: view.header.number,
            block_hash: view.hash,
            state_root: view.header.state_root,
            executed: u32::try_from(view.transactions.len()).unwrap_or(u32::MAX),
        }]),
        (Selection::Ordered, NodeEvent::Ordered(notice)) => raw([notice.as_ref()]),
        (Selection::Opened, NodeEvent::Opened(notice)) => raw([notice]),
        (Selection::Status(wanted), NodeEvent::Status { envelope_id, status })
            if wanted == envelope_id =>
        {
            raw([status])
        }
        _ => Vec::new(),
    }
}

fn raw<T: Serialize>(notices: impl IntoIterator<Item = T>) -> Vec<Box<RawValue>> {
    notices.into_iter().filter_map(|notice| to_raw_value(&notice).ok()).collect()
}
