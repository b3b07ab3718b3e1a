//! Every mutation is refused by L1 or found, and names the poster and nobody else.

use std::collections::BTreeSet;

use super::{
    CHAIN, HISTORY, Post, executed,
    mutations::{self, Outcome},
    poster, start,
};
use crate::{
    accumulator::OpeningLeaf,
    batch::Batch,
    codec::PostedItem,
    evidence::{BatchLeaf, Offence, OffenceKind},
    find::{Executed, FindError, Finding, MAX_PROVEN, Posted, Revealed, check_rules, find},
    testkit::{Kind, TestHistory},
};

fn findings(post: &Post, data: Option<&[u8]>, revealed: &Revealed) -> Vec<Finding> {
    findings_by(post, data, revealed, executed())
}

fn findings_by(
    post: &Post,
    data: Option<&[u8]>,
    revealed: &Revealed,
    executed: Executed<'_>,
) -> Vec<Finding> {
    let posted = Posted { header: &post.header, previous: None, data, revealed, executed };
    find(&CHAIN, &start(), &posted, &HISTORY.heights).unwrap()
}

/// The kinds that are proven, each checked: true, and against the poster.
fn proven(post: &Post, findings: &[Finding]) -> BTreeSet<OffenceKind> {
    let batches = vec![post.header.clone()];
    let mut kinds = BTreeSet::new();
    for finding in findings {
        if let Finding::Proven(offence) = finding {
            let culprit = offence.verify(&CHAIN, &batches).unwrap();
            assert_eq!(culprit.signer, poster(&HISTORY));
            assert_eq!(Offence::decode(&offence.encode()).as_ref(), Ok(offence));
            assert!(!offence.to_call(&CHAIN).unwrap().is_empty());
            kinds.insert(culprit.kind);
        }
    }
    kinds
}

#[test]
fn every_single_mutation_is_refused_or_found() {
    let mut seen = BTreeSet::new();
    for mutation in mutations::all() {
        let (name, post) = (mutation.name, &mutation.post);
        let (leaf, proof) = post.last_leaf();
        let refused = check_rules(&start(), &post.header, &post.last, &leaf, &proof).err();
        if let Outcome::Refused(rule) = &mutation.outcome {
            assert_eq!(refused.as_ref(), Some(rule), "{name}");
            continue;
        }
        assert_eq!(refused, None, "{name}");
        let findings = findings(post, mutation.data.as_deref(), &Revealed::default());
        let kinds = proven(post, &findings);
        match &mutation.outcome {
            Outcome::Proven(kind) => assert!(kinds.contains(kind), "{name}: {findings:?}"),
            Outcome::Asked(height, position) => {
                assert!(kinds.is_empty(), "{name}: {kinds:?}");
                let [Finding::Ask { challenge, .. }] = &findings[..] else {
                    panic!("{name}: {findings:?}")
                };
                assert_eq!((challenge.height, challenge.position), (*height, *position), "{name}");
                assert!(!challenge.to_call().is_empty() && !challenge.to_fail_call().is_empty());
            }
            Outcome::Disowned(height, position) => {
                let [Finding::Proven(Offence::DisownedOpening(e))] = &findings[..] else {
                    panic!("{name}: {findings:?}")
                };
                assert_eq!((e.posted.height, e.posted.position), (*height, *position), "{name}");
                // Who has not executed the heights knows where to look, and when.
                let data = mutation.data.as_deref();
                let blind = findings_by(post, data, &Revealed::default(), Executed::UNKNOWN);
                let (height, position, certified_at) = (*height, *position, height + 2);
                assert_eq!(blind, [Finding::Unproven { height, position, certified_at }], "{name}");
            }
            Outcome::Refused(_) => {}
        }
        seen.extend(kinds);
    }
    let posters = [
        OffenceKind::Reordering,
        OffenceKind::BrokenChain,
        OffenceKind::ForgedCommitment,
        OffenceKind::WrongOpening,
    ];
    assert_eq!(seen, BTreeSet::from(posters), "every kind that a poster can be accused of");
}

/// What was asked for and revealed proves what nobody could guess.
#[test]
fn revealed_leaves_prove_what_the_data_hides() {
    let reveal = |post: &Post, index: u32, signature| {
        let (leaf, proof) = post.trees().prove_height(index).unwrap();
        (index, (BatchLeaf { leaf, proof }, signature))
    };
    let honest = |index: usize| HISTORY.heights[index].signed.signature;

    let mut post = Post::all();
    post.heights[2].offset += 1;
    let post = post.seal();
    let data = post.bytes();
    let mut revealed = Revealed::default();
    revealed.heights.extend([reveal(&post, 1, honest(1)), reveal(&post, 2, honest(2))]);
    let kinds = proven(&post, &findings(&post, Some(&data), &revealed));
    assert!(kinds.contains(&OffenceKind::BrokenChain));

    let mut post = Post::all();
    post.heights[1].digest = alloy_primitives::B256::repeat_byte(8);
    let post = post.seal();
    let mut revealed = Revealed::default();
    revealed.heights.extend([reveal(&post, 1, honest(1)), reveal(&post, 2, honest(2))]);
    // Even without any data.
    let kinds = proven(&post, &findings(&post, None, &revealed));
    assert_eq!(kinds, BTreeSet::from([OffenceKind::BrokenChain]));

    let signature = HISTORY.committee.members[3].signer.sign_digest(post.heights[3].digest);
    let mut post = Post::all();
    post.heights[3].signature_hash = crate::accumulator::signature_hash(&signature);
    let post = post.seal();
    let mut revealed = Revealed::default();
    revealed.heights.extend([reveal(&post, 3, signature)]);
    let kinds = proven(&post, &findings(&post, None, &revealed));
    assert_eq!(kinds, BTreeSet::from([OffenceKind::ForgedCommitment]));

    // An opening that only its poster knows: a leaf of the right id, another seed.
    let mut post = Post::all();
    let known = &HISTORY.heights[3].opened.items()[2];
    let tale = blindfold_wire::Opening::Opened { seed: [3; 32], message: b"tale".to_vec() };
    let index = post.index(3, 2);
    post.openings[index].opening_hash = blindfold_wire::opening_hash(&tale);
    let post = post.seal();
    let mut revealed = Revealed::default();
    revealed.heights.extend([reveal(&post, 3, honest(3))]);
    let (leaf, proof) = post.trees().prove_opening(index as u32).unwrap();
    assert_eq!(leaf.id, known.envelope.id());
    revealed.openings.insert(index as u32, (leaf, proof, tale));
    let kinds = proven(&post, &findings(&post, Some(&data), &revealed));
    assert_eq!(kinds, BTreeSet::from([OffenceKind::WrongOpening]));
}

/// Two nodes may hold different signatures of one leader over one digest: neither is an offence.
#[test]
fn another_signature_of_the_right_leader_is_none() {
    let mut post = Post::all();
    let digest = HISTORY.heights[2].signed.digest();
    let leader = HISTORY.leaders.leader(HISTORY.heights[2].signed.commitment.view);
    let member = HISTORY.committee.members.iter().find(|m| m.signer.address() == leader).unwrap();
    let signature = sign_with_other_nonce(&member.signer, digest);
    assert_ne!(signature, HISTORY.heights[2].signed.signature);
    assert_eq!(signature.recover(digest), Ok(leader));
    post.data.heights[2].signature = signature;
    post.heights[2].signature_hash = crate::accumulator::signature_hash(&signature);
    let post = post.seal();
    assert_eq!(findings(&post, Some(&post.bytes()), &Revealed::default()), []);
}

/// ECDSA with a nonce of our own choice, low s.
fn sign_with_other_nonce(
    key: &blindfold_wire::SigningKey,
    digest: alloy_primitives::B256,
) -> blindfold_wire::Signature65 {
    use alloy_primitives::U256;
    use blindfold_wire::{Signature65, SigningKey};
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    )
    .unwrap();
    // r is the x coordinate of k·G: take k and R from a signature that leaks it. With the key 1 a
    // signature over z is s = (z + r)/k, so k = (z + r)/s.
    let mut one = [0; 32];
    one[31] = 1;
    let donor = SigningKey::from_bytes(&one).unwrap().sign_digest(alloy_primitives::B256::ZERO);
    let number = |bytes: [u8; 32]| U256::from_be_bytes(bytes);
    let r = number(donor.r);
    let k = r.mul_mod(number(donor.s).inv_mod(order).unwrap(), order);
    let secret = key.expose(|secret| number(*secret));
    let z = U256::from_be_bytes(digest.0) % order;
    let s = z.add_mod(r.mul_mod(secret, order), order).mul_mod(k.inv_mod(order).unwrap(), order);
    // The parity belongs to k or −k; recovery tells which.
    [(s, false), (s, true), (order - s, false), (order - s, true)]
        .into_iter()
        .map(|(s, y_parity)| Signature65 { y_parity, r: donor.r, s: s.to_be_bytes() })
        .find(|signature| signature.recover(digest) == Ok(key.address()))
        .expect("one of the four")
}

#[test]
fn a_history_of_other_heights_is_refused() {
    let post = Post::all();
    let revealed = Revealed::default();
    let posted = Posted {
        header: &post.header,
        previous: None,
        data: None,
        revealed: &revealed,
        executed: executed(),
    };
    for heights in [&HISTORY.heights[1..], &HISTORY.heights[..4], &[]] {
        assert_eq!(find(&CHAIN, &start(), &posted, heights), Err(FindError::History));
    }
}

/// A committee that certifies a first height above another than the last posted one has broken the engine's
/// safety; the poster answers for posting it.
#[test]
fn a_batch_above_another_commitment_is_proven() {
    let history = TestHistory::with_heights(11, &[&[Kind::EtherTransfer], &[]]);
    let rules = super::chain(&history);
    let mut previous = Post::honest(&history, 0..1, &super::start()).header;
    previous.last_commitment = alloy_primitives::B256::repeat_byte(9);
    let at = super::start().after(&previous);
    let post = Post::honest(&history, 1..2, &at);
    let revealed = Revealed::default();
    let data = post.bytes();
    let posted = Posted {
        header: &post.header,
        previous: Some(&previous),
        data: Some(&data),
        revealed: &revealed,
        executed: Executed::UNKNOWN,
    };
    let findings = find(&rules, &at, &posted, &history.heights[1..]).unwrap();
    let [Finding::Proven(offence @ Offence::BrokenFirst(_))] = &findings[..] else {
        panic!("{findings:?}")
    };
    let batches: Vec<Batch> = vec![post.header.clone()];
    assert_eq!(offence.verify(&rules, &batches).unwrap().signer, poster(&history));
}

/// What a poster that shows whatever it can is proven guilty of, or the place where it can show nothing.
fn audit(post: &Post, data: Option<&[u8]>) -> Result<BTreeSet<OffenceKind>, (u64, Option<u32>)> {
    let mut revealed = Revealed::default();
    let mut asked = Vec::new();
    loop {
        let findings = findings(post, data, &revealed);
        let [Finding::Ask { challenge, .. }] = &findings[..] else {
            return Ok(proven(post, &findings));
        };
        let place = (challenge.height, challenge.position);
        assert!(!asked.contains(&place), "asked twice: {place:?}");
        asked.push(place);
        let index = post.header.index_of(challenge.height).unwrap();
        let (leaf, proof) = post.trees().prove_height(index).unwrap();
        let known = &HISTORY.heights[index as usize];
        let Some(position) = challenge.position else {
            if leaf.digest != known.signed.digest() {
                return Err(place);
            }
            let at = BatchLeaf { leaf, proof };
            revealed.heights.insert(index, (at, known.signed.signature));
            continue;
        };
        let item = &known.opened.items()[position as usize];
        let id = item.envelope.id();
        let expected = OpeningLeaf::of(challenge.height, position, id, &item.opening);
        let at = leaf.offset + position;
        match post.trees().prove_opening(at) {
            Some((leaf, proof)) if leaf == expected => {
                revealed.openings.insert(at, (leaf, proof, item.opening.clone()));
            }
            _ => return Err(place),
        }
    }
}

/// Whoever asks what it is told to ask comes to an end: nothing is asked for twice, and whatever a poster hides is
/// proven or cannot be shown.
#[test]
fn asking_comes_to_an_end() {
    let honest = Post::all();
    let data = honest.bytes();
    assert_eq!(audit(&honest, Some(&data)), Ok(BTreeSet::new()));
    assert_eq!(audit(&honest, None), Ok(BTreeSet::new()), "the roots say what belongs there");

    // Leaves exchanged, which no data shows: everything below is asked for and shown, they cannot be.
    let mut post = Post::all();
    let index = post.index(3, 4);
    post.openings.swap(index, index + 1);
    let post = post.seal();
    for data in [Some(&data[..]), None] {
        assert_eq!(audit(&post, data), Err((4, Some(4))));
    }

    // A leaf more than there are openings: every one that is asked for is right, and their proofs show it.
    let mut post = Post::all();
    post.openings.push(post.openings[0]);
    let mut post = post.seal();
    post.header.opening_count -= 1;
    assert_eq!(audit(&post, Some(&data)), Ok(BTreeSet::from([OffenceKind::BrokenChain])));

    // A garbled opening in the data, and right leaves: it is shown, and then there is nothing more.
    let mut garbled = Post::all();
    if let PostedItem::Opened(opened) = &mut garbled.data.heights[3].items[1] {
        opened.seed[0] ^= 1;
    }
    assert_eq!(audit(&honest, Some(&garbled.bytes())), Ok(BTreeSet::new()));
}

/// A poster that gets everything wrong does not make its auditor compute a proof for each.
#[test]
fn enough_proofs_are_enough() {
    let history = TestHistory::with_heights(31, &[&[Kind::EtherTransfer; MAX_PROVEN + 8]]);
    let (rules, at) = (super::chain(&history), super::Start::of_chain(&history.committee.genesis));
    let mut post = Post::honest(&history, 0..1, &at);
    let items = history.heights[0].opened.items();
    for (leaf, item) in post.openings.iter_mut().zip(items) {
        let tale = blindfold_wire::Opening::Opened { seed: [3; 32], message: b"tale".to_vec() };
        *leaf = OpeningLeaf::of(1, leaf.position, item.envelope.id(), &tale);
        let index = leaf.position as usize;
        post.data.heights[0].items[index] = PostedItem::new(&item.envelope, &tale);
    }
    let post = post.seal();
    let (data, revealed) = (post.bytes(), Revealed::default());
    let posted = Posted {
        header: &post.header,
        previous: None,
        data: Some(&data),
        revealed: &revealed,
        executed: Executed::UNKNOWN,
    };
    let findings = find(&rules, &at, &posted, &history.heights).unwrap();
    assert_eq!(findings.len(), MAX_PROVEN);
    assert!(findings.iter().all(|finding| matches!(finding, Finding::Proven(_))));
}
