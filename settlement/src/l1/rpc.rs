//! Any Ethereum node by JSON-RPC, over whatever transport the caller made.
//!
//! Time-outs, retries and TLS belong to the transport, and that to `node`. What kind of node answers is
//! asked once, by `web3_clientVersion`; blobs come from where that kind keeps them.

use std::sync::Arc;

use alloy_eips::{
    BlockNumberOrTag,
    eip4844::{BYTES_PER_BLOB, Blob},
};
use alloy_primitives::{B256, Bytes, hex};
use alloy_provider::{DynProvider, Provider as _, RootProvider};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::Block;
use async_trait::async_trait;
use futures::lock::Mutex;
use serde::Deserialize;

use super::{
    BlobsAt, BlockRef, Control, Dropped, Embedded, Heads, Kind, L1, L1Error, blob_hash,
    check_blobs, embedded::EmbeddedTransport,
};

/// Largest answer of a beacon node that is read: 21 blobs as hex in JSON, and some.
pub const MAX_BEACON_BYTES: usize = 16 << 20;

/// Seconds of a slot on Ethereum.
const SLOT_S: u64 = 12;

/// A beacon node's HTTP interface.
#[async_trait]
pub trait Beacon: Send + Sync + std::fmt::Debug {
    /// The body of a successful GET of `path` (which begins with `/eth/`), at most [`MAX_BEACON_BYTES`].
    ///
    /// # Errors
    /// [`L1Error::Unreachable`] or [`L1Error::Unusable`].
    async fn get(&self, path: &str) -> Result<Vec<u8>, L1Error>;
}

/// A node behind JSON-RPC.
#[derive(Clone, Debug)]
pub struct RpcL1 {
    provider: DynProvider,
    kind: Kind,
    chain_id: u64,
    beacon: Option<Arc<dyn Beacon>>,
    /// When the beacon chain began, once it was asked.
    beacon_genesis_s: Arc<Mutex<Option<u64>>>,
    control: bool,
}

impl RpcL1 {
    /// Asks the node what it is, and checks the chain id if one is expected.
    ///
    /// # Errors
    /// [`L1Error::WrongChain`], or what the transport says.
    pub async fn connect(
        client: RpcClient,
        expected_chain_id: Option<u64>,
        beacon: Option<Arc<dyn Beacon>>,
    ) -> Result<Self, L1Error> {
        let provider = RootProvider::new(client).erased();
        let chain_id = provider.get_chain_id().await?;
        if let Some(expected) = expected_chain_id
            && expected != chain_id
        {
            return Err(L1Error::WrongChain { expected, got: chain_id });
        }
        let version = provider.get_client_version().await?.to_ascii_lowercase();
        let kind = if version.starts_with("anvil/") {
            Kind::Anvil
        } else if version.starts_with("blindfold/") {
            Kind::Embedded
        } else {
            Kind::Rpc
        };
        let beacon_genesis_s = Arc::default();
        Ok(Self { provider, kind, chain_id, beacon, beacon_genesis_s, control: false })
    }

    /// Also gives power over the chain, where the node has methods for that.
    #[must_use]
    pub fn with_control(mut self) -> Self {
        self.control = self.kind != Kind::Rpc;
        self
    }

    async fn block(&self, tag: BlockNumberOrTag) -> Result<Option<BlockRef>, L1Error> {
        let block: Option<Block> = self.provider.get_block_by_number(tag).await?;
        Ok(block.map(|block| block_ref(&block)))
    }

    async fn latest(&self) -> Result<BlockRef, L1Error> {
        let latest = self.block(BlockNumberOrTag::Latest).await?;
        latest.ok_or_else(|| L1Error::Unusable("no latest block".to_owned()))
    }

    /// All blobs of a transaction, as anvil gives them.
    async fn anvil_blobs(&self, at: &BlobsAt) -> Result<Vec<Blob>, L1Error> {
        let params = (at.transaction,);
        let all: Option<Vec<Bytes>> =
            self.provider.raw_request("anvil_getBlobsByTransactionHash".into(), params).await?;
        let all =
            all.unwrap_or_default().iter().map(|bytes| blob(bytes)).collect::<Result<_, _>>()?;
        pick(all, &at.hashes)
    }

    async fn beacon_blobs(&self, at: &BlobsAt) -> Result<Vec<Blob>, L1Error> {
        let missing = || L1Error::BlobsMissing(at.hashes.first().copied().unwrap_or_default());
        let beacon = self.beacon.as_ref().ok_or_else(missing)?;
        let genesis_s = self.beacon_genesis(beacon.as_ref()).await?;
        let slot = at.block_timestamp_s.checked_sub(genesis_s).ok_or_else(|| {
            L1Error::Unusable("the beacon chain is younger than the block".into())
        })? / SLOT_S;
        let hashes: Vec<String> = at.hashes.iter().map(ToString::to_string).collect();
        let path = format!("/eth/v1/beacon/blobs/{slot}?versioned_hashes={}", hashes.join(","));
        let answer: BeaconBlobs = decode(&beacon.get(&path).await?)?;
        let all = answer.data.iter().map(|bytes| blob(bytes)).collect::<Result<_, _>>()?;
        pick(all, &at.hashes)
    }

    async fn beacon_genesis(&self, beacon: &dyn Beacon) -> Result<u64, L1Error> {
        let mut known = self.beacon_genesis_s.lock().await;
        if let Some(genesis_s) = *known {
            return Ok(genesis_s);
        }
        let answer: BeaconGenesis = decode(&beacon.get("/eth/v1/beacon/genesis").await?)?;
        let genesis_s = answer
            .data
            .genesis_time
            .parse()
            .map_err(|_| L1Error::Unusable("genesis_time is no number".to_owned()))?;
        *known = Some(genesis_s);
        Ok(genesis_s)
    }

    /// Transactions of the newest `depth` blocks as they were sent, oldest first. Those with blobs cannot
    /// be had back from anvil.
    async fn newest_raw(&self, head: u64, depth: u64) -> Result<Vec<Bytes>, L1Error> {
        let mut raw = Vec::new();
        for number in (head + 1).saturating_sub(depth)..=head {
            let block: Option<Block> = self.provider.get_block_by_number(number.into()).await?;
            for hash in block.iter().flat_map(|block| block.transactions.hashes()) {
                let bytes: Option<Bytes> = self
                    .provider
                    .raw_request("eth_getRawTransactionByHash".into(), (hash,))
                    .await?;
                raw.extend(bytes);
            }
        }
        Ok(raw)
    }

    async fn resend(&self, raw: Vec<Bytes>) -> Result<(), L1Error> {
        for bytes in raw.iter().filter(|bytes| bytes.first() != Some(&3)) {
            let _pending = self.provider.send_raw_transaction(bytes).await?;
        }
        Ok(())
    }

    async fn anvil_mine(&self, timestamp_s: u64) -> Result<BlockRef, L1Error> {
        let timestamp_s = timestamp_s.max(self.latest().await?.timestamp_s + 1);
        let _: serde_json::Value =
            self.provider.raw_request("evm_mine".into(), (timestamp_s,)).await?;
        self.latest().await
    }
}

/// The whole answer to `GET /eth/v1/beacon/blobs/{block}`.
#[derive(Deserialize)]
struct BeaconBlobs {
    data: Vec<Bytes>,
}

#[derive(Deserialize)]
struct BeaconGenesis {
    data: BeaconGenesisData,
}

#[derive(Deserialize)]
struct BeaconGenesisData {
    genesis_time: String,
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, L1Error> {
    if body.len() > MAX_BEACON_BYTES {
        return Err(L1Error::Unusable("the beacon node's answer is too large".to_owned()));
    }
    serde_json::from_slice(body)
        .map_err(|error| L1Error::Unusable(format!("the beacon node's answer: {error}")))
}

fn blob(bytes: &[u8]) -> Result<Blob, L1Error> {
    if bytes.len() != BYTES_PER_BLOB {
        let start = hex::encode_prefixed(bytes.get(..4).unwrap_or(bytes));
        return Err(L1Error::BadBlob(format!("{} bytes, beginning {start}", bytes.len())));
    }
    Ok(Blob::from_slice(bytes))
}

/// Those of `all` that `hashes` name, in the order of the hashes.
fn pick(all: Vec<Blob>, hashes: &[B256]) -> Result<Vec<Blob>, L1Error> {
    let mut known = Vec::with_capacity(all.len());
    for blob in all {
        known.push((blob_hash(&blob)?, blob));
    }
    let find = |hash: &B256| {
        let found = known.iter().find(|(of, _)| of == hash);
        found.map(|(_, blob)| *blob).ok_or(L1Error::BlobsMissing(*hash))
    };
    hashes.iter().map(find).collect()
}

fn block_ref(block: &Block) -> BlockRef {
    BlockRef {
        number: block.header.number,
        hash: block.header.hash,
        timestamp_s: block.header.timestamp,
    }
}

#[async_trait]
impl L1 for RpcL1 {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    fn provider(&self) -> DynProvider {
        self.provider.clone()
    }

    async fn heads(&self) -> Result<Heads, L1Error> {
        // From the oldest up, so that blocks which come meanwhile cannot turn the order round.
        let finalized = self.block(BlockNumberOrTag::Finalized).await?;
        let safe = self.block(BlockNumberOrTag::Safe).await?;
        let latest = self.latest().await?;
        // A chain that has finalized nothing yet says null, or an error that is not told apart: then
        // it stands at its first block.
        let finalized = match finalized {
            Some(finalized) => finalized,
            None => self.block(BlockNumberOrTag::Number(0)).await?.unwrap_or(latest),
        };
        let finalized = if finalized.number > latest.number { latest } else { finalized };
        let safe = safe.filter(|safe| (finalized.number..=latest.number).contains(&safe.number));
        Ok(Heads { latest, safe: safe.unwrap_or(finalized), finalized })
    }

    async fn blobs(&self, at: &BlobsAt) -> Result<Vec<Blob>, L1Error> {
        match self.kind {
            Kind::Anvil => self.anvil_blobs(at).await,
            Kind::Rpc => self.beacon_blobs(at).await,
            Kind::Embedded => {
                let params = (&at.hashes,);
                let found: Vec<Option<Bytes>> =
                    self.provider.raw_request("blindfold_getBlobs".into(), params).await?;
                let mut blobs = Vec::with_capacity(found.len());
                for (bytes, hash) in found.iter().zip(&at.hashes) {
                    let bytes = bytes.as_ref().ok_or(L1Error::BlobsMissing(*hash))?;
                    blobs.push(blob(bytes)?);
                }
                check_blobs(&blobs, &at.hashes)?;
                Ok(blobs)
            }
        }
    }

    fn control(&self) -> Option<&dyn Control> {
        self.control.then_some(self)
    }
}

#[async_trait]
impl Control for RpcL1 {
    async fn mine(&self, timestamp_s: u64) -> Result<BlockRef, L1Error> {
        if self.kind == Kind::Anvil {
            return self.anvil_mine(timestamp_s).await;
        }
        let _: serde_json::Value =
            self.provider.raw_request("blindfold_mine".into(), (timestamp_s,)).await?;
        self.latest().await
    }

    async fn reorg(
        &self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<BlockRef, L1Error> {
        if self.kind != Kind::Anvil {
            let params = (depth, dropped.name(), timestamp_s);
            let _: serde_json::Value =
                self.provider.raw_request("blindfold_reorg".into(), params).await?;
            return self.latest().await;
        }
        let head = self.latest().await?.number;
        let raw = match dropped {
            Dropped::Forgotten => Vec::new(),
            Dropped::BackToPool | Dropped::MinedAgain => self.newest_raw(head, depth).await?,
        };
        if dropped == Dropped::MinedAgain {
            let _: serde_json::Value =
                self.provider.raw_request("anvil_rollback".into(), (depth,)).await?;
            self.resend(raw).await?;
            for left in (0..depth).rev() {
                self.anvil_mine(if left == 0 { timestamp_s } else { 0 }).await?;
            }
        } else {
            let none: [(); 0] = [];
            let _: serde_json::Value =
                self.provider.raw_request("anvil_reorg".into(), (depth, none)).await?;
            self.resend(raw).await?;
        }
        self.latest().await
    }
}

#[async_trait]
impl L1 for Embedded {
    fn kind(&self) -> Kind {
        Kind::Embedded
    }

    fn chain_id(&self) -> u64 {
        self.chain_id()
    }

    fn provider(&self) -> DynProvider {
        let client = RpcClient::new(EmbeddedTransport::new(self.clone()), true);
        RootProvider::new(client).erased()
    }

    async fn heads(&self) -> Result<Heads, L1Error> {
        Ok(self.heads_now())
    }

    async fn blobs(&self, at: &BlobsAt) -> Result<Vec<Blob>, L1Error> {
        // Compared with their commitments when they came in, and kept in this process since.
        at.hashes.iter().map(|hash| self.blob(*hash).ok_or(L1Error::BlobsMissing(*hash))).collect()
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

#[async_trait]
impl Control for Embedded {
    async fn mine(&self, timestamp_s: u64) -> Result<BlockRef, L1Error> {
        Ok(Self::mine(self, timestamp_s)?)
    }

    async fn reorg(
        &self,
        depth: u64,
        dropped: Dropped,
        timestamp_s: u64,
    ) -> Result<BlockRef, L1Error> {
        Ok(Self::reorg(self, depth, dropped, timestamp_s)?)
    }
}
