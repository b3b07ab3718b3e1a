// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    AccumulatorLeaf,
    Addresses,
    BadShareEvidence,
    Batch,
    BrokenFirstEvidence,
    BrokenLeafEvidence,
    BrokenLinkEvidence,
    ForgedCommitmentEvidence,
    MerkleProof,
    OpeningLeaf,
    OrderCommitment,
    Params,
    ReorderingEvidence,
    ShareBundle,
    Signature,
    SignedBundle,
    SignedCommitment,
    WrongOpeningEvidence
} from "./Types.sol";
import {IBatchInbox, ICommitteeRegistry, IStakeVault} from "./Interfaces.sol";
import {Bls} from "./lib/Bls.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Envelopes} from "./lib/Envelopes.sol";
import {Merkle} from "./lib/Merkle.sol";

/// Takes the stake of whoever is proven to have broken a rule.
///
/// Evidence is the call data of one of the `verify…` functions of this contract. Each is a view function
/// that anybody can ask before reporting: it returns the culprit and what the offence is about, or reverts.
/// A leader answers only for what it signed twice, a member for what it signed, a poster for what it posted:
/// a batch is accused with its own leaves, never with another's.
///
/// A report has two steps, so that nobody who sees one can take its reward: first the hash of reporter,
/// evidence and salt, some blocks later the evidence.
contract Slasher {
    uint8 private constant EQUIVOCATION = 1;
    uint8 private constant REORDERING = 2;
    uint8 private constant BROKEN_CHAIN = 3;
    uint8 private constant FORGED_COMMITMENT = 4;
    uint8 private constant WRONG_OPENING = 5;
    uint8 private constant DOUBLE_RELEASE = 6;
    uint8 private constant BAD_SHARE = 7;

    /// A commit can be revealed for this many blocks after the delay.
    uint256 public constant REVEAL_BLOCKS = 256;
    /// How many epochs before that of a height a share's key may be of.
    uint64 private constant KEY_EPOCHS_BEFORE = 4;
    /// How many epochs' keys a share is tried with, at most.
    uint64 private constant MAX_KEY_EPOCHS = 16;

    IStakeVault private immutable VAULT;
    ICommitteeRegistry private immutable COMMITTEES;
    IBatchInbox private immutable INBOX;
    bytes32 private immutable SEPARATOR;
    uint64 public immutable l2ChainId;
    uint64 public immutable evidenceWindow;
    uint64 public immutable revealDelayBlocks;

    /// L1 block of a commit.
    mapping(bytes32 commit => uint256) public commitBlockOf;

    event ReportCommitted(bytes32 indexed commit);
    event Slashed(
        uint8 indexed kind,
        address indexed culprit,
        address indexed reporter,
        bytes32 offenceId,
        uint256 taken,
        uint256 reward
    );

    error WrongAddress();
    error BadParams();
    error AlreadyCommitted();
    error NotCommitted();
    error TooEarly();
    error TooLate();
    error UnknownOffence();
    error UnknownBatch();
    error NotSigned();
    error NotAMember();
    error NoConflict();
    error DifferentSlots();
    error Unlinked();
    error NoFault();

    constructor(Addresses memory a, Params memory p) {
        if (a.slasher != address(this)) revert WrongAddress();
        if (p.revealDelayBlocks == 0) revert BadParams();
        VAULT = IStakeVault(a.vault);
        COMMITTEES = ICommitteeRegistry(a.committees);
        INBOX = IBatchInbox(a.inbox);
        SEPARATOR = Commitments.domainSeparator(p.l2ChainId, a.inbox);
        l2ChainId = p.l2ChainId;
        evidenceWindow = p.evidenceWindow;
        revealDelayBlocks = p.revealDelayBlocks;
    }

    // ---- reporting

    /// What to commit to: keccak256(abi.encode(reporter, keccak256(evidence), salt)).
    function commitOf(address reporter, bytes32 evidenceHash, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(reporter, evidenceHash, salt));
    }

    /// First step. A commit counts from when it was first made, until it expires.
    function commitReport(bytes32 commit) external {
        uint256 made = commitBlockOf[commit];
        if (made != 0 && block.number <= made + revealDelayBlocks + REVEAL_BLOCKS) revert AlreadyCommitted();
        commitBlockOf[commit] = block.number;
        emit ReportCommitted(commit);
    }

    /// Second step: `evidence` is the call data of a `verify…` function.
    function report(bytes calldata evidence, bytes32 salt) external returns (address culprit, uint256 reward) {
        bytes32 commit = commitOf(msg.sender, keccak256(evidence), salt);
        uint256 made = commitBlockOf[commit];
        if (made == 0) revert NotCommitted();
        if (block.number < made + revealDelayBlocks) revert TooEarly();
        if (block.number > made + revealDelayBlocks + REVEAL_BLOCKS) revert TooLate();
        delete commitBlockOf[commit];
        uint8 kind = kindOf(evidence);
        bytes32 subject;
        (culprit, subject) = ask(evidence);
        uint256 taken;
        (taken, reward) = VAULT.slash(culprit, msg.sender);
        emit Slashed(kind, culprit, msg.sender, keccak256(abi.encode(kind, culprit, subject)), taken, reward);
    }

    /// The offence that evidence is about, by its selector.
    function kindOf(bytes calldata evidence) public pure returns (uint8) {
        if (evidence.length < 4) revert UnknownOffence();
        bytes4 selector = bytes4(evidence);
        if (selector == this.verifyEquivocation.selector) return EQUIVOCATION;
        if (selector == this.verifyReordering.selector) return REORDERING;
        if (
            selector == this.verifyBrokenLeaf.selector || selector == this.verifyBrokenParent.selector
                || selector == this.verifyBrokenOffset.selector || selector == this.verifyBrokenFirst.selector
                || selector == this.verifyBrokenCount.selector
        ) return BROKEN_CHAIN;
        if (selector == this.verifyForgedCommitment.selector) return FORGED_COMMITMENT;
        if (selector == this.verifyWrongOpening.selector) return WRONG_OPENING;
        if (selector == this.verifyDoubleRelease.selector) return DOUBLE_RELEASE;
        if (selector == this.verifyBadShare.selector) return BAD_SHARE;
        revert UnknownOffence();
    }

    /// Calls ourselves with the evidence and passes a refusal on.
    function ask(bytes calldata evidence) private view returns (address culprit, bytes32 subject) {
        (bool ok, bytes memory answer) = address(this).staticcall(evidence);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return abi.decode(answer, (address, bytes32));
    }

    // ---- what a signer signed

    /// 1. A leader signed two commitments for one view of one epoch. Never expires: a contradiction stays
    /// one, and the time in a commitment is the leader's own word.
    function verifyEquivocation(SignedCommitment calldata first, SignedCommitment calldata second)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        bytes32 a = digestOf(first.commitment);
        bytes32 b = digestOf(second.commitment);
        if (a == b) revert NoConflict();
        if (
            first.commitment.epoch != second.commitment.epoch || first.commitment.view_ != second.commitment.view_
        ) revert DifferentSlots();
        culprit = sameSigner(a, first.signature, b, second.signature);
        requireMember(first.commitment.epoch, culprit);
        subject = keccak256(abi.encode(first.commitment.epoch, first.commitment.view_));
    }

    /// 6. A member signed shares for two commitments of one height.
    function verifyDoubleRelease(SignedBundle calldata first, SignedBundle calldata second, uint64 epoch)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        if (first.bundle.height != second.bundle.height || first.bundle.member != second.bundle.member) {
            revert DifferentSlots();
        }
        if (first.bundle.commitment == second.bundle.commitment) revert NoConflict();
        culprit = sameSigner(
            digestOf(first.bundle), first.signature, digestOf(second.bundle), second.signature
        );
        if (COMMITTEES.signerAt(epoch, first.bundle.member) != culprit) revert NotAMember();
        subject = bytes32(uint256(first.bundle.height));
    }

    /// 7. A member signed a share that is not its share of the envelope's secret under any key that it held
    /// from shortly before the height's epoch until now: successors of a committee may release too, and a
    /// bundle does not say for which.
    function verifyBadShare(BadShareEvidence calldata e) external view returns (address culprit, bytes32 subject) {
        requireCanonical(abi.encode(e));
        culprit = Commitments.recover(digestOf(e.bundle), e.signature);
        if (culprit == address(0)) revert NotSigned();
        if (COMMITTEES.signerAt(e.epoch, e.bundle.member) != culprit) revert NotAMember();
        uint32 position = e.shareProof.index;
        if (
            digestOf(e.commitment) != e.bundle.commitment || e.commitment.height != e.bundle.height
                || e.orderProof.index != position
                || !Merkle.verify(e.bundle.sharesRoot, Merkle.shareLeaf(position, e.share), e.shareProof)
                || !Merkle.verify(
                    e.commitment.orderRoot, Merkle.orderLeaf(position, keccak256(e.preimage)), e.orderProof
                )
        ) revert Unlinked();
        (, uint256[4] memory u) = Envelopes.ephemeral(e.preimage, e.uY, l2ChainId);
        if (isShareOf(e, culprit, u)) revert NoFault();
        subject = keccak256(abi.encode(e.bundle.height, position));
    }

    // ---- what a poster posted

    /// 2. The batch has another envelope at a position than the commitment that it posted for the height:
    /// moved, inserted or left out.
    function verifyReordering(ReorderingEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireBatch(e.batch);
        requireLeaf(e.batch, e.leaf, e.leafProof);
        requireDigest(e.commitment, e.leaf.digest);
        uint32 position = e.orderProof.index;
        if (
            uint256(e.openingProof.index) != uint256(e.leaf.offset) + position
                || !Merkle.verify(e.batch.openingRoot, Merkle.openingLeaf(e.posted), e.openingProof)
                || !Merkle.verify(
                    e.commitment.orderRoot, Merkle.orderLeaf(position, e.orderedId), e.orderProof
                )
        ) revert Unlinked();
        if (
            e.posted.height == e.commitment.height && e.posted.position == position
                && e.posted.id == e.orderedId
        ) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, e.commitment.height, position)));
    }

    /// 3. A leaf of the accumulator is not what its place and its commitment say: height, order root, and
    /// for the first leaf its offset.
    function verifyBrokenLeaf(BrokenLeafEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireBatch(e.batch);
        requireLeaf(e.batch, e.leaf, e.leafProof);
        requireDigest(e.commitment, e.leaf.digest);
        uint256 height = uint256(e.batch.firstHeight) + e.leafProof.index;
        if (
            e.leaf.height == height && e.commitment.height == height
                && e.leaf.orderRoot == e.commitment.orderRoot && (e.leafProof.index != 0 || e.leaf.offset == 0)
        ) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, height)));
    }

    /// 3. The commitment of a height does not name the one posted below it as its parent.
    function verifyBrokenParent(BrokenLinkEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireLink(e);
        requireDigest(e.commitment, e.upper.digest);
        if (e.commitment.parent == e.lower.digest) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, e.upperProof.index)));
    }

    /// 3. The openings of a height do not begin where those of the height below end.
    function verifyBrokenOffset(BrokenLinkEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireLink(e);
        requireDigest(e.commitment, e.lower.digest);
        if (e.upper.offset == uint256(e.lower.offset) + e.commitment.count) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, e.upperProof.index)));
    }

    /// 3. The commitment of the first height does not name the last one of the batch before as its parent.
    function verifyBrokenFirst(BrokenFirstEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireBatch(e.batch);
        // A batch without heights (posted past the committee) has no commitment to follow.
        if (Commitments.batchHash(e.previous) != e.batch.parent || e.previous.lastCommitment == 0) revert Unlinked();
        if (e.leafProof.index != 0) revert Unlinked();
        requireLeaf(e.batch, e.leaf, e.leafProof);
        requireDigest(e.commitment, e.leaf.digest);
        if (e.commitment.parent == e.previous.lastCommitment) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, uint32(0))));
    }

    /// 3. The opening root is one over another number of openings than the batch says. `top` is the topmost
    /// node, which together with the true number gives the root.
    function verifyBrokenCount(Batch calldata batch, uint32 count, bytes32 top)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireBatch(batch);
        if (Merkle.sealRoot(count, top) != batch.openingRoot) revert Unlinked();
        if (count == batch.openingCount) revert NoFault();
        return (batch.poster, bytes32(uint256(batch.index)));
    }

    /// 4. The signature posted with a commitment is not of the leader whose view it was.
    function verifyForgedCommitment(ForgedCommitmentEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireBatch(e.batch);
        requireLeaf(e.batch, e.leaf, e.leafProof);
        requireDigest(e.commitment, e.leaf.digest);
        if (
            Commitments.signatureHash(e.signature) != e.leaf.signatureHash
                || !COMMITTEES.leaderAt(e.commitment.epoch, e.commitment.view_, e.leader, e.scheduleProof)
        ) revert Unlinked();
        if (Commitments.recover(e.leaf.digest, e.signature) == e.leader) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, e.commitment.height)));
    }

    /// 5. The opening that the batch has for an envelope does not open it: sealing the message again gives
    /// another u, or the secret of an undecryptable one is not the envelope's.
    function verifyWrongOpening(WrongOpeningEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireCanonical(abi.encode(e));
        requireBatch(e.batch);
        uint256[4] memory y = COMMITTEES.keyOf(e.envelope.keyEpoch);
        Envelopes.Checked memory checked = Envelopes.check(e.envelope, y, l2ChainId);
        bytes32 leaf = Merkle.openingLeaf(
            OpeningLeaf({
                height: e.height,
                position: e.position,
                id: checked.id,
                openingHash: Envelopes.openingHash(e.opening)
            })
        );
        if (!Merkle.verify(e.batch.openingRoot, leaf, e.openingProof)) revert Unlinked();
        bool right;
        if (e.opening.kind == Envelopes.OPENED) {
            if (e.secretRoot[0] | e.secretRoot[1] != 0) revert Unlinked();
            right = Bls.equal(
                Bls.mulGenerator(
                    Envelopes.sealingScalar(e.opening.seed, checked.label, y, e.opening.message)
                ),
                checked.u
            );
        } else {
            right = isSecretOf(e.opening.secret, e.secretRoot, checked.u, e.envelope.keyEpoch);
        }
        if (right) revert NoFault();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, e.height, e.position)));
    }

    // ---- points

    /// Whether a share is the signer's under one of its keys. The keys were checked when they were accepted,
    /// so a pairing can only fail for a bad `u` or too little gas: neither convicts.
    function isShareOf(BadShareEvidence calldata e, address signer, uint256[4] memory u) private view returns (bool) {
        // Three words of 32 bytes hold x and y of 48 bytes each.
        uint256[4] memory share = [
            uint256(e.share[0]) >> 128,
            (uint256(e.share[0]) << 128) | (uint256(e.share[1]) >> 128),
            uint256(uint128(uint256(e.share[1]))),
            uint256(e.share[2])
        ];
        if (!Bls.isInSubgroup(share)) {
            // The envelope must have been one that could be opened at all.
            if (!Bls.isInSubgroup(u)) revert Envelopes.BadEphemeral();
            return false;
        }
        uint64 last = COMMITTEES.latestEpoch();
        uint64 epoch = COMMITTEES.firstEpoch();
        if (e.commitment.epoch > epoch + KEY_EPOCHS_BEFORE) epoch = e.commitment.epoch - KEY_EPOCHS_BEFORE;
        if (e.epoch < epoch) epoch = e.epoch;
        if (last - epoch >= MAX_KEY_EPOCHS) revert TooLate();
        for (; epoch <= last; ++epoch) {
            (bool found, uint32 index) = COMMITTEES.memberOf(epoch, signer);
            if (!found) continue;
            (bool ok, bool holds) = Bls.pairing(share, u, COMMITTEES.shareKeyAt(epoch, index));
            if (!ok) revert Bls.PrecompileFailed();
            if (holds) return true;
        }
        return false;
    }

    /// Whether 48 bytes are the secret of an envelope with this `u`: e(D, g₂) = e(u, Y₂).
    function isSecretOf(
        bytes calldata secret,
        uint256[2] calldata root,
        uint256[4] memory u,
        uint64 keyEpoch
    ) private view returns (bool) {
        (bool canonical, bool sign, uint256 xHi, uint256 xLo) =
            Bls.splitCompressed(uint128(bytes16(secret)), uint256(bytes32(secret[16:])));
        if (!canonical) {
            if (root[0] | root[1] != 0) revert Unlinked();
            return false;
        }
        if (!Bls.isCanonical(root[0], root[1])) revert Unlinked();
        (uint256 wantHi, uint256 wantLo) = Bls.curveEquation(xHi, xLo);
        (uint256 hi, uint256 lo) = Bls.power(root[0], root[1], 2);
        if (hi != wantHi || lo != wantLo) {
            // -1 is no square modulo p: if -(x³ + 4) is one, then x³ + 4 is none, and x is on no point.
            (hi, lo) = Bls.negate(hi, lo);
            if (hi != wantHi || lo != wantLo || Bls.isLarger(root[0], root[1])) revert Unlinked();
            return false;
        }
        if (Bls.isLarger(root[0], root[1]) != sign) revert Unlinked();
        uint256[4] memory point = [xHi, xLo, root[0], root[1]];
        if (!Bls.isInSubgroup(point)) return false;
        (bool ok, bool holds) = Bls.pairing(point, u, COMMITTEES.pairingKeyOf(keyEpoch));
        if (!ok) revert Bls.PrecompileFailed();
        return holds;
    }

    // ---- links

    /// The call data is the one encoding of what was decoded from it: no byte of it may be another. Only
    /// evidence with `bytes` in it has more than one.
    function requireCanonical(bytes memory encoded) private pure {
        if (keccak256(encoded) != keccak256(msg.data[4:])) revert Unlinked();
    }

    function digestOf(OrderCommitment calldata commitment) private view returns (bytes32) {
        if (commitment.chainId != l2ChainId || commitment.settlement != address(INBOX)) {
            revert Commitments.ForeignChain();
        }
        return Commitments.digest(commitment, SEPARATOR);
    }

    function digestOf(ShareBundle calldata bundle) private view returns (bytes32) {
        if (bundle.chainId != l2ChainId || bundle.settlement != address(INBOX)) {
            revert Commitments.ForeignChain();
        }
        return Commitments.digest(bundle, SEPARATOR);
    }

    function requireDigest(OrderCommitment calldata commitment, bytes32 digest) private view {
        if (digestOf(commitment) != digest) revert Unlinked();
    }

    function sameSigner(bytes32 a, Signature calldata first, bytes32 b, Signature calldata second)
        private
        pure
        returns (address signer)
    {
        signer = Commitments.recover(a, first);
        if (signer == address(0) || Commitments.recover(b, second) != signer) revert NotSigned();
    }

    function requireMember(uint64 epoch, address signer) private view {
        (bool found,) = COMMITTEES.memberOf(epoch, signer);
        if (!found) revert NotAMember();
    }

    /// The batch was accepted, and its window is open.
    function requireBatch(Batch calldata batch) private view {
        if (batch.index == 0 || INBOX.batchHash(batch.index) != Commitments.batchHash(batch)) revert UnknownBatch();
        if (block.timestamp > uint256(batch.postedAt) + evidenceWindow) revert TooLate();
    }

    function requireLeaf(Batch calldata batch, AccumulatorLeaf calldata leaf, MerkleProof calldata proof) private pure {
        if (!Merkle.verify(batch.accumulatorRoot, Merkle.accumulatorLeaf(leaf), proof)) revert Unlinked();
    }

    function requireLink(BrokenLinkEvidence calldata e) private view {
        requireBatch(e.batch);
        requireLeaf(e.batch, e.lower, e.lowerProof);
        requireLeaf(e.batch, e.upper, e.upperProof);
        if (e.upperProof.index != uint256(e.lowerProof.index) + 1) revert Unlinked();
    }
}
