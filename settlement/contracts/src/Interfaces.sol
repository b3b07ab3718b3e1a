// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Batch, MerkleProof} from "./Types.sol";

// What the contracts need of each other.

interface IStakeVault {
    function stakeOf(address signer) external view returns (uint256);
    function slash(address signer, address reporter) external returns (uint256 taken, uint256 reward);
    function seize(address signer, address reporter) external returns (uint256 taken, uint256 reward);
}

interface ICommitteeRegistry {
    function firstEpoch() external view returns (uint64);
    function latestEpoch() external view returns (uint64);
    function scheduleRootOf(uint64 epoch) external view returns (bytes32);
    function signerAt(uint64 epoch, uint32 index) external view returns (address);
    function memberOf(uint64 epoch, address signer) external view returns (bool found, uint32 index);
    function shareKeyAt(uint64 epoch, uint32 index) external view returns (uint256[8] memory);
    function keyOf(uint64 epoch) external view returns (uint256[4] memory y);
    function pairingKeyOf(uint64 epoch) external view returns (uint256[8] memory y2);
    function covers(uint64 epoch, uint64 firstHeight, uint64 lastHeight) external view returns (bool);
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
}

interface IOperatorRegistry {
    function voteKeyHashOf(address signer) external view returns (bytes32);
}

interface IForcedQueue {
    function length() external view returns (uint64);
    function hashAt(uint64 index) external view returns (bytes32);
    function isDue(uint64 index, uint256 blockNumber, uint64 delay) external view returns (bool);
    function push(uint8 kind, address sender, bytes calldata data) external returns (uint64 index);
}

interface IBatchInbox {
    function batchHash(uint64 index) external view returns (bytes32);
}

interface IOutputOracle {
    function finalOutput(uint64 index) external view returns (bytes32 stateRoot);
}

/// Decides whether `stateRoot` is the state after a batch. What counts as a proof is the verifier's.
interface IProofVerifier {
    function verify(bytes32 batchHash, bytes32 stateRoot, bytes calldata proof) external view returns (bool);
}
