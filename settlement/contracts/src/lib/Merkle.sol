// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccumulatorLeaf, MerkleProof, OpeningLeaf} from "../Types.sol";

/// The project's Merkle tree: nodes keccak256(domain ‖ left ‖ right), the last node of an odd level
/// moves up unchanged, and the root covers the number of leaves.
library Merkle {
    /// Whether `leaf` stands at `proof.index` of the tree with `root`.
    function verify(bytes32 root, bytes32 leaf, MerkleProof calldata proof) internal pure returns (bool) {
        uint256 width = proof.count;
        uint256 position = proof.index;
        if (position >= width) return false;
        bytes32[] calldata siblings = proof.siblings;
        uint256 used = 0;
        bytes32 current = leaf;
        bytes memory input = abi.encodePacked("BLINDFOLD-V1/merkle-node/", bytes32(0), bytes32(0));
        while (width > 1) {
            if (position ^ 1 < width) {
                if (used == siblings.length) return false;
                bytes32 sibling = siblings[used];
                bool right = position & 1 == 1;
                // 32 bytes of length, 25 of domain, then the two children.
                assembly ("memory-safe") {
                    mstore(add(input, add(57, mul(32, right))), current)
                    mstore(add(input, add(57, mul(32, iszero(right)))), sibling)
                    current := keccak256(add(input, 32), 89)
                }
                unchecked {
                    ++used;
                }
            }
            position >>= 1;
            width = (width + 1) >> 1;
        }
        return used == siblings.length && sealRoot(proof.count, current) == root;
    }

    /// The root of a tree with `count` leaves and the topmost node `top`.
    function sealRoot(uint32 count, bytes32 top) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/merkle-root/", count, top));
    }

    function orderLeaf(uint32 position, bytes32 id) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/order-leaf/", position, id));
    }

    function openingLeaf(OpeningLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked("BLINDFOLD-V1/opening-leaf/", leaf.height, leaf.position, leaf.id, leaf.openingHash)
        );
    }

    function shareLeaf(uint32 position, bytes32[3] calldata share) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/share-leaf/", position, share[0], share[1], share[2]));
    }

    function scheduleLeaf(uint32 slot, address signer) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/schedule-leaf/", slot, signer));
    }

    function accumulatorLeaf(AccumulatorLeaf calldata leaf) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                "BLINDFOLD-V1/accumulator-leaf/",
                leaf.height,
                leaf.digest,
                leaf.orderRoot,
                leaf.offset,
                leaf.signatureHash
            )
        );
    }
}
