//! What the embedded L1 refuses, in the words that Ethereum nodes use.

use std::borrow::Cow;

use alloy_json_rpc::ErrorPayload;
use alloy_primitives::{Bytes, U256};
use alloy_sol_types::{Panic, Revert, SolError as _};
use serde_json::value::RawValue;

use super::evm::{CallFault, MAX_TX_GAS};

/// Code of errors about transactions and state, as go-ethereum has it.
const SERVER_ERROR: i64 = -32_000;
/// Code of an execution that reverted.
const REVERTED: i64 = 3;
/// Code of wrong parameters.
const INVALID_PARAMS: i64 = -32_602;
/// Code of an unknown method.
const METHOD_NOT_FOUND: i64 = -32_601;
/// Code of more than the server is willing to do.
const LIMIT_EXCEEDED: i64 = -32_005;

/// Why a transaction is not taken in. The sender's fault, but for [`Refusal::PoolFull`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many bytes.
    #[error("oversized data: transaction size exceeds the limit")]
    TooLarge,
    /// Not a signed transaction in its EIP-2718 encoding.
    #[error("rlp: {0}")]
    Undecodable(String),
    /// For another chain.
    #[error("invalid chain id for signer")]
    WrongChain,
    /// Without a chain id.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// The signature is malleable or nobody's.
    #[error("invalid sender")]
    BadSignature,
    /// The gas limit is over EIP-7825's cap.
    #[error("transaction gas limit too high (cap: {MAX_TX_GAS}, tx: {limit})")]
    GasLimitTooHigh {
        /// The transaction's gas limit.
        limit: u64,
    },
    /// The gas limit does not even pay for the bytes.
    #[error("intrinsic gas too low: have {limit}, want {least}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        limit: u64,
        /// What it must be at least.
        least: u64,
    },
    /// The priority fee is above the fee cap.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// Creation code over EIP-3860's limit.
    #[error("max initcode size exceeded")]
    InitCodeTooLarge,
    /// Something about blobs.
    #[error("invalid blobs: {0}")]
    Blobs(String),
    /// The very transaction waits already.
    #[error("already known")]
    Known,
    /// The nonce is used.
    #[error("nonce too low: next nonce {next}, tx nonce {got}")]
    NonceTooLow {
        /// The account's nonce.
        next: u64,
        /// The transaction's.
        got: u64,
    },
    /// The nonce is further ahead than the pool looks.
    #[error("nonce too high: next nonce {next}, tx nonce {got}")]
    NonceTooHigh {
        /// The account's nonce.
        next: u64,
        /// The transaction's.
        got: u64,
    },
    /// Another transaction with that nonce waits, and this one does not offer enough more.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// The sender cannot pay for it and for what else it has waiting.
    #[error("insufficient funds for gas * price + value: balance {have}, tx cost {want}")]
    Funds {
        /// Balance, in wei.
        have: U256,
        /// Most it may cost, in wei.
        want: U256,
    },
    /// Too much waits.
    #[error("txpool is full")]
    PoolFull,
}

/// An error answer.
#[derive(Clone, Debug)]
pub(super) struct RpcError {
    code: i64,
    message: Cow<'static, str>,
    data: Option<Bytes>,
}

impl RpcError {
    pub(super) fn params(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: INVALID_PARAMS, message: message.into(), data: None }
    }

    pub(super) fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: SERVER_ERROR, message: message.into(), data: None }
    }

    pub(super) fn limit(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: LIMIT_EXCEEDED, message: message.into(), data: None }
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        let message = format!("the method {method} does not exist/is not available");
        Self { code: METHOD_NOT_FOUND, message: message.into(), data: None }
    }

    pub(super) fn payload(self) -> ErrorPayload {
        let data = self.data.and_then(|data| serde_json::value::to_raw_value(&data).ok());
        ErrorPayload::<Box<RawValue>> { code: self.code, message: self.message, data }
    }

    /// Code, message and data, for a server of its own.
    pub(super) fn into_parts(self) -> (i64, String, Option<Bytes>) {
        (self.code, self.message.into_owned(), self.data)
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        Self::server(refusal.to_string())
    }
}

impl From<CallFault> for RpcError {
    fn from(fault: CallFault) -> Self {
        match fault {
            CallFault::Reverted(data) => {
                let message = match revert_message(&data) {
                    Some(reason) => format!("execution reverted: {reason}").into(),
                    None => "execution reverted".into(),
                };
                Self { code: REVERTED, message, data: Some(data) }
            }
            CallFault::Halted(reason) => Self::server(format!("execution halted: {reason:?}")),
            CallFault::Invalid(invalid) => Self::server(invalid.to_string()),
        }
    }
}

/// The message of a Solidity `Error(string)` or `Panic(uint256)`, if that is what `data` is.
fn revert_message(data: &[u8]) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(data) {
        return Some(revert.reason);
    }
    Panic::abi_decode(data).ok().map(|panic| panic.to_string())
}
