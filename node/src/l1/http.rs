//! A node behind a URL.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_rpc_client::RpcClient;
use alloy_transport::{RpcError, TransportError, TransportErrorKind, TransportFut};
use alloy_transport_http::Http;
use async_trait::async_trait;
use blindfold_settlement::l1::{Beacon, L1Error, MAX_BEACON_BYTES, RpcL1};
use futures::StreamExt as _;
use tower::Service;

/// How a node is reached.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for one whole call, retries not counted.
    pub timeout: Duration,
    /// Tries after the first, when the node cannot be reached, or says to come back later.
    pub retries: u32,
    /// Pause before the first of them; each further pause is twice as long.
    pub backoff: Duration,
    /// The chain id that the node must have.
    pub chain_id: Option<u64>,
    /// HTTP interface of a beacon node, for blobs.
    pub beacon_url: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            retries: 4,
            backoff: Duration::from_millis(250),
            chain_id: None,
            beacon_url: None,
        }
    }
}

/// Longest pause before a call is tried again, whatever the node asks for.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Connects to an Ethereum node. `https` is verified by the system's trusted roots.
///
/// # Errors
/// [`L1Error::Unusable`] for a bad URL, [`L1Error::Unreachable`], or [`L1Error::WrongChain`]. URLs are
/// shown without their path, since that is where providers put keys.
pub async fn connect(url: &str, options: &HttpOptions) -> Result<RpcL1, L1Error> {
    let client = http_client(options)?;
    let beacon = match &options.beacon_url {
        None => None,
        Some(beacon) => {
            let base = parse(beacon)?;
            let beacon = HttpBeacon { client: client.clone(), base };
            Some(Arc::new(beacon) as Arc<dyn Beacon>)
        }
    };
    let url = parse(url)?;
    let is_local = url.host_str().is_some_and(|host| host == "localhost" || host == "127.0.0.1");
    let transport = Retrying {
        inner: Http::with_client(client, url),
        retries: options.retries,
        backoff: options.backoff,
    };
    let rpc = RpcClient::new(transport, is_local);
    RpcL1::connect(rpc, options.chain_id, beacon).await
}

fn parse(url: &str) -> Result<reqwest::Url, L1Error> {
    let parsed: reqwest::Url =
        url.parse().map_err(|_| L1Error::Unusable("the L1 URL is not a URL".to_owned()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(L1Error::Unusable(format!("L1 is reached by http or https, not by {other}"))),
    }
}

fn http_client(options: &HttpOptions) -> Result<reqwest::Client, L1Error> {
    // One TLS library and one provider in this process; whoever comes first sets it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("blindfold/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| L1Error::Unusable(error.without_url().to_string()))
}

/// Tries again when the node was not reached or asked for it. A transaction may so be sent twice; a node
/// that has it already says so, and that is no fault.
#[derive(Clone)]
struct Retrying {
    inner: Http<reqwest::Client>,
    retries: u32,
    backoff: Duration,
}

fn should_retry(error: &TransportError) -> bool {
    // What the HTTP client itself reports (no connection, time is over) is `Custom`.
    matches!(error, RpcError::Transport(kind)
        if kind.is_retry_err() || matches!(kind, TransportErrorKind::Custom(_)))
}

/// How long the node wants to be left alone, if it says so.
const fn asked_for(error: &TransportError) -> Option<Duration> {
    match error {
        RpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter {
            retry_after, ..
        }) => Some(*retry_after),
        _ => None,
    }
}

impl Service<RequestPacket> for Retrying {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let Self { mut inner, retries, backoff } = self.clone();
        Box::pin(async move {
            let mut pause = backoff;
            for _ in 0..retries {
                match inner.call(packet.clone()).await {
                    Err(error) if should_retry(&error) => {
                        let asked = asked_for(&error).unwrap_or_default();
                        tokio::time::sleep(pause.max(asked).min(MAX_PAUSE)).await;
                        pause = pause.saturating_mul(2);
                    }
                    result => return result,
                }
            }
            inner.call(packet).await
        })
    }
}

/// A beacon node's HTTP interface.
#[derive(Clone)]
struct HttpBeacon {
    client: reqwest::Client,
    base: reqwest::Url,
}

impl std::fmt::Debug for HttpBeacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpBeacon").field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Beacon for HttpBeacon {
    async fn get(&self, path: &str) -> Result<Vec<u8>, L1Error> {
        let unreachable =
            |error: reqwest::Error| L1Error::Unreachable(error.without_url().to_string());
        // What the URL has of a path (a provider's key) stays in front.
        let base = self.base.as_str().trim_end_matches('/');
        let answer = self.client.get(format!("{base}{path}")).send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(L1Error::Unreachable(format!("the beacon node answers {status}")));
        }
        if !status.is_success() {
            return Err(L1Error::Unusable(format!("the beacon node answers {status}")));
        }
        let (mut body, mut stream) = (Vec::new(), answer.bytes_stream());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(unreachable)?;
            if body.len() + chunk.len() > MAX_BEACON_BYTES {
                return Err(L1Error::Unusable("the beacon node's answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
