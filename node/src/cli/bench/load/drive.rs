//! The open loop: what is due is sent, however slowly answers come.
//!
//! Each member has one WebSocket, on which it answers in any order, so that it can admit together what
//! arrives together. (Calls of one JSON-RPC batch are answered one after another.)

use super::stock::Ready;
use crate::cli::devnet::wallets::now_ms;
use alloy_primitives::B256;
use blindfold_sdk::rpc::{SendDocument, codes};
use eyre::{Result, WrapErr as _};
use jsonrpsee::{
    core::client::{ClientT as _, Error as RpcError},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Pause between two looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Submissions that wait for their answers at a time; what is due beyond that is sent late.
const MAX_WAITING: usize = 4_096;
/// How long one envelope is tried again while a member is busy.
const RETRY_FOR: Duration = Duration::from_secs(20);
/// Pause before it is.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Live figures for the progress line.
#[derive(Debug, Default)]
pub struct Live {
    /// Handed to a member.
    pub sent: AtomicUsize,
    /// Answered with a receipt.
    pub admitted: AtomicUsize,
}

/// What became of the submissions.
#[derive(Debug, Default)]
pub struct Submitted {
    /// Envelopes with a receipt, and when each was due, in milliseconds since the Unix epoch.
    pub admitted: Vec<(B256, u64)>,
    /// Envelopes without one, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Submissions repeated because a member was busy.
    pub retries: usize,
    /// Envelopes sent more than a second after they were due.
    pub late: usize,
    /// When the first was due and when the last was, in milliseconds since the Unix epoch.
    pub span_ms: (u64, u64),
}

/// One answer.
enum Answer {
    Admitted,
    Refused(String),
}

/// Sends `ready` at `rate` a second to the members at `rpc_urls`, each payer's to one of them. Returns when
/// all are answered.
///
/// # Errors
/// If a member cannot be reached, or `interrupted` is raised.
pub fn drive(
    rpc_urls: &[String],
    ready: Vec<Ready>,
    rate: f64,
    live: &Arc<Live>,
    interrupted: &AtomicBool,
) -> Result<Submitted> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for url in rpc_urls {
            let url = url.replacen("http://", "ws://", 1);
            let client = WsClientBuilder::new()
                .request_timeout(REQUEST_TIMEOUT)
                .max_concurrent_requests(2 * MAX_WAITING)
                .build(&url)
                .await
                .wrap_err_with(|| format!("cannot connect to {url}"))?;
            clients.push(Arc::new(client));
        }
        open_loop(&clients, ready, rate, live, interrupted).await
    })
}

async fn open_loop(
    clients: &[Arc<WsClient>],
    ready: Vec<Ready>,
    rate: f64,
    live: &Arc<Live>,
    interrupted: &AtomicBool,
) -> Result<Submitted> {
    let (began, began_ms) = (Instant::now(), now_ms());
    let due_at = |number: usize| Duration::from_secs_f64(number as f64 / rate);
    let last_ms = began_ms + due_at(ready.len().saturating_sub(1)).as_millis() as u64;
    let mut submitted = Submitted { span_ms: (began_ms, last_ms), ..Submitted::default() };
    let mut waiting: JoinSet<(B256, u64, Answer, usize)> = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ready = ready.into_iter().enumerate().peekable();
    while ready.peek().is_some() || !waiting.is_empty() {
        eyre::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        tokio::select! {
            Some(done) = waiting.join_next() => note(&mut submitted, done?),
            _ = tick.tick(), if ready.peek().is_some() => {}
        }
        while let Some(done) = waiting.try_join_next() {
            note(&mut submitted, done?);
        }
        while waiting.len() < MAX_WAITING
            && let Some((number, one)) =
                ready.next_if(|(number, _)| due_at(*number) <= began.elapsed())
        {
            if began.elapsed() > due_at(number) + Duration::from_secs(1) {
                submitted.late += 1;
            }
            let due_ms = began_ms + due_at(number).as_millis() as u64;
            let client = Arc::clone(&clients[one.payer % clients.len()]);
            let live = Arc::clone(live);
            live.sent.fetch_add(1, Ordering::Relaxed);
            waiting.spawn(async move {
                let (answer, retries) = submit(&client, &one).await;
                if matches!(answer, Answer::Admitted) {
                    live.admitted.fetch_add(1, Ordering::Relaxed);
                }
                (one.id, due_ms, answer, retries)
            });
        }
    }
    Ok(submitted)
}

fn note(submitted: &mut Submitted, (id, due_ms, answer, retries): (B256, u64, Answer, usize)) {
    submitted.retries += retries;
    match answer {
        Answer::Admitted => submitted.admitted.push((id, due_ms)),
        Answer::Refused(reason) => *submitted.refused.entry(reason).or_default() += 1,
    }
}

/// Hands one envelope in, again and again while the member is busy.
async fn submit(client: &WsClient, ready: &Ready) -> (Answer, usize) {
    let (began, mut retries) = (Instant::now(), 0);
    loop {
        let answer: Result<SendDocument, _> =
            client.request("sealed_sendTransaction", rpc_params![&ready.bytes]).await;
        let (reason, passing) = match answer {
            Ok(document) if document.envelope_id == ready.id => return (Answer::Admitted, retries),
            Ok(_) => return (Answer::Refused("receipt_of_another".to_owned()), retries),
            Err(RpcError::Call(error)) => {
                let data = error
                    .data()
                    .and_then(|data| serde_json::from_str::<serde_json::Value>(data.get()).ok());
                let word = data.as_ref().and_then(|data| data.get("reason")?.as_str());
                let reason = word.unwrap_or("unknown").to_owned();
                // Taken by a member whose answer was lost.
                if reason == "already_known" {
                    return (Answer::Admitted, retries);
                }
                let passing = error.code() == codes::UNAVAILABLE
                    || matches!(
                        reason.as_str(),
                        "nonce_too_far" | "payer_full" | "backlog" | "full"
                    );
                (reason, passing)
            }
            Err(_) => ("no_answer".to_owned(), true),
        };
        if !passing || began.elapsed() >= RETRY_FOR {
            return (Answer::Refused(reason), retries);
        }
        retries += 1;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
