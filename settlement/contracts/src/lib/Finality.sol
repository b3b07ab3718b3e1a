// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Certificate, OrderCommitment} from "../Types.sol";
import {ICommitteeRegistry} from "../Interfaces.sol";
import {Commitments} from "./Commitments.sol";

/// What a quorum of the committee finalized, and what it said of the state: the commitment of a height carries
/// the executed root of `executedLag` heights below.
library Finality {
    /// Whose commitments count.
    struct Chain {
        ICommitteeRegistry committees;
        uint64 chainId;
        /// The inbox, which is the verifying contract.
        address settlement;
        bytes32 separator;
    }

    /// Whether the last of these commitments has this certificate, of the committee whose height it is, and
    /// each other one is the parent of the one behind it. A committee that handed over certifies no height
    /// of its successors, whatever became of its keys.
    function isCertified(
        Chain memory chain,
        OrderCommitment[] calldata commitments,
        Certificate calldata certificate
    ) internal view returns (bool) {
        uint256 length = commitments.length;
        if (length == 0) return false;
        bytes32 digest;
        for (uint256 i = 0; i < length; ++i) {
            OrderCommitment calldata commitment = commitments[i];
            if (commitment.chainId != chain.chainId || commitment.settlement != chain.settlement) return false;
            if (i != 0 && commitment.parent != digest) return false;
            digest = Commitments.digest(commitment, chain.separator);
        }
        OrderCommitment calldata last = commitments[length - 1];
        return chain.committees.covers(last.epoch, last.height, last.height)
            && chain.committees.verifyFinalization(
                last.epoch,
                certificate.view_,
                certificate.parentView,
                digest,
                certificate.signers,
                certificate.signature
            );
    }

    /// What is certified of a height: its state root, and the root over its openings alone.
    function executedRoot(bytes32 stateRoot, bytes32 openingRoot) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/executed-root/", stateRoot, openingRoot));
    }
}
