//! Batch data: what is posted of a run of heights, in as few bytes as it takes to rebuild all of it.
//!
//! What follows from something else is left out: a commitment's chain, settlement, epoch, height, parent,
//! count and order root; and every ciphertext, which sealing again from seed and message gives back
//! ([`mod@crate::derive`]). An envelope that opens to nothing is posted whole, with its secret.
//!
//! ```text
//! version, 1 byte ‖ chain id ‖ epoch ‖ first height ‖ number of heights ‖ 3 × section
//! section = length ‖ stored length ‖ bytes: as they are if the two lengths are the same, else one zstd frame
//! ```
//!
//! Integers are LEB128 in their shortest form. A section is a length for each of its columns and then the
//! columns; `docs/settlement.md` lists them. Each kind of field has a column of its own.
//!
//! # One encoding
//! [`decode`] accepts a column stream only if encoding what it read gives the same stream. Compression is
//! outside of that: another version of zstd may give another frame for the same content, so the same batch
//! can have several frames, but a frame has one content, and a content one meaning.
//!
//! # Bounds
//! Lengths are declared and checked before anything is unpacked: [`MAX_DATA_BYTES`],
//! [`MAX_UNPACKED_BYTES`], [`MAX_HEIGHTS`], at most 64 bytes unpacked for each byte of data (and 64 KiB on
//! top), and the bounds of `wire` for items, messages and envelopes.

mod columns;
mod fields;
mod frame;
mod input;
mod rows;
#[cfg(test)]
mod tests;
mod transaction;

use alloy_primitives::{Address, B256, Bytes};
use blindfold_crypto::Opening;
use blindfold_wire::{
    CheckedEnvelope, DecodeError, Envelope, EnvelopeHeader, OpenedBatch, OrderCommitment,
    Signature65,
};

use crate::blobs;

/// Version of the format; the first byte of batch data.
pub const VERSION: u8 = 1;

/// Longest batch data, in bytes: what the blobs of one transaction hold.
pub const MAX_DATA_BYTES: usize = blobs::capacity(blobs::MAX_BLOBS);

/// Longest column stream, in bytes.
pub const MAX_UNPACKED_BYTES: usize = 8 << 20;

/// zstd's level. The content that compresses is small beside signatures and seeds, which do not.
pub const ZSTD_LEVEL: i32 = 9;

/// Most heights in a batch.
pub const MAX_HEIGHTS: u32 = 16_384;

/// Parts that are compressed on their own.
const SECTIONS: usize = 3;

/// Why bytes are not batch data. The fault of whoever posted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Another version than [`VERSION`].
    #[error("unknown version {0} of batch data")]
    Version(u8),
    /// Something is missing.
    #[error("batch data ends too early")]
    Truncated,
    /// Something is left over.
    #[error("bytes follow the end of batch data or of one of its columns")]
    Trailing,
    /// A number does not fit its field.
    #[error("a number is out of range")]
    Range,
    /// The encoder would have written it differently.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// More than a bound allows.
    #[error("{got} of at most {limit}")]
    TooLong {
        /// The bound, in bytes or items.
        limit: usize,
        /// What was found.
        got: usize,
    },
    /// No height, or more than [`MAX_HEIGHTS`].
    #[error("{0} heights, not 1 to {MAX_HEIGHTS}")]
    Heights(u32),
    /// Sections would unpack to more than the length of the data allows.
    #[error("unpacks to more than its length allows")]
    Bomb,
    /// A section is not exactly one zstd frame of the declared content length.
    #[error("a section is not one zstd frame of the declared length")]
    Compression,
    /// A byte that names no kind of item or word.
    #[error("unknown shape {0:#04x}")]
    Shape(u8),
    /// An undecryptable envelope is not one.
    #[error("undecryptable envelope does not decode")]
    Envelope(#[source] DecodeError),
}

/// Why heights cannot be posted. The fault of whoever put them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No height, or more than [`MAX_HEIGHTS`].
    #[error("{0} heights, not 1 to {MAX_HEIGHTS}")]
    Heights(usize),
    /// More than a bound allows.
    #[error("{got} of at most {limit}")]
    TooLong {
        /// The bound, in bytes or items.
        limit: usize,
        /// What was found.
        got: usize,
    },
    /// An envelope is for another chain than its batch.
    #[error("envelope is for chain {0}")]
    Chain(u64),
    /// The forced hash changed though the cursor did not: no honest committee certifies that.
    #[error("forced hash changed while the cursor stood still")]
    ForcedHash,
}

/// The content of batch data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchData {
    /// The chain's id.
    pub chain_id: u64,
    /// Committee epoch of all heights.
    pub epoch: u64,
    /// The first height; the others follow without holes.
    pub first_height: u64,
    /// One to [`MAX_HEIGHTS`] heights.
    pub heights: Vec<PostedHeight>,
}

/// What is posted of one height: the fields of its commitment that nothing else gives, and its items.
/// Fields as in [`OrderCommitment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedHeight {
    /// View in which it was proposed.
    pub view: u64,
    /// The leader's clock, in milliseconds.
    pub timestamp_ms: u64,
    /// In wei per gas.
    pub base_fee: u128,
    /// L1 block of its forced items.
    pub l1_block: u64,
    /// Base fee of that block, in wei per gas.
    pub l1_base_fee: u64,
    /// Forced items consumed so far.
    pub forced_cursor: u64,
    /// Hash of the forced queue up to the cursor.
    pub forced_hash: B256,
    /// Executed root of an earlier height.
    pub executed_root: B256,
    /// The leader's.
    pub signature: Signature65,
    /// By position.
    pub items: Vec<PostedItem>,
}

/// What is posted of one ordered envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostedItem {
    /// It opens: clear fields, payer's signature, seed and message.
    Opened(PostedOpening),
    /// It does not: the envelope and the secret D, compressed.
    Undecryptable {
        /// The whole envelope.
        envelope: Box<Envelope>,
        /// The secret D, 48 bytes.
        secret: [u8; 48],
    },
}

/// What is posted of an envelope that opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedOpening {
    /// The clear fields.
    pub header: EnvelopeHeader,
    /// Who pays. Sealing again needs it, and only the sealed envelope's id, which its signature signs, would
    /// give it: so it is posted, unless it is the signer of the message.
    pub payer: Payer,
    /// The payer's signature over the envelope's id.
    pub signature: Signature65,
    /// The seed σ.
    pub seed: [u8; 32],
    /// What was sealed.
    pub message: Bytes,
}

/// Who pays for an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// Whoever signed the transaction in the message.
    Signer,
    /// Somebody else, or the message is no signed transaction.
    Other(Address),
}

impl Payer {
    /// How `payer` is posted beside `message`.
    pub fn of(payer: Address, message: &[u8]) -> Self {
        if transaction::signer(message) == Some(payer) { Self::Signer } else { Self::Other(payer) }
    }

    /// The address. `None` if it should be the message's signer, and there is none.
    pub fn resolve(&self, message: &[u8]) -> Option<Address> {
        match self {
            Self::Signer => transaction::signer(message),
            Self::Other(payer) => Some(*payer),
        }
    }
}

impl PostedItem {
    /// What is posted of `envelope`, which opens to `opening`.
    pub fn new(envelope: &CheckedEnvelope, opening: &Opening) -> Self {
        match opening {
            Opening::Opened { seed, message } => Self::Opened(PostedOpening {
                header: envelope.header().clone(),
                payer: Payer::of(envelope.payer(), message),
                signature: envelope.envelope().signature,
                seed: *seed,
                message: Bytes::copy_from_slice(message),
            }),
            Opening::Undecryptable { secret } => Self::Undecryptable {
                envelope: Box::new(envelope.envelope().clone()),
                secret: *secret,
            },
        }
    }

    /// The opening.
    pub fn opening(&self) -> Opening {
        match self {
            Self::Opened(PostedOpening { seed, message, .. }) => {
                Opening::Opened { seed: *seed, message: message.to_vec() }
            }
            Self::Undecryptable { secret, .. } => Opening::Undecryptable { secret: *secret },
        }
    }
}

impl PostedHeight {
    /// What is posted of a height with this leader's signature.
    pub fn new(
        commitment: &OrderCommitment,
        signature: Signature65,
        items: Vec<PostedItem>,
    ) -> Self {
        Self {
            view: commitment.view,
            timestamp_ms: commitment.timestamp_ms,
            base_fee: commitment.base_fee,
            l1_block: commitment.l1_block,
            l1_base_fee: commitment.l1_base_fee,
            forced_cursor: commitment.forced_cursor,
            forced_hash: commitment.forced_hash,
            executed_root: commitment.executed_root,
            signature,
            items,
        }
    }

    /// What is posted of an opened height.
    pub fn of_batch(opened: &OpenedBatch, signature: Signature65) -> Self {
        let items = opened.items();
        let items = items.iter().map(|item| PostedItem::new(&item.envelope, &item.opening));
        Self::new(opened.commitment(), signature, items.collect())
    }
}

/// Encodes heights.
///
/// # Errors
/// If they break a bound, or are not of one chain.
pub fn encode(batch: &BatchData) -> Result<Vec<u8>, EncodeError> {
    let (place, sections) = write(batch)?;
    frame::pack(place, &sections)
}

/// The sections of a batch before they are compressed: what zstd alone is measured on. Feature `testkit`.
///
/// # Errors
/// As [`encode`], but for the length of the data.
#[cfg(any(test, feature = "testkit"))]
pub fn sections(batch: &BatchData) -> Result<[Vec<u8>; SECTIONS], EncodeError> {
    write(batch).map(|(_, sections)| sections)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// If the bytes are anything else; whoever posted them is at fault.
pub fn decode(data: &[u8]) -> Result<BatchData, CodecError> {
    let (place, sections) = frame::unpack(data)?;
    let mut reader = columns::Reader::new(&sections)?;
    let mut rows = rows::Rows::new(place.chain_id, place.first_height);
    let heights =
        (0..place.heights).map(|_| rows.read_height(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    reader.finish()?;
    let frame::Place { chain_id, epoch, first_height, .. } = place;
    let batch = BatchData { chain_id, epoch, first_height, heights };
    match write(&batch) {
        Ok((_, again)) if again == sections => Ok(batch),
        _ => Err(CodecError::NotCanonical),
    }
}

fn write(batch: &BatchData) -> Result<(frame::Place, [Vec<u8>; SECTIONS]), EncodeError> {
    let number = batch.heights.len();
    let heights = u32::try_from(number)
        .ok()
        .filter(|heights| (1..=MAX_HEIGHTS).contains(heights))
        .ok_or(EncodeError::Heights(number))?;
    let mut rows = rows::Rows::new(batch.chain_id, batch.first_height);
    let mut writer = columns::Writer::new();
    for height in &batch.heights {
        rows.write_height(&mut writer, height)?;
    }
    let BatchData { chain_id, epoch, first_height, .. } = *batch;
    Ok((frame::Place { chain_id, epoch, first_height, heights }, writer.finish()))
}
