//! Heights from L1 bytes alone.

use alloy_primitives::B256;
use proptest::prelude::*;

use super::{CHAIN, HISTORY, Post, chain, start};
use crate::{
    codec::{Payer, PostedItem},
    derive::{DerivedHeight, FaultKind, ForcedHashes, InboxChecked, Place, Start, derive},
    evidence::OffenceKind,
    find::{Executed, FindError, Posted, Revealed, find},
    testkit::{KINDS, Kind, TestHistory},
};

fn check(history: &TestHistory, from: usize, derived: &[DerivedHeight]) {
    for (derived, known) in derived.iter().zip(&history.heights[from..]) {
        assert_eq!(derived.signed, known.signed);
        assert_eq!(derived.digest, known.opened.certified().digest());
        assert_eq!(derived.items.len(), known.opened.items().len());
        for (item, known) in derived.items.iter().zip(known.opened.items()) {
            assert_eq!(item.bytes, *known.envelope.bytes());
            assert_eq!(item.id, known.envelope.id());
            assert_eq!(item.payer, known.envelope.payer());
            assert_eq!(item.opening, known.opening);
        }
    }
}

#[test]
fn every_envelope_is_rebuilt_byte_for_byte_from_l1_data_alone() {
    let post = Post::all();
    let one = derive(&CHAIN, &start(), &post.header, &post.bytes(), &InboxChecked, 1).unwrap();
    check(&HISTORY, 0, &one);
    for threads in [0, 2, 3, 64, 1_000] {
        let many = derive(&CHAIN, &start(), &post.header, &post.bytes(), &InboxChecked, threads);
        assert_eq!(many.as_ref(), Ok(&one), "{threads} threads");
    }
}

#[test]
fn batches_follow_each_other() {
    let mut at = start();
    for range in [0..1, 1..2, 2..4, 4..5] {
        let post = Post::honest(&HISTORY, range.clone(), &at);
        let derived = derive(&CHAIN, &at, &post.header, &post.bytes(), &InboxChecked, 1).unwrap();
        check(&HISTORY, range.start, &derived);
        at = at.after(&post.header);
        // Forced items that were posted past the committee leave the height where it is.
        let mut past = post.header.clone();
        past.parent = post.header.hash();
        past.first_height = post.header.last_height + 1;
        past.last_commitment = B256::ZERO;
        assert_eq!(derive(&CHAIN, &at, &past, &[], &InboxChecked, 1), Ok(Vec::new()));
        let revealed = Revealed::default();
        let posted = Posted {
            header: &past,
            previous: Some(&post.header),
            data: None,
            revealed: &revealed,
            executed: Executed::UNKNOWN,
        };
        assert_eq!(find(&CHAIN, &at, &posted, &[]), Ok(Vec::new()));
        assert_eq!(find(&CHAIN, &at, &posted, &HISTORY.heights[..1]), Err(FindError::History));
        let elsewhere = [
            ("parent", Start { batch: B256::ZERO, ..at }),
            ("first height", Start { first_height: at.first_height + 1, ..at }),
        ];
        for (name, place) in elsewhere {
            let fault = derive(&CHAIN, &place, &past, &[], &InboxChecked, 1).unwrap_err();
            assert_eq!((fault.place, fault.kind), (Place::Batch, FaultKind::Header(name)));
        }
        assert_eq!(at.after(&past), Start { batch: past.hash(), ..at });
        at = at.after(&past);
    }
}

#[test]
fn data_of_another_place_is_refused() {
    let post = Post::all();
    let data = post.bytes();
    let fault =
        |start: &Start, header| derive(&CHAIN, start, header, &data, &InboxChecked, 1).unwrap_err();
    let mut header = post.header.clone();
    header.epoch += 1;
    assert_eq!(fault(&start(), &header).kind, FaultKind::Header("epoch"));
    let mut header = post.header.clone();
    header.last_height += 1;
    assert_eq!(fault(&start(), &header).kind, FaultKind::Header("number of heights"));
    let mut header = post.header.clone();
    header.parent = B256::ZERO;
    assert_eq!(fault(&start(), &header).kind, FaultKind::Header("parent"));
    let later = Start { first_height: 2, ..start() };
    assert_eq!(fault(&later, &post.header).kind, FaultKind::Header("first height"));
    // Above another commitment the leader's signature does not fit.
    let elsewhere = Start { digest: B256::ZERO, ..start() };
    let fault = fault(&elsewhere, &post.header);
    assert_eq!(fault.place, Place::Height(1));
    assert!(matches!(fault.kind, FaultKind::Leader { .. }));
}

#[test]
fn every_posted_field_of_an_opening_is_checked() {
    let change = |change: &dyn Fn(&mut crate::codec::PostedOpening)| {
        let mut post = Post::all();
        if let PostedItem::Opened(opened) = &mut post.data.heights[3].items[2] {
            change(opened);
        }
        derive(&CHAIN, &start(), &post.header, &post.bytes(), &InboxChecked, 1).unwrap_err()
    };
    type Change = dyn Fn(&mut crate::codec::PostedOpening);
    let payer: &[(&str, &Change)] = &[
        ("seed", &|o| o.seed[31] ^= 1),
        ("nonce", &|o| o.header.payer_nonce += 1),
        ("fee", &|o| o.header.max_fee_per_gas += 1),
        ("tip", &|o| o.header.max_priority_fee_per_gas -= 1),
        ("expiry", &|o| o.header.expiry_height += 1),
        ("class", &|o| o.header.gas_limit *= 2),
        ("r", &|o| o.signature.r[0] ^= 1),
        ("s", &|o| o.signature.s[31] ^= 1),
        ("parity", &|o| o.signature.y_parity ^= true),
        ("payer", &|o| o.payer = Payer::Other(alloy_primitives::Address::repeat_byte(1))),
        ("message", &|o| {
            let mut message = o.message.to_vec();
            message[60] ^= 1;
            o.message = message.into();
        }),
    ];
    for (name, with) in payer {
        let fault = change(with);
        assert_eq!(fault.place, Place::Position(4, 2), "{name}");
        assert!(matches!(fault.kind, FaultKind::Payer { .. } | FaultKind::NoSigner), "{name}");
        assert_eq!(fault.kind.suspected(), OffenceKind::Reordering);
    }
    let rules: &[(&str, &Change)] = &[
        ("class", &|o| o.header.gas_limit += 1),
        ("fees", &|o| o.header.max_priority_fee_per_gas = u128::MAX),
        ("key", &|o| o.header.key_id.0[0] ^= 1),
    ];
    for (name, with) in rules {
        let fault = change(with);
        assert_eq!(fault.place, Place::Position(4, 2), "{name}");
        assert!(matches!(fault.kind, FaultKind::Envelope(_)), "{name}: {fault}");
    }
    let fault = change(&|o| o.message = vec![1, 2, 3].into());
    assert_eq!(fault.kind, FaultKind::NoSigner);
}

#[test]
fn the_first_height_that_is_wrong_is_named() {
    for index in 0..5 {
        let mut post = Post::all();
        post.data.heights[index].timestamp_ms += 1;
        let fault = derive(&CHAIN, &start(), &post.header, &post.bytes(), &InboxChecked, 1);
        let fault = fault.unwrap_err();
        assert_eq!(fault.place, Place::Height(index as u64 + 1));
        assert!(matches!(fault.kind, FaultKind::Leader { .. }));
        assert_eq!(fault.kind.suspected(), OffenceKind::ForgedCommitment);
    }
}

#[test]
fn the_header_is_compared_with_what_was_derived() {
    type Change = dyn Fn(&mut crate::Batch);
    let changes: &[(&str, &Change)] = &[
        ("forced head", &|h| h.forced_head += 1),
        ("number of openings", &|h| h.opening_count += 1),
        ("opening root", &|h| h.opening_root = B256::ZERO),
        ("accumulator root", &|h| h.accumulator_root = B256::ZERO),
    ];
    let post = Post::all();
    for (name, with) in changes {
        let mut header = post.header.clone();
        with(&mut header);
        let fault = derive(&CHAIN, &start(), &header, &post.bytes(), &InboxChecked, 1);
        assert_eq!(fault.unwrap_err().kind, FaultKind::Root(name));
    }
    let mut header = post.header.clone();
    header.last_commitment = B256::ZERO;
    let fault = derive(&CHAIN, &start(), &header, &post.bytes(), &InboxChecked, 1).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::LastCommitment { .. }));
}

struct Queue(Vec<B256>);

impl ForcedHashes for Queue {
    fn hash_at(&self, count: u64) -> Option<B256> {
        self.0.get(usize::try_from(count).ok()?).copied()
    }
}

#[test]
fn the_forced_hash_is_that_of_the_queue_on_l1() {
    let post = Post::all();
    let mut queue = vec![B256::ZERO];
    for height in &HISTORY.heights {
        let commitment = height.opened.commitment();
        if commitment.forced_cursor as usize == queue.len() {
            queue.push(commitment.forced_hash);
        }
    }
    assert!(queue.len() > 1, "something was forced");
    let right = Queue(queue.clone());
    assert!(derive(&CHAIN, &start(), &post.header, &post.bytes(), &right, 1).is_ok());
    queue[1] = B256::repeat_byte(1);
    let wrong = Queue(queue);
    let fault = derive(&CHAIN, &start(), &post.header, &post.bytes(), &wrong, 1).unwrap_err();
    assert_eq!(fault.kind, FaultKind::ForcedHash);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 8, ..ProptestConfig::default() })]

    /// Whatever was certified is posted, derived to the byte, and nothing is found in it; heights without
    /// envelopes, undecryptable ones, batches of one height, heights that only their child certifies, and
    /// other valid signatures of the same leader included.
    #[test]
    fn honest_histories_come_back_and_yield_nothing(
        seed in any::<u64>(),
        shape in prop::collection::vec(
            prop::collection::vec(prop::sample::select([&KINDS[..], &[Kind::Fitting]].concat()), 0..4),
            1..5,
        ),
        cuts in prop::collection::vec(1usize..4, 4),
    ) {
        let shape: Vec<&[Kind]> = shape.iter().map(Vec::as_slice).collect();
        let mut history = TestHistory::with_heights(seed, &shape);
        for index in 0..history.heights.len() - 1 {
            if history.random("by child", index as u64, 2) == 0 {
                history.certify_by_child(index);
            }
        }
        let rules = chain(&history);
        let mut at = Start::of_chain(&history.committee.genesis);
        let mut previous = None;
        let mut from = 0;
        for cut in cuts {
            let to = (from + cut).min(history.heights.len());
            if from == to {
                break;
            }
            // A batch ends at a height with a certificate of its own.
            let Some(end) = (from..to)
                .rev()
                .find(|i| history.heights[*i].opened.certified().certificate().is_some())
            else {
                break;
            };
            let range = from..end + 1;
            let post = Post::honest(&history, range.clone(), &at);
            let data = post.bytes();
            let derived = derive(&rules, &at, &post.header, &data, &InboxChecked, 2);
            check(&history, from, &derived.unwrap());
            let revealed = Revealed::default();
            let states = history.heights.iter().map(|known| known.opened.height());
            let states = states.map(|height| (height, history.state_root(height))).collect();
            let above: Vec<_> = history.heights[end + 1..]
                .iter()
                .map(|known| known.opened.certified().clone())
                .collect();
            let posted = Posted {
                header: &post.header,
                previous: previous.as_ref(),
                data: Some(&data),
                revealed: &revealed,
                executed: Executed { state_roots: &states, above: &above },
            };
            prop_assert_eq!(find(&rules, &at, &posted, &history.heights[range]), Ok(Vec::new()));
            at = at.after(&post.header);
            previous = Some(post.header);
            from = end + 1;
        }
    }
}
