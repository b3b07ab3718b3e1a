//! A member's decryption shares for one height, signed.
//!
//! The signature (EIP-712) covers the header only, which fixes the shares through a Merkle root, so
//! that one bad share or two bundles for one height are small evidence.

use alloy_primitives::{Address, B256};
use blindfold_crypto::Share;

use crate::{
    block::MAX_BLOCK_COUNT,
    codec::{DecodeError, ListReader, ListWriter, bounded},
    domain, eip712,
    merkle::{self, MerkleProof, hash},
    signature::{Signature65, SignatureError, SigningKey},
};

/// Bytes of one share: an uncompressed G1 point.
pub const SHARE_BYTES: usize = 96;

/// Upper bound of an encoded bundle header with its signature, in bytes.
pub const MAX_BUNDLE_HEADER_BYTES: usize = 256;

/// Upper bound of an encoded bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize =
    MAX_BUNDLE_HEADER_BYTES + MAX_BLOCK_COUNT * (SHARE_BYTES + 2) + 8;

/// Why a bundle is not what its member would have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The signature recovers to nobody.
    #[error("bundle signature is invalid")]
    Signature(#[from] SignatureError),
    /// The signature is another key's.
    #[error("bundle is signed by {got}, the member's signer is {expected}")]
    Signer {
        /// The member's address.
        expected: Address,
        /// The signer found.
        got: Address,
    },
    /// The shares are not those under the signed root.
    #[error("shares do not match the signed root")]
    SharesRoot,
}

/// What a member signs about its shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BundleHeader {
    /// Chain id of the L2.
    pub chain_id: u64,
    /// Settlement contract on L1; zero while there is none.
    pub settlement: Address,
    /// Height the shares open.
    pub height: u64,
    /// Digest of the certified commitment of that height.
    pub commitment: B256,
    /// [`shares_root`] of the shares.
    pub shares_root: B256,
    /// Index of the member.
    pub member: u32,
}

impl BundleHeader {
    /// The EIP-712 digest that the member signs.
    pub fn digest(&self) -> B256 {
        let value = eip712::sol::ShareBundle {
            chainId: self.chain_id,
            settlement: self.settlement,
            height: self.height,
            commitment: self.commitment,
            sharesRoot: self.shares_root,
            member: self.member,
        };
        eip712::signing_hash(self.chain_id, self.settlement, &value)
    }

    /// The canonical bytes: RLP `[chain_id, settlement, height, commitment, shares_root, member]`.
    pub fn encode(&self) -> Vec<u8> {
        ListWriter::new()
            .int(self.chain_id)
            .bytes(self.settlement.as_slice())
            .int(self.height)
            .bytes(self.commitment.as_slice())
            .bytes(self.shares_root.as_slice())
            .int(self.member)
            .finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "bundle header", MAX_BUNDLE_HEADER_BYTES)?;
        let mut list = ListReader::exact(bytes, "bundle header")?;
        let header = Self {
            chain_id: list.get("chain_id")?,
            settlement: list.get::<[u8; 20]>("settlement")?.into(),
            height: list.get("height")?,
            commitment: list.get::<[u8; 32]>("commitment")?.into(),
            shares_root: list.get::<[u8; 32]>("shares_root")?.into(),
            member: list.get("member")?,
        };
        list.finish()?;
        Ok(header)
    }
}

/// A bundle's header and signature without the shares: what evidence carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedBundleHeader {
    /// What was signed.
    pub header: BundleHeader,
    /// Over [`BundleHeader::digest`].
    pub signature: Signature65,
}

impl SignedBundleHeader {
    /// The address that signed it.
    ///
    /// # Errors
    /// If the signature is malleable or recovers to no key.
    pub fn recover_signer(&self) -> Result<Address, SignatureError> {
        self.signature.recover(self.header.digest())
    }

    /// RLP `[header, signature]`.
    pub fn encode(&self) -> Vec<u8> {
        ListWriter::new().raw(&self.header.encode()).bytes(&self.signature.to_bytes()).finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "signed bundle header", MAX_BUNDLE_HEADER_BYTES)?;
        let mut list = ListReader::exact(bytes, "signed bundle header")?;
        let header = BundleHeader::decode(list.raw("header")?)?;
        let signature = Signature65::from_bytes(&list.get("signature")?)?;
        list.finish()?;
        Ok(Self { header, signature })
    }
}

/// A member's shares for one height. Unchecked until [`ShareBundle::verify_signature`]; the shares
/// themselves are judged by `crypto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareBundle {
    /// What was signed.
    pub header: BundleHeader,
    /// One share per position.
    pub shares: Vec<Share>,
    /// Over [`BundleHeader::digest`].
    pub signature: Signature65,
}

impl ShareBundle {
    /// Signs `shares` for a commitment. Only `committee` may call it, for a certified commitment
    /// and after its journal.
    pub fn sign(
        chain_id: u64,
        settlement: Address,
        height: u64,
        commitment: B256,
        member: u32,
        shares: Vec<Share>,
        key: &SigningKey,
    ) -> Self {
        let shares_root = shares_root(&shares);
        let header = BundleHeader { chain_id, settlement, height, commitment, shares_root, member };
        let signature = key.sign_digest(header.digest());
        Self { header, shares, signature }
    }

    /// Checks the shares against the signed root and the signature against the member's address.
    ///
    /// # Errors
    /// If either does not match.
    pub fn verify_signature(&self, signer: Address) -> Result<(), BundleError> {
        if shares_root(&self.shares) != self.header.shares_root {
            return Err(BundleError::SharesRoot);
        }
        let got = self.signature.recover(self.header.digest())?;
        if got == signer { Ok(()) } else { Err(BundleError::Signer { expected: signer, got }) }
    }

    /// The header with its signature.
    pub fn signed_header(&self) -> SignedBundleHeader {
        SignedBundleHeader { header: self.header.clone(), signature: self.signature }
    }

    /// RLP `[header, signature, [share…]]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut shares = ListWriter::new();
        for share in &self.shares {
            shares.bytes(&share.0);
        }
        ListWriter::new()
            .raw(&self.header.encode())
            .bytes(&self.signature.to_bytes())
            .raw(&shares.finish())
            .finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else, or over [`MAX_BUNDLE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "bundle", MAX_BUNDLE_BYTES)?;
        let mut list = ListReader::exact(bytes, "bundle")?;
        let header = BundleHeader::decode(list.raw("header")?)?;
        let signature = Signature65::from_bytes(&list.get("signature")?)?;
        let shares = list.list("shares")?.items("shares", MAX_BLOCK_COUNT, |items| {
            items.get::<[u8; SHARE_BYTES]>("share").map(Share)
        })?;
        list.finish()?;
        Ok(Self { header, shares, signature })
    }
}

/// Leaf of a bundle's tree: keccak256(domain ‖ position, 4 bytes big-endian ‖ uncompressed share).
pub fn share_leaf(position: u32, share: &Share) -> B256 {
    hash(domain::SHARE_LEAF, &[&position.to_be_bytes(), &share.0])
}

fn share_leaves(shares: &[Share]) -> Vec<B256> {
    (0u32..).zip(shares).map(|(position, share)| share_leaf(position, share)).collect()
}

/// Merkle root over (position, share).
pub fn shares_root(shares: &[Share]) -> B256 {
    merkle::root(&share_leaves(shares))
}

/// Proof for [`share_leaf`] at `position`; `None` if out of range.
pub fn share_proof(shares: &[Share], position: u32) -> Option<MerkleProof> {
    merkle::prove(&share_leaves(shares), position)
}
