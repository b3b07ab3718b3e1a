//! Hashes, bounds, and what a span of items can be mistaken for.

use alloy_primitives::keccak256;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Block, testkit::TestCommittee};

fn item(index: u64, kind: u8, data: Vec<u8>) -> ForcedItem {
    ForcedItem { index, kind, sender: Address::repeat_byte(kind), data: data.into() }
}

/// The layout that the contract on L1 hashes, spelled out once more on purpose.
#[test]
fn hashes_are_those_of_the_contract() {
    let item = item(258, 1, vec![1, 2, 3]);
    let packed = [
        b"BLINDFOLD-V1/forced-item/".as_slice(),
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[1],
        &[1; 20],
        keccak256([1, 2, 3]).as_slice(),
    ]
    .concat();
    assert_eq!(item.hash(), keccak256(packed));
    let packed =
        [b"BLINDFOLD-V1/forced-queue/".as_slice(), &[7; 32], item.hash().as_slice()].concat();
    assert_eq!(roll(B256::repeat_byte(7), item.hash()), keccak256(packed));
}

#[test]
fn credits_are_an_address_and_wei() {
    let data = [[9; 20].as_slice(), &U256::from(77).to_be_bytes::<32>()].concat();
    for kind in 0..6 {
        let credit = item(0, kind, data.clone()).credit();
        let expected = (2..=4).contains(&kind);
        assert_eq!(credit, expected.then_some((Address::repeat_byte(9), U256::from(77))), "{kind}");
    }
    assert_eq!(item(0, 2, data[..51].to_vec()).credit(), None);
    assert_eq!(item(0, 2, [data.as_slice(), &[0]].concat()).credit(), None);
}

#[test]
fn kinds_have_their_numbers() {
    for (code, kind) in (0..).zip(ForcedKind::ALL) {
        assert_eq!(ForcedKind::from_code(code), Some(kind));
        assert_eq!(kind as u8, code);
    }
    assert_eq!(ForcedKind::from_code(5), None);
}

#[test]
fn the_largest_items_fit_their_bounds() {
    let largest = item(u64::MAX, u8::MAX, vec![0xff; MAX_FORCED_DATA_BYTES]);
    assert!(largest.encode().len() <= MAX_FORCED_ITEM_BYTES);
    assert!(largest.size_bytes() <= MAX_FORCED_BYTES_PER_HEIGHT);
    let longer = item(0, 0, vec![0; MAX_FORCED_DATA_BYTES + 1]);
    assert!(ForcedItem::decode(&longer.encode()).is_err());
}

#[test]
fn a_height_takes_what_its_bounds_allow() {
    let params = ChainParams { block_gas_limit: 1 << 24, ..ChainParams::default() };
    let taken = |items: &[ForcedItem]| taken_at_once(items, &params);
    let deposits: Vec<_> = (0..100).map(|index| item(index, 2, vec![0; 52])).collect();
    assert_eq!(taken(&[]), 0);
    assert_eq!(taken(&deposits), MAX_FORCED_PER_HEIGHT);
    let largest: Vec<_> = (0..100).map(|i| item(i, 3, vec![0; MAX_FORCED_DATA_BYTES])).collect();
    assert_eq!(taken(&largest), MAX_FORCED_BYTES_PER_HEIGHT / MAX_FORCED_ITEM_BYTES);
    let plain: Vec<_> = (0..100).map(|index| item(index, 1, vec![2])).collect();
    assert_eq!(taken(&plain), 8, "half of the block's gas");

    // One that alone is over the share of the gas is taken, with what reserves none, and nothing after it.
    let committee = TestCommittee::new(1, 1);
    let header = crate::EnvelopeHeader { gas_limit: 1 << 24, ..committee.header(0) };
    let envelope = committee.envelope(&crate::SigningKey::random([1; 32]), header, b"m");
    let sealed = |index| item(index, 0, envelope.bytes().to_vec());
    assert_eq!(sealed(0).reserved_gas(), 1 << 24);
    assert_eq!(item(0, 0, envelope.bytes()[1..].to_vec()).reserved_gas(), 0, "no envelope");
    assert_eq!(taken(&[sealed(0), sealed(1)]), 1);
    assert_eq!(taken(&[deposits[0].clone(), sealed(1), deposits[2].clone(), sealed(3)]), 3);
    assert_eq!(taken(&[plain[0].clone(), sealed(1)]), 1);
    let few = ChainParams { max_block_count: 1, ..ChainParams::default() };
    assert_eq!(taken_at_once(&[sealed(0), sealed(1)], &few), 1);
}

/// A span is what its commitment says, or refused: whatever is left out, added, or changed.
#[test]
fn a_span_is_fixed_by_its_commitment() {
    let committee = TestCommittee::new(1, 1);
    let genesis = Block::genesis(&committee.genesis).commitment.commitment;
    let items: Vec<_> = (0..5).map(|index| item(index, index as u8, vec![index as u8])).collect();

    let (first, span) = committee.forcing(&genesis, items[..2].to_vec(), &[]);
    assert_eq!(span.check(&first), Ok(()));
    assert_eq!((first.forced_cursor, span.items().len()), (2, 2));
    assert_eq!(ForcedSpan::none().check(&first), Err(ForcedError::NoParent));
    assert_eq!(ForcedSpan::none().check(&genesis), Ok(()));
    assert_eq!(span.check(&genesis), Err(ForcedError::Unexpected));
    let hash_only = OrderCommitment { forced_hash: B256::repeat_byte(1), ..genesis.clone() };
    assert_eq!(ForcedSpan::none().check(&hash_only), Err(ForcedError::Unexpected));

    let (second, span) = committee.forcing(&first, items[2..].to_vec(), &[]);
    assert_eq!(span.check(&second), Ok(()));
    let with = |parent: &OrderCommitment, items: &[ForcedItem]| {
        ForcedSpan::after(parent, items.to_vec()).check(&second)
    };
    // Fewer or more items under the same digest: the parent's commitment gives it away.
    assert!(matches!(with(&first, &items[3..]), Err(ForcedError::Count { got: 2, .. })));
    assert!(matches!(with(&first, &items[1..]), Err(ForcedError::Count { got: 4, .. })));
    assert!(matches!(with(&first, &[]), Err(ForcedError::Count { got: 0, .. })));
    let moved = OrderCommitment { forced_cursor: 3, ..first.clone() };
    assert_eq!(with(&moved, &items[3..]), Err(ForcedError::Parent));
    assert_eq!(with(&genesis, &items), Err(ForcedError::Parent));
    let mut swapped = items.clone();
    swapped.swap(2, 3);
    assert_eq!(with(&first, &swapped[2..]), Err(ForcedError::Index { expected: 2, got: 3 }));
    let mut other = items.clone();
    other[4].data = vec![9].into();
    assert_eq!(with(&first, &other[2..]), Err(ForcedError::Hash));
    other[4] = ForcedItem { sender: Address::ZERO, ..items[4].clone() };
    assert_eq!(with(&first, &other[2..]), Err(ForcedError::Hash));

    // A height that consumes nothing after others did still says so.
    let (third, span) = committee.forcing(&second, Vec::new(), &[]);
    assert_eq!(span.check(&third), Ok(()));
    assert!(span.items().is_empty() && span.parent() == Some(&second));
    assert_eq!(ForcedSpan::none().check(&third), Err(ForcedError::NoParent));

    let many: Vec<_> = (5..60).map(|i| item(i, 2, vec![0; MAX_FORCED_DATA_BYTES])).collect();
    let (fourth, span) = committee.forcing(&third, many, &[]);
    assert!(matches!(span.check(&fourth), Err(ForcedError::TooLarge { .. })));
}

fn items() -> impl Strategy<Value = Vec<ForcedItem>> {
    let item = (any::<u64>(), any::<u8>(), any::<[u8; 20]>(), vec(any::<u8>(), 0..100)).prop_map(
        |(index, kind, sender, data)| ForcedItem {
            index,
            kind,
            sender: sender.into(),
            data: data.into(),
        },
    );
    vec(item, 0..8)
}

proptest! {
    #[test]
    fn spans_round_trip(items in items(), cursor in 0u64..3) {
        let parent = OrderCommitment { forced_cursor: cursor, ..OrderCommitment::default() };
        let span = ForcedSpan::after(&parent, items.clone());
        prop_assert_eq!(span.items(), items.as_slice());
        prop_assert_eq!(ForcedSpan::decode(&span.encode()), Ok(span.clone()));
        for item in &items {
            prop_assert_eq!(ForcedItem::decode(&item.encode()), Ok(item.clone()));
        }
    }

    /// What a height takes is a prefix, and never none of some.
    #[test]
    fn taking_makes_progress(items in items(), more in items()) {
        let params = ChainParams::default();
        let all: Vec<_> = items.iter().chain(&more).cloned().collect();
        let taken = taken_at_once(&items, &params);
        prop_assert_eq!(taken > 0, !items.is_empty());
        prop_assert!(taken_at_once(&all, &params) >= taken);
        if taken < items.len() {
            prop_assert_eq!(taken_at_once(&all, &params), taken);
        }
    }
}
