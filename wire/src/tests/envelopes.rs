//! Admission of envelopes: whatever an attacker takes from a victim's envelope, it cannot use.

use blindfold_crypto::{CommitteeKey, dealer, seal};

use super::{FOUR, payer};
use crate::*;

fn rules() -> AdmissionRules {
    FOUR.genesis.admission_rules().expect("valid key")
}

/// A well-made envelope of `owner` over `message`.
fn made_by(owner: &SigningKey, header: EnvelopeHeader, message: &[u8]) -> Envelope {
    FOUR.envelope(owner, header, message).envelope().clone()
}

/// Both ways to check agree; returns their verdict.
fn check(envelope: &Envelope) -> Result<CheckedEnvelope, EnvelopeError> {
    let bytes: Bytes = envelope.encode().into();
    let single = CheckedEnvelope::check(&rules(), &bytes);
    // Beside a good one, so that the batch has something to combine.
    let good = FOUR.envelope(&payer(99), FOUR.header(0), b"good").bytes().clone();
    let mut batch = CheckedEnvelope::check_batch(&rules(), &[good, bytes], [5; 32]);
    assert!(batch[0].is_ok());
    assert_eq!(batch.pop(), Some(single.clone()), "batch and single check disagree");
    if let Err(error) = &single {
        assert!(error.peer_at_fault());
    }
    single
}

#[test]
fn a_well_made_envelope_passes_and_says_who_pays() {
    let owner = payer(1);
    let envelope = made_by(&owner, FOUR.header(7), b"swap");
    let checked = check(&envelope).expect("well made");
    assert_eq!(checked.payer(), owner.address());
    assert_eq!(checked.id(), envelope.id());
    assert_eq!(checked.label(), &envelope.header.label(owner.address()));
    assert_eq!(checked.bytes().as_ref(), envelope.encode());
    assert_eq!(checked.size_bytes(), envelope.size_bytes());
}

#[test]
fn no_part_of_a_victims_ciphertext_serves_an_attacker() {
    let (victim, attacker) = (payer(1), payer(2));
    let theirs = made_by(&victim, FOUR.header(0), b"buy 100").ciphertext;
    let own = made_by(&attacker, FOUR.header(0), b"sell 100").ciphertext;
    type Copy = fn(&mut Ciphertext, &Ciphertext);
    let fields: [(&str, Copy); 7] = [
        ("u", |mine, theirs| mine.u = theirs.u),
        ("u_bar", |mine, theirs| mine.u_bar = theirs.u_bar),
        ("w", |mine, theirs| mine.w = theirs.w),
        ("w_bar", |mine, theirs| mine.w_bar = theirs.w_bar),
        ("z", |mine, theirs| mine.z = theirs.z),
        ("wrapped_seed", |mine, theirs| mine.wrapped_seed = theirs.wrapped_seed),
        ("body", |mine, theirs| mine.body.clone_from(&theirs.body)),
    ];
    // Every set of copied fields, from none to all of them.
    for set in 0..1u32 << fields.len() {
        let mut mixed = own.clone();
        let mut copied = Vec::new();
        for (bit, (name, copy)) in fields.iter().enumerate() {
            if set >> bit & 1 == 1 {
                copy(&mut mixed, &theirs);
                copied.push(*name);
            }
        }
        let envelope = sign_envelope(FOUR.header(0), mixed, &attacker);
        let verdict = CheckedEnvelope::check(&rules(), &envelope.encode());
        if copied.is_empty() {
            assert!(verdict.is_ok());
        } else {
            assert!(
                matches!(verdict, Err(EnvelopeError::Ciphertext(_))),
                "copying {copied:?} was accepted"
            );
        }
    }
}

#[test]
fn a_ciphertext_serves_one_header_only() {
    let owner = payer(1);
    let envelope = made_by(&owner, FOUR.header(0), b"once");
    let changes: [fn(&mut EnvelopeHeader); 5] = [
        |h| h.payer_nonce += 1,
        |h| h.max_fee_per_gas += 1,
        |h| h.max_priority_fee_per_gas += 1,
        |h| h.gas_limit *= 2,
        |h| h.expiry_height += 1,
    ];
    for change in changes {
        let mut header = envelope.header.clone();
        change(&mut header);
        let resigned = sign_envelope(header, envelope.ciphertext.clone(), &owner);
        assert!(matches!(check(&resigned), Err(EnvelopeError::Ciphertext(_))));
    }
}

#[test]
fn a_changed_header_under_the_old_signature_is_another_payers_and_refused() {
    let owner = payer(1);
    let mut envelope = made_by(&owner, FOUR.header(0), b"once");
    envelope.header.payer_nonce = 1;
    match check(&envelope) {
        Err(EnvelopeError::Ciphertext(_) | EnvelopeError::Signature(_)) => {}
        other => panic!("accepted or refused for another reason: {other:?}"),
    }
}

#[test]
fn a_malleable_signature_is_refused() {
    // The order of secp256k1; s' = n − s with the other parity verifies under plain ECDSA.
    let order = U256::from_be_bytes(secp256k1::constants::CURVE_ORDER);
    let owner = payer(1);
    let mut envelope = made_by(&owner, FOUR.header(0), b"once");
    let low = U256::from_be_bytes(envelope.signature.s);
    envelope.signature.s = (order - low).to_be_bytes();
    envelope.signature.y_parity = !envelope.signature.y_parity;
    assert_eq!(check(&envelope), Err(EnvelopeError::Signature(SignatureError::HighS)));
    assert_eq!(envelope.recover_payer(), Err(SignatureError::HighS));
}

#[test]
fn signatures_out_of_range_recover_to_nobody() {
    let digest = B256::repeat_byte(7);
    let good = payer(1).sign_digest(digest);
    assert_eq!(good.recover(digest), Ok(payer(1).address()));
    for bad in [
        Signature65::ZERO,
        Signature65 { r: [0; 32], ..good },
        Signature65 { s: [0; 32], ..good },
        Signature65 { r: [0xff; 32], ..good },
        Signature65 { r: secp256k1::constants::CURVE_ORDER, ..good },
    ] {
        assert_eq!(bad.recover(digest), Err(SignatureError::Unrecoverable));
    }
    assert_eq!(Signature65 { s: [0xff; 32], ..good }.recover(digest), Err(SignatureError::HighS));
    assert_ne!(good.recover(B256::repeat_byte(8)), Ok(payer(1).address()));
    assert_eq!(Signature65::from_bytes(&good.to_bytes()), Ok(good));
    let mut v0 = good.to_bytes();
    v0[64] -= 27;
    assert!(Signature65::from_bytes(&v0).is_err());
}

#[test]
fn each_stateless_rule_refuses() {
    let owner = payer(1);
    let with = |change: fn(&mut EnvelopeHeader)| {
        let mut header = FOUR.header(0);
        change(&mut header);
        let key = rules().committee;
        let label = header.label(owner.address());
        let ciphertext = seal(&key, &label, &Seed::from_bytes([3; 32]), b"m").expect("fits");
        check(&sign_envelope(header, ciphertext, &owner))
    };
    assert!(with(|_| ()).is_ok());
    assert!(matches!(with(|h| h.chain_id += 1), Err(EnvelopeError::WrongChain { .. })));
    assert!(matches!(with(|h| h.key_id.0[0] ^= 1), Err(EnvelopeError::UnknownKey { .. })));
    assert!(matches!(with(|h| h.gas_limit -= 1), Err(EnvelopeError::GasClass(_))));
    assert!(matches!(with(|h| h.gas_limit = 1 << 25), Err(EnvelopeError::GasClass(_))));
    assert_eq!(
        with(|h| h.max_priority_fee_per_gas = h.max_fee_per_gas + 1),
        Err(EnvelopeError::Fees)
    );

    let mut short = made_by(&owner, FOUR.header(0), b"m");
    short.ciphertext.body.pop();
    let short = sign_envelope(short.header, short.ciphertext, &owner);
    assert!(matches!(check(&short), Err(EnvelopeError::BodyLength { got_bytes: 271 })));

    let too_long = vec![ENVELOPE_TYPE; MAX_ENVELOPE_BYTES + 1];
    assert!(matches!(CheckedEnvelope::check(&rules(), &too_long), Err(EnvelopeError::Size { .. })));
    assert!(matches!(
        CheckedEnvelope::check(&rules(), &[]),
        Err(EnvelopeError::Decode(DecodeError::Empty))
    ));
}

#[test]
fn an_envelope_sealed_to_another_committee_is_refused() {
    let other = dealer::deal(4, 3, [9; 32]).expect("possible committee");
    let key = CommitteeKey::from_bytes(&other.y).expect("valid key");
    let (owner, header) = (payer(1), FOUR.header(0));
    let label = header.label(owner.address());
    let ciphertext = seal(&key, &label, &Seed::from_bytes([3; 32]), b"m").expect("fits");
    assert!(matches!(
        check(&sign_envelope(header, ciphertext, &owner)),
        Err(EnvelopeError::Ciphertext(_))
    ));
}

#[test]
fn a_block_is_its_envelopes_in_order() {
    let envelopes: Vec<_> =
        (1..4).map(|n| FOUR.envelope(&payer(n), FOUR.header(0), &[n as u8])).collect();
    let parent = Block::genesis(&FOUR.genesis).commitment.commitment;
    let commitment = FOUR.commitment(&parent, &envelopes).sign(&FOUR.members[0].signer);
    let bytes: Vec<_> = envelopes.iter().map(|envelope| envelope.bytes().clone()).collect();
    let block = Block { commitment, envelopes: bytes, forced: ForcedSpan::none() };
    let ids: Vec<_> = envelopes.iter().map(CheckedEnvelope::id).collect();
    assert_eq!(block.validate_shape(), Ok(ids.clone()));
    assert_eq!(block.check_envelopes(&rules(), [1; 32]), Ok(envelopes.clone()));
    assert_eq!(block.commitment.recover_leader(), Ok(FOUR.members[0].signer.address()));
    assert_eq!(Block::decode(&block.encode()), Ok(block.clone()));
    for position in 0..3 {
        let proof = order_proof(&ids, position).expect("in range");
        assert!(proof.verify(
            block.commitment.commitment.order_root,
            order_leaf(position, ids[position as usize])
        ));
    }

    let mut swapped = block.clone();
    swapped.envelopes.swap(0, 1);
    assert_eq!(swapped.validate_shape(), Err(BlockError::OrderRoot));
    assert_eq!(swapped.check_envelopes(&rules(), [1; 32]), Err(BlockError::OrderRoot));
    let mut missing = block.clone();
    missing.envelopes.pop();
    assert_eq!(missing.validate_shape(), Err(BlockError::Count { expected: 3, got: 2 }));

    // A relay garbles a payer's signature: the digest stays, the shape stays, the check refuses.
    let mut garbled = block.clone();
    let mut envelope = envelopes[1].envelope().clone();
    envelope.signature = payer(9).sign_digest(envelope.signing_digest());
    garbled.envelopes[1] = envelope.encode().into();
    assert_eq!(garbled.digest(), block.digest());
    assert!(garbled.validate_shape().is_ok());
    assert!(matches!(
        garbled.check_envelopes(&rules(), [1; 32]),
        Err(BlockError::Envelope { position: 1, source: EnvelopeError::Ciphertext(_) })
    ));
}

#[test]
fn an_opened_batch_is_the_certified_order_and_nothing_else() {
    let envelopes: Vec<_> =
        (1..4).map(|n| FOUR.envelope(&payer(n), FOUR.header(0), &[n as u8])).collect();
    let certified = FOUR.certify_order(&envelopes);
    let opening = |n: u8| Opening::Opened { seed: [n; 32], message: vec![n] };
    let items: Vec<_> = envelopes.into_iter().zip((1..4).map(opening)).collect();
    let batch = OpenedBatch::new(certified.clone(), items.clone()).expect("the certified order");
    assert_eq!(batch.height(), 1);
    assert_eq!(batch.items().len(), 3);
    let set = OpeningSet {
        height: 1,
        commitment: certified.digest(),
        openings: (1..4).map(opening).collect(),
    };
    assert_eq!(batch.encode_opening_set(), set.encode());

    let mut other = items.clone();
    other[2].1 = opening(9);
    let other = OpenedBatch::new(certified.clone(), other).expect("openings are judged elsewhere");
    assert_ne!(batch.opening_root(), other.opening_root());

    let mut swapped = items.clone();
    swapped.swap(0, 1);
    assert_eq!(OpenedBatch::new(certified.clone(), swapped), Err(OpenedBatchError::OrderRoot));
    assert_eq!(
        OpenedBatch::new(certified, items[..2].to_vec()),
        Err(OpenedBatchError::Count { expected: 3, got: 2 })
    );
}

#[test]
fn secrets_do_not_show() {
    let key = SigningKey::from_bytes(&[0x42; 32]).expect("valid");
    assert!(!format!("{key:?}").contains("4242"));
    assert_eq!(key.expose(|secret| *secret), [0x42; 32]);
    assert_eq!(SigningKey::from_bytes(&[0; 32]).err(), Some(SigningKeyError));
    assert_eq!(SigningKey::from_bytes(&[0xff; 32]).err(), Some(SigningKeyError));
}
