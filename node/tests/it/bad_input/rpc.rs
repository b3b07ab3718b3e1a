//! Over the real port of a real network: every answer is the one in the table, and the network goes on.

use super::{Forge, fresh_seed};
use crate::harness::{Network, invariants, keys};
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use blindfold_crypto::testkit::seal_undecryptable;
use blindfold_node::{cli::tx, rpc::reasons};
use blindfold_sdk::{Client, ClientError, SigningKey, TxStatus};
use blindfold_wire::{
    B256, Prices, SkipReason,
    envelope::{Envelope, sign_envelope},
    fees,
};
use serde_json::{Value, json};

/// Resident memory a member may gain over all of this.
const GAIN_BYTES: u64 = 192 << 20;

/// The refusal of these bytes: exact code, reason and fault.
fn expect_refused(client: &Client, reason: &str, bytes: &[u8]) {
    let answer = client.request::<Value>("sealed_sendTransaction", [Bytes::copy_from_slice(bytes)]);
    let Err(ClientError::Refused { code, message, data }) = answer else {
        panic!("{reason}: {answer:?}")
    };
    let expected = reasons::find(reason).unwrap();
    assert_eq!(data, Some(json!({"reason": reason, "fault": expected.fault})), "{message}");
    assert_eq!(code, expected.code, "{reason}: {message}");
}

fn submit(client: &Client, envelope: &Envelope) -> B256 {
    client.submit(envelope).unwrap().receipt.envelope_id
}

#[test]
fn every_refusal_over_rpc_is_typed_and_nothing_else_is_disturbed() {
    let [key, poor, other] = keys();
    let mut network = Network::prepare(4, &[key.address(), other.address()]);
    // One with a pool so small that it is always full, one that keeps a single envelope of a payer.
    network.configure(3, |config| config.mempool.max_bytes = 1);
    network.configure(2, |config| config.mempool.max_per_payer = 1);
    network.run_all();
    let memory: Vec<u64> = (0..4).map(|member| network.resident_bytes(member)).collect();
    let client = &network.clients[0];
    let forge = Forge::new(&network.genesis, key.clone());

    for (reason, bytes) in forge.invalid() {
        expect_refused(client, reason, &bytes);
    }
    expect_refused(client, "empty", &[]);
    expect_refused(client, "plaintext", &[0x02, 0xc0]);

    // Stateful ones, on a payer that has ordered nothing.
    let mut payer = network.wallet(other.clone());
    let first = payer.send(&network, 0, 1);
    network.expect_executed(0, &first);
    let refused = |reason: &str, change: &dyn Fn(&mut blindfold_wire::EnvelopeHeader)| {
        let mut header = forge.header(0);
        change(&mut header);
        expect_refused(client, reason, &forge.seal(header, b"x").encode());
    };
    refused("expired", &|header| header.expiry_height = 1);
    refused("expiry_too_far", &|header| header.expiry_height = 1_000_000);
    refused("nonce_too_far", &|header| header.payer_nonce = network.genesis.params.nonce_window);
    refused("underpriced", &|header| {
        (header.max_fee_per_gas, header.max_priority_fee_per_gas) = (0, 0);
    });
    let unpaid = Forge::new(&network.genesis, poor).good(0);
    expect_refused(client, "unpaid", &unpaid.encode());
    expect_refused(&network.clients[3], "full", &forge.good(0).encode());

    // A gap in the nonces keeps these in the pool.
    let waiting = forge.good(5);
    submit(client, &waiting);
    expect_refused(client, "already_known", &waiting.encode());
    expect_refused(client, "replacement_underpriced", &forge.good(5).encode());
    // Gossip brings it to the one that keeps a single envelope of a payer.
    network.until("gossip arrives", || network.clients[2].status(waiting.id()).ok().flatten());
    expect_refused(&network.clients[2], "payer_full", &forge.good(8).encode());

    // Replayed after it was ordered, and another one with its nonce.
    let second = payer.seal(client).unwrap();
    let id = submit(client, &second);
    network.expect_executed(0, &[id]);
    expect_refused(client, "stale_nonce", &second.encode());
    let other = Forge::new(&network.genesis, other);
    expect_refused(client, "stale_nonce", &other.good(1).encode());

    let large = format!("0x{}", "00".repeat(1 << 20));
    let answer = client.request::<Value>("web3_sha3", [large]);
    assert!(answer.is_err(), "{answer:?}");

    // Some hundreds more of them leave nothing behind.
    let rows = forge.invalid();
    for round in 0..600 {
        let (reason, bytes) = &rows[round % rows.len()];
        expect_refused(&network.clients[round % 4], reason, bytes);
    }
    let ids = payer.send(&network, 1, 3);
    network.expect_executed(1, &ids);
    for (member, before) in memory.into_iter().enumerate() {
        let gain = network.resident_bytes(member).saturating_sub(before);
        assert!(gain < GAIN_BYTES, "member {member} gained {gain} bytes");
    }
}

/// A signed inner transaction; `change` spoils it.
fn inner(
    network: &Network,
    key: &SigningKey,
    nonce: u64,
    change: impl FnOnce(&mut TxEip1559),
) -> Vec<u8> {
    let mut transfer = TxEip1559 {
        chain_id: network.genesis.chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(1),
        access_list: Default::default(),
        input: Default::default(),
    };
    change(&mut transfer);
    tx::sign(transfer, key).encoded_2718()
}

/// How an envelope ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Executed { success: bool, used_gas: u64 },
    Skipped(SkipReason),
    Undecryptable,
}

/// What only opening shows is no error but an end, and is paid for to the wei.
#[test]
fn what_is_wrong_inside_an_envelope_is_skipped_and_paid_for() {
    let [key, sender, poor] = keys();
    let network = Network::start(&[key.address(), sender.address()]);
    let client = &network.clients[0];
    let forge = Forge::new(&network.genesis, key.clone());
    let before = client.payer(key.address()).unwrap();

    let good = inner(&network, &sender, 0, |_| {});
    let of = |key: &SigningKey, nonce, change: &dyn Fn(&mut TxEip1559)| {
        inner(&network, key, nonce, change)
    };
    let skipped = End::Skipped;
    let mut contents: Vec<(Vec<u8>, End)> = vec![
        (good.clone(), End::Executed { success: true, used_gas: 21_000 }),
        (vec![0x02, 0xff], skipped(SkipReason::Undecodable)),
        (b"no transaction".to_vec(), skipped(SkipReason::UnsupportedType)),
        (of(&sender, 1, &|tx| tx.chain_id += 1), skipped(SkipReason::WrongChain)),
        (good, skipped(SkipReason::NonceTooLow)),
        (of(&sender, 9, &|_| {}), skipped(SkipReason::NonceTooHigh)),
        (of(&poor, 0, &|_| {}), skipped(SkipReason::InsufficientFunds)),
        (of(&sender, 1, &|tx| tx.gas_limit = 1 << 20), skipped(SkipReason::GasAboveClass)),
        (of(&sender, 1, &|tx| tx.gas_limit = 20_999), skipped(SkipReason::IntrinsicGas)),
        (of(&sender, 1, &|tx| tx.max_fee_per_gas = 1), skipped(SkipReason::FeeCapTooLow)),
        (
            of(&sender, 1, &|tx| tx.max_priority_fee_per_gas = u128::MAX),
            skipped(SkipReason::PriorityAboveFeeCap),
        ),
    ];
    // Out of gas: a loop without end.
    const LOOP: [u8; 4] = [0x5b, 0x60, 0x00, 0x56];
    let endless = of(&sender, 1, &|tx| {
        (tx.to, tx.value) = (TxKind::Create, U256::ZERO);
        (tx.gas_limit, tx.input) = (100_000, Bytes::from_static(&LOOP));
    });
    contents.push((endless, End::Executed { success: false, used_gas: 100_000 }));

    let mut sent: Vec<Envelope> = Vec::new();
    for (nonce, (content, _)) in (0u64..).zip(&contents) {
        sent.push(forge.seal(forge.header(nonce), content));
    }
    // Valid by every check that can be made from outside, and yet it opens to nothing.
    let header = forge.header(contents.len() as u64);
    let label = header.label(key.address());
    let sealed = seal_undecryptable(&forge.rules.committee, &label, &fresh_seed(), b"x").unwrap();
    sent.push(sign_envelope(header, sealed, &key));

    sent.iter().for_each(|envelope| {
        submit(client, envelope);
    });
    let mut charged = U256::ZERO;
    for (at, envelope) in sent.iter().enumerate() {
        let status = network.until("an envelope ends", || {
            client.status(envelope.id()).ok().flatten().filter(TxStatus::is_terminal)
        });
        let expected = contents.get(at).map_or(End::Undecryptable, |(_, end)| *end);
        let (height, end, used_gas) = match (status, expected) {
            (TxStatus::Executed { height, success, .. }, End::Executed { used_gas, .. }) => {
                (height, End::Executed { success, used_gas }, used_gas)
            }
            (TxStatus::Skipped { height, reason, .. }, _) => (height, End::Skipped(reason), 0),
            (TxStatus::Undecryptable { height, .. }, _) => (height, End::Undecryptable, 0),
            (status, _) => panic!("{status:?} instead of {expected:?}"),
        };
        assert_eq!(end, expected);
        let commitment = invariants::commitment(&network.height(0, height).unwrap());
        charged += fees::charge(
            &network.genesis.params,
            &envelope.header,
            envelope.size_bytes(),
            Prices::from(&commitment),
            used_gas,
        )
        .wei;
    }
    let after = client.payer(key.address()).unwrap();
    assert_eq!(after.next_nonce, sent.len() as u64);
    assert_eq!(before.escrow_wei - after.escrow_wei, charged, "charged to the wei");
    // Every member saw it the same way.
    for envelope in &sent {
        let ends: Vec<_> = network
            .clients
            .iter()
            .map(|client| {
                network.until("an envelope ends", || {
                    client.status(envelope.id()).ok().flatten().filter(TxStatus::is_terminal)
                })
            })
            .collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    }
}
