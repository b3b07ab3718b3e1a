//! The witness as it is stored and served, and what is wrong with one that is refused.

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
use serde::{Deserialize, Serialize};

/// Bytes of all that a witness holds, at most.
pub const MAX_WITNESS_BYTES: usize = 64 << 20;

/// Headers that a witness may hold: as far back as `BLOCKHASH` reaches.
pub const MAX_WITNESS_HEADERS: usize = 256;

/// Bytes of one node. A branch with sixteen hashes has 532.
const MAX_NODE_BYTES: usize = 640;

/// Bytes of one code. Ethereum allows 24,576; a genesis document may go beyond.
const MAX_CODE_BYTES: usize = 1 << 20;

/// Bytes of one header.
const MAX_HEADER_BYTES: usize = 2_048;

/// What it takes to execute a block without the state. See the [module](super) for what goes where.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, RlpEncodable, RlpDecodable,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionWitness {
    /// RLP of trie nodes.
    pub state: Vec<Bytes>,
    /// Contract codes.
    pub codes: Vec<Bytes>,
    /// Addresses and slots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Bytes>,
    /// RLP of headers.
    pub headers: Vec<Bytes>,
}

/// Why a witness is refused. Whoever made it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// It holds more than [`MAX_WITNESS_BYTES`].
    #[error("witness has {got_bytes} of at most {MAX_WITNESS_BYTES} bytes")]
    TooLong {
        /// How many there are.
        got_bytes: usize,
    },
    /// Not RLP of the witness's structure, or not its canonical encoding.
    #[error("witness does not decode")]
    Rlp,
    /// An entry is empty, or longer than any that is needed.
    #[error("entry {index} of `{field}` has {got_bytes} bytes")]
    Length {
        /// The list.
        field: &'static str,
        /// Place in the list.
        index: usize,
        /// Length of the entry.
        got_bytes: usize,
    },
    /// An entry is not above the one before it.
    #[error("entry {index} of `{field}` is out of order or given twice")]
    Order {
        /// The list.
        field: &'static str,
        /// Place in the list.
        index: usize,
    },
    /// There is no header, so nothing to hang the nodes on; or more than [`MAX_WITNESS_HEADERS`].
    #[error("witness has {got} headers; it takes 1 to {MAX_WITNESS_HEADERS}")]
    HeaderCount {
        /// How many there are.
        got: usize,
    },
    /// A header does not decode, or is not canonically encoded.
    #[error("header {index} of the witness does not decode")]
    Header {
        /// Place in the list.
        index: usize,
    },
    /// A header is not the parent of the next one.
    #[error("header {index} of the witness is not the parent of the one after it")]
    HeaderChain {
        /// Place in the list.
        index: usize,
    },
}

/// A header of a witness, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessHeader {
    /// Its hash.
    pub hash: B256,
    /// The header.
    pub header: Header,
}

impl ExecutionWitness {
    /// RLP of the four lists.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Reads RLP, and checks what [`Self::check`] checks.
    ///
    /// # Errors
    ///
    /// [`WitnessError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WitnessError> {
        if bytes.len() > MAX_WITNESS_BYTES {
            return Err(WitnessError::TooLong { got_bytes: bytes.len() });
        }
        let mut rest = bytes;
        let witness = <Self as Decodable>::decode(&mut rest).map_err(|_| WitnessError::Rlp)?;
        if !rest.is_empty() || witness.encode() != bytes {
            return Err(WitnessError::Rlp);
        }
        witness.check()?;
        Ok(witness)
    }

    /// Checks bounds and order, and returns the headers, the parent's last.
    ///
    /// # Errors
    ///
    /// [`WitnessError`].
    pub fn check(&self) -> Result<Vec<WitnessHeader>, WitnessError> {
        let lists = [&self.state, &self.codes, &self.keys, &self.headers];
        let got_bytes = lists.into_iter().flatten().map(|entry| entry.len()).sum();
        if got_bytes > MAX_WITNESS_BYTES {
            return Err(WitnessError::TooLong { got_bytes });
        }
        check_list("state", &self.state, |length| length <= MAX_NODE_BYTES)?;
        check_list("codes", &self.codes, |length| length <= MAX_CODE_BYTES)?;
        check_list("keys", &self.keys, |length| length == 20 || length == 32)?;
        self.check_headers()
    }

    fn check_headers(&self) -> Result<Vec<WitnessHeader>, WitnessError> {
        let got = self.headers.len();
        if !(1..=MAX_WITNESS_HEADERS).contains(&got) {
            return Err(WitnessError::HeaderCount { got });
        }
        let mut headers: Vec<WitnessHeader> = Vec::with_capacity(got);
        for (index, bytes) in self.headers.iter().enumerate() {
            if bytes.len() > MAX_HEADER_BYTES {
                let got_bytes = bytes.len();
                return Err(WitnessError::Length { field: "headers", index, got_bytes });
            }
            let mut rest = bytes.as_ref();
            let header = Header::decode(&mut rest).map_err(|_| WitnessError::Header { index })?;
            if !rest.is_empty() || alloy_rlp::encode(&header) != *bytes {
                return Err(WitnessError::Header { index });
            }
            if let Some(last) = headers.last() {
                let follows = last.header.number.checked_add(1) == Some(header.number);
                if !follows || header.parent_hash != last.hash {
                    return Err(WitnessError::HeaderChain { index: index - 1 });
                }
            }
            headers.push(WitnessHeader { hash: keccak256(bytes), header });
        }
        Ok(headers)
    }
}

fn check_list(
    field: &'static str,
    list: &[Bytes],
    fits: impl Fn(usize) -> bool,
) -> Result<(), WitnessError> {
    let mut last: Option<&Bytes> = None;
    for (index, entry) in list.iter().enumerate() {
        let got_bytes = entry.len();
        if got_bytes == 0 || !fits(got_bytes) {
            return Err(WitnessError::Length { field, index, got_bytes });
        }
        if last.is_some_and(|last| last >= entry) {
            return Err(WitnessError::Order { field, index });
        }
        last = Some(entry);
    }
    Ok(())
}
