//! Real bytecode: exchange, creation and destruction, delegation, block hashes, calls.

use alloy_consensus::{SignableTransaction, TxEip7702, TxEnvelope};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, TxKind, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolError, SolEvent, SolValue};
use blindfold_wire::{GenesisAccount, SkipReason};

use super::harness::*;
use crate::contracts::{IExchange, IToken, exchange_creation_code, token_creation_code};
use crate::{CallError, CallRequest, CallSettings, Verdict, call, estimate_gas, revert_message};

const CREATE_GAS: u64 = 2_000_000;

fn settings(net: &Net) -> CallSettings {
    CallSettings::new(net.genesis(), 10_000_000)
}

fn view(net: &Net, to: Address, data: Vec<u8>) -> U256 {
    let request = CallRequest { to: Some(to), data: data.into(), ..CallRequest::default() };
    U256::from_be_slice(&call(&net.state, &settings(net), &request).expect("view").output)
}

/// Two tokens and a funded exchange, deployed by key 1.
struct Market {
    token0: Address,
    token1: Address,
    exchange: Address,
}

fn open_market(net: &mut Net) -> Market {
    let owner = key(1).address();
    let [token0, token1, exchange] = [0, 1, 2].map(|nonce| owner.create(nonce));
    let supply = ETHER * U256::from(1_000_000);
    let liquidity = ETHER * U256::from(1_000);
    let deploy = |net: &Net, nonce, code: alloy_primitives::Bytes| {
        (1, Tx::new(net, nonce, TxKind::Create).data(code).gas(CREATE_GAS).sign(&key(1)))
    };
    let ask = |net: &Net, nonce, to, data: Vec<u8>| {
        (1, Tx::new(net, nonce, to).data(data).gas(250_000).sign(&key(1)))
    };
    let approve = IToken::approveCall { spender: exchange, amount: U256::MAX }.abi_encode();
    let add = IExchange::addLiquidityCall { amount0: liquidity, amount1: liquidity };
    let give = IToken::transferCall { to: key(2).address(), amount: ETHER * U256::from(100) };
    let txs = [
        deploy(net, 0, token_creation_code("Wrapped Apple", "APL", supply)),
        deploy(net, 1, token_creation_code("Wrapped Pear", "PEAR", supply)),
        deploy(net, 2, exchange_creation_code(token0, token1)),
        ask(net, 3, token0, approve.clone()),
        ask(net, 4, token1, approve),
        ask(net, 5, exchange, add.abi_encode()),
        ask(net, 6, token0, give.abi_encode()),
    ];
    let block = net.run_txs(&txs);
    assert!(block.record.receipts.iter().all(|receipt| receipt.success));
    assert_eq!(block.record.receipts[2].contract_address, Some(exchange));
    Market { token0, token1, exchange }
}

#[test]
fn a_swap_runs_through_sealed_envelopes() {
    let mut net = Net::new();
    let Market { token0, token1, exchange } = open_market(&mut net);
    let trader = key(2).address();
    let amount_in = ETHER * U256::from(10);
    let reserve = ETHER * U256::from(1_000);
    let after_fee = amount_in * U256::from(997);
    let expected = after_fee * reserve / (reserve * U256::from(1_000) + after_fee);
    let quote = IExchange::quoteCall { tokenIn: token0, amountIn: amount_in };
    assert_eq!(view(&net, exchange, quote.abi_encode()), expected);

    let approve = IToken::approveCall { spender: exchange, amount: amount_in };
    let swap = |min| IExchange::swapCall {
        tokenIn: token0,
        amountIn: amount_in,
        minAmountOut: min,
        to: trader,
    };
    let approve = Tx::new(&net, 0, token0).data(approve.abi_encode()).sign(&key(2));
    let good = Tx::new(&net, 1, exchange).data(swap(expected).abi_encode()).gas(200_000);
    let late = Tx::new(&net, 2, exchange).data(swap(expected).abi_encode()).gas(200_000);
    let block = net.run_txs(&[(2, approve), (2, good.sign(&key(2))), (2, late.sign(&key(2)))]);
    let [_, good, late] = &block.record.receipts[..] else { panic!("three receipts") };
    assert!(good.success);
    // The price moved: the second swap's limit holds, and costs its sender gas only.
    assert!(!late.success);
    assert!(late.logs.is_empty());
    let event = good.logs.iter().find_map(|log| IExchange::Swap::decode_log(log).ok());
    let event = event.expect("swap event");
    assert_eq!((event.amountIn, event.amountOut), (amount_in, expected));
    assert!(
        block
            .record
            .header
            .logs_bloom
            .contains_input(alloy_primitives::BloomInput::Raw(exchange.as_slice()))
    );

    let token1_balance = IToken::balanceOfCall { owner: trader }.abi_encode();
    assert_eq!(view(&net, token1, token1_balance), expected);
    let reserves = CallRequest {
        to: Some(exchange),
        data: IExchange::getReservesCall {}.abi_encode().into(),
        ..CallRequest::default()
    };
    let reserves = call(&net.state, &settings(&net), &reserves).expect("view").output;
    let (reserve0, reserve1) = <(U256, U256)>::abi_decode_params(&reserves).expect("abi");
    assert_eq!((reserve0, reserve1), (reserve + amount_in, reserve - expected));
    assert!(reserve0 * reserve1 >= reserve * reserve);
}

#[test]
fn calls_report_reverts_and_estimates_suffice() {
    let mut net = Net::new();
    let Market { token0, exchange, .. } = open_market(&mut net);
    let amount = ETHER * U256::from(200_000);
    let transfer = IToken::transferCall { to: SINK, amount };
    let mut request = CallRequest {
        from: key(2).address(),
        to: Some(token0),
        data: transfer.abi_encode().into(),
        ..CallRequest::default()
    };
    let Err(CallError::Reverted { data, gas_used }) = call(&net.state, &settings(&net), &request)
    else {
        panic!("not enough tokens");
    };
    assert!(gas_used > 21_000);
    let error = IToken::InsufficientBalance::abi_decode(&data).expect("typed");
    assert_eq!((error.available, error.required), (ETHER * U256::from(100), amount));
    assert!(matches!(
        estimate_gas(&net.state, &settings(&net), &request),
        Err(CallError::Reverted { .. })
    ));

    let transfer = IToken::transferCall { to: SINK, amount: ETHER };
    request.data = transfer.abi_encode().into();
    let estimate = estimate_gas(&net.state, &settings(&net), &request).expect("succeeds");
    let tx = Tx::new(&net, 0, token0).data(request.data.clone()).gas(estimate).sign(&key(2));
    let block = net.run_txs(&[(2, tx)]);
    let receipt = &block.record.receipts[0];
    assert!(receipt.success, "the estimate suffices");
    assert!(estimate <= receipt.gas_used + receipt.gas_used / 16 + 2_500, "and is no waste");

    let plain = CallRequest { from: key(2).address(), to: Some(SINK), ..CallRequest::default() };
    assert_eq!(estimate_gas(&net.state, &settings(&net), &plain).expect("transfer"), 21_000);
    let tight = CallSettings { gas_cap: 30_000, ..settings(&net) };
    let quote = IExchange::quoteCall { tokenIn: token0, amountIn: ETHER };
    let quote = CallRequest {
        to: Some(exchange),
        data: quote.abi_encode().into(),
        gas: Some(21_700),
        ..CallRequest::default()
    };
    assert!(matches!(
        estimate_gas(&net.state, &tight, &quote),
        Err(CallError::GasCap { cap: 21_700 } | CallError::Invalid(SkipReason::IntrinsicGas))
    ));
    let poor = CallRequest {
        from: Address::repeat_byte(9),
        to: Some(SINK),
        value: U256::from(1),
        ..CallRequest::default()
    };
    assert!(matches!(
        call(&net.state, &settings(&net), &poor),
        Err(CallError::Invalid(SkipReason::InsufficientFunds))
    ));
    let reason = alloy_sol_types::Revert { reason: "no".to_owned() }.abi_encode();
    assert_eq!(revert_message(&reason).as_deref(), Some("no"));
    assert_eq!(revert_message(b"xx"), None);
}

#[test]
fn a_contract_destroyed_in_its_own_creation_leaves_nothing() {
    let mut net = Net::new();
    // PUSH1 1 PUSH0 SSTORE, CALLER SELFDESTRUCT
    let tx = Tx::new(&net, 0, TxKind::Create).data(hex!("60015f5533ff")).value(ETHER).sign(&key(1));
    let block = net.run_txs(&[(1, tx)]);
    assert!(block.record.receipts[0].success);
    let created = key(1).address().create(0);
    assert_eq!(net.state.account(created).expect("memory"), None);
    assert_eq!(net.state.storage(created, U256::ZERO).expect("memory"), U256::ZERO);
}

#[test]
fn an_old_contract_that_self_destructs_only_sends_its_balance() {
    // PUSH1 7 PUSH0 SSTORE, CALLER SELFDESTRUCT
    let contract = Address::repeat_byte(0xcc);
    let mut net = Net::with(|genesis| {
        genesis.alloc.push(GenesisAccount {
            address: contract,
            balance: ETHER,
            nonce: 1,
            code: hex!("60075f5533ff").into(),
            storage: [(B256::with_last_byte(1), B256::with_last_byte(9))].into(),
        });
    });
    let tx = Tx::new(&net, 0, contract).sign(&key(1));
    let block = net.run_txs(&[(1, tx)]);
    assert!(block.record.receipts[0].success);
    assert_eq!(net.balance(contract), U256::ZERO);
    assert_eq!(net.state.code_at(contract).expect("memory").len(), 6);
    assert_eq!(net.state.storage(contract, U256::ZERO).expect("memory"), U256::from(7));
    assert_eq!(net.state.storage(contract, U256::from(1)).expect("memory"), U256::from(9));
}

#[test]
fn an_account_can_delegate_to_code() {
    // PUSH1 7 PUSH0 SSTORE STOP
    let code = Address::repeat_byte(0xcd);
    let mut net = Net::with(|genesis| {
        genesis.alloc.push(GenesisAccount {
            address: code,
            balance: U256::ZERO,
            nonce: 1,
            code: hex!("60075f5500").into(),
            storage: Default::default(),
        });
    });
    let chain_id = net.genesis().chain_id;
    let owner = key(3);
    let authorization = Authorization { chain_id: U256::from(chain_id), address: code, nonce: 0 };
    let signature = sign(&owner, authorization.signature_hash());
    let tx = TxEip7702 {
        chain_id,
        nonce: 0,
        gas_limit: 120_000,
        max_fee_per_gas: 5 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: owner.address(),
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let signature = sign(&key(1), tx.signature_hash());
    let tx = TxEnvelope::from(tx.into_signed(signature));
    let block = net.run_txs(&[(1, tx)]);
    assert!(matches!(only(&block).verdict, Verdict::Executed { success: true, .. }));
    let designator = [&hex!("ef0100")[..], code.as_slice()].concat();
    assert_eq!(net.state.code_at(owner.address()).expect("memory").as_ref(), designator);
    assert_eq!(net.state.storage(owner.address(), U256::ZERO).expect("memory"), U256::from(7));

    // A delegated account still sends transactions of its own (EIP-3607 excepts it).
    let nonce = net.nonce(owner.address());
    assert_eq!(nonce, 1);
    let tx = Tx::new(&net, nonce, SINK).value(ETHER).sign(&owner);
    let block = net.run_txs(&[(3, tx)]);
    assert!(matches!(only(&block).verdict, Verdict::Executed { success: true, .. }));
}

#[test]
fn contracts_see_the_block_they_run_in() {
    // Slot 0: blockhash(number - 1); 1: coinbase; 2: prevrandao; 3: basefee; 4: timestamp.
    let contract = Address::repeat_byte(0xce);
    let mut net = Net::with(|genesis| {
        genesis.alloc.push(GenesisAccount {
            address: contract,
            balance: U256::ZERO,
            nonce: 1,
            code: hex!("60014303405f554160015544600255486003554260045500").into(),
            storage: Default::default(),
        });
    });
    net.run(Vec::new());
    let parent_hash = net.state.tip().block_hash;
    let tx = Tx::new(&net, 0, contract).gas(200_000).sign(&key(1));
    let block = net.run_txs(&[(1, tx)]);
    let seen = |slot: u64| net.state.storage(contract, U256::from(slot)).expect("memory");
    assert_eq!(seen(0), U256::from_be_bytes(parent_hash.0));
    assert_eq!(seen(1), U256::from_be_bytes(BENEFICIARY.into_word().0));
    assert_eq!(seen(2), U256::from_be_bytes(keccak256(net.parent.digest()).0));
    assert_eq!(seen(3), U256::from(GWEI));
    assert_eq!(seen(4), U256::from(block.record.header.timestamp));
}
