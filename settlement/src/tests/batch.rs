//! Collecting heights until they fill a batch.

use alloy_primitives::Address;
use blindfold_crypto::{Opening, Seed, seal};
use blindfold_wire::{CheckedEnvelope, SigningKey, sign_envelope};

use super::{HISTORY, chain};
use crate::{
    batch::{BatchBuilder, CertifiedHeight, Draft, Limits, Posting, PushError},
    blobs,
    derive::{InboxChecked, Start, derive},
    testkit::TestHistory,
};

fn push(
    builder: &mut BatchBuilder,
    history: &TestHistory,
    height: &CertifiedHeight,
) -> Result<(), PushError> {
    let leader = history.leaders.leader(height.signed.commitment.view);
    builder.push(&height.opened, height.signed.signature, leader)
}

/// Posts all heights, as many at a time as the builder lets in.
fn post_all(history: &TestHistory, limits: Limits) -> Vec<Draft> {
    let (mut drafts, mut next) = (Vec::new(), 0);
    while next < history.heights.len() {
        let mut builder = BatchBuilder::new(limits);
        for height in &history.heights[next..] {
            match push(&mut builder, history, height) {
                Ok(()) => {}
                Err(PushError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let draft = builder.build().unwrap();
        assert!(draft.data.len() <= limits.max_data_bytes);
        next = draft.last.height as usize;
        drafts.push(draft);
    }
    drafts
}

#[test]
fn limits_are_kept() {
    let heights = post_all(&HISTORY, Limits { max_heights: 2, ..Limits::default() });
    assert_eq!(heights.iter().map(|draft| draft.last.height).collect::<Vec<_>>(), [2, 4, 5]);
    // As much data as the largest height takes.
    let alone = post_all(&HISTORY, Limits { max_heights: 1, ..Limits::default() });
    let max_data_bytes = alone.iter().map(|draft| draft.data.len()).max().unwrap();
    let limits = Limits { max_data_bytes, ..Limits::default() };
    assert!(post_all(&HISTORY, limits).len() > 1);
    // Less: there is a height that can never be posted.
    let limits = Limits { max_data_bytes: max_data_bytes - 1, ..limits };
    let refused = HISTORY
        .heights
        .iter()
        .find_map(|height| push(&mut BatchBuilder::new(limits), &HISTORY, height).err());
    assert!(matches!(refused, Some(PushError::TooLarge { got, .. }) if got == max_data_bytes));
}

#[test]
fn what_would_be_an_offence_is_not_taken() {
    let mut builder = BatchBuilder::new(Limits::default());
    let [first, second, third, ..] = &HISTORY.heights[..] else { panic!("five heights") };
    push(&mut builder, &HISTORY, first).unwrap();
    assert_eq!(push(&mut builder, &HISTORY, third), Err(PushError::NotNext(3)));
    assert_eq!(push(&mut builder, &HISTORY, first), Err(PushError::NotNext(1)));
    let leader = HISTORY.leaders.leader(second.signed.commitment.view);
    let refused = builder.push(&second.opened, second.signed.signature, Address::ZERO);
    assert_eq!(refused, Err(PushError::Leader { expected: Address::ZERO, got: leader }));
    let refused = builder.push(&second.opened, first.signed.signature, leader);
    assert!(matches!(refused, Err(PushError::Leader { .. } | PushError::Signature(_))));
    assert_eq!(builder.len(), 1);
}

/// Readers refuse what unpacks to too much for its length, so what compresses too well together is stored as it is,
/// and then it may be too long. A wallet must not be able to stop the posters with envelopes full of zeros.
#[test]
fn what_compresses_too_well_together_is_posted_in_parts() {
    let mut history = TestHistory::new(21);
    let item = full_of_zeros(&history);
    for _ in 0..24 {
        history.push_items(vec![item.clone()]);
    }
    // They seem to fit one batch, and do not.
    let mut builder = BatchBuilder::new(Limits::default());
    history.heights.iter().for_each(|height| push(&mut builder, &history, height).unwrap());
    assert!(builder.build().unwrap().last.height < 24);
    let drafts = post_all(&history, Limits::default());
    let (rules, mut at) = (chain(&history), Start::of_chain(&history.committee.genesis));
    for draft in &drafts {
        let data_hash = blobs::calldata_hash(&draft.data);
        let posting = Posting { parent: at.batch, data_hash, ..Posting::default() };
        let header = draft.header(&posting);
        derive(&rules, &at, &header, &draft.data, &InboxChecked, 1).unwrap();
        at = at.after(&header);
    }
    assert_eq!(at.first_height, 25);
    // Heights that only their descendants certify go along with these.
    for index in (0..23).filter(|index| index % 6 != 4) {
        history.certify_by_child(index);
    }
    let ends = post_all(&history, Limits::default());
    assert!(ends.len() > 1);
    assert!(ends.iter().all(|draft| draft.last.height % 6 == 5 || draft.last.height == 24));
}

fn full_of_zeros(history: &TestHistory) -> (CheckedEnvelope, Opening) {
    let rules = history.committee.genesis.admission_rules().unwrap();
    let (payer, header) = (SigningKey::random([7; 32]), history.committee.header(0));
    let (seed, message) = (Seed::from_bytes([8; 32]), vec![0; 60_000]);
    let label = header.label(payer.address());
    let sealed = seal(&rules.committee, &label, &seed, &message).unwrap();
    let envelope = sign_envelope(header, sealed, &payer);
    let envelope = CheckedEnvelope::check(&rules, &envelope.encode()).unwrap();
    (envelope, Opening::Opened { seed: *seed.expose(), message })
}
