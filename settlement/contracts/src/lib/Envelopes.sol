// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Opening, SealedEnvelope, Signature} from "../Types.sol";
import {Bls} from "./Bls.sol";
import {Commitments} from "./Commitments.sol";

/// Sealed envelopes and their openings: what ids, labels and the sealing scheme of the project (labelled
/// TDH2 in G1) say about the bytes that a poster shows.
library Envelopes {
    uint8 internal constant OPENED = 0;
    uint8 internal constant UNDECRYPTABLE = 1;
    /// Longest message that can be sealed, in bytes.
    uint256 internal constant MAX_MESSAGE_BYTES = 64 * 1024 - 4;
    uint256 private constant MIN_PADDED_BYTES = 256;
    /// 2^256 modulo the group order.
    uint256 private constant TWO_256 = 0x1824b159acc5056f998c4fefecbc4ff55884b7fa0003480200000001fffffffe;

    /// The bytes are not what an envelope's id is the hash of.
    error BadEnvelope();
    /// The point u, or the hint of its y coordinate, is wrong.
    error BadEphemeral();
    /// The payer's signature recovers to nobody, or the envelope's proof does not hold for the payer it
    /// recovers to, so that it is not the signature which the envelope was sealed under.
    error NotThePayer();
    /// Neither an opened nor an undecryptable opening in canonical form.
    error BadOpening();

    /// A compressed point as it stands in an envelope.
    struct Compressed {
        uint128 head;
        uint256 tail;
    }

    struct Fields {
        uint64 chainId;
        uint64 keyId;
        uint64 nonce;
        uint128 maxFee;
        uint128 maxPriorityFee;
        uint64 gasLimit;
        uint64 expiry;
        Compressed u;
        Compressed uBar;
        Compressed w;
        Compressed wBar;
        bytes32 z;
        bytes32 wrappedSeed;
        bytes32 bodyHash;
    }

    /// An envelope that is well formed and proven to be its payer's.
    struct Checked {
        bytes32 id;
        bytes32 label;
        uint256[4] u;
    }

    /// Reads 0x5e ‖ rlp([chain_id, key_id, nonce, max_fee, max_priority_fee, gas_limit, expiry, u, u_bar,
    /// w, w_bar, z, wrapped_seed, keccak(body)]), canonical encoding only.
    function parse(bytes calldata preimage) internal pure returns (Fields memory fields) {
        // The fixed fields take 304 bytes, so the payload's length is always written in two bytes.
        if (preimage.length < 4 || bytes2(preimage) != 0x5ef9) revert BadEnvelope();
        if (uint256(uint8(preimage[2])) << 8 | uint8(preimage[3]) != preimage.length - 4) revert BadEnvelope();
        uint256 cursor = 4;
        uint256 value;
        (value, cursor) = integer(preimage, cursor, 8);
        fields.chainId = uint64(value);
        (value, cursor) = fixedBytes(preimage, cursor, 8);
        fields.keyId = uint64(value);
        (value, cursor) = integer(preimage, cursor, 8);
        fields.nonce = uint64(value);
        (value, cursor) = integer(preimage, cursor, 16);
        fields.maxFee = uint128(value);
        (value, cursor) = integer(preimage, cursor, 16);
        fields.maxPriorityFee = uint128(value);
        (value, cursor) = integer(preimage, cursor, 8);
        fields.gasLimit = uint64(value);
        (value, cursor) = integer(preimage, cursor, 8);
        fields.expiry = uint64(value);
        (fields.u, cursor) = point(preimage, cursor);
        (fields.uBar, cursor) = point(preimage, cursor);
        (fields.w, cursor) = point(preimage, cursor);
        (fields.wBar, cursor) = point(preimage, cursor);
        (value, cursor) = fixedBytes(preimage, cursor, 32);
        fields.z = bytes32(value);
        (value, cursor) = fixedBytes(preimage, cursor, 32);
        fields.wrappedSeed = bytes32(value);
        (value, cursor) = fixedBytes(preimage, cursor, 32);
        fields.bodyHash = bytes32(value);
        if (cursor != preimage.length) revert BadEnvelope();
    }

    /// Parses the preimage and decompresses u. That u is in the prime-order subgroup is not checked.
    function ephemeral(bytes calldata preimage, uint256[2] calldata uY, uint64 chainId)
        internal
        view
        returns (Fields memory fields, uint256[4] memory u)
    {
        fields = parse(preimage);
        if (fields.chainId != chainId) revert Commitments.ForeignChain();
        bool ok;
        (ok, u) = Bls.decompress(fields.u.head, fields.u.tail, uY);
        if (!ok) revert BadEphemeral();
    }

    /// Checks an envelope as far as an opening depends on it: its payer and its proof under the committee
    /// key `y`. The id does not cover the payer's signature; the proof does, through the label, so nobody
    /// can show another payer's signature, and with another key the proof fails too.
    function check(SealedEnvelope calldata envelope, uint256[4] memory y, uint64 chainId)
        internal
        view
        returns (Checked memory checked)
    {
        Fields memory fields;
        (fields, checked.u) = ephemeral(envelope.preimage, envelope.uY, chainId);
        checked.id = keccak256(envelope.preimage);
        address payer = Commitments.recover(
            keccak256(abi.encodePacked("BLINDFOLD-V1/envelope-signature/", checked.id)), envelope.payer
        );
        if (payer == address(0)) revert NotThePayer();
        checked.label = label(fields, payer);
        if (!proofHolds(fields, checked, y, envelope.wY)) revert NotThePayer();
    }

    function label(Fields memory fields, address payer) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                "BLINDFOLD-V1/envelope-label/",
                fields.chainId,
                fields.keyId,
                payer,
                fields.nonce,
                fields.maxFee,
                fields.maxPriorityFee,
                fields.gasLimit,
                fields.expiry
            )
        );
    }

    /// Whether h·(z·g − c·u − w) = O for the cofactor h. Usually w is z·g − c·u itself.
    function proofHolds(Fields memory fields, Checked memory checked, uint256[4] memory y, uint256[2] calldata wY)
        private
        view
        returns (bool)
    {
        uint256 challenge = uint128(bytes16(challengeHash(fields, checked.label, y)));
        uint256[4] memory expected =
            Bls.mulAdd(uint256(fields.z), checked.u, challenge == 0 ? 0 : Bls.Q - challenge);
        (uint128 head, uint256 tail) = Bls.compress(expected);
        if (head == fields.w.head && tail == fields.w.tail) return wY[0] | wY[1] == 0;
        // Whoever sealed it may have added a point of small order to w. Every member accepts that.
        uint256[4] memory w;
        if (fields.w.head == 0xc0 << 120 && fields.w.tail == 0) {
            if (wY[0] | wY[1] != 0) return false;
        } else {
            bool ok;
            (ok, w) = Bls.decompress(fields.w.head, fields.w.tail, wY);
            if (!ok) return false;
        }
        (w[2], w[3]) = Bls.negate(w[2], w[3]);
        return Bls.isTorsion(Bls.add(expected, w));
    }

    function challengeHash(Fields memory fields, bytes32 label_, uint256[4] memory y)
        private
        pure
        returns (bytes32)
    {
        return keccak256(
            bytes.concat(
                abi.encodePacked("blindfold.crypto.v1.proof", compressed(y), label_),
                abi.encodePacked(fields.u.head, fields.u.tail, fields.uBar.head, fields.uBar.tail),
                abi.encodePacked(fields.wrappedSeed, fields.bodyHash),
                abi.encodePacked(fields.w.head, fields.w.tail, fields.wBar.head, fields.wBar.tail)
            )
        );
    }

    /// keccak256 of the canonical bytes: rlp([0, seed, message]) or rlp([1, secret]).
    function openingHash(Opening calldata opening) internal pure returns (bytes32) {
        if (opening.kind == OPENED) {
            uint256 length = opening.message.length;
            if (opening.secret.length != 0 || length > MAX_MESSAGE_BYTES) revert BadOpening();
            bytes memory message = length == 1 && uint8(opening.message[0]) < 0x80
                ? bytes(opening.message)
                : bytes.concat(lengthPrefix(length, 0x80), opening.message);
            return keccak256(
                bytes.concat(
                    lengthPrefix(34 + message.length, 0xc0), hex"80a0", opening.seed, message
                )
            );
        }
        if (
            opening.kind != UNDECRYPTABLE || opening.secret.length != 48 || opening.message.length != 0
                || opening.seed != 0
        ) revert BadOpening();
        return keccak256(bytes.concat(hex"f201b0", opening.secret));
    }

    /// The scalar r that the sealer derives: keccak of seed, label, key and padded message, expanded to 512
    /// bits, modulo the group order.
    function sealingScalar(bytes32 seed, bytes32 label_, uint256[4] memory y, bytes calldata message)
        internal
        pure
        returns (uint256)
    {
        bytes32 hash = keccak256(
            abi.encodePacked("blindfold.crypto.v1.scalars", seed, label_, compressed(y), keccak256(pad(message)))
        );
        uint256 high = uint256(keccak256(abi.encodePacked("blindfold.crypto.v1.expand", hash, uint32(0), uint8(0))));
        uint256 low = uint256(keccak256(abi.encodePacked("blindfold.crypto.v1.expand", hash, uint32(0), uint8(1))));
        return addmod(mulmod(high, TWO_256, Bls.Q), low, Bls.Q);
    }

    /// u32 length ‖ message ‖ zeros up to the smallest 256·2^k bytes that fit.
    function pad(bytes calldata message) internal pure returns (bytes memory padded) {
        uint256 size = MIN_PADDED_BYTES;
        while (size < message.length + 4) size *= 2;
        padded = new bytes(size);
        assembly ("memory-safe") {
            mstore(add(padded, 32), shl(224, message.length))
            calldatacopy(add(padded, 36), message.offset, message.length)
        }
    }

    function compressed(uint256[4] memory y) private pure returns (bytes memory) {
        (uint128 head, uint256 tail) = Bls.compress(y);
        return abi.encodePacked(head, tail);
    }

    // ---- RLP, canonical only

    function lengthPrefix(uint256 length, uint8 base) private pure returns (bytes memory) {
        if (length < 56) return abi.encodePacked(uint8(base + length));
        if (length < 1 << 8) return abi.encodePacked(uint8(base + 56), uint8(length));
        if (length < 1 << 16) return abi.encodePacked(uint8(base + 57), uint16(length));
        return abi.encodePacked(uint8(base + 58), uint24(length));
    }

    /// An integer of at most `max` bytes.
    function integer(bytes calldata input, uint256 cursor, uint256 max)
        private
        pure
        returns (uint256 value, uint256 next)
    {
        if (cursor >= input.length) revert BadEnvelope();
        uint256 head = uint8(input[cursor]);
        if (head < 0x80) {
            // Zero is the empty string.
            if (head == 0) revert BadEnvelope();
            return (head, cursor + 1);
        }
        uint256 length = head - 0x80;
        if (length > max) revert BadEnvelope();
        if (length == 0) return (0, cursor + 1);
        (value, next) = bigEndian(input, cursor + 1, length);
        // No leading zero, and no second form of what fits into the head.
        if (value >> (8 * (length - 1)) == 0 || value < 0x80) revert BadEnvelope();
    }

    /// A string of exactly `length` bytes, 2 to 32.
    function fixedBytes(bytes calldata input, uint256 cursor, uint256 length)
        private
        pure
        returns (uint256 value, uint256 next)
    {
        if (cursor >= input.length || uint8(input[cursor]) != 0x80 + length) revert BadEnvelope();
        return bigEndian(input, cursor + 1, length);
    }

    function point(bytes calldata input, uint256 cursor) private pure returns (Compressed memory out, uint256 next) {
        if (cursor >= input.length || uint8(input[cursor]) != 0x80 + 48) revert BadEnvelope();
        uint256 head;
        (head, next) = bigEndian(input, cursor + 1, 16);
        out.head = uint128(head);
        (out.tail, next) = bigEndian(input, next, 32);
    }

    function bigEndian(bytes calldata input, uint256 cursor, uint256 length)
        private
        pure
        returns (uint256 value, uint256 next)
    {
        next = cursor + length;
        if (next > input.length) revert BadEnvelope();
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, length)), calldataload(add(input.offset, cursor)))
        }
    }
}
