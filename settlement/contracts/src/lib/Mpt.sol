// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Ethereum's Merkle-Patricia trie: membership proofs for keys of 32 bytes, as `eth_getProof` gives them.
library Mpt {
    error BadProof();

    /// The value at `key` under `root`. `nodes` are the encoded nodes from the root down; nodes shorter than
    /// 32 bytes lie inside their parents and are not listed. Reverts if the proof proves nothing, or that
    /// there is no value.
    function get(bytes32 root, bytes32 key, bytes[] calldata nodes) internal pure returns (bytes memory value) {
        if (nodes.length == 0 || keccak256(nodes[0]) != root) revert BadProof();
        uint256 next = 1;
        uint256 nibble = 0;
        bytes memory node = nodes[0];
        while (true) {
            uint256[] memory items = list(node);
            bytes memory child;
            if (items.length == 18) {
                if (nibble == 64) revert BadProof();
                child = item(node, items, nibbleAt(key, nibble), true);
                ++nibble;
            } else if (items.length == 3) {
                bool leaf;
                (leaf, nibble) = follow(item(node, items, 0, false), key, nibble);
                if (leaf) {
                    if (nibble != 64 || next != nodes.length) revert BadProof();
                    return item(node, items, 1, false);
                }
                child = item(node, items, 1, true);
            } else {
                revert BadProof();
            }
            if (child.length == 33) {
                // A hash, with its prefix: the next listed node.
                if (next == nodes.length) revert BadProof();
                bytes32 hash;
                assembly ("memory-safe") {
                    hash := mload(add(child, 33))
                }
                if (child[0] != 0xa0 || keccak256(nodes[next]) != hash) revert BadProof();
                node = nodes[next];
                ++next;
            } else {
                // A node inside this one (an empty string is no list and ends here).
                if (child.length > 31) revert BadProof();
                node = child;
            }
        }
    }

    /// The payload of a string whose encoding fills `encoded`.
    function decodeString(bytes memory encoded) internal pure returns (bytes memory) {
        (uint256 start, uint256 end, bool isList) = span(encoded, 0);
        if (isList || end != encoded.length) revert BadProof();
        return cut(encoded, start, end);
    }

    /// The items of a list whose encoding fills `encoded`, each as it is encoded.
    function decodeList(bytes memory encoded) internal pure returns (bytes[] memory out) {
        uint256[] memory items = list(encoded);
        out = new bytes[](items.length - 1);
        for (uint256 i = 0; i < out.length; ++i) {
            out[i] = cut(encoded, items[i], items[i + 1]);
        }
    }

    /// Follows a hex-prefix encoded path from `nibble` on.
    function follow(bytes memory path, bytes32 key, uint256 nibble)
        private
        pure
        returns (bool leaf, uint256 end)
    {
        if (path.length == 0) revert BadProof();
        uint256 flags = uint8(path[0]) >> 4;
        if (flags > 3) revert BadProof();
        leaf = flags & 2 == 2;
        end = nibble;
        uint256 from = 1;
        if (flags & 1 == 0) {
            if (uint8(path[0]) & 15 != 0) revert BadProof();
            from = 2;
        }
        for (uint256 i = from; i < 2 * path.length; ++i) {
            uint256 want = i & 1 == 0 ? uint8(path[i / 2]) >> 4 : uint8(path[i / 2]) & 15;
            if (end == 64 || nibbleAt(key, end) != want) revert BadProof();
            ++end;
        }
        // An extension of no nibbles would let a proof go in circles.
        if (!leaf && end == nibble) revert BadProof();
    }

    function nibbleAt(bytes32 key, uint256 index) private pure returns (uint256) {
        return uint256(key) >> (252 - 4 * index) & 15;
    }

    /// Item `index` of a list, as it is encoded or (for strings) its payload.
    function item(bytes memory encoded, uint256[] memory items, uint256 index, bool raw)
        private
        pure
        returns (bytes memory)
    {
        if (raw) return cut(encoded, items[index], items[index + 1]);
        (uint256 start, uint256 end, bool isList) = span(encoded, items[index]);
        if (isList) revert BadProof();
        return cut(encoded, start, end);
    }

    /// Where the items of a list begin, and where the last ends. The list must fill `encoded`.
    function list(bytes memory encoded) private pure returns (uint256[] memory items) {
        (uint256 start, uint256 end, bool isList) = span(encoded, 0);
        if (!isList || end != encoded.length) revert BadProof();
        uint256 count = 0;
        for (uint256 i = start; i < end; ++count) {
            // The list fills `encoded`, so no item can end beyond it.
            (, i,) = span(encoded, i);
        }
        items = new uint256[](count + 1);
        uint256 position = start;
        for (uint256 i = 0; i < count; ++i) {
            items[i] = position;
            (, position,) = span(encoded, position);
        }
        items[count] = position;
        if (position != end) revert BadProof();
    }

    /// Payload bounds of the item that begins at `position`; canonical lengths only.
    function span(bytes memory encoded, uint256 position)
        private
        pure
        returns (uint256 start, uint256 end, bool isList)
    {
        if (position >= encoded.length) revert BadProof();
        uint256 head = uint8(encoded[position]);
        if (head < 0x80) return (position, position + 1, false);
        isList = head >= 0xc0;
        uint256 short = head - (isList ? 0xc0 : 0x80);
        if (short < 56) {
            start = position + 1;
            end = start + short;
            if (end > encoded.length) revert BadProof();
            if (!isList && short == 1 && uint8(encoded[start]) < 0x80) revert BadProof();
            return (start, end, isList);
        }
        uint256 width = short - 55;
        if (width > 3 || position + 1 + width > encoded.length) revert BadProof();
        uint256 length = 0;
        for (uint256 i = 0; i < width; ++i) {
            length = length << 8 | uint8(encoded[position + 1 + i]);
        }
        start = position + 1 + width;
        end = start + length;
        if (length < 56 || length >> (8 * (width - 1)) == 0 || end > encoded.length) revert BadProof();
    }

    function cut(bytes memory encoded, uint256 start, uint256 end) private pure returns (bytes memory out) {
        out = new bytes(end - start);
        assembly ("memory-safe") {
            mcopy(add(out, 32), add(add(encoded, 32), start), sub(end, start))
        }
    }
}
