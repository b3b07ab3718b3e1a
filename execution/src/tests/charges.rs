//! What envelopes cost, what genesis makes, and that blocks come out alike however they are run.

use std::sync::Arc;

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::SolCall;
use blindfold_wire::{Opening, SkipReason, TxStatus};
use proptest::prelude::*;

use super::harness::*;
use crate::contracts::IEscrow;
use crate::escrow::{
    ESCROW_ADDRESS, EscrowError, EscrowView, WITHDRAW_MARGIN_HEIGHTS, balance_slot, pending_slot,
};
use crate::state::{Column, ParentState, StateStore};
use crate::{
    BlockRecord, ExecutionError, Executor, GenesisStateError, RecordError, Verdict, genesis_block,
};

#[test]
fn a_transfer_pays_its_gas_and_its_envelope() {
    let mut net = Net::new();
    let tx = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(1));
    let item = net.seal_tx(1, &tx);
    let (envelope, used) = (item.envelope.clone(), 21_000);
    let expected = net.charge(&envelope, used);
    let block = net.run(vec![item]);

    let outcome = only(&block);
    let verdict =
        Verdict::Executed { transaction_index: 0, transaction_hash: *tx.tx_hash(), success: true };
    assert_eq!(outcome.verdict, verdict);
    assert_eq!(outcome.envelope_id, envelope.id());
    assert_eq!(outcome.payer, key(1).address());
    assert_eq!(outcome.charge_wei, expected);
    assert_eq!(
        outcome.status(1, 0),
        TxStatus::Executed {
            height: 1,
            position: 0,
            tx_hash: *tx.tx_hash(),
            tx_index: 0,
            success: true
        }
    );

    let receipt = &block.record.receipts[0];
    assert_eq!((receipt.gas_used, receipt.cumulative_gas_used), (used, used));
    assert_eq!(receipt.effective_gas_price_wei, 2 * GWEI);
    assert_eq!(net.balance(SINK), ETHER);
    let gas_wei = U256::from(2 * GWEI) * U256::from(used);
    assert_eq!(net.balance(key(1).address()), ETHER * U256::from(999) - gas_wei);
    // Charge and priority fee go to the beneficiary.
    assert_eq!(net.balance(BENEFICIARY), expected + U256::from(GWEI) * U256::from(used));
    assert_eq!(net.escrow_wei(1), ETHER * U256::from(10) - expected);
    assert_eq!(net.escrow_nonce(1), 1);
    assert_eq!(net.balance(ESCROW_ADDRESS), ETHER * U256::from(40) - expected);
}

#[test]
fn unused_gas_costs_a_quarter() {
    let net = &mut Net::new();
    let tx = Tx::new(net, 0, SINK).sign(&key(1));
    let item = net.seal_tx(1, &tx);
    let class = item.envelope.header().gas_limit;
    let (all_used, nothing_used) =
        (net.charge(&item.envelope, class), net.charge(&item.envelope, 0));
    let block = net.run(vec![item]);
    let price = U256::from(2 * GWEI);
    assert_eq!(nothing_used - all_used, price * U256::from(class / 4));
    let charged = only(&block).charge_wei;
    assert_eq!(charged - all_used, price * U256::from((class - 21_000) / 4));
}

#[test]
fn an_undecryptable_envelope_pays_and_leaves_nothing_else() {
    let mut net = Net::new();
    let mut item = net.seal(2, 50_000, b"whatever");
    item.opening = Opening::Undecryptable { secret: [0; 48] };
    let expected = net.charge(&item.envelope, 0);
    let block = net.run(vec![item]);
    let outcome = only(&block);
    assert_eq!(outcome.verdict, Verdict::Undecryptable);
    assert_eq!(outcome.charge_wei, expected);
    assert_eq!(outcome.status(1, 0), TxStatus::Undecryptable { height: 1, position: 0 });
    assert!(block.record.transactions.is_empty());
    assert_eq!(block.record.header.gas_used, 0);
    assert_eq!(net.escrow_nonce(2), 1);
    assert_eq!(net.balance(BENEFICIARY), expected);
}

#[test]
fn a_relayer_pays_for_a_sender_without_escrow() {
    let mut net = Net::with(|genesis| genesis.escrow.retain(|(p, _)| *p != key(3).address()));
    let tx = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(3));
    let item = net.seal_tx(4, &tx);
    let block = net.run(vec![item]);
    assert_eq!(only(&block).payer, key(4).address());
    assert!(matches!(only(&block).verdict, Verdict::Executed { success: true, .. }));
    assert_eq!(block.record.transactions[0].sender(), key(3).address());
    assert_eq!((net.escrow_nonce(3), net.escrow_nonce(4)), (0, 1));
}

#[test]
fn escrow_that_is_too_low_is_taken_whole_and_stops_nothing() {
    let mut net = Net::with(|genesis| {
        for (payer, amount) in &mut genesis.escrow {
            if *payer == key(1).address() {
                *amount = U256::from(1_000);
            }
        }
    });
    let tx = Tx::new(&net, 0, SINK).sign(&key(1));
    let block = net.run_txs(&[(1, tx)]);
    assert_eq!(only(&block).charge_wei, U256::from(1_000));
    assert_eq!(net.escrow_wei(1), U256::ZERO);
}

/// The argument of the escrow module, played through: a payer that asks for all its escrow back
/// still pays for what was ordered before, and cannot leave early.
#[test]
fn escrow_cannot_be_drained_under_ordered_envelopes() {
    let mut net = Net::with(|genesis| genesis.params.executed_lag = 2);
    let delay = 2 + WITHDRAW_MARGIN_HEIGHTS;
    let escrow_call = |net: &Net, nonce, data: Vec<u8>| {
        Tx::new(net, nonce, ESCROW_ADDRESS).data(data).sign(&key(1))
    };
    // Height 1: everything the first envelope leaves is requested. Only the refund remains.
    let first_due = {
        let request = IEscrow::requestWithdrawalCall { amountWei: U256::from(1) };
        let probe = escrow_call(&net, 0, request.abi_encode());
        let item = net.seal_tx(1, &probe);
        let due = net.charge(&item.envelope, 0);
        net.run(vec![item]);
        due
    };
    let amount = net.escrow_wei(1) - first_due;
    let request = IEscrow::requestWithdrawalCall { amountWei: amount };
    let tx = escrow_call(&net, 1, request.abi_encode());
    let block = net.run_txs(&[(1, tx)]);
    assert!(matches!(only(&block).verdict, Verdict::Executed { success: true, .. }));
    let requested_at = block.height();
    let pending = |net: &Net| {
        net.state.storage(ESCROW_ADDRESS, pending_slot(key(1).address())).expect("memory")
    };
    assert_eq!(pending(&net), amount + U256::from(1));
    let left = net.escrow_wei(1);
    assert!(left < first_due);

    // Meanwhile: envelopes that were ordered before take from the balance, then from pending.
    let withdraw = IEscrow::withdrawCall { to: SINK }.abi_encode();
    let mut nonce = 2;
    let mut paid = U256::ZERO;
    while net.state.tip().height + 1 < requested_at + delay {
        let tx = escrow_call(&net, nonce, withdraw.clone());
        let item = net.seal_tx(1, &tx);
        let envelope = item.envelope.clone();
        let block = net.run(vec![item]);
        nonce += 1;
        let gas_used = block.record.receipts[0].gas_used;
        assert!(matches!(only(&block).verdict, Verdict::Executed { success: false, .. }));
        assert_eq!(only(&block).charge_wei, net.charge(&envelope, gas_used), "paid in full");
        paid += only(&block).charge_wei;
    }
    assert!(paid > left, "pending had to help");
    assert_eq!(pending(&net) + net.escrow_wei(1), amount + U256::from(1) + left - paid);
    assert_eq!(net.balance(SINK), U256::ZERO);

    // The delay is over: what is left may leave.
    let tx = escrow_call(&net, nonce, withdraw);
    let block = net.run_txs(&[(1, tx)]);
    assert_eq!(block.height(), requested_at + delay);
    assert!(matches!(only(&block).verdict, Verdict::Executed { success: true, .. }));
    assert!(net.balance(SINK) > U256::ZERO);
    assert_eq!(pending(&net), U256::ZERO);
}

#[test]
fn the_past_of_the_escrow_is_known_and_bounded() {
    let mut net = Net::new();
    let payers = [1, 2, 3];
    let mut seen = vec![payers.map(|p| (net.escrow_wei(p), net.escrow_nonce(p)))];
    for round in 0..6_u64 {
        let mut txs = Vec::new();
        for payer in payers {
            if round % u64::from(payer) == 0 {
                let nonce = net.nonce(key(payer).address());
                let deposit = IEscrow::depositCall { payer: key(payer % 3 + 1).address() };
                let tx = Tx::new(&net, nonce, ESCROW_ADDRESS)
                    .data(deposit.abi_encode())
                    .value(U256::from(round + 1))
                    .sign(&key(payer));
                txs.push((payer, tx));
            }
        }
        net.run_txs(&txs);
        seen.push(payers.map(|p| (net.escrow_wei(p), net.escrow_nonce(p))));
    }
    for (height, then) in (0..).zip(&seen) {
        let view = EscrowView::at(&net.state, height).expect("recent");
        assert_eq!(view.height(), height);
        for (payer, expected) in payers.iter().zip(then) {
            let account = view.account(key(*payer).address()).expect("memory");
            assert_eq!((account.balance, account.next_nonce), *expected, "height {height}");
        }
    }
    assert!(matches!(
        EscrowView::at(&net.state, 7),
        Err(EscrowError::Pending { height: 7, tip: 6 })
    ));
}

#[test]
fn the_next_height_runs_before_the_last_is_written() {
    let mut net = Net::new();
    let first = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(1));
    let items = vec![net.seal_tx(1, &first)];
    let (commitment, block) = net.execute(&items);
    let unwritten = net.state.extend(Arc::clone(&block.layer)).expect("next");
    assert_eq!(unwritten.layer_count(), 1);

    // Once on the unwritten layer ...
    let written = std::mem::replace(&mut net.state, unwritten);
    net.parent = commitment;
    let second = Tx::new(&net, 1, SINK).value(ETHER).sign(&key(1));
    let items = vec![net.seal_tx(1, &second)];
    let (_, ahead) = net.execute(&items);
    let escrow_ahead = EscrowView::at(&net.state, 0).expect("recent");
    let escrow_ahead = escrow_ahead.account(key(1).address()).expect("memory");

    // ... and once after writing it.
    drop(written);
    net.store.apply(block.writes()).expect("memory");
    let store: Arc<dyn StateStore> = Arc::clone(&net.store) as _;
    net.state = ParentState::open(store).expect("written");
    let (_, behind) = net.execute(&items);
    assert_eq!(ahead, behind);
    let escrow_behind = EscrowView::at(&net.state, 0).expect("recent");
    assert_eq!(escrow_behind.account(key(1).address()).expect("memory"), escrow_ahead);
    assert_eq!(escrow_ahead.balance, ETHER * U256::from(10));
}

#[test]
fn a_batch_must_follow_its_parent() {
    let mut net = Net::new();
    net.run(Vec::new());
    let certified = net.committee.certify_order(&[]);
    let batch = blindfold_wire::OpenedBatch::new(certified, Vec::new()).expect("empty");
    let context = crate::BlockContext::without_forced(BENEFICIARY);
    assert!(matches!(
        net.executor.execute(&net.state, &batch, &context),
        Err(ExecutionError::NotNext { height: 1, tip: 1 })
    ));
}

#[test]
fn the_header_follows_the_commitment() {
    let mut net = Net::new();
    let genesis_hash = net.state.tip().block_hash;
    let block = net.run(Vec::new());
    let header = &block.record.header;
    let digest = net.parent.digest();
    assert_eq!(header.parent_hash, genesis_hash);
    assert_eq!(header.number, 1);
    assert_eq!(header.mix_hash, keccak256(digest));
    assert_eq!(header.timestamp, net.parent.timestamp_ms / 1_000);
    assert_eq!(header.base_fee_per_gas, Some(1_000_000_000));
    assert_eq!(header.beneficiary, BENEFICIARY);
    let root = blindfold_wire::executed_root(header.state_root, block.record.opening_root);
    assert_eq!(block.record.executed_root, root);
}

#[test]
fn genesis_refuses_what_makes_no_state() {
    let account = |address| blindfold_wire::GenesisAccount {
        address,
        balance: U256::ZERO,
        nonce: 0,
        code: Default::default(),
        storage: Default::default(),
    };
    let base = Net::new().committee.genesis;

    let mut genesis = base.clone();
    genesis.params.executed_lag = 2_000;
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::LagTooLong { lag: 2_000 })));

    let mut genesis = base.clone();
    genesis.params.initial_base_fee = u128::MAX;
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::BaseFeeRange)));

    let mut genesis = base.clone();
    genesis.alloc = vec![account(ESCROW_ADDRESS)];
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::EscrowTaken)));

    let mut genesis = base.clone();
    genesis.escrow = vec![(SINK, U256::MAX), (BENEFICIARY, U256::from(1))];
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::EscrowOverflow)));

    let mut genesis = base.clone();
    genesis.alloc =
        vec![blindfold_wire::GenesisAccount { code: vec![0xef, 1, 0].into(), ..account(SINK) }];
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::ReservedCode { .. })));

    let mut genesis = base;
    genesis.alloc = vec![blindfold_wire::GenesisAccount {
        storage: [(B256::ZERO, B256::repeat_byte(1))].into(),
        ..account(SINK)
    }];
    assert!(matches!(genesis_block(&genesis), Err(GenesisStateError::EmptyWithStorage { .. })));
}

#[test]
fn genesis_puts_parameters_and_balances_where_the_contract_reads_them() {
    let net = Net::new();
    let settings = crate::CallSettings::new(net.genesis(), 1_000_000);
    let ask = |data: Vec<u8>| {
        let request = crate::CallRequest {
            to: Some(ESCROW_ADDRESS),
            data: data.into(),
            ..Default::default()
        };
        crate::call(&net.state, &settings, &request).expect("view").output
    };
    let parameters = ask(IEscrow::parametersCall {}.abi_encode());
    let parameters = IEscrow::parametersCall::abi_decode_returns(&parameters).expect("abi");
    let lag = net.genesis().params.executed_lag;
    assert_eq!(parameters.withdrawDelay, U256::from(lag + WITHDRAW_MARGIN_HEIGHTS));
    assert_eq!(parameters.genesis, net.genesis().hash());
    let payer = key(1).address();
    let balance = ask(IEscrow::balanceOfCall { payer }.abi_encode());
    assert_eq!(U256::from_be_slice(&balance), ETHER * U256::from(10));
    let proof = net.state.proof(ESCROW_ADDRESS, &[balance_slot(payer)]).expect("memory");
    assert_eq!(proof.storage[0].value, ETHER * U256::from(10));
}

#[test]
fn records_survive_storage_and_damage_is_noticed() {
    let mut net = Net::new();
    let good = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(1));
    let create = Tx::new(&net, 0, alloy_primitives::TxKind::Create).sign(&key(2));
    let mut items = vec![net.seal_tx(1, &good), net.seal_tx(2, &create)];
    items.push(net.seal(3, 50_000, b"\xc0"));
    let mut lost = net.seal(4, 50_000, b"");
    lost.opening = Opening::Undecryptable { secret: [0; 48] };
    items.push(lost);
    let block = net.run(items);
    let verdict = block.record.outcomes[2].verdict;
    assert!(matches!(verdict, Verdict::Skipped { reason: SkipReason::Undecodable, .. }));

    let bytes = block.record.encode();
    let read = BlockRecord::decode(&bytes).expect("own encoding");
    assert_eq!(read, *block.record);
    for end in 0..bytes.len() {
        assert!(BlockRecord::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut newer = bytes.clone();
    newer[0] = 9;
    assert_eq!(BlockRecord::decode(&newer), Err(RecordError::Version { version: 9 }));
    let mut longer = bytes;
    longer.push(0);
    assert!(BlockRecord::decode(&longer).is_err());
}

#[test]
fn old_hashes_and_history_are_dropped() {
    let mut net = Net::new();
    for _ in 0..crate::BLOCK_HASH_HEIGHTS + 4 {
        let (commitment, block) = net.execute(&[]);
        net.store.apply(block.writes()).expect("memory");
        net.state = net.state.extend(block.layer).expect("next").prune(commitment.height);
        net.parent = commitment;
    }
    let hashes = net.store.entries(Column::BlockHashes).expect("memory").len();
    assert_eq!(hashes as u64, crate::BLOCK_HASH_HEIGHTS);
    assert_eq!(net.state.block_hash(4).expect("memory"), None);
    assert!(net.state.block_hash(5).expect("memory").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever mix of good, stale and unreadable transactions a height holds: it executes, wei
    /// is conserved and the root equals the recomputed one (both checked by the harness).
    #[test]
    fn any_mix_executes(
        heights in prop::collection::vec(
            prop::collection::vec((1u8..=4, 0u8..5, 0u64..3, 0u64..2_000), 0..5),
            1..4,
        ),
    ) {
        let mut net = Net::new();
        for items in heights {
            let mut sealed = Vec::new();
            for (who, kind, ahead, ether) in items {
                let nonce = net.nonce(key(who).address()) + ahead;
                let tx = Tx::new(&net, nonce, SINK).value(ETHER * U256::from(ether)).sign(&key(who));
                let mut item = match kind {
                    0 => net.seal(who, 40_000, &[ahead as u8; 40]),
                    _ => net.seal_tx(who, &tx),
                };
                if kind == 1 {
                    item.opening = Opening::Undecryptable { secret: [1; 48] };
                }
                sealed.push(item);
            }
            let block = net.run(sealed);
            let (again, executed) = (block.record.encode(), block.record.transactions.len());
            prop_assert_eq!(BlockRecord::decode(&again).expect("own encoding"), (*block.record).clone());
            let verdicts = block.record.outcomes.iter();
            let counted = verdicts.filter(|o| matches!(o.verdict, Verdict::Executed { .. })).count();
            prop_assert_eq!(executed, counted);
        }
    }
}
