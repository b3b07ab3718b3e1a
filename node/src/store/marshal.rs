//! The engine's stores of final blocks and certificates over the database.
//!
//! A put is a buffered write: every reader sees it at once, and a sync makes it durable. Both stores
//! share the write-ahead log, so that one fsync serves both. Which heights are there is kept in memory
//! as ranges, read from the indices at start.

use std::{fmt, marker::PhantomData, sync::Arc};

use blindfold_ordering::{
    block::{LENGTH_PREFIX_BYTES, OrderedBlock},
    engine::{self, Digest as Digest32, OrderingScheme},
};
use blindfold_wire::genesis::Genesis;
use bytes::Bytes;
use commonware_codec::{Codec, Decode as _, Encode as _, Read};
use commonware_consensus::{
    Block,
    marshal::store::{Blocks, Certificates},
    simplex::types::Finalization,
    types::Height,
};
use commonware_cryptography::{Digest, Digestible, certificate::Scheme};
use commonware_storage::{archive::Identifier, rmap::RMap};

use super::{Durability, Family, Store, StoreError, Write, height_from};

/// The stores that the ordering engine takes.
pub type OrderingStores =
    (MarshalBlocks<Arc<OrderedBlock>>, MarshalCertificates<OrderingScheme, Digest32>);

/// Heights deleted per batch when pruning.
const PRUNE_BATCH: usize = 1_000;

/// Final blocks by height and digest.
///
/// `B` is the block in its stored form; its encoding is that of `commonware_codec`.
pub struct MarshalBlocks<B: Block + Codec> {
    store: Store,
    codec: <B as Read>::Cfg,
    heights: RMap,
    block: PhantomData<fn() -> B>,
}

impl<B: Block + Codec> fmt::Debug for MarshalBlocks<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarshalBlocks").field("last", &self.heights.last_index()).finish()
    }
}

impl<B: Block + Codec> MarshalBlocks<B> {
    /// The blocks in `store`, decoded with `codec`.
    ///
    /// # Errors
    ///
    /// If the disk fails or an index is damaged.
    pub fn open(store: Store, codec: <B as Read>::Cfg) -> Result<Self, StoreError> {
        let heights = heights_in(&store, Family::BlockDigests)?;
        Ok(Self { store, codec, heights, block: PhantomData })
    }

    /// Reads one block; also for other readers than the engine.
    ///
    /// # Errors
    ///
    /// If the disk fails or the stored bytes do not decode.
    pub fn read(&self, height: u64) -> Result<Option<B>, StoreError> {
        let Some(bytes) = self.store.get(Family::Blocks, &height.to_be_bytes())? else {
            return Ok(None);
        };
        B::decode_cfg(Bytes::from(bytes), &self.codec)
            .map(Some)
            .map_err(|error| StoreError::value(Family::Blocks, format!("block {height}: {error}")))
    }

    fn insert(&mut self, digest: &[u8], block: &B) -> Result<(), StoreError> {
        let height = block.height().get();
        if self.heights.get(height).is_some() || self.store.has(Family::BlockHeights, digest)? {
            return Ok(());
        }
        let key = height.to_be_bytes();
        let writes = vec![
            (Family::Blocks, key.to_vec(), Some(block.encode().to_vec())),
            (Family::BlockDigests, key.to_vec(), Some(digest.to_vec())),
            (Family::BlockHeights, digest.to_vec(), Some(key.to_vec())),
        ];
        self.store.write(writes, Durability::Buffered)?;
        self.heights.insert(height);
        Ok(())
    }
}

impl<B: Block + Codec> Blocks for MarshalBlocks<B>
where
    <B as Read>::Cfg: Send + Sync + 'static,
{
    type Block = B;
    type Error = StoreError;

    async fn put(
        mut self,
        digest: <B as Digestible>::Digest,
        block: &B,
    ) -> Result<Self, StoreError> {
        self.insert(digest.as_ref(), block)?;
        Ok(self)
    }

    async fn sync(self) -> Result<Self, StoreError> {
        self.store.sync_apart().await?;
        Ok(self)
    }

    async fn get(
        &self,
        id: Identifier<'_, <B as Digestible>::Digest>,
    ) -> Result<Option<B>, StoreError> {
        let height = match id {
            Identifier::Index(height) => Some(height),
            Identifier::Key(digest) => {
                height_of(&self.store, Family::BlockHeights, digest.as_ref())?
            }
        };
        height.map_or(Ok(None), |height| self.read(height))
    }

    async fn prune(mut self, min: Height) -> Result<Self, StoreError> {
        prune(
            &self.store,
            &mut self.heights,
            min.get(),
            Family::BlockDigests,
            |height, digest| {
                vec![
                    (Family::Blocks, height.to_vec(), None),
                    (Family::BlockDigests, height.to_vec(), None),
                    (Family::BlockHeights, digest.to_vec(), None),
                ]
            },
        )?;
        Ok(self)
    }

    fn missing_items(&self, start: Height, max: usize) -> Vec<Height> {
        if max == 0 {
            return Vec::new();
        }
        self.heights.missing_items(start.get(), max).into_iter().map(Height::new).collect()
    }

    fn next_gap(&self, value: Height) -> (Option<Height>, Option<Height>) {
        let (end, next) = self.heights.next_gap(value.get());
        (end.map(Height::new), next.map(Height::new))
    }

    fn last_index(&self) -> Option<Height> {
        self.heights.last_index().map(Height::new)
    }
}

/// Finalization certificates by height and block digest.
pub struct MarshalCertificates<S: Scheme, D: Digest> {
    store: Store,
    heights: RMap,
    digest: PhantomData<fn() -> (S, D)>,
}

impl<S: Scheme, D: Digest> fmt::Debug for MarshalCertificates<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarshalCertificates").field("last", &self.heights.last_index()).finish()
    }
}

impl<S: Scheme, D: Digest> MarshalCertificates<S, D> {
    /// The certificates in `store`.
    ///
    /// # Errors
    ///
    /// If the disk fails or an index is damaged.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let heights = heights_in(&store, Family::Certificates)?;
        Ok(Self { store, heights, digest: PhantomData })
    }

    /// Reads one certificate; also for other readers than the engine.
    ///
    /// # Errors
    ///
    /// If the disk fails or the stored bytes do not decode.
    pub fn read(&self, height: u64) -> Result<Option<Finalization<S, D>>, StoreError> {
        let Some(value) = self.store.get(Family::Certificates, &height.to_be_bytes())? else {
            return Ok(None);
        };
        let damaged = |what: &str| {
            StoreError::value(Family::Certificates, format!("certificate {height}: {what}"))
        };
        let mut value = Bytes::from(value);
        if value.len() < D::SIZE {
            return Err(damaged("too short"));
        }
        let certificate = value.split_off(D::SIZE);
        // Our own disk: whatever committee it was, it fits.
        Finalization::decode_cfg(certificate, &S::certificate_codec_config_unbounded())
            .map(Some)
            .map_err(|error| damaged(&error.to_string()))
    }

    fn insert(
        &mut self,
        height: u64,
        digest: &[u8],
        finalization: &Finalization<S, D>,
    ) -> Result<(), StoreError> {
        let known = self.heights.get(height).is_some()
            || self.store.has(Family::CertificateHeights, digest)?;
        if known {
            return Ok(());
        }
        let key = height.to_be_bytes();
        let row = [digest, finalization.encode().as_ref()].concat();
        let writes = vec![
            (Family::Certificates, key.to_vec(), Some(row)),
            (Family::CertificateHeights, digest.to_vec(), Some(key.to_vec())),
        ];
        self.store.write(writes, Durability::Buffered)?;
        self.heights.insert(height);
        Ok(())
    }
}

impl<S: Scheme, D: Digest> Certificates for MarshalCertificates<S, D> {
    type BlockDigest = D;
    type Commitment = D;
    type Scheme = S;
    type Error = StoreError;

    async fn put(
        mut self,
        height: Height,
        digest: D,
        finalization: &Finalization<S, D>,
    ) -> Result<Self, StoreError> {
        self.insert(height.get(), digest.as_ref(), finalization)?;
        Ok(self)
    }

    async fn sync(self) -> Result<Self, StoreError> {
        self.store.sync_apart().await?;
        Ok(self)
    }

    async fn get(&self, id: Identifier<'_, D>) -> Result<Option<Finalization<S, D>>, StoreError> {
        let height = match id {
            Identifier::Index(height) => Some(height),
            Identifier::Key(digest) => {
                height_of(&self.store, Family::CertificateHeights, digest.as_ref())?
            }
        };
        height.map_or(Ok(None), |height| self.read(height))
    }

    async fn has(&self, height: Height) -> Result<bool, StoreError> {
        Ok(self.heights.get(height.get()).is_some())
    }

    async fn prune(mut self, min: Height) -> Result<Self, StoreError> {
        prune(&self.store, &mut self.heights, min.get(), Family::Certificates, |height, row| {
            let digest = &row[..D::SIZE.min(row.len())];
            vec![
                (Family::Certificates, height.to_vec(), None),
                (Family::CertificateHeights, digest.to_vec(), None),
            ]
        })?;
        Ok(self)
    }

    fn last_index(&self) -> Option<Height> {
        self.heights.last_index().map(Height::new)
    }

    fn ranges_from(&self, from: Height) -> impl Iterator<Item = (Height, Height)> {
        let ranges = self.heights.iter_from(from.get());
        ranges.map(|(start, end)| (Height::new(*start), Height::new(*end)))
    }
}

impl Store {
    /// The engine's two stores, for the chain of `genesis`.
    ///
    /// # Errors
    ///
    /// If the disk fails or an index is damaged.
    pub fn marshal_stores(&self, genesis: &Genesis) -> Result<OrderingStores, StoreError> {
        // Blocks were checked before they were stored: no gate.
        let codec = engine::codec(genesis, None);
        Ok((MarshalBlocks::open(self.clone(), codec)?, MarshalCertificates::open(self.clone())?))
    }

    /// The wire encoding of the final block at `height`.
    ///
    /// # Errors
    ///
    /// If the disk fails or the row is damaged.
    pub fn finalized_block(&self, height: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut row) = self.get(Family::Blocks, &height.to_be_bytes())? else {
            return Ok(None);
        };
        let Some((prefix, block)) = row.split_first_chunk::<LENGTH_PREFIX_BYTES>() else {
            return Err(StoreError::value(Family::Blocks, "a length prefix"));
        };
        if u32::from_be_bytes(*prefix) as usize != block.len() {
            return Err(StoreError::value(Family::Blocks, "a block of its announced length"));
        }
        row.drain(..LENGTH_PREFIX_BYTES);
        Ok(Some(row))
    }
}

fn heights_in(store: &Store, family: Family) -> Result<RMap, StoreError> {
    let mut heights = RMap::new();
    store.for_each(family, |key, _| {
        heights.insert(height_from(family, key)?);
        Ok(())
    })?;
    Ok(heights)
}

fn height_of(store: &Store, family: Family, digest: &[u8]) -> Result<Option<u64>, StoreError> {
    let Some(value) = store.get(family, digest)? else { return Ok(None) };
    height_from(family, &value).map(Some)
}

/// Deletes heights below `min`, `deletes` names all rows of an entry of `index`.
fn prune(
    store: &Store,
    heights: &mut RMap,
    min: u64,
    index: Family,
    deletes: impl Fn(&[u8], &[u8]) -> Vec<Write>,
) -> Result<(), StoreError> {
    let Some(last_pruned) = min.checked_sub(1) else { return Ok(()) };
    loop {
        let mut writes = Vec::new();
        for (height, value) in store.range(index, &[], PRUNE_BATCH)? {
            if height_from(index, &height)? > last_pruned {
                break;
            }
            writes.extend(deletes(&height, &value));
        }
        if writes.is_empty() {
            break;
        }
        store.write(writes, Durability::Buffered)?;
    }
    heights.remove(0, last_pruned);
    Ok(())
}
