//! What is read from L1: batch data, blobs, evidence, and what posters show when they are asked.

mod chain;
mod misposted;

use self::chain::{CHAIN, EVIDENCE};
use crate::{
    bounded::{bounded, canonical},
    input::Input,
};
use blindfold_settlement::{
    EncodeError, Finding, Offence, Posted, Revealed, blobs, codec,
    derive::{InboxChecked, derive},
    find,
    find::Executed,
    testkit::{KINDS, TestHistory},
};

pub(crate) use self::misposted::misposted;

/// Bytes that reading batch data may hold for each byte of it (and for each of [`FREE_DATA`] more), as a multiple
/// of what [`bounded`] allows for a byte. A byte unpacks to at most 64 of columns; two bytes of a column may stand
/// for a word of 32 in a message, which is held twice while it is put together; then columns are made again.
const UNPACKED: usize = 24;
/// What unpacks to more than its length allows may do so by 64 KiB.
const FREE_DATA: usize = 1 << 10;
/// Envelopes that are sealed again in a run, at most: time goes with their number, and the codec's bounds allow
/// more than a run has time for.
const MAX_SEALED: usize = 64;

/// Batch data: one meaning, and heights that are the certified ones or a fault that names its place.
pub(crate) fn batch_data(data: &[u8]) -> bool {
    let Ok(batch) = bounded(UNPACKED * (data.len() + FREE_DATA), || codec::decode(data)) else {
        return false;
    };
    // The column stream has one encoding, whatever frame it came in. Ours may be longer than another's.
    match codec::encode(&batch) {
        Ok(again) => assert_eq!(codec::decode(&again).as_ref(), Ok(&batch)),
        Err(error) => assert!(matches!(error, EncodeError::TooLong { .. }), "{error}"),
    }
    if batch.heights.iter().map(|height| height.items.len()).sum::<usize>() > MAX_SEALED {
        return true;
    }
    let chain = &*CHAIN;
    let (rules, start, header) = (&chain.rules, &chain.start, &chain.header);
    let derived = derive(rules, start, header, data, &InboxChecked, 1);
    if let Ok(derived) = &derived {
        for (derived, known) in derived.iter().zip(&chain.history.heights) {
            assert_eq!(derived.signed.commitment, known.signed.commitment);
            let items = derived.items.iter().map(|item| (&item.bytes, item.id, &item.opening));
            let known = known.opened.items().iter();
            assert!(items.eq(known.map(|it| (it.envelope.bytes(), it.envelope.id(), &it.opening))));
        }
    }
    // The leaves are right, so nobody can be accused; and what does not derive is asked for.
    let revealed = Revealed::default();
    let executed = Executed::UNKNOWN;
    let posted = Posted { header, previous: None, data: Some(data), revealed: &revealed, executed };
    let findings = find(rules, start, &posted, &chain.history.heights).expect("these heights");
    assert_eq!(findings.is_empty(), derived.is_ok());
    assert!(!findings.iter().any(|finding| matches!(finding, Finding::Proven(_))));
    true
}

/// Data in blobs: there and back, and no other blobs for it.
pub(crate) fn blob_data(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (mask, in_front, high, low) = (input.u8().max(1), input.u8(), input.u8(), input.u16());
    let Ok(mut packed) = blobs::pack(data) else { return false };
    assert_eq!(packed.len(), blobs::count(data.len()));
    assert_eq!(bounded(data.len(), || blobs::unpack(&packed)).as_deref(), Ok(data));
    // Change a byte of the first blob: where the length and the data begin, or anywhere.
    let near = usize::from(low) % (data.len() + 64);
    let anywhere = (usize::from(high & 1) << 16) + usize::from(low);
    let index = if in_front & 1 == 0 { near } else { anywhere };
    packed[0][index] ^= mask;
    if let Ok(other) = blobs::unpack(&packed) {
        assert_ne!(other, data);
        assert_eq!(blobs::pack(&other).as_ref(), Ok(&packed), "two blobs for the same data");
    }
    true
}

/// Evidence: one encoding, and nobody is convicted but the one whom all true evidence is against.
pub(crate) fn offence(data: &[u8]) -> bool {
    let Some(offence) = canonical(data, |data| Offence::decode(data).ok(), Offence::encode) else {
        return false;
    };
    let (chain, (_, batches)) = (&*CHAIN, &*EVIDENCE);
    let call = bounded(data.len(), || offence.to_call(&chain.rules));
    let Ok(culprit) = offence.verify(&chain.rules, batches) else { return false };
    assert_eq!(culprit.signer, chain.culprit(), "an honest member accused: {culprit:?}");
    assert_eq!(culprit.kind, offence.kind());
    assert!(call.is_ok(), "true evidence that L1 cannot be told");
    true
}

/// Seeds by target.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let data = &CHAIN.draft.data;
    let all = TestHistory::with_heights(5, &[&KINDS]);
    let mut seeds = vec![
        ("batch_data", data.clone()),
        ("batch_data", all.draft(0..1).data),
        ("blob_data", data.clone()),
        ("blob_data", vec![1, 1, 1, 2, 3]),
    ];
    seeds.extend(EVIDENCE.0.iter().map(|offence| ("offence", offence.encode())));
    seeds.extend(misposted::seeds().into_iter().map(|seed| ("misposted", seed)));
    seeds
}
