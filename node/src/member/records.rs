//! What a node's tasks keep in the database: one function a question, one atomic write a step.
//!
//! Families and keys are named in [`Family`]; finalized blocks and certificates are the engine's, in
//! families of their own.

use super::MemberError;
use super::rows::decode_height;
pub use super::rows::{FinalProof, HeightRecord, Place};
use super::witness::NewWitness;
use crate::metrics;
use crate::store::{Durability, Family, Store, Write};
use alloy_primitives::{B256, Bytes};
use blindfold_committee::batch::SealedBatch;
use blindfold_execution::{
    BlockRecord, ExecutedBlock, bal::BlockAccessList, witness::ExecutionWitness,
};
use blindfold_mempool::Change;
use blindfold_wire::{
    Block, Evidence, MAX_BLOCK_COUNT, SignedCommitment, forced::MAX_FORCED_PER_HEIGHT,
    opened::OpenedBatch, opening::OpeningSet,
};
use std::{collections::BTreeMap, time::Duration};

/// What is stored with an executed height beside its block, and is made while the state before it is still there.
pub struct Beside {
    /// What it takes to execute it again.
    pub witness: Option<NewWitness>,
    /// What proves withdrawals.
    pub outbox: Vec<Write>,
}

/// The database as a node's tasks use it. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    store: Store,
    members: usize,
}

impl Records {
    /// Records in `store`, for a committee of `members`.
    pub fn new(store: Store, members: usize) -> Self {
        Self { store, members }
    }

    /// The database itself.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    fn read<T>(
        &self,
        family: Family,
        key: &[u8],
        what: &'static str,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, MemberError> {
        match self.store.get(family, key)? {
            Some(bytes) => decode(&bytes).map(Some).ok_or(MemberError::Damaged(what)),
            None => Ok(None),
        }
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), MemberError> {
        Ok(self.store.write(writes, Durability::Buffered)?)
    }

    /// Record of a final height.
    pub fn height(&self, height: u64) -> Result<Option<HeightRecord>, MemberError> {
        let members = self.members;
        self.read(Family::Heights, &height.to_be_bytes(), "height record", |bytes| {
            HeightRecord::decode(bytes, members)
        })
    }

    /// Stores the record of a final height.
    pub fn store_height(&self, height: u64, record: &HeightRecord) -> Result<(), MemberError> {
        self.write(vec![put(Family::Heights, &height.to_be_bytes(), record.encode())])
    }

    /// Stores the record of a final height and where its envelopes are. Durable with the next
    /// [`sync`](Self::sync).
    pub fn store_ordered(
        &self,
        batch: &SealedBatch,
        record: &HeightRecord,
    ) -> Result<(), MemberError> {
        let height = batch.height();
        let mut writes = vec![
            put(Family::Heights, &height.to_be_bytes(), record.encode()),
            put(Family::Digests, record.digest.as_slice(), height.to_be_bytes().to_vec()),
        ];
        for (at, envelope) in (0u32..).zip(batch.envelopes()) {
            writes.push(put(
                Family::Envelopes,
                envelope.id().as_slice(),
                Place { height, at }.encode(),
            ));
        }
        self.write(writes)
    }

    /// Makes everything written before durable, away from the caller's thread.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn sync(&self) -> Result<(), MemberError> {
        Ok(self.store.sync_apart().await?)
    }

    /// Height of the commitment with this digest.
    pub fn height_of_digest(&self, digest: B256) -> Result<Option<u64>, MemberError> {
        self.read(Family::Digests, digest.as_slice(), "digest index", decode_height)
    }

    /// Height of the EVM block with this hash.
    pub fn height_of_block(&self, hash: B256) -> Result<Option<u64>, MemberError> {
        self.read(Family::BlockHashes, hash.as_slice(), "block hash index", decode_height)
    }

    /// Where an envelope was ordered.
    pub fn envelope(&self, id: B256) -> Result<Option<Place>, MemberError> {
        self.read(Family::Envelopes, id.as_slice(), "envelope index", Place::decode)
    }

    /// Where an inner transaction was executed.
    pub fn transaction(&self, hash: B256) -> Result<Option<Place>, MemberError> {
        self.read(Family::Transactions, hash.as_slice(), "transaction index", Place::decode)
    }

    /// The finalized block of a height.
    pub fn block(&self, height: u64) -> Result<Option<Block>, MemberError> {
        match self.store.finalized_block(height)? {
            Some(bytes) => {
                Block::decode(&bytes).map(Some).map_err(|_| MemberError::Damaged("finalized block"))
            }
            None => Ok(None),
        }
    }

    /// The openings of a height.
    pub fn openings(&self, height: u64) -> Result<Option<OpeningSet>, MemberError> {
        self.read(Family::Openings, &height.to_be_bytes(), "opening set", |bytes| {
            OpeningSet::decode(bytes).ok()
        })
    }

    /// The openings of a height, as they are stored and served.
    pub fn opening_bytes(&self, height: u64) -> Result<Option<Vec<u8>>, MemberError> {
        Ok(self.store.get(Family::Openings, &height.to_be_bytes())?)
    }

    /// Stores the openings of a height: the encoding of an [`OpeningSet`].
    pub fn store_openings(
        &self,
        height: u64,
        set: Vec<u8>,
        now_ms: u64,
    ) -> Result<(), MemberError> {
        let mut writes = vec![put(Family::Openings, &height.to_be_bytes(), set)];
        if let Some(record) = self.height(height)? {
            metrics::stage_time(
                "opened",
                Duration::from_millis(now_ms.saturating_sub(record.ordered_ms)),
            );
            let record = HeightRecord { opened_ms: now_ms, ..record };
            writes.push(put(Family::Heights, &height.to_be_bytes(), record.encode()));
        }
        self.write(writes)
    }

    /// The executed block of a height.
    pub fn executed(&self, height: u64) -> Result<Option<BlockRecord>, MemberError> {
        self.read(Family::Executed, &height.to_be_bytes(), "executed block", |bytes| {
            BlockRecord::decode(bytes).ok()
        })
    }

    /// What every position of a height accessed, as it is stored and served.
    pub fn access_list_bytes(&self, height: u64) -> Result<Option<Vec<u8>>, MemberError> {
        Ok(self.store.get(Family::AccessLists, &height.to_be_bytes())?)
    }

    /// What every position of a height accessed.
    pub fn access_list(&self, height: u64) -> Result<Option<BlockAccessList>, MemberError> {
        self.read(Family::AccessLists, &height.to_be_bytes(), "access list", |bytes| {
            BlockAccessList::decode(bytes, MAX_FORCED_PER_HEIGHT + MAX_BLOCK_COUNT).ok()
        })
    }

    /// The witness of a height, if it is still kept.
    pub fn witness(&self, height: u64) -> Result<Option<ExecutionWitness>, MemberError> {
        self.read(Family::Witnesses, &height.to_be_bytes(), "witness", |bytes| {
            ExecutionWitness::decode(bytes).ok()
        })
    }

    /// Drops the witnesses that a node whose newest height is `tip` keeps no more: it was told to keep fewer.
    pub fn drop_witnesses(&self, tip: u64, heights: u64) -> Result<(), MemberError> {
        /// Witnesses looked at together.
        const AT_ONCE: usize = 16;
        let end = tip.saturating_add(1).saturating_sub(heights).to_be_bytes();
        let mut from = Vec::new();
        loop {
            let old: Vec<_> = self
                .store
                .range(Family::Witnesses, &from, AT_ONCE)?
                .into_iter()
                .map(|(key, _)| key)
                .take_while(|key| key.as_slice() < end.as_slice())
                .collect();
            let Some(last) = old.last() else { return Ok(()) };
            from.clone_from(last);
            self.write(old.into_iter().map(|key| (Family::Witnesses, key, None)).collect())?;
        }
    }

    /// Stores an executed height: state, block and indexes together, and what else goes `beside` them.
    pub fn store_executed(
        &self,
        block: &ExecutedBlock,
        Beside { witness, outbox }: Beside,
        batch: &OpenedBatch,
        now_ms: u64,
    ) -> Result<(), MemberError> {
        let height = batch.height();
        let mut writes = self.executed_writes(block);
        writes.extend(outbox);
        // One made for a recheck alone is not kept.
        if let Some(NewWitness { bytes, heights }) = witness.filter(|witness| witness.heights > 0) {
            writes.push(put(Family::Witnesses, &height.to_be_bytes(), bytes.into()));
            if let Some(old) = height.checked_sub(heights) {
                writes.push((Family::Witnesses, old.to_be_bytes().to_vec(), None));
            }
        }
        if let Some(record) = self.height(height)? {
            metrics::stage_time(
                "executed",
                Duration::from_millis(now_ms.saturating_sub(record.opened_ms)),
            );
            let record = HeightRecord { executed_ms: now_ms, ..record };
            writes.push(put(Family::Heights, &height.to_be_bytes(), record.encode()));
        }
        self.write(writes)
    }

    /// Stores the genesis block, durably.
    pub fn store_genesis(&self, block: &ExecutedBlock) -> Result<(), MemberError> {
        Ok(self.store.write(self.executed_writes(block), Durability::Synced)?)
    }

    fn executed_writes(&self, block: &ExecutedBlock) -> Vec<Write> {
        let record = &block.record;
        let height = record.header.number;
        let mut writes: Vec<Write> = block
            .layer
            .writes()
            .iter()
            .map(|(column, key, value)| {
                (Family::State(column), key.to_vec(), value.map(<[u8]>::to_vec))
            })
            .collect();
        writes.push(put(Family::Executed, &height.to_be_bytes(), record.encode()));
        let access_list = BlockAccessList::of(&block.access).encode();
        writes.push(put(Family::AccessLists, &height.to_be_bytes(), access_list.into()));
        writes.push(put(
            Family::BlockHashes,
            record.hash.as_slice(),
            height.to_be_bytes().to_vec(),
        ));
        for (at, transaction) in (0u32..).zip(&record.transactions) {
            writes.push(put(
                Family::Transactions,
                transaction.hash().as_slice(),
                Place { height, at }.encode(),
            ));
        }
        writes
    }

    /// Pooled envelopes by id.
    pub fn pooled(&self) -> Result<BTreeMap<B256, Bytes>, MemberError> {
        self.store
            .scan(Family::Mempool)?
            .into_iter()
            .map(|(key, value)| {
                B256::try_from(key.as_slice())
                    .map(|id| (id, value.into()))
                    .map_err(|_| MemberError::Damaged("mempool entry"))
            })
            .collect()
    }

    /// Stores changes of the mempool, in order.
    pub fn store_pool_changes(&self, changes: &[Change]) -> Result<(), MemberError> {
        let writes = changes
            .iter()
            .map(|change| match change {
                Change::Insert { id, bytes } => put(Family::Mempool, id.as_slice(), bytes.to_vec()),
                Change::Remove { id, .. } => (Family::Mempool, id.to_vec(), None),
            })
            .collect();
        self.write(writes)
    }

    /// The block this member signed a commitment for.
    pub fn proposal(&self, digest: B256) -> Result<Option<Block>, MemberError> {
        self.read(Family::Proposals, digest.as_slice(), "proposal", |bytes| {
            Block::decode(bytes).ok()
        })
    }

    /// Stores a block before its commitment is journaled. Durable with the journal's next write.
    pub fn store_proposal(&self, digest: B256, block: &Block) -> Result<(), MemberError> {
        self.write(vec![put(Family::Proposals, digest.as_slice(), block.encode())])
    }

    /// First-seen commitments of all views.
    pub fn first_seen(&self) -> Result<Vec<SignedCommitment>, MemberError> {
        self.store
            .scan(Family::FirstSeen)?
            .into_iter()
            .map(|(_, value)| {
                SignedCommitment::decode(&value)
                    .map_err(|_| MemberError::Damaged("first-seen commitment"))
            })
            .collect()
    }

    /// Stores the first commitment seen signed for its view, and drops old ones.
    pub fn store_first_seen(&self, signed: &SignedCommitment) -> Result<(), MemberError> {
        /// Views kept behind the newest. The engine's watch keeps half as many, and takes commitments
        /// as far ahead: a leader in a hurry must not push out what is in the window.
        const VIEWS_KEPT: u64 = 2 * blindfold_ordering::watch::WINDOW_VIEWS;
        /// Old entries looked at each time. More than one: a view that ends without a commitment
        /// drops nothing.
        const DROPPED_MAX: usize = 64;
        let key = |epoch: u64, view: u64| [epoch.to_be_bytes(), view.to_be_bytes()].concat();
        let (epoch, view) = (signed.commitment.epoch, signed.commitment.view);
        let mut writes = vec![put(Family::FirstSeen, &key(epoch, view), signed.encode())];
        if let Some(oldest_kept) = view.checked_sub(VIEWS_KEPT) {
            // Not from the very first on: the search would run over everything deleted before.
            let from = key(epoch, oldest_kept.saturating_sub(VIEWS_KEPT));
            let old = self.store.range(Family::FirstSeen, &from, DROPPED_MAX)?;
            let end = key(epoch, oldest_kept);
            writes.extend(
                old.into_iter()
                    .take_while(|(old, _)| *old < end)
                    .map(|(old, _)| (Family::FirstSeen, old, None)),
            );
        }
        self.write(writes)
    }

    /// Whether evidence with this id is stored.
    pub fn holds_evidence(&self, id: B256) -> Result<bool, MemberError> {
        Ok(self.store.get(Family::Evidence, id.as_slice())?.is_some())
    }

    /// Stores evidence, durably: an offence must not be forgotten.
    pub fn store_evidence(&self, evidence: &Evidence) -> Result<(), MemberError> {
        let write = put(Family::Evidence, evidence.id().as_slice(), evidence.encode());
        Ok(self.store.write(vec![write], Durability::Synced)?)
    }

    /// All evidence.
    pub fn evidence(&self) -> Result<Vec<Evidence>, MemberError> {
        self.store
            .scan(Family::Evidence)?
            .into_iter()
            .map(|(_, value)| {
                Evidence::decode(&value).map_err(|_| MemberError::Damaged("evidence"))
            })
            .collect()
    }
}

fn put(family: Family, key: &[u8], value: Vec<u8>) -> Write {
    (family, key.to_vec(), Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_wire::{OrderCommitment, Signature65};

    #[test]
    fn first_seen_commitments_stay_bounded_though_views_are_lost() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let records = Records::new(Store::open(folder.path(), [1; 32]).expect("open"), 4);
        // Two of three views end without a commitment, and never the same ones.
        for view in (0..12_000u64).filter(|view| (view / 4_096 + view) % 3 == 0) {
            let commitment = OrderCommitment { view, ..OrderCommitment::default() };
            let signed = SignedCommitment { commitment, signature: Signature65::ZERO };
            records.store_first_seen(&signed).expect("stored");
        }
        let kept = records.first_seen().expect("read");
        assert!(kept.len() <= 2_048 / 3 + 2, "{} commitments are kept", kept.len());
        let oldest = kept.iter().map(|signed| signed.commitment.view).min();
        assert!(oldest >= Some(12_000 - 2_048 - 3));
    }
}
