//! `node.toml`, decoded once into typed structs.
//!
//! Every key is optional, but for the two of each peer; unknown keys are errors, so that a typing
//! mistake does not silently mean the default. `blindfold node init` writes
//! [`NodeConfig::default_toml_with_comments`], which decodes to [`NodeConfig::default`].
//! Relative paths are relative to the folder of `node.toml`.

mod sections;

pub use sections::{
    ExecutionConfig, ExecutorKind, LogFormat, MempoolConfig, MetricsConfig, NetworkConfig,
    PeerConfig, Role, RpcConfig, SettlementConfig, StorageConfig,
};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::gateway::config::GatewayConfig;

/// Largest `node.toml` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Heights that may keep a witness. One takes some hundred kilobytes.
const MAX_WITNESS_HEIGHTS: u64 = 100_000;

/// Files that the database may be told to hold open at least, so that it can work.
const MIN_OPEN_FILES: i32 = 64;

/// Followers that a member may be told to admit. Each costs queues of its own.
const MAX_FOLLOWERS: usize = 256;

/// Everything a node is told from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Whether the node votes, or only follows.
    pub role: Role,
    /// Folder of the database and of the engine's journal.
    pub data_dir: PathBuf,
    /// The chain's genesis document (JSON).
    pub genesis: PathBuf,
    /// The member's secret keys; not needed by a follower.
    pub secrets: PathBuf,
    /// Filter of the log, in `tracing`'s syntax.
    pub log_filter: String,
    /// Form of the log lines on stderr.
    pub log_format: LogFormat,
    /// The QUIC transport between members.
    pub network: NetworkConfig,
    /// JSON-RPC.
    pub rpc: RpcConfig,
    /// Metrics and health pages.
    pub metrics: MetricsConfig,
    /// Bounds of the mempool.
    pub mempool: MempoolConfig,
    /// The database.
    pub storage: StorageConfig,
    /// How blocks are executed.
    pub execution: ExecutionConfig,
    /// L1: following it, and posting batches there.
    pub settlement: SettlementConfig,
    /// The gateway for wallets that do not seal; used by `blindfold gateway` alone.
    pub gateway: GatewayConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            role: Role::Member,
            data_dir: "data".into(),
            genesis: "genesis.json".into(),
            secrets: "secrets.toml".into(),
            log_filter: "warn,blindfold=info".to_owned(),
            log_format: LogFormat::Text,
            network: NetworkConfig::default(),
            rpc: RpcConfig::default(),
            metrics: MetricsConfig::default(),
            mempool: MempoolConfig::default(),
            storage: StorageConfig::default(),
            execution: ExecutionConfig::default(),
            settlement: SettlementConfig::default(),
            gateway: GatewayConfig::default(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}; `blindfold node init` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The file is larger than any sensible configuration.
    #[error("{path} is larger than {MAX_CONFIG_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The text is not TOML, or has an unknown key or a value of the wrong kind.
    #[error("node.toml: {0}")]
    Parse(#[from] toml::de::Error),
    /// A value that makes no sense.
    #[error("node.toml: {key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value, and what would be right.
        problem: String,
    },
}

impl NodeConfig {
    /// Reads and checks a file; relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        let mut config = Self::parse(&std::fs::read_to_string(path).map_err(failed)?)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for relative in [
            &mut config.data_dir,
            &mut config.genesis,
            &mut config.secrets,
            &mut config.gateway.payer_key,
        ] {
            // `join` leaves an absolute path as it is.
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }

    /// Decodes and checks a text.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] or [`ConfigError::Value`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Encodes without comments.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first senseless value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("rpc.max_connections", u64::from(self.rpc.max_connections)),
            ("rpc.max_connections_per_ip", u64::from(self.rpc.max_connections_per_ip)),
            ("rpc.timeout_ms", self.rpc.timeout_ms),
            ("rpc.max_request_bytes", u64::from(self.rpc.max_request_bytes)),
            ("rpc.max_response_bytes", u64::from(self.rpc.max_response_bytes)),
            ("rpc.max_batch", u64::from(self.rpc.max_batch)),
            ("rpc.max_queued_notifications", u64::from(self.rpc.max_queued_notifications)),
            ("rpc.max_concurrent_calls", self.rpc.max_concurrent_calls as u64),
            ("rpc.max_concurrent_submissions", self.rpc.max_concurrent_submissions as u64),
            ("rpc.max_log_blocks", self.rpc.max_log_blocks),
            ("rpc.call_gas_cap", self.rpc.call_gas_cap),
            ("settlement.poll_ms", self.settlement.poll_ms),
            ("settlement.max_heights", u64::from(self.settlement.max_heights)),
            ("settlement.takeover_s", self.settlement.takeover_s),
            ("settlement.max_fee_wei", self.settlement.max_fee_wei),
            ("mempool.max_bytes", self.mempool.max_bytes as u64),
            ("mempool.max_envelopes", self.mempool.max_envelopes as u64),
            ("mempool.max_per_payer", self.mempool.max_per_payer as u64),
            ("mempool.replacement_bump_percent", u64::from(self.mempool.replacement_bump_percent)),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                return Err(ConfigError::Value { key, problem: "must be at least 1".to_owned() });
            }
        }
        if self.storage.witness_heights > MAX_WITNESS_HEIGHTS {
            let problem = format!("must be at most {MAX_WITNESS_HEIGHTS}");
            return Err(ConfigError::Value { key: "storage.witness_heights", problem });
        }
        if self.storage.max_open_files < MIN_OPEN_FILES {
            let problem = format!("must be at least {MIN_OPEN_FILES}");
            return Err(ConfigError::Value { key: "storage.max_open_files", problem });
        }
        if self.network.max_followers > MAX_FOLLOWERS {
            let problem = format!("must be at most {MAX_FOLLOWERS}");
            return Err(ConfigError::Value { key: "network.max_followers", problem });
        }
        let mut seen = std::collections::BTreeSet::new();
        for peer in &self.network.peers {
            if !seen.insert(peer.identity) {
                let identity = hex::encode(peer.identity);
                let problem = format!("{identity} is named twice");
                return Err(ConfigError::Value { key: "network.peers", problem });
            }
        }
        Ok(())
    }

    /// A `node.toml` that spells out every default and says what each key means.
    pub fn default_toml_with_comments() -> &'static str {
        include_str!("default.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn the_written_file_holds_exactly_the_defaults() {
        let written = NodeConfig::parse(NodeConfig::default_toml_with_comments()).unwrap();
        assert_eq!(written, NodeConfig::default());
        // Equality alone would pass if a key were missing from the file.
        let keys = |text: &str| -> std::collections::BTreeSet<String> {
            fn walk(
                prefix: &str,
                value: &toml::Table,
                into: &mut std::collections::BTreeSet<String>,
            ) {
                for (key, value) in value {
                    let path = format!("{prefix}{key}");
                    match value {
                        toml::Value::Table(table) => walk(&format!("{path}."), table, into),
                        _ => {
                            into.insert(path);
                        }
                    }
                }
            }
            let mut found = Default::default();
            walk("", &text.parse().unwrap(), &mut found);
            found
        };
        let encoded = NodeConfig::default().to_toml().unwrap();
        assert_eq!(keys(NodeConfig::default_toml_with_comments()), keys(&encoded));
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(NodeConfig::parse("").unwrap(), NodeConfig::default());
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_refused() {
        for text in [
            "rol = \"member\"",
            "[rpc]\nmax_conections = 1",
            "[rpc]\nmax_batch = 0",
            "[mempool]\nmax_bytes = -1",
            "[storage]\nmax_open_files = -1",
            "[storage]\nmax_open_files = 63",
            "role = \"leader\"",
            "[[network.peers]]\nidentity = \"00\"\naddress = \"127.0.0.1:1\"",
        ] {
            assert!(NodeConfig::parse(text).is_err(), "accepted: {text}");
        }
        let peer = format!(
            "[[network.peers]]\nidentity = \"{}\"\naddress = \"127.0.0.1:1\"\n",
            "ab".repeat(32)
        );
        assert_eq!(NodeConfig::parse(&peer).unwrap().network.peers[0].identity, [0xab; 32]);
        assert!(NodeConfig::parse(&peer.repeat(2)).is_err(), "a peer named twice");
    }

    #[test]
    fn encodes_and_decodes() {
        let mut config = NodeConfig { role: Role::Follower, ..Default::default() };
        config.network.peers.push(PeerConfig {
            identity: [7; 32],
            address: SocketAddr::from(([10, 0, 0, 1], 30_600)),
        });
        assert_eq!(NodeConfig::parse(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, "genesis = \"/etc/genesis.json\"").unwrap();
        let config = NodeConfig::read(&path).unwrap();
        assert_eq!(config.data_dir, folder.path().join("data"));
        assert_eq!(config.genesis, Path::new("/etc/genesis.json"));
    }
}
