// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Params, Signature} from "./Types.sol";
import {IOperatorRegistry} from "./Interfaces.sol";
import {Bls} from "./lib/Bls.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Possession} from "./lib/Possession.sol";

/// Vote keys of operators, each with a proof of possession that was checked here. A signer registers one
/// key, once; no key can be registered twice.
contract OperatorRegistry is IOperatorRegistry {
    /// keccak256 of the uncompressed vote key (256 bytes); zero where none is registered.
    mapping(address signer => bytes32) public voteKeyHashOf;
    mapping(bytes32 keyHash => address) public signerOf;

    event Registered(address indexed signer, bytes voteKey);

    error WrongAddress();
    error NotTheSigner();
    error AlreadyRegistered();
    error KeyInUse();
    error BadPossession();

    constructor(Addresses memory a, Params memory) {
        if (a.operators != address(this)) revert WrongAddress();
    }

    /// What a signer signs to be registered by somebody else.
    function registrationDigest(bytes calldata voteKey) public view returns (bytes32) {
        return keccak256(
            abi.encodePacked("BLINDFOLD-V1/operator/", block.chainid, address(this), keccak256(voteKey))
        );
    }

    /// Registers `voteKey` (256 bytes, G2) for `signer`. `authorisation` is ignored if the signer calls,
    /// else it is the signer's r ‖ s ‖ v over `registrationDigest`.
    function register(
        address signer,
        bytes calldata voteKey,
        bytes calldata possession,
        bytes calldata authorisation
    ) external {
        if (msg.sender != signer) {
            if (authorisation.length != 65) revert NotTheSigner();
            address found = recover(registrationDigest(voteKey), authorisation);
            if (found == address(0) || found != signer) revert NotTheSigner();
        }
        if (voteKeyHashOf[signer] != 0) revert AlreadyRegistered();
        bytes32 keyHash = keccak256(voteKey);
        if (signerOf[keyHash] != address(0)) revert KeyInUse();
        if (!Possession.verify(Bls.g2FromCalldata(voteKey), Bls.g1FromCalldata(possession))) {
            revert BadPossession();
        }
        voteKeyHashOf[signer] = keyHash;
        signerOf[keyHash] = signer;
        emit Registered(signer, voteKey);
    }

    function recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        if (uint256(s) > Commitments.HALF_ORDER || (v != 27 && v != 28)) return address(0);
        return ecrecover(digest, v, bytes32(signature[:32]), s);
    }
}
