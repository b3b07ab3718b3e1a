//! Every refusal of bad input, by its stable name: code, who is at fault, what it costs a peer.
//!
//! An error answer carries `data.reason` and `data.fault`. A wallet acts on the reason; the message
//! is for people and may change. `docs/errors.md` has the same table in prose, and a test compares.

use blindfold_sdk::rpc::codes;
use jsonrpsee::types::error::{OVERSIZED_REQUEST_CODE, TOO_BIG_BATCH_REQUEST_CODE};
use serde::Serialize;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Whoever sent the request or made the envelope.
    Sender,
    /// This node: overloaded, stopping, or not the kind that could answer.
    Node,
    /// Nobody; the state of the chain or of the pool is what it is.
    Nobody,
}

/// What happens to a peer that brings the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It could have seen the fault itself, so it is blocked until this process ends.
    Blocked,
    /// Nothing: the verdict depends on state, in which honest nodes differ.
    Spared,
    /// Peers cannot bring this: it belongs to the RPC port.
    None,
}

/// One refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `data.reason`.
    pub name: &'static str,
    /// JSON-RPC error code.
    pub code: i32,
    /// `data.fault`.
    pub fault: Fault,
    /// What a peer gets for it.
    pub peer: Peer,
}

const fn invalid(name: &'static str) -> Reason {
    Reason { name, code: codes::ENVELOPE_INVALID, fault: Fault::Sender, peer: Peer::Blocked }
}

const fn refused(name: &'static str, fault: Fault) -> Reason {
    Reason { name, code: codes::ENVELOPE_REFUSED, fault, peer: Peer::Spared }
}

const fn request(name: &'static str, code: i32, fault: Fault) -> Reason {
    Reason { name, code, fault, peer: Peer::None }
}

/// Bytes that are neither an envelope nor anything else that is taken here.
pub const PLAINTEXT: &str = "plaintext";
/// More submissions than wait at a time.
pub const BUSY: &str = "busy";
/// The node is going down, or its database has failed.
pub const STOPPING: &str = "stopping";
/// Only members sign receipts.
pub const NOT_A_MEMBER: &str = "not_a_member";
/// No room for another connection.
pub const TOO_MANY_CONNECTIONS: &str = "too_many_connections";
/// A body beyond the limit.
pub const REQUEST_TOO_LARGE: &str = "request_too_large";
/// A body that did not arrive in time.
pub const REQUEST_TOO_SLOW: &str = "request_too_slow";
/// A batch beyond the limit. The library's answer, without data.
pub const BATCH_TOO_LARGE: &str = "batch_too_large";
/// A browser page that is not allowed here.
pub const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
/// A name for this node that it does not go by.
pub const HOST_NOT_ALLOWED: &str = "host_not_allowed";
/// Answers pile up because the clients do not read them.
pub const UNREAD_ANSWERS: &str = "unread_answers";

/// Every refusal.
pub const REASONS: &[Reason] = &[
    // The bytes are no envelope of this chain.
    invalid("empty"),
    invalid("truncated"),
    invalid("non_canonical"),
    invalid("oversized"),
    invalid("unknown_type"),
    invalid("invalid_field"),
    invalid("wrong_chain"),
    invalid("wrong_key_id"),
    invalid("gas_class"),
    invalid("priority_above_fee"),
    invalid("body_length"),
    invalid("payer_signature"),
    invalid("ciphertext_encoding"),
    invalid("ciphertext_proof"),
    // A valid envelope that is not wanted now.
    refused("already_known", Fault::Nobody),
    refused("expired", Fault::Sender),
    refused("expiry_too_far", Fault::Sender),
    refused("stale_nonce", Fault::Sender),
    refused("nonce_too_far", Fault::Sender),
    refused("underpriced", Fault::Sender),
    refused("replacement_underpriced", Fault::Sender),
    refused("payer_full", Fault::Sender),
    refused("unpaid", Fault::Sender),
    refused("full", Fault::Nobody),
    refused("backlog", Fault::Node),
    // The request, before it is looked at as an envelope.
    request(PLAINTEXT, codes::PLAINTEXT_REFUSED, Fault::Sender),
    request(BUSY, codes::UNAVAILABLE, Fault::Node),
    request(STOPPING, codes::UNAVAILABLE, Fault::Node),
    request(NOT_A_MEMBER, codes::UNAVAILABLE, Fault::Node),
    request(TOO_MANY_CONNECTIONS, codes::UNAVAILABLE, Fault::Node),
    request(REQUEST_TOO_LARGE, OVERSIZED_REQUEST_CODE, Fault::Sender),
    request(BATCH_TOO_LARGE, TOO_BIG_BATCH_REQUEST_CODE, Fault::Sender),
    request(REQUEST_TOO_SLOW, codes::FORBIDDEN, Fault::Sender),
    request(ORIGIN_NOT_ALLOWED, codes::FORBIDDEN, Fault::Sender),
    request(HOST_NOT_ALLOWED, codes::FORBIDDEN, Fault::Sender),
    request(UNREAD_ANSWERS, codes::LIMIT_EXCEEDED, Fault::Sender),
];

/// The refusal of this name.
pub fn find(name: &str) -> Option<Reason> {
    REASONS.iter().copied().find(|reason| reason.name == name)
}

/// `data` of an error answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Data {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
}

/// `data` for a reason.
pub(crate) fn data(name: &'static str) -> Data {
    Data { reason: name, fault: find(name).map(|reason| reason.fault) }
}

/// An error's message with those of its causes, so that one line tells all.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{B256, U256};
    use blindfold_crypto::{CiphertextError, PointError, PointField};
    use blindfold_mempool::Rejection;
    use blindfold_wire::{
        DecodeError, SkipReason, checked::EnvelopeError, envelope::KeyId, signature::SignatureError,
    };
    use std::collections::{BTreeMap, BTreeSet};

    fn rejections() -> Vec<Rejection> {
        let decode = |error: DecodeError| Rejection::Invalid(EnvelopeError::Decode(error));
        let field = "u";
        vec![
            decode(DecodeError::Empty),
            decode(DecodeError::Rlp { field, source: alloy_rlp::Error::InputTooShort }),
            decode(DecodeError::Rlp { field, source: alloy_rlp::Error::LeadingZero }),
            decode(DecodeError::Trailing(1)),
            decode(DecodeError::UnknownType(1)),
            decode(DecodeError::TooLong { field, limit: 1, got: 2 }),
            decode(DecodeError::Invalid { field, reason: "x" }),
            EnvelopeError::Size { got_bytes: 1 }.into(),
            EnvelopeError::WrongChain { expected: 1, got: 2 }.into(),
            EnvelopeError::UnknownKey { expected: KeyId::ZERO, got: KeyId::ZERO }.into(),
            EnvelopeError::GasClass(1).into(),
            EnvelopeError::Fees.into(),
            EnvelopeError::BodyLength { got_bytes: 1 }.into(),
            EnvelopeError::Signature(SignatureError::Unrecoverable).into(),
            EnvelopeError::Ciphertext(CiphertextError::Proof).into(),
            EnvelopeError::Ciphertext(CiphertextError::Scalar).into(),
            EnvelopeError::Ciphertext(CiphertextError::BodyLength { len: 1 }).into(),
            EnvelopeError::Ciphertext(CiphertextError::Point {
                field: PointField::U,
                error: PointError::NotOnCurve,
            })
            .into(),
            Rejection::AlreadyKnown { id: B256::ZERO },
            Rejection::Expired { expiry_height: 1, height: 2 },
            Rejection::ExpiryTooFar { expiry_height: 1, latest: 2 },
            Rejection::StaleNonce { nonce: 1, next_nonce: 2 },
            Rejection::NonceTooFar { nonce: 1, limit: 2 },
            Rejection::Underpriced { max_fee: 1, minimum: 2 },
            Rejection::ReplacementUnderpriced {
                replaces: B256::ZERO,
                min_max_fee: 1,
                min_priority_fee: 1,
            },
            Rejection::PayerFull { max: 1 },
            Rejection::Unpaid { needed_wei: U256::ONE, escrow_wei: U256::ZERO },
            Rejection::Full,
            Rejection::Backlog,
        ]
    }

    /// The table says of every refusal what the code does with it, and has no line too many.
    #[test]
    fn the_table_is_what_the_code_does() {
        let mut from_pool = BTreeSet::new();
        for rejection in rejections() {
            let reason = find(rejection.reason())
                .unwrap_or_else(|| panic!("no line for {}", rejection.reason()));
            from_pool.insert(reason.name);
            let invalid = matches!(rejection, Rejection::Invalid(_));
            assert_eq!(reason.code == codes::ENVELOPE_INVALID, invalid, "{rejection}");
            assert_eq!(reason.peer == Peer::Blocked, rejection.peer_at_fault(), "{rejection}");
        }
        for reason in REASONS.iter().filter(|reason| reason.peer != Peer::None) {
            assert!(from_pool.contains(reason.name), "nothing gives {}", reason.name);
        }
        let names: BTreeSet<_> = REASONS.iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), REASONS.len(), "a name twice");
    }

    /// Rows of a Markdown table whose first cell is a name in backquotes, by name.
    fn rows(text: &str) -> BTreeMap<&str, Vec<&str>> {
        text.lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
            .map(|line| {
                let mut cells = line.split(" | ");
                let name = cells.next().unwrap().trim_end_matches('`');
                (name, cells.collect())
            })
            .collect()
    }

    /// `docs/errors.md` tells users the same.
    #[test]
    fn the_documented_table_is_the_table() {
        let text = include_str!("../../../docs/errors.md");
        let (refusals, skips) = text.split_once("## After ordering").unwrap();
        let (mut refusals, mut skips) = (rows(refusals), rows(skips));
        for reason in REASONS {
            let row = refusals
                .remove(reason.name)
                .unwrap_or_else(|| panic!("{} is missing", reason.name));
            assert_eq!(row[1].replace('−', "-"), reason.code.to_string(), "{}", reason.name);
            let fault = serde_json::to_value(reason.fault).unwrap();
            assert_eq!(row[2], fault.as_str().unwrap(), "{}", reason.name);
            let peer = match reason.peer {
                Peer::Blocked => "blocked",
                Peer::Spared => "spared",
                Peer::None => "—",
            };
            assert_eq!(row[3], peer, "{}", reason.name);
        }
        for skip in SkipReason::ALL {
            let name = serde_json::to_value(skip).unwrap();
            let name = name.as_str().unwrap();
            assert!(skips.remove(name).is_some(), "{name} is missing");
        }
        refusals.append(&mut skips);
        assert!(refusals.is_empty(), "documented but unknown: {:?}", refusals.keys());
    }

    #[test]
    fn causes_are_told_once() {
        let error = EnvelopeError::Decode(DecodeError::Rlp {
            field: "u",
            source: alloy_rlp::Error::InputTooShort,
        });
        let text = describe(&error);
        assert_eq!(text.matches("input too short").count(), 1, "{text}");
        assert!(text.starts_with("envelope does not decode: field u"), "{text}");
    }
}
