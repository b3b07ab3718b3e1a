//! Batches from end to end: posted, derived, garbled, found, proven.

mod batch;
mod contracts;
mod derive;
mod disowned;
mod evidence;
mod find;
mod mutations;
mod reveal;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use alloy_primitives::{Address, B256};
use blindfold_wire::{Certified, MerkleProof, Opening, OrderCommitment};

use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees},
    batch::{Batch, Posting},
    blobs,
    codec::{self, BatchData},
    derive::{ChainRules, Start},
    find::Executed,
    testkit::{KINDS, Kind, TestHistory},
};

/// Every kind of envelope, none, two, six, every kind.
const HEIGHTS: [&[Kind]; 5] =
    [&KINDS, &[], &[Kind::EtherTransfer, Kind::Fitting], &[Kind::TokenTransfer; 6], &KINDS];

/// The account that seals [`Kind::Fitting`], at position 1 of the third height.
const FITTING: u64 = 12;

/// Five heights. They share a sealing, so they are made once.
static HISTORY: LazyLock<TestHistory> = LazyLock::new(|| TestHistory::with_heights(11, &HEIGHTS));

/// What is certified above them: three heights, the first of them by its child.
static ABOVE: LazyLock<Vec<Certified<OrderCommitment>>> = LazyLock::new(|| {
    let mut longer = TestHistory::with_heights(11, &HEIGHTS);
    for _ in 0..3 {
        longer.push(&[]);
    }
    longer.certify_by_child(5);
    longer.heights[5..].iter().map(|height| height.opened.certified().clone()).collect()
});

/// Their state roots.
static STATES: LazyLock<BTreeMap<u64, B256>> =
    LazyLock::new(|| (1..=5).map(|height| (height, HISTORY.state_root(height))).collect());

/// All that is known of their execution.
fn executed() -> Executed<'static> {
    Executed { state_roots: &STATES, above: &ABOVE }
}

static CHAIN: LazyLock<ChainRules> = LazyLock::new(|| chain(&HISTORY));

/// The rules of a test chain.
fn chain(history: &TestHistory) -> ChainRules {
    let genesis = Arc::new(history.committee.genesis.clone());
    ChainRules::new(genesis, history.leaders.clone()).unwrap()
}

/// The poster of all test batches.
fn poster(history: &TestHistory) -> Address {
    history.committee.members[1].signer.address()
}

/// A batch as somebody posts it: header, data, leaves.
#[derive(Clone)]
struct Post {
    data: BatchData,
    heights: Vec<AccumulatorLeaf>,
    openings: Vec<OpeningLeaf>,
    last: OrderCommitment,
    header: Batch,
}

impl Post {
    /// The heights of `range`, posted as they should be, above `start`.
    fn honest(history: &TestHistory, range: std::ops::Range<usize>, start: &Start) -> Self {
        let draft = history.draft(range);
        let header = draft.header(&Posting {
            index: 7,
            parent: start.batch,
            state_root: B256::repeat_byte(0x57),
            data_hash: blobs::calldata_hash(&draft.data),
            poster: poster(history),
            l1_block: 100,
            posted_at: 1_700_000_123,
        });
        Self {
            data: codec::decode(&draft.data).unwrap(),
            heights: draft.trees.heights().to_vec(),
            openings: draft.trees.openings().to_vec(),
            last: draft.last,
            header,
        }
    }

    /// All of [`HISTORY`], posted as it should be.
    fn all() -> Self {
        Self::honest(&HISTORY, 0..HISTORY.heights.len(), &start())
    }

    fn trees(&self) -> Trees {
        Trees::from_leaves(self.heights.clone(), self.openings.clone())
    }

    /// Makes the header say what the leaves say.
    fn seal(mut self) -> Self {
        let trees = self.trees();
        self.header.accumulator_root = trees.accumulator_root();
        self.header.opening_root = trees.opening_root();
        self.header.opening_count = trees.opening_count();
        self.header.data_hash = blobs::calldata_hash(&self.bytes());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        codec::encode(&self.data).unwrap()
    }

    fn last_leaf(&self) -> (AccumulatorLeaf, MerkleProof) {
        self.trees().prove_height(self.heights.len() as u32 - 1).unwrap()
    }

    /// Index of an opening.
    fn index(&self, height: usize, position: usize) -> usize {
        HISTORY.heights[..height].iter().map(|h| h.opened.items().len()).sum::<usize>() + position
    }

    /// Moves the offsets of the heights above `height`.
    fn shift(&mut self, height: usize, by: i32) {
        for leaf in &mut self.heights[height + 1..] {
            leaf.offset = leaf.offset.checked_add_signed(by).unwrap();
        }
    }

    /// Writes another opening into data and leaf; the leaf's id stays.
    fn open_as(&mut self, height: usize, position: usize, opening: &Opening) {
        let index = self.index(height, position);
        self.openings[index].opening_hash = blindfold_wire::opening_hash(opening);
        let envelope = &HISTORY.heights[height].opened.items()[position].envelope;
        let item = codec::PostedItem::new(envelope, opening);
        self.data.heights[height].items[position] = item;
    }
}

/// Where the test batch begins.
fn start() -> Start {
    Start::of_chain(&HISTORY.committee.genesis)
}
