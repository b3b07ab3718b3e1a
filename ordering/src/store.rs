//! Stores of finalized blocks and certificates kept in memory, for simulation and tests.
//!
//! The engine takes any implementation of the engine library's `store::{Blocks, Certificates}`; the
//! node gives it one over its database. These two share their content between clones, so a simulated
//! member that restarts with a clone finds what it had stored.

use crate::{
    block::OrderedBlock,
    engine::{Digest, OrderingScheme},
};
use commonware_consensus::{
    Heightable as _,
    marshal::store::{Blocks, Certificates},
    simplex::types::Finalization,
    types::Height,
};
use commonware_storage::{archive::Identifier, rmap::RMap};
use commonware_utils::sync::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
};

/// An engine finalization over our scheme and digest.
pub type EngineFinalization = Finalization<OrderingScheme, Digest>;

/// Finalized blocks in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryBlocks {
    inner: Arc<Mutex<BlocksInner>>,
}

#[derive(Debug, Default)]
struct BlocksInner {
    by_height: BTreeMap<u64, Arc<OrderedBlock>>,
    heights: HashMap<Digest, u64>,
    ranges: RMap,
}

/// Finalization certificates in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryCertificates {
    inner: Arc<Mutex<CertificatesInner>>,
}

#[derive(Debug, Default)]
struct CertificatesInner {
    by_height: BTreeMap<u64, EngineFinalization>,
    heights: HashMap<Digest, u64>,
    ranges: RMap,
}

impl MemoryBlocks {
    /// The stored block of `height`.
    pub fn block(&self, height: u64) -> Option<Arc<OrderedBlock>> {
        self.inner.lock().by_height.get(&height).cloned()
    }
}

impl Blocks for MemoryBlocks {
    type Block = Arc<OrderedBlock>;
    type Error = Infallible;

    async fn put(self, digest: Digest, block: &Self::Block) -> Result<Self, Self::Error> {
        let height = block.height().get();
        {
            let mut inner = self.inner.lock();
            if !inner.by_height.contains_key(&height) && !inner.heights.contains_key(&digest) {
                inner.by_height.insert(height, block.clone());
                inner.heights.insert(digest, height);
                inner.ranges.insert(height);
            }
        }
        Ok(self)
    }

    async fn sync(self) -> Result<Self, Self::Error> {
        Ok(self)
    }

    async fn get(&self, id: Identifier<'_, Digest>) -> Result<Option<Self::Block>, Self::Error> {
        let inner = self.inner.lock();
        let height = match id {
            Identifier::Index(height) => Some(height),
            Identifier::Key(digest) => inner.heights.get(digest).copied(),
        };
        Ok(height.and_then(|height| inner.by_height.get(&height).cloned()))
    }

    async fn prune(self, min: Height) -> Result<Self, Self::Error> {
        {
            let mut inner = self.inner.lock();
            inner.by_height = inner.by_height.split_off(&min.get());
            inner.heights.retain(|_, height| *height >= min.get());
            if let Some(below) = min.get().checked_sub(1) {
                inner.ranges.remove(0, below);
            }
        }
        Ok(self)
    }

    fn missing_items(&self, start: Height, max: usize) -> Vec<Height> {
        self.inner
            .lock()
            .ranges
            .missing_items(start.get(), max)
            .into_iter()
            .map(Height::new)
            .collect()
    }

    fn next_gap(&self, value: Height) -> (Option<Height>, Option<Height>) {
        let (end, next) = self.inner.lock().ranges.next_gap(value.get());
        (end.map(Height::new), next.map(Height::new))
    }

    fn last_index(&self) -> Option<Height> {
        self.inner.lock().by_height.keys().next_back().copied().map(Height::new)
    }
}

impl Certificates for MemoryCertificates {
    type BlockDigest = Digest;
    type Commitment = Digest;
    type Scheme = OrderingScheme;
    type Error = Infallible;

    async fn put(
        self,
        height: Height,
        digest: Digest,
        finalization: &EngineFinalization,
    ) -> Result<Self, Self::Error> {
        {
            let mut inner = self.inner.lock();
            let height = height.get();
            if !inner.by_height.contains_key(&height) && !inner.heights.contains_key(&digest) {
                inner.by_height.insert(height, finalization.clone());
                inner.heights.insert(digest, height);
                inner.ranges.insert(height);
            }
        }
        Ok(self)
    }

    async fn sync(self) -> Result<Self, Self::Error> {
        Ok(self)
    }

    async fn get(
        &self,
        id: Identifier<'_, Digest>,
    ) -> Result<Option<EngineFinalization>, Self::Error> {
        let inner = self.inner.lock();
        let height = match id {
            Identifier::Index(height) => Some(height),
            Identifier::Key(digest) => inner.heights.get(digest).copied(),
        };
        Ok(height.and_then(|height| inner.by_height.get(&height).cloned()))
    }

    async fn has(&self, height: Height) -> Result<bool, Self::Error> {
        Ok(self.inner.lock().by_height.contains_key(&height.get()))
    }

    async fn prune(self, min: Height) -> Result<Self, Self::Error> {
        {
            let mut inner = self.inner.lock();
            inner.by_height = inner.by_height.split_off(&min.get());
            inner.heights.retain(|_, height| *height >= min.get());
            if let Some(below) = min.get().checked_sub(1) {
                inner.ranges.remove(0, below);
            }
        }
        Ok(self)
    }

    fn last_index(&self) -> Option<Height> {
        self.inner.lock().by_height.keys().next_back().copied().map(Height::new)
    }

    fn ranges_from(&self, from: Height) -> impl Iterator<Item = (Height, Height)> {
        let ranges: Vec<(Height, Height)> = self
            .inner
            .lock()
            .ranges
            .iter_from(from.get())
            .map(|(start, end)| (Height::new(*start), Height::new(*end)))
            .collect();
        ranges.into_iter()
    }
}
