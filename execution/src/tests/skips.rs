//! Every reason to skip, each found in a block that goes on.

use std::collections::HashSet;

use alloy_consensus::{SignableTransaction, Signed, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, Signature, TxKind, U256, uint};
use blindfold_wire::{GenesisAccount, SkipReason};

use super::harness::*;
use crate::{ExecutionError, ExecutionParent, Executor, ParallelExecutor, Verdict};

const SECP256K1_N: U256 =
    uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// Key 5 has code, key 6 a nonce that cannot grow; key 1 has sent five transactions.
fn net() -> Net {
    Net::with(|genesis| {
        for account in &mut genesis.alloc {
            if account.address == key(1).address() {
                account.nonce = 5;
            }
        }
        for (index, nonce, code) in [(5, 0, vec![0]), (6, u64::MAX, vec![])] {
            genesis.alloc.push(GenesisAccount {
                address: key(index).address(),
                balance: ETHER,
                nonce,
                code: code.into(),
                storage: Default::default(),
            });
        }
    })
}

fn cases(net: &Net) -> Vec<(&'static str, Vec<u8>, SkipReason)> {
    let tx = |nonce| Tx::new(net, nonce, SINK);
    let signed = |tx: Tx, who| tx.sign(&key(who)).encoded_2718();
    let good = tx(5).sign(&key(1));
    let TxEnvelope::Eip1559(inner) = &good else { unreachable!("built as 1559") };
    let high_s = Signature::new(
        inner.signature().r(),
        SECP256K1_N - inner.signature().s(),
        !inner.signature().v(),
    );
    let malleated = TxEnvelope::from(Signed::new_unhashed(inner.tx().clone(), high_s));
    let legacy = TxLegacy {
        chain_id: None,
        nonce: 5,
        gas_price: 5 * GWEI,
        gas_limit: 21_000,
        to: SINK.into(),
        value: U256::ZERO,
        input: Bytes::new(),
    };
    let signature = sign(&key(1), legacy.signature_hash());
    let chainless = TxEnvelope::from(legacy.into_signed(signature));
    let set_code = TxEip7702 {
        chain_id: net.genesis().chain_id,
        nonce: 5,
        gas_limit: 100_000,
        max_fee_per_gas: 5 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: SINK,
        ..TxEip7702::default()
    };
    let signature = sign(&key(1), set_code.signature_hash());
    let set_code = TxEnvelope::from(set_code.into_signed(signature));
    let mut trailing = good.encoded_2718();
    trailing.push(0);

    use SkipReason as R;
    vec![
        ("empty", vec![], R::Undecodable),
        ("empty list", vec![0xc0], R::Undecodable),
        ("string", vec![0x81, 0x80], R::Undecodable),
        ("cut", good.encoded_2718()[..40].to_vec(), R::Undecodable),
        ("trailing byte", trailing, R::Undecodable),
        ("blob", vec![0x03, 0xc0], R::UnsupportedType),
        ("envelope in envelope", vec![0x5e, 0xc0], R::UnsupportedType),
        ("text", b"hello".to_vec(), R::UnsupportedType),
        ("high s", malleated.encoded_2718(), R::BadSignature),
        ("other chain", signed(tx(5).with(|t| t.chain_id += 1), 1), R::WrongChain),
        ("no chain", chainless.encoded_2718(), R::WrongChain),
        ("old nonce", signed(tx(4), 1), R::NonceTooLow),
        ("future nonce", signed(tx(6), 1), R::NonceTooHigh),
        ("too dear", signed(tx(5).value(ETHER * U256::from(1_000)), 1), R::InsufficientFunds),
        ("overflow", signed(tx(5).value(U256::MAX), 1), R::InsufficientFunds),
        ("over class", signed(tx(5).gas((1 << 17) + 1), 1), R::GasAboveClass),
        ("no gas", signed(tx(5).gas(20_999), 1), R::IntrinsicGas),
        (
            "low fee",
            signed(
                tx(5).with(|t| {
                    t.max_fee_per_gas = GWEI - 1;
                    t.max_priority_fee_per_gas = 0;
                }),
                1,
            ),
            R::FeeCapTooLow,
        ),
        (
            "priority",
            signed(tx(5).with(|t| t.max_priority_fee_per_gas = 6 * GWEI), 1),
            R::PriorityAboveFeeCap,
        ),
        ("contract", signed(tx(0), 5), R::SenderHasCode),
        (
            "init code",
            signed(Tx::new(net, 5, TxKind::Create).data(vec![0; 49_153]).gas(1 << 17), 1),
            R::InitCodeTooLarge,
        ),
        ("no authorization", set_code.encoded_2718(), R::EmptyAuthorizationList),
        ("last nonce", signed(tx(u64::MAX), 6), R::NonceOverflow),
    ]
}

#[test]
fn every_reason_is_found_and_the_block_goes_on() {
    let mut net = net();
    let cases = cases(&net);
    let mut items = Vec::new();
    for (_, message, _) in &cases {
        items.push(net.seal(2, 1 << 17, message));
    }
    // A good one at the end: what came before left no trace.
    let good = Tx::new(&net, 5, SINK).value(ETHER).sign(&key(1));
    items.push(net.seal_tx(2, &good));
    let charges: Vec<_> = items.iter().map(|item| net.charge(&item.envelope, 0)).collect();
    let block = net.run(items);

    let mut found = HashSet::new();
    for ((name, _, expected), (outcome, charge)) in
        cases.iter().zip(block.record.outcomes.iter().zip(charges))
    {
        let Verdict::Skipped { reason, .. } = outcome.verdict else {
            panic!("{name} was not skipped: {:?}", outcome.verdict);
        };
        assert_eq!(reason, *expected, "{name}");
        assert_eq!(outcome.charge_wei, charge, "{name} pays for all it reserved");
        found.insert(reason);
    }
    // The first belongs to the forced queue, the second to rules that do not exist yet.
    let elsewhere = [SkipReason::ForcedInvalid, SkipReason::Invalid];
    for reason in SkipReason::ALL {
        assert!(found.contains(&reason) || elsewhere.contains(&reason), "{reason:?} untested");
    }
    assert_eq!(block.record.transactions.len(), 1);
    assert_eq!(net.balance(SINK), ETHER);
    assert_eq!(net.nonce(key(1).address()), 6);
}

#[test]
fn a_height_may_be_executed_while_it_is_opened() {
    let mut net = net();
    let cases = cases(&net);
    let mut items: Vec<_> =
        cases.iter().map(|(_, message, _)| net.seal(2, 1 << 17, message)).collect();
    let good = Tx::new(&net, 5, SINK).value(ETHER).sign(&key(1));
    items.push(net.seal_tx(2, &good));
    items.push(net.seal_tx(2, &good));
    let (batch, context) = net.next_batch(&items);
    let whole = net.executor.execute(&net.state, &batch, &context).expect("executes");
    let parallel = ParallelExecutor::new(net.genesis(), 2).forced(7);
    let executors: [&dyn Executor; 2] = [&net.executor, &parallel];
    let parent = ExecutionParent::of(&net.state);
    for executor in executors {
        for (chunk, pushed) in [(1, items.len()), (4, 9), (100, 0)] {
            let mut execution = executor.begin(&parent, batch.certified(), &context).expect("next");
            for items in batch.items()[..pushed].chunks(chunk) {
                execution.push(items).expect("executes");
            }
            let block = execution.finish(&batch).expect("executes").seal(&net.state);
            assert_eq!(block.expect("next"), whole);
        }
        // What was executed ahead must be what was ordered and opened.
        let mut execution = executor.begin(&parent, batch.certified(), &context).expect("next");
        execution.push(&batch.items()[1..3]).expect("executes");
        assert!(matches!(execution.finish(&batch), Err(ExecutionError::OtherBatch { .. })));
    }
}

#[test]
fn a_height_may_be_executed_before_the_one_below_is_sealed() {
    let mut net = net();
    let first = Tx::new(&net, 5, SINK).value(ETHER).sign(&key(1));
    let items = vec![net.seal_tx(2, &first)];
    let (one, context) = net.next_batch(&items);
    let unsealed = net
        .executor
        .begin(&ExecutionParent::of(&net.state), one.certified(), &context)
        .and_then(|execution| execution.finish(&one))
        .expect("executes");
    let above = ExecutionParent::after(&net.state, &unsealed);
    let sealed = unsealed.seal(&net.state).expect("next");
    let before = net.state.clone();
    assert_eq!(net.run(items).record, sealed.record);

    let second = Tx::new(&net, 6, SINK).value(ETHER).sign(&key(1));
    let items = vec![net.seal_tx(2, &second)];
    let (two, context) = net.next_batch(&items);
    let unsealed = net
        .executor
        .begin(&above, two.certified(), &context)
        .and_then(|execution| execution.finish(&two))
        .expect("executes");
    let after = before.extend(sealed.layer).expect("next");
    let sealed = unsealed.seal(&after).expect("next");
    assert_eq!(sealed, net.executor.execute(&net.state, &two, &context).expect("executes"));
    assert_eq!(sealed.record.receipts.len(), 1);
}

#[test]
fn the_same_transaction_twice_is_executed_once() {
    let mut net = Net::new();
    let tx = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(1));
    let items = vec![net.seal_tx(1, &tx), net.seal_tx(2, &tx)];
    let block = net.run(items);
    let outcomes = &block.record.outcomes;
    assert!(matches!(outcomes[0].verdict, Verdict::Executed { .. }));
    assert_eq!(
        outcomes[1].verdict,
        Verdict::Skipped { reason: SkipReason::NonceTooLow, transaction_hash: Some(*tx.tx_hash()) }
    );
    assert_eq!(net.balance(SINK), ETHER);
}

#[test]
fn older_types_are_executed() {
    let mut net = Net::new();
    let chain_id = net.genesis().chain_id;
    let legacy = TxLegacy {
        chain_id: Some(chain_id),
        nonce: 0,
        gas_price: 3 * GWEI,
        gas_limit: 21_000,
        to: SINK.into(),
        value: ETHER,
        input: Bytes::new(),
    };
    let signature = sign(&key(1), legacy.signature_hash());
    let legacy = TxEnvelope::from(legacy.into_signed(signature));
    let listed = TxEip2930 {
        chain_id,
        nonce: 1,
        gas_price: 3 * GWEI,
        gas_limit: 30_000,
        to: SINK.into(),
        value: ETHER,
        ..TxEip2930::default()
    };
    let signature = sign(&key(1), listed.signature_hash());
    let listed = TxEnvelope::from(listed.into_signed(signature));
    let block = net.run_txs(&[(1, legacy), (1, listed)]);
    assert_eq!(block.record.transactions.len(), 2);
    assert_eq!(block.record.receipts[1].cumulative_gas_used, 42_000);
    assert_eq!(net.balance(SINK), ETHER * U256::from(2));
}
