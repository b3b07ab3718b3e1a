//! Proofs that a rule was broken: small, self-contained, checked offline here and on L1 by the slasher.
//!
//! Every kind names its culprit by what the culprit itself signed or posted: a leader answers for what it
//! signed twice, a member for the shares it signed, a poster for the batch it posted. A batch is accused with
//! its own leaves only, so nobody can be made to answer for another's; what it is held against is certified.
//!
//! [`Offence::verify`] is as strict as the slasher, and for openings stricter: it wants the whole envelope and
//! checks all of it. [`Offence::to_call`] is the slasher's call data, which it calls evidence.
//!
//! What a poster keeps to itself cannot be proven, but asked for: [`Challenge`].

mod call;
mod disowned;
mod format;
mod posted;

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall;
use blindfold_wire::{
    CertificateError, CheckedEnvelope, EnvelopeError, Evidence, EvidenceError, SignatureError,
};

pub use disowned::{DisownedOpening, ExecutedRoot, MAX_CHAIN};
pub use posted::{
    BatchLeaf, BrokenCount, BrokenFirst, BrokenLeaf, BrokenLink, ForgedCommitment, Reordering,
    WrongOpening,
};

pub(crate) use call::sealed_envelope;
pub(crate) use posted::opens;

use crate::{batch::Batch, derive::ChainRules, sol};

/// Upper bound of encoded evidence, in bytes: an envelope, an opening and the proofs.
pub const MAX_OFFENCE_BYTES: usize = 140 << 10;

/// What was done. The numbers are those of the slasher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum OffenceKind {
    /// A leader signed two commitments for one view.
    Equivocation = 1,
    /// A poster posted another order than the certified one: moved, inserted or left out.
    Reordering = 2,
    /// A poster posted heights that do not follow each other, or miscounted openings.
    BrokenChain = 3,
    /// A poster posted a commitment with a signature that is not its leader's.
    ForgedCommitment = 4,
    /// A poster posted an opening that does not open the envelope, or another than was certified.
    WrongOpening = 5,
    /// A member released shares for two commitments of one height.
    DoubleRelease = 6,
    /// A member released a share that is not its own.
    BadShare = 7,
    /// A poster did not show in time what it posted the hash of.
    Withheld = 8,
}

impl OffenceKind {
    /// All kinds, by number.
    pub const ALL: [Self; 8] = [
        Self::Equivocation,
        Self::Reordering,
        Self::BrokenChain,
        Self::ForgedCommitment,
        Self::WrongOpening,
        Self::DoubleRelease,
        Self::BadShare,
        Self::Withheld,
    ];

    /// Its name in documents, JSON and metrics, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equivocation => "equivocation",
            Self::Reordering => "reordering",
            Self::BrokenChain => "broken_chain",
            Self::ForgedCommitment => "forged_commitment",
            Self::WrongOpening => "wrong_opening",
            Self::DoubleRelease => "double_release",
            Self::BadShare => "bad_share",
            Self::Withheld => "withheld",
        }
    }
}

/// Who broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Culprit {
    /// What it did.
    pub kind: OffenceKind,
    /// The account that signed or posted, and whose stake is taken.
    pub signer: Address,
}

/// Why evidence proves nothing. The fault of whoever made or sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffenceError {
    /// L1 accepted no such batch.
    #[error("no such batch was accepted")]
    UnknownBatch,
    /// It is about another chain.
    #[error("evidence is about another chain")]
    WrongChain,
    /// A Merkle proof or the link between two parts does not hold.
    #[error("the parts of the evidence do not belong together")]
    Unlinked,
    /// Everything is as it should be.
    #[error("nothing is wrong with what the evidence shows")]
    NoFault,
    /// No quorum of the committee certified what the evidence says.
    #[error("the evidence is not certified")]
    NotCertified(#[from] CertificateError),
    /// What a leader or member is said to have signed proves nothing.
    #[error(transparent)]
    Signed(#[from] EvidenceError),
    /// The envelope is not one that could have been ordered.
    #[error("envelope of the evidence is invalid")]
    Envelope(#[from] EnvelopeError),
}

impl From<SignatureError> for OffenceError {
    fn from(error: SignatureError) -> Self {
        Self::Signed(error.into())
    }
}

/// The batches that L1 accepted.
pub trait PostedBatches {
    /// Hash of the batch with this index, from 1; `None` if there is none.
    fn batch_hash(&self, index: u64) -> Option<B256>;
}

impl PostedBatches for [Batch] {
    fn batch_hash(&self, index: u64) -> Option<B256> {
        self.iter().find(|batch| batch.index == index).map(Batch::hash)
    }
}

impl PostedBatches for Vec<Batch> {
    fn batch_hash(&self, index: u64) -> Option<B256> {
        self.as_slice().batch_hash(index)
    }
}

/// Proof of an offence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Equivocation, double release, bad share: what somebody signed.
    Signed(Box<Evidence>),
    /// Another envelope at a position than the certified one.
    Reordering(Box<Reordering>),
    /// A leaf that is not what its place and its commitment say.
    BrokenLeaf(Box<BrokenLeaf>),
    /// A commitment that does not name the one below as its parent.
    BrokenParent(Box<BrokenLink>),
    /// Openings that do not begin where those below end.
    BrokenOffset(Box<BrokenLink>),
    /// A first commitment that does not name the last one of the batch before as its parent.
    BrokenFirst(Box<BrokenFirst>),
    /// An opening root over another number of openings than the batch says.
    BrokenCount(Box<BrokenCount>),
    /// A signature that is not the leader's.
    ForgedCommitment(Box<ForgedCommitment>),
    /// An opening that does not open.
    WrongOpening(Box<WrongOpening>),
    /// An opening that is not the certified one.
    DisownedOpening(Box<DisownedOpening>),
}

impl From<Evidence> for Offence {
    fn from(evidence: Evidence) -> Self {
        Self::Signed(Box::new(evidence))
    }
}

impl Offence {
    /// What it is said to prove.
    pub fn kind(&self) -> OffenceKind {
        match self {
            Self::Signed(evidence) => match **evidence {
                Evidence::Equivocation { .. } => OffenceKind::Equivocation,
                Evidence::DoubleRelease { .. } => OffenceKind::DoubleRelease,
                Evidence::BadShare(_) => OffenceKind::BadShare,
            },
            Self::Reordering(_) => OffenceKind::Reordering,
            Self::BrokenLeaf(_)
            | Self::BrokenParent(_)
            | Self::BrokenOffset(_)
            | Self::BrokenFirst(_)
            | Self::BrokenCount(_) => OffenceKind::BrokenChain,
            Self::ForgedCommitment(_) => OffenceKind::ForgedCommitment,
            Self::WrongOpening(_) | Self::DisownedOpening(_) => OffenceKind::WrongOpening,
        }
    }

    /// Checks it, and names the culprit.
    ///
    /// # Errors
    /// If it proves nothing.
    pub fn verify(
        &self,
        chain: &ChainRules,
        batches: &dyn PostedBatches,
    ) -> Result<Culprit, OffenceError> {
        let signer = match self {
            Self::Signed(evidence) => {
                if let Evidence::BadShare(bad) = &**evidence {
                    // Only valid envelopes are ordered, and the proof binds the payer's signature, which the
                    // id does not cover.
                    CheckedEnvelope::check(&chain.rules, &bad.envelope)?;
                }
                evidence.verify(&chain.genesis, &chain.public)?.signer
            }
            Self::Reordering(evidence) => evidence.verify(chain, batches)?,
            Self::BrokenLeaf(evidence) => evidence.verify(chain, batches)?,
            Self::BrokenParent(evidence) => evidence.verify_parent(chain, batches)?,
            Self::BrokenOffset(evidence) => evidence.verify_offset(chain, batches)?,
            Self::BrokenFirst(evidence) => evidence.verify(chain, batches)?,
            Self::BrokenCount(evidence) => evidence.verify(batches)?,
            Self::ForgedCommitment(evidence) => evidence.verify(chain, batches)?,
            Self::WrongOpening(evidence) => evidence.verify(chain, batches)?,
            Self::DisownedOpening(evidence) => evidence.verify(chain, batches)?,
        };
        Ok(Culprit { kind: self.kind(), signer })
    }

    /// Call data of the function that verifies it, the slasher's or its poster verifier's: what L1 calls
    /// evidence, and wants in a report.
    ///
    /// # Errors
    /// If a part has no form on L1: an envelope or point that does not decode. [`Offence::verify`] refuses
    /// these, too.
    pub fn to_call(&self, chain: &ChainRules) -> Result<Vec<u8>, OffenceError> {
        call::encode(self, chain.genesis.committee.epoch)
    }
}

/// What a poster is asked to show within the challenge window, or lose its stake ([`OffenceKind::Withheld`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The batch.
    pub batch: Batch,
    /// The height.
    pub height: u64,
    /// The position whose opening is asked for; `None` for the height's commitment.
    pub position: Option<u32>,
}

impl Challenge {
    /// Call data of the inbox's `challenge`; the bond goes with it.
    pub fn to_call(&self) -> Vec<u8> {
        sol::challengeCall {
            b: (&self.batch).into(),
            height: self.height,
            position: self.position.unwrap_or(sol::COMMITMENT),
        }
        .abi_encode()
    }

    /// Call data of the inbox's `failReveal`, for when nobody showed it in time.
    pub fn to_fail_call(&self) -> Vec<u8> {
        sol::failRevealCall {
            b: (&self.batch).into(),
            height: self.height,
            position: self.position.unwrap_or(sol::COMMITMENT),
        }
        .abi_encode()
    }
}
