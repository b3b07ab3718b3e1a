//! What can go wrong on the way to L1, and whose fault it is.

use alloy_json_rpc::RpcError;
use alloy_primitives::{B256, Bytes};
use alloy_transport::{TransportError, TransportErrorKind};

use super::embedded::MineError;

/// Why L1 gave no answer, or not a usable one.
#[derive(Debug, thiserror::Error)]
pub enum L1Error {
    /// The node cannot be reached, or broke off. Trying again may help.
    #[error("L1 cannot be reached: {0}")]
    Unreachable(String),
    /// The node answered with an error.
    #[error("L1 refused: {message} (code {code})")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
        /// Data of the error: what a contract reverted with.
        data: Option<Bytes>,
    },
    /// The node's answer is not what the interface says: its fault, or the wrong kind of node.
    #[error("L1's answer is unusable: {0}")]
    Unusable(String),
    /// The node is on another chain than the genesis document says.
    #[error("L1 has chain id {got}, expected {expected}")]
    WrongChain {
        /// The configured id.
        expected: u64,
        /// The node's.
        got: u64,
    },
    /// The back end has no such blob, or not any more. Another source may.
    #[error("no blob {0} at this L1 back end")]
    BlobsMissing(B256),
    /// A blob is not what its versioned hash names, or no blob at all.
    #[error("bad blob: {0}")]
    BadBlob(String),
    /// A power over the chain that this back end, or this state of it, does not give.
    #[error(transparent)]
    Control(#[from] MineError),
}

impl From<TransportError> for L1Error {
    fn from(error: TransportError) -> Self {
        match error {
            RpcError::ErrorResp(payload) => Self::Refused {
                code: payload.code,
                message: payload.message.to_string(),
                data: payload.data.as_deref().and_then(|raw| bytes_in(raw.get())),
            },
            RpcError::Transport(kind) => match kind {
                TransportErrorKind::HttpError(http)
                    if http.status < 500 && http.status != 429 && http.status != 408 =>
                {
                    Self::Unusable(http.to_string())
                }
                kind => Self::Unreachable(kind.to_string()),
            },
            RpcError::NullResp => Self::Unusable("null where a value was expected".to_owned()),
            other => Self::Unusable(other.to_string()),
        }
    }
}

impl L1Error {
    /// Whether the same call may succeed later without anything else changing.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Why a node did not take a transaction, as far as a sender must act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// The nonce is used: another transaction of this sender is in a block already.
    NonceTooLow,
    /// Another transaction with this nonce waits, and this one does not offer enough more.
    Underpriced,
    /// The node has the very transaction already; nothing is wrong.
    Known,
    /// The sender cannot pay.
    Funds,
    /// The fee cap is below what the node asks for.
    FeeTooLow,
    /// It would revert, with this data.
    Reverted(Bytes),
    /// The node could not be reached: whether it took the transaction is not known.
    Unreachable,
    /// Something else: most likely a mistake in the transaction.
    Other(String),
}

/// Sorts an error of sending (or of estimating before it) by what to do about it. Nodes agree on codes
/// hardly, and on words well enough: those of go-ethereum, Nethermind, Erigon, reth, anvil and the
/// embedded L1 are covered.
#[must_use]
pub fn fault(error: &TransportError) -> SendFault {
    let payload = match error {
        RpcError::ErrorResp(payload) => payload,
        RpcError::Transport(_) => return SendFault::Unreachable,
        other => return SendFault::Other(other.to_string()),
    };
    let message = payload.message.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if any(&["already known", "known transaction", "already imported", "already in mempool"]) {
        SendFault::Known
    } else if any(&["nonce too low", "old nonce", "oldnonce"]) {
        SendFault::NonceTooLow
    } else if any(&["replacement", "underpriced"]) {
        // go-ethereum says "transaction underpriced" of a tip below its own minimum.
        if any(&["replace"]) { SendFault::Underpriced } else { SendFault::FeeTooLow }
    } else if any(&["insufficient funds"]) {
        SendFault::Funds
    } else if any(&[
        "max fee per gas less than block base fee",
        "feecap too low",
        "fee cap less than block",
        "max fee per blob gas less than",
    ]) {
        SendFault::FeeTooLow
    } else if any(&["revert"]) {
        SendFault::Reverted(revert_data(error).unwrap_or_default())
    } else {
        SendFault::Other(payload.message.to_string())
    }
}

/// What a contract reverted with, if the node said it.
#[must_use]
pub fn revert_data(error: &TransportError) -> Option<Bytes> {
    let data = error.as_error_resp()?.data.as_deref()?;
    bytes_in(data.get())
}

/// Hex in the data of an error: bare, or under `data` as some nodes have it.
fn bytes_in(json: &str) -> Option<Bytes> {
    if let Ok(bytes) = serde_json::from_str(json) {
        return Some(bytes);
    }
    let object: serde_json::Value = serde_json::from_str(json).ok()?;
    serde_json::from_value(object.get("data")?.clone()).ok()
}
