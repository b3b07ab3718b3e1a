//! The contracts' structures, as far as batches and evidence need them, and how ours become theirs.

use alloy_primitives::U256;
use alloy_sol_types::sol;
use blindfold_wire as wire;

use crate::{accumulator, batch};

/// Position that stands for the commitment of a height in a challenge.
pub(crate) const COMMITMENT: u32 = u32::MAX;

sol! {
    struct OrderCommitment {
        uint64 chainId;
        address settlement;
        uint64 epoch;
        uint64 height;
        uint64 view_;
        bytes32 parent;
        uint64 timestampMs;
        uint128 baseFee;
        uint32 count;
        bytes32 orderRoot;
        uint64 l1Block;
        uint64 l1BaseFee;
        uint64 forcedCursor;
        bytes32 forcedHash;
        bytes32 executedRoot;
    }

    struct ShareBundle {
        uint64 chainId;
        address settlement;
        uint64 height;
        bytes32 commitment;
        bytes32 sharesRoot;
        uint32 member;
    }

    struct Signature {
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    struct SignedCommitment {
        OrderCommitment commitment;
        Signature signature;
    }

    struct SignedBundle {
        ShareBundle bundle;
        Signature signature;
    }

    struct MerkleProof {
        uint32 count;
        uint32 index;
        bytes32[] siblings;
    }

    struct AccumulatorLeaf {
        uint64 height;
        bytes32 digest;
        bytes32 orderRoot;
        uint32 offset;
        bytes32 signatureHash;
    }

    struct Batch {
        uint64 index;
        bytes32 parent;
        uint64 epoch;
        uint64 firstHeight;
        uint64 lastHeight;
        bytes32 lastCommitment;
        bytes32 accumulatorRoot;
        bytes32 openingRoot;
        uint32 openingCount;
        bytes32 stateRoot;
        uint64 forcedHead;
        bytes32 dataHash;
        address poster;
        uint64 l1Block;
        uint64 postedAt;
    }

    struct SealedEnvelope {
        bytes preimage;
        Signature payer;
        uint256[2] uY;
        uint256[2] wY;
        uint64 keyEpoch;
    }

    struct Opening {
        uint8 kind;
        bytes32 seed;
        bytes message;
        bytes secret;
    }

    struct OpeningLeaf {
        uint64 height;
        uint32 position;
        bytes32 id;
        bytes32 openingHash;
    }

    struct ReorderingEvidence {
        Batch batch;
        AccumulatorLeaf leaf;
        MerkleProof leafProof;
        OrderCommitment commitment;
        OpeningLeaf posted;
        MerkleProof openingProof;
        bytes32 orderedId;
        MerkleProof orderProof;
    }

    struct BrokenLeafEvidence {
        Batch batch;
        AccumulatorLeaf leaf;
        MerkleProof leafProof;
        OrderCommitment commitment;
    }

    struct BrokenLinkEvidence {
        Batch batch;
        AccumulatorLeaf lower;
        MerkleProof lowerProof;
        AccumulatorLeaf upper;
        MerkleProof upperProof;
        OrderCommitment commitment;
    }

    struct BrokenFirstEvidence {
        Batch batch;
        Batch previous;
        AccumulatorLeaf leaf;
        MerkleProof leafProof;
        OrderCommitment commitment;
    }

    struct ForgedCommitmentEvidence {
        Batch batch;
        AccumulatorLeaf leaf;
        MerkleProof leafProof;
        OrderCommitment commitment;
        Signature signature;
        address leader;
        MerkleProof scheduleProof;
    }

    struct WrongOpeningEvidence {
        Batch batch;
        uint64 height;
        uint32 position;
        MerkleProof openingProof;
        SealedEnvelope envelope;
        Opening opening;
        uint256[2] secretRoot;
    }

    struct BadShareEvidence {
        ShareBundle bundle;
        Signature signature;
        bytes32[3] share;
        MerkleProof shareProof;
        OrderCommitment commitment;
        bytes preimage;
        uint256[2] uY;
        MerkleProof orderProof;
        uint64 epoch;
    }

    function verifyEquivocation(SignedCommitment first, SignedCommitment second) external view returns (address culprit, bytes32 subject);
    function verifyDoubleRelease(SignedBundle first, SignedBundle second, uint64 epoch) external view returns (address culprit, bytes32 subject);
    function verifyBadShare(BadShareEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyReordering(ReorderingEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyBrokenLeaf(BrokenLeafEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyBrokenParent(BrokenLinkEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyBrokenOffset(BrokenLinkEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyBrokenFirst(BrokenFirstEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyBrokenCount(Batch batch, uint32 count, bytes32 top) external view returns (address culprit, bytes32 subject);
    function verifyForgedCommitment(ForgedCommitmentEvidence e) external view returns (address culprit, bytes32 subject);
    function verifyWrongOpening(WrongOpeningEvidence e) external view returns (address culprit, bytes32 subject);

    function challenge(Batch b, uint64 height, uint32 position) external payable;
    function failReveal(Batch b, uint64 height, uint32 position) external;
    function revealCommitment(Batch b, uint32 position, AccumulatorLeaf leaf, MerkleProof proof, OrderCommitment commitment, Signature signature) external;
    function revealOpening(Batch b, uint32 position, AccumulatorLeaf leaf, MerkleProof leafProof, SealedEnvelope envelope, Opening opening, MerkleProof openingProof) external;
}

impl From<&batch::Batch> for Batch {
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

impl From<&wire::OrderCommitment> for OrderCommitment {
    fn from(commitment: &wire::OrderCommitment) -> Self {
        Self {
            chainId: commitment.chain_id,
            settlement: commitment.settlement,
            epoch: commitment.epoch,
            height: commitment.height,
            view_: commitment.view,
            parent: commitment.parent,
            timestampMs: commitment.timestamp_ms,
            baseFee: commitment.base_fee,
            count: commitment.count,
            orderRoot: commitment.order_root,
            l1Block: commitment.l1_block,
            l1BaseFee: commitment.l1_base_fee,
            forcedCursor: commitment.forced_cursor,
            forcedHash: commitment.forced_hash,
            executedRoot: commitment.executed_root,
        }
    }
}

impl From<&wire::Signature65> for Signature {
    fn from(signature: &wire::Signature65) -> Self {
        Self { r: signature.r.into(), s: signature.s.into(), v: 27 + u8::from(signature.y_parity) }
    }
}

impl From<&wire::SignedCommitment> for SignedCommitment {
    fn from(signed: &wire::SignedCommitment) -> Self {
        Self { commitment: (&signed.commitment).into(), signature: (&signed.signature).into() }
    }
}

impl From<&wire::bundle::BundleHeader> for ShareBundle {
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

impl From<&wire::SignedBundleHeader> for SignedBundle {
    fn from(signed: &wire::SignedBundleHeader) -> Self {
        Self { bundle: (&signed.header).into(), signature: (&signed.signature).into() }
    }
}

impl From<&wire::MerkleProof> for MerkleProof {
    fn from(proof: &wire::MerkleProof) -> Self {
        Self { count: proof.count, index: proof.index, siblings: proof.siblings.clone() }
    }
}

impl From<&accumulator::AccumulatorLeaf> for AccumulatorLeaf {
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

impl From<&wire::Opening> for Opening {
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

/// A coordinate of 48 bytes: upper 16 and lower 32.
pub(crate) fn coordinate(bytes: &[u8; 48]) -> [U256; 2] {
    let (high, low) = bytes.split_at(16);
    [U256::from_be_slice(high), U256::from_be_slice(low)]
}
