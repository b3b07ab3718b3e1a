//! Metrics in Prometheus' text format, and the health pages, on one small HTTP server.
//!
//! | page | says |
//! |---|---|
//! | `/metrics` | every metric of this process |
//! | `/healthz` | 200 as long as the process answers |
//! | `/readyz` | 200 if the node is in step and serves, else 503 and why |
//!
//! Names are `blindfold_<stage>_<name>_<unit>`; counters end in `_total`. Stages record through
//! the functions below, so that a name is written once. Labels come from small fixed sets (method
//! names, reasons), never from what a peer or user sent.

use std::{net::SocketAddr, sync::Arc, sync::OnceLock, time::Duration};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::server::{ServerHandle, stop_channel};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    listen::{self, Limits},
    rpc::api::{NodeApi, Readiness},
};

/// Bounds of the pages' port.
const LIMITS: Limits =
    Limits { max_connections: 64, max_connections_per_ip: 32, timeout: Duration::from_secs(30) };

/// Upper bounds, in seconds, of the buckets of every `_seconds` histogram.
const SECONDS_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often histograms are drained, so that they stay small when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Heights reached, by stage (label `stage`: ordered, opened, executed).
pub const CHAIN_HEIGHT: &str = "blindfold_chain_height_blocks";
/// Heights that the network is known to be ahead of this node.
pub const BEHIND: &str = "blindfold_sync_behind_blocks";
/// Heights executed in a second while catching up; 0 in step.
pub const SYNC_RATE: &str = "blindfold_sync_rate_blocks";
/// Envelopes that reached an end or a stage (label `status`).
pub const ENVELOPES: &str = "blindfold_mempool_envelopes_total";
/// Envelopes in the mempool.
pub const MEMPOOL_SIZE: &str = "blindfold_mempool_size_envelopes";
/// Bytes in the mempool.
pub const MEMPOOL_BYTES: &str = "blindfold_mempool_size_bytes";
/// Time one stage took for one height (label `stage`).
pub const STAGE_TIME: &str = "blindfold_stage_height_seconds";
/// Forced items of executed heights (labels `kind` and `outcome`).
pub const FORCED: &str = "blindfold_forced_items_total";
/// Evidence found (label `kind`).
pub const EVIDENCE: &str = "blindfold_evidence_found_total";
/// Access lists that peers gave with openings, by what they were worth: `followed` or `wrong`.
pub const HINTS: &str = "blindfold_access_lists_total";
/// Heights executed again on their witness, by outcome: `equal` or `different`.
pub const RECHECKS: &str = "blindfold_execution_rechecks_total";
/// Alarm: heights that came out different when they were executed again.
pub const MISMATCHES: &str = "blindfold_execution_mismatches_total";
/// Peers' requests and evidence that were dropped (label `reason`: busy, quota, outbox).
pub const REQUESTS_DROPPED: &str = "blindfold_sync_requests_dropped_total";
/// RPC calls (labels `method`, `outcome`: ok, error).
pub const RPC_CALLS: &str = "blindfold_rpc_calls_total";
/// TCP connections that found no place.
pub const CONNECTIONS_REFUSED: &str = "blindfold_rpc_connections_refused_total";
/// Time of RPC calls (label `method`).
pub const RPC_TIME: &str = "blindfold_rpc_call_seconds";

/// Counts a connection that found no place.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// Transactions that the gateway holds.
pub const GATEWAY_HELD: &str = "blindfold_gateway_held_transactions";
/// Escrow of the gateway's payer.
pub const GATEWAY_ESCROW: &str = "blindfold_gateway_escrow_wei";

/// Sets how many transactions the gateway holds, and its payer's escrow.
pub fn gateway(held: usize, escrow_wei: f64) {
    gauge!(GATEWAY_HELD).set(held as f64);
    gauge!(GATEWAY_ESCROW).set(escrow_wei);
}

/// Looks at L1 that failed (label `task`: watcher, poster).
pub const SETTLEMENT_FAILURES: &str = "blindfold_settlement_failures_total";
/// What became of batches that this member posted (label `event`).
pub const POSTING: &str = "blindfold_settlement_batches_total";
/// Challenges that this member dealt with (label `event`).
pub const CHALLENGES: &str = "blindfold_settlement_challenges_total";
/// Alarm: open challenges of this member's batches.
pub const CHALLENGES_OPEN: &str = "blindfold_settlement_open_challenges";
/// Alarm: fallbacks of the forced queue that became final on L1: the committee left items out for too long.
pub const FALLBACKS: &str = "blindfold_settlement_fallbacks_total";
/// Bytes of batch data that this member built.
pub const POSTED_BYTES: &str = "blindfold_settlement_data_bytes_total";
/// Openings in these batches.
pub const POSTED_OPENINGS: &str = "blindfold_settlement_openings_total";
/// What this member did about outputs (label `event`).
pub const OUTPUTS: &str = "blindfold_settlement_outputs_total";
/// Last height of the newest output on L1.
pub const OUTPUT_HEIGHT: &str = "blindfold_settlement_output_height_blocks";
/// Highest height that is on L1.
pub const POSTED_HEIGHT: &str = "blindfold_settlement_posted_height_blocks";
/// Newest L1 block known as final.
pub const L1_FINAL_BLOCK: &str = "blindfold_settlement_l1_final_blocks";

/// Counts a look at L1 that failed.
pub fn settlement_failure(task: &'static str) {
    counter!(SETTLEMENT_FAILURES, "task" => task).increment(1);
}

/// Counts what became of a batch: built, sent, bumped, cancelled, reverted, unfunded; `shown` is a call before it that
/// shows where forced items were ordered, `waits` a batch that cannot count yet because they were not.
pub fn posting(event: &'static str) {
    counter!(POSTING, "event" => event).increment(1);
}

/// Counts what became of a challenge: answered, taken_over (another member's), failed.
pub fn challenge(event: &'static str) {
    counter!(CHALLENGES, "event" => event).increment(1);
}

/// Sets how many challenges of this member's batches are open.
pub fn challenges_against_us(open: usize) {
    gauge!(CHALLENGES_OPEN).set(open as f64);
}

/// Counts a fallback of the forced queue on L1.
pub fn fallback() {
    counter!(FALLBACKS).increment(1);
}

/// Counts what this member did about outputs: propose, prove, challenge, reject, return_bond, withdraw (of bonds); and
/// what it noticed: wrong (alarm), refused, unfunded.
pub fn output(event: &'static str) {
    counter!(OUTPUTS, "event" => event).increment(1);
}

/// Sets the last height of the newest output.
pub fn output_height(height: u64) {
    gauge!(OUTPUT_HEIGHT).set(height as f64);
}

/// Counts the data of a batch.
pub fn posted_bytes(bytes: usize, openings: u32) {
    counter!(POSTED_BYTES).increment(bytes as u64);
    counter!(POSTED_OPENINGS).increment(openings.into());
}

/// Sets the highest height that is on L1.
pub fn posted_height(height: u64) {
    gauge!(POSTED_HEIGHT).set(height as f64);
}

/// Sets the newest final L1 block.
pub fn l1_final_block(number: u64) {
    gauge!(L1_FINAL_BLOCK).set(number as f64);
}

/// Counts one RPC call.
pub fn rpc_call(method: &'static str, took: Duration, ok: bool) {
    let outcome = if ok { "ok" } else { "error" };
    counter!(RPC_CALLS, "method" => method, "outcome" => outcome).increment(1);
    histogram!(RPC_TIME, "method" => method).record(took.as_secs_f64());
}

/// Sets the height that a stage has reached.
pub fn stage_height(stage: &'static str, height: u64) {
    gauge!(CHAIN_HEIGHT, "stage" => stage).set(height as f64);
}

/// Sets how far behind the network this node is, and how fast it catches up.
pub fn behind(heights: u64, heights_per_second: f64) {
    gauge!(BEHIND).set(heights as f64);
    gauge!(SYNC_RATE).set(heights_per_second);
}

/// Records how long a stage took for one height.
pub fn stage_time(stage: &'static str, took: Duration) {
    histogram!(STAGE_TIME, "stage" => stage).record(took.as_secs_f64());
}

/// Counts envelopes that reached a status.
pub fn envelopes(status: &'static str, count: u64) {
    counter!(ENVELOPES, "status" => status).increment(count);
}

/// Sets the size of the mempool.
pub fn mempool_size(envelopes: usize, bytes: usize) {
    gauge!(MEMPOOL_SIZE).set(envelopes as f64);
    gauge!(MEMPOOL_BYTES).set(bytes as f64);
}

/// Counts what became of a forced item. `kind` is one of `blindfold_wire::ForcedKind`, or `unknown`.
pub fn forced(kind: &'static str, outcome: &'static str) {
    counter!(FORCED, "kind" => kind, "outcome" => outcome).increment(1);
}

/// Counts a piece of evidence.
pub fn evidence(kind: &'static str) {
    counter!(EVIDENCE, "kind" => kind).increment(1);
}

/// Counts an access list that a peer gave.
pub fn hint(worth: &'static str) {
    counter!(HINTS, "worth" => worth).increment(1);
}

/// Counts a peer's request that is not answered, or evidence that is not looked at: too many of that peer wait (busy),
/// it was sent too much lately (quota), or it does not take what it is sent (outbox).
pub fn request_dropped(reason: &'static str) {
    counter!(REQUESTS_DROPPED, "reason" => reason).increment(1);
}

/// Counts a height that was executed again.
pub fn recheck(outcome: &'static str) {
    counter!(RECHECKS, "outcome" => outcome).increment(1);
}

/// Raises the alarm.
pub fn mismatch() {
    counter!(MISMATCHES).increment(1);
}

/// Installs the process's recorder, once; later calls return the first one's handle.
///
/// # Errors
/// If another recorder was installed before, or the buckets are invalid.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn describe() {
    describe_gauge!(CHAIN_HEIGHT, "Height reached, by stage.");
    describe_gauge!(BEHIND, "Heights the network is ahead of this node.");
    describe_gauge!(SYNC_RATE, "Heights executed in a second while catching up; 0 in step.");
    describe_counter!(ENVELOPES, "Envelopes by the status they reached.");
    describe_gauge!(MEMPOOL_SIZE, "Envelopes in the mempool.");
    describe_gauge!(MEMPOOL_BYTES, "Bytes in the mempool.");
    describe_histogram!(STAGE_TIME, "Time a stage took for one height.");
    describe_counter!(FORCED, "Forced items of executed heights, by kind and outcome.");
    describe_counter!(EVIDENCE, "Evidence found, by kind.");
    describe_counter!(HINTS, "Access lists that peers gave with openings, by worth.");
    describe_counter!(REQUESTS_DROPPED, "Requests and evidence of peers dropped, by reason.");
    describe_counter!(RECHECKS, "Heights executed again on their witness, by outcome.");
    describe_counter!(MISMATCHES, "Alarm: heights that came out different when executed again.");
    // An alarm that never rang is 0, not absent.
    counter!(MISMATCHES).absolute(0);
    describe_counter!(SETTLEMENT_FAILURES, "Looks at L1 that failed, by task.");
    describe_counter!(POSTING, "Batches of this member, by what became of them.");
    describe_counter!(CHALLENGES, "Challenges, by what this member did about them.");
    describe_gauge!(CHALLENGES_OPEN, "Alarm: open challenges of this member's batches.");
    describe_counter!(FALLBACKS, "Alarm: fallbacks of the forced queue on L1.");
    describe_counter!(POSTED_BYTES, "Bytes of batch data that this member built.");
    describe_counter!(POSTED_OPENINGS, "Openings in the batches that this member built.");
    describe_counter!(OUTPUTS, "What this member did about outputs, and noticed.");
    describe_gauge!(OUTPUT_HEIGHT, "Last height of the newest output on L1.");
    describe_gauge!(POSTED_HEIGHT, "Highest height on L1.");
    describe_gauge!(L1_FINAL_BLOCK, "Newest L1 block known as final.");
    describe_counter!(CONNECTIONS_REFUSED, "TCP connections that found no place.");
    describe_counter!(RPC_CALLS, "RPC calls by method and outcome.");
    describe_histogram!(RPC_TIME, "Duration of RPC calls by method.");
}

/// The running metrics and health server. Dropping it stops it.
#[derive(Debug)]
pub struct MetricsServer {
    local_addr: SocketAddr,
    handle: ServerHandle,
}

#[derive(Clone)]
struct Pages {
    metrics: PrometheusHandle,
    api: Arc<dyn NodeApi>,
}

impl MetricsServer {
    /// Serves the pages on `listen`. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub async fn start(
        listen: SocketAddr,
        metrics: PrometheusHandle,
        api: Arc<dyn NodeApi>,
    ) -> std::io::Result<Self> {
        let listener = listen::bind(listen)?;
        let local_addr = listener.local_addr()?;
        let app = Router::new()
            .route("/metrics", get(metrics_page))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readiness_page))
            .with_state(Pages { metrics: metrics.clone(), api });
        let (stop, handle) = stop_channel();
        let stopping = stop.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
            let upkeep = async {
                loop {
                    tick.tick().await;
                    metrics.run_upkeep();
                }
            };
            // Also ends when the server was dropped.
            tokio::select! {
                () = upkeep => {}
                () = stopping.shutdown() => {}
            }
        });
        let refusal = "\"too many connections\"".to_owned();
        let service = move |_| TowerToHyperService::new(app.clone());
        tokio::spawn(listen::serve(listener, LIMITS, stop, refusal, service));
        Ok(Self { local_addr, handle })
    }

    /// Address the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops, and returns once open requests are answered.
    pub async fn stop(self) {
        if self.handle.stop().is_ok() {
            self.handle.stopped().await;
        }
    }
}

async fn metrics_page(State(pages): State<Pages>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
}

async fn readiness_page(State(pages): State<Pages>) -> (StatusCode, String) {
    match pages.api.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::Syncing { current, highest, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("syncing: {current} of {highest}\n"))
        }
        Readiness::NotReady(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::rpc::double::TestNode;

    /// Status code and body of a page.
    async fn page(server: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn pages_tell_the_truth() {
        let node = TestNode::new(1);
        let handle = install().unwrap();
        let server =
            MetricsServer::start(([127, 0, 0, 1], 0).into(), handle, node.clone()).await.unwrap();
        let address = server.local_addr();

        stage_height("ordered", 41);
        stage_time("ordered", Duration::from_millis(30));
        forced("deposit", "credited");
        let (status, text) = page(address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("blindfold_chain_height_blocks{stage=\"ordered\"} 41"), "{text}");
        let forced = "blindfold_forced_items_total{kind=\"deposit\",outcome=\"credited\"} 1";
        assert!(text.contains(forced), "{text}");
        assert!(
            text.contains("blindfold_stage_height_seconds_bucket{stage=\"ordered\",le=\"0.05\"}"),
            "times are histograms, so that quantiles of several nodes can be merged: {text}"
        );

        assert_eq!(page(address, "/readyz").await.0, 200);
        *node.readiness.lock() = Readiness::Syncing { started_at: 0, current: 3, highest: 9 };
        assert_eq!(page(address, "/readyz").await, (503, "syncing: 3 of 9\n".to_owned()));
        assert_eq!(page(address, "/healthz").await.0, 200, "a node that catches up is alive");
        assert_eq!(page(address, "/").await.0, 404);
        server.stop().await;
        assert!(TcpStream::connect(address).await.is_err(), "stopped");
    }

    #[test]
    fn names_follow_the_rule() {
        let units = ["_blocks", "_envelopes", "_bytes", "_seconds", "_total"];
        let names = [
            CHAIN_HEIGHT,
            BEHIND,
            SYNC_RATE,
            ENVELOPES,
            MEMPOOL_SIZE,
            MEMPOOL_BYTES,
            STAGE_TIME,
            FORCED,
            EVIDENCE,
            RPC_CALLS,
            CONNECTIONS_REFUSED,
            RPC_TIME,
        ];
        for name in names {
            assert!(
                name.starts_with("blindfold_") && units.iter().any(|unit| name.ends_with(unit)),
                "{name}"
            );
        }
    }
}
