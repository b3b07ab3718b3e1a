//! Access to L1, the same over all back ends.
//!
//! Everything above works through an alloy [`Provider`](alloy_provider::Provider). [`L1`] adds what
//! providers lack: what kind of chain this is and how to say so, blobs by versioned hash, the heads that
//! matter, and, where the chain is for tests, blocks and reorgs on demand.
//!
//! | user | needs |
//! |---|---|
//! | poster | [`sending`] provider, nonces and fees, receipts; [`fault`] of a refused transaction |
//! | watcher | [`L1::provider`] for logs, [`L1::heads`], [`L1::blobs`] |
//! | auditor | the same, read only |
//!
//! ```text
//!           L1 (trait)
//!   ┌──────────┴───────────┐
//! Embedded               RpcL1 ── RpcClient over any transport (HTTP, in `node`)
//! (this process)           ├─ anvil: spawned by `node`, blobs by its own method
//!                          └─ real:  blobs from a beacon node
//! ```
//!
//! No back end is believed about blobs: each is compared with its versioned hash.

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod embedded;
mod error;
mod kzg;
mod rpc;
mod signer;

use std::sync::Arc;

use alloy_eips::eip4844::Blob;
use alloy_network::EthereumWallet;
use alloy_primitives::B256;
use alloy_provider::{DynProvider, Provider as _, ProviderBuilder};
use async_trait::async_trait;
use blindfold_wire::SigningKey;

pub use self::{
    embedded::{Dropped, Embedded},
    error::{L1Error, SendFault, fault, revert_data},
    kzg::{blob_hash, check_blobs, seal_blobs},
    rpc::{Beacon, MAX_BEACON_BYTES, RpcL1},
    signer::L1Signer,
};

/// What kind of chain is behind an [`L1`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Embedded`], in this process or served by another of ours.
    Embedded,
    /// Foundry's anvil.
    Anvil,
    /// Some Ethereum node.
    Rpc,
}

impl Kind {
    /// What must be said where the chain is shown, unless it may be a real one.
    #[must_use]
    pub const fn banner(self) -> Option<&'static str> {
        match self {
            Self::Embedded => Some(embedded::BANNER),
            Self::Anvil => Some("anvil: a development chain, not a real L1"),
            Self::Rpc => None,
        }
    }

    /// A short name: `embedded`, `anvil` or `rpc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Anvil => "anvil",
            Self::Rpc => "rpc",
        }
    }
}

/// A block's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Seconds since the Unix epoch.
    pub timestamp_s: u64,
}

/// The blocks that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The newest.
    pub latest: BlockRef,
    /// One that is unlikely to go; never above `latest`.
    pub safe: BlockRef,
    /// One that stays; never above `safe`.
    pub finalized: BlockRef,
}

/// Where blobs are to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobsAt {
    /// The transaction that carries them.
    pub transaction: B256,
    /// Time of its block, in seconds since the Unix epoch: a beacon node finds the slot by it.
    pub block_timestamp_s: u64,
    /// Versioned hashes of the blobs wanted, in order.
    pub hashes: Vec<B256>,
}

/// A back end.
#[async_trait]
pub trait L1: Send + Sync + std::fmt::Debug {
    /// What kind of chain it is.
    fn kind(&self) -> Kind;

    /// The chain id, as the chain itself gave it when the back end was made.
    fn chain_id(&self) -> u64;

    /// Reads. To send, see [`sending`].
    fn provider(&self) -> DynProvider;

    /// The newest, the safe and the finalized block, in this order of numbers whatever the node says.
    async fn heads(&self) -> Result<Heads, L1Error>;

    /// Blobs by versioned hash, in the order asked for, each compared with its hash.
    ///
    /// # Errors
    /// [`L1Error::BlobsMissing`] if the back end does not have one, or not any more.
    async fn blobs(&self, at: &BlobsAt) -> Result<Vec<Blob>, L1Error>;

    /// Power over the chain, if it is one for tests.
    fn control(&self) -> Option<&dyn Control> {
        None
    }
}

/// Power over a chain for tests.
#[async_trait]
pub trait Control: Send + Sync {
    /// Makes a block at this time (seconds since the Unix epoch), or later if the block before asks
    /// for it.
    async fn mine(&self, timestamp_s: u64) -> Result<BlockRef, L1Error>;

    /// Drops the last `depth` blocks and makes as many others, the last at `timestamp_s`.
    async fn reorg(
        &self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<BlockRef, L1Error>;
}

/// A provider that signs with `key`, and fills in what a request leaves out: nonce (of the pending
/// block, asked anew each time), gas limit, fees, chain id.
#[must_use]
pub fn sending(l1: &dyn L1, key: &SigningKey) -> DynProvider {
    let wallet = EthereumWallet::from(L1Signer::new(key.clone()));
    ProviderBuilder::new()
        .disable_recommended_fillers()
        .with_gas_estimation()
        .with_simple_nonce_management()
        .with_chain_id(l1.chain_id())
        .wallet(wallet)
        .connect_provider(l1.provider())
        .erased()
}

/// A back end that several own.
pub type SharedL1 = Arc<dyn L1>;
