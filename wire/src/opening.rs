//! Openings as they are stored and served.
//!
//! RLP `[0, seed, message]` for an opened envelope, `[1, secret]` for an undecryptable one.

use alloy_primitives::{B256, keccak256};
use blindfold_crypto::{MAX_MESSAGE_BYTES, Opening};

use crate::{
    block::MAX_BLOCK_COUNT,
    codec::{DecodeError, ListReader, ListWriter, bounded},
};

const OPENED: u8 = 0;
const UNDECRYPTABLE: u8 = 1;

/// Upper bound of an encoded opening, in bytes.
pub const MAX_OPENING_BYTES: usize = MAX_MESSAGE_BYTES + 64;

/// Upper bound of an encoded opening set, in bytes.
///
/// Messages are no longer than the bodies they come from, so a set is bounded as a block is.
pub const MAX_OPENING_SET_BYTES: usize = crate::block::MAX_BLOCK_BYTES + 128 * MAX_BLOCK_COUNT;

/// The canonical bytes of an opening.
pub fn encode_opening(opening: &Opening) -> Vec<u8> {
    let mut list = ListWriter::new();
    match opening {
        Opening::Opened { seed, message } => list.int(OPENED).bytes(seed).bytes(message),
        Opening::Undecryptable { secret } => list.int(UNDECRYPTABLE).bytes(secret),
    };
    list.finish()
}

/// Reads canonical bytes.
///
/// # Errors
/// If they are anything else.
pub fn decode_opening(bytes: &[u8]) -> Result<Opening, DecodeError> {
    bounded(bytes, "opening", MAX_OPENING_BYTES)?;
    let mut list = ListReader::exact(bytes, "opening")?;
    let opening = match list.get::<u8>("kind")? {
        OPENED => Opening::Opened {
            seed: list.get("seed")?,
            message: list.bytes("message", MAX_MESSAGE_BYTES)?.to_vec(),
        },
        UNDECRYPTABLE => Opening::Undecryptable { secret: list.get("secret")? },
        kind => return Err(DecodeError::UnknownType(kind)),
    };
    list.finish()?;
    Ok(opening)
}

/// keccak256 of the canonical bytes.
pub fn opening_hash(opening: &Opening) -> B256 {
    keccak256(encode_opening(opening))
}

/// The canonical bytes of an [`OpeningSet`] of these parts.
pub(crate) fn encode_opening_set<'a>(
    height: u64,
    commitment: B256,
    openings: impl IntoIterator<Item = &'a Opening>,
) -> Vec<u8> {
    let mut list = ListWriter::new();
    for opening in openings {
        list.raw(&encode_opening(opening));
    }
    ListWriter::new().int(height).bytes(commitment.as_slice()).raw(&list.finish()).finish()
}

/// All openings of one height, as members serve them. Nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningSet {
    /// The height.
    pub height: u64,
    /// Digest of the height's commitment.
    pub commitment: B256,
    /// One opening per position.
    pub openings: Vec<Opening>,
}

impl OpeningSet {
    /// RLP `[height, commitment, [opening…]]`.
    pub fn encode(&self) -> Vec<u8> {
        encode_opening_set(self.height, self.commitment, &self.openings)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else, or over [`MAX_OPENING_SET_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "opening set", MAX_OPENING_SET_BYTES)?;
        let mut list = ListReader::exact(bytes, "opening set")?;
        let height = list.get("height")?;
        let commitment = list.get::<[u8; 32]>("commitment")?.into();
        let openings = list
            .list("openings")?
            .items("openings", MAX_BLOCK_COUNT, |items| decode_opening(items.raw("opening")?))?;
        list.finish()?;
        Ok(Self { height, commitment, openings })
    }
}
