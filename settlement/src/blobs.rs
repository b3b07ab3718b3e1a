//! Batch data in EIP-4844 blobs, and the hash by which L1 knows data.
//!
//! ```text
//! length of the data, 4 bytes big-endian ‖ data ‖ zeros
//! ```
//!
//! is cut into pieces of 31 bytes; each is a field element of 32 with a zero in front, which keeps it below
//! the field's modulus whatever the data. As few blobs as hold it. [`unpack`] accepts nothing else. Commitments and
//! proofs are made by [`crate::l1::seal_blobs`].

use alloy_eips::eip4844::{BYTES_PER_BLOB, Blob};
use alloy_primitives::{B256, keccak256};

/// Most blobs of one transaction (EIP-7594).
pub const MAX_BLOBS: usize = 6;

/// Data bytes in one blob, the length included: 31 in each of 4,096 field elements.
const BLOB_DATA_BYTES: usize = BYTES_PER_BLOB / ELEMENT_BYTES * PIECE_BYTES;
const ELEMENT_BYTES: usize = 32;
const PIECE_BYTES: usize = 31;
const LENGTH_BYTES: usize = 4;

/// First byte of what is hashed for data in calldata.
const CALLDATA: u8 = 0;
/// First byte of what is hashed for data in blobs.
const BLOBS: u8 = 1;

/// Why blobs hold no batch data. The fault of whoever posted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No blob, more than [`MAX_BLOBS`], or more than the length needs.
    #[error("{got} blobs, not {expected}")]
    Count {
        /// Blobs that the data takes.
        expected: usize,
        /// Blobs found.
        got: usize,
    },
    /// A field element does not begin with a zero.
    #[error("a field element does not begin with zero")]
    HighByte,
    /// The declared length is more than the blobs hold.
    #[error("declared length of {0} bytes is over what the blobs hold")]
    Length(usize),
    /// A byte after the data is not zero.
    #[error("bytes follow the data")]
    Trailing,
    /// Data is too long for [`MAX_BLOBS`].
    #[error("{0} bytes do not fit {MAX_BLOBS} blobs")]
    TooLong(usize),
}

/// How many bytes of data `blobs` blobs hold.
pub const fn capacity(blobs: usize) -> usize {
    (blobs * BLOB_DATA_BYTES).saturating_sub(LENGTH_BYTES)
}

/// How many blobs `data_len` bytes of data take.
pub const fn count(data_len: usize) -> usize {
    data_len.saturating_add(LENGTH_BYTES).div_ceil(BLOB_DATA_BYTES)
}

/// Puts data into blobs.
///
/// # Errors
/// If it does not fit [`MAX_BLOBS`].
pub fn pack(data: &[u8]) -> Result<Vec<Blob>, BlobError> {
    let too_long = BlobError::TooLong(data.len());
    if data.len() > capacity(MAX_BLOBS) {
        return Err(too_long);
    }
    let length = u32::try_from(data.len()).map_err(|_| too_long)?;
    let framed = [&length.to_be_bytes(), data].concat();
    let blobs = framed.chunks(BLOB_DATA_BYTES).map(|part| {
        let mut blob = vec![0; BYTES_PER_BLOB];
        let elements = blob.chunks_exact_mut(ELEMENT_BYTES);
        for (element, piece) in elements.zip(part.chunks(PIECE_BYTES)) {
            element[1..=piece.len()].copy_from_slice(piece);
        }
        Blob::from_slice(&blob)
    });
    Ok(blobs.collect())
}

/// Takes data out of blobs.
///
/// # Errors
/// If they are not exactly what [`pack`] makes of some data.
pub fn unpack(blobs: &[Blob]) -> Result<Vec<u8>, BlobError> {
    if blobs.is_empty() || blobs.len() > MAX_BLOBS {
        return Err(BlobError::Count { expected: 1, got: blobs.len() });
    }
    let mut framed = Vec::with_capacity(blobs.len() * BLOB_DATA_BYTES);
    for element in blobs.iter().flat_map(|blob| blob.chunks_exact(ELEMENT_BYTES)) {
        let [0, piece @ ..] = element else { return Err(BlobError::HighByte) };
        framed.extend_from_slice(piece);
    }
    let (length, rest) = framed.split_first_chunk::<LENGTH_BYTES>().ok_or(BlobError::Length(0))?;
    let length = u32::from_be_bytes(*length) as usize;
    let (data, zeros) = rest.split_at_checked(length).ok_or(BlobError::Length(length))?;
    if count(length) != blobs.len() {
        return Err(BlobError::Count { expected: count(length), got: blobs.len() });
    }
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(BlobError::Trailing);
    }
    Ok(data.to_vec())
}

/// `dataHash` of data in calldata: keccak256(0x00 ‖ keccak256(data)).
pub fn calldata_hash(data: &[u8]) -> B256 {
    keccak256([&[CALLDATA], keccak256(data).as_slice()].concat())
}

/// `dataHash` of data in blobs: keccak256(0x01 ‖ versioned hashes).
pub fn blobs_hash(versioned_hashes: &[B256]) -> B256 {
    let mut input = vec![BLOBS];
    for hash in versioned_hashes {
        input.extend_from_slice(hash.as_slice());
    }
    keccak256(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 + i / 251) as u8 | 1).collect()
    }

    #[test]
    fn data_of_every_shape_comes_back_from_as_few_blobs_as_hold_it() {
        let one = capacity(1);
        assert_eq!(one, 126_972);
        for length in
            [0, 1, 26, 27, 28, 31, 58, 59, one - 1, one, one + 1, capacity(2), capacity(6)]
        {
            let blobs = pack(&data(length)).unwrap();
            assert_eq!(blobs.len(), count(length));
            assert!(capacity(blobs.len()) >= length);
            assert!(blobs.len() == 1 || capacity(blobs.len() - 1) < length);
            assert_eq!(unpack(&blobs), Ok(data(length)));
        }
        let long = capacity(MAX_BLOBS) + 1;
        assert_eq!(pack(&data(long)), Err(BlobError::TooLong(long)));
    }

    #[test]
    fn nothing_else_is_accepted() {
        let blobs = pack(&data(1_000)).unwrap();
        // Every byte counts: another data byte is other data, any other change is refused.
        for index in (0..2_000).chain([BYTES_PER_BLOB - 32, BYTES_PER_BLOB - 1]) {
            let mut changed = blobs.clone();
            changed[0][index] ^= 0x01;
            assert_ne!(unpack(&changed), Ok(data(1_000)), "{index}");
        }
        let mut surplus = blobs.clone();
        surplus.push(Blob::ZERO);
        assert_eq!(unpack(&surplus), Err(BlobError::Count { expected: 1, got: 2 }));
        assert_eq!(unpack(&[]), Err(BlobError::Count { expected: 1, got: 0 }));
        assert!(matches!(unpack(&vec![Blob::ZERO; 7]), Err(BlobError::Count { .. })));
        let two = pack(&data(capacity(2))).unwrap();
        assert_eq!(unpack(&two[..1]), Err(BlobError::Length(capacity(2))));
        let mut exchanged = two.clone();
        exchanged.swap(0, 1);
        assert_ne!(unpack(&exchanged), Ok(data(capacity(2))));
    }

    #[test]
    fn calldata_and_blobs_have_hashes_of_their_own() {
        let hash = B256::repeat_byte(1);
        assert_eq!(blobs_hash(&[hash]), keccak256([&[1], hash.as_slice()].concat()));
        assert_ne!(blobs_hash(&[hash]), calldata_hash(hash.as_slice()));
        assert_ne!(blobs_hash(&[hash]), blobs_hash(&[hash, hash]));
    }
}
