//! Our certificate code against the engine's own: same bytes, same verdicts.

use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::{
        scheme::bls12381_multisig::Scheme,
        types::{Finalization, Finalize, Proposal},
    },
    types::{Epoch, Round, View},
};
use commonware_cryptography::{
    Signer as _,
    bls12381::primitives::{
        group::Private,
        ops::{compute_public, sign_proof_of_possession, verify_proof_of_possession},
        variant::{MinSig, Variant},
    },
    ed25519,
    sha256::Digest,
};
use commonware_parallel::Sequential;
use commonware_utils::{non_empty, ordered::BiMap};
use proptest::prelude::*;

use super::{FOUR, payer};
use crate::{certificate::*, testkit::derive, *};

type EngineScheme = Scheme<ed25519::PublicKey, MinSig>;

struct Engine {
    schemes: Vec<EngineScheme>,
    keys: Vec<[u8; 96]>,
    committee: VoteCommittee,
}

/// The same committee twice: as the engine sees it and as we do.
fn engine(n: u64, epoch: u64) -> Engine {
    let namespace = engine_namespace(B256::repeat_byte(3));
    let mut members: Vec<_> = (0..n)
        .map(|index| {
            let mut secret = derive(index, "engine vote", n);
            secret[0] &= 0x3f;
            let private = Private::decode(secret.to_vec()).expect("valid scalar");
            (ed25519::PrivateKey::from_seed(index).public_key(), private, secret)
        })
        .collect();
    // Our order of members is that of the identity's bytes; the engine's must be the same.
    members.sort_by_key(|(identity, ..)| identity.encode().to_vec());
    let participants: BiMap<_, _> = BiMap::try_from(
        members
            .iter()
            .map(|(id, private, _)| (id.clone(), compute_public::<MinSig>(private)))
            .collect::<Vec<_>>(),
    )
    .expect("distinct keys");
    let keys: Vec<_> =
        members.iter().map(|(_, _, secret)| vote_public_key(secret).expect("valid")).collect();
    for ((position, key), (identity, value)) in
        keys.iter().enumerate().zip(participants.iter_pairs())
    {
        assert_eq!(identity, &members[position].0, "the engine orders members otherwise");
        assert_eq!(
            value.encode().as_ref(),
            key,
            "the engine derives or encodes vote keys otherwise"
        );
    }
    let schemes = members
        .iter()
        .map(|(_, private, _)| {
            Scheme::signer(&namespace, participants.clone(), private.clone()).expect("a member")
        })
        .collect();
    let committee = VoteCommittee::new(epoch, &namespace, &keys).expect("valid keys");
    Engine { schemes, keys, committee }
}

impl Engine {
    fn finalize(
        &self,
        epoch: u64,
        view: u64,
        parent: u64,
        payload: B256,
        signers: &[usize],
    ) -> Vec<u8> {
        let proposal = Proposal::new(
            Round::new(Epoch::new(epoch), View::new(view)),
            View::new(parent),
            Digest::from(payload.0),
        );
        let votes: Vec<_> = signers
            .iter()
            .map(|signer| {
                Finalize::sign(&self.schemes[*signer], proposal.clone()).expect("a signer")
            })
            .collect();
        Finalization::from_finalizes(&self.schemes[0], non_empty![@votes.iter()], &Sequential)
            .expect("a quorum")
            .encode()
            .to_vec()
    }
}

#[test]
fn the_engines_certificates_decode_verify_and_encode_again() {
    for n in [1u64, 2, 4, 7, 8, 9, 13, 16] {
        let engine = engine(n, 5);
        let n = n as usize;
        let q = engine.committee.quorum();
        assert_eq!(q, n - (n - 1) / 3);
        // The first quorum, the last quorum, and everyone, in an order of its own.
        for signers in [(0..q).collect::<Vec<_>>(), (n - q..n).rev().collect(), (0..n).collect()] {
            let payload = B256::repeat_byte(n as u8);
            let bytes = engine.finalize(5, 1 << 40, 127, payload, &signers);
            let certificate =
                FinalizationCertificate::decode_engine(&bytes, n).expect("the engine's bytes");
            assert_eq!(
                (certificate.epoch, certificate.view, certificate.parent_view),
                (5, 1 << 40, 127)
            );
            assert_eq!(certificate.payload, payload);
            let mut expected: Vec<_> = signers.iter().map(|signer| *signer as u16).collect();
            expected.sort_unstable();
            assert_eq!(certificate.signers, expected);
            assert_eq!(certificate.verify(&engine.committee), Ok(()));
            assert_eq!(certificate.encode_engine(), bytes);
            assert!(bytes.len() <= MAX_CERTIFICATE_BYTES);
        }
    }
}

#[test]
fn our_votes_are_the_engines_votes() {
    let commitment = FOUR.commitment(&Block::genesis(&FOUR.genesis).commitment.commitment, &[]);
    let certificate = FOUR.certificate(&commitment);
    let private =
        |member: usize| Private::decode(FOUR.members[member].vote_secret.to_vec()).expect("valid");
    let participants: BiMap<_, _> = BiMap::try_from(
        (0..4)
            .map(|member| {
                (
                    ed25519::PrivateKey::from_seed(member as u64).public_key(),
                    compute_public::<MinSig>(&private(member)),
                )
            })
            .collect::<Vec<_>>(),
    )
    .expect("distinct");
    let namespace = FOUR.vote_committee().namespace();
    let proposal = Proposal::new(
        Round::new(Epoch::new(0), View::new(certificate.view)),
        View::new(certificate.parent_view),
        Digest::from(commitment.digest().0),
    );
    let scheme: EngineScheme =
        Scheme::signer(namespace, participants, private(2)).expect("a member");
    let vote = Finalize::sign(&scheme, proposal).expect("a signer");
    let ours = sign_finalize_vote(
        &FOUR.members[2].vote_secret,
        namespace,
        0,
        certificate.view,
        certificate.parent_view,
        commitment.digest(),
    );
    let theirs = vote.attestation.signature.get().expect("just signed").encode();
    assert_eq!(ours.expect("valid secret"), theirs.as_ref());
}

#[test]
fn tampering_with_any_part_fails() {
    let engine = engine(7, 5);
    let bytes = engine.finalize(5, 9, 8, B256::repeat_byte(1), &[0, 1, 2, 3, 6]);
    let good = FinalizationCertificate::decode_engine(&bytes, 7).expect("the engine's bytes");
    assert_eq!(good.verify(&engine.committee), Ok(()));

    let changed = |change: &dyn Fn(&mut FinalizationCertificate)| {
        let mut certificate = good.clone();
        change(&mut certificate);
        certificate.verify(&engine.committee).expect_err("tampered")
    };
    use CertificateError as E;
    assert_eq!(changed(&|c| c.view += 1), E::Signature);
    assert_eq!(changed(&|c| c.parent_view -= 1), E::Signature);
    assert_eq!(changed(&|c| c.payload.0[0] ^= 1), E::Signature);
    assert_eq!(changed(&|c| c.epoch += 1), E::Epoch { expected: 5, got: 6 });
    assert_eq!(changed(&|c| c.members = 8), E::CommitteeSize { expected: 7, got: 8 });
    assert_eq!(changed(&|c| c.signers = vec![0, 1, 2, 3, 5]), E::Signature);
    assert_eq!(changed(&|c| c.signers = vec![0, 1, 2, 3, 5, 6]), E::Signature);
    assert_eq!(changed(&|c| c.signers = vec![0, 1, 2, 3]), E::Quorum { quorum: 5, got: 4 });
    assert_eq!(changed(&|c| c.signers = vec![0, 1, 2, 3, 3, 6]), E::Signers);
    assert_eq!(changed(&|c| c.signers = vec![6, 3, 2, 1, 0]), E::Signers);
    assert_eq!(changed(&|c| c.signers = vec![0, 1, 2, 3, 6, 7]), E::Signers);
    assert_eq!(changed(&|c| c.signers.clear()), E::Quorum { quorum: 5, got: 0 });
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    assert_eq!(changed(&|c| c.signature = infinity), E::Signature);
    assert_eq!(changed(&|c| c.signature = [0; 48]), E::Signature);
    assert_eq!(changed(&|c| c.signature[0] ^= 0x20), E::Signature, "the negated signature");

    let namespace = engine_namespace(B256::repeat_byte(4));
    let other_chain = VoteCommittee::new(5, &namespace, &engine.keys).expect("valid keys");
    assert_eq!(good.verify(&other_chain), Err(E::Signature));
    let other_size = self::engine(4, 5).committee;
    assert_eq!(good.verify(&other_size), Err(E::CommitteeSize { expected: 4, got: 7 }));
}

#[test]
fn a_signature_outside_the_subgroup_is_refused() {
    // The first point on the curve with a small x; one in 2^125 would be in the subgroup.
    let stray = (1..=255)
        .find_map(|x| {
            let mut bytes = [0; 48];
            (bytes[0], bytes[47]) = (0x80, x);
            blst::min_sig::Signature::uncompress(&bytes).ok()
        })
        .expect("half of all x are on the curve");
    assert!(!stray.subgroup_check());
    let commitment = FOUR.commitment(&Block::genesis(&FOUR.genesis).commitment.commitment, &[]);
    let good = FOUR.certificate(&commitment);
    let sum = blst::min_sig::AggregateSignature::aggregate(
        &[&blst::min_sig::Signature::uncompress(&good.signature).expect("a point"), &stray],
        false,
    )
    .expect("two points");
    let shifted =
        FinalizationCertificate { signature: sum.to_signature().to_bytes(), ..good.clone() };
    assert_eq!(good.verify(FOUR.vote_committee()), Ok(()));
    assert_eq!(shifted.verify(FOUR.vote_committee()), Err(CertificateError::Signature));
}

#[test]
fn non_canonical_certificates_do_not_decode() {
    let engine = engine(7, 5);
    let bytes = engine.finalize(5, 9, 8, B256::repeat_byte(1), &[0, 1, 2, 3, 6]);
    let decode = |bytes: &[u8]| FinalizationCertificate::decode_engine(bytes, 7);
    assert!(decode(&bytes).is_ok());
    assert!(FinalizationCertificate::decode_engine(&bytes, 8).is_err(), "another committee size");
    // Epoch 5 as two bytes: 0x85 0x00.
    let long = [&[0x85, 0x00], &bytes[1..]].concat();
    assert!(decode(&long).is_err(), "long varint");
    let huge = [&[0xff; 9][..], &[0x02], &bytes[1..]].concat();
    assert!(decode(&huge).is_err(), "varint over 64 bits");
    let bitmap = bytes.len() - 48 - 1;
    let mut surplus = bytes.clone();
    surplus[bitmap] |= 0x80;
    assert!(decode(&surplus).is_err(), "a bit beyond the last member");
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "truncated");
    }
}

#[test]
fn possession_is_proved_by_the_owner_alone() {
    let secret = FOUR.members[0].vote_secret;
    let key = vote_public_key(&secret).expect("valid");
    let proof = vote_key_pop_sign(&secret).expect("valid");
    assert_eq!(vote_key_pop_verify(&key, &proof), Ok(()));

    // The engine's library agrees, both ways.
    let private = Private::decode(secret.to_vec()).expect("valid");
    let public = compute_public::<MinSig>(&private);
    let theirs = sign_proof_of_possession::<MinSig>(&private, domain::VOTE_KEY_POSSESSION);
    assert_eq!(theirs.encode().as_ref(), proof);
    let decoded = <MinSig as Variant>::Signature::decode(proof.to_vec()).expect("a point");
    assert!(
        verify_proof_of_possession::<MinSig>(&public, domain::VOTE_KEY_POSSESSION, &decoded)
            .is_ok()
    );

    let other = FOUR.members[1].vote_secret;
    let other_key = vote_public_key(&other).expect("valid");
    assert_eq!(vote_key_pop_verify(&other_key, &proof), Err(VoteKeyError::Possession));
    // A finalize vote over the key's bytes is no proof: the domains differ.
    let vote = blst::min_sig::SecretKey::from_bytes(&secret).expect("valid").sign(
        &key,
        b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_",
        &[],
    );
    assert_eq!(vote_key_pop_verify(&key, &vote.to_bytes()), Err(VoteKeyError::Possession));
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    assert_eq!(vote_key_pop_verify(&infinity, &proof), Err(VoteKeyError::PublicKey));
    assert_eq!(vote_public_key(&[0; 32]), Err(VoteKeyError::Secret));
    assert_eq!(vote_public_key(&[0xff; 32]), Err(VoteKeyError::Secret));
}

#[test]
fn only_a_verified_certificate_certifies() {
    let parent = Block::genesis(&FOUR.genesis).commitment.commitment;
    let commitment = FOUR.commitment(&parent, &[]);
    let votes = FOUR.vote_committee();
    let certificate = FOUR.certificate(&commitment);
    let certified = Certified::by_certificate(commitment.clone(), &certificate, votes)
        .expect("a quorum signed");
    assert_eq!(certified.get(), &commitment);
    assert_eq!(certified.digest(), commitment.digest());
    assert_eq!(certified.certificate(), Some(&certificate));

    let by = |certificate: &FinalizationCertificate| {
        Certified::by_certificate(commitment.clone(), certificate, votes)
            .expect_err("not a certificate of it")
    };
    assert_eq!(
        by(&FOUR.certificate_by(&commitment, &[0, 1])),
        CertificateError::Quorum { quorum: 3, got: 2 }
    );
    let claimed = FinalizationCertificate { signers: vec![0, 1, 3], ..certificate.clone() };
    assert_eq!(by(&claimed), CertificateError::Signature);
    let other = OrderCommitment { timestamp_ms: 0, ..commitment.clone() };
    assert_eq!(by(&FOUR.certificate(&other)), CertificateError::OtherCommitment);
    let pasted =
        FinalizationCertificate { payload: commitment.digest(), ..FOUR.certificate(&other) };
    assert_eq!(by(&pasted), CertificateError::Signature);
    let later = OrderCommitment { epoch: 1, ..commitment.clone() };
    assert_eq!(
        Certified::by_certificate(later.clone(), &FOUR.certificate(&later), votes),
        Err(CertificateError::Epoch { expected: 0, got: 1 })
    );
}

#[test]
fn a_parent_is_certified_by_its_child_alone() {
    let genesis = Block::genesis(&FOUR.genesis).commitment.commitment;
    let envelope = FOUR.envelope(&payer(1), FOUR.header(0), b"m");
    let first = FOUR.commitment(&genesis, std::slice::from_ref(&envelope));
    let second = FOUR.commitment(&first, &[]);
    let third = FOUR.commitment(&second, &[]);
    let third = FOUR.certify(third);
    let second = Certified::by_child(second, &third).expect("its parent");
    assert_eq!(second.finality(), &Finality::Child(third.digest()));
    assert_eq!(second.certificate(), None);
    // And so on down.
    let by_child = Certified::by_child(first.clone(), &second).expect("its parent");
    assert_eq!(by_child.get(), &first);

    assert_eq!(
        Certified::by_child(first.clone(), &third),
        Err(CertificateError::NotAChild),
        "grandchild"
    );
    let other = OrderCommitment { order_root: order_root(&[]), count: 0, ..first.clone() };
    assert_eq!(
        Certified::by_child(other, &second),
        Err(CertificateError::NotAChild),
        "a sibling of the parent"
    );
    let wrong_height = OrderCommitment { height: 7, ..FOUR.commitment(&first, &[]) };
    let wrong_height = FOUR.certify(wrong_height);
    assert_eq!(
        Certified::by_child(first, &wrong_height),
        Err(CertificateError::NotAChild),
        "height"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_byte_verifies(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let commitment = FOUR.commitment(&Block::genesis(&FOUR.genesis).commitment.commitment, &[]);
        let mut bytes = FOUR.certificate(&commitment).encode_engine();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let verdict = FinalizationCertificate::decode_engine(&bytes, 4)
            .map(|certificate| certificate.verify(FOUR.vote_committee()));
        prop_assert!(!matches!(verdict, Ok(Ok(()))));
    }
}
