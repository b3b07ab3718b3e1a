//! The embedded L1 over HTTP on this machine, with blocks by the clock, kept on disk.
//!
//! ```text
//! wallets, cast ──HTTP──▶ RpcServer ──▶ Embedded ◀── every block time: mine(now)
//!                                          └─▶ disk (before anybody sees the block)
//! ```
//!
//! The devnet starts the same server inside its own process and uses [`L1Server::l1`] directly.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, U256};
use blindfold_settlement::l1::{
    BlockRef, Dropped, Embedded,
    embedded::{BANNER, Config, METHODS, MineError},
};
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    types::{ErrorObjectOwned, Params, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE},
};
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::disk::{self, DiskError};
use crate::{
    config::RpcConfig,
    rpc::{RpcServer, StartError},
};

/// Calls that run at a time.
const MAX_CALLS: usize = 8;

/// Bytes of a request: a transaction with six blobs, in hexadecimal.
const MAX_REQUEST_BYTES: u32 = 4 << 20;

/// Bytes of an answer.
const MAX_RESPONSE_BYTES: u32 = 64 << 20;

/// How the L1 is served.
#[derive(Clone, Debug)]
pub struct L1ServerConfig {
    /// TCP address for JSON-RPC; loopback, since whoever reaches it can do what they like.
    pub listen: SocketAddr,
    /// Chain id.
    pub chain_id: u64,
    /// Time between blocks; `None` makes blocks on demand only (see `admin`).
    pub block_time: Option<Duration>,
    /// Where the chain is kept; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// Time of block 0, in seconds since the Unix epoch; `None` is now. A chain on disk keeps its own.
    pub genesis_timestamp_s: Option<u64>,
    /// Balances at the beginning, in wei.
    pub alloc: Vec<(Address, U256)>,
    /// Whether to offer methods that make blocks and take them back.
    pub admin: bool,
}

/// Why the L1 does not run.
#[derive(Debug, thiserror::Error)]
pub enum L1ServerError {
    /// Not an address of this machine alone.
    #[error("the embedded L1 listens on loopback only, not on {0}")]
    Public(SocketAddr),
    /// A block time that timestamps in whole seconds cannot follow.
    #[error("the block time is at least one second, since every block is a second later at least")]
    BlockTime,
    /// The chain on disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The port.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<RegisterMethodError> for L1ServerError {
    fn from(error: RegisterMethodError) -> Self {
        Self::Start(error.into())
    }
}

/// A running L1. Dropping it stops it.
#[derive(Debug)]
pub struct L1Server {
    l1: Embedded,
    rpc: RpcServer,
    miner: Option<JoinHandle<MineError>>,
}

impl L1Server {
    /// Opens or begins the chain, and serves it. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`L1ServerError`].
    pub async fn start(config: L1ServerConfig) -> Result<Self, L1ServerError> {
        if !config.listen.ip().is_loopback() {
            return Err(L1ServerError::Public(config.listen));
        }
        if config.block_time.is_some_and(|time| time < Duration::from_secs(1)) {
            return Err(L1ServerError::BlockTime);
        }
        let chain = Config {
            chain_id: config.chain_id,
            genesis_timestamp_s: config.genesis_timestamp_s.unwrap_or_else(now_s),
            alloc: config.alloc,
            ..Config::default()
        };
        let l1 = match &config.data_dir {
            Some(folder) => disk::open(folder, chain)?,
            None => Embedded::new(chain),
        };
        let rpc = RpcConfig {
            listen: config.listen,
            max_request_bytes: MAX_REQUEST_BYTES,
            max_response_bytes: MAX_RESPONSE_BYTES,
            max_subscriptions_per_connection: 0,
            ..RpcConfig::default()
        };
        let rpc = RpcServer::start_with(rpc, module(l1.clone(), config.admin)?).await?;
        let miner = config.block_time.map(|time| tokio::spawn(mine(l1.clone(), time)));
        tracing::warn!(target: "blindfold::l1", "{BANNER}");
        Ok(Self { l1, rpc, miner })
    }

    /// The chain, without HTTP in between.
    #[must_use]
    pub fn l1(&self) -> Embedded {
        self.l1.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.rpc.local_addr()
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.local_addr())
    }

    /// Returns when no more blocks can be made, with the reason; never if they are made on demand.
    pub async fn failed(&mut self) -> String {
        match &mut self.miner {
            Some(miner) => match miner.await {
                Ok(error) => error.to_string(),
                Err(error) => format!("the L1's clock stopped: {error}"),
            },
            None => std::future::pending().await,
        }
    }

    /// Stops serving and mining. What is on disk is whole at any time.
    pub async fn stop(mut self) {
        if let Some(miner) = self.miner.take() {
            miner.abort();
        }
        let Self { rpc, .. } = self;
        rpc.stop().await;
    }
}

/// Makes a block every `time` until that fails.
async fn mine(l1: Embedded, time: Duration) -> MineError {
    let mut clock = tokio::time::interval(time);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    clock.tick().await;
    loop {
        clock.tick().await;
        let l1 = l1.clone();
        // Transactions are run and the disk is synced: not on a thread of the runtime's.
        match tokio::task::spawn_blocking(move || l1.mine(now_s())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(target: "blindfold::l1", %error, "no more blocks");
                return error;
            }
            Err(error) => return MineError::Sink(error.to_string()),
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

struct Context {
    l1: Embedded,
    calls: Arc<Semaphore>,
}

type Answer = Result<Box<RawValue>, ErrorObjectOwned>;

fn module(l1: Embedded, admin: bool) -> Result<RpcModule<Context>, RegisterMethodError> {
    let calls = Arc::new(Semaphore::new(MAX_CALLS));
    let mut module = RpcModule::new(Context { l1, calls });
    for name in METHODS {
        register(&mut module, name, move |l1, params| {
            let params =
                params.as_str().and_then(|text| RawValue::from_string(text.to_owned()).ok());
            l1.request(name, params.as_deref()).map_err(|(code, message, data)| {
                let code = i32::try_from(code).unwrap_or(INTERNAL_ERROR_CODE);
                ErrorObjectOwned::owned(code, message, data)
            })
        })?;
    }
    if admin {
        for name in ["blindfold_mine", "evm_mine"] {
            register(&mut module, name, |l1, params| {
                let (timestamp_s,): (Option<u64>,) = optional(params)?.unwrap_or_default();
                answer(l1.mine(timestamp_s.unwrap_or_else(now_s)))
            })?;
        }
        register(&mut module, "blindfold_reorg", |l1, params| {
            let (depth, dropped, timestamp_s): (u64, String, u64) = required(params)?;
            let dropped = Dropped::from_name(&dropped)
                .ok_or_else(|| wrong("dropped transactions are forgotten, pool or again"))?;
            answer(l1.reorg(depth, dropped, timestamp_s))
        })?;
        register(&mut module, "anvil_reorg", |l1, params| {
            let (depth, pairs): (u64, Vec<serde_json::Value>) = required(params)?;
            if !pairs.is_empty() {
                return Err(wrong("transactions for the new blocks are not supported"));
            }
            answer(l1.reorg(depth, Dropped::Forgotten, now_s()))
        })?;
    }
    Ok(module)
}

/// Registers a method that runs on a blocking thread, within the bound on calls at a time.
fn register(
    module: &mut RpcModule<Context>,
    name: &'static str,
    method: impl Fn(&Embedded, &Params<'static>) -> Answer + Clone + Send + Sync + 'static,
) -> Result<(), RegisterMethodError> {
    module.register_async_method(name, move |params, context, _| {
        let method = method.clone();
        async move {
            let internal =
                |message: String| ErrorObjectOwned::owned(INTERNAL_ERROR_CODE, message, None::<()>);
            let permit = Arc::clone(&context.calls).acquire_owned().await;
            let permit = permit.map_err(|error| internal(error.to_string()))?;
            let run = move || {
                let _held = permit;
                method(&context.l1, &params)
            };
            tokio::task::spawn_blocking(run).await.unwrap_or_else(|failure| {
                tracing::error!(target: "blindfold::l1", method = name, %failure, "method failed");
                Err(internal("internal error".to_owned()))
            })
        }
    })?;
    Ok(())
}

fn wrong(message: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS_CODE, message, None::<()>)
}

fn required<T: serde::de::DeserializeOwned>(
    params: &Params<'static>,
) -> Result<T, ErrorObjectOwned> {
    params.parse()
}

fn optional<T: serde::de::DeserializeOwned>(
    params: &Params<'static>,
) -> Result<Option<T>, ErrorObjectOwned> {
    match params.as_str() {
        None | Some("[]") => Ok(None),
        Some(_) => params.parse().map(Some),
    }
}

fn answer(result: Result<BlockRef, MineError>) -> Answer {
    let head = result.map_err(|error| wrong(&error.to_string()))?;
    let value = serde_json::json!({ "number": head.number, "hash": head.hash });
    serde_json::value::to_raw_value(&value).map_err(|error| wrong(&error.to_string()))
}
