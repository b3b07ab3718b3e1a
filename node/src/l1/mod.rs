//! L1 as this process reaches it: by HTTP, or embedded in it.
//!
//! | file | does |
//! |---|---|
//! | this one | connects to an L1 node: time-outs, TLS, the beacon node's HTTP interface |
//! | [`serve`] | runs the embedded L1: its blocks, its journal on disk, its JSON-RPC on a port |
//! | [`anvil`] | starts Foundry's anvil and ends it |

pub mod anvil;
pub mod serve;

use crate::config::SettlementConfig;
use alloy_rpc_client::RpcClient;
use alloy_transport_http::{Http, reqwest::{Client, Url}};
use async_trait::async_trait;
use blindfold_settlement::l1::{Beacon, L1Error, MAX_BEACON_BYTES, RpcL1, SharedL1};
use std::{sync::Arc, time::Duration};

/// How long an L1 node may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the L1 that a configuration names, and checks its chain id.
///
/// # Errors
/// If the URL is none, the node does not answer, or is of another chain.
pub async fn connect(config: &SettlementConfig) -> Result<SharedL1, L1Error> {
    Ok(Arc::new(reach(config).await?))
}

/// As [`connect`], with power over the chain: for tests, on chains that give it.
///
/// # Errors
/// As [`connect`].
pub async fn connect_with_control(config: &SettlementConfig) -> Result<SharedL1, L1Error> {
    Ok(Arc::new(reach(config).await?.with_control()))
}

async fn reach(config: &SettlementConfig) -> Result<RpcL1, L1Error> {
    let http = client()?;
    let url = url(&config.l1_rpc)?;
    let beacon: Option<Arc<dyn Beacon>> = match config.beacon_api.is_empty() {
        true => None,
        false => Some(Arc::new(HttpBeacon { base: url_text(&config.beacon_api)?, http: http.clone() })),
    };
    let expected = (config.l1_chain_id != 0).then_some(config.l1_chain_id);
    let is_local = url.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"));
    RpcL1::connect(RpcClient::new(Http::with_client(http, url), is_local), expected, beacon).await
}

fn client() -> Result<Client, L1Error> {
    Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .map_err(|error| L1Error::Unusable(error.to_string()))
}

fn url(text: &str) -> Result<Url, L1Error> {
    let url = Url::parse(text).map_err(|error| L1Error::Unusable(format!("{text}: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(L1Error::Unusable(format!("{text}: {other} is neither http nor https"))),
    }
}

fn url_text(text: &str) -> Result<String, L1Error> {
    url(text)?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// A beacon node behind HTTP.
#[derive(Debug)]
struct HttpBeacon {
    base: String,
    http: Client,
}

#[async_trait]
impl Beacon for HttpBeacon {
    async fn get(&self, path: &str) -> Result<Vec<u8>, L1Error> {
        let away = |error: alloy_transport_http::reqwest::Error| L1Error::Unreachable(error.without_url().to_string());
        let mut answer = self.http.get(format!("{}{path}", self.base)).send().await.map_err(away)?;
        if !answer.status().is_success() {
            let status = answer.status();
            let message = format!("the beacon node answers {status}");
            return Err(match status.is_server_error() {
                true => L1Error::Unreachable(message),
                false => L1Error::Unusable(message),
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > MAX_BEACON_BYTES {
                return Err(L1Error::Unusable("the beacon node's answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_taken() {
        assert!(url("http://127.0.0.1:8545").is_ok());
        assert!(url("https://example.org/key").is_ok());
        for wrong in ["", "127.0.0.1:8545", "ws://127.0.0.1:1", "file:///etc/passwd"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
