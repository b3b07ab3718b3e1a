//! Calls that change nothing: `eth_call` and `eth_estimateGas`.

use std::sync::Arc;

use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::{Panic, Revert, SolError};
use revm::ExecuteEvm;
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::context_interface::result::{EVMError, ExecutionResult};

use blindfold_wire::{Genesis, SkipReason};

use super::database::Reader;
use super::{BlockFacts, CodeCache, SPEC, build, skip_reason};
use crate::state::{BlockView, Overlay, ParentState, StateError};

/// Gas an estimate may be above the smallest sufficient limit, as a share: one in this many.
const ESTIMATE_TOLERANCE_DIVISOR: u64 = 64;

/// Runs one estimate makes at most.
const MAX_ESTIMATE_RUNS: usize = 32;

/// What a call may use and where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// The chain's id.
    pub chain_id: u64,
    /// Gas limit of the pretended block.
    pub block_gas_limit: u64,
    /// Most gas one call may use; a request for more is cut to this.
    pub gas_cap: u64,
}

impl CallSettings {
    /// Settings for the chain of this genesis.
    #[must_use]
    pub const fn new(genesis: &Genesis, gas_cap: u64) -> Self {
        Self {
            chain_id: genesis.chain_id,
            block_gas_limit: genesis.params.block_gas_limit,
            gas_cap,
        }
    }
}

/// A pretended transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Sender; may be any address, contracts included.
    pub from: Address,
    /// Target; `None` creates a contract.
    pub to: Option<Address>,
    /// Wei sent along; the sender must have it.
    pub value: U256,
    /// Input, or creation code.
    pub data: Bytes,
    /// Gas limit; the settings' cap if absent.
    pub gas: Option<u64>,
    /// Wei per gas, all included; 0 if absent, and then no fee is asked.
    pub max_fee_per_gas: Option<u128>,
    /// Wei per gas on top of the base fee.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Addresses and slots to warm up.
    pub access_list: AccessList,
    /// EIP-7702 authorizations.
    pub authorization_list: Vec<SignedAuthorization>,
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// Returned bytes; deployed code for a creation.
    pub output: Bytes,
    /// Gas used, refunds taken off.
    pub gas_used: u64,
}

/// Why a call gave no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The contract reverted.
    #[error("execution reverted{}", revert_message(data).map(|m| format!(": {m}")).unwrap_or_default())]
    Reverted {
        /// What it returned: usually an ABI-encoded error.
        data: Bytes,
        /// Gas used.
        gas_used: u64,
    },
    /// The EVM stopped the call.
    #[error("execution halted: {reason}")]
    Halted {
        /// Why, in words.
        reason: String,
        /// Gas used.
        gas_used: u64,
    },
    /// A block could not hold such a transaction.
    #[error("call refused: {0}")]
    Invalid(SkipReason),
    /// Even the cap is not enough gas.
    #[error("gas required exceeds the cap of {cap}")]
    GasCap {
        /// The cap that was tried.
        cap: u64,
    },
    /// The state could not be read, or moved on meanwhile: retry on the newest.
    #[error(transparent)]
    State(#[from] StateError),
    /// The EVM failed in a way that is nobody's input.
    #[error("EVM failed: {0}")]
    Evm(String),
}

/// The message of a Solidity `Error(string)` or `Panic(uint256)`, if that is what `data` is.
#[must_use]
pub fn revert_message(data: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(data) {
        return Some(revert.reason);
    }
    Panic::abi_decode(data).ok().map(|panic| panic.to_string())
}

/// Runs a pretended transaction on top of `state` and forgets what it changed.
///
/// The pretended block has the tip's number, time and base fee; its beneficiary and `prev_randao`
/// are zero. The sender's nonce is not checked; neither is whether it has code.
///
/// # Errors
///
/// [`CallError`].
pub fn call(
    state: &ParentState,
    settings: &CallSettings,
    request: &CallRequest,
) -> Result<CallOutcome, CallError> {
    let gas_limit = request.gas.unwrap_or(settings.gas_cap).min(settings.gas_cap);
    let result = run(state, settings, request, gas_limit);
    state.check_current()?;
    outcome(result?)
}

/// The gas limit with which a pretended transaction succeeds, at most one 64th above the least.
///
/// # Errors
///
/// [`CallError`]; what fails with all the gas there is, fails as it does there.
pub fn estimate_gas(
    state: &ParentState,
    settings: &CallSettings,
    request: &CallRequest,
) -> Result<u64, CallError> {
    let cap = request.gas.unwrap_or(settings.gas_cap).min(settings.gas_cap);
    let first = match run(state, settings, request, cap)? {
        ExecutionResult::Halt { reason, .. } if is_out_of_gas(&reason) => {
            return Err(CallError::GasCap { cap });
        }
        result => outcome(result)?,
    };
    // The call is known to succeed with `enough` and to fail below `too_little`.
    let mut enough = cap;
    let mut too_little = first.gas_used.saturating_sub(1);
    // What was used often suffices; if not, then because a call holds one 64th back (EIP-150) or
    // wants a stipend to be there.
    let likely = [first.gas_used, first.gas_used.saturating_add(first.gas_used / 63 + 2_300)];
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
        match run(state, settings, request, candidate) {
            Ok(result) if result.is_success() => enough = candidate,
            Ok(_) | Err(CallError::Invalid(SkipReason::IntrinsicGas)) => too_little = candidate,
            Err(error) => return Err(error),
        }
    }
    state.check_current()?;
    Ok(enough)
}

fn is_out_of_gas(reason: &revm::context_interface::result::HaltReason) -> bool {
    matches!(reason, revm::context_interface::result::HaltReason::OutOfGas(_))
}

fn outcome(result: ExecutionResult) -> Result<CallOutcome, CallError> {
    let gas_used = result.tx_gas_used();
    match result {
        ExecutionResult::Success { output, .. } => {
            Ok(CallOutcome { output: output.into_data(), gas_used })
        }
        ExecutionResult::Revert { output, .. } => {
            Err(CallError::Reverted { data: output, gas_used })
        }
        ExecutionResult::Halt { reason, .. } => {
            Err(CallError::Halted { reason: reason.to_string(), gas_used })
        }
    }
}

fn run(
    state: &ParentState,
    settings: &CallSettings,
    request: &CallRequest,
    gas_limit: u64,
) -> Result<ExecutionResult, CallError> {
    let tip = state.tip();
    let facts = BlockFacts {
        spec: SPEC,
        chain_id: settings.chain_id,
        height: tip.height,
        beneficiary: Address::ZERO,
        timestamp_s: tip.timestamp_s,
        gas_limit: settings.block_gas_limit.max(gas_limit),
        base_fee_wei: tip.base_fee_wei,
        difficulty: U256::ZERO,
        prev_randao: Some(B256::ZERO),
        excess_blob_gas: Some(0),
        blob_update_fraction: None,
    };
    let overlay = Overlay::new(Arc::new(BlockView::new(state.clone())));
    let reader = Reader { overlay, codes: CodeCache::default() };
    let mut evm = build(reader, &facts, |cfg| {
        cfg.disable_nonce_check = true;
        cfg.disable_base_fee = true;
        cfg.disable_eip3607 = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
    });
    match evm.transact(tx_env(settings.chain_id, request, gas_limit)) {
        Ok(result) => Ok(result.result),
        Err(EVMError::Transaction(invalid)) => Err(CallError::Invalid(skip_reason(&invalid))),
        Err(EVMError::Database(error)) => Err(StateError::from(error).into()),
        Err(error) => Err(CallError::Evm(error.to_string())),
    }
}

fn tx_env(chain_id: u64, request: &CallRequest, gas_limit: u64) -> TxEnv {
    let tx_type = if request.authorization_list.is_empty() { 2 } else { 4 };
    let fee = request.max_fee_per_gas.unwrap_or(0);
    TxEnv {
        tx_type,
        caller: request.from,
        gas_limit,
        gas_price: fee,
        kind: request.to.map_or(TxKind::Create, TxKind::Call),
        value: request.value,
        data: request.data.clone(),
        nonce: 0,
        chain_id: Some(chain_id),
        access_list: request.access_list.clone(),
        gas_priority_fee: Some(request.max_priority_fee_per_gas.unwrap_or(0).min(fee)),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: request.authorization_list.iter().cloned().map(Either::Left).collect(),
    }
}
