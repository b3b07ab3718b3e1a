//! Every codec: what is written is read back, and whatever is read is written back as it was.

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::*;

/// A value with hand-written canonical bytes.
trait Canonical: Sized + PartialEq + std::fmt::Debug {
    fn bytes(&self) -> Vec<u8>;
    fn read(bytes: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! canonical {
    ($($type:ty),+) => {$(
        impl Canonical for $type {
            fn bytes(&self) -> Vec<u8> { self.encode() }
            fn read(bytes: &[u8]) -> Result<Self, DecodeError> { Self::decode(bytes) }
        }
    )+};
}

canonical!(
    Envelope,
    OrderCommitment,
    SignedCommitment,
    Block,
    ForcedItem,
    ForcedSpan,
    BundleHeader,
    SignedBundleHeader,
    ShareBundle,
    OpeningSet,
    SignedReceipt,
    Evidence,
    Genesis,
    MerkleProof
);

impl Canonical for Opening {
    fn bytes(&self) -> Vec<u8> {
        encode_opening(self)
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_opening(bytes)
    }
}

impl Canonical for FinalizationCertificate {
    fn bytes(&self) -> Vec<u8> {
        self.encode_engine()
    }
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_engine(bytes, CERTIFICATE_MEMBERS)
    }
}

/// Not a multiple of eight, so that the bitmap has unused bits.
const CERTIFICATE_MEMBERS: usize = 13;

/// One way to spoil bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    SetFront(usize, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Set(at, value) => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::SetFront(at, value) => {
                let at = (*at).min(bytes.len() - 1);
                bytes[at] = *value;
            }
            Self::Insert(at, value) => bytes.insert(at.index(bytes.len() + 1), *value),
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        // Headers and integers stand near the front, where damage tells most.
        (0usize..8, any::<u8>()).prop_map(|(at, value)| Damage::SetFront(at, value)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Damage::Insert(at, value)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Truncate),
    ]
}

fn check<T: Canonical>(value: T, damages: &[Damage]) -> Result<(), TestCaseError> {
    let bytes = value.bytes();
    prop_assert_eq!(T::read(&bytes), Ok(value));
    let mut appended = bytes.clone();
    appended.push(0);
    prop_assert!(T::read(&appended).is_err(), "trailing byte accepted");
    for damage in damages {
        let mut spoilt = bytes.clone();
        damage.apply(&mut spoilt);
        if let Ok(read) = T::read(&spoilt) {
            prop_assert_eq!(read.bytes(), spoilt, "a second encoding was accepted");
        }
    }
    Ok(())
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

fn digest() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

fn signature() -> impl Strategy<Value = Signature65> {
    any::<(bool, [u8; 32], [u8; 32])>().prop_map(|(y_parity, r, s)| Signature65 { y_parity, r, s })
}

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().expect("N bytes"))
}

/// Integers of every length, zero and the largest included.
fn int() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        (0u32..64, any::<u64>()).prop_map(|(shift, value)| value >> shift)
    ]
}

fn wide() -> impl Strategy<Value = u128> {
    prop_oneof![
        Just(0),
        Just(u128::MAX),
        (0u32..128, any::<u128>()).prop_map(|(shift, value)| value >> shift)
    ]
}

prop_compose! {
    fn header()(
        chain_id in int(), key_id: [u8; 8], payer_nonce in int(), fees in (wide(), wide()), gas_limit in int(),
        expiry_height in int(),
    ) -> EnvelopeHeader {
        EnvelopeHeader {
            chain_id, key_id: key_id.into(), payer_nonce, max_fee_per_gas: fees.0,
            max_priority_fee_per_gas: fees.1, gas_limit, expiry_height,
        }
    }
}

prop_compose! {
    fn envelope()(
        header in header(), points in [bytes::<48>(), bytes::<48>(), bytes::<48>(), bytes::<48>()], z: [u8; 32],
        wrapped_seed: [u8; 32], body in vec(any::<u8>(), 0..600), signature in signature(),
    ) -> Envelope {
        let [u, u_bar, w, w_bar] = points;
        Envelope { header, ciphertext: Ciphertext { u, u_bar, w, w_bar, z, wrapped_seed, body }, signature }
    }
}

prop_compose! {
    fn commitment()(
        chain_id in int(), settlement in address(), place in (int(), int(), int()), parent in digest(),
        timestamp_ms in int(), base_fee in wide(), count: u32, roots in (digest(), digest()), l1 in (int(), int(), int(), digest()),
    ) -> OrderCommitment {
        OrderCommitment {
            chain_id, settlement, epoch: place.0, height: place.1, view: place.2, parent, timestamp_ms, base_fee,
            count, order_root: roots.0, l1_block: l1.0, l1_base_fee: l1.1,
            forced_cursor: l1.2, forced_hash: l1.3, executed_root: roots.1,
        }
    }
}

fn signed_commitment() -> impl Strategy<Value = SignedCommitment> {
    (commitment(), signature())
        .prop_map(|(commitment, signature)| SignedCommitment { commitment, signature })
}

prop_compose! {
    fn forced_item()(index in int(), kind: u8, sender in address(), data in vec(any::<u8>(), 0..80)) -> ForcedItem {
        ForcedItem { index, kind, sender, data: data.into() }
    }
}

fn forced_span() -> impl Strategy<Value = ForcedSpan> {
    (commitment(), vec(forced_item(), 0..4))
        .prop_map(|(parent, items)| ForcedSpan::after(&parent, items))
}

fn block() -> impl Strategy<Value = Block> {
    (signed_commitment(), vec(vec(any::<u8>(), 0..80).prop_map(Bytes::from), 0..5), forced_span())
        .prop_map(|(commitment, envelopes, forced)| Block { commitment, envelopes, forced })
}

prop_compose! {
    fn bundle_header()(
        chain_id in int(), settlement in address(), height in int(), digests in (digest(), digest()), member: u32,
    ) -> BundleHeader {
        BundleHeader { chain_id, settlement, height, commitment: digests.0, shares_root: digests.1, member }
    }
}

fn signed_header() -> impl Strategy<Value = SignedBundleHeader> {
    (bundle_header(), signature())
        .prop_map(|(header, signature)| SignedBundleHeader { header, signature })
}

fn share() -> impl Strategy<Value = Share> {
    bytes::<96>().prop_map(Share)
}

fn bundle() -> impl Strategy<Value = ShareBundle> {
    (bundle_header(), vec(share(), 0..5), signature())
        .prop_map(|(header, shares, signature)| ShareBundle { header, shares, signature })
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        (any::<[u8; 32]>(), vec(any::<u8>(), 0..300))
            .prop_map(|(seed, message)| Opening::Opened { seed, message }),
        bytes::<48>().prop_map(|secret| Opening::Undecryptable { secret }),
    ]
}

fn merkle_proof() -> impl Strategy<Value = MerkleProof> {
    (any::<u32>(), any::<u32>(), vec(digest(), 0..6))
        .prop_map(|(count, index, siblings)| MerkleProof { count, index, siblings })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let bad_share =
        (signed_header(), share(), merkle_proof(), commitment(), envelope(), merkle_proof())
            .prop_map(|(bundle, share, share_proof, commitment, envelope, envelope_proof)| {
                BadShare {
                    bundle,
                    share,
                    share_proof,
                    commitment,
                    envelope: envelope.encode(),
                    envelope_proof,
                }
            });
    prop_oneof![
        (signed_commitment(), signed_commitment())
            .prop_map(|(first, second)| Evidence::Equivocation { first, second }),
        (signed_header(), signed_header())
            .prop_map(|(first, second)| Evidence::DoubleRelease { first, second }),
        bad_share.prop_map(|bad| Evidence::BadShare(Box::new(bad))),
    ]
}

prop_compose! {
    fn certificate()(
        place in (int(), int(), int()), payload in digest(), signers: u16, signature in bytes::<48>(),
    ) -> FinalizationCertificate {
        FinalizationCertificate {
            epoch: place.0, view: place.1, parent_view: place.2, payload, members: CERTIFICATE_MEMBERS as u16,
            signers: (0..CERTIFICATE_MEMBERS as u16).filter(|bit| signers >> bit & 1 == 1).collect(), signature,
        }
    }
}

prop_compose! {
    fn genesis()(
        ids in (int(), address(), int(), int()), epoch in int(), threshold: u32,
        y in bytes::<48>(), y2 in bytes::<96>(),
        members in vec((any::<[u8; 32]>(), bytes::<96>(), bytes::<48>(), address(), address(), int(), bytes::<96>()), 0..3),
        alloc in vec((address(), any::<[u8; 32]>(), int(), vec(any::<u8>(), 0..40), vec((digest(), digest()), 0..4)), 0..3),
        escrow in vec((address(), any::<[u8; 32]>()), 0..3),
    ) -> Genesis {
        Genesis {
            chain_id: ids.0, settlement: ids.1, timestamp_ms: ids.2, activation: ids.3,
            params: ChainParams { executed_lag: epoch, initial_base_fee: u128::from(epoch) << 64, ..ChainParams::default() },
            committee: CommitteeInfo {
                epoch, threshold, y, y2,
                members: members.into_iter().map(
                    |(identity, vote_key, vote_key_pop, signer, fee_address, stake, verification_key)| MemberInfo {
                        identity, vote_key, vote_key_pop, signer, fee_address, stake, verification_key,
                    },
                ).collect(),
            },
            alloc: alloc.into_iter().map(|(address, balance, nonce, code, storage)| GenesisAccount {
                address, balance: U256::from_be_bytes(balance), nonce, code: code.into(),
                storage: storage.into_iter().collect(),
            }).collect(),
            escrow: escrow.into_iter().map(|(address, amount)| (address, U256::from_be_bytes(amount))).collect(),
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    vec(damage(), 8)
}

macro_rules! codecs_are_canonical {
    ($($name:ident: $strategy:expr;)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(96))]
            $(#[test]
            fn $name(value in $strategy, damages in damages()) {
                check(value, &damages)?;
            })+
        }
    };
}

codecs_are_canonical! {
    envelope_codec: envelope();
    commitment_codec: commitment();
    signed_commitment_codec: signed_commitment();
    forced_item_codec: forced_item();
    forced_span_codec: forced_span();
    block_codec: block();
    bundle_header_codec: bundle_header();
    signed_bundle_header_codec: signed_header();
    bundle_codec: bundle();
    opening_codec: opening();
    opening_set_codec: (int(), digest(), vec(opening(), 0..4))
        .prop_map(|(height, commitment, openings)| OpeningSet { height, commitment, openings });
    receipt_codec: (int(), address(), digest(), any::<u32>(), int(), signature()).prop_map(
        |(chain_id, settlement, envelope_id, member, height_seen, signature)| SignedReceipt {
            receipt: AdmissionReceipt { chain_id, settlement, envelope_id, member, height_seen },
            signature,
        });
    evidence_codec: evidence();
    genesis_codec: genesis();
    merkle_proof_codec: merkle_proof();
    certificate_codec: certificate();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn genesis_json_round_trips(genesis in genesis()) {
        prop_assert_eq!(Genesis::from_json(&genesis.to_json()), Ok(genesis));
    }

    #[test]
    fn envelope_size_is_its_encoding_and_bounded(envelope in envelope()) {
        prop_assert_eq!(envelope.size_bytes(), envelope.encode().len());
        prop_assert!(envelope.size_bytes() <= MAX_ENVELOPE_BYTES);
    }

    #[test]
    fn the_signature_does_not_change_the_id_and_every_other_field_does(
        a in envelope(), signature in signature(), at in any::<Index>(), field in 0usize..14,
    ) {
        let resigned = Envelope { signature, ..a.clone() };
        prop_assert_eq!(resigned.id(), a.id());

        let mut b = a.clone();
        let c = &mut b.ciphertext;
        match field {
            0 => b.header.chain_id ^= 1,
            1 => b.header.key_id.0[at.index(8)] ^= 1,
            2 => b.header.payer_nonce ^= 1,
            3 => b.header.max_fee_per_gas ^= 1,
            4 => b.header.max_priority_fee_per_gas ^= 1,
            5 => b.header.gas_limit ^= 1,
            6 => b.header.expiry_height ^= 1,
            7 => c.u[at.index(48)] ^= 1,
            8 => c.u_bar[at.index(48)] ^= 1,
            9 => c.w[at.index(48)] ^= 1,
            10 => c.w_bar[at.index(48)] ^= 1,
            11 => c.z[at.index(32)] ^= 1,
            12 => c.wrapped_seed[at.index(32)] ^= 1,
            _ => c.body.push(0),
        }
        prop_assert_ne!(a.id(), b.id());
        if field < 7 {
            prop_assert_ne!(a.header.label(Address::ZERO), b.header.label(Address::ZERO));
        }
    }

    #[test]
    fn every_field_of_a_commitment_is_in_its_digest(a in commitment(), field in 0usize..15) {
        let mut b = a.clone();
        match field {
            0 => b.chain_id ^= 1,
            1 => b.settlement.0[3] ^= 1,
            2 => b.epoch ^= 1,
            3 => b.height ^= 1,
            4 => b.view ^= 1,
            5 => b.parent.0[3] ^= 1,
            6 => b.timestamp_ms ^= 1,
            7 => b.base_fee ^= 1,
            8 => b.count ^= 1,
            9 => b.order_root.0[3] ^= 1,
            10 => b.l1_block ^= 1,
            11 => b.l1_base_fee ^= 1,
            12 => b.forced_cursor ^= 1,
            13 => b.forced_hash.0[3] ^= 1,
            _ => b.executed_root.0[3] ^= 1,
        }
        prop_assert_ne!(a.digest(), b.digest());
    }
}

#[test]
fn the_largest_envelope_fits() {
    let ciphertext = Ciphertext {
        u: [0xff; 48],
        u_bar: [0xff; 48],
        w: [0xff; 48],
        w_bar: [0xff; 48],
        z: [0xff; 32],
        wrapped_seed: [0xff; 32],
        body: vec![0xff; blindfold_crypto::MAX_PADDED_BYTES + blindfold_crypto::TAG_BYTES],
    };
    let header = EnvelopeHeader {
        chain_id: u64::MAX,
        key_id: KeyId::repeat_byte(0xff),
        payer_nonce: u64::MAX,
        max_fee_per_gas: u128::MAX,
        max_priority_fee_per_gas: u128::MAX,
        gas_limit: u64::MAX,
        expiry_height: u64::MAX,
    };
    let envelope = Envelope {
        header,
        ciphertext,
        signature: Signature65 { y_parity: true, r: [0xff; 32], s: [0xff; 32] },
    };
    assert!(envelope.size_bytes() <= MAX_ENVELOPE_BYTES);
    assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
}

#[test]
fn oversize_inputs_are_refused_before_parsing() {
    for (limit, error) in [
        (MAX_ENVELOPE_BYTES, Envelope::decode(&vec![0x5e; MAX_ENVELOPE_BYTES + 1]).err()),
        (MAX_BLOCK_BYTES, Block::decode(&vec![0xf9; MAX_BLOCK_BYTES + 1]).err()),
        (MAX_BUNDLE_BYTES, ShareBundle::decode(&vec![0xf9; MAX_BUNDLE_BYTES + 1]).err()),
    ] {
        assert!(matches!(error, Some(DecodeError::TooLong { limit: found, .. }) if found == limit));
    }
    assert_eq!(Envelope::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(Envelope::decode(&[0x02, 0xc0]), Err(DecodeError::UnknownType(0x02)));
}

#[test]
fn the_largest_bundle_fits() {
    let header = BundleHeader {
        chain_id: u64::MAX,
        settlement: Address::repeat_byte(0xff),
        height: u64::MAX,
        commitment: B256::repeat_byte(0xff),
        shares_root: B256::repeat_byte(0xff),
        member: u32::MAX,
    };
    let bundle = ShareBundle {
        header,
        shares: vec![Share([0xff; 96]); MAX_BLOCK_COUNT],
        signature: Signature65::ZERO,
    };
    assert!(bundle.encode().len() <= MAX_BUNDLE_BYTES);
    assert_eq!(ShareBundle::decode(&bundle.encode()), Ok(bundle));
}

#[test]
fn gas_classes_are_powers_of_two_in_range() {
    assert_eq!(gas_class(0), Some(MIN_GAS_CLASS));
    assert_eq!(gas_class(MIN_GAS_CLASS), Some(MIN_GAS_CLASS));
    assert_eq!(gas_class(MIN_GAS_CLASS + 1), Some(MIN_GAS_CLASS * 2));
    assert_eq!(gas_class(MAX_GAS_CLASS), Some(MAX_GAS_CLASS));
    assert_eq!(gas_class(MAX_GAS_CLASS + 1), None);
    assert_eq!(gas_class(u64::MAX), None);
    assert!((15..=24).all(|exponent| is_gas_class(1 << exponent)));
    for wrong in [0, 1, 1 << 14, 1 << 25, (1 << 15) + 1, u64::MAX] {
        assert!(!is_gas_class(wrong));
    }
}
