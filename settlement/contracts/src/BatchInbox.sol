// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    AccumulatorLeaf,
    Addresses,
    Batch,
    Certificate,
    MerkleProof,
    Opening,
    OpeningLeaf,
    OrderCommitment,
    Params,
    PostInput,
    SealedEnvelope,
    Signature
} from "./Types.sol";
import {IBatchInbox, ICommitteeRegistry, IForcedQueue, IStakeVault} from "./Interfaces.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Envelopes} from "./lib/Envelopes.sol";
import {Merkle} from "./lib/Merkle.sol";

/// The chain of batches, and the challenges that make a poster show what it posted.
///
/// A batch is accepted only if it continues the chain, its last commitment is certified by its epoch's
/// committee, its poster is a member with stake, and no forced item that is due was skipped. Everything
/// else about a batch is the poster's word, for which its stake stands (see Slasher).
///
/// This contract's address is the verifying contract of every EIP-712 signature of the chain.
contract BatchInbox is IBatchInbox {
    /// Position that stands for the commitment of a height in a challenge.
    uint32 public constant COMMITMENT = type(uint32).max;
    uint8 private constant KIND_POSTING = 4;
    /// What a transaction costs beside what `postBatch` can see of itself: 21,000, its last steps, and
    /// the 16 gas per byte of calldata at most.
    uint256 private constant BASE_GAS = 21_000 + 30_000;
    uint256 private constant BLOB_GAS = 131_072;
    /// How far above the posted heights a height can be shown that has consumed what is due.
    uint64 public constant MAX_SHOWN_HEIGHTS = 1 << 24;

    struct Head {
        /// Batches accepted.
        uint64 count;
        uint64 lastHeight;
        /// Forced items that batches have consumed, or that were posted without the committee: it never goes back.
        uint64 forcedHead;
        /// The height that was shown last (`showOrdered`). Batches that begin at or below it are part of what was
        /// shown.
        uint64 shownHeight;
    }

    struct Challenge {
        address challenger;
        uint64 deadline;
        bool settled;
    }

    IStakeVault private immutable VAULT;
    ICommitteeRegistry private immutable COMMITTEES;
    IForcedQueue private immutable QUEUE;
    address private immutable OPERATORS;
    address private immutable ORACLE;
    address private immutable BRIDGE;
    address private immutable SLASHER;
    bytes32 private immutable SEPARATOR;

    uint64 public immutable l2ChainId;
    bytes32 public immutable genesisHash;
    uint64 public immutable forcedDelayBlocks;
    uint64 public immutable forcedDeadlineBlocks;
    uint64 public immutable forcedFallbackBlocks;
    uint64 public immutable challengeWindow;
    uint64 public immutable evidenceWindow;
    uint256 public immutable minStake;
    uint256 public immutable challengeBond;

    Head private current;
    /// Forced items that the shown height has consumed, and its time in milliseconds.
    uint64 private shownCursor;
    uint64 private shownTime;
    mapping(uint64 index => bytes32) private hashes;
    mapping(bytes32 id => Challenge) private challenges;
    /// What posting cost, in wei, not yet claimed.
    mapping(address poster => uint256) public credit;
    /// Bonds to be withdrawn, in wei.
    mapping(address account => uint256) public owed;

    event BatchPosted(uint64 indexed index, bytes32 indexed hash, Batch batch);
    event ForcedPosted(uint64 from, uint64 to, address by);
    event OrderedShown(uint64 height, uint64 forcedCursor, address by);
    event PostingClaimed(address indexed poster, uint256 amount, uint64 forcedIndex);
    event Challenged(
        uint64 indexed index, uint64 indexed height, uint32 position, address challenger, uint64 deadline
    );
    event CommitmentRevealed(uint64 indexed index, uint64 indexed height, uint32 position);
    event OpeningRevealed(uint64 indexed index, uint64 indexed height, uint32 position);
    event Withheld(
        uint64 indexed index, uint64 indexed height, uint32 position, address poster, uint256 taken, uint256 reward
    );
    event Withdrawn(address indexed account, uint256 amount);

    error WrongAddress();
    error BadParams();
    error BrokenChain();
    error ForeignCommitment();
    error BadCertificate();
    error NotStaked();
    error NotInEpoch();
    error ForcedSkipped();
    error WrongForcedHash();
    error BadLastLeaf();
    error NoData();
    error MixedData();
    error NothingDue();
    error AlreadyShown();
    error UnknownBatch();
    error TooLate();
    error TooEarly();
    error OutOfRange();
    error WrongBond();
    error AlreadyChallenged();
    error NoChallenge();
    error BadReveal();
    error NothingToClaim();
    error TransferFailed();

    constructor(Addresses memory a, Params memory p) {
        if (a.inbox != address(this)) revert WrongAddress();
        if (
            p.forcedDelayBlocks >= p.forcedDeadlineBlocks || p.forcedDeadlineBlocks >= p.forcedFallbackBlocks
                || p.challengeWindow == 0 || p.evidenceWindow == 0
        ) revert BadParams();
        VAULT = IStakeVault(a.vault);
        COMMITTEES = ICommitteeRegistry(a.committees);
        QUEUE = IForcedQueue(a.queue);
        OPERATORS = a.operators;
        ORACLE = a.oracle;
        BRIDGE = a.bridge;
        SLASHER = a.slasher;
        SEPARATOR = Commitments.domainSeparator(p.l2ChainId, address(this));
        l2ChainId = p.l2ChainId;
        genesisHash = p.genesisHash;
        forcedDelayBlocks = p.forcedDelayBlocks;
        forcedDeadlineBlocks = p.forcedDeadlineBlocks;
        forcedFallbackBlocks = p.forcedFallbackBlocks;
        challengeWindow = p.challengeWindow;
        evidenceWindow = p.evidenceWindow;
        minStake = p.minStake;
        challengeBond = p.challengeBond;
    }

    /// All contracts of the chain: whoever knows this one from the genesis document knows the others.
    function contracts() external view returns (Addresses memory) {
        return Addresses({
            vault: address(VAULT),
            operators: OPERATORS,
            committees: address(COMMITTEES),
            queue: address(QUEUE),
            inbox: address(this),
            oracle: ORACLE,
            bridge: BRIDGE,
            slasher: SLASHER
        });
    }

    // ---- posting

    /// Batches and last height accepted so far, how many forced items the next batch must have consumed at least
    /// (unless a height was shown), and the hash that it names as its parent.
    function head() external view returns (uint64 count, uint64 lastHeight, uint64 forcedHead, bytes32 hash) {
        Head memory now_ = current;
        return (now_.count, now_.lastHeight, now_.forcedHead, batchHash(now_.count));
    }

    /// The height that was shown last and the forced items it has consumed. It counts until a batch reaches it.
    function shown() external view returns (uint64 height, uint64 forcedCursor) {
        return (current.shownHeight, shownCursor);
    }

    /// keccak256(abi.encode(batch)); the genesis hash for 0, zero for what does not exist.
    function batchHash(uint64 index) public view returns (bytes32) {
        return index == 0 ? genesisHash : hashes[index];
    }

    /// Accepts the heights from `input.firstHeight` to `last.height`. The sender is the poster's signer
    /// account. `data` is the batch's data, or empty if it lies in the transaction's blobs.
    function postBatch(
        PostInput calldata input,
        OrderCommitment calldata last,
        Certificate calldata cert,
        AccumulatorLeaf calldata lastLeaf,
        MerkleProof calldata lastProof,
        bytes calldata data
    ) external {
        uint256 gasBefore = gasleft();
        Head memory before = current;
        if (
            input.parent != batchHash(before.count) || input.firstHeight != before.lastHeight + 1
                || last.height < input.firstHeight
        ) revert BrokenChain();
        requireStaked(last.epoch);
        if (!COMMITTEES.covers(last.epoch, input.firstHeight, last.height)) revert NotInEpoch();
        requireForced(last, before);
        bytes32 digest = requireCertified(last, cert);
        requireLastLeaf(input, last, digest, lastLeaf, lastProof);
        (bytes32 dataHash, uint256 blobs) = dataHashOf(data);

        Batch memory batch = Batch({
            index: before.count + 1,
            parent: input.parent,
            epoch: last.epoch,
            firstHeight: input.firstHeight,
            lastHeight: last.height,
            lastCommitment: digest,
            accumulatorRoot: input.accumulatorRoot,
            openingRoot: input.openingRoot,
            openingCount: input.openingCount,
            stateRoot: input.stateRoot,
            forcedHead: last.forcedCursor,
            dataHash: dataHash,
            poster: msg.sender,
            l1Block: uint64(block.number),
            postedAt: uint64(block.timestamp)
        });
        append(batch, before);
        uint256 gasUsed = gasBefore - gasleft() + BASE_GAS + 16 * msg.data.length;
        credit[msg.sender] += gasUsed * block.basefee + blobs * BLOB_GAS * block.blobbasefee;
    }

    /// Shows that the committee has ordered what is due, in a height above those that are posted. The heights up
    /// to there may be more than one batch holds; each batch of them then counts without having consumed what is
    /// due by now, as long as the one that reaches the shown height has consumed what that had. Anyone may.
    ///
    /// One height is shown at a time, so what was due when it was shown is consumed before another can be, also by a
    /// quorum that certifies what it likes. Heights below it are older than it, and it is older than the block that
    /// takes it: nothing that goes on after that is let through.
    function showOrdered(OrderCommitment calldata later, Certificate calldata cert) external {
        Head memory now_ = current;
        if (now_.lastHeight < now_.shownHeight) revert AlreadyShown();
        if (later.height <= now_.lastHeight || later.height - now_.lastHeight > MAX_SHOWN_HEIGHTS) revert OutOfRange();
        if (later.timestampMs > block.timestamp * 1000) revert TooEarly();
        if (!COMMITTEES.covers(later.epoch, later.height, later.height)) revert NotInEpoch();
        requireForced(later, now_);
        requireCertified(later, cert);
        current.shownHeight = later.height;
        (shownCursor, shownTime) = (later.forcedCursor, later.timestampMs);
        emit OrderedShown(later.height, later.forcedCursor, msg.sender);
    }

    /// Takes forced items up to `upTo` out of the committee's hands, once the oldest has waited for
    /// `forcedFallbackBlocks`: a batch without heights, and the word to everybody that the committee failed. From
    /// then on no batch counts that has not consumed all of them, due or not. What they do is executed by heights
    /// alone, so that there is one order of everything.
    function postForced(uint64 upTo) external {
        Head memory before = current;
        if (!QUEUE.isDue(before.forcedHead, block.number, forcedFallbackBlocks)) revert NothingDue();
        if (upTo <= before.forcedHead || upTo > QUEUE.length()) revert OutOfRange();
        Batch memory batch;
        batch.index = before.count + 1;
        batch.parent = batchHash(before.count);
        batch.firstHeight = before.lastHeight + 1;
        batch.lastHeight = before.lastHeight;
        batch.forcedHead = upTo;
        batch.poster = msg.sender;
        batch.l1Block = uint64(block.number);
        batch.postedAt = uint64(block.timestamp);
        append(batch, before);
        emit ForcedPosted(before.forcedHead, upTo, msg.sender);
    }

    /// Turns what posting cost the sender into a repayment on L2.
    function claimPosting() external returns (uint64 forcedIndex) {
        uint256 amount = credit[msg.sender];
        if (amount == 0) revert NothingToClaim();
        credit[msg.sender] = 0;
        forcedIndex = QUEUE.push(KIND_POSTING, msg.sender, abi.encodePacked(msg.sender, amount));
        emit PostingClaimed(msg.sender, amount, forcedIndex);
    }

    function append(Batch memory batch, Head memory before) private {
        bytes32 hash = Commitments.batchHash(batch);
        hashes[batch.index] = hash;
        current = Head({
            count: batch.index,
            lastHeight: batch.lastHeight,
            forcedHead: batch.forcedHead > before.forcedHead ? batch.forcedHead : before.forcedHead,
            shownHeight: before.shownHeight
        });
        emit BatchPosted(batch.index, hash, batch);
    }

    function requireStaked(uint64 epoch) private view {
        (bool member,) = COMMITTEES.memberOf(epoch, msg.sender);
        if (!member || VAULT.stakeOf(msg.sender) < minStake) revert NotStaked();
    }

    function requireForced(OrderCommitment calldata last, Head memory before) private view {
        if (before.lastHeight < before.shownHeight) {
            if (last.height >= before.shownHeight ? last.forcedCursor < shownCursor : last.timestampMs > shownTime) {
                revert ForcedSkipped();
            }
        } else if (
            last.forcedCursor < before.forcedHead
                || QUEUE.isDue(last.forcedCursor, block.number, forcedDeadlineBlocks)
        ) {
            revert ForcedSkipped();
        }
        if (last.forcedCursor > QUEUE.length() || QUEUE.hashAt(last.forcedCursor) != last.forcedHash) {
            revert WrongForcedHash();
        }
    }

    function requireCertified(OrderCommitment calldata last, Certificate calldata cert)
        private
        view
        returns (bytes32 digest)
    {
        if (last.chainId != l2ChainId || last.settlement != address(this)) revert ForeignCommitment();
        digest = Commitments.digest(last, SEPARATOR);
        if (
            !COMMITTEES.verifyFinalization(
                last.epoch, cert.view_, cert.parentView, digest, cert.signers, cert.signature
            )
        ) revert BadCertificate();
    }

    /// Ties the accumulator's size and end, and the number of openings, to the certified commitment.
    function requireLastLeaf(
        PostInput calldata input,
        OrderCommitment calldata last,
        bytes32 digest,
        AccumulatorLeaf calldata leaf,
        MerkleProof calldata proof
    ) private pure {
        uint256 heights = uint256(last.height) - input.firstHeight + 1;
        if (
            proof.count != heights || proof.index != heights - 1 || leaf.height != last.height
                || leaf.digest != digest || leaf.orderRoot != last.orderRoot
                || uint256(leaf.offset) + last.count != input.openingCount
                || !Merkle.verify(input.accumulatorRoot, Merkle.accumulatorLeaf(leaf), proof)
        ) revert BadLastLeaf();
    }

    /// keccak256(0 ‖ keccak256(data)), or keccak256(1 ‖ the versioned hashes of all blobs).
    function dataHashOf(bytes calldata data) private view returns (bytes32 hash, uint256 blobs) {
        bytes memory packed = abi.encodePacked(uint8(1));
        bytes32 versioned = blobhash(0);
        while (versioned != 0) {
            packed = bytes.concat(packed, versioned);
            versioned = blobhash(++blobs);
        }
        if (blobs == 0) {
            if (data.length == 0) revert NoData();
            return (keccak256(abi.encodePacked(uint8(0), keccak256(data))), 0);
        }
        if (data.length != 0) revert MixedData();
        return (keccak256(packed), blobs);
    }

    // ---- reveal challenges

    function challengeId(uint64 index, uint64 height, uint32 position) public pure returns (bytes32) {
        return keccak256(abi.encode(index, height, position));
    }

    function challengeOf(bytes32 id) external view returns (address challenger, uint64 deadline, bool settled) {
        Challenge storage open = challenges[id];
        return (open.challenger, open.deadline, open.settled);
    }

    /// Bets the bond that the poster cannot show the commitment of a height (position 0xffffffff) or the
    /// opening of a position. Each can be asked for once.
    function challenge(Batch calldata b, uint64 height, uint32 position) external payable {
        requireKnown(b);
        if (msg.value != challengeBond) revert WrongBond();
        if (height < b.firstHeight || height > b.lastHeight) revert OutOfRange();
        if (block.timestamp > uint256(b.postedAt) + evidenceWindow) revert TooLate();
        Challenge storage open = challenges[challengeId(b.index, height, position)];
        if (open.challenger != address(0)) revert AlreadyChallenged();
        uint64 deadline = uint64(block.timestamp) + challengeWindow;
        (open.challenger, open.deadline) = (msg.sender, deadline);
        emit Challenged(b.index, height, position, msg.sender, deadline);
    }

    /// Shows the commitment of a challenged height with its leader's signature. It also answers a challenge
    /// of a position that the height does not have. Anyone may, the bond goes to the poster.
    function revealCommitment(
        Batch calldata b,
        uint32 position,
        AccumulatorLeaf calldata leaf,
        MerkleProof calldata proof,
        OrderCommitment calldata commitment,
        Signature calldata signature
    ) external {
        requireKnown(b);
        if (position != COMMITMENT && position < commitment.count) revert BadReveal();
        requireLeaf(b, leaf, proof);
        if (commitment.chainId != l2ChainId || commitment.settlement != address(this)) revert ForeignCommitment();
        if (
            Commitments.digest(commitment, SEPARATOR) != leaf.digest
                || Commitments.signatureHash(signature) != leaf.signatureHash
        ) revert BadReveal();
        settle(b, leaf.height, position);
        emit CommitmentRevealed(b.index, leaf.height, position);
    }

    /// Shows the envelope of a challenged position (without its body, which sealing again gives) and its
    /// opening. That the opening is right is not asked here: a wrong one is an offence of its own, which
    /// anyone can prove from what was shown.
    function revealOpening(
        Batch calldata b,
        uint32 position,
        AccumulatorLeaf calldata leaf,
        MerkleProof calldata leafProof,
        SealedEnvelope calldata envelope,
        Opening calldata opening,
        MerkleProof calldata openingProof
    ) external {
        requireKnown(b);
        if (position == COMMITMENT) revert BadReveal();
        requireLeaf(b, leaf, leafProof);
        Envelopes.Checked memory checked =
            Envelopes.check(envelope, COMMITTEES.keyOf(envelope.keyEpoch), l2ChainId);
        bytes32 hash = Merkle.openingLeaf(
            OpeningLeaf({
                height: leaf.height,
                position: position,
                id: checked.id,
                openingHash: Envelopes.openingHash(opening)
            })
        );
        if (
            uint256(openingProof.index) != uint256(leaf.offset) + position
                || !Merkle.verify(b.openingRoot, hash, openingProof)
        ) revert BadReveal();
        settle(b, leaf.height, position);
        emit OpeningRevealed(b.index, leaf.height, position);
    }

    /// Takes the poster's stake after a challenge that nobody answered in time (offence 8, withheld). The
    /// challenger gets the bond back and the reporter's reward.
    function failReveal(Batch calldata b, uint64 height, uint32 position) external {
        requireKnown(b);
        Challenge storage open = opened(b.index, height, position);
        if (block.timestamp <= open.deadline) revert TooEarly();
        open.settled = true;
        owed[open.challenger] += challengeBond;
        (uint256 taken, uint256 reward) = VAULT.seize(b.poster, open.challenger);
        emit Withheld(b.index, height, position, b.poster, taken, reward);
    }

    /// Pays out bonds.
    function withdraw() external returns (uint256 amount) {
        amount = owed[msg.sender];
        if (amount == 0) revert NothingToClaim();
        owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        (bool ok,) = msg.sender.call{value: amount}("");
        if (!ok) revert TransferFailed();
    }

    function requireKnown(Batch calldata b) private view {
        if (b.index == 0 || hashes[b.index] != Commitments.batchHash(b)) revert UnknownBatch();
    }

    function requireLeaf(Batch calldata b, AccumulatorLeaf calldata leaf, MerkleProof calldata proof) private pure {
        if (
            leaf.height < b.firstHeight || leaf.height - b.firstHeight != proof.index
                || !Merkle.verify(b.accumulatorRoot, Merkle.accumulatorLeaf(leaf), proof)
        ) revert BadReveal();
    }

    function opened(uint64 index, uint64 height, uint32 position) private view returns (Challenge storage open) {
        open = challenges[challengeId(index, height, position)];
        if (open.challenger == address(0) || open.settled) revert NoChallenge();
    }

    function settle(Batch calldata b, uint64 height, uint32 position) private {
        Challenge storage open = opened(b.index, height, position);
        if (block.timestamp > open.deadline) revert TooLate();
        open.settled = true;
        owed[b.poster] += challengeBond;
    }
}
