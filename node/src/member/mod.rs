//! One member or follower: the stages of every crate below, wired together.
//!
//! ```text
//!        RPC                        peers
//!         │ envelopes                 │ envelopes, blocks, votes, bundles, openings
//!         ▼                           ▼
//!      pool ───── candidates ───▶ ordering engine ── final heights ──▶ pipeline ── opened ──▶ executor
//!         ▲                           ▲    ▲                              │                      │
//!         └── ordered ids ────────────┼────┼──────────────────────────────┘                      │
//!                                     │    └───────────── executed roots, accounts ──────────────┤
//!                                  signing journal                                               ▼
//!                                                                                       database, events
//! ```
//!
//! Everything here is generic over the runtime and the p2p traits: `main` runs it on tokio over QUIC,
//! the simulator on the deterministic runtime over simulated links. The database is the real one in
//! both.

mod announce;
pub mod api;
pub mod asking;
mod bridge;
pub mod cache;
pub mod chain;
mod documents;
pub mod executor;
pub mod hints;
pub mod hooks;
pub mod l1;
pub mod lag;
pub mod messages;
pub mod pipeline;
pub mod pool;
pub mod recheck;
pub mod records;
mod rows;
pub mod shared;
mod tip;
pub mod witness;

pub use shared::{Keys, Shared};

use crate::store::Store;
use blindfold_ordering::engine::{self, EngineConfig, EngineHandle, Identity, Network};
use blindfold_wire::genesis::Genesis;
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use rand_core::CryptoRng;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Why a node cannot start or go on. The operator's, or this machine's, never a peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The database failed.
    #[error("database: {0}")]
    Store(#[from] crate::store::StoreError),
    /// Something that must be stored is not.
    #[error(
        "the database has no {what} of height {height}; restore it from a peer with an empty data folder"
    )]
    Missing {
        /// What.
        what: &'static str,
        /// At which height.
        height: u64,
    },
    /// A stored record does not decode.
    #[error("the database holds a damaged {0}; restore it from a peer with an empty data folder")]
    Damaged(&'static str),
    /// The state could not be read or extended.
    #[error(transparent)]
    State(#[from] blindfold_execution::state::StateError),
    /// The escrow could not be read.
    #[error(transparent)]
    Escrow(#[from] blindfold_execution::escrow::EscrowError),
    /// A height could not be executed.
    #[error(transparent)]
    Execution(#[from] blindfold_execution::ExecutionError),
    /// The genesis state could not be made.
    #[error(transparent)]
    Genesis(#[from] blindfold_execution::GenesisStateError),
    /// The signing journal failed.
    #[error(transparent)]
    Journal(#[from] blindfold_committee::journal::JournalError),
    /// Shares could not be released.
    #[error(transparent)]
    Release(#[from] blindfold_committee::release::ReleaseError),
    /// Two commitments are certified for one height.
    #[error("the committee is broken beyond its fault bound: {0}")]
    Forked(#[from] blindfold_committee::collector::CertifiedError),
    /// The forced queue that was stored does not go together.
    #[error(
        "the database's record of L1 is damaged: {0}; restore it from a peer with an empty data folder"
    )]
    L1(#[source] blindfold_ordering::l1::L1Error),
    /// A finalized block does not fit its commitment.
    #[error(transparent)]
    Block(#[from] blindfold_wire::block::BlockError),
    /// A finalized block's envelopes do not fit its commitment.
    #[error(transparent)]
    Batch(#[from] blindfold_committee::batch::MismatchError),
    /// Openings do not fit their height.
    #[error(transparent)]
    Opened(#[from] blindfold_wire::opened::OpenedBatchError),
    /// A stored proof of finality does not hold.
    #[error("stored certificate: {0}")]
    Certificate(#[from] blindfold_wire::CertificateError),
    /// Keys and genesis do not fit together.
    #[error("{0}")]
    Keys(String),
    /// The engine could not be configured.
    #[error(transparent)]
    Engine(#[from] engine::ConfigError),
    /// Our state is not the one that a quorum certified.
    #[error(
        "the executed root of height {height} is {ours} here and certified as {certified}: this node has diverged; \
         rebuild its database from a peer, and check its disk and version"
    )]
    Diverged {
        /// The height.
        height: u64,
        /// Root of this node.
        ours: alloy_primitives::B256,
        /// Root of the committee.
        certified: alloy_primitives::B256,
    },
    /// The height was executed before.
    #[error("executed before")]
    AlreadyExecuted,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Blocks whose shares wait to be computed ahead of their certificate.
const PRECOMPUTE_QUEUE: usize = 4;

/// Milliseconds since the Unix epoch; zero before it.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The channels of a node: the engine's and its own.
pub struct Channels<X, R, P, B> {
    /// The engine's.
    pub engine: Network<X, R, P, B>,
    /// [`messages::ENVELOPE_CHANNEL`].
    pub envelopes: (X, R),
    /// [`messages::SHARE_CHANNEL`].
    pub shares: (X, R),
    /// Blocks peers that break the protocol.
    pub blocker: B,
}

/// A running node without its RPC.
pub struct Member {
    /// What its tasks share; the RPC reads it.
    pub shared: Arc<Shared>,
    /// Way to the mempool.
    pub pool: mpsc::Sender<pool::PoolRequest>,
    engine: EngineHandle,
    tasks: Vec<Handle<()>>,
}

impl Member {
    /// Opens the chain in `store` and starts all tasks.
    ///
    /// `identity` is this node's own; `keys` are a member's, `None` makes a follower. `checker_secret`
    /// must be random.
    ///
    /// # Errors
    /// If genesis, keys and database do not fit together, or the database fails.
    pub async fn start<E, X, R, P, B>(
        context: E,
        genesis: Arc<Genesis>,
        identity: &[u8; 32],
        secrets: Option<&blindfold_committee::secrets::MemberSecrets>,
        store: Store,
        channels: Channels<X, R, P, B>,
        options: Options,
    ) -> Result<Self, MemberError>
    where
        E: Clock + CryptoRng + Spawner + Storage + Metrics,
        X: Sender<PublicKey = Identity>,
        R: Receiver<PublicKey = Identity>,
        P: Provider<PublicKey = Identity>,
        B: Blocker<PublicKey = Identity> + Sync,
    {
        let shared = Arc::new(Shared::open(Arc::clone(&genesis), secrets, &store, &options)?);
        pool::restore(&shared)?;

        let vote =
            secrets.map(|secrets| secrets.expose_vote(|vote| zeroize::Zeroizing::new(*vote)));
        let mut config = EngineConfig::first_epoch(
            Arc::clone(&genesis),
            identity,
            vote.as_deref(),
            options.engine_partition,
        )?;
        config.first_seen = shared.records.first_seen()?;
        shared.set_schedule(config.schedule.clone());
        let peers: Vec<Identity> = engine::identities(&genesis)?
            .into_iter()
            .filter(|peer| *peer != config.identity)
            .collect();

        let (pipeline_events, pipeline_inputs) = mpsc::unbounded_channel();
        let (share_queue, share_messages) = mpsc::channel(pipeline::SHARE_QUEUE);
        let (executor_queue, executor_batches) = mpsc::channel(executor::EXECUTOR_QUEUE);
        let (precompute_queue, mut precompute_blocks) = mpsc::channel(PRECOMPUTE_QUEUE);
        let (pool_queue, pool_requests) = mpsc::channel(pool::POOL_QUEUE);
        let hooks = hooks::Hooks::new(Arc::clone(&shared), precompute_queue);
        let reporter = hooks::Reporter::new(Arc::clone(&shared), pipeline_events.clone());
        let Channels { engine: network, envelopes, shares, blocker } = channels;

        let mut tasks = Vec::new();
        tasks.push(context.child("executor").spawn({
            let shared = Arc::clone(&shared);
            move |context| executor::run(context, shared, executor_batches)
        }));
        let (requests, waiting) = pipeline::Requests::new(peers.len());
        // A thread of its own: reads for peers must not delay final heights, nor take a worker from them.
        tasks.push(context.child("requests").dedicated().spawn({
            let (shared, ends) = (Arc::clone(&shared), (shares.0.clone(), blocker.clone()));
            move |context| pipeline::serve(context, shared, ends, waiting)
        }));
        let pipeline = pipeline::Pipeline::new(
            context.child("pipeline_work"),
            Arc::clone(&shared),
            (shares.0, blocker.clone()),
            (peers, requests),
            pipeline_events,
            executor_queue,
        );
        tasks.push(
            context.child("pipeline").spawn(move |_| pipeline.run(pipeline_inputs, share_messages)),
        );
        tasks.push(context.child("shares").spawn({
            let blocker = blocker.clone();
            move |_| pipeline::read_shares(shares.1, share_queue, blocker)
        }));
        tasks.push(context.child("pool").spawn({
            let (shared, blocker) = (Arc::clone(&shared), blocker.clone());
            move |context| pool::run(context, shared, pool_requests, envelopes.0, blocker)
        }));
        // A thread of its own: shares must not delay the votes they are computed beside.
        tasks.push(context.child("precompute").dedicated().spawn({
            let shared = Arc::clone(&shared);
            move |_| async move {
                while let Some(envelopes) = precompute_blocks.recv().await {
                    shared.precompute(&envelopes);
                }
            }
        }));
        tasks.push(context.child("gossip").spawn({
            let (queue, blocker) = (pool_queue.clone(), blocker);
            move |_| pool::read_gossip(envelopes.1, queue, blocker)
        }));
        tasks.push(context.child("lag").spawn({
            let shared = Arc::clone(&shared);
            move |context| lag::run(context, shared)
        }));
        let stores = store.marshal_stores(genesis.as_ref())?;
        let engine =
            engine::start(context.child("engine"), config, network, stores, hooks, reporter)
                .await?;
        Ok(Self { shared, pool: pool_queue, engine, tasks })
    }

    /// Stops all tasks at once, as a crash would.
    pub fn abort(&self) {
        self.engine.abort();
        self.tasks.iter().for_each(Handle::abort);
    }

    /// Waits until the node cannot go on, and says why.
    pub async fn failed(self) -> String {
        let shared = Arc::clone(&self.shared);
        commonware_macros::select! {
            reason = shared.failed() => reason,
            task = self.engine.failed() => format!("the engine's {task} task ended"),
        }
    }
}

/// What a node is told besides keys and genesis.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds of the mempool.
    pub mempool: crate::config::MempoolConfig,
    /// Heights that keep their witness; 0 makes none.
    pub witness_heights: u64,
    /// How blocks are executed.
    pub execution: crate::config::ExecutionConfig,
    /// 32 random bytes for batched checks.
    pub checker_secret: [u8; 32],
    /// Prefix of the engine's partitions in the runtime's storage: the same at every start, and no
    /// other node's on the same storage.
    pub engine_partition: String,
}
