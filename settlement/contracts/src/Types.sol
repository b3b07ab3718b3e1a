// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Structures that several contracts, the nodes and the auditors share. Field order is part of the
// formats: batches are hashed and commitments signed in this order.

/// The eight contracts, which know each other from the start.
struct Addresses {
    address vault;
    address operators;
    address committees;
    address queue;
    address inbox;
    address oracle;
    address bridge;
    address slasher;
}

/// Parameters, fixed at deployment. Amounts in wei, windows in seconds, delays in L1 blocks.
struct Params {
    uint64 l2ChainId;
    bytes32 genesisHash;
    /// Heights between a commitment and the executed root it carries.
    uint64 executedLag;
    /// L1 blocks after which members must order a forced item.
    uint64 forcedDelayBlocks;
    /// L1 blocks after which no batch is accepted without it; more than the delay.
    uint64 forcedDeadlineBlocks;
    /// L1 blocks after which anyone may post it; more than the deadline.
    uint64 forcedFallbackBlocks;
    /// Time to reveal what was challenged.
    uint64 challengeWindow;
    /// Time after posting in which a batch can be challenged and its poster accused.
    uint64 evidenceWindow;
    /// Time between the request and the payment of stake; more than both windows together.
    uint64 exitDelay;
    /// Time to challenge an output.
    uint64 outputWindow;
    /// Time to prove a challenged output.
    uint64 proveWindow;
    /// L1 blocks between commit and reveal of a report; at least one.
    uint64 revealDelayBlocks;
    uint256 minStake;
    uint256 rewardCap;
    uint256 challengeBond;
    uint256 outputBond;
    uint256 forcedFee;
}

/// A member of a committee. Points as EIP-2537 takes them.
struct Member {
    /// secp256k1 address that signs commitments and bundles, stakes and posts.
    address signer;
    address feeAddress;
    /// 256 bytes, G2.
    bytes voteKey;
    /// 128 bytes, G1; empty where the key was proven before.
    bytes voteKeyPossession;
    /// 256 bytes, G2: x_j times the generator, for the member's decryption share x_j.
    bytes shareKey;
}

/// The committee of the first epoch.
struct GenesisCommittee {
    uint64 epoch;
    uint32 threshold;
    /// 128 bytes, G1.
    bytes y;
    /// 256 bytes, G2.
    bytes y2;
    bytes32 scheduleRoot;
    Member[] members;
}

/// The committee of a later epoch.
struct NextCommittee {
    uint64 epoch;
    /// First height that it finalizes.
    uint64 firstHeight;
    uint32 threshold;
    bytes y;
    bytes y2;
    bytes32 scheduleRoot;
    Member[] members;
}

/// What a leader signs and the committee finalizes (EIP-712).
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

/// What a member signs about its decryption shares of one height (EIP-712).
struct ShareBundle {
    uint64 chainId;
    address settlement;
    uint64 height;
    bytes32 commitment;
    bytes32 sharesRoot;
    uint32 member;
}

/// secp256k1; `v` 27 or 28, `s` in the lower half.
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

/// A finalization certificate without the payload it is for.
struct Certificate {
    uint64 view_;
    uint64 parentView;
    /// Member i is bit i mod 8, lowest first, of byte i / 8.
    bytes signers;
    /// 128 bytes, G1.
    bytes signature;
}

/// Siblings from the bottom up, none where a node moved up unchanged.
struct MerkleProof {
    uint32 count;
    uint32 index;
    bytes32[] siblings;
}

/// One height of a batch.
struct AccumulatorLeaf {
    uint64 height;
    bytes32 digest;
    bytes32 orderRoot;
    /// Index of the height's first opening among the openings of the batch.
    uint32 offset;
    /// keccak256 of the leader's signature, 65 bytes.
    bytes32 signatureHash;
}

/// A run of heights, as posted. Contracts keep keccak256(abi.encode(batch)) only.
struct Batch {
    /// From 1.
    uint64 index;
    /// Hash of the batch before; the genesis hash for the first.
    bytes32 parent;
    uint64 epoch;
    uint64 firstHeight;
    uint64 lastHeight;
    /// Digest of the commitment of `lastHeight`, certified.
    bytes32 lastCommitment;
    bytes32 accumulatorRoot;
    bytes32 openingRoot;
    uint32 openingCount;
    /// After `lastHeight`.
    bytes32 stateRoot;
    /// Forced items consumed.
    uint64 forcedHead;
    bytes32 dataHash;
    address poster;
    uint64 l1Block;
    uint64 postedAt;
}

/// What a poster says about its batch; the rest follows from the commitment.
struct PostInput {
    bytes32 parent;
    uint64 firstHeight;
    bytes32 accumulatorRoot;
    bytes32 openingRoot;
    uint32 openingCount;
    bytes32 stateRoot;
}

/// A sealed envelope without its body: enough for its id, its payer and its ephemeral point.
struct SealedEnvelope {
    /// What the id is the keccak256 of: 0x5e and the list of the unsigned fields, with the body's hash
    /// in place of the body.
    bytes preimage;
    Signature payer;
    /// The y coordinate of u: upper 16 and lower 32 of its 48 bytes.
    uint256[2] uY;
    /// The y coordinate of w if w is outside the prime-order subgroup, else zero.
    uint256[2] wY;
    /// Epoch of a committee with the key that the envelope is sealed to.
    uint64 keyEpoch;
}

/// How an envelope was opened: kind 0 with seed and message, kind 1 (undecryptable) with the secret.
struct Opening {
    uint8 kind;
    bytes32 seed;
    bytes message;
    /// 48 bytes, G1, compressed.
    bytes secret;
}

/// What the opening tree holds about one position.
struct OpeningLeaf {
    uint64 height;
    uint32 position;
    bytes32 id;
    bytes32 openingHash;
}

/// A withdrawal as the outbox on L2 recorded it.
struct Withdrawal {
    uint256 index;
    address sender;
    address to;
    uint256 amount;
}

// What the slasher is shown.

struct ReorderingEvidence {
    Batch batch;
    AccumulatorLeaf leaf;
    MerkleProof leafProof;
    /// Of the leaf's height.
    OrderCommitment commitment;
    /// What the batch has at the position, by index.
    OpeningLeaf posted;
    MerkleProof openingProof;
    /// What the commitment has there.
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
    /// Of the upper leaf for the parent, of the lower one for the offset.
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
    /// Whose view it was.
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
    /// Of an undecryptable opening: the secret's y coordinate, or, if there is none, the smaller
    /// square root of -(x³ + 4). Zero for an opened one, and for a secret whose bytes are no point at all.
    uint256[2] secretRoot;
}

struct DisownedOpeningEvidence {
    Batch batch;
    /// What the batch has, for its height and position.
    OpeningLeaf posted;
    MerkleProof postedProof;
    /// Hash of the opening that the committee has there.
    bytes32 certifiedHash;
    /// Place of its leaf among the openings of the height.
    MerkleProof certifiedProof;
    /// After the height. With the opening root it is what the executed root is the hash of.
    bytes32 stateRoot;
    /// Over the openings of the height alone.
    bytes32 openingRoot;
    /// From the height's own plus `executedLag` upwards, without holes.
    OrderCommitment[] chain;
    /// Of the last of them.
    Certificate certificate;
}

struct BadShareEvidence {
    ShareBundle bundle;
    Signature signature;
    /// 96 bytes: x, y.
    bytes32[3] share;
    MerkleProof shareProof;
    OrderCommitment commitment;
    /// What the id of the envelope at the position is the hash of.
    bytes preimage;
    uint256[2] uY;
    MerkleProof orderProof;
    /// Epoch in which the signer is the bundle's member.
    uint64 epoch;
}

/// What the committee verifier is shown.
struct CommitteeProof {
    /// The batch whose last height's state is proven.
    Batch batch;
    /// Opening root of that height.
    bytes32 openingRoot;
    /// From height `lastHeight + executedLag` upwards, without holes.
    OrderCommitment[] chain;
    /// Of the last of them.
    Certificate certificate;
}
