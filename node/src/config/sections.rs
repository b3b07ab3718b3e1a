//! The sections of `node.toml`: what each key means, and what it is if the file does not say.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Proposes, votes, releases shares, executes and serves.
    #[default]
    Member,
    /// Replays and serves; holds no key.
    Follower,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The transport between members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// Where to find the other members.
    pub peers: Vec<PeerConfig>,
    /// Followers that a member lets connect at a time; 0 admits none. A follower admits none.
    pub max_followers: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 30_600)),
            peers: Vec::new(),
            max_followers: 16,
        }
    }
}

/// Address of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// The member's ed25519 identity key, 64 hex digits, as in the genesis document.
    #[serde(with = "identity_hex")]
    pub identity: [u8; 32],
    /// UDP address it listens on.
    pub address: SocketAddr,
}

/// 32 bytes as 64 hex digits.
mod identity_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| D::Error::custom("an identity is 64 hex digits"))?;
        Ok(bytes)
    }
}

/// Limits of the JSON-RPC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RpcConfig {
    /// Whether to serve at all.
    pub enabled: bool,
    /// TCP address for HTTP and WebSocket.
    pub listen: SocketAddr,
    /// Open connections.
    pub max_connections: u32,
    /// Open connections from one address (for IPv6, one /64 network).
    pub max_connections_per_ip: u32,
    /// Milliseconds for a request's head, for its body, between requests, and for an answer to make
    /// progress; a WebSocket client that answers no ping for so long is dropped.
    pub timeout_ms: u64,
    /// Origins of web pages that may use the port; `"*"` means all. Requests with another are refused.
    pub allowed_origins: Vec<String>,
    /// Names in `Host` headers that are accepted beside this machine's loopback; `"*"` means all.
    pub allowed_hosts: Vec<String>,
    /// Bytes of one request or batch.
    pub max_request_bytes: u32,
    /// Bytes of one answer.
    pub max_response_bytes: u32,
    /// Calls in one batch.
    pub max_batch: u32,
    /// Subscriptions on one connection.
    pub max_subscriptions_per_connection: u32,
    /// Notifications that may wait for one connection.
    pub max_queued_notifications: u32,
    /// Calls that run at a time.
    pub max_concurrent_calls: usize,
    /// Submissions that wait for the mempool at a time.
    pub max_concurrent_submissions: usize,
    /// Blocks that one `eth_getLogs` looks at.
    pub max_log_blocks: u64,
    /// Logs that one `eth_getLogs` returns.
    pub max_log_results: usize,
    /// Gas that one `eth_call` or `eth_estimateGas` may use.
    pub call_gas_cap: u64,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8_545)),
            max_connections: 256,
            max_connections_per_ip: 128,
            timeout_ms: 30_000,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_request_bytes: 1 << 20,
            max_response_bytes: 16 << 20,
            max_batch: 64,
            max_subscriptions_per_connection: 64,
            max_queued_notifications: 256,
            max_concurrent_calls: 32,
            max_concurrent_submissions: 256,
            max_log_blocks: 10_000,
            max_log_results: 10_000,
            call_gas_cap: 30_000_000,
        }
    }
}

/// Metrics and health pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether to serve at all.
    pub enabled: bool,
    /// TCP address.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from(([127, 0, 0, 1], 9_600)) }
    }
}

/// Bounds of the mempool. They are this node's own and no part of consensus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MempoolConfig {
    /// Bytes of all envelopes.
    pub max_bytes: usize,
    /// Number of all envelopes.
    pub max_envelopes: usize,
    /// Envelopes of one payer.
    pub max_per_payer: usize,
    /// Fee bump in percent that replaces a pending envelope.
    pub replacement_bump_percent: u32,
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_envelopes: 20_000,
            max_per_payer: 64,
            replacement_bump_percent: 10,
        }
    }
}

/// What blocks are executed with. The blocks are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutorKind {
    /// On several threads, where that pays.
    #[default]
    Parallel,
    /// On one thread, in order.
    Sequential,
}

impl std::fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parallel => "parallel",
            Self::Sequential => "sequential",
        })
    }
}

impl std::str::FromStr for ExecutorKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Parallel, Self::Sequential]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| "the executors are `parallel` and `sequential`".to_owned())
    }
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Bytes of the block cache.
    pub cache_bytes: usize,
    /// Files the database may hold open; at least 64.
    pub max_open_files: i32,
    /// Heights, back from the newest, that keep a witness; 0 makes none.
    pub witness_heights: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, max_open_files: 512, witness_heights: 128 }
    }
}

/// How blocks are executed. The blocks are the same whatever is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionConfig {
    /// In parallel, or in order.
    pub executor: ExecutorKind,
    /// Threads of the parallel executor; 0 is one for each core.
    pub threads: usize,
    /// One height in this many is executed again, in order and on its witness alone; 0 for none.
    pub recheck_one_in: u64,
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self { executor: ExecutorKind::default(), threads: 0, recheck_one_in: 64 }
    }
}

/// L1: following it, and posting batches there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettlementConfig {
    /// JSON-RPC of an L1 node; empty if this node looks at no L1.
    pub l1_rpc: String,
    /// HTTP interface of a beacon node, from which blobs are read; empty if there is none.
    pub beacon_api: String,
    /// Chain id that L1 must have; 0 takes any.
    pub l1_chain_id: u64,
    /// First L1 block that can hold anything of this chain.
    pub from_block: u64,
    /// Milliseconds between two looks at L1.
    pub poll_ms: u64,
    /// Whether a member posts batches when it is its turn.
    pub post: bool,
    /// Whether data may go into blobs.
    pub blobs: bool,
    /// Seconds that a height waits for others to share a batch with.
    pub interval_s: u64,
    /// So many heights do not wait.
    pub full_heights: u64,
    /// Most heights in one batch.
    pub max_heights: u32,
    /// Seconds after which a member that does not post loses its turn to the next.
    pub takeover_s: u64,
    /// Seconds after which a transaction that is in no block is replaced by one that offers more.
    pub bump_after_s: u64,
    /// Most that is offered for a batch on L1, in wei per gas.
    pub max_fee_wei: u64,
    /// Most that is offered for the answer to a challenge, in wei per gas; `max_fee_wei`, if that is more.
    pub max_answer_fee_wei: u64,
    /// Whether challenges of other members' batches are answered, too, when those are late.
    pub answer_for_others: bool,
    /// Cost of posting, in wei, from which on a repayment is claimed.
    pub claim_above_wei: u64,
    /// Whether a member that posts also proposes outputs, proves what is challenged, and challenges what is wrong.
    pub outputs: bool,
    /// Seconds from one output to the next, at least.
    pub output_interval_s: u64,
    /// Post another order than the certified one. In demonstrations only.
    #[cfg(feature = "demo")]
    pub reorder: bool,
}

impl Default for SettlementConfig {
    fn default() -> Self {
        Self {
            l1_rpc: String::new(),
            beacon_api: String::new(),
            l1_chain_id: 0,
            from_block: 0,
            poll_ms: 4_000,
            post: true,
            blobs: true,
            interval_s: 60,
            full_heights: 1_024,
            max_heights: 2_048,
            takeover_s: 120,
            bump_after_s: 36,
            max_fee_wei: 500_000_000_000,
            max_answer_fee_wei: 10_000_000_000_000,
            answer_for_others: true,
            claim_above_wei: 50_000_000_000_000_000,
            outputs: true,
            output_interval_s: 21_600,
            #[cfg(feature = "demo")]
            reorder: false,
        }
    }
}
