// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "../src/Types.sol";

// What the tests call of the committed contracts.

interface Vault {
    function BURN() external view returns (address);
    function deposit(address signer) external payable;
    function requestExit(address signer, uint256 amount) external;
    function claim(address signer) external returns (uint256);
    function slash(address signer, address reporter) external returns (uint256, uint256);
    function seize(address signer, address reporter) external returns (uint256, uint256);
    function burn(address signer) external returns (uint256);
    function withdraw() external returns (uint256);
    function stakeOf(address signer) external view returns (uint256);
    function slashableOf(address signer) external view returns (uint256);
    function burnableOf(address signer) external view returns (uint256);
    function isSlashed(address signer) external view returns (bool);
    function owed(address reporter) external view returns (uint256);
    function positionOf(address signer, address depositor) external view returns (uint256, uint256, uint64);

    error WrongAddress();
    error BadParams();
    error NotAllowed();
    error NothingSent();
    error TooMuch();
    error SignerSlashed();
    error NothingToClaim();
    error StillLocked(uint64 readyAt);
}

interface Operators {
    function register(address signer, bytes calldata key, bytes calldata possession, bytes calldata auth) external;
    function registrationDigest(bytes calldata voteKey) external view returns (bytes32);
    function voteKeyHashOf(address signer) external view returns (bytes32);
    function signerOf(bytes32 keyHash) external view returns (address);

    error NotTheSigner();
    error AlreadyRegistered();
    error KeyInUse();
    error BadPossession();
    error BadPoint();
}

interface Committees {
    struct Committee {
        address votes;
        uint32 members;
        uint32 threshold;
        address shares;
        uint64 firstHeight;
        bytes32 scheduleRoot;
    }

    function accept(NextCommittee calldata next, Certificate calldata certificate) external;
    function handoverPayload(NextCommittee calldata next) external pure returns (bytes32);
    function committeeOf(uint64 epoch) external view returns (Committee memory);
    function latestEpoch() external view returns (uint64);
    function firstEpoch() external view returns (uint64);
    function scheduleRootOf(uint64 epoch) external view returns (bytes32);
    function covers(uint64 epoch, uint64 first, uint64 last) external view returns (bool);
    function signerAt(uint64 epoch, uint32 index) external view returns (address);
    function signersOf(uint64 epoch) external view returns (address[] memory);
    function memberOf(uint64 epoch, address signer) external view returns (bool, uint32);
    function voteKeyAt(uint64 epoch, uint32 index) external view returns (uint256[8] memory);
    function shareKeyAt(uint64 epoch, uint32 index) external view returns (uint256[8] memory);
    function keyOf(uint64 epoch) external view returns (uint256[4] memory);
    function pairingKeyOf(uint64 epoch) external view returns (uint256[8] memory);
    function leaderAt(uint64 epoch, uint64 view_, address leader, MerkleProof calldata proof)
        external
        view
        returns (bool);
    function verifyFinalization(
        uint64 epoch,
        uint64 view_,
        uint64 parentView,
        bytes32 payload,
        bytes calldata signers,
        bytes calldata signature
    ) external view returns (bool);

    error UnknownEpoch();
    error WrongEpoch();
    error WrongHeight();
    error WrongSize();
    error WrongThreshold();
    error BadKey();
    error BadPoint();
    error NotProven(address signer);
    error DuplicateMember(address signer);
    error BadCertificate();
}

interface Queue {
    function force(uint8 kind, bytes calldata data) external payable returns (uint64);
    function push(uint8 kind, address sender, bytes calldata data) external returns (uint64);
    function length() external view returns (uint64);
    function hashAt(uint64 index) external view returns (bytes32);
    function blockOf(uint64 index) external view returns (uint64);
    function isDue(uint64 index, uint256 blockNumber, uint64 delay) external view returns (bool);
    function dueBy(uint256 blockNumber, uint64 delay) external view returns (uint64);

    error WrongKind();
    error WrongLength();
    error FeeTooLow();
    error NotAllowed();
    error OutOfRange();
}

interface Inbox {
    function head() external view returns (uint64, uint64, uint64, bytes32);
    function batchHash(uint64 index) external view returns (bytes32);
    function credit(address poster) external view returns (uint256);
    function owed(address account) external view returns (uint256);
    function postBatch(
        PostInput calldata input,
        OrderCommitment calldata last,
        Certificate calldata cert,
        AccumulatorLeaf calldata lastLeaf,
        MerkleProof calldata lastProof,
        bytes calldata data
    ) external;
    function showOrdered(OrderCommitment calldata later, Certificate calldata cert) external;
    function shown() external view returns (uint64 height, uint64 forcedCursor);
    function postForced(uint64 upTo) external;
    function claimPosting() external returns (uint64);
    function challenge(Batch calldata b, uint64 height, uint32 position) external payable;
    function challengeId(uint64 index, uint64 height, uint32 position) external pure returns (bytes32);
    function challengeOf(bytes32 id) external view returns (address, uint64, bool);
    function revealCommitment(
        Batch calldata b,
        uint32 position,
        AccumulatorLeaf calldata leaf,
        MerkleProof calldata proof,
        OrderCommitment calldata commitment,
        Signature calldata signature
    ) external;
    function revealOpening(
        Batch calldata b,
        uint32 position,
        AccumulatorLeaf calldata leaf,
        MerkleProof calldata leafProof,
        SealedEnvelope calldata envelope,
        Opening calldata opening,
        MerkleProof calldata openingProof
    ) external;
    function failReveal(Batch calldata b, uint64 height, uint32 position) external;
    function withdraw() external returns (uint256);

    event BatchPosted(uint64 indexed index, bytes32 indexed hash, Batch batch);

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
    error NotThePayer();
    error BadEphemeral();
    error BadEnvelope();
}

interface Oracle {
    struct Output {
        bytes32 stateRoot;
        address proposer;
        uint64 deadline;
        uint8 status;
        address challenger;
    }

    function verifier() external view returns (address);
    function outputOf(uint64 index) external view returns (Output memory);
    function finalOutput(uint64 index) external view returns (bytes32);
    function propose(Batch calldata b) external payable;
    function challenge(uint64 index) external payable;
    function prove(uint64 index, bytes calldata proof) external;
    function reject(uint64 index) external;
    function returnBond(uint64 index) external;
    function withdraw() external returns (uint256);
    function owed(address account) external view returns (uint256);

    error UnknownBatch();
    error NoState();
    error WrongBond();
    error WrongStatus();
    error TooLate();
    error TooEarly();
    error BadProof();
    error NotFinal();
    error NothingToClaim();
}

interface BridgeAbi {
    function depositToBalance(address to) external payable returns (uint64);
    function depositToEscrow(address to) external payable returns (uint64);
    function withdrawalHash(Withdrawal calldata w) external pure returns (bytes32);
    function withdraw(
        uint64 batchIndex,
        Withdrawal calldata w,
        bytes[] calldata accountProof,
        bytes[] calldata storageProof
    ) external;
    function spent(bytes32 hash) external view returns (bool);

    error NothingSent();
    error AlreadySpent();
    error BadProof();
    error TransferFailed();
}

interface SlasherAbi {
    function commitOf(address reporter, bytes32 evidenceHash, bytes32 salt) external pure returns (bytes32);
    function commitReport(bytes32 commit) external;
    function commitBlockOf(bytes32 commit) external view returns (uint256);
    function report(bytes calldata evidence, bytes32 salt) external returns (address culprit, uint256 reward);
    function kindOf(bytes calldata evidence) external pure returns (uint8);
    function verifyEquivocation(SignedCommitment calldata first, SignedCommitment calldata second)
        external
        view
        returns (address, bytes32);
    function verifyDoubleRelease(SignedBundle calldata first, SignedBundle calldata second, uint64 epoch)
        external
        view
        returns (address, bytes32);
    function verifyBadShare(BadShareEvidence calldata e) external view returns (address, bytes32);
    function verify(bytes calldata evidence) external view returns (uint8 kind, address culprit, bytes32 subject);
    function posterVerifier() external view returns (address);

    event Slashed(
        uint8 indexed kind,
        address indexed culprit,
        address indexed reporter,
        bytes32 offenceId,
        uint256 taken,
        uint256 reward
    );

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
    error NotCertified();
    error ForeignChain();
    error NotThePayer();
    error BadEphemeral();
    error BadEnvelope();
    error BadOpening();
    error NotEnoughGas();
    error PrecompileFailed();
    error UnknownEpoch();
    error SignerSlashed();
}

interface PosterAbi {
    function verifyReordering(ReorderingEvidence calldata e) external view returns (address, bytes32);
    function verifyBrokenLeaf(BrokenLeafEvidence calldata e) external view returns (address, bytes32);
    function verifyBrokenParent(BrokenLinkEvidence calldata e) external view returns (address, bytes32);
    function verifyBrokenOffset(BrokenLinkEvidence calldata e) external view returns (address, bytes32);
    function verifyBrokenFirst(BrokenFirstEvidence calldata e) external view returns (address, bytes32);
    function verifyBrokenCount(Batch calldata batch, uint32 count, bytes32 top)
        external
        view
        returns (address, bytes32);
    function verifyForgedCommitment(ForgedCommitmentEvidence calldata e) external view returns (address, bytes32);
    function verifyWrongOpening(WrongOpeningEvidence calldata e) external view returns (address, bytes32);
    function verifyDisownedOpening(DisownedOpeningEvidence calldata e) external view returns (address, bytes32);
    function evidenceWindow() external view returns (uint64);
    function executedLag() external view returns (uint64);
}
