//! The formats of `wire`: what decodes encodes to the same bytes, in bounded memory, and hashing or
//! checking it cannot fail in a way that no error names.

use crate::{
    bounded::{bounded, canonical},
    input::seldom,
    world::{COMMITTEE, PUBLIC, RULES},
};
use blindfold_wire::{
    AdmissionReceipt, Block, CheckedEnvelope, Envelope, Evidence, ForcedItem, ForcedSpan, Genesis,
    MAX_GAS_CLASS, MerkleProof, OpeningSet, OrderCommitment, ShareBundle, Signature65,
    SignedBundleHeader, SignedCommitment, SignedReceipt, SigningKey, TxStatus,
    bundle::BundleHeader,
    decode_opening, encode_opening,
    forced::{MAX_FORCED_BYTES_PER_HEIGHT, taken_at_once},
    opening_hash, share_leaf, share_proof, shares_root,
};

pub(crate) fn envelope(data: &[u8]) -> bool {
    let Some(envelope) = canonical(data, |data| Envelope::decode(data).ok(), Envelope::encode)
    else {
        return false;
    };
    assert_eq!(envelope.size_bytes(), data.len());
    // The id leaves the signature out, and nothing else.
    let unsigned = Envelope { signature: Signature65::ZERO, ..envelope.clone() };
    assert_eq!(unsigned.id(), envelope.id());
    if let Ok(checked) = CheckedEnvelope::check(&RULES, data) {
        assert_eq!(checked.bytes().as_ref(), data);
        assert_eq!(Ok(checked.payer()), envelope.recover_payer());
    }
    true
}

pub(crate) fn commitment(data: &[u8]) -> bool {
    canonical(data, |data| OrderCommitment::decode(data).ok(), OrderCommitment::encode)
        .map(|commitment| commitment.digest())
        .is_some()
}

pub(crate) fn signed_commitment(data: &[u8]) -> bool {
    canonical(data, |data| SignedCommitment::decode(data).ok(), SignedCommitment::encode)
        .map(|signed| signed.recover_leader())
        .is_some()
}

pub(crate) fn block(data: &[u8]) -> bool {
    let Some(block) = canonical(data, |data| Block::decode(data).ok(), Block::encode) else {
        return false;
    };
    // The shape and the checks agree on what the block holds.
    let shape = block.validate_shape();
    if !seldom(data, 64) {
        return true;
    }
    let checked = block.check_envelopes(&RULES, [7; 32]);
    match (&shape, &checked) {
        (Ok(ids), Ok(checked)) => {
            let checked: Vec<_> = checked.iter().map(CheckedEnvelope::id).collect();
            assert_eq!(ids, &checked);
        }
        (Err(error), Ok(_)) => panic!("envelopes are good, the shape is not: {error}"),
        (_, Err(_)) => {}
    }
    true
}

/// A forced item, and what ordering and execution ask of it before anything is checked.
pub(crate) fn forced_item(data: &[u8]) -> bool {
    let decoded = canonical(data, |data| ForcedItem::decode(data).ok(), ForcedItem::encode);
    let Some(item) = decoded else { return false };
    assert!(item.encode().len() <= item.size_bytes());
    let _ = (item.hash(), item.credit());
    assert!(item.reserved_gas() <= MAX_GAS_CLASS);
    assert_eq!(taken_at_once([&item], &COMMITTEE.genesis.params), 1, "the queue stops");
    true
}

pub(crate) fn forced_span(data: &[u8]) -> bool {
    let decoded = canonical(data, |data| ForcedSpan::decode(data).ok(), ForcedSpan::encode);
    let Some(span) = decoded else { return false };
    // Bound to a commitment that follows its parent, if its items follow each other.
    if let Some(parent) = span.parent().filter(|parent| parent.forced_cursor < u64::MAX / 2) {
        let (forced_cursor, forced_hash) = span.head();
        let commitment = OrderCommitment {
            parent: parent.digest(),
            forced_cursor,
            forced_hash,
            ..OrderCommitment::default()
        };
        let expected = (parent.forced_cursor..).zip(span.items());
        let follow = expected.fold(true, |follow, (index, item)| follow && index == item.index);
        assert_eq!(
            span.check(&commitment).is_ok(),
            follow && span.size_bytes() <= MAX_FORCED_BYTES_PER_HEIGHT
        );
    }
    true
}

pub(crate) fn bundle_header(data: &[u8]) -> bool {
    canonical(data, |data| BundleHeader::decode(data).ok(), BundleHeader::encode)
        .map(|header| header.digest())
        .is_some()
}

pub(crate) fn signed_bundle_header(data: &[u8]) -> bool {
    canonical(data, |data| SignedBundleHeader::decode(data).ok(), SignedBundleHeader::encode)
        .map(|signed| signed.recover_signer())
        .is_some()
}

pub(crate) fn bundle(data: &[u8]) -> bool {
    let Some(bundle) = canonical(data, |data| ShareBundle::decode(data).ok(), ShareBundle::encode)
    else {
        return false;
    };
    let signer = COMMITTEE.members[0].signer.address();
    if bundle.verify_signature(signer).is_ok() {
        assert_eq!(bundle.signed_header().recover_signer(), Ok(signer));
    }
    // A share is provable under the root of the shares, whatever bytes it has.
    if let Some((last, share)) = (0u32..).zip(&bundle.shares).last() {
        let proof = share_proof(&bundle.shares, last).expect("in range");
        assert!(proof.verify(shares_root(&bundle.shares), share_leaf(last, share)));
    }
    true
}

pub(crate) fn opening(data: &[u8]) -> bool {
    canonical(data, |data| decode_opening(data).ok(), encode_opening)
        .map(|opening| opening_hash(&opening))
        .is_some()
}

pub(crate) fn opening_set(data: &[u8]) -> bool {
    canonical(data, |data| OpeningSet::decode(data).ok(), OpeningSet::encode).is_some()
}

pub(crate) fn receipt(data: &[u8]) -> bool {
    let Some(signed) =
        canonical(data, |data| SignedReceipt::decode(data).ok(), SignedReceipt::encode)
    else {
        return false;
    };
    let receipt: &AdmissionReceipt = &signed.receipt;
    assert_eq!(signed.recover_signer(), signed.signature.recover(receipt.digest()));
    true
}

pub(crate) fn evidence(data: &[u8]) -> bool {
    let decoded = canonical(data, |data| Evidence::decode(data).ok(), Evidence::encode);
    let Some(evidence) = decoded else { return false };
    if let Ok(offender) = evidence.verify(&COMMITTEE.genesis, &PUBLIC) {
        // Nobody is accused who is not in the genesis document, and never under another's name.
        let member = &COMMITTEE.genesis.committee.members[offender.member as usize];
        assert_eq!(member.signer, offender.signer);
    }
    assert!(!evidence.offence().is_empty());
    assert_eq!(evidence.id(), alloy_primitives::keccak256(data));
    true
}

pub(crate) fn genesis_rlp(data: &[u8]) -> bool {
    let Some(genesis) = canonical(data, |data| Genesis::decode(data).ok(), Genesis::encode) else {
        return false;
    };
    // Two encodings of one document: RLP, and JSON for people.
    let again = Genesis::from_json(&genesis.to_json()).expect("own JSON");
    assert_eq!(again, genesis);
    let _ = genesis.key_id();
    true
}

pub(crate) fn genesis_json(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(genesis) = bounded(data.len(), || Genesis::from_json(text)) else { return false };
    // JSON has many encodings of one document; the RLP has one, and reads back.
    let rlp = genesis.encode();
    if let Ok(decoded) = Genesis::decode(&rlp) {
        assert_eq!(decoded, genesis);
        assert_eq!(decoded.hash(), genesis.hash());
    } else {
        // What RLP cannot carry (unordered slots, a field over its bound) no valid document has.
        assert!(genesis.validate().is_err(), "a valid document without an encoding");
    }
    assert_eq!(Genesis::from_json(&genesis.to_json()).expect("own JSON"), genesis);
    true
}

pub(crate) fn merkle_proof(data: &[u8]) -> bool {
    let decoded = canonical(data, |data| MerkleProof::decode(data).ok(), MerkleProof::encode);
    let Some(proof) = decoded else { return false };
    let (root, leaf) = (alloy_primitives::keccak256(data), alloy_primitives::B256::ZERO);
    assert!(!proof.verify(root, leaf), "proved something about an unrelated root");
    true
}

pub(crate) fn status(data: &[u8]) -> bool {
    let Ok(status) = bounded(data.len(), || serde_json::from_slice::<TxStatus>(data)) else {
        return false;
    };
    let json = serde_json::to_vec(&status).expect("a plain value");
    assert_eq!(serde_json::from_slice::<TxStatus>(&json).expect("own JSON"), status);
    let _ = status.is_terminal();
    true
}

/// Points, scalars and signatures: fixed lengths, so the first byte chooses which.
pub(crate) fn keys(data: &[u8]) -> bool {
    use blindfold_crypto::{CommitteeKey, DecryptionKey};
    let Some((kind, data)) = data.split_first() else { return false };
    fn fixed<const N: usize>(data: &[u8]) -> Option<&[u8; N]> {
        data.try_into().ok()
    }
    match kind % 6 {
        0 => fixed(data).is_some_and(|bytes| {
            let key = CommitteeKey::from_bytes(bytes);
            key.is_ok_and(|key| {
                assert_eq!(&key.to_bytes(), bytes);
                true
            })
        }),
        1 => fixed(data).is_some_and(|bytes| DecryptionKey::from_bytes(bytes).is_ok()),
        2 => fixed(data).is_some_and(|bytes| {
            SigningKey::from_bytes(bytes).is_ok_and(|key| {
                key.expose(|secret| assert_eq!(secret, bytes));
                true
            })
        }),
        3 => fixed(data).is_some_and(|bytes| {
            Signature65::from_bytes(bytes).is_ok_and(|signature| {
                assert_eq!(&signature.to_bytes(), bytes);
                signature.recover(alloy_primitives::B256::repeat_byte(3)).is_ok()
            })
        }),
        4 => fixed(data).is_some_and(|bytes| {
            blindfold_wire::VoteCommittee::new(0, b"fuzz", std::slice::from_ref(bytes)).is_ok()
        }),
        _ => fixed(data)
            .is_some_and(|bytes| blindfold_ordering::engine::parse_identity(bytes).is_some()),
    }
}
