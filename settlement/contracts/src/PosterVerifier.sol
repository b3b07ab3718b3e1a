// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    AccumulatorLeaf,
    Addresses,
    Batch,
    BrokenFirstEvidence,
    BrokenLeafEvidence,
    BrokenLinkEvidence,
    DisownedOpeningEvidence,
    ForgedCommitmentEvidence,
    MerkleProof,
    OpeningLeaf,
    OrderCommitment,
    Params,
    ReorderingEvidence,
    WrongOpeningEvidence
} from "./Types.sol";
import {EvidenceVerifier} from "./EvidenceVerifier.sol";
import {Bls} from "./lib/Bls.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Envelopes} from "./lib/Envelopes.sol";
import {Finality} from "./lib/Finality.sol";
import {Merkle} from "./lib/Merkle.sol";

/// Checks evidence against posters, for the slasher, which deploys it. A batch is accused with its own leaves,
/// never with another's.
contract PosterVerifier is EvidenceVerifier {
    uint64 public immutable evidenceWindow;
    uint64 public immutable executedLag;

    error UnknownBatch();
    error NotCertified();

    constructor(Addresses memory a, Params memory p) EvidenceVerifier(a, p) {
        evidenceWindow = p.evidenceWindow;
        executedLag = p.executedLag;
    }

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

    /// 5. The batch has an opening for an envelope that is not the one in the executed root which a quorum
    /// certified for the height, `executedLag` heights above. It needs neither envelope nor opening, so it also
    /// proves what sealing again and pairing cannot: an envelope that opens, called undecryptable with its right
    /// secret, and an opening that fits u but not the body.
    ///
    /// It believes the quorum, as outputs do. What it says of another envelope than the posted one is not
    /// heard: that is `verifyReordering`'s, by the order alone.
    function verifyDisownedOpening(DisownedOpeningEvidence calldata e)
        external
        view
        returns (address culprit, bytes32 subject)
    {
        requireCanonical(abi.encode(e));
        requireBatch(e.batch);
        OpeningLeaf memory leaf = e.posted;
        if (!Merkle.verify(e.batch.openingRoot, Merkle.openingLeaf(leaf), e.postedProof)) revert Unlinked();
        // The committee's tree has the openings of one height, by position.
        leaf.openingHash = e.certifiedHash;
        if (
            e.certifiedProof.index != leaf.position
                || !Merkle.verify(e.openingRoot, Merkle.openingLeaf(leaf), e.certifiedProof) || e.chain.length == 0
                || e.chain[0].height != uint256(leaf.height) + executedLag
                || e.chain[0].executedRoot != Finality.executedRoot(e.stateRoot, e.openingRoot)
        ) revert Unlinked();
        if (e.posted.openingHash == e.certifiedHash) revert NoFault();
        Finality.Chain memory ours = Finality.Chain({
            committees: COMMITTEES,
            chainId: l2ChainId,
            settlement: address(INBOX),
            separator: SEPARATOR
        });
        if (!Finality.isCertified(ours, e.chain, e.certificate)) revert NotCertified();
        return (e.batch.poster, keccak256(abi.encode(e.batch.index, leaf.height, leaf.position)));
    }

    // ---- links and points

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

    function requireDigest(OrderCommitment calldata commitment, bytes32 digest) private view {
        if (digestOf(commitment) != digest) revert Unlinked();
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
