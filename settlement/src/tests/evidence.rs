//! Evidence is accepted when it is true, and refused when any byte of it is another.

use std::sync::LazyLock;

use alloy_primitives::{B256, keccak256};
use blindfold_crypto::testkit::add_small_order;
use blindfold_wire::{
    BadShare, BundleHeader, Evidence, EvidenceError, Share, SignedBundleHeader, order_proof,
    share_proof, shares_root,
};

use super::{CHAIN, HISTORY, Post, executed, mutations, poster, start};
use crate::{
    batch::Batch,
    evidence::{MAX_OFFENCE_BYTES, Offence, OffenceError, OffenceKind},
    find::{Finding, Posted, Revealed, find},
    sol,
};

/// Evidence of every form, with the batches it is about.
static EVIDENCE: LazyLock<Vec<(Offence, Vec<Batch>)>> = LazyLock::new(|| {
    let mut all: Vec<(Offence, Vec<Batch>)> = Vec::new();
    let mut forms = std::collections::HashSet::new();
    for mutation in mutations::all() {
        let post = &mutation.post;
        let revealed = Revealed::default();
        let data = mutation.data.as_deref();
        let posted = Posted {
            header: &post.header,
            previous: None,
            data,
            revealed: &revealed,
            executed: executed(),
        };
        for finding in find(&CHAIN, &start(), &posted, &HISTORY.heights).unwrap_or_default() {
            let Finding::Proven(offence) = finding else { continue };
            // Of these there is more than one sort.
            let sort = match &offence {
                Offence::WrongOpening(e) => match &e.opening {
                    blindfold_wire::Opening::Opened { .. } => 0,
                    blindfold_wire::Opening::Undecryptable { .. } => 1,
                },
                Offence::DisownedOpening(e) => e.executed.chain.len(),
                _ => 0,
            };
            if forms.insert((std::mem::discriminant(&offence), sort)) {
                all.push((offence, vec![post.header.clone()]));
            }
        }
    }
    all.extend(signed().into_iter().map(|evidence| (evidence.into(), Vec::new())));
    all
});

/// What leaders and members sign.
fn signed() -> Vec<Evidence> {
    let first = HISTORY.heights[0].signed.clone();
    let mut other = first.commitment.clone();
    other.timestamp_ms += 1;
    let second = HISTORY.sign(other);
    let opened = &HISTORY.heights[3].opened;
    let member = 2;
    let keys = &HISTORY.committee.members[member];
    let mut shares: Vec<Share> = opened
        .items()
        .iter()
        .map(|item| keys.decryption.share(item.envelope.ephemeral()))
        .collect();
    shares[4] = add_small_order(&shares[4], 3);
    let header = |commitment: B256| BundleHeader {
        chain_id: HISTORY.committee.genesis.chain_id,
        settlement: HISTORY.committee.genesis.settlement,
        height: opened.height(),
        commitment,
        shares_root: shares_root(&shares),
        member: member as u32,
    };
    let sign = |header: BundleHeader| {
        let signature = keys.signer.sign_digest(header.digest());
        SignedBundleHeader { header, signature }
    };
    let bundle = sign(header(opened.certified().digest()));
    let ids: Vec<_> = opened.items().iter().map(|item| item.envelope.id()).collect();
    vec![
        Evidence::Equivocation { first, second },
        Evidence::DoubleRelease { first: bundle.clone(), second: sign(header(B256::ZERO)) },
        Evidence::BadShare(Box::new(BadShare {
            bundle,
            share: shares[4],
            share_proof: share_proof(&shares, 4).unwrap(),
            commitment: opened.commitment().clone(),
            envelope: opened.items()[4].envelope.bytes().to_vec(),
            envelope_proof: order_proof(&ids, 4).unwrap(),
        })),
    ]
}

#[test]
fn every_form_is_accepted_and_names_its_culprit() {
    let mut kinds = std::collections::BTreeSet::new();
    for (offence, batches) in EVIDENCE.iter() {
        let culprit = offence.verify(&CHAIN, batches).unwrap();
        assert_eq!(culprit.kind, offence.kind());
        let leader = HISTORY.heights[0].signed.recover_leader().unwrap();
        let expected = match culprit.kind {
            OffenceKind::Equivocation => leader,
            OffenceKind::DoubleRelease | OffenceKind::BadShare => {
                HISTORY.committee.members[2].signer.address()
            }
            _ => poster(&HISTORY),
        };
        assert_eq!(culprit.signer, expected, "{culprit:?}");
        let bytes = offence.encode();
        assert!(bytes.len() <= MAX_OFFENCE_BYTES);
        assert_eq!(Offence::decode(&bytes).as_ref(), Ok(offence));
        kinds.insert(culprit.kind);
    }
    // All but what only L1 can see.
    let all: Vec<_> = kinds.into_iter().collect();
    assert_eq!(all, OffenceKind::ALL[..7]);
}

#[test]
fn any_changed_byte_is_refused() {
    for (offence, batches) in EVIDENCE.iter() {
        let bytes = offence.encode();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << (keccak256(index.to_be_bytes())[0] % 8);
            if let Ok(other) = Offence::decode(&changed) {
                assert_eq!(other.encode(), changed);
                let verdict = other.verify(&CHAIN, batches);
                assert!(verdict.is_err(), "byte {index} of {:?}: {verdict:?}", offence.kind());
            }
        }
        for length in (0..bytes.len()).step_by(97) {
            assert!(Offence::decode(&bytes[..length]).is_err());
        }
        assert!(Offence::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
    assert!(Offence::decode(&vec![0xc0; MAX_OFFENCE_BYTES + 1]).is_err());
}

#[test]
fn a_batch_that_l1_did_not_accept_accuses_nobody() {
    for (offence, batches) in EVIDENCE.iter().filter(|(_, batches)| !batches.is_empty()) {
        let mut other = batches[0].clone();
        other.state_root = B256::ZERO;
        for batches in [Vec::new(), vec![other]] {
            assert_eq!(offence.verify(&CHAIN, &batches), Err(OffenceError::UnknownBatch));
        }
    }
}

#[test]
fn evidence_of_another_chain_accuses_nobody() {
    let mut other = crate::testkit::TestHistory::new(12);
    other.committee.genesis.chain_id += 1;
    let chain = super::chain(&other);
    for (offence, batches) in EVIDENCE.iter() {
        if matches!(offence, Offence::BrokenCount(_)) {
            continue; // A root and a number, of a batch that only our inbox knows.
        }
        assert!(offence.verify(&chain, batches).is_err(), "{:?}", offence.kind());
    }
}

/// What is right, dressed up as evidence, proves nothing.
#[test]
fn honest_batches_cannot_be_accused() {
    let post = Post::all();
    let honest = vec![post.header.clone()];
    for (offence, _) in EVIDENCE.iter() {
        let mut claim = offence.clone();
        match &mut claim {
            Offence::Signed(_) => continue,
            Offence::Reordering(e) => {
                let position = e.order_proof.index as usize;
                let height = e.commitment.height as usize - 1;
                let index = post.index(height, position) as u32;
                e.batch = post.header.clone();
                (e.at.leaf, e.at.proof) = post.trees().prove_height(height as u32).unwrap();
                (e.posted, e.opening_proof) = post.trees().prove_opening(index).unwrap();
            }
            Offence::BrokenLeaf(e) => {
                let height = e.commitment.height as usize - 1;
                e.batch = post.header.clone();
                (e.at.leaf, e.at.proof) = post.trees().prove_height(height as u32).unwrap();
            }
            Offence::BrokenParent(e) | Offence::BrokenOffset(e) => {
                let index = e.lower.proof.index;
                e.batch = post.header.clone();
                (e.lower.leaf, e.lower.proof) = post.trees().prove_height(index).unwrap();
                (e.upper.leaf, e.upper.proof) = post.trees().prove_height(index + 1).unwrap();
            }
            Offence::BrokenFirst(_) => continue,
            Offence::BrokenCount(e) => {
                e.batch = post.header.clone();
                (e.count, e.top) = (post.trees().opening_count(), post.trees().opening_top());
            }
            Offence::ForgedCommitment(e) => {
                let height = e.commitment.height as usize - 1;
                e.batch = post.header.clone();
                e.signature = HISTORY.heights[height].signed.signature;
                (e.at.leaf, e.at.proof) = post.trees().prove_height(height as u32).unwrap();
            }
            Offence::WrongOpening(e) => {
                let (height, position) = (e.height as usize - 1, e.position as usize);
                let known = &HISTORY.heights[height].opened.items()[position];
                let index = post.index(height, position) as u32;
                e.batch = post.header.clone();
                e.opening = known.opening.clone();
                (_, e.opening_proof) = post.trees().prove_opening(index).unwrap();
            }
            Offence::DisownedOpening(e) => {
                let (height, position) = (e.posted.height as usize - 1, e.posted.position as usize);
                let index = post.index(height, position) as u32;
                e.batch = post.header.clone();
                (e.posted, e.posted_proof) = post.trees().prove_opening(index).unwrap();
            }
        }
        assert_eq!(claim.verify(&CHAIN, &honest), Err(OffenceError::NoFault), "{claim:?}");
    }
    let evidence = signed();
    let Evidence::Equivocation { first, .. } = &evidence[0] else { panic!() };
    let twice = Evidence::Equivocation { first: first.clone(), second: first.clone() };
    assert_eq!(
        Offence::from(twice).verify(&CHAIN, &honest),
        Err(OffenceError::Signed(EvidenceError::NoConflict))
    );
}

#[test]
fn calls_are_those_of_the_slasher() {
    use alloy_sol_types::SolCall;
    for (offence, _) in EVIDENCE.iter() {
        let call = offence.to_call(&CHAIN).unwrap();
        let again = match offence {
            Offence::Reordering(e) => {
                let decoded = sol::verifyReorderingCall::abi_decode(&call).unwrap();
                assert_eq!(decoded.e.orderedId, e.ordered_id);
                decoded.abi_encode()
            }
            Offence::BrokenLeaf(_) => {
                sol::verifyBrokenLeafCall::abi_decode(&call).unwrap().abi_encode()
            }
            Offence::WrongOpening(e) => {
                let decoded = sol::verifyWrongOpeningCall::abi_decode(&call).unwrap();
                let id = blindfold_wire::Envelope::decode(&e.envelope).unwrap().id();
                assert_eq!(keccak256(&decoded.e.envelope.preimage), id);
                decoded.abi_encode()
            }
            Offence::DisownedOpening(e) => {
                let decoded = sol::verifyDisownedOpeningCall::abi_decode(&call).unwrap();
                assert_eq!(decoded.e.chain.len(), e.executed.chain.len());
                assert_eq!(decoded.e.certifiedHash, e.certified_hash);
                decoded.abi_encode()
            }
            _ => call.clone(),
        };
        assert_eq!(again, call);
    }
}
