// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    Addresses,
    BadShareEvidence,
    Params,
    ShareBundle,
    Signature,
    SignedBundle,
    SignedCommitment
} from "./Types.sol";
import {EvidenceVerifier} from "./EvidenceVerifier.sol";
import {IStakeVault} from "./Interfaces.sol";
import {PosterVerifier} from "./PosterVerifier.sol";
import {Bls} from "./lib/Bls.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Envelopes} from "./lib/Envelopes.sol";
import {Merkle} from "./lib/Merkle.sol";

/// Takes the stake of whoever is proven to have broken a rule.
///
/// Evidence is the call data of one of the `verify…` functions of this contract (what a leader or member signed)
/// or of its poster verifier (what a poster posted). Anybody can ask `verify` before reporting, for nothing: it
/// returns the culprit and what the offence is about, or reverts. A leader answers only for what it signed
/// twice, a member for what it signed, a poster for what it posted.
///
/// A report has two steps, so that nobody who sees one can take its reward: first the hash of reporter,
/// evidence and salt, some blocks later the evidence.
contract Slasher is EvidenceVerifier {
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
    /// Checks evidence against posters.
    PosterVerifier public immutable posterVerifier;
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
    error UnknownOffence();
    error NotSigned();
    error NotAMember();
    error NoConflict();
    error DifferentSlots();

    constructor(Addresses memory a, Params memory p) EvidenceVerifier(a, p) {
        if (a.slasher != address(this)) revert WrongAddress();
        if (p.revealDelayBlocks == 0) revert BadParams();
        VAULT = IStakeVault(a.vault);
        posterVerifier = new PosterVerifier(a, p);
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
        uint8 kind;
        bytes32 subject;
        (kind, culprit, subject) = verify(evidence);
        uint256 taken;
        (taken, reward) = VAULT.slash(culprit, msg.sender);
        emit Slashed(kind, culprit, msg.sender, keccak256(abi.encode(kind, culprit, subject)), taken, reward);
    }

    /// The offence that evidence is about, by its selector.
    function kindOf(bytes calldata evidence) public pure returns (uint8) {
        if (evidence.length < 4) revert UnknownOffence();
        bytes4 selector = bytes4(evidence);
        if (selector == this.verifyEquivocation.selector) return EQUIVOCATION;
        if (selector == PosterVerifier.verifyReordering.selector) return REORDERING;
        if (
            selector == PosterVerifier.verifyBrokenLeaf.selector
                || selector == PosterVerifier.verifyBrokenParent.selector
                || selector == PosterVerifier.verifyBrokenOffset.selector
                || selector == PosterVerifier.verifyBrokenFirst.selector
                || selector == PosterVerifier.verifyBrokenCount.selector
        ) return BROKEN_CHAIN;
        if (selector == PosterVerifier.verifyForgedCommitment.selector) return FORGED_COMMITMENT;
        if (
            selector == PosterVerifier.verifyWrongOpening.selector
                || selector == PosterVerifier.verifyDisownedOpening.selector
        ) return WRONG_OPENING;
        if (selector == this.verifyDoubleRelease.selector) return DOUBLE_RELEASE;
        if (selector == this.verifyBadShare.selector) return BAD_SHARE;
        revert UnknownOffence();
    }

    /// What a report of this evidence would find: the offence, its culprit, and what tells it from others of
    /// its kind. Reverts with the reason where nothing is proven.
    function verify(bytes calldata evidence)
        public
        view
        returns (uint8 kind, address culprit, bytes32 subject)
    {
        kind = kindOf(evidence);
        bool posted = kind >= REORDERING && kind <= WRONG_OPENING;
        (bool ok, bytes memory answer) =
            (posted ? address(posterVerifier) : address(this)).staticcall(evidence);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        (culprit, subject) = abi.decode(answer, (address, bytes32));
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

    // ---- links

    function digestOf(ShareBundle calldata bundle) private view returns (bytes32) {
        if (bundle.chainId != l2ChainId || bundle.settlement != address(INBOX)) {
            revert Commitments.ForeignChain();
        }
        return Commitments.digest(bundle, SEPARATOR);
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
}
