//! Updates, what is due, and what has settled.

use super::*;
use blindfold_wire::Address;
use proptest::prelude::*;

fn item(index: u64, block: u64) -> QueuedItem {
    let item = ForcedItem {
        index,
        kind: 2,
        sender: Address::repeat_byte(1),
        data: index.to_be_bytes().to_vec().into(),
    };
    QueuedItem { item, block }
}

fn update(blocks: std::ops::RangeInclusive<u64>, items: &[(u64, u64)]) -> L1Update {
    L1Update {
        blocks: blocks.map(|number| L1Block { number, base_fee: number * 10 }).collect(),
        items: items.iter().map(|(index, block)| item(*index, *block)).collect(),
    }
}

fn params(forced_delay_blocks: u64) -> ChainParams {
    ChainParams { forced_delay_blocks, ..ChainParams::default() }
}

#[test]
fn updates_follow_each_other() {
    let mut view = L1View::new();
    assert_eq!((view.finalized(), view.settled(0), view.next_index()), (None, None, 0));
    view.update(&L1Update::default(), 0).unwrap();
    assert_eq!(view.version(), 0, "nothing came");
    view.update(&update(7..=9, &[(0, 7), (1, 9), (2, 9)]), 0).unwrap();
    assert_eq!(view.finalized(), Some(L1Block { number: 9, base_fee: 90 }));
    assert_eq!((view.base_fee(8), view.base_fee(6), view.next_index()), (Some(80), None, 3));
    view.update(&update(10..=10, &[]), 0).unwrap();
    assert_eq!(view.version(), 2);

    let before = view.clone();
    for (wrong, error) in [
        (update(10..=11, &[]), L1Error::BlockGap { known: 10, got: 10 }),
        (update(12..=12, &[]), L1Error::BlockGap { known: 10, got: 12 }),
        (update(11..=11, &[(4, 11)]), L1Error::ItemGap { expected: 3, got: 4 }),
        (update(11..=11, &[(2, 11)]), L1Error::ItemGap { expected: 3, got: 2 }),
        (update(11..=11, &[(3, 10)]), L1Error::ItemBlock { index: 3, block: 10 }),
        (update(11..=12, &[(3, 12), (4, 11)]), L1Error::ItemBlock { index: 4, block: 11 }),
        (update(11..=11, &[(3, 12)]), L1Error::ItemBlock { index: 3, block: 12 }),
        (
            L1Update { blocks: vec![], ..update(11..=11, &[(3, 11)]) },
            L1Error::ItemBlock { index: 3, block: 11 },
        ),
    ] {
        assert_eq!(view.update(&wrong, 0), Err(error));
        assert_eq!(view, before, "a refused update leaves no trace");
    }
    let mut long = update(11..=11, &[(3, 11)]);
    long.items[0].item.data = vec![0; MAX_FORCED_DATA_BYTES + 1].into();
    let bytes = MAX_FORCED_DATA_BYTES + 1;
    assert_eq!(view.update(&long, 0), Err(L1Error::ItemTooLong { index: 3, bytes }));
    let many: Vec<_> = (3..=MAX_QUEUED_ITEMS as u64).map(|index| (index, 11)).collect();
    assert_eq!(view.update(&update(11..=11, &many), 0), Err(L1Error::Full));
    view.forget_consumed(1);
    view.update(&update(11..=11, &many), 0).unwrap();
}

#[test]
fn what_is_due_depends_on_the_named_block_alone() {
    let mut view = L1View::new();
    view.update(&update(1..=40, &[(0, 3), (1, 5), (2, 5), (3, 30)]), 0).unwrap();
    let due = |cursor, block| {
        let due = view.due(cursor, block, &params(10))?;
        Some(due.iter().map(|item| item.index).collect::<Vec<_>>())
    };
    assert_eq!(due(0, 12), Some(vec![]));
    assert_eq!(due(0, 13), Some(vec![0]));
    assert_eq!(due(0, 15), Some(vec![0, 1, 2]));
    assert_eq!(due(1, 15), Some(vec![1, 2]));
    assert_eq!(due(3, 15), Some(vec![]));
    assert_eq!(due(0, 40), Some(vec![0, 1, 2, 3]));
    assert_eq!(due(4, 40), Some(vec![]));
    assert_eq!(due(5, 40), None, "the queue is not known that far");
}

#[test]
fn hashes_roll_on_over_what_is_forgotten() {
    let mut view = L1View::new();
    view.update(&update(1..=9, &[(0, 1), (1, 2), (2, 3)]), 0).unwrap();
    let hashes: Vec<_> = (0..=3).map(|cursor| view.hash_at(cursor).unwrap()).collect();
    assert_eq!(hashes[0], B256::ZERO);
    assert_eq!(hashes[2], roll(hashes[1], item(1, 2).item.hash()));
    view.forget_consumed(2);
    assert_eq!((view.hash_at(1), view.hash_at(2)), (None, Some(hashes[2])));
    assert_eq!((view.first_index(), view.next_index()), (2, 3));
    assert_eq!((view.item(1), view.item(2)), (None, Some(&item(2, 3))));
    assert_eq!(view.due(1, 100, &params(1)), None);
    view.forget_consumed(9);
    assert_eq!((view.first_index(), view.hash_at(3)), (3, Some(hashes[3])));

    // The same view from what a node stored; and one that is damaged.
    let blocks: Vec<_> = (4..=9).map(|number| L1Block { number, base_fee: 1 }).collect();
    let items = [item(2, 3)];
    let restored = L1View::restored((2, hashes[2]), &blocks, &items).unwrap();
    assert_eq!(restored.hash_at(3), Some(hashes[3]));
    assert_eq!(restored.settled(0), restored.finalized(), "all of it has settled");
    let mut going_on = restored.clone();
    going_on.update(&update(10..=10, &[]), 5_000).unwrap();
    assert_eq!(going_on.settled(5_000), restored.finalized(), "and stays so");
    assert_eq!(going_on.settled(7_000), going_on.finalized());
    assert!(L1View::restored((1, hashes[1]), &blocks, &items).is_err());
    assert!(L1View::restored((2, hashes[2]), &[blocks[0], blocks[2]], &items).is_err());
}

#[test]
fn a_block_settles_before_it_is_named() {
    let mut view = L1View::new();
    view.update(&update(1..=5, &[]), 10_000).unwrap();
    let settled = |view: &L1View, now_ms| view.settled(now_ms).map(|block| block.number);
    assert_eq!(settled(&view, 11_999), None);
    assert_eq!(settled(&view, 12_000), Some(5));
    view.update(&update(6..=6, &[]), 11_000).unwrap();
    assert_eq!(settled(&view, 12_000), Some(5));
    assert_eq!(settled(&view, 13_000), Some(6));
}

proptest! {
    /// However fast blocks come: the named one is never younger than it must be, and never much older.
    #[test]
    fn blocks_settle_at_any_pace(gaps in proptest::collection::vec(0u64..300, 1..400)) {
        let (mut view, mut now_ms) = (L1View::new(), 0);
        let mut came = Vec::new();
        for (number, gap) in (1..).zip(&gaps) {
            now_ms += gap;
            view.update(&update(number..=number, &[]), now_ms).unwrap();
            came.push((number, now_ms));
            let at = |back| came.iter().rev().find(|(_, at)| at + back <= now_ms).map(|(number, _)| *number);
            let settled = view.settled(now_ms).map(|block| block.number);
            prop_assert!(settled <= at(L1_SETTLE_MS));
            prop_assert!(settled >= at(L1_SETTLE_MS + 2 * GRAIN_MS + 300));
        }
        let settled = view.settled(now_ms + L1_SETTLE_MS).map(|block| block.number);
        prop_assert_eq!(settled, Some(gaps.len() as u64));
    }
}

#[test]
fn old_base_fees_are_forgotten() {
    let mut view = L1View::new();
    let last = KEPT_L1_BLOCKS as u64 + 5;
    view.update(&update(1..=last, &[]), 0).unwrap();
    assert_eq!((view.base_fee(5), view.base_fee(6)), (None, Some(60)));
}
