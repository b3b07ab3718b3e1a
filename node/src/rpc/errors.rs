//! From the node's typed errors to JSON-RPC error objects.
//!
//! Callers are told what went wrong and what to do. The text of a store failure stays in the log.

use blindfold_sdk::rpc::codes;
use jsonrpsee::types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE};
use serde::Serialize;

use super::{
    api::{CallOutcome, ReadError, SubmitError},
    reasons,
};

/// Text of the refusal of plaintext transactions.
pub(crate) const PLAINTEXT_REFUSED_MESSAGE: &str = "plaintext transactions are never accepted here, because whoever reads them first could \
     trade against them: seal the transaction (SDK `Wallet::seal`, or `blindfold tx send`) and \
     submit it with sealed_sendTransaction. If this one reached the node over a network, consider \
     it public";

/// An error answer without data.
pub(crate) fn error(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

/// A refusal with its reason and who is at fault.
pub(crate) fn refusal(
    code: i32,
    reason: &'static str,
    message: impl Into<String>,
) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, Some(reasons::data(reason)))
}

/// Parameters that do not fit the method.
pub(crate) fn invalid_params(message: impl Into<String>) -> ErrorObjectOwned {
    error(INVALID_PARAMS_CODE, message)
}

/// The refusal of plaintext.
pub(crate) fn plaintext_refused() -> ErrorObjectOwned {
    refusal(codes::PLAINTEXT_REFUSED, reasons::PLAINTEXT, PLAINTEXT_REFUSED_MESSAGE)
}

/// A block that does not exist (yet).
pub(crate) fn block_not_found() -> ErrorObjectOwned {
    error(codes::NOT_FOUND, "block not found")
}

/// A request beyond one of the server's limits.
pub(crate) fn limit_exceeded(message: impl Into<String>) -> ErrorObjectOwned {
    error(codes::LIMIT_EXCEEDED, message)
}

/// A failed call, in the form Ethereum clients know.
pub(crate) fn call_failed(outcome: CallOutcome) -> ErrorObjectOwned {
    match outcome {
        CallOutcome::Reverted(data) => {
            let message = match revert_reason(&data) {
                Some(reason) => format!("execution reverted: {reason}"),
                None => "execution reverted".to_owned(),
            };
            ErrorObjectOwned::owned(codes::REVERTED, message, Some(data))
        }
        CallOutcome::Halted(reason) => error(-32000, reason),
        CallOutcome::Returned(_) => error(INTERNAL_ERROR_CODE, "internal error"),
    }
}

/// Decodes the argument of Solidity's `Error(string)`.
fn revert_reason(data: &[u8]) -> Option<String> {
    const ERROR_STRING: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
    let body = data.strip_prefix(&ERROR_STRING)?;
    let word = |at: usize| -> Option<usize> {
        let word = body.get(at..at.checked_add(32)?)?;
        if word[..28].iter().any(|byte| *byte != 0) {
            return None;
        }
        usize::try_from(u32::from_be_bytes(word[28..].try_into().ok()?)).ok()
    };
    let offset = word(0)?;
    let length = word(offset)?;
    let start = offset.checked_add(32)?;
    let text = body.get(start..start.checked_add(length)?)?;
    String::from_utf8(text.to_vec()).ok()
}

impl From<ReadError> for ErrorObjectOwned {
    fn from(failure: ReadError) -> Self {
        match &failure {
            ReadError::HistoryUnavailable { oldest, newest, .. } => {
                #[derive(Serialize)]
                struct Kept {
                    #[serde(with = "alloy_serde::quantity")]
                    oldest: u64,
                    #[serde(with = "alloy_serde::quantity")]
                    newest: u64,
                }
                Self::owned(
                    codes::HISTORY_UNAVAILABLE,
                    failure.to_string(),
                    Some(Kept { oldest: *oldest, newest: *newest }),
                )
            }
            ReadError::Unavailable(_) => error(codes::UNAVAILABLE, failure.to_string()),
            ReadError::Store(detail) => {
                tracing::error!(target: "blindfold::rpc", %detail, "store failed under a request");
                error(INTERNAL_ERROR_CODE, "internal error; the node's log has the details")
            }
        }
    }
}

impl From<SubmitError> for ErrorObjectOwned {
    fn from(failure: SubmitError) -> Self {
        match &failure {
            SubmitError::Invalid { reason, .. } => {
                refusal(codes::ENVELOPE_INVALID, reason, failure.to_string())
            }
            SubmitError::Refused { reason, .. } => {
                refusal(codes::ENVELOPE_REFUSED, reason, failure.to_string())
            }
            SubmitError::Unavailable { reason, .. } => {
                refusal(codes::UNAVAILABLE, reason, failure.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, hex};

    use super::*;

    #[test]
    fn reverts_carry_their_reason_and_data() {
        let data = hex!(
            "08c379a0"
            "0000000000000000000000000000000000000000000000000000000000000020"
            "0000000000000000000000000000000000000000000000000000000000000005"
            "68656c6c6f000000000000000000000000000000000000000000000000000000"
        );
        let answer = call_failed(CallOutcome::Reverted(Bytes::from(data)));
        assert_eq!(answer.code(), codes::REVERTED);
        assert_eq!(answer.message(), "execution reverted: hello");
        assert_eq!(answer.data().unwrap().get(), format!("\"0x{}\"", hex::encode(data)));
    }

    #[test]
    fn hostile_revert_data_is_no_reason() {
        for data in [
            &hex!("08c379a0")[..],
            &hex!("08c379a0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
            &hex!("08c379a000000000000000000000000000000000000000000000000000000000ffffffff"),
            &hex!(
                "08c379a00000000000000000000000000000000000000000000000000000000000000020"
                "00000000000000000000000000000000000000000000000000000000ffffffff"
            ),
            &[],
        ] {
            let answer = call_failed(CallOutcome::Reverted(data.to_vec().into()));
            assert_eq!(answer.message(), "execution reverted");
        }
    }

    #[test]
    fn store_failures_are_not_told_to_callers() {
        let answer: ErrorObjectOwned = ReadError::Store("/secret/path: bad sector".into()).into();
        assert!(!answer.message().contains("secret"));
    }
}
