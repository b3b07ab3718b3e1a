//! The chain: mining, going back, and what is remembered.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header, Receipt, ReceiptEnvelope, Transaction as _, TxEnvelope,
    TxReceipt as _, proofs,
};
use alloy_eips::{
    eip1559::BaseFeeParams, eip4844::Blob, eip7594::BlobTransactionSidecarVariant,
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, keccak256, map::B256Map};
use alloy_trie::EMPTY_ROOT_HASH;

use super::{
    Config, Dropped, MineError, Mining, RestoreError,
    block::{Block, Mined},
    errors::Refusal,
    evm::{self, BLOBS},
    pool::{Pool, Pooled, Room, join},
    state::{State, Undo, View},
};

/// Blocks whose state can still be gone back to, and read at.
pub const MAX_REORG_DEPTH: usize = 256;

/// Blocks that are remembered; older ones are forgotten with their logs and receipts.
pub const MAX_BLOCKS: usize = 1 << 20;

/// Blobs that are kept, of the newest transactions.
pub const MAX_BLOBS: usize = 512;

/// Transactions that a reorg may bring back to the pool, and one record may hold.
pub const MAX_BLOCK_TRANSACTIONS: usize = 4_096;

/// What every header says about itself, beside the number of reorgs before it.
const EXTRA: &[u8] = b"not a real L1 ";

/// Blobs of one transaction in a block.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) block: u64,
    pub(super) transaction: B256,
    pub(super) sidecar: Arc<BlobTransactionSidecarVariant>,
}

/// One thing that happened to the chain, from which it can be done again.
#[allow(clippy::large_enum_variant, reason = "one at a time")]
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A block of these transactions, with this header.
    Mined { header: Header, transactions: Vec<Pooled> },
    /// So many blocks were dropped.
    Dropped { depth: u64 },
}

/// The chain.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) config: Config,
    pub(super) state: State,
    /// Consecutive, newest last; never empty.
    pub(super) blocks: VecDeque<Block>,
    /// One for each of the newest blocks but genesis, newest last.
    pub(super) undos: VecDeque<Undo>,
    /// Number of the block of each hash.
    numbers: B256Map<u64>,
    /// Block and index of each transaction.
    places: B256Map<(u64, usize)>,
    /// Oldest first.
    pub(super) blobs: VecDeque<Carried>,
    pub(super) reorgs: u64,
    pub(super) pool: Pool,
}

impl Chain {
    pub(super) fn new(config: Config) -> Self {
        let mut state = State::default();
        let mut funded = Vec::new();
        for (address, balance) in &config.alloc {
            state.fund(*address, *balance);
            funded.extend_from_slice(address.as_slice());
            funded.extend_from_slice(&balance.to_be_bytes::<32>());
        }
        let header = Header {
            number: 0,
            timestamp: config.genesis_timestamp_s,
            gas_limit: config.block_gas_limit,
            base_fee_per_gas: Some(config.base_fee_wei),
            state_root: keccak256([&config.chain_id.to_be_bytes()[..], &funded].concat()),
            extra_data: extra(0),
            ..empty_header()
        };
        Self::assemble(
            config,
            state,
            VecDeque::from([Block::new(header, Vec::new())]),
            VecDeque::new(),
            VecDeque::new(),
            0,
        )
    }

    /// A chain from its parts, with an empty pool.
    pub(super) fn assemble(
        config: Config,
        state: State,
        blocks: VecDeque<Block>,
        undos: VecDeque<Undo>,
        blobs: VecDeque<Carried>,
        reorgs: u64,
    ) -> Self {
        let (mut numbers, mut places) = (B256Map::default(), B256Map::default());
        for block in &blocks {
            numbers.insert(block.hash, block.header.number);
            for (index, mined) in block.transactions.iter().enumerate() {
                places.insert(*mined.tx.tx_hash(), (block.header.number, index));
            }
        }
        let pool = Pool::default();
        Self { config, state, blocks, undos, numbers, places, blobs, reorgs, pool }
    }

    pub(super) fn head(&self) -> &Block {
        self.blocks.back().unwrap_or_else(|| unreachable!("a chain has its genesis block"))
    }

    /// Number of the oldest block that is remembered.
    pub(super) fn oldest(&self) -> u64 {
        self.head().header.number + 1 - self.blocks.len() as u64
    }

    pub(super) fn block(&self, number: u64) -> Option<&Block> {
        let index = number.checked_sub(self.oldest())?;
        self.blocks.get(usize::try_from(index).ok()?)
    }

    pub(super) fn block_by_hash(&self, hash: B256) -> Option<&Block> {
        self.block(*self.numbers.get(&hash)?)
    }

    /// The block of a transaction, and the transaction's index there.
    pub(super) fn place(&self, transaction: B256) -> Option<(&Block, usize)> {
        let (number, index) = self.places.get(&transaction)?;
        Some((self.block(*number)?, *index))
    }

    pub(super) fn safe(&self) -> u64 {
        self.head().header.number.saturating_sub(self.config.safe_depth).max(self.oldest())
    }

    pub(super) fn finalized(&self) -> u64 {
        self.head().header.number.saturating_sub(self.config.finality_depth).max(self.oldest())
    }

    /// Looks blobs up by versioned hash.
    pub(super) fn blob(&self, hash: B256) -> Option<&Blob> {
        self.blobs.iter().rev().find_map(|carried| carried.sidecar.blob_by_versioned_hash(&hash))
    }

    pub(super) fn sidecar(&self, transaction: B256) -> Option<&BlobTransactionSidecarVariant> {
        let carried = self.blobs.iter().rev().find(|carried| carried.transaction == transaction)?;
        Some(&carried.sidecar)
    }

    /// Runs `f` on the state after the block `number`; `None` if it is too old, or not there.
    pub(super) fn at<T>(
        &self,
        number: u64,
        f: impl for<'v> FnOnce(&'v (dyn Fn() -> View<'v> + 'v)) -> T,
    ) -> Option<T> {
        let above = self.head().header.number.checked_sub(number)?;
        let skip = self.undos.len().checked_sub(usize::try_from(above).ok()?)?;
        let hash_of = |number| self.block(number).map_or(B256::ZERO, |block| block.hash);
        let view = || View {
            state: &self.state,
            since: self.undos.iter().skip(skip).collect(),
            hash_of: &hash_of,
        };
        Some(f(&view))
    }

    /// The account at the head.
    pub(super) fn account(&self, address: Address) -> super::state::Info {
        self.state.info(address).unwrap_or_default()
    }

    /// Takes a transaction into the pool.
    pub(super) fn submit(&mut self, pooled: Pooled) -> Result<B256, Refusal> {
        let (hash, sender) = (pooled.hash(), pooled.sender);
        if self.places.contains_key(&hash) {
            return Err(Refusal::Known);
        }
        self.pool.insert(pooled, self.account(sender))?;
        Ok(hash)
    }

    /// The header of the block after the head, before any transaction.
    pub(super) fn next_header(&self, timestamp_s: u64) -> Header {
        let parent = &self.head().header;
        Header {
            parent_hash: self.head().hash,
            number: parent.number + 1,
            // Strictly later, as the rules ask for; a clock that went back does not stop the chain.
            timestamp: timestamp_s.max(parent.timestamp + 1),
            gas_limit: self.config.block_gas_limit,
            base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
            excess_blob_gas: parent.next_block_excess_blob_gas(BLOBS),
            beneficiary: self.config.beneficiary,
            mix_hash: keccak256([self.head().hash.as_slice(), b"randao"].concat()),
            extra_data: extra(self.reorgs),
            ..empty_header()
        }
    }

    /// The time of the next block when nobody has said one.
    pub(super) fn next_timestamp(&self) -> u64 {
        let step = match self.config.mining {
            Mining::PerTransaction { step_s } => step_s.max(1),
            Mining::OnDemand => 1,
        };
        self.head().header.timestamp.saturating_add(step)
    }

    /// Fills a block from the pool; without it, if `empty`. Nothing changes but the pool until
    /// [`Self::append`].
    pub(super) fn build(&mut self, timestamp_s: u64, empty: bool) -> Built {
        let header = self.next_header(timestamp_s);
        let mut building = Building::new(self, header);
        let mut skipped = HashSet::new();
        while !empty && building.mined.len() < MAX_BLOCK_TRANSACTIONS {
            let room = building.room();
            let state = &self.state;
            let nonce_of = |sender| state.info(sender).unwrap_or_default().nonce;
            let Some(pooled) = self.pool.best(&room, nonce_of, &skipped).cloned() else { break };
            if building.run(&mut self.state, &self.blocks, self.config.chain_id, &pooled).is_err() {
                // It cannot pay any more: what the sender had went elsewhere.
                skipped.insert(pooled.sender);
                self.pool.remove(pooled.sender, pooled.tx.nonce());
            }
        }
        building.finish()
    }

    /// Runs a known block again.
    ///
    /// # Errors
    /// If it does not come out with the same hash.
    pub(super) fn replay(
        &mut self,
        header: &Header,
        transactions: &[Pooled],
    ) -> Result<Built, RestoreError> {
        let expected = header.hash_slow();
        if header.parent_hash != self.head().hash {
            return Err(RestoreError::Replay(header.number));
        }
        let mut next = self.next_header(header.timestamp);
        next.beneficiary = header.beneficiary;
        let mut building = Building::new(self, next);
        for pooled in transactions {
            let ran = building.run(&mut self.state, &self.blocks, self.config.chain_id, pooled);
            if ran.is_err() {
                building.finish().undo(&mut self.state);
                return Err(RestoreError::Replay(header.number));
            }
        }
        let built = building.finish();
        if built.block.hash != expected {
            built.undo(&mut self.state);
            return Err(RestoreError::Replay(header.number));
        }
        Ok(built)
    }

    /// Makes a built block the head.
    pub(super) fn append(&mut self, built: Built) {
        let Built { block, undo, carried } = built;
        let number = block.header.number;
        self.numbers.insert(block.hash, number);
        for (index, mined) in block.transactions.iter().enumerate() {
            self.places.insert(*mined.tx.tx_hash(), (number, index));
            self.pool.prune(mined.sender, mined.tx.nonce().saturating_add(1));
        }
        self.blocks.push_back(block);
        self.undos.push_back(undo);
        self.blobs.extend(carried);
        self.forget();
    }

    /// Keeps within the bounds.
    fn forget(&mut self) {
        while self.undos.len() > MAX_REORG_DEPTH {
            self.undos.pop_front();
        }
        while self.blocks.len() > MAX_BLOCKS {
            if let Some(block) = self.blocks.pop_front() {
                self.numbers.remove(&block.hash);
                for mined in &block.transactions {
                    self.places.remove(mined.tx.tx_hash());
                }
            }
        }
        let mut count: usize = self.blobs.iter().map(|carried| carried.sidecar.blobs().len()).sum();
        while count > MAX_BLOBS {
            let Some(oldest) = self.blobs.pop_front() else { break };
            count -= oldest.sidecar.blobs().len();
        }
    }

    /// Takes `depth` blocks off the head; returns their transactions, oldest first.
    ///
    /// # Errors
    /// [`MineError::TooDeep`] if that is more than can be gone back; nothing changes then.
    pub(super) fn drop_blocks(&mut self, depth: u64) -> Result<Vec<Pooled>, MineError> {
        let limit = self.undos.len().min(self.blocks.len() - 1) as u64;
        if depth > limit {
            return Err(MineError::TooDeep { depth, limit });
        }
        let mut dropped = Vec::new();
        for _ in 0..depth {
            let (Some(block), Some(undo)) = (self.blocks.pop_back(), self.undos.pop_back()) else {
                break;
            };
            self.state.roll_back(undo);
            self.numbers.remove(&block.hash);
            let mut of_block = Vec::new();
            for mined in block.transactions {
                let hash = *mined.tx.tx_hash();
                self.places.remove(&hash);
                let sidecar = self
                    .blobs
                    .iter()
                    .find(|carried| carried.transaction == hash)
                    .map(|carried| BlobTransactionSidecarVariant::clone(&carried.sidecar));
                of_block.push(Pooled::trusted(mined.tx, mined.sender, sidecar));
            }
            dropped.splice(0..0, of_block);
        }
        let head = self.head().header.number;
        self.blobs.retain(|carried| carried.block <= head);
        self.reorgs += u64::from(depth > 0);
        Ok(dropped)
    }

    /// What is done with the transactions of dropped blocks.
    pub(super) fn take_back(&mut self, transactions: Vec<Pooled>, what: Dropped) {
        if what == Dropped::Forgotten {
            return;
        }
        for pooled in transactions {
            // One whose blobs are not kept any more is lost, and so is one that the pool has no room
            // for; on a real L1 too, nobody promises that a dropped transaction comes back.
            if pooled.sidecar.is_none() && pooled.tx.is_eip4844() {
                continue;
            }
            let account = self.account(pooled.sender);
            let _ = self.pool.insert(pooled, account);
        }
    }

    /// The bytes of a transaction as it was sent, with blobs if they are still kept.
    pub(super) fn raw(&self, hash: B256) -> Option<TxEnvelope> {
        if let Some(pooled) = self.pool.get(hash) {
            let sidecar = pooled.sidecar.as_deref().cloned();
            return Some(join(pooled.tx.clone(), sidecar));
        }
        let (block, index) = self.place(hash)?;
        let mined = block.transactions.get(index)?;
        Some(join(mined.tx.clone(), self.sidecar(hash).cloned()))
    }
}

/// A block that is run but not yet the head. Its changes are in the state.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) block: Block,
    undo: Undo,
    carried: Vec<Carried>,
}

impl Built {
    /// Takes its changes out of the state again.
    pub(super) fn undo(self, state: &mut State) {
        state.roll_back(self.undo);
    }

    /// The event to note.
    pub(super) fn event(&self) -> Event {
        let transactions = self.block.transactions.iter().map(|mined| {
            let hash = *mined.tx.tx_hash();
            let carried = self.carried.iter().find(|carried| carried.transaction == hash);
            let mut pooled = Pooled::trusted(mined.tx.clone(), mined.sender, None);
            pooled.sidecar = carried.map(|carried| Arc::clone(&carried.sidecar));
            pooled
        });
        Event::Mined { header: self.block.header.clone(), transactions: transactions.collect() }
    }
}

/// A block in the making.
struct Building {
    header: Header,
    mined: Vec<Mined>,
    undo: Undo,
    carried: Vec<Carried>,
    /// What the state root of this L1 is the hash of.
    digest: Vec<u8>,
    gas_used: u64,
    blobs: usize,
    bloom: Bloom,
}

impl Building {
    fn new(chain: &Chain, header: Header) -> Self {
        Self {
            digest: chain.head().header.state_root.to_vec(),
            header,
            mined: Vec::new(),
            undo: Undo::new(),
            carried: Vec::new(),
            gas_used: 0,
            blobs: 0,
            bloom: Bloom::ZERO,
        }
    }

    fn room(&self) -> Room {
        Room {
            gas: self.header.gas_limit - self.gas_used,
            blobs: (BLOBS.max_blob_count as usize).saturating_sub(self.blobs),
            base_fee: self.header.base_fee_per_gas.unwrap_or_default(),
            blob_fee: BLOBS.calc_blob_fee(self.header.excess_blob_gas.unwrap_or_default()),
        }
    }

    fn run(
        &mut self,
        state: &mut State,
        blocks: &VecDeque<Block>,
        chain_id: u64,
        pooled: &Pooled,
    ) -> Result<(), ()> {
        let room = self.room();
        let count = pooled.tx.blob_versioned_hashes().map_or(0, <[B256]>::len);
        if pooled.tx.gas_limit() > room.gas || count > room.blobs {
            return Err(());
        }
        let oldest = blocks.front().map_or(0, |block| block.header.number);
        let hash_of = |number: u64| {
            let index = number.checked_sub(oldest).and_then(|index| usize::try_from(index).ok());
            index.and_then(|index| blocks.get(index)).map_or(B256::ZERO, |block| block.hash)
        };
        let view = View { state, since: Vec::new(), hash_of: &hash_of };
        let ran = evm::transact(view, &self.header, chain_id, &pooled.tx, pooled.sender)
            .map_err(|_| ())?;
        state.commit(ran.state, &mut self.undo, &mut self.digest);
        let gas_used = ran.result.tx_gas_used();
        self.gas_used += gas_used;
        self.blobs += count;
        let receipt = Receipt {
            status: ran.result.is_success().into(),
            cumulative_gas_used: self.gas_used,
            logs: ran.result.into_logs(),
        };
        let receipt = ReceiptEnvelope::from_typed(pooled.tx.tx_type(), receipt);
        self.bloom |= receipt.bloom();
        if let Some(sidecar) = &pooled.sidecar {
            self.carried.push(Carried {
                block: self.header.number,
                transaction: pooled.hash(),
                sidecar: Arc::clone(sidecar),
            });
        }
        self.mined.push(Mined { tx: pooled.tx.clone(), sender: pooled.sender, receipt, gas_used });
        Ok(())
    }

    fn finish(self) -> Built {
        let transactions: Vec<_> = self.mined.iter().map(|mined| &mined.tx).collect();
        let receipts: Vec<_> = self.mined.iter().map(|mined| &mined.receipt).collect();
        let header = Header {
            transactions_root: proofs::calculate_transaction_root(&transactions),
            receipts_root: proofs::calculate_receipt_root(&receipts),
            logs_bloom: self.bloom,
            gas_used: self.gas_used,
            blob_gas_used: Some(self.blobs as u64 * alloy_eips::eip4844::DATA_GAS_PER_BLOB),
            state_root: keccak256(&self.digest),
            ..self.header
        };
        Built { block: Block::new(header, self.mined), undo: self.undo, carried: self.carried }
    }
}

/// What is the same in all headers.
fn empty_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: U256::ZERO,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

fn extra(reorgs: u64) -> Bytes {
    [EXTRA, &reorgs.to_be_bytes()].concat().into()
}
