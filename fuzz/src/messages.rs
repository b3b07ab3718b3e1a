//! What arrives from other members: the engine's blocks and certificates, gossip, and the members' own
//! messages.

use crate::{
    bounded::{bounded, canonical},
    input::{Input, seldom},
    node::messages::{
        MAX_ENVELOPE_MESSAGE_BYTES, MAX_SHARE_MESSAGE_BYTES, ShareMessage, pack_envelopes,
        unpack_envelopes,
    },
    world::{COMMITTEE, ENVELOPES, GENESIS_COMMITMENT, PUBLIC, RULES},
};
use blindfold_ordering::{
    block::{BlockCodec, BlockGate, LENGTH_PREFIX_BYTES, OrderedBlock, from_digest},
    engine::{Digest, OrderingScheme},
    schedule::LeaderSchedule,
    validity::LeaderBook,
    watch::{Effect, Watch},
};
use blindfold_wire::{
    Block, CheckedEnvelope, FinalizationCertificate, MAX_BLOCK_BYTES, SignedCommitment,
};
use bytes::Bytes;
use commonware_codec::{Decode as _, Encode as _};
use commonware_consensus::simplex::types::Finalization;
use commonware_cryptography::Digestible as _;
use std::sync::{Arc, LazyLock};

/// Checks what a member checks where blocks enter from peers.
struct Gate;

impl BlockGate for Gate {
    fn admits(&self, block: &OrderedBlock) -> bool {
        block.block().check_envelopes(&RULES, [1; 32]).is_ok()
    }
}

/// A block as the engine's channels carry it, against the plain decoder.
pub(crate) fn ordered_block(data: &[u8]) -> bool {
    let codec =
        |gate: Option<Arc<dyn BlockGate>>| BlockCodec { max_block_bytes: MAX_BLOCK_BYTES, gate };
    let bytes = Bytes::copy_from_slice(data);
    let decoded = bounded(data.len(), || OrderedBlock::decode_cfg(bytes.clone(), &codec(None)));
    let plain = data.split_first_chunk::<LENGTH_PREFIX_BYTES>().and_then(|(length, body)| {
        let good = u32::from_be_bytes(*length) as usize == body.len();
        Block::decode(body).ok().filter(|block| good && block.validate_shape().is_ok())
    });
    match (&decoded, &plain) {
        (Ok(decoded), Some(plain)) => assert_eq!(decoded.block(), plain),
        (Err(_), None) => {}
        (decoded, plain) => panic!("the engine's decoder: {decoded:?}; ours: {plain:?}"),
    }
    let Ok(decoded) = decoded else { return false };
    assert_eq!(decoded.encode().as_ref(), data, "two encodings of one block");
    assert_eq!(from_digest(&decoded.digest()), decoded.commitment().digest());
    // With the gate fewer blocks pass, never more, and never a different one.
    if seldom(data, 64)
        && let Ok(gated) = OrderedBlock::decode_cfg(bytes, &codec(Some(Arc::new(Gate))))
    {
        assert_eq!(gated.block(), decoded.block());
    }
    true
}

/// A finalization certificate against the engine's own decoder, and its verdict. The first byte is the
/// size of the committee.
pub(crate) fn certificate(data: &[u8]) -> bool {
    let Some((members, data)) = data.split_first() else { return false };
    let members = usize::from(*members);
    let ours = canonical(
        data,
        |data| FinalizationCertificate::decode_engine(data, members).ok(),
        FinalizationCertificate::encode_engine,
    );
    let theirs =
        Finalization::<OrderingScheme, Digest>::decode_cfg(Bytes::copy_from_slice(data), &members);
    // The engine takes smaller committees here and refuses them later; it refuses a certificate of
    // nobody here, which we do when verifying.
    let theirs = theirs.ok().filter(|theirs| theirs.certificate.signers.len() == members);
    match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => {
            assert_eq!(theirs.encode().as_ref(), data);
            assert_eq!(from_digest(&theirs.proposal.payload), ours.payload);
            assert_eq!(theirs.certificate.signers.count(), ours.signers.len());
            assert_eq!(theirs.proposal.parent.get(), ours.parent_view);
        }
        (Some(ours), None) => assert!(ours.signers.is_empty(), "the engine refuses {ours:?}"),
        (None, Some(_)) => panic!("the engine decodes what we refuse"),
        (None, None) => {}
    }
    let Some(ours) = ours else { return false };
    if members == COMMITTEE.members.len() && ours.verify(COMMITTEE.vote_committee()).is_ok() {
        // Nobody signed but the committee, and it signed these.
        static GENUINE: LazyLock<[FinalizationCertificate; 2]> = LazyLock::new(|| {
            let first = COMMITTEE.commitment(&GENESIS_COMMITMENT, &ENVELOPES[..3]);
            [COMMITTEE.certificate(&GENESIS_COMMITMENT), COMMITTEE.certificate(&first)]
        });
        assert!(GENUINE.contains(&ours), "a forged certificate: {ours:?}");
    }
    true
}

/// Gossiped commitments, several in one input, each with two bytes of length before it.
pub(crate) fn watch(data: &[u8]) -> bool {
    static LEADERS: LazyLock<LeaderBook> = LazyLock::new(|| {
        let weights: Vec<u64> =
            COMMITTEE.genesis.committee.members.iter().map(|member| member.stake).collect();
        let schedule = LeaderSchedule::new(0, COMMITTEE.genesis.hash(), &weights).expect("stakes");
        LeaderBook::new(&COMMITTEE.genesis, schedule)
    });
    let mut watch = Watch::new(LEADERS.clone());
    let mut input = Input::new(data);
    let mut observed = false;
    while !input.is_empty() {
        let length = usize::from(input.u16());
        if length == 0 {
            watch.advance(input.u64());
            continue;
        }
        let Ok(signed) = SignedCommitment::decode(input.bytes(length)) else { continue };
        let before = watch.len();
        match watch.observe(signed.clone()) {
            Ok(Effect::Gossip(same)) => {
                assert_eq!(same, signed);
                assert_eq!(LEADERS.check(&signed), Ok(()), "kept another than the leader's");
                observed = true;
            }
            Ok(Effect::Evidence { evidence, second }) => {
                assert_eq!(second, signed);
                evidence.verify(&COMMITTEE.genesis, &PUBLIC).expect("evidence that convinces");
            }
            Ok(Effect::Nothing) | Err(_) => assert_eq!(watch.len(), before),
        }
    }
    observed
}

/// A message on the share channel.
pub(crate) fn share_message(data: &[u8]) -> bool {
    let message = canonical(data, |data| ShareMessage::decode(data).ok(), ShareMessage::encode);
    if message.is_some() {
        assert!(data.len() <= MAX_SHARE_MESSAGE_BYTES);
    }
    message.is_some()
}

/// A message of envelopes: unpacked, packed again, and each checked.
pub(crate) fn envelope_message(data: &[u8]) -> bool {
    let Ok(envelopes) = bounded(data.len(), || unpack_envelopes(data)) else { return false };
    let packed = pack_envelopes(&envelopes);
    if data.len() <= MAX_ENVELOPE_MESSAGE_BYTES {
        assert_eq!(packed.concat(), data, "two encodings of one message");
        assert!(packed.len() <= 1);
    }
    if seldom(data, 256) {
        let batch = CheckedEnvelope::check_batch(&RULES, &envelopes, [3; 32]);
        assert_eq!(batch.len(), envelopes.len());
    }
    !envelopes.is_empty()
}
