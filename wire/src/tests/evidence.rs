//! Evidence convicts the guilty and nobody else.

use super::{FOUR, payer};
use crate::*;

fn public() -> blindfold_crypto::CommitteePublic {
    FOUR.genesis.committee_public().expect("consistent")
}

fn verify(evidence: &Evidence) -> Result<Offender, EvidenceError> {
    let decoded = Evidence::decode(&evidence.encode()).expect("own encoding");
    assert_eq!(&decoded, evidence);
    decoded.verify(&FOUR.genesis, &public())
}

fn commitment() -> OrderCommitment {
    FOUR.commitment(&Block::genesis(&FOUR.genesis).commitment.commitment, &[])
}

fn offender(member: usize) -> Offender {
    Offender { member: member as u32, signer: FOUR.members[member].signer.address() }
}

#[test]
fn two_commitments_for_one_view_convict_their_signer() {
    let (leader, other) = (&FOUR.members[1].signer, &FOUR.members[2].signer);
    let first = commitment().sign(leader);
    let second = OrderCommitment { timestamp_ms: 1, ..commitment() };
    let pair = |first: &SignedCommitment, second: SignedCommitment| {
        verify(&Evidence::Equivocation { first: first.clone(), second })
    };
    assert_eq!(pair(&first, second.clone().sign(leader)), Ok(offender(1)));

    assert_eq!(pair(&first, first.clone()), Err(EvidenceError::NoConflict));
    let later = OrderCommitment { view: second.view + 1, ..second.clone() };
    assert_eq!(pair(&first, later.sign(leader)), Err(EvidenceError::DifferentSlots));
    let next = OrderCommitment { epoch: 1, ..second.clone() };
    assert_eq!(pair(&first, next.sign(leader)), Err(EvidenceError::DifferentSlots));
    assert_eq!(
        pair(&first, second.clone().sign(other)),
        Err(EvidenceError::NotAMember(other.address()))
    );
    let elsewhere = OrderCommitment { chain_id: 1, ..second.clone() };
    assert_eq!(pair(&first, elsewhere.sign(leader)), Err(EvidenceError::WrongChain));
    let stranger = payer(1);
    assert_eq!(
        pair(&commitment().sign(&stranger), second.clone().sign(&stranger)),
        Err(EvidenceError::NotAMember(stranger.address()))
    );
    let unsigned = SignedCommitment { commitment: second, signature: Signature65::ZERO };
    assert!(matches!(pair(&first, unsigned), Err(EvidenceError::Signature(_))));
}

fn bundle(member: usize, height: u64, commitment: B256, shares: Vec<Share>) -> ShareBundle {
    let key = &FOUR.members[member].signer;
    let genesis = &FOUR.genesis;
    ShareBundle::sign(
        genesis.chain_id,
        genesis.settlement,
        height,
        commitment,
        member as u32,
        shares,
        key,
    )
}

#[test]
fn two_bundles_for_one_height_convict_their_member() {
    let first = bundle(2, 5, B256::repeat_byte(1), vec![]).signed_header();
    let pair = |second: ShareBundle| {
        verify(&Evidence::DoubleRelease { first: first.clone(), second: second.signed_header() })
    };
    assert_eq!(pair(bundle(2, 5, B256::repeat_byte(2), vec![])), Ok(offender(2)));
    assert_eq!(pair(bundle(2, 5, B256::repeat_byte(1), vec![])), Err(EvidenceError::NoConflict));
    assert_eq!(
        pair(bundle(2, 6, B256::repeat_byte(2), vec![])),
        Err(EvidenceError::DifferentSlots)
    );
    assert_eq!(
        pair(bundle(1, 5, B256::repeat_byte(2), vec![])),
        Err(EvidenceError::DifferentSlots)
    );
    // Signed by another member in this one's name.
    let mut forged = bundle(2, 5, B256::repeat_byte(2), vec![]);
    forged.signature = FOUR.members[1].signer.sign_digest(forged.header.digest());
    assert_eq!(pair(forged), Err(EvidenceError::NotAMember(FOUR.members[1].signer.address())));
}

#[test]
fn a_bundle_is_checked_against_root_and_signer() {
    let signer = FOUR.members[0].signer.address();
    let good = bundle(0, 1, B256::ZERO, vec![Share([1; 96]), Share([2; 96])]);
    assert_eq!(good.verify_signature(signer), Ok(()));
    let mut changed = good.clone();
    changed.shares.swap(0, 1);
    assert_eq!(changed.verify_signature(signer), Err(BundleError::SharesRoot));
    let other = FOUR.members[1].signer.address();
    assert_eq!(
        good.verify_signature(other),
        Err(BundleError::Signer { expected: other, got: signer })
    );
    let mut moved = good;
    moved.header.height = 2;
    assert!(moved.verify_signature(signer).is_err());
}

#[test]
fn a_wrong_share_convicts_and_a_right_one_does_not() {
    let envelopes: Vec<_> =
        (1..4).map(|n| FOUR.envelope(&payer(n), FOUR.header(0), &[n as u8])).collect();
    let commitment =
        FOUR.commitment(&Block::genesis(&FOUR.genesis).commitment.commitment, &envelopes);
    let ids: Vec<_> = envelopes.iter().map(CheckedEnvelope::id).collect();
    let member = 3;
    let right: Vec<_> = envelopes
        .iter()
        .map(|envelope| FOUR.members[member].decryption.share(envelope.ephemeral()))
        .collect();
    let evidence = |shares: &[Share], position: u32| {
        let bundle = bundle(member, commitment.height, commitment.digest(), shares.to_vec());
        BadShare {
            bundle: bundle.signed_header(),
            share: shares[position as usize],
            share_proof: share_proof(shares, position).expect("in range"),
            commitment: commitment.clone(),
            envelope: envelopes[position as usize].bytes().to_vec(),
            envelope_proof: order_proof(&ids, position).expect("in range"),
        }
    };
    let judge = |bad: BadShare| verify(&Evidence::BadShare(Box::new(bad)));

    for position in 0..3 {
        assert_eq!(judge(evidence(&right, position)), Err(EvidenceError::ShareIsGood));
        // Another member's share, garbage, and a right share at the wrong position.
        let u = envelopes[position as usize].ephemeral();
        for wrong in [
            FOUR.members[0].decryption.share(u),
            Share([0; 96]),
            right[(position as usize + 1) % 3],
        ] {
            let mut shares = right.clone();
            shares[position as usize] = wrong;
            assert_eq!(judge(evidence(&shares, position)), Ok(offender(member)));
        }
    }

    // An accuser who mixes parts convicts nobody.
    let (a, b) = (evidence(&right, 0), evidence(&right, 1));
    let other_envelope = BadShare {
        envelope: b.envelope.clone(),
        envelope_proof: b.envelope_proof.clone(),
        ..a.clone()
    };
    assert_eq!(judge(other_envelope), Err(EvidenceError::Unlinked));
    assert_eq!(
        judge(BadShare { envelope: b.envelope.clone(), ..a.clone() }),
        Err(EvidenceError::Unlinked)
    );
    assert_eq!(judge(BadShare { share: b.share, ..a.clone() }), Err(EvidenceError::Unlinked));
    let other_order = OrderCommitment { timestamp_ms: 0, ..commitment.clone() };
    assert_eq!(
        judge(BadShare { commitment: other_order, ..a.clone() }),
        Err(EvidenceError::Unlinked)
    );
    let mut moved = a;
    moved.bundle.header.height += 1;
    assert_eq!(judge(moved), Err(EvidenceError::Unlinked));
}

#[test]
fn receipts_name_their_signer() {
    let receipt = AdmissionReceipt {
        chain_id: FOUR.genesis.chain_id,
        settlement: Address::ZERO,
        envelope_id: B256::repeat_byte(4),
        member: 1,
        height_seen: 9,
    };
    let key = &FOUR.members[1].signer;
    let signed = receipt.clone().sign(key);
    assert_eq!(signed.recover_signer(), Ok(key.address()));
    let moved =
        SignedReceipt { receipt: AdmissionReceipt { height_seen: 10, ..receipt }, ..signed };
    assert_ne!(moved.recover_signer(), Ok(key.address()));
}
