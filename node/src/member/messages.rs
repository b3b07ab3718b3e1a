//! What members say to each other beside the engine: envelopes, share bundles, openings, evidence.
//!
//! Each message is one byte for its kind, then the canonical encoding of what it carries. Decoding
//! is strict and bounded by the channel's message limit, which the transport enforces.

use alloy_primitives::Bytes;
use blindfold_wire::{
    bundle::{MAX_BUNDLE_BYTES, ShareBundle},
    codec::DecodeError,
    envelope::MAX_ENVELOPE_BYTES,
    evidence::Evidence,
    opening::{MAX_OPENING_SET_BYTES, OpeningSet},
};

/// Channel of gossiped envelopes.
pub const ENVELOPE_CHANNEL: u64 = 16;
/// Channel of share bundles, openings and evidence.
pub const SHARE_CHANNEL: u64 = 17;

/// Longest gossip message: several envelopes of any size.
pub const MAX_ENVELOPE_MESSAGE_BYTES: usize = 1 << 20;
/// Longest message on [`SHARE_CHANNEL`].
pub const MAX_SHARE_MESSAGE_BYTES: usize = 1 + if MAX_OPENING_SET_BYTES > MAX_BUNDLE_BYTES {
    MAX_OPENING_SET_BYTES
} else {
    MAX_BUNDLE_BYTES
};

/// Longest access list that is sent: what fits the channel beside kind and height.
pub const MAX_HINT_BYTES: usize = MAX_SHARE_MESSAGE_BYTES - 1 - 8;

const BUNDLE: u8 = 1;
const WANTED: u8 = 2;
const OPENINGS: u8 = 3;
const EVIDENCE: u8 = 4;
const ACCESS_LIST: u8 = 5;

/// A message on [`SHARE_CHANNEL`].
#[derive(Clone, Debug)]
pub enum ShareMessage {
    /// A member's shares of a final height.
    Bundle(ShareBundle),
    /// "I miss the opening of this height." Answered with openings, or with the asked one's bundle.
    Wanted(u64),
    /// All openings of a height, to be verified by sealing again.
    Openings(OpeningSet),
    /// What every position of an executed height accessed, sent before its openings: a hint that lets the
    /// receiver execute the height in parallel without speculation, and that it checks by doing so.
    AccessList {
        /// The height.
        height: u64,
        /// The encoded list, at most [`MAX_HINT_BYTES`].
        list: Bytes,
    },
    /// Proof of an offence, to be verified and kept.
    Evidence(Box<Evidence>),
}

impl ShareMessage {
    /// The message [`Openings`](Self::Openings) of an encoded set.
    pub fn openings(set: &[u8]) -> Vec<u8> {
        [&[OPENINGS], set].concat()
    }

    /// Kind byte, then the encoding.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Bundle(bundle) => (BUNDLE, bundle.encode()),
            Self::Wanted(height) => (WANTED, height.to_be_bytes().to_vec()),
            Self::Openings(set) => (OPENINGS, set.encode()),
            Self::AccessList { height, list } => {
                (ACCESS_LIST, [&height.to_be_bytes()[..], list].concat())
            }
            Self::Evidence(evidence) => (EVIDENCE, evidence.encode()),
        };
        let mut out = Vec::with_capacity(1 + body.len());
        out.push(kind);
        out.extend_from_slice(&body);
        out
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not exactly one message. The sender is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, body) = bytes.split_first().ok_or(INVALID)?;
        Ok(match *kind {
            BUNDLE => Self::Bundle(ShareBundle::decode(body)?),
            WANTED => Self::Wanted(u64::from_be_bytes(body.try_into().map_err(|_| INVALID)?)),
            OPENINGS => Self::Openings(OpeningSet::decode(body)?),
            ACCESS_LIST => {
                let (height, list) = body.split_first_chunk::<8>().ok_or(INVALID)?;
                if list.len() > MAX_HINT_BYTES {
                    return Err(INVALID);
                }
                let height = u64::from_be_bytes(*height);
                Self::AccessList { height, list: Bytes::copy_from_slice(list) }
            }
            EVIDENCE => Self::Evidence(Box::new(Evidence::decode(body)?)),
            _ => return Err(INVALID),
        })
    }
}

const INVALID: DecodeError =
    DecodeError::Invalid { field: "member message", reason: "no such kind or wrong length" };

/// Packs envelopes into messages of at most [`MAX_ENVELOPE_MESSAGE_BYTES`]: four bytes of length,
/// big-endian, before each.
pub fn pack_envelopes<'a>(envelopes: impl IntoIterator<Item = &'a Bytes>) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for envelope in envelopes {
        let Ok(length) = u32::try_from(envelope.len()) else { continue };
        let fits =
            |message: &Vec<u8>| message.len() + 4 + envelope.len() <= MAX_ENVELOPE_MESSAGE_BYTES;
        if !messages.last().is_some_and(fits) {
            messages.push(Vec::new());
        }
        if let Some(message) = messages.last_mut() {
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(envelope);
        }
    }
    messages
}

/// Takes apart what [`pack_envelopes`] made.
///
/// # Errors
/// If a length runs over the end, is zero, or is over the largest envelope. The sender is at fault.
pub fn unpack_envelopes(mut message: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    const WRONG: DecodeError =
        DecodeError::Invalid { field: "envelope message", reason: "length out of range" };
    let mut envelopes = Vec::new();
    while !message.is_empty() {
        let (length, rest) = message.split_first_chunk::<4>().ok_or(WRONG)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| WRONG)?;
        if length == 0 || length > MAX_ENVELOPE_BYTES {
            return Err(WRONG);
        }
        let (envelope, rest) = rest.split_at_checked(length).ok_or(WRONG)?;
        envelopes.push(Bytes::copy_from_slice(envelope));
        message = rest;
    }
    Ok(envelopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn envelopes_survive_packing(sizes in prop::collection::vec(1usize..40_000, 0..80)) {
            let envelopes: Vec<Bytes> = sizes.iter().map(|size| vec![*size as u8; *size].into()).collect();
            let messages = pack_envelopes(&envelopes);
            let mut back = Vec::new();
            for message in &messages {
                prop_assert!(message.len() <= MAX_ENVELOPE_MESSAGE_BYTES);
                back.extend(unpack_envelopes(message).expect("own packing"));
            }
            prop_assert_eq!(back, envelopes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack_envelopes(&bytes);
            let _ = ShareMessage::decode(&bytes);
        }
    }

    #[test]
    fn stored_bytes_are_sent_as_they_are() {
        let openings = vec![blindfold_crypto::Opening::Undecryptable { secret: [7; 48] }];
        let set = OpeningSet { height: 9, commitment: B256::repeat_byte(1), openings };
        let message = ShareMessage::openings(&set.encode());
        assert_eq!(message, ShareMessage::Openings(set.clone()).encode());
        assert!(
            matches!(ShareMessage::decode(&message), Ok(ShareMessage::Openings(read)) if read == set)
        );
    }

    #[test]
    fn lengths_are_checked() {
        assert!(unpack_envelopes(&[0, 0, 0, 0]).is_err());
        assert!(unpack_envelopes(&[0, 0, 0, 2, 1]).is_err());
        assert!(unpack_envelopes(&[0, 0, 1]).is_err());
        assert!(unpack_envelopes(&[0xff; 8]).is_err());
        assert!(ShareMessage::decode(&[WANTED, 1, 2]).is_err());
        assert!(ShareMessage::decode(&[]).is_err());
        assert!(matches!(
            ShareMessage::decode(&[WANTED, 0, 0, 0, 0, 0, 0, 0, 9]),
            Ok(ShareMessage::Wanted(9))
        ));
    }
}
