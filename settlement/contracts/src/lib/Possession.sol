// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Bls} from "./Bls.sol";

/// Proofs that somebody has the secret of a vote key: its signature over the compressed key.
library Possession {
    function verify(uint256[8] memory key, uint256[4] memory proof) internal view returns (bool) {
        return Bls.verifySignature(
            key,
            proof,
            // The length of the namespace, 33, in front of it.
            abi.encodePacked(uint8(33), "BLINDFOLD-V1/vote-key-possession/", Bls.compress(key)),
            Bls.POSSESSION_DST
        );
    }
}
