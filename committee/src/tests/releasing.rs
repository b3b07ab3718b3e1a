//! Release: for certified heights only, once, and the same after a restart.

use std::sync::Arc;

use blindfold_wire::{CertificateError, Certified, Finality};

use super::*;
use crate::{JournalError, MAX_SHARES_AHEAD, MismatchError, ReleaseError};

#[test]
fn shares_are_right_and_signed() {
    let batch = batch(1, &[0, 1, 2], 0);
    for member in 0..MEMBERS {
        let release = releaser(member, &Arc::default()).release(&batch, 2).unwrap().unwrap();
        let bundle = &release.bundle;
        bundle.verify_signature(signer(member).address()).unwrap();
        assert_eq!(bundle.header.commitment, batch.digest());
        assert_eq!(bundle.shares.len(), 3);
        for (share, envelope) in bundle.shares.iter().zip(batch.envelopes()) {
            assert!(PUBLIC.verify_share(member as usize, &envelope.envelope().ciphertext.u, share));
        }
        let record = release.record;
        assert_eq!(
            (record.height, record.commitment, record.bundle),
            (1, batch.digest(), bundle.header.digest())
        );
        assert_eq!(record.certificate_view, Some(batch.commitment().view));
        assert!(record.first);
    }
}

#[test]
fn a_restart_repeats_the_same_bytes() {
    let store = Arc::default();
    let batch = batch(1, &[0, 1], 0);
    let first = releaser(2, &store).release(&batch, 1).unwrap().unwrap();
    let again = releaser(2, &store).release(&batch, 1).unwrap().unwrap();
    assert_eq!(first.bundle.encode(), again.bundle.encode());
    assert!(first.record.first && !again.record.first);
}

#[test]
fn a_second_commitment_of_a_height_is_never_released() {
    let store = Arc::default();
    releaser(0, &store).release(&batch(1, &[0], 0), 1).unwrap();
    for other in [batch(1, &[0], 1), batch(1, &[1], 0)] {
        let refused = releaser(0, &store).release(&other, 1).unwrap_err();
        assert!(
            matches!(refused, ReleaseError::Journal(JournalError::Conflict { .. })),
            "{refused:?}"
        );
    }
    releaser(0, &store).release(&batch(2, &[1], 0), 1).unwrap();
}

#[test]
fn precomputing_changes_nothing_that_leaves() {
    let batch = batch(3, &[0, 1, 2, 3], 0);
    let ahead = releaser(1, &Arc::default());
    ahead.precompute(&batch.envelopes()[1..3], 2);
    ahead.precompute(&batch.envelopes()[..2], 1);
    let release = ahead.release(&batch, 3).unwrap().unwrap();
    assert_eq!(*release.bundle, honest(1, &batch));
    const { assert!(MAX_SHARES_AHEAD >= blindfold_wire::MAX_BLOCK_COUNT) };
}

#[test]
fn an_empty_height_releases_nothing() {
    assert!(releaser(0, &Arc::default()).release(&batch(1, &[], 0), 1).unwrap().is_none());
}

#[test]
fn another_chain_is_refused() {
    let other = TestCommittee::with(4, 11, |genesis| genesis.chain_id += 1);
    let commitment = other.commitment(&Block::genesis(&other.genesis).commitment.commitment, &[]);
    let batch = SealedBatch::new(other.certify(commitment), Vec::new()).unwrap();
    let refused = releaser(0, &Arc::default()).release(&batch, 1);
    assert!(matches!(refused, Err(ReleaseError::OtherChain { .. })));
}

#[test]
fn other_envelopes_make_no_batch() {
    let certified = || certified(4, &[0, 1], 0);
    let with = |numbers: &[u64]| {
        SealedBatch::new(certified(), numbers.iter().copied().map(envelope).collect())
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(with(&[0]), MismatchError::Count { height: 4, expected: 2, got: 1 });
    assert_eq!(with(&[0, 1, 2]), MismatchError::Count { height: 4, expected: 2, got: 3 });
    for numbers in [[1, 0], [0, 2], [0, 0]] {
        assert_eq!(with(&numbers), MismatchError::OrderRoot { height: 4 });
    }
}

#[test]
fn too_few_votes_make_no_batch() {
    let commitment = commitment(1, &[0], 0);
    let certificate = COMMITTEE.certificate_by(&commitment, &[0, 3]);
    let refused = Certified::by_certificate(commitment, &certificate, COMMITTEE.vote_committee());
    assert!(matches!(refused, Err(CertificateError::Quorum { quorum: 3, got: 2 })));
}

#[test]
fn a_height_final_through_its_child_is_released_too() {
    let parent = commitment(1, &[0], 0);
    let child = COMMITTEE.certify(COMMITTEE.commitment(&parent, &[envelope(1)]));
    let certified = Certified::by_child(parent, &child).unwrap();
    assert!(matches!(certified.finality(), Finality::Child(_)));
    let batch = SealedBatch::new(certified, vec![envelope(0)]).unwrap();
    let release = releaser(0, &Arc::default()).release(&batch, 1).unwrap().unwrap();
    assert_eq!(release.record.certificate_view, None);
    assert_eq!(release.bundle.header.commitment, batch.digest());
}
