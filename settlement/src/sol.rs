//! What evidence and challenges are to L1: the generated types of the contracts that take them, and how ours become
//! theirs.

use alloy_primitives::{Bytes, U256};
use blindfold_wire as wire;

use crate::{accumulator, batch};

use crate::bindings::{BatchInbox, CommitteeVerifier, OutputOracle, PosterVerifier, Slasher};
pub(crate) use crate::bindings::{
    BatchInbox::{challengeCall, failRevealCall, revealCommitmentCall, revealOpeningCall},
    PosterVerifier::{
        BrokenFirstEvidence, BrokenLeafEvidence, BrokenLinkEvidence, DisownedOpeningEvidence,
        ForgedCommitmentEvidence, OpeningLeaf, ReorderingEvidence, WrongOpeningEvidence,
        verifyBrokenCountCall, verifyBrokenFirstCall, verifyBrokenLeafCall, verifyBrokenOffsetCall,
        verifyBrokenParentCall, verifyDisownedOpeningCall, verifyForgedCommitmentCall,
        verifyReorderingCall, verifyWrongOpeningCall,
    },
    Slasher::{
        BadShareEvidence, verifyBadShareCall, verifyDoubleReleaseCall, verifyEquivocationCall,
    },
};

/// Position that stands for the commitment of a height in a challenge.
pub(crate) const COMMITMENT: u32 = u32::MAX;

/// An envelope as L1 wants to see it: without its body, and with the y coordinates that it would find hard to compute.
pub(crate) struct SealedEnvelope {
    pub(crate) preimage: Bytes,
    pub(crate) payer: wire::Signature65,
    pub(crate) u_y: [U256; 2],
    pub(crate) w_y: [U256; 2],
    /// Epoch of a committee with the key that it is sealed to.
    pub(crate) key_epoch: u64,
}

/// Our batch as the contracts named have it.
macro_rules! batches {
    ($($contract:ident),*) => {$(
        impl From<&batch::Batch> for $contract::Batch {
            fn from(batch: &batch::Batch) -> Self {
                Self {
                    index: batch.index,
                    parent: batch.parent,
                    epoch: batch.epoch,
                    firstHeight: batch.first_height,
                    lastHeight: batch.last_height,
                    lastCommitment: batch.last_commitment,
                    accumulatorRoot: batch.accumulator_root,
                    openingRoot: batch.opening_root,
                    openingCount: batch.opening_count,
                    stateRoot: batch.state_root,
                    forcedHead: batch.forced_head,
                    dataHash: batch.data_hash,
                    poster: batch.poster,
                    l1Block: batch.l1_block,
                    postedAt: batch.posted_at,
                }
            }
        }
    )*};
}

batches!(BatchInbox, CommitteeVerifier, OutputOracle, PosterVerifier);

/// What both the inbox and the verifier of posters take, as the contracts named have it.
macro_rules! posted {
    ($($contract:ident),*) => {$(
        impl From<&accumulator::AccumulatorLeaf> for $contract::AccumulatorLeaf {
            fn from(leaf: &accumulator::AccumulatorLeaf) -> Self {
                Self {
                    height: leaf.height,
                    digest: leaf.digest,
                    orderRoot: leaf.order_root,
                    offset: leaf.offset,
                    signatureHash: leaf.signature_hash,
                }
            }
        }

        impl From<&wire::Opening> for $contract::Opening {
            fn from(opening: &wire::Opening) -> Self {
                match opening {
                    wire::Opening::Opened { seed, message } => Self {
                        kind: 0,
                        seed: seed.into(),
                        message: message.clone().into(),
                        secret: Default::default(),
                    },
                    wire::Opening::Undecryptable { secret } => Self {
                        kind: 1,
                        seed: Default::default(),
                        message: Default::default(),
                        secret: secret.to_vec().into(),
                    },
                }
            }
        }

        impl From<SealedEnvelope> for $contract::SealedEnvelope {
            fn from(envelope: SealedEnvelope) -> Self {
                Self {
                    preimage: envelope.preimage,
                    payer: (&envelope.payer).into(),
                    uY: envelope.u_y,
                    wY: envelope.w_y,
                    keyEpoch: envelope.key_epoch,
                }
            }
        }
    )*};
}

posted!(PosterVerifier, BatchInbox);

impl From<&wire::bundle::BundleHeader> for Slasher::ShareBundle {
    fn from(header: &wire::bundle::BundleHeader) -> Self {
        Self {
            chainId: header.chain_id,
            settlement: header.settlement,
            height: header.height,
            commitment: header.commitment,
            sharesRoot: header.shares_root,
            member: header.member,
        }
    }
}

impl From<&accumulator::OpeningLeaf> for OpeningLeaf {
    fn from(leaf: &accumulator::OpeningLeaf) -> Self {
        Self {
            height: leaf.height,
            position: leaf.position,
            id: leaf.id,
            openingHash: leaf.opening_hash,
        }
    }
}

/// A coordinate of 48 bytes: upper 16 and lower 32.
pub(crate) fn coordinate(bytes: &[u8; 48]) -> [U256; 2] {
    let (high, low) = bytes.split_at(16);
    [U256::from_be_slice(high), U256::from_be_slice(low)]
}
