//! The order commitment: what a leader signs and the committee finalizes for one height.
//!
//! RLP `[chain_id, settlement, epoch, height, view, parent, timestamp_ms, base_fee, count,
//! order_root, l1_block, l1_base_fee, forced_cursor, forced_hash, executed_root]`. What is signed, and what the engine calls
//! the payload, is the EIP-712 digest of the same fields, so that an L1 contract can check both.

use alloy_primitives::{Address, B256};
use blindfold_crypto::Opening;

use crate::{
    codec::{DecodeError, ListReader, ListWriter, bounded},
    domain, eip712,
    merkle::{self, MerkleProof, hash},
    opening::opening_hash,
    signature::{Signature65, SignatureError, SigningKey},
};

/// Upper bound of an encoded commitment with its signature, in bytes.
pub const MAX_COMMITMENT_BYTES: usize = 512;

/// The order of one height, with everything that must be known before it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct OrderCommitment {
    /// Chain id of the L2.
    pub chain_id: u64,
    /// Settlement contract on L1; zero while there is none.
    pub settlement: Address,
    /// Committee epoch.
    pub epoch: u64,
    /// Height; 0 is genesis.
    pub height: u64,
    /// The first view in which it was proposed.
    pub view: u64,
    /// Digest of the commitment one height below; of genesis: the genesis hash.
    pub parent: B256,
    /// The leader's clock, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Base fee of the height, in wei per gas.
    pub base_fee: u128,
    /// Number of ordered envelopes.
    pub count: u32,
    /// Root over (position, envelope id): [`order_root`].
    pub order_root: B256,
    /// L1 block that due forced items are computed from; 0 while there is no settlement.
    pub l1_block: u64,
    /// Base fee of that L1 block, in wei per gas; 0 while there is no settlement.
    pub l1_base_fee: u64,
    /// Head of the forced queue after this height: the number of items consumed so far.
    pub forced_cursor: u64,
    /// Rolling hash of the forced queue up to [`Self::forced_cursor`]; zero before the first item.
    pub forced_hash: B256,
    /// Executed root `executed_lag` heights below; zero while there is no such height.
    pub executed_root: B256,
}

impl OrderCommitment {
    /// The EIP-712 digest: what the leader signs and the committee finalizes.
    pub fn digest(&self) -> B256 {
        let value = eip712::sol::OrderCommitment {
            chainId: self.chain_id,
            settlement: self.settlement,
            epoch: self.epoch,
            height: self.height,
            view: self.view,
            parent: self.parent,
            timestampMs: self.timestamp_ms,
            baseFee: self.base_fee,
            count: self.count,
            orderRoot: self.order_root,
            l1Block: self.l1_block,
            l1BaseFee: self.l1_base_fee,
            forcedCursor: self.forced_cursor,
            forcedHash: self.forced_hash,
            executedRoot: self.executed_root,
        };
        eip712::signing_hash(self.chain_id, self.settlement, &value)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = ListWriter::new();
        self.write(&mut list);
        list.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "commitment", MAX_COMMITMENT_BYTES)?;
        let mut list = ListReader::exact(bytes, "commitment")?;
        let commitment = Self::read(&mut list)?;
        list.finish()?;
        Ok(commitment)
    }

    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedCommitment {
        let signature = key.sign_digest(self.digest());
        SignedCommitment { commitment: self, signature }
    }

    fn write(&self, list: &mut ListWriter) {
        list.int(self.chain_id)
            .bytes(self.settlement.as_slice())
            .int(self.epoch)
            .int(self.height)
            .int(self.view)
            .bytes(self.parent.as_slice())
            .int(self.timestamp_ms)
            .int(self.base_fee)
            .int(self.count)
            .bytes(self.order_root.as_slice())
            .int(self.l1_block)
            .int(self.l1_base_fee)
            .int(self.forced_cursor)
            .bytes(self.forced_hash.as_slice())
            .bytes(self.executed_root.as_slice());
    }

    fn read(list: &mut ListReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: list.get("chain_id")?,
            settlement: list.get::<[u8; 20]>("settlement")?.into(),
            epoch: list.get("epoch")?,
            height: list.get("height")?,
            view: list.get("view")?,
            parent: list.get::<[u8; 32]>("parent")?.into(),
            timestamp_ms: list.get("timestamp_ms")?,
            base_fee: list.get("base_fee")?,
            count: list.get("count")?,
            order_root: list.get::<[u8; 32]>("order_root")?.into(),
            l1_block: list.get("l1_block")?,
            l1_base_fee: list.get("l1_base_fee")?,
            forced_cursor: list.get("forced_cursor")?,
            forced_hash: list.get::<[u8; 32]>("forced_hash")?.into(),
            executed_root: list.get::<[u8; 32]>("executed_root")?.into(),
        })
    }
}

/// A commitment with its leader's signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedCommitment {
    /// What was signed.
    pub commitment: OrderCommitment,
    /// Over [`OrderCommitment::digest`].
    pub signature: Signature65,
}

impl SignedCommitment {
    /// The commitment's digest.
    pub fn digest(&self) -> B256 {
        self.commitment.digest()
    }

    /// The address that signed it. Whether that is the scheduled leader is for `ordering` to say.
    ///
    /// # Errors
    /// If the signature is malleable or recovers to no key.
    pub fn recover_leader(&self) -> Result<Address, SignatureError> {
        self.signature.recover(self.digest())
    }

    /// RLP `[commitment, signature]`, the signature as 65 bytes.
    pub fn encode(&self) -> Vec<u8> {
        ListWriter::new().raw(&self.commitment.encode()).bytes(&self.signature.to_bytes()).finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "signed commitment", MAX_COMMITMENT_BYTES)?;
        let mut list = ListReader::exact(bytes, "signed commitment")?;
        let commitment = OrderCommitment::decode(list.raw("commitment")?)?;
        let signature = Signature65::from_bytes(&list.get("signature")?)?;
        list.finish()?;
        Ok(Self { commitment, signature })
    }
}

impl From<SignedCommitment> for OrderCommitment {
    fn from(signed: SignedCommitment) -> Self {
        signed.commitment
    }
}

/// Leaf of the order tree: keccak256(domain ‖ position, 4 bytes big-endian ‖ envelope id).
pub fn order_leaf(position: u32, envelope_id: B256) -> B256 {
    hash(domain::ORDER_LEAF, &[&position.to_be_bytes(), envelope_id.as_slice()])
}

fn order_leaves(ids: &[B256]) -> Vec<B256> {
    (0u32..).zip(ids).map(|(position, id)| order_leaf(position, *id)).collect()
}

/// Merkle root over (position, envelope id) in the order of `ids`.
pub fn order_root(ids: &[B256]) -> B256 {
    merkle::root(&order_leaves(ids))
}

/// Proof for [`order_leaf`] at `position`; `None` if out of range.
pub fn order_proof(ids: &[B256], position: u32) -> Option<MerkleProof> {
    merkle::prove(&order_leaves(ids), position)
}

/// keccak256(domain ‖ state root ‖ opening root): what `executed_lag` heights later is certified.
pub fn executed_root(state_root: B256, opening_root: B256) -> B256 {
    hash(domain::EXECUTED_ROOT, &[state_root.as_slice(), opening_root.as_slice()])
}

/// Leaf of the opening tree: keccak256(domain ‖ height, 8 bytes ‖ position, 4 bytes ‖ envelope id ‖
/// keccak256(encoded opening)).
pub fn opening_leaf(height: u64, position: u32, envelope_id: B256, opening: &Opening) -> B256 {
    hash(
        domain::OPENING_LEAF,
        &[
            &height.to_be_bytes(),
            &position.to_be_bytes(),
            envelope_id.as_slice(),
            opening_hash(opening).as_slice(),
        ],
    )
}

/// Merkle root over (height, position, envelope id, keccak256(opening)) of one height.
pub fn opening_root(height: u64, openings: &[(B256, &Opening)]) -> B256 {
    let leaves: Vec<_> = (0u32..)
        .zip(openings)
        .map(|(position, (id, opening))| opening_leaf(height, position, *id, opening))
        .collect();
    merkle::root(&leaves)
}
