//! Forced items: what becomes of each kind, and what posting costs whom.

use alloy_eips::eip2718::Encodable2718;
use blindfold_wire::forced::FORCED_TRANSACTION_GAS;
use blindfold_wire::{Address, ForcedError, ForcedKind, SkipReason, U256};

use super::harness::*;
use crate::escrow::{ESCROW_ADDRESS, POSTING_POOL_ADDRESS};
use crate::{BlockContext, ExecutionError, Executor, ForcedVerdict, Verdict};

fn plain(net: &mut Net, who: u8, tx: Tx) {
    let tx = tx.sign(&key(who)).encoded_2718();
    net.force(ForcedKind::Plain as u8, tx);
}

fn verdicts(block: &crate::ExecutedBlock) -> Vec<ForcedVerdict> {
    block.record.forced.iter().map(|outcome| outcome.verdict).collect()
}

fn skipped(reason: SkipReason) -> ForcedVerdict {
    ForcedVerdict::Skipped { reason, transaction_hash: None }
}

#[test]
fn forced_items_come_before_the_order() {
    let mut net = Net::new();
    let transfer = Tx::new(&net, 0, SINK).value(ETHER);
    plain(&mut net, 1, transfer);
    // Wei that the order spends, and an escrow that it needs.
    net.credit(ForcedKind::Deposit, key(9).address(), ETHER);
    net.credit(ForcedKind::EscrowDeposit, key(9).address(), ETHER);
    let by_key_1 = Tx::new(&net, 1, SINK).value(ETHER).sign(&key(1));
    let by_key_9 = Tx::new(&net, 0, SINK).value(ETHER / U256::from(2)).sign(&key(9));
    let items = vec![net.seal_tx(2, &by_key_1), net.seal_tx(9, &by_key_9)];
    let block = net.run(items);

    let record = &block.record;
    assert_eq!(
        verdicts(&block),
        [
            ForcedVerdict::Executed {
                transaction_index: 0,
                transaction_hash: record.transactions[0].hash(),
                success: true,
            },
            ForcedVerdict::Credited { to: key(9).address(), wei: ETHER },
            ForcedVerdict::Credited { to: key(9).address(), wei: ETHER },
        ]
    );
    assert_eq!(record.forced[0].sender, Address::repeat_byte(0xf0));
    assert_eq!(
        record.forced.iter().map(|o| (o.index, o.kind)).collect::<Vec<_>>(),
        [(0, 1), (1, 2), (2, 3)]
    );
    let indices: Vec<_> = record
        .outcomes
        .iter()
        .map(|outcome| match outcome.verdict {
            Verdict::Executed { transaction_index, success: true, .. } => transaction_index,
            verdict => panic!("{verdict:?}"),
        })
        .collect();
    assert_eq!(indices, [1, 2]);
    assert_eq!(net.balance(SINK), ETHER * U256::from(5) / U256::from(2));
    assert_eq!(net.escrow_wei(9), ETHER - record.outcomes[1].charge_wei);
    assert_eq!(record.receipts[2].cumulative_gas_used, record.header.gas_used);
    assert_eq!(record.receipts[0].gas_used, 21_000);
    // Nobody was charged for the forced one but its sender.
    let paid = U256::from(21_000) * U256::from(record.receipts[0].effective_gas_price_wei);
    let paid_again = U256::from(21_000) * U256::from(record.receipts[1].effective_gas_price_wei);
    assert_eq!(net.balance(key(1).address()), ETHER * U256::from(998) - paid - paid_again);
}

#[test]
fn whatever_is_forced_comes_to_an_end() {
    let mut net = Net::new();
    let chain_id = net.genesis().chain_id;
    let other_chain = Tx::new(&net, 0, SINK).with(|tx| tx.chain_id = chain_id + 1);
    let too_much_gas = Tx::new(&net, 0, SINK).gas(FORCED_TRANSACTION_GAS + 1);
    let most_gas = Tx::new(&net, 0, SINK).gas(FORCED_TRANSACTION_GAS);
    let stale = Tx::new(&net, 7, SINK);
    let poor = Tx::new(&net, 0, SINK).value(ETHER);
    let good = Tx::new(&net, 1, SINK).sign(&key(1)).encoded_2718();
    let stale_hash = Tx::new(&net, 7, SINK).sign(&key(1)).hash().to_owned();
    let poor_hash = Tx::new(&net, 0, SINK).value(ETHER).sign(&key(8)).hash().to_owned();

    net.force(1, vec![]);
    net.force(1, [&good[..], &[0]].concat());
    net.force(1, vec![3, 1, 2]);
    plain(&mut net, 1, other_chain);
    plain(&mut net, 1, too_much_gas);
    plain(&mut net, 1, most_gas);
    plain(&mut net, 1, stale);
    plain(&mut net, 8, poor);
    net.force(2, vec![0; 51]);
    net.force(3, vec![0; 53]);
    net.force(4, vec![]);
    net.credit(ForcedKind::Deposit, key(1).address(), U256::MAX);
    net.credit(ForcedKind::EscrowDeposit, key(1).address(), U256::MAX);
    net.force(5, vec![1]);
    net.force(255, vec![]);
    net.force(0, vec![0x5e, 1]);
    net.credit(ForcedKind::Deposit, SINK, U256::ZERO);
    let block = net.run(Vec::new());

    let invalid = skipped(SkipReason::ForcedInvalid);
    let held = |reason, hash| ForcedVerdict::Skipped { reason, transaction_hash: Some(hash) };
    assert_eq!(
        verdicts(&block),
        [
            skipped(SkipReason::Undecodable),
            skipped(SkipReason::Undecodable),
            skipped(SkipReason::UnsupportedType),
            skipped(SkipReason::WrongChain),
            skipped(SkipReason::GasAboveClass),
            ForcedVerdict::Executed {
                transaction_index: 0,
                transaction_hash: block.record.transactions[0].hash(),
                success: true,
            },
            held(SkipReason::NonceTooHigh, stale_hash),
            held(SkipReason::InsufficientFunds, poor_hash),
            invalid,
            invalid,
            invalid,
            invalid,
            invalid,
            invalid,
            invalid,
            invalid,
            ForcedVerdict::Credited { to: SINK, wei: U256::ZERO },
        ]
    );
    assert_eq!(net.balance(ESCROW_ADDRESS), ETHER * U256::from(40));
}

#[test]
fn a_sealed_item_points_at_its_position_or_is_invalid() {
    let mut net = Net::new();
    let txs = [0, 1].map(|nonce| Tx::new(&net, nonce, SINK).value(ETHER).sign(&key(1)));
    let items: Vec<_> = txs.iter().map(|tx| net.seal_tx(2, tx)).collect();
    let left_out = net.seal(3, 40_000, b"left out");
    let other = net.seal(4, 40_000, b"other");
    // The order rule took the first and the third; the fourth is the first again.
    for item in [&items[0], &left_out, &items[1], &items[0]] {
        net.force(ForcedKind::Sealed as u8, item.envelope.bytes().clone());
    }
    let block = net.run(items.into_iter().chain([other]).collect());
    let invalid = skipped(SkipReason::ForcedInvalid);
    assert_eq!(
        verdicts(&block),
        [
            ForcedVerdict::Ordered { position: 0 },
            invalid,
            ForcedVerdict::Ordered { position: 1 },
            invalid,
        ]
    );
    // They are charged like any other.
    assert_eq!(block.record.outcomes.len(), 3);
    assert!(block.record.outcomes.iter().all(|outcome| !outcome.charge_wei.is_zero()));
}

#[test]
fn posting_is_paid_into_the_pool_and_out_again() {
    let mut net = Net::new();
    net.l1_base_fee = 5 * GWEI as u64;
    let params = net.genesis().params.clone();
    let mut pool = U256::ZERO;
    // Below what bytes cost anyway, above it, and far above.
    for (nonce, l1_gwei) in [1u64, 5, 13].into_iter().enumerate() {
        net.l1_base_fee = l1_gwei * GWEI as u64;
        let tx = Tx::new(&net, nonce as u64, SINK).sign(&key(1));
        let item = net.seal_tx(2, &tx);
        let (envelope, before) = (item.envelope.clone(), net.balance(BENEFICIARY));
        let block = net.run(vec![item]);
        let due = net.charge_and_posting(&envelope, 21_000);
        assert_eq!(only(&block).charge_wei, due.wei);
        let size = U256::from(envelope.size_bytes());
        let posting = size * U256::from(net.l1_base_fee) * U256::from(params.l1_gas_per_byte);
        assert_eq!(due.posting_wei, posting);
        pool += posting;
        assert_eq!(net.balance(POSTING_POOL_ADDRESS), pool);
        let priority = U256::from(21_000) * U256::from(GWEI);
        assert_eq!(net.balance(BENEFICIARY), before + due.wei - posting + priority);
    }
    net.l1_base_fee = 0;
    let poster = Address::repeat_byte(0x77);
    let third = pool / U256::from(3);
    net.credit(ForcedKind::Reimbursement, poster, third);
    net.credit(ForcedKind::Reimbursement, poster, pool);
    net.credit(ForcedKind::Reimbursement, poster, pool);
    let block = net.run(Vec::new());
    let paid = |wei| ForcedVerdict::Credited { to: poster, wei };
    assert_eq!(verdicts(&block), [paid(third), paid(pool - third), paid(U256::ZERO)]);
    assert_eq!(net.balance(poster), pool);
    assert_eq!(
        (net.balance(POSTING_POOL_ADDRESS), net.nonce(POSTING_POOL_ADDRESS)),
        (U256::ZERO, 1)
    );
    net.credit(ForcedKind::Reimbursement, POSTING_POOL_ADDRESS, ETHER);
    net.run(Vec::new());
}

#[test]
fn forced_gas_is_taken_from_the_block() {
    let mut net = Net::with(|genesis| {
        genesis.params.block_gas_limit = 1 << 24;
        genesis.params.gas_target = 1 << 23;
    });
    // Loops until its gas is gone.
    let loops = alloy_primitives::hex!("5b5f56");
    for nonce in 0..8 {
        let tx = Tx::new(&net, nonce, alloy_primitives::TxKind::Create);
        let tx = tx.data(loops.to_vec()).gas(FORCED_TRANSACTION_GAS);
        plain(&mut net, 1, tx);
    }
    let tx = Tx::new(&net, 0, alloy_primitives::TxKind::Create).data(loops.to_vec());
    let fits = net.seal_tx(2, &tx.gas(1 << 23).sign(&key(2)));
    let too_much = Tx::new(&net, 0, SINK).gas(100_000).sign(&key(3));
    let over = net.seal_tx(3, &too_much);
    let block = net.run(vec![fits, over]);
    assert_eq!(block.record.header.gas_used, 1 << 24);
    let failed =
        |verdict: &ForcedVerdict| matches!(verdict, ForcedVerdict::Executed { success: false, .. });
    assert!(verdicts(&block).iter().all(failed));
    let reason = SkipReason::GasAboveClass;
    assert!(
        matches!(block.record.outcomes[1].verdict, Verdict::Skipped { reason: r, .. } if r == reason)
    );
}

#[test]
fn items_of_another_height_are_refused() {
    let mut net = Net::new();
    net.credit(ForcedKind::Deposit, SINK, ETHER);
    let (batch, context) = net.next_batch(&[]);
    let refused = |context: &BlockContext| {
        net.executor.execute(&net.state, &batch, context).expect_err("other")
    };
    let none = refused(&BlockContext::without_forced(BENEFICIARY));
    assert!(
        matches!(none, ExecutionError::Forced { height: 1, source: ForcedError::NoParent }),
        "{none}"
    );
    let two: Vec<_> =
        context.forced.items().iter().chain(context.forced.items()).cloned().collect();
    let parent = context.forced.parent().expect("there");
    let forced = std::sync::Arc::new(blindfold_wire::ForcedSpan::after(parent, two));
    let twice = refused(&BlockContext { forced, ..context.clone() });
    assert!(
        matches!(twice, ExecutionError::Forced { source: ForcedError::Count { .. }, .. }),
        "{twice}"
    );
}
