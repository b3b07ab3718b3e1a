//! Round trips, refusals, and the size of what is posted.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::testkit::{KINDS, Kind, TestHistory};

/// Heights with every kind of envelope, one without any, and one with a single one.
static DATA: LazyLock<BatchData> = LazyLock::new(|| {
    let history =
        TestHistory::with_heights(1, &[&KINDS, &[], &[Kind::TokenTransfer], &KINDS, &KINDS]);
    decode(&history.draft(0..5).data).unwrap()
});

#[test]
fn what_is_posted_of_every_kind_comes_back() {
    let history = TestHistory::with_heights(2, &[&KINDS, &[], &KINDS]);
    let data = decode(&history.draft(0..3).data).unwrap();
    assert_eq!((data.chain_id, data.epoch, data.first_height), (5_318_008, 0, 1));
    assert_eq!(data.heights.len(), 3);
    for (posted, height) in data.heights.iter().zip(&history.heights) {
        assert_eq!(*posted, PostedHeight::of_batch(&height.opened, height.signed.signature));
        for (item, known) in posted.items.iter().zip(height.opened.items()) {
            assert_eq!(item.opening(), known.opening);
            if let PostedItem::Opened(opened) = item {
                assert_eq!(opened.header, *known.envelope.header());
                assert_eq!(opened.payer.resolve(&opened.message), Some(known.envelope.payer()));
            }
        }
    }
    // A second batch begins with absolute values.
    let second = decode(&history.draft(1..3).data).unwrap();
    assert_eq!(second.heights[..], data.heights[1..]);
}

#[test]
fn every_kind_of_transaction_is_taken_apart_but_what_is_none() {
    let mut history = TestHistory::new(3);
    for kind in KINDS {
        let (_, opening) = history.item(kind);
        if let Opening::Opened { message, .. } = opening {
            let fields = transaction::split(&message);
            assert_eq!(fields.is_some(), kind != Kind::Raw, "{kind:?}");
            if let Some(fields) = fields {
                assert_eq!(transaction::join(&fields), Ok(message));
            }
        }
    }
}

#[test]
fn every_changed_byte_is_refused_or_means_something_else() {
    // Without compression every byte of the columns is in reach.
    let (place, sections) = write(&DATA).unwrap();
    let data = frame::pack_plain(place, &sections);
    assert_eq!(decode(&data), Ok(DATA.clone()));
    let mut accepted = 0;
    for index in 0..data.len() {
        for mask in [0x01, 0x80] {
            let mut changed = data.clone();
            changed[index] ^= mask;
            if let Ok(other) = decode(&changed) {
                assert_ne!(other, *DATA, "byte {index}");
                let (place, sections) = write(&other).unwrap();
                assert_eq!(frame::pack_plain(place, &sections), changed);
                accepted += 1;
            }
        }
    }
    assert!(accepted > data.len() / 2, "most bytes are of signatures and seeds");
}

#[test]
fn cut_and_lengthened_data_is_refused() {
    let data = encode(&DATA).unwrap();
    for length in 0..data.len() {
        assert!(decode(&data[..length]).is_err(), "{length}");
    }
    assert_eq!(decode(&[&data[..], &[0]].concat()), Err(CodecError::Trailing));
    assert_eq!(decode(&[&[2], &data[1..]].concat()), Err(CodecError::Version(2)));
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let place = frame::Place { chain_id: 1, epoch: 0, first_height: 1, heights: 1 };
    let zeros = [vec![0; 4 << 20], Vec::new(), Vec::new()];
    let bomb = frame::pack_packed(place, &zeros);
    assert!(bomb.len() < 4_096);
    assert_eq!(decode(&bomb), Err(CodecError::Bomb));
    // The encoder never writes one: what compresses too well is stored as it is.
    let honest = frame::pack(place, &[vec![0; 400_000], Vec::new(), Vec::new()]).unwrap();
    assert!(honest.len() > 400_000);
    assert_ne!(decode(&honest), Err(CodecError::Bomb));
    // A frame that lies about its length, and two frames in one section.
    let section = vec![7; 5_000];
    let frame = zstd::bulk::compress(&section, 1).unwrap();
    for (length, stored) in [
        (4_999, frame.clone()),
        (5_001, frame.clone()),
        (10_000, [&frame[..], &frame[..]].concat()),
        (5_000, [&frame[..], &[0]].concat()),
        (5_000, frame[..frame.len() - 1].to_vec()),
    ] {
        let data = frame::pack_stored(place, length, &stored);
        assert_eq!(decode(&data), Err(CodecError::Compression), "{length}");
    }
}

#[test]
fn bounds_of_heights() {
    let place = frame::Place { chain_id: 1, epoch: 0, first_height: 1, heights: 0 };
    let empty = std::array::from_fn(|_| Vec::new());
    assert_eq!(decode(&frame::pack(place, &empty).unwrap()), Err(CodecError::Heights(0)));
    let many = frame::Place { heights: MAX_HEIGHTS + 1, ..place };
    assert_eq!(
        decode(&frame::pack(many, &empty).unwrap()),
        Err(CodecError::Heights(MAX_HEIGHTS + 1))
    );
    let last = frame::Place { first_height: u64::MAX, heights: 1, ..place };
    assert_eq!(decode(&frame::pack(last, &empty).unwrap()), Err(CodecError::Range));
    let none = BatchData { heights: Vec::new(), ..DATA.clone() };
    assert_eq!(encode(&none), Err(EncodeError::Heights(0)));
}

#[test]
fn what_cannot_be_certified_cannot_be_encoded() {
    let mut other_chain = DATA.clone();
    if let PostedItem::Opened(opened) = &mut other_chain.heights[0].items[0] {
        opened.header.chain_id += 1;
    }
    assert_eq!(encode(&other_chain), Err(EncodeError::Chain(5_318_009)));
    let mut other_hash = DATA.clone();
    let cursor = other_hash.heights[0].forced_cursor;
    other_hash.heights[1].forced_cursor = cursor;
    other_hash.heights[1].forced_hash = B256::repeat_byte(9);
    assert_eq!(encode(&other_hash), Err(EncodeError::ForcedHash));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_decodes_has_one_column_stream(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (place, sections) = write(&DATA).unwrap();
        let mut data = frame::pack_plain(place, &sections);
        for (index, byte) in changes {
            let index = index.index(data.len());
            data[index] = byte;
        }
        if let Ok(batch) = decode(&data) {
            let (place, sections) = write(&batch).unwrap();
            prop_assert_eq!(frame::pack_plain(place, &sections), data);
            prop_assert_eq!(decode(&encode(&batch).unwrap()), Ok(batch));
        }
    }

    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&data);
        let _ = decode(&[&[VERSION, 1, 0, 1, 1], &data[..]].concat());
    }

    #[test]
    fn random_transactions_are_split_only_if_they_join(
        message in prop::collection::vec(any::<u8>(), 0..200),
        lead in prop::sample::select(vec![0u8, 1, 2, 3, 4, 0xc0, 0xf8]),
    ) {
        let message = [&[lead], &message[..]].concat();
        if let Some(fields) = transaction::split(&message) {
            prop_assert_eq!(transaction::join(&fields), Ok(message));
        }
    }
}

/// Bytes of data for each transaction, in a height of `count` of one kind.
fn bytes_per_transaction(kind: Kind, count: usize) -> (f64, Vec<u8>) {
    let history = TestHistory::with_heights(7, &[&vec![kind; count]]);
    let data = history.draft(0..1).data;
    (data.len() as f64 / count as f64, data)
}

/// The promise of the format: at most 215 bytes for a token transfer of an account that nobody saw before
/// to a recipient that nobody saw before, everything posted counted.
#[test]
fn a_token_transfer_takes_at_most_215_bytes() {
    println!("bytes of data per transaction, and what blobs hold of them:");
    for (kind, limit) in
        [(Kind::TokenTransfer, 215.0), (Kind::EtherTransfer, 215.0), (Kind::Swap, 260.0)]
    {
        for count in [1, 256] {
            let (bytes, data) = bytes_per_transaction(kind, count);
            let blobs = crate::blobs::count(data.len());
            println!(
                "{kind:?} × {count}: {bytes:.1} ({blobs} blob(s), {:.1} posted bytes each if full)",
                bytes * 32.0 / 31.0
            );
            assert!(count < 256 || bytes <= limit, "{kind:?}: {bytes}");
        }
    }
}
