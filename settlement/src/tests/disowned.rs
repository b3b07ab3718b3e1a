//! Openings that the committee did not certify: what it takes to prove them, and who is not accused.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use blindfold_wire::{
    CertificateError, Certified, Opening, OrderCommitment, executed_root, testkit::TestCommittee,
};

use super::{ABOVE, CHAIN, HISTORY, Post, STATES, executed, poster, start};
use crate::{
    accumulator::OpeningLeaf,
    batch::Batch,
    evidence::{DisownedOpening, ExecutedRoot, MAX_CHAIN, Offence, OffenceError, PostedBatches},
    find::{Executed, Finding, Posted, Revealed, find},
};

/// A batch that calls an envelope undecryptable, with its right secret.
fn post(height: usize, position: usize) -> Post {
    let envelope = &HISTORY.heights[height].opened.items()[position].envelope;
    let opening = Opening::Undecryptable { secret: HISTORY.secret(envelope) };
    let mut post = Post::all();
    post.open_as(height, position, &opening);
    post.seal()
}

fn search(post: &Post, executed: Executed<'_>) -> Finding {
    let data = post.bytes();
    let revealed = Revealed::default();
    let posted = Posted {
        header: &post.header,
        previous: None,
        data: Some(&data),
        revealed: &revealed,
        executed,
    };
    let findings = find(&CHAIN, &start(), &posted, &HISTORY.heights).unwrap();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    finding.clone()
}

/// True evidence about height 4, whose root height 6 carries, and height 7 certifies.
fn evidence() -> (DisownedOpening, Vec<Batch>) {
    let post = post(3, 2);
    let Finding::Proven(Offence::DisownedOpening(e)) = search(&post, executed()) else { panic!() };
    assert_eq!(e.executed.chain.len(), 2);
    (*e, vec![post.header])
}

fn verify(e: &DisownedOpening, batches: &dyn PostedBatches) -> Result<(), OffenceError> {
    let culprit = Offence::DisownedOpening(Box::new(e.clone())).verify(&CHAIN, batches)?;
    assert_eq!(culprit.signer, poster(&HISTORY));
    Ok(())
}

/// Makes the first commitment carry the root that the evidence names, and the committee certify the last.
fn carry(e: &mut DisownedOpening) {
    let executed = &mut e.executed;
    let mut parent = None;
    for commitment in &mut executed.chain {
        match parent {
            Some(digest) => commitment.parent = digest,
            None => {
                commitment.executed_root =
                    executed_root(executed.state_root, executed.opening_root);
            }
        }
        parent = Some(commitment.digest());
    }
    let last = executed.chain.last().unwrap();
    executed.certificate = HISTORY.committee.certificate(last);
}

#[test]
fn only_a_quorum_convicts() {
    let (right, batches) = evidence();
    assert_eq!(verify(&right, &batches), Ok(()));
    let last = right.executed.chain[1].clone();
    let refused = |certificate, expected: CertificateError| {
        let mut e = right.clone();
        e.executed.certificate = certificate;
        assert_eq!(verify(&e, &batches), Err(OffenceError::NotCertified(expected)));
    };
    let few = HISTORY.committee.certificate_by(&last, &[0, 1]);
    refused(few, CertificateError::Quorum { quorum: 3, got: 2 });
    let below = HISTORY.committee.certificate(&right.executed.chain[0]);
    refused(below, CertificateError::OtherCommitment);
    let strangers = TestCommittee::with(4, 99, |genesis| genesis.chain_id += 1);
    refused(strangers.certificate(&last), CertificateError::Signature);
    let mut other = right.executed.certificate.clone();
    other.signers = vec![0, 1, 3];
    refused(other, CertificateError::Signature);
}

#[test]
fn commitments_lead_to_the_certificate_without_a_hole() {
    let (right, batches) = evidence();
    // The first one is nobody's parent: whoever made it up.
    let mut e = right.clone();
    e.executed.chain[0].timestamp_ms += 1;
    let orphan = Err(OffenceError::NotCertified(CertificateError::NotAChild));
    assert_eq!(verify(&e, &batches), orphan);
    // Linked anew under a certificate, it is the committee's word.
    carry(&mut e);
    assert_eq!(verify(&e, &batches), Ok(()));
    e.executed.chain[1].height += 1;
    carry(&mut e);
    assert_eq!(verify(&e, &batches), orphan);

    let mut e = right.clone();
    e.executed.chain.clear();
    assert_eq!(verify(&e, &batches), Err(OffenceError::Unlinked));
    let mut e = right.clone();
    e.executed.chain = vec![right.executed.chain[0].clone(); MAX_CHAIN + 1];
    assert_eq!(verify(&e, &batches), Err(OffenceError::Unlinked));
    for index in 0..2 {
        let mut e = right.clone();
        e.executed.chain[index].chain_id += 1;
        carry(&mut e);
        assert_eq!(verify(&e, &batches), Err(OffenceError::WrongChain));
    }
}

#[test]
fn the_root_is_that_of_the_height() {
    let (right, batches) = evidence();
    let unlinked = |change: &dyn Fn(&mut DisownedOpening)| {
        let mut e = right.clone();
        change(&mut e);
        assert_eq!(verify(&e, &batches), Err(OffenceError::Unlinked));
    };
    unlinked(&|e| e.executed.state_root = B256::ZERO);
    unlinked(&|e| e.executed.opening_root = B256::ZERO);
    // Carried one height too early or too late, certified all the same.
    for height in [5, 7] {
        unlinked(&|e| {
            e.executed.chain.truncate(1);
            e.executed.chain[0].height = height;
            carry(e);
        });
    }
    // Another place, another envelope, another posted opening.
    unlinked(&|e| e.certified_proof.index = 1);
    unlinked(&|e| e.posted.height = 3);
    unlinked(&|e| e.posted.position = 3);
    unlinked(&|e| e.posted.id = B256::ZERO);
    unlinked(&|e| e.posted.opening_hash = B256::ZERO);
    unlinked(&|e| e.posted.height = u64::MAX);
    // A quorum that has another envelope there convicts nobody of a wrong opening.
    let mut e = right.clone();
    let other = OpeningLeaf { id: B256::repeat_byte(3), ..e.posted };
    e.executed.opening_root = blindfold_wire::merkle::root(&[other.hash()]);
    e.certified_proof = blindfold_wire::merkle::prove(&[other.hash()], 0).unwrap();
    carry(&mut e);
    assert_eq!(verify(&e, &batches), Err(OffenceError::Unlinked));
}

/// Without the state root, the height that carries the root or its certificate there is nothing to prove with
/// yet; the finder says when there will be.
#[test]
fn what_is_not_certified_yet_is_named() {
    let unproven = |post: &Post, executed: Executed<'_>, height: u64, position: u32| {
        let certified_at = height + 2;
        assert_eq!(search(post, executed), Finding::Unproven { height, position, certified_at });
    };
    let inside = post(0, 0);
    let above = post(3, 2);
    let last = post(4, 1);
    let nothing = Executed { above: &[], ..executed() };
    assert!(matches!(search(&inside, nothing), Finding::Proven(_)), "by the batch's own heights");
    unproven(&above, nothing, 4, 2);
    unproven(&last, nothing, 5, 1);
    let first = Executed { above: &ABOVE[..1], ..executed() };
    unproven(&above, first, 4, 2);
    unproven(&last, first, 5, 1);
    let hole = Executed { above: &ABOVE[1..], ..executed() };
    unproven(&above, hole, 4, 2);
    let two = Executed { above: &ABOVE[..2], ..executed() };
    assert!(matches!(search(&above, two), Finding::Proven(_)));
    assert!(matches!(search(&last, two), Finding::Proven(_)));

    let mut states: BTreeMap<_, _> = STATES.clone();
    states.insert(4, B256::ZERO);
    states.remove(&5);
    let wrong = Executed { state_roots: &states, above: &ABOVE };
    unproven(&above, wrong, 4, 2);
    unproven(&last, wrong, 5, 1);
}

#[test]
fn roots_are_taken_up_to_the_first_certificate() {
    let known = &HISTORY.heights[3].opened;
    let (state, openings) = (HISTORY.state_root(4), known.opening_root());
    let all: Vec<&Certified<OrderCommitment>> = ABOVE.iter().collect();
    let root = ExecutedRoot::new(state, openings, all.iter().copied()).unwrap();
    assert_eq!(root.chain.len(), 2, "the third is not needed");
    assert_eq!(root.certificate.payload, ABOVE[1].digest());
    assert_eq!(ExecutedRoot::new(B256::ZERO, openings, all.iter().copied()), None);
    assert_eq!(ExecutedRoot::new(state, B256::ZERO, all.iter().copied()), None);
    assert_eq!(ExecutedRoot::new(state, openings, []), None);
    assert_eq!(ExecutedRoot::new(state, openings, [all[0]]), None, "no certificate");
    assert_eq!(ExecutedRoot::new(state, openings, [all[0], all[2]]), None, "a hole");
    assert_eq!(ExecutedRoot::new(state, openings, [all[1]]), None, "another height");
}
