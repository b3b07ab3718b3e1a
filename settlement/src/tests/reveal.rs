//! Answers to challenges: what the inbox compares is right in all of them, and nothing else is answered.

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::{SolCall as _, SolValue as _};
use blindfold_wire::{MerkleProof, Opening, OrderCommitment};

use super::{HISTORY, Post};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf, Trees},
    batch::Batch,
    bindings::BatchInbox,
    reveal::{Answer, Asked, COMMITMENT, RevealError, ShownHeight, Shows, answer},
};

const KEY_EPOCH: u64 = 4;

fn shown(index: usize) -> ShownHeight {
    let height = &HISTORY.heights[index];
    let items = height.opened.items().iter();
    ShownHeight {
        signed: height.signed.clone(),
        items: items.map(|item| (item.envelope.envelope().clone(), item.opening.clone())).collect(),
    }
}

fn asked(height: u64, position: u32) -> Asked {
    Asked { batch: 7, height, position }
}

/// The leaf is the batch's, as the inbox checks it.
fn check_leaf(
    batch: &Batch,
    leaf: &BatchInbox::AccumulatorLeaf,
    proof: &BatchInbox::MerkleProof,
) -> AccumulatorLeaf {
    let leaf = AccumulatorLeaf {
        height: leaf.height,
        digest: leaf.digest,
        order_root: leaf.orderRoot,
        offset: leaf.offset,
        signature_hash: leaf.signatureHash,
    };
    let proof = MerkleProof::from(proof);
    assert_eq!(u64::from(proof.index), leaf.height - batch.first_height);
    assert!(proof.verify(batch.accumulator_root, leaf.hash()));
    leaf
}

/// What the inbox checks of an answer, but for the envelope's proof, which the contract's own tests have.
fn check(post: &Post, asked: &Asked, answer: &Answer) {
    let batch = &post.header;
    match answer.shows {
        Shows::Commitment => {
            let call = BatchInbox::revealCommitmentCall::abi_decode(&answer.call).unwrap();
            assert_eq!(keccak256(call.b.abi_encode()), batch.hash());
            let leaf = check_leaf(batch, &call.leaf, &call.proof);
            let commitment = OrderCommitment::from(&call.commitment);
            assert_eq!((leaf.height, call.position), (asked.height, asked.position));
            assert!(call.position >= commitment.count);
            assert_eq!(commitment.digest(), leaf.digest);
            let signature =
                [call.signature.r.as_slice(), call.signature.s.as_slice(), &[call.signature.v]]
                    .concat();
            assert_eq!(keccak256(signature), leaf.signature_hash);
        }
        Shows::Opening => {
            let call = BatchInbox::revealOpeningCall::abi_decode(&answer.call).unwrap();
            assert_eq!(keccak256(call.b.abi_encode()), batch.hash());
            let leaf = check_leaf(batch, &call.leaf, &call.leafProof);
            assert_eq!((leaf.height, call.position), (asked.height, asked.position));
            let opening = match call.opening.kind {
                0 => Opening::Opened {
                    seed: call.opening.seed.0,
                    message: call.opening.message.to_vec(),
                },
                _ => Opening::Undecryptable {
                    secret: call.opening.secret.as_ref().try_into().unwrap(),
                },
            };
            let id = keccak256(&call.envelope.preimage);
            let proof = MerkleProof::from(&call.openingProof);
            assert_eq!(proof.index, leaf.offset + call.position);
            let posted = OpeningLeaf::of(asked.height, asked.position, id, &opening);
            assert!(proof.verify(batch.opening_root, posted.hash()));
            assert_eq!(call.envelope.keyEpoch, KEY_EPOCH);
        }
    }
}

/// Every position of every height, those beyond the last one, and the commitments.
#[test]
fn whatever_is_asked_for_is_answered() {
    let post = Post::all();
    let (mut commitments, mut openings) = (0, 0);
    for index in 0..HISTORY.heights.len() {
        let shown = shown(index);
        let count = shown.signed.commitment.count;
        for position in (0..count + 2).chain([COMMITMENT]) {
            let asked = asked(shown.signed.commitment.height, position);
            let answer = answer(&post.header, &asked, &post.trees(), &shown, KEY_EPOCH).unwrap();
            check(&post, &asked, &answer);
            match answer.shows {
                Shows::Commitment => commitments += 1,
                Shows::Opening => openings += 1,
            }
        }
    }
    assert_eq!((commitments, openings), (15, post.header.opening_count));
}

#[test]
fn what_is_not_the_batchs_is_not_answered() {
    let post = Post::all();
    let refused = |asked: &Asked, trees: &Trees, shown: &ShownHeight, batch: &Batch| {
        answer(batch, asked, trees, shown, KEY_EPOCH).unwrap_err()
    };
    let (trees, first) = (post.trees(), shown(0));
    let nowhere = |batch, height| RevealError::NotInBatch { batch, height };
    let other = Asked { batch: 8, ..asked(1, 0) };
    assert_eq!(refused(&other, &trees, &first, &post.header), nowhere(8, 1));
    for height in [0, 6, u64::MAX] {
        let asked = asked(height, 0);
        assert_eq!(refused(&asked, &trees, &first, &post.header), nowhere(7, height));
    }
    assert_eq!(refused(&asked(2, 0), &trees, &first, &post.header), nowhere(7, 2), "another shown");

    // Another signature of the same leader, another root, leaves that are not there, another opening.
    let mut resigned = shown(0);
    resigned.signed.signature.y_parity ^= true;
    let mut header = post.header.clone();
    header.opening_root = B256::ZERO;
    let mut header_2 = post.header.clone();
    header_2.accumulator_root = B256::ZERO;
    let mut short = shown(0);
    short.items.pop();
    let last = first.signed.commitment.count - 1;
    let mut garbled = shown(0);
    garbled.items[0].1 = Opening::Undecryptable { secret: [7; 48] };
    for (name, asked, trees, shown, batch) in [
        ("signature", asked(1, 0), &trees, &resigned, &post.header),
        ("openings", asked(1, 0), &trees, &first, &header),
        ("accumulator", asked(1, COMMITMENT), &trees, &first, &header_2),
        ("no trees", asked(1, COMMITMENT), &Trees::new(), &first, &post.header),
        ("an opening is missing", asked(1, last), &trees, &short, &post.header),
        ("another opening", asked(1, 0), &trees, &garbled, &post.header),
    ] {
        assert_eq!(refused(&asked, trees, shown, batch), RevealError::OtherRoots, "{name}");
    }
}
