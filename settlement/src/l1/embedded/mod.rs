//! An L1 inside this process, for development and tests. **It is not a real L1**: one process makes its
//! blocks, nobody else checks them, and whoever runs it can rewrite it.
//!
//! revm runs at Osaka; transactions, receipts, blocks, fees, blobs and errors are those of Ethereum, and
//! gas is equal to the last unit. What is different:
//!
//! * No consensus: blocks come when [`Embedded::mine`] is called, or with every transaction.
//! * `stateRoot` is a rolling hash of all changes, not the root of a trie; there is no `eth_getProof`.
//! * No system contracts (beacon roots, block hashes), no withdrawals, no execution requests.
//! * State of older blocks can be read for [`MAX_REORG_DEPTH`] blocks.
//!
//! ```text
//! provider ─▶ EmbeddedTransport ─▶ methods ─▶ pool ─mine(time)─▶ chain ─▶ sink (journal on disk)
//!                                     └──────────▶ state, blocks, receipts, blobs
//! ```
//!
//! # Order of calls
//!
//! [`Embedded::new`] or [`Embedded::restore`]; then, if it is to be kept, [`Embedded::set_sink`] before
//! the first block. Every block is handed to the sink before anyone can see it.

mod block;
mod chain;
mod errors;
mod evm;
mod methods;
mod pool;
mod state;
mod store;
mod transport;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use alloy_eips::eip4844::Blob;
use alloy_primitives::{Address, B256, Bytes, U256};
use parking_lot::Mutex;
use serde_json::value::RawValue;

use self::{
    block::Block,
    chain::{Built, Chain, Event},
};
pub use self::{
    chain::{MAX_BLOBS, MAX_BLOCKS, MAX_REORG_DEPTH},
    errors::Refusal,
    evm::MAX_TX_GAS,
    methods::{MAX_LOG_RESULTS, METHODS},
    pool::{MAX_NONCE_GAP, MAX_POOL, MAX_POOL_BLOBS, MAX_RAW_TX_BYTES, MAX_TX_BYTES},
    store::{MAX_ENTRY_BYTES, MAX_SNAPSHOT_BYTES},
    transport::EmbeddedTransport,
};
use super::{BlockRef, Heads};

/// What must be said wherever this L1 is shown.
pub const BANNER: &str = "embedded L1: one process, no consensus; not a real L1";

/// When blocks are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mining {
    /// Only by [`Embedded::mine`].
    #[default]
    OnDemand,
    /// Also with each transaction that comes in, at the time of the block before plus this.
    PerTransaction {
        /// Seconds between two such blocks; 0 means 1.
        step_s: u64,
    },
}

/// How the chain begins, and its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Chain id.
    pub chain_id: u64,
    /// Time of block 0, in seconds since the Unix epoch.
    pub genesis_timestamp_s: u64,
    /// Balances at the start, in wei.
    pub alloc: Vec<(Address, U256)>,
    /// Base fee of block 0, in wei per gas.
    pub base_fee_wei: u64,
    /// Gas limit of every block.
    pub block_gas_limit: u64,
    /// Who gets the priority fees.
    pub beneficiary: Address,
    /// Blocks from the head down to the one that `safe` names.
    pub safe_depth: u64,
    /// Blocks from the head down to the one that `finalized` names.
    pub finality_depth: u64,
    /// When blocks are made.
    pub mining: Mining,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            genesis_timestamp_s: 1_700_000_000,
            alloc: Vec::new(),
            base_fee_wei: 1_000_000_000,
            block_gas_limit: 60_000_000,
            beneficiary: Address::ZERO,
            safe_depth: 4,
            finality_depth: 8,
            mining: Mining::OnDemand,
        }
    }
}

/// What becomes of the transactions of blocks that a reorg drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// They are gone, and so are their places: the new blocks are empty.
    Forgotten,
    /// They wait in the pool again; the new blocks are empty.
    BackToPool,
    /// They wait in the pool again, and the new blocks take them.
    MinedAgain,
}

impl Dropped {
    /// The name it has on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::BackToPool => "pool",
            Self::MinedAgain => "again",
        }
    }

    /// Reads [`Self::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Forgotten, Self::BackToPool, Self::MinedAgain]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// Why there is no new block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MineError {
    /// A reorg deeper than can be gone back.
    #[error("cannot go back {depth} blocks, only {limit}")]
    TooDeep {
        /// Blocks asked for.
        depth: u64,
        /// Blocks that are possible now.
        limit: u64,
    },
    /// The block could not be stored; the chain stands still until it is restored.
    #[error("the embedded L1 cannot store its blocks: {0}")]
    Sink(String),
}

/// Why stored bytes do not give a chain. The fault of the disk or of whoever gave the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not whole.
    #[error(
        "the embedded L1's snapshot is damaged: {0}; restore a copy, or begin with an empty folder"
    )]
    Damaged(&'static str),
    /// Of another version of this program.
    #[error("the embedded L1's snapshot has version {got}, this program reads version {expected}")]
    Version {
        /// The version this program writes.
        expected: u16,
        /// The snapshot's.
        got: u16,
    },
    /// Of a chain that began otherwise.
    #[error("the embedded L1's snapshot is of a chain with another id or another beginning")]
    OtherChain,
    /// An entry of the journal is damaged, and others follow.
    #[error("the embedded L1's journal is damaged at byte {offset}")]
    Journal {
        /// Where the entry begins.
        offset: usize,
    },
    /// A block of the journal does not come out as it did.
    #[error("block {0} of the embedded L1's journal does not follow from what is before it")]
    Replay(u64),
}

/// Keeps what happens, so that it outlives the process.
pub trait Sink: Send {
    /// Appends an entry to the journal, durably: the block becomes visible when this returns. If it
    /// says so, [`Self::snapshot`] is called next.
    ///
    /// # Errors
    /// In words; the chain then stands still.
    fn append(&mut self, entry: &[u8]) -> Result<Wanted, String>;

    /// Takes a snapshot in place of the last one and of the journal since, both at once or not at all.
    ///
    /// # Errors
    /// In words; the chain then stands still.
    fn snapshot(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// What a sink would like after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The next entry, when there is one.
    Nothing,
    /// A snapshot, to begin a new journal.
    Snapshot,
}

/// The embedded L1. Clones are the same chain.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Mutex<Inner>>,
    chain_id: u64,
}

struct Inner {
    chain: Chain,
    genesis: B256,
    sink: Option<Box<dyn Sink>>,
    failed: Option<String>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl Embedded {
    /// A new chain with its block 0.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let chain = Chain::new(config);
        let genesis = chain.head().hash;
        Self::with(chain, genesis)
    }

    fn with(chain: Chain, genesis: B256) -> Self {
        let chain_id = chain.config.chain_id;
        let inner = Inner { chain, genesis, sink: None, failed: None };
        Self { inner: Arc::new(Mutex::new(inner)), chain_id }
    }

    /// The chain that began with `config`, from a snapshot (if there was one yet) and the journal since.
    /// Also returns how many bytes of the journal are whole: an entry that was cut off at the end never
    /// happened and should be cut off the file.
    ///
    /// # Errors
    /// [`RestoreError`] if anything is damaged or does not belong together.
    pub fn restore(
        config: Config,
        snapshot: Option<&[u8]>,
        journal: &[u8],
    ) -> Result<(Self, usize), RestoreError> {
        let fresh = Chain::new(config.clone());
        let genesis = fresh.head().hash;
        let mut chain = match snapshot {
            Some(bytes) => store::restore(bytes, config, genesis)?,
            None => fresh,
        };
        let (events, whole) = store::entries(journal)?;
        for event in events {
            match event {
                Event::Mined { header, transactions } => {
                    let built = chain.replay(&header, &transactions)?;
                    chain.append(built);
                }
                Event::Dropped { depth } => {
                    let number = chain.head().header.number;
                    chain.drop_blocks(depth).map_err(|_| RestoreError::Replay(number))?;
                }
            }
        }
        Ok((Self::with(chain, genesis), whole))
    }

    /// Has everything from now on handed to `sink`.
    pub fn set_sink(&self, sink: Box<dyn Sink>) {
        self.inner.lock().sink = Some(sink);
    }

    /// The whole chain as bytes, but the pool.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let inner = self.inner.lock();
        store::snapshot(&inner.chain, inner.genesis)
    }

    /// Makes a block of what waits, at this time in seconds since the Unix epoch, or one second after the
    /// block before if that is later.
    ///
    /// # Errors
    /// [`MineError::Sink`].
    pub fn mine(&self, timestamp_s: u64) -> Result<BlockRef, MineError> {
        self.inner.lock().mine(timestamp_s, false)
    }

    /// Drops the last `depth` blocks and makes as many others; the last of them at `timestamp_s`.
    ///
    /// # Errors
    /// [`MineError`].
    pub fn reorg(
        &self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<BlockRef, MineError> {
        self.inner.lock().reorg(depth, dropped, timestamp_s)
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> BlockRef {
        self.inner.lock().head()
    }

    /// The newest, the safe and the finalized block.
    #[must_use]
    pub fn heads_now(&self) -> Heads {
        let inner = self.inner.lock();
        let of = |number| inner.chain.block(number).map_or_else(|| inner.head(), Block::place);
        Heads {
            latest: inner.head(),
            safe: of(inner.chain.safe()),
            finalized: of(inner.chain.finalized()),
        }
    }

    /// A blob by its versioned hash, if it is still kept.
    #[must_use]
    pub fn blob(&self, hash: B256) -> Option<Blob> {
        self.inner.lock().chain.blob(hash).copied()
    }

    /// Number of transactions that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.lock().chain.pool.len()
    }

    /// Forgets what waits, as a node does that restarts.
    pub fn clear_pool(&self) {
        self.inner.lock().chain.pool.clear();
    }

    /// The chain id.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Answers one JSON-RPC call: `params` is the JSON array of parameters, or nothing.
    ///
    /// # Errors
    /// Code, message and data of the error object.
    pub fn request(
        &self,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Box<RawValue>, (i64, String, Option<Bytes>)> {
        methods::answer(self, method, params).map_err(errors::RpcError::into_parts)
    }
}

impl Inner {
    fn head(&self) -> BlockRef {
        self.chain.head().place()
    }

    fn store(&mut self, event: &Event) -> Result<Wanted, MineError> {
        if let Some(failed) = &self.failed {
            return Err(MineError::Sink(failed.clone()));
        }
        let Some(sink) = &mut self.sink else { return Ok(Wanted::Nothing) };
        sink.append(&store::entry(event)).map_err(|error| {
            self.failed = Some(error.clone());
            MineError::Sink(error)
        })
    }

    fn mine(&mut self, timestamp_s: u64, empty: bool) -> Result<BlockRef, MineError> {
        if let Some(failed) = &self.failed {
            return Err(MineError::Sink(failed.clone()));
        }
        let built = self.chain.build(timestamp_s, empty);
        self.adopt(built)
    }

    fn adopt(&mut self, built: Built) -> Result<BlockRef, MineError> {
        let wanted = match self.store(&built.event()) {
            Ok(wanted) => wanted,
            Err(error) => {
                built.undo(&mut self.chain.state);
                return Err(error);
            }
        };
        self.chain.append(built);
        if wanted == Wanted::Snapshot
            && let Some(sink) = &mut self.sink
        {
            let snapshot = store::snapshot(&self.chain, self.genesis);
            if let Err(error) = sink.snapshot(&snapshot) {
                self.failed = Some(error.clone());
                return Err(MineError::Sink(error));
            }
        }
        Ok(self.head())
    }

    fn reorg(
        &mut self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<BlockRef, MineError> {
        if depth == 0 {
            return Ok(self.head());
        }
        let limit = self.chain.undos.len() as u64;
        if depth > limit {
            return Err(MineError::TooDeep { depth, limit });
        }
        self.store(&Event::Dropped { depth })?;
        let transactions = self.chain.drop_blocks(depth)?;
        self.chain.take_back(transactions, dropped);
        for left in (0..depth).rev() {
            let timestamp_s = if left == 0 { timestamp_s } else { 0 };
            self.mine(timestamp_s, dropped != Dropped::MinedAgain)?;
        }
        Ok(self.head())
    }
}
