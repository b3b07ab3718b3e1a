//! Tests over whole heights, and what they share: a committee of four, of which three open.

mod collecting;
mod deciding;
mod opening;
mod releasing;
mod setting_up;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use blindfold_crypto::{CommitteePublic, DecryptionKey, Opening, Share};
use blindfold_wire::{
    B256, Block, Certified, CheckedEnvelope, OpenedBatch, OrderCommitment, ShareBundle, SigningKey,
    U256, testkit::TestCommittee,
};

use crate::{
    MemberSeat, MemoryJournal, Releaser, SealedBatch, SigningJournal, collector::CollectorConfig,
};

pub(super) const MEMBERS: u32 = 4;

pub(super) static COMMITTEE: LazyLock<TestCommittee> = LazyLock::new(|| TestCommittee::new(4, 11));

pub(super) static PUBLIC: LazyLock<CommitteePublic> =
    LazyLock::new(|| COMMITTEE.genesis.committee_public().unwrap());

pub(super) fn message(number: u64) -> Vec<u8> {
    format!("message {number}").into_bytes()
}

/// The `number`-th test envelope; sealing takes milliseconds, so each is made once.
pub(super) fn envelope(number: u64) -> CheckedEnvelope {
    static MADE: LazyLock<Mutex<HashMap<u64, CheckedEnvelope>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    made.entry(number)
        .or_insert_with(|| {
            let payer = SigningKey::random(U256::from(number + 1).to_be_bytes());
            COMMITTEE.envelope(&payer, COMMITTEE.header(0), &message(number))
        })
        .clone()
}

/// A commitment that orders `numbers` at `height`; `fork` tells two of one height apart.
pub(super) fn commitment(height: u64, numbers: &[u64], fork: u8) -> OrderCommitment {
    let mut parent = Block::genesis(&COMMITTEE.genesis).commitment.commitment;
    parent.height = height - 1;
    parent.order_root = B256::repeat_byte(fork);
    let envelopes: Vec<_> = numbers.iter().copied().map(envelope).collect();
    COMMITTEE.commitment(&parent, &envelopes)
}

pub(super) fn certified(height: u64, numbers: &[u64], fork: u8) -> Certified<OrderCommitment> {
    COMMITTEE.certify(commitment(height, numbers, fork))
}

pub(super) fn batch(height: u64, numbers: &[u64], fork: u8) -> SealedBatch {
    SealedBatch::new(
        certified(height, numbers, fork),
        numbers.iter().copied().map(envelope).collect(),
    )
    .unwrap()
}

pub(super) fn seat(member: u32) -> MemberSeat {
    MemberSeat {
        chain_id: COMMITTEE.genesis.chain_id,
        settlement: COMMITTEE.genesis.settlement,
        member,
    }
}

pub(super) fn decryption_key(member: u32) -> DecryptionKey {
    COMMITTEE.members[member as usize]
        .decryption
        .expose(|bytes| DecryptionKey::from_bytes(bytes).unwrap())
}

pub(super) fn signer(member: u32) -> SigningKey {
    COMMITTEE.members[member as usize].signer.expose(|bytes| SigningKey::from_bytes(bytes).unwrap())
}

/// A releaser as it comes up after a start over `store`.
pub(super) fn releaser(member: u32, store: &Arc<MemoryJournal>) -> Releaser<Arc<MemoryJournal>> {
    let journal = Arc::new(SigningJournal::new(Arc::clone(store)));
    Releaser::new(seat(member), decryption_key(member), signer(member), journal)
}

/// What an honest member sends for a batch.
pub(super) fn honest(member: u32, batch: &SealedBatch) -> ShareBundle {
    let release = releaser(member, &Arc::default()).release(batch, 1).unwrap();
    release.map(|release| ShareBundle::clone(&release.bundle)).unwrap()
}

/// Any shares, signed by `member` for `digest`: what an attacker with a member's keys can send.
pub(super) fn signed(member: u32, height: u64, digest: B256, shares: Vec<Share>) -> ShareBundle {
    let seat = seat(member);
    ShareBundle::sign(
        seat.chain_id,
        seat.settlement,
        height,
        digest,
        member,
        shares,
        &signer(member),
    )
}

pub(super) fn collector_config(first_height: u64) -> CollectorConfig {
    CollectorConfig {
        chain_id: COMMITTEE.genesis.chain_id,
        settlement: COMMITTEE.genesis.settlement,
        public: PUBLIC.clone(),
        signers: COMMITTEE.genesis.committee.members.iter().map(|member| member.signer).collect(),
        first_height,
    }
}

pub(super) fn assert_opened(opened: &OpenedBatch, height: u64, numbers: &[u64]) {
    assert_eq!(opened.height(), height);
    let messages: Vec<_> = opened
        .items()
        .iter()
        .map(|item| match &item.opening {
            Opening::Opened { message, .. } => message.clone(),
            Opening::Undecryptable { .. } => panic!("sealed by the rules"),
        })
        .collect();
    assert_eq!(messages, numbers.iter().copied().map(message).collect::<Vec<_>>());
}
