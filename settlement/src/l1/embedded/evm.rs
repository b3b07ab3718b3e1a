//! One transaction or call on the EVM, at Osaka.

use alloy_consensus::{Header, Transaction as _, TxEnvelope, TxType};
use alloy_eips::{Typed2718 as _, eip7840::BlobParams};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use revm::{
    Context, ExecuteEvm, Journal, MainBuilder, MainnetEvm,
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::{
        block::BlobExcessGasAndPrice,
        either::Either,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, ResultAndState},
    },
    handler::MainnetContext,
    primitives::hardfork::SpecId,
};

use super::state::View;

/// The rules of blobs: Osaka's, before the parameters were raised by EIP-7892 forks.
pub(super) const BLOBS: BlobParams = BlobParams::osaka();

/// Most gas of one transaction (EIP-7825).
pub const MAX_TX_GAS: u64 = 16_777_216;

/// Most gas a call may use.
pub(super) const CALL_GAS_CAP: u64 = 100_000_000;

/// Gas an estimate may be above the smallest sufficient limit, as a share: one in this many.
const ESTIMATE_TOLERANCE_DIVISOR: u64 = 64;

/// Runs one estimate makes at most.
const MAX_ESTIMATE_RUNS: usize = 32;

fn evm<'a>(
    view: View<'a>,
    header: &Header,
    chain_id: u64,
    configure: impl FnOnce(&mut CfgEnv),
) -> MainnetEvm<MainnetContext<View<'a>>> {
    let block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
            header.excess_blob_gas.unwrap_or_default(),
            u64::try_from(BLOBS.update_fraction).unwrap_or(u64::MAX),
        )),
        slot_num: 0,
    };
    let context: Context<BlockEnv, TxEnv, CfgEnv, View<'a>, Journal<View<'a>>, ()> =
        Context::new(view, SpecId::OSAKA);
    context
        .modify_cfg_chained(|cfg| {
            cfg.chain_id = chain_id;
            cfg.max_blobs_per_tx = Some(BLOBS.max_blobs_per_tx);
            configure(cfg);
        })
        .with_block(block)
        .build_mainnet()
}

/// Runs a transaction as part of the block with this header.
pub(super) fn transact(
    view: View<'_>,
    header: &Header,
    chain_id: u64,
    tx: &TxEnvelope,
    sender: Address,
) -> Result<ResultAndState, InvalidTransaction> {
    let mut evm = evm(view, header, chain_id, |_| {});
    match evm.transact(tx_env(tx, sender)) {
        Ok(result) => Ok(result),
        Err(EVMError::Transaction(invalid)) => Err(invalid),
        // The state cannot fail, and the header is ours. Whatever it is, the transaction is not in.
        Err(other) => Err(InvalidTransaction::Str(other.to_string().into())),
    }
}

fn tx_env(tx: &TxEnvelope, sender: Address) -> TxEnv {
    TxEnv {
        tx_type: tx.ty(),
        caller: sender,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        blob_hashes: tx.blob_versioned_hashes().unwrap_or_default().to_vec(),
        max_fee_per_blob_gas: tx.max_fee_per_blob_gas().unwrap_or_default(),
        authorization_list: tx
            .authorization_list()
            .unwrap_or_default()
            .iter()
            .cloned()
            .map(Either::Left)
            .collect(),
    }
}

/// Why a call gave no result.
#[derive(Debug)]
pub(super) enum CallFault {
    /// The contract reverted with this.
    Reverted(Bytes),
    /// The EVM stopped it.
    Halted(HaltReason),
    /// No block could hold such a transaction.
    Invalid(InvalidTransaction),
}

/// Runs a pretended transaction. Neither nonce nor code of the sender matter, and no fee is asked unless
/// one is offered.
fn run(
    view: View<'_>,
    header: &Header,
    chain_id: u64,
    request: &TransactionRequest,
    gas_limit: u64,
) -> Result<ExecutionResult, CallFault> {
    let mut header = header.clone();
    header.gas_limit = header.gas_limit.max(gas_limit);
    let mut evm = evm(view, &header, chain_id, |cfg| {
        cfg.disable_nonce_check = true;
        cfg.disable_base_fee = true;
        cfg.disable_eip3607 = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
    });
    match evm.transact(call_env(&header, chain_id, request, gas_limit)) {
        Ok(result) => Ok(result.result),
        Err(EVMError::Transaction(invalid)) => Err(CallFault::Invalid(invalid)),
        Err(other) => Err(CallFault::Invalid(InvalidTransaction::Str(other.to_string().into()))),
    }
}

fn call_env(header: &Header, chain_id: u64, request: &TransactionRequest, gas_limit: u64) -> TxEnv {
    let blobs = request.blob_versioned_hashes.clone().unwrap_or_default();
    let authorizations = request.authorization_list.clone().unwrap_or_default();
    let tx_type = match (blobs.is_empty(), authorizations.is_empty()) {
        (false, _) => TxType::Eip4844,
        (true, false) => TxType::Eip7702,
        (true, true) => TxType::Eip1559,
    };
    let fee = request.max_fee_per_gas.or(request.gas_price).unwrap_or(0);
    TxEnv {
        tx_type: tx_type as u8,
        caller: request.from.unwrap_or_default(),
        gas_limit,
        gas_price: fee,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.input().cloned().unwrap_or_default(),
        nonce: 0,
        chain_id: Some(chain_id),
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: Some(request.max_priority_fee_per_gas.unwrap_or(0).min(fee)),
        blob_hashes: blobs,
        max_fee_per_blob_gas: request
            .max_fee_per_blob_gas
            .unwrap_or_else(|| BLOBS.calc_blob_fee(header.excess_blob_gas.unwrap_or_default())),
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
    }
}

/// `eth_call`.
pub(super) fn call(
    view: View<'_>,
    header: &Header,
    chain_id: u64,
    request: &TransactionRequest,
) -> Result<Bytes, CallFault> {
    let gas_limit = request.gas.unwrap_or(CALL_GAS_CAP).min(CALL_GAS_CAP);
    match run(view, header, chain_id, request, gas_limit)? {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(CallFault::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(CallFault::Halted(reason)),
    }
}

/// `eth_estimateGas`: a limit with which the transaction succeeds, at most one 64th above the least.
pub(super) fn estimate<'a>(
    view: impl Fn() -> View<'a>,
    header: &Header,
    chain_id: u64,
    request: &TransactionRequest,
) -> Result<u64, CallFault> {
    let cap = request.gas.unwrap_or(MAX_TX_GAS).min(MAX_TX_GAS);
    let used = match run(view(), header, chain_id, request, cap)? {
        result @ ExecutionResult::Success { .. } => result.tx_gas_used(),
        ExecutionResult::Revert { output, .. } => return Err(CallFault::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => return Err(CallFault::Halted(reason)),
    };
    let mut enough = cap;
    let mut too_little = used.saturating_sub(1);
    // What was used often suffices; if not, then because a call holds one 64th back (EIP-150) or wants
    // a stipend to be there.
    let likely = [used, used.saturating_add(used / 63 + 2_300)];
    for attempt in 0..MAX_ESTIMATE_RUNS {
        if enough.saturating_sub(too_little) <= 1
            || enough - too_little <= enough / ESTIMATE_TOLERANCE_DIVISOR
        {
            break;
        }
        let middle = too_little + (enough - too_little) / 2;
        let candidate = likely
            .get(attempt)
            .copied()
            .filter(|likely| *likely > too_little && *likely < enough)
            .unwrap_or(middle);
        match run(view(), header, chain_id, request, candidate) {
            Ok(result) if result.is_success() => enough = candidate,
            Ok(_) | Err(CallFault::Invalid(_)) => too_little = candidate,
            Err(fault) => return Err(fault),
        }
    }
    Ok(enough)
}
