//! `eth_subscribe` (`newHeads`, `logs`) and `sealed_subscribe` (`status`, `ordered`, `opened`,
//! `executed`), over WebSocket.
//!
//! A subscriber that cannot keep up is told so and cut off, rather than left to believe that it
//! has seen everything.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, pubsub::SubscriptionKind};
use blindfold_sdk::rpc::ExecutedNotice;
use blindfold_wire::TxStatus;
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
    let Selection::Status(id) = selection else {
        let Ok(sink) = pending.accept().await else { return Ok(()) };
        return pump(sink, events, selection).await;
    };
    let present = match status_of(context, id).await {
        Ok(present) => present,
        Err(refusal) => {
            pending.reject(refusal).await;
            return Ok(());
        }
    };
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    follow(sink, events, id, present, context).await
}

/// Where an envelope stands now.
async fn status_of(context: &Arc<Context>, id: B256) -> Answer<Option<TxStatus>> {
    let context = Arc::clone(context);
    match tokio::task::spawn_blocking(move || context.api.status(id)).await {
        Ok(status) => status.map_err(ErrorObjectOwned::from),
        Err(_) => {
            Err(errors::error(jsonrpsee::types::error::INTERNAL_ERROR_CODE, "internal error"))
        }
    }
}

/// The next event, or `None` once the subscriber is gone.
async fn next_event(
    sink: &SubscriptionSink,
    events: &mut broadcast::Receiver<NodeEvent>,
) -> Result<Option<NodeEvent>, SubscriptionError> {
    tokio::select! {
        () = sink.closed() => Ok(None),
        event = events.recv() => match event {
            Ok(event) => Ok(Some(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Err(format!("{missed} events missed; subscribe again").into())
            }
            Err(broadcast::error::RecvError::Closed) => Err("the node is stopping".into()),
        },
    }
}

async fn send(sink: &SubscriptionSink, notice: Box<RawValue>) -> Result<(), SubscriptionError> {
    match sink.send_timeout(notice, SLOW_SUBSCRIBER_TIMEOUT).await {
        Ok(()) => Ok(()),
        Err(_) => Err("subscriber too slow, or gone".into()),
    }
}

/// Delivers what `selection` picks.
async fn pump(
    sink: SubscriptionSink,
    mut events: broadcast::Receiver<NodeEvent>,
    selection: Selection,
) -> Result<(), SubscriptionError> {
    while let Some(event) = next_event(&sink, &mut events).await? {
        for notice in pick(&selection, &event) {
            send(&sink, notice).await?;
        }
    }
    Ok(())
}

/// Delivers the present status of one envelope, and every other one after it, each once.
async fn follow(
    sink: SubscriptionSink,
    mut events: broadcast::Receiver<NodeEvent>,
    id: B256,
    present: Option<TxStatus>,
    context: &Arc<Context>,
) -> Result<(), SubscriptionError> {
    let (mut next, mut last) = (present, None);
    loop {
        if let Some(status) = next.filter(|status| last.as_ref() != Some(status)) {
            send(&sink, to_raw_value(&status)?).await?;
            last = Some(status);
        }
        let Some(event) = next_event(&sink, &mut events).await? else { return Ok(()) };
        next = match hear(id, last.as_ref(), &event) {
            Heard::Nothing => None,
            Heard::Status(status) => Some(status),
            Heard::LookUp => match status_of(context, id).await {
                Ok(status) => status,
                Err(failure) => return Err(failure.message().to_owned().into()),
            },
        };
    }
}

/// What an event says of an envelope.
enum Heard {
    Nothing,
    Status(TxStatus),
    /// It may have changed; the event does not say to what.
    LookUp,
}

/// Execution names every envelope with its end. The steps before it are read off the notices of heights;
/// what no notice tells (admitted, replaced, expired, evicted) is looked up at every height, until the
/// envelope is ordered.
fn hear(id: B256, last: Option<&TxStatus>, event: &NodeEvent) -> Heard {
    match (event, last) {
        (NodeEvent::Status { envelope_id, status }, _) if *envelope_id == id => {
            Heard::Status(status.clone())
        }
        (NodeEvent::Ordered(notice), None | Some(TxStatus::Pending | TxStatus::Evicted)) => {
            match (0u32..).zip(&notice.envelope_ids).find(|(_, ordered)| **ordered == id) {
                Some((position, _)) => {
                    Heard::Status(TxStatus::Ordered { height: notice.height, position })
                }
                None => Heard::LookUp,
            }
        }
        (NodeEvent::Opened(notice), Some(&TxStatus::Ordered { height, position }))
            if notice.height == height =>
        {
            match notice.undecryptable {
                0 => Heard::Status(TxStatus::Opened { height, position }),
                _ => Heard::LookUp,
            }
        }
        _ => Heard::Nothing,
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
        _ => Vec::new(),
    }
}

fn raw<T: Serialize>(notices: impl IntoIterator<Item = T>) -> Vec<Box<RawValue>> {
    notices.into_iter().filter_map(|notice| to_raw_value(&notice).ok()).collect()
}
