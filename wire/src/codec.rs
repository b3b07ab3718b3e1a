//! RLP by hand: a writer and a reader that know one encoding per value.
//!
//! The reader refuses leading zeros, long forms of short lengths, wrong fixed lengths, missing and
//! surplus items, so that whatever decodes encodes to the same bytes again.

use alloy_primitives::U256;
use alloy_rlp::{Decodable, Encodable, Header};

/// Why bytes are not the canonical encoding of a value. Always the fault of whoever made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not RLP, or not the canonical form of it.
    #[error("field {field} is not canonical RLP")]
    Rlp {
        /// Field that was being read.
        field: &'static str,
        /// What the RLP reader found.
        source: alloy_rlp::Error,
    },
    /// Bytes are left after the value, or a list has too many items.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// The type byte is not one this decoder knows.
    #[error("unknown type byte {0:#04x}")]
    UnknownType(u8),
    /// The input is empty.
    #[error("empty input")]
    Empty,
    /// A field, list or the whole input exceeds its bound.
    #[error("{field} has {got} of at most {limit}")]
    TooLong {
        /// Field that is too long.
        field: &'static str,
        /// Largest allowed length, in bytes or items.
        limit: usize,
        /// Length found.
        got: usize,
    },
    /// A field is well-formed RLP but not a value it may have.
    #[error("field {field}: {reason}")]
    Invalid {
        /// Field with the bad value.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl DecodeError {
    /// Stable, machine-readable name of what is wrong, in snake case.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Rlp { source: alloy_rlp::Error::InputTooShort, .. } => "truncated",
            Self::Rlp { .. } | Self::Trailing(_) => "non_canonical",
            Self::TooLong { .. } => "oversized",
            Self::UnknownType(_) => "unknown_type",
            Self::Invalid { .. } => "invalid_field",
        }
    }
}

/// Builds one RLP list.
#[derive(Default)]
pub struct ListWriter {
    payload: Vec<u8>,
}

impl ListWriter {
    /// A list without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// An unsigned integer: big-endian without leading zeros.
    pub fn int(&mut self, value: impl Into<u128>) -> &mut Self {
        value.into().encode(&mut self.payload);
        self
    }

    /// A 256-bit unsigned integer, encoded as [`Self::int`] does.
    pub fn int256(&mut self, value: &U256) -> &mut Self {
        value.encode(&mut self.payload);
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        value.encode(&mut self.payload);
        self
    }

    /// An item that is encoded already.
    pub fn raw(&mut self, item: &[u8]) -> &mut Self {
        self.payload.extend_from_slice(item);
        self
    }

    /// The finished list with its header.
    pub fn finish(&self) -> Vec<u8> {
        let header = Header { list: true, payload_length: self.payload.len() };
        let mut out = Vec::with_capacity(header.length() + self.payload.len());
        header.encode(&mut out);
        out.extend_from_slice(&self.payload);
        out
    }
}

/// Reads one RLP list, item by item.
pub struct ListReader<'a> {
    rest: &'a [u8],
}

impl<'a> ListReader<'a> {
    /// Reads `input`, which must be exactly one list. `field` names it in errors, here and below.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn exact(mut input: &'a [u8], field: &'static str) -> Result<Self, DecodeError> {
        let rest = Header::decode_bytes(&mut input, true)
            .map_err(|source| DecodeError::Rlp { field, source })?;
        if !input.is_empty() {
            return Err(DecodeError::Trailing(input.len()));
        }
        Ok(Self { rest })
    }

    /// The next item, an integer or a string of fixed length.
    ///
    /// # Errors
    /// If it is anything else, or missing.
    pub fn get<T: Decodable>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        T::decode(&mut self.rest).map_err(|source| DecodeError::Rlp { field, source })
    }

    /// The next item, a byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// If it is anything else, or missing.
    pub fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = Header::decode_bytes(&mut self.rest, false)
            .map_err(|source| DecodeError::Rlp { field, source })?;
        if bytes.len() > limit {
            return Err(DecodeError::TooLong { field, limit, got: bytes.len() });
        }
        Ok(bytes)
    }

    /// The next item, itself a list.
    ///
    /// # Errors
    /// If it is anything else, or missing.
    pub fn list(&mut self, field: &'static str) -> Result<ListReader<'a>, DecodeError> {
        let rest = Header::decode_bytes(&mut self.rest, true)
            .map_err(|source| DecodeError::Rlp { field, source })?;
        Ok(ListReader { rest })
    }

    /// The next item, whatever it is, as its encoded bytes.
    ///
    /// # Errors
    /// If it is anything else, or missing.
    pub fn raw(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let start = self.rest;
        let header =
            Header::decode(&mut self.rest).map_err(|source| DecodeError::Rlp { field, source })?;
        let length = start.len() - self.rest.len() + header.payload_length;
        let (item, rest) = start
            .split_at_checked(length)
            .ok_or(DecodeError::Rlp { field, source: alloy_rlp::Error::InputTooShort })?;
        self.rest = rest;
        Ok(item)
    }

    /// Reads every remaining item with `read`, at most `limit` of them.
    ///
    /// # Errors
    /// The first of `read`, or if there are more.
    pub fn items<T>(
        mut self,
        field: &'static str,
        limit: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        while !self.rest.is_empty() {
            if items.len() == limit {
                return Err(DecodeError::TooLong { field, limit, got: limit + 1 });
            }
            items.push(read(&mut self)?);
        }
        Ok(items)
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the list: nothing may be left.
    ///
    /// # Errors
    /// If something is.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}

/// Refuses empty inputs, and those over `limit` bytes, before anything is read.
///
/// # Errors
/// If it is one.
pub fn bounded(input: &[u8], field: &'static str, limit: usize) -> Result<(), DecodeError> {
    if input.is_empty() {
        return Err(DecodeError::Empty);
    }
    if input.len() > limit {
        return Err(DecodeError::TooLong { field, limit, got: input.len() });
    }
    Ok(())
}
