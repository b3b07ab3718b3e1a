//! From shares to openings to blocks: nothing but the truth opens, and whatever was sealed executes
//! or is skipped.

use crate::{
    input::Input,
    world::{COMMITTEE, ENVELOPES, GENESIS_COMMITMENT, PAYERS, PUBLIC, key, sealed, sign},
};
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, TxKind, U256, keccak256};
use blindfold_crypto::{Opening, Share, check_opening, decide};
use blindfold_execution::{
    BlockContext, BlockRecord, Executor as _, SequentialExecutor, Transaction, Verdict,
    escrow::ESCROW_ADDRESS,
    genesis_block,
    state::{MemoryStore, ParentState, StateStore},
};
use blindfold_wire::{Certified, CheckedEnvelope, OpenedBatch, OrderCommitment, SkipReason};
use std::sync::{Arc, LazyLock};

/// Right shares and the right opening of an envelope.
struct Opened {
    envelope: &'static CheckedEnvelope,
    shares: Vec<Share>,
    opening: Opening,
}

static OPENED: LazyLock<Vec<Opened>> = LazyLock::new(|| {
    ENVELOPES
        .iter()
        .map(|envelope| {
            let (label, ciphertext) = sealed(envelope);
            let share =
                |member: usize| COMMITTEE.members[member].decryption.share(envelope.ephemeral());
            let shares: Vec<_> = (0..COMMITTEE.members.len()).map(share).collect();
            let numbered: Vec<_> = shares.iter().copied().enumerate().collect();
            let opening = decide(&PUBLIC, &label, ciphertext, &numbered).opening;
            Opened { envelope, shares, opening: opening.expect("four good shares") }
        })
        .collect()
});

/// Shares, some of them changed, in any order and more than once: the verdict is the right opening or
/// none, and nobody is blamed for a right share.
pub(crate) fn shares(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let truth = &OPENED[input.below(OPENED.len())];
    let (label, ciphertext) = sealed(truth.envelope);
    let mut shown: Vec<(usize, Share)> = Vec::new();
    for _ in 0..input.below(7) {
        let member = input.below(5);
        let right = truth.shares.get(member).copied().unwrap_or(truth.shares[0]);
        let mut share = right;
        match input.below(6) {
            0 => share = Share(input.array()),
            1 => share.0[input.below(96)] ^= input.u8().max(1),
            // Another member's, or of another envelope.
            2 => share = truth.shares[input.below(4)],
            3 => share = OPENED[input.below(OPENED.len())].shares[input.below(4)],
            _ => {}
        }
        shown.push((member, share));
    }
    let verdict = decide(&PUBLIC, &label, ciphertext, &shown);
    if let Some(opening) = &verdict.opening {
        assert_eq!(opening, &truth.opening, "opened to something else");
    }
    let first_of = |member: usize| shown.iter().find(|(shower, _)| *shower == member);
    for blamed in &verdict.blamed {
        let (_, share) = first_of(*blamed).expect("blamed for a share that it showed");
        assert_ne!(share, &truth.shares[*blamed], "blamed for a right share");
    }
    let right = (0..truth.shares.len())
        .filter(|member| {
            first_of(*member).is_some_and(|(_, share)| *share == truth.shares[*member])
        })
        .count();
    assert!(right < PUBLIC.threshold() || verdict.opening.is_some(), "enough right shares");
    verdict.opening.is_some()
}

/// An opening that somebody serves: only the right one is believed.
pub(crate) fn served_opening(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let truth = &OPENED[input.below(OPENED.len())];
    let (label, ciphertext) = sealed(truth.envelope);
    let mut opening = truth.opening.clone();
    match input.below(6) {
        0 => {}
        1 => match &mut opening {
            Opening::Opened { seed, .. } => seed[input.below(32)] ^= input.u8(),
            Opening::Undecryptable { secret } => secret[input.below(48)] ^= input.u8(),
        },
        2 => {
            if let Opening::Opened { message, .. } = &mut opening {
                let at = usize::from(input.u16());
                match message.get_mut(at) {
                    Some(byte) => *byte ^= input.u8(),
                    None => message.truncate(at % 64),
                }
            }
        }
        3 => opening = OPENED[input.below(OPENED.len())].opening.clone(),
        4 => opening = Opening::Undecryptable { secret: input.array() },
        _ => {
            let (seed, length) = (input.array(), usize::from(input.u16()));
            opening = Opening::Opened { seed, message: input.bytes(length).to_vec() };
        }
    }
    let believed = check_opening(&PUBLIC, &label, ciphertext, &opening).is_ok();
    assert_eq!(believed, opening == truth.opening, "{opening:?}");
    believed
}

/// What an envelope held: the transaction it is, in one encoding, or the reason to skip it.
pub(crate) fn inner_transaction(data: &[u8]) -> bool {
    let chain_id = COMMITTEE.genesis.chain_id;
    let decoded = Transaction::decode(data, chain_id, 1 << 24);
    // A smaller class changes the verdict to one reason only, and a wrong chain to another.
    match (&decoded, Transaction::decode(data, chain_id, 0)) {
        (Ok(transaction), Ok(_)) => {
            assert_eq!(alloy_consensus::Transaction::gas_limit(transaction.signed()), 0);
        }
        (Ok(_), Err(reason)) => assert_eq!(reason, SkipReason::GasAboveClass),
        (Err(_), Ok(_)) => panic!("a smaller class admits more"),
        (Err(large), Err(small)) => {
            assert!(*large == small || small == SkipReason::GasAboveClass, "{large} {small}");
        }
    }
    let Ok(transaction) = decoded else { return false };
    assert_eq!(transaction.encode(), data, "two encodings of one transaction");
    assert_eq!(transaction.hash(), keccak256(data));
    assert!(matches!(
        Transaction::decode(data, chain_id ^ 1, 1 << 24),
        Err(SkipReason::WrongChain)
    ));
    true
}

/// Envelopes of one block in [`execution`], at most.
const BLOCK: usize = 3;
/// The chain after its genesis block, and the certified height 1 for one to three envelopes.
static CHAIN: LazyLock<(ParentState, Vec<Certified<OrderCommitment>>)> = LazyLock::new(|| {
    let store = Arc::new(MemoryStore::new());
    let block = genesis_block(&COMMITTEE.genesis).expect("valid genesis");
    store.apply(block.writes()).expect("memory");
    let state = ParentState::open(store as Arc<dyn StateStore>).expect("written");
    let certified = (0..=BLOCK)
        .map(|count| {
            let commitment = COMMITTEE.commitment(&GENESIS_COMMITMENT, &ENVELOPES[..count]);
            COMMITTEE.certify(commitment)
        })
        .collect();
    (state, certified)
});

/// A block whose envelopes held anything at all: it executes, twice to the same bytes, every envelope
/// has an outcome, and each payer pays what is due.
pub(crate) fn execution(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let (state, certified) = &*CHAIN;
    let count = 1 + input.below(BLOCK);
    let messages: Vec<Option<Vec<u8>>> = (0..count).map(|_| message(&mut input)).collect();
    let items = messages.iter().zip(ENVELOPES.iter()).map(|(message, envelope)| {
        let opening = match message {
            Some(message) => Opening::Opened { seed: [0; 32], message: message.clone() },
            None => Opening::Undecryptable { secret: [0; 48] },
        };
        (envelope.clone(), opening)
    });
    let batch = OpenedBatch::new(certified[count].clone(), items.collect()).expect("as ordered");
    let context = BlockContext::without_forced(Address::repeat_byte(0xbe));
    let executor = SequentialExecutor::new(&COMMITTEE.genesis);
    let block = executor.execute(state, &batch, &context).expect("no content is an error");
    assert_eq!(executor.execute(state, &batch, &context).expect("again"), block);

    let record = &block.record;
    assert_eq!(&BlockRecord::decode(&record.encode()).expect("own encoding"), &**record);
    assert_eq!(record.outcomes.len(), count);
    assert_eq!(record.receipts.len(), record.transactions.len());
    let mut executed = false;
    let mut reserved = 0u64;
    for ((outcome, message), envelope) in
        record.outcomes.iter().zip(&messages).zip(ENVELOPES.iter())
    {
        assert_eq!((outcome.envelope_id, outcome.payer), (envelope.id(), envelope.payer()));
        assert!(!outcome.charge_wei.is_zero(), "ordered for nothing");
        let class = envelope.header().gas_limit;
        reserved += class;
        let decoded = message
            .as_ref()
            .map(|message| Transaction::decode(message, COMMITTEE.genesis.chain_id, class));
        match (&outcome.verdict, decoded) {
            (Verdict::Undecryptable, None) => {}
            (Verdict::Skipped { reason, .. }, Some(Err(why))) => assert_eq!(*reason, why),
            (Verdict::Skipped { transaction_hash, .. }, Some(Ok(transaction))) => {
                assert_eq!(*transaction_hash, Some(transaction.hash()));
            }
            (Verdict::Executed { transaction_hash, .. }, Some(Ok(transaction))) => {
                executed = true;
                assert_eq!(*transaction_hash, transaction.hash());
            }
            (verdict, decoded) => panic!("{verdict:?} for {decoded:?}"),
        }
    }
    assert!(record.header.gas_used <= reserved, "more gas than was reserved");
    executed
}

/// What an envelope held: nothing that opens, raw bytes, or a well-signed transaction.
fn message(input: &mut Input<'_>) -> Option<Vec<u8>> {
    match input.below(4) {
        0 => None,
        1 => {
            let length = usize::from(input.u16());
            Some(input.bytes(length).to_vec())
        }
        _ => {
            let kind = match input.below(6) {
                0 => TxKind::Create,
                1 => TxKind::Call(ESCROW_ADDRESS),
                // Precompiles.
                2 => TxKind::Call(Address::with_last_byte(input.u8())),
                3 => TxKind::Call(key(input.below(PAYERS)).address()),
                _ => TxKind::Call(Address::from(input.array::<20>())),
            };
            let sender = input.below(PAYERS);
            let inner = TxEip1559 {
                chain_id: COMMITTEE.genesis.chain_id,
                nonce: u64::from(input.u8() % 3),
                gas_limit: u64::from(input.u16()) * 2,
                max_fee_per_gas: u128::from(input.u16()) * 1_000_000,
                max_priority_fee_per_gas: u128::from(input.u16()) * 1_000_000,
                to: kind,
                value: U256::from(input.u64()) << input.below(24),
                access_list: Default::default(),
                input: {
                    let length = usize::from(input.u16());
                    input.bytes(length).to_vec().into()
                },
            };
            Some(sign(sender, inner).encoded_2718())
        }
    }
}

/// The openings and shares of [`ENVELOPES`], for seeds.
pub(crate) fn right() -> impl Iterator<Item = (&'static Opening, &'static [Share])> {
    OPENED.iter().map(|opened| (&opened.opening, opened.shares.as_slice()))
}
