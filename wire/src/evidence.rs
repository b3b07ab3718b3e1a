//! Small, self-contained proofs that a member broke a rule, checkable by anyone who has the genesis
//! document, and later by an L1 contract.
//!
//! RLP `[kind, …]`: 0 equivocation, 1 double release, 2 bad share.

use alloy_primitives::{Address, B256, keccak256};
use blindfold_crypto::{CommitteePublic, Share};

use crate::{
    bundle::{SHARE_BYTES, SignedBundleHeader, share_leaf},
    codec::{DecodeError, ListReader, ListWriter, bounded},
    commitment::{OrderCommitment, SignedCommitment, order_leaf},
    envelope::{Envelope, MAX_ENVELOPE_BYTES},
    genesis::Genesis,
    merkle::MerkleProof,
    signature::SignatureError,
};

/// Upper bound of encoded evidence, in bytes: an envelope and a few kilobytes of proofs.
pub const MAX_EVIDENCE_BYTES: usize = MAX_ENVELOPE_BYTES + 8_192;

const EQUIVOCATION: u8 = 0;
const DOUBLE_RELEASE: u8 = 1;
const BAD_SHARE: u8 = 2;

/// Why evidence proves nothing. The fault of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// It is about another chain.
    #[error("evidence is about another chain")]
    WrongChain,
    /// Both halves are the same, so there is no conflict.
    #[error("both halves say the same")]
    NoConflict,
    /// The halves are about different slots, so both may stand.
    #[error("the halves are about different views, heights or members")]
    DifferentSlots,
    /// A signature is invalid.
    #[error("evidence is not signed")]
    Signature(#[from] SignatureError),
    /// The signer is not the accused member.
    #[error("evidence is signed by {0}, which is not the accused member")]
    NotAMember(Address),
    /// A Merkle proof or the link between the parts does not hold.
    #[error("the parts of the evidence do not belong together")]
    Unlinked,
    /// The share is correct.
    #[error("the share is correct")]
    ShareIsGood,
}

/// Who broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offender {
    /// Index of the member.
    pub member: u32,
    /// Its signer address.
    pub signer: Address,
}

/// A wrong decryption share, with all that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadShare {
    /// The member's signed word.
    pub bundle: SignedBundleHeader,
    /// The share it released.
    pub share: Share,
    /// Place of the share under the bundle's root.
    pub share_proof: MerkleProof,
    /// The commitment the bundle is for.
    pub commitment: OrderCommitment,
    /// Encoded envelope at the share's position.
    pub envelope: Vec<u8>,
    /// Place of the envelope under the commitment's order root.
    pub envelope_proof: MerkleProof,
}

/// Proof of an offence.
#[allow(clippy::large_enum_variant, reason = "one at a time, and never kept in bulk")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A leader signed two commitments for one view of one epoch.
    Equivocation {
        /// The one seen first.
        first: SignedCommitment,
        /// The other.
        second: SignedCommitment,
    },
    /// A member signed two bundles with different commitments for one height.
    DoubleRelease {
        /// The one seen first.
        first: SignedBundleHeader,
        /// The other.
        second: SignedBundleHeader,
    },
    /// A member signed a share that is not its own.
    BadShare(Box<BadShare>),
}

impl Evidence {
    /// Checks the evidence against the committee of `genesis` and its checked key material.
    ///
    /// # Errors
    /// If it proves nothing.
    pub fn verify(
        &self,
        genesis: &Genesis,
        public: &CommitteePublic,
    ) -> Result<Offender, EvidenceError> {
        match self {
            Self::Equivocation { first, second } => verify_equivocation(genesis, first, second),
            Self::DoubleRelease { first, second } => verify_double_release(genesis, first, second),
            Self::BadShare(bad) => bad.verify(genesis, public),
        }
    }

    /// Index of the member that it says it convicts, if it says so. Nothing is verified: whoever made it up names
    /// whom they like. An equivocation names its signer by the signatures alone.
    pub fn accused(&self) -> Option<u32> {
        match self {
            Self::Equivocation { .. } => None,
            Self::DoubleRelease { first, .. } => Some(first.header.member),
            Self::BadShare(bad) => Some(bad.bundle.header.member),
        }
    }

    /// Name of the offence: `equivocation`, `double_release` or `bad_share`.
    pub fn offence(&self) -> &'static str {
        match self {
            Self::Equivocation { .. } => "equivocation",
            Self::DoubleRelease { .. } => "double_release",
            Self::BadShare(_) => "bad_share",
        }
    }

    /// A name for the evidence: keccak256 of its canonical bytes.
    pub fn id(&self) -> B256 {
        keccak256(self.encode())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = ListWriter::new();
        match self {
            Self::Equivocation { first, second } => {
                list.int(EQUIVOCATION).raw(&first.encode()).raw(&second.encode())
            }
            Self::DoubleRelease { first, second } => {
                list.int(DOUBLE_RELEASE).raw(&first.encode()).raw(&second.encode())
            }
            Self::BadShare(bad) => list
                .int(BAD_SHARE)
                .raw(&bad.bundle.encode())
                .bytes(&bad.share.0)
                .raw(&bad.share_proof.encode())
                .raw(&bad.commitment.encode())
                .bytes(&bad.envelope)
                .raw(&bad.envelope_proof.encode()),
        };
        list.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else, or over [`MAX_EVIDENCE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "evidence", MAX_EVIDENCE_BYTES)?;
        let mut list = ListReader::exact(bytes, "evidence")?;
        let evidence = match list.get::<u8>("kind")? {
            EQUIVOCATION => Self::Equivocation {
                first: SignedCommitment::decode(list.raw("first")?)?,
                second: SignedCommitment::decode(list.raw("second")?)?,
            },
            DOUBLE_RELEASE => Self::DoubleRelease {
                first: SignedBundleHeader::decode(list.raw("first")?)?,
                second: SignedBundleHeader::decode(list.raw("second")?)?,
            },
            BAD_SHARE => Self::BadShare(Box::new(BadShare {
                bundle: SignedBundleHeader::decode(list.raw("bundle")?)?,
                share: Share(list.get::<[u8; SHARE_BYTES]>("share")?),
                share_proof: MerkleProof::decode(list.raw("share_proof")?)?,
                commitment: OrderCommitment::decode(list.raw("commitment")?)?,
                envelope: list.bytes("envelope", MAX_ENVELOPE_BYTES)?.to_vec(),
                envelope_proof: MerkleProof::decode(list.raw("envelope_proof")?)?,
            })),
            kind => return Err(DecodeError::UnknownType(kind)),
        };
        list.finish()?;
        Ok(evidence)
    }
}

impl BadShare {
    fn verify(
        &self,
        genesis: &Genesis,
        public: &CommitteePublic,
    ) -> Result<Offender, EvidenceError> {
        let header = &self.bundle.header;
        let commitment = &self.commitment;
        let envelope = Envelope::decode(&self.envelope).map_err(|_| EvidenceError::Unlinked)?;
        let position = self.share_proof.index;
        check_chain(genesis, commitment.chain_id, commitment.settlement)?;
        let linked = header.commitment == commitment.digest()
            && header.height == commitment.height
            && self.share_proof.verify(header.shares_root, share_leaf(position, &self.share))
            && self.envelope_proof.index == position
            && self
                .envelope_proof
                .verify(commitment.order_root, order_leaf(position, envelope.id()));
        if !linked {
            return Err(EvidenceError::Unlinked);
        }
        let offender = bundle_signer(genesis, &self.bundle)?;
        if public.verify_share(offender.member as usize, &envelope.ciphertext.u, &self.share) {
            return Err(EvidenceError::ShareIsGood);
        }
        Ok(offender)
    }
}

fn verify_equivocation(
    genesis: &Genesis,
    first: &SignedCommitment,
    second: &SignedCommitment,
) -> Result<Offender, EvidenceError> {
    for half in [first, second] {
        check_chain(genesis, half.commitment.chain_id, half.commitment.settlement)?;
    }
    let slot = |half: &SignedCommitment| (half.commitment.epoch, half.commitment.view);
    if slot(first) != slot(second) {
        return Err(EvidenceError::DifferentSlots);
    }
    if first.commitment == second.commitment {
        return Err(EvidenceError::NoConflict);
    }
    let signer = first.recover_leader()?;
    let other = second.recover_leader()?;
    if signer != other {
        return Err(EvidenceError::NotAMember(other));
    }
    let member = genesis.member_by_signer(signer).ok_or(EvidenceError::NotAMember(signer))?;
    Ok(Offender { member, signer })
}

fn verify_double_release(
    genesis: &Genesis,
    first: &SignedBundleHeader,
    second: &SignedBundleHeader,
) -> Result<Offender, EvidenceError> {
    let slot = |half: &SignedBundleHeader| (half.header.height, half.header.member);
    if slot(first) != slot(second) {
        return Err(EvidenceError::DifferentSlots);
    }
    // Another root for the same commitment is no double release: after a resharing the same member
    // serves the same order with another share. A wrong share is a bad share.
    if first.header.commitment == second.header.commitment {
        return Err(EvidenceError::NoConflict);
    }
    bundle_signer(genesis, first)?;
    bundle_signer(genesis, second)
}

fn bundle_signer(
    genesis: &Genesis,
    bundle: &SignedBundleHeader,
) -> Result<Offender, EvidenceError> {
    check_chain(genesis, bundle.header.chain_id, bundle.header.settlement)?;
    let signer = bundle.recover_signer()?;
    match genesis.member_by_signer(signer) {
        Some(member) if member == bundle.header.member => Ok(Offender { member, signer }),
        _ => Err(EvidenceError::NotAMember(signer)),
    }
}

fn check_chain(genesis: &Genesis, chain_id: u64, settlement: Address) -> Result<(), EvidenceError> {
    if chain_id == genesis.chain_id && settlement == genesis.settlement {
        Ok(())
    } else {
        Err(EvidenceError::WrongChain)
    }
}
