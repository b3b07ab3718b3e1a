//! A batch of token transfers on its way to L1 and back: encoded, decoded, and derived, beside zstd alone on the same
//! columns.
//!
//! CPU time of the thread. Every account, recipient and amount is new, as in the figures of the format.

use std::{
    hint::black_box,
    sync::{Arc, LazyLock},
};

use blindfold_bench::{
    clock::{ThreadTime, criterion as settings, measure},
    limits::TRANSFER_BYTES,
};
use blindfold_crypto::padded_len;
use blindfold_settlement::{
    Batch, BatchData, ChainRules, PostedItem, Posting, Start, codec,
    derive::{InboxChecked, derive},
    testkit::{Kind, TestHistory},
};
use criterion::{Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;

/// That of the node.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Heights of the batch.
const HEIGHTS: usize = 256;
/// Transfers of each.
const TRANSFERS: usize = 8;

/// A batch as its poster has it, and as it is on L1.
struct World {
    chain: ChainRules,
    start: Start,
    header: Batch,
    batch: BatchData,
    data: Vec<u8>,
    columns: Vec<Vec<u8>>,
    compressed: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let history = TestHistory::with_heights(3, &[&[Kind::TokenTransfer; TRANSFERS][..]; HEIGHTS]);
    let genesis = Arc::new(history.committee.genesis.clone());
    let start = Start::of_chain(&genesis);
    let chain = ChainRules::new(genesis, history.leaders.clone()).expect("a valid document");
    let draft = history.draft(0..HEIGHTS);
    let header = draft.header(&Posting { index: 1, parent: start.batch, ..Posting::default() });
    let batch = codec::decode(&draft.data).expect("just encoded");
    let padded = |item: &PostedItem| match item {
        PostedItem::Opened(opened) => padded_len(opened.message.len()),
        PostedItem::Undecryptable { .. } => None,
    };
    let mut items = batch.heights.iter().flat_map(|height| &height.items);
    let same = items.all(|item| padded(item) == padded_len(TRANSFER_BYTES));
    assert!(same, "the limit is one for other messages");
    let columns = codec::sections(&batch).expect("just decoded").to_vec();
    let compressed = columns.iter().map(|columns| compress(columns)).collect();
    World { chain, start, header, batch, data: draft.data, columns, compressed }
});

fn compress(columns: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(columns, codec::ZSTD_LEVEL).expect("in memory")
}

fn all(criterion: &mut Criterion<ThreadTime>) {
    let items = HEIGHTS * TRANSFERS;
    let id = |operation: &str| format!("{operation}/heights={HEIGHTS}");
    measure(criterion, &id("settle::encode"), items, || {
        let world = &*WORLD;
        move || codec::encode(black_box(&world.batch)).expect("within its bounds")
    });
    measure(criterion, &id("settle::decode"), items, || {
        let world = &*WORLD;
        move || codec::decode(black_box(&world.data)).expect("just encoded")
    });
    measure(criterion, &id("settle::derive"), items, || {
        let world = &*WORLD;
        move || {
            let data = black_box(&world.data);
            derive(&world.chain, &world.start, &world.header, data, &InboxChecked, 1)
                .expect("honest")
        }
    });
    measure(criterion, &id("baseline::zstd_encode"), items, || {
        let world = &*WORLD;
        move || black_box(&world.columns).iter().map(|it| compress(it).len()).sum::<usize>()
    });
    measure(criterion, &id("baseline::zstd_decode"), items, || {
        let world = &*WORLD;
        move || {
            let sections = black_box(&world.compressed).iter().zip(&world.columns);
            let section = |(packed, columns): (&Vec<u8>, &Vec<u8>)| {
                zstd::bulk::decompress(packed, columns.len()).expect("just compressed").len()
            };
            sections.map(section).sum::<usize>()
        }
    });
}

criterion_group! {
    name = cpu;
    config = settings(ThreadTime::new());
    targets = all
}

criterion_main!(cpu);
