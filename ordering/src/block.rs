//! The block as the engine sees it: a wire block, its bytes and its digest.
//!
//! The engine's payload is the EIP-712 digest of the commitment. The commitment fixes the envelopes
//! through `order_root`, which decoding checks, so a digest can never stand for another body. Two
//! things are *not* under the digest: the leader's signature and the payers' signatures (an envelope
//! id leaves them out). A peer that relays a block could spoil one of them and so give a member
//! something worthless under a good digest, which it might even store. The [`BlockGate`] closes that:
//! where blocks enter from peers, decoding also runs the gate, and a spoiled block is refused like any
//! other garbage, at the cost of the peer that sent it.
//!
//! Forced items are under the digest, by way of the parent's commitment, which comes with them; decoding checks
//! that, too.

use crate::engine::Digest;
use alloy_primitives::B256;
use bytes::{Buf as _, BufMut, Bytes};
use commonware_codec::{Buf, EncodeSize, Error as CodecError, Read, Write};
use commonware_consensus::{Block, BoundedBlock, Heightable, types::Height};
use commonware_cryptography::Digestible;
use std::{fmt, sync::Arc};

/// Bytes of the length prefix of an encoded block.
pub const LENGTH_PREFIX_BYTES: usize = 4;

/// Checks of a block's signatures that decoding from peers runs. See the module's text.
pub trait BlockGate: Send + Sync + 'static {
    /// Whether the leader's signature and every envelope of `block` are good.
    fn admits(&self, block: &OrderedBlock) -> bool;
}

/// How blocks are decoded.
#[derive(Clone)]
pub struct BlockCodec {
    /// Largest encoded block, in bytes, without the length prefix.
    pub max_block_bytes: usize,
    /// The gate for blocks from peers; `None` for blocks from our own store.
    pub gate: Option<Arc<dyn BlockGate>>,
}

impl fmt::Debug for BlockCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCodec")
            .field("max_block_bytes", &self.max_block_bytes)
            .field("gated", &self.gate.is_some())
            .finish()
    }
}

/// A block whose body matches its commitment, with its encoding and digest.
///
/// Says nothing about validity: the chain's rules are checked in [`crate::validity`].
#[derive(Clone)]
pub struct OrderedBlock {
    block: blindfold_wire::Block,
    encoded: Bytes,
    digest: B256,
}

/// Why bytes are not a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Not the canonical encoding of a block.
    #[error("block does not decode: {0}")]
    Decode(#[source] blindfold_wire::DecodeError),
    /// The body does not match the commitment.
    #[error("block body does not match its commitment: {0}")]
    Shape(#[source] blindfold_wire::BlockError),
}

impl OrderedBlock {
    /// Wraps a block whose body must match its commitment.
    ///
    /// # Errors
    ///
    /// [`BlockError::Shape`] if count or order root differ from the envelopes, or the forced items are others.
    pub fn new(block: blindfold_wire::Block) -> Result<Self, BlockError> {
        block.validate_shape().map_err(BlockError::Shape)?;
        let encoded = Bytes::from(block.encode());
        let digest = block.digest();
        Ok(Self { block, encoded, digest })
    }

    /// Decodes what [`Self::bytes`] gave, for stores.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if the bytes are not canonical or the body does not match.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, BlockError> {
        let block = blindfold_wire::Block::decode(&bytes).map_err(BlockError::Decode)?;
        block.validate_shape().map_err(BlockError::Shape)?;
        let digest = block.digest();
        Ok(Self { block, encoded: bytes, digest })
    }

    /// The wire block.
    pub const fn block(&self) -> &blindfold_wire::Block {
        &self.block
    }

    /// The commitment.
    pub const fn commitment(&self) -> &blindfold_wire::OrderCommitment {
        &self.block.commitment.commitment
    }

    /// The wire encoding, without length prefix.
    pub const fn bytes(&self) -> &Bytes {
        &self.encoded
    }

    /// The commitment's EIP-712 digest (32 bytes).
    pub const fn id(&self) -> B256 {
        self.digest
    }
}

impl fmt::Debug for OrderedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedBlock")
            .field("height", &self.commitment().height)
            .field("view", &self.commitment().view)
            .field("digest", &self.digest)
            .field("bytes", &self.encoded.len())
            .finish()
    }
}

impl PartialEq for OrderedBlock {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for OrderedBlock {}

/// Converts a 32-byte hash into the engine's digest type, which is only a container here.
pub fn to_digest(hash: B256) -> Digest {
    Digest::from(hash.0)
}

/// Converts the engine's digest back.
pub fn from_digest(digest: &Digest) -> B256 {
    B256::from(digest.0)
}

impl Write for OrderedBlock {
    fn write(&self, buf: &mut impl BufMut) {
        // A block is bounded far below 4 GiB before it is built or decoded.
        buf.put_u32(self.encoded.len() as u32);
        buf.put_slice(&self.encoded);
    }
}

impl EncodeSize for OrderedBlock {
    fn encode_size(&self) -> usize {
        LENGTH_PREFIX_BYTES + self.encoded.len()
    }
}

impl Read for OrderedBlock {
    type Cfg = BlockCodec;

    fn read_cfg(buf: &mut impl Buf, cfg: &BlockCodec) -> Result<Self, CodecError> {
        if buf.remaining() < LENGTH_PREFIX_BYTES {
            return Err(CodecError::EndOfBuffer);
        }
        let length = buf.get_u32() as usize;
        if length > cfg.max_block_bytes {
            return Err(CodecError::InvalidLength(length));
        }
        if buf.remaining() < length {
            return Err(CodecError::EndOfBuffer);
        }
        let bytes = buf.copy_to_bytes(length);
        let block = Self::from_bytes(bytes)
            .map_err(|error| CodecError::Wrapped("OrderedBlock", Box::new(error)))?;
        match &cfg.gate {
            Some(gate) if block.commitment().height > 0 && !gate.admits(&block) => {
                Err(CodecError::Invalid("OrderedBlock", "a signature is not good"))
            }
            _ => Ok(block),
        }
    }
}

impl Digestible for OrderedBlock {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        to_digest(self.digest)
    }
}

impl Heightable for OrderedBlock {
    fn height(&self) -> Height {
        Height::new(self.commitment().height)
    }
}

impl Block for OrderedBlock {
    fn parent(&self) -> Digest {
        to_digest(self.commitment().parent)
    }
}

impl BoundedBlock for OrderedBlock {
    fn max_encode_size(cfg: &BlockCodec) -> usize {
        LENGTH_PREFIX_BYTES + cfg.max_block_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_wire::{Block as WireBlock, ForcedSpan, SigningKey, testkit::TestCommittee};
    use commonware_codec::{Decode as _, DecodeExt as _, Encode as _};

    struct Strict(bool);
    impl BlockGate for Strict {
        fn admits(&self, _: &OrderedBlock) -> bool {
            self.0
        }
    }

    fn block() -> WireBlock {
        let committee = TestCommittee::new(4, 2);
        let payer = SigningKey::random([3; 32]);
        let envelope = committee.envelope(&payer, committee.header(0), b"m");
        let genesis = WireBlock::genesis(&committee.genesis).commitment.commitment;
        let commitment = committee.commitment(&genesis, std::slice::from_ref(&envelope));
        WireBlock {
            commitment: commitment.sign(&committee.members[0].signer),
            envelopes: vec![envelope.bytes().clone()],
            forced: ForcedSpan::none(),
        }
    }

    fn codec(max_block_bytes: usize, gate: Option<bool>) -> BlockCodec {
        BlockCodec {
            max_block_bytes,
            gate: gate.map(|admits| Arc::new(Strict(admits)) as Arc<dyn BlockGate>),
        }
    }

    #[test]
    fn round_trips_and_keeps_the_commitments_digest() {
        let wire = block();
        let block = OrderedBlock::new(wire.clone()).unwrap();
        assert_eq!(from_digest(&block.digest()), wire.digest());
        let bytes = block.encode();
        assert_eq!(bytes.len(), block.encode_size());
        let again = OrderedBlock::decode_cfg(bytes.clone(), &codec(1 << 20, None)).unwrap();
        assert_eq!(again.block(), &wire);
        assert_eq!(again.encode(), bytes);
        assert_eq!(OrderedBlock::from_bytes(block.bytes().clone()).unwrap(), block);
        assert!(
            block.encode_size() <= OrderedBlock::max_encode_size(&codec(block.bytes().len(), None))
        );
    }

    #[test]
    fn a_digest_never_stands_for_another_body() {
        let mut wire = block();
        wire.envelopes.push(wire.envelopes[0].clone());
        assert!(matches!(OrderedBlock::new(wire.clone()), Err(BlockError::Shape(_))));
        assert!(matches!(
            OrderedBlock::from_bytes(wire.encode().into()),
            Err(BlockError::Shape(_))
        ));
    }

    #[test]
    fn size_and_gate_are_checked_while_decoding() {
        let block = OrderedBlock::new(block()).unwrap();
        let (bytes, size) = (block.encode(), block.bytes().len());
        assert!(OrderedBlock::decode_cfg(bytes.clone(), &codec(size, Some(true))).is_ok());
        assert!(OrderedBlock::decode_cfg(bytes.clone(), &codec(size - 1, Some(true))).is_err());
        assert!(OrderedBlock::decode_cfg(bytes.clone(), &codec(size, Some(false))).is_err());
        assert!(
            OrderedBlock::decode_cfg(bytes.slice(..bytes.len() - 1), &codec(size, None)).is_err()
        );
        assert!(Digest::decode(bytes.slice(..32)).is_ok(), "the digest type is a plain container");
    }
}
