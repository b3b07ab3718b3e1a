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
                    Self::Unusable(without_paths(&http.to_string()))
                }
                kind => Self::Unreachable(without_paths(&kind.to_string())),
            },
            RpcError::NullResp => Self::Unusable("null where a value was expected".to_owned()),
            other => Self::Unusable(without_paths(&other.to_string())),
        }
    }
}

/// Cuts every URL in `text` down to scheme and host: providers put their customers' keys into paths,
/// queries and user names.
fn without_paths(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find([' ', ')', '"', '\'', '<', '>']).unwrap_or(after.len());
        let (url, after) = after.split_at(end);
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        out.push_str(before);
        out.push_str(host);
        out.push_str(if host.len() < url.len() { "/…" } else { "" });
        rest = after;
    }
    out.push_str(rest);
    out
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_json_rpc::ErrorPayload;
    use alloy_primitives::hex;

    fn refused(code: i64, message: &'static str) -> TransportError {
        RpcError::ErrorResp(ErrorPayload { code, message: message.into(), data: None })
    }

    #[test]
    fn keys_in_urls_are_not_shown() {
        for (text, expected) in [
            (
                "error for url (https://user:key@l1.example/v3/KEY?a=KEY)",
                "error for url (https://l1.example/…)",
            ),
            ("http://l1.example:8545 is gone", "http://l1.example:8545 is gone"),
            ("two: https://a/k and wss://b#k", "two: https://a/… and wss://b/…"),
            ("none", "none"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }

    /// Words of several nodes, by what a sender does about them.
    #[test]
    fn refusals_are_sorted() {
        for (message, expected) in [
            ("nonce too low: next nonce 7, tx nonce 6", SendFault::NonceTooLow), // geth
            ("OldNonce, Current nonce: 7, nonce of rejected tx: 6", SendFault::NonceTooLow), // Nethermind
            ("replacement transaction underpriced", SendFault::Underpriced),
            (
                "transaction underpriced: gas tip cap 1, minimum needed 1000000",
                SendFault::FeeTooLow,
            ),
            ("already known", SendFault::Known),
            ("transaction already imported", SendFault::Known),
            ("insufficient funds for gas * price + value: balance 0, tx cost 1", SendFault::Funds),
            ("Insufficient funds for gas * price + value", SendFault::Funds), // anvil
            ("max fee per gas less than block base fee", SendFault::FeeTooLow),
            ("execution reverted", SendFault::Reverted(Bytes::new())),
            ("txpool is full", SendFault::Other("txpool is full".to_owned())),
        ] {
            assert_eq!(fault(&refused(-32_000, message)), expected, "{message}");
        }
    }

    #[test]
    fn revert_data_is_found_where_nodes_put_it() {
        let bytes = Bytes::from(hex!("08c379a0"));
        for data in [r#""0x08c379a0""#, r#"{"data":"0x08c379a0","message":"x"}"#] {
            let raw = serde_json::value::RawValue::from_string(data.to_owned()).expect("JSON");
            let payload =
                ErrorPayload { code: 3, message: "execution reverted".into(), data: Some(raw) };
            assert_eq!(revert_data(&RpcError::ErrorResp(payload)), Some(bytes.clone()));
        }
    }
}
