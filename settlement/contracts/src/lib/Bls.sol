// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// BLS12-381 on the precompiles of EIP-2537.
///
/// A coordinate is two words: the upper 16 bytes (right-aligned) and the lower 32 bytes of its 48. A
/// point of G1 is x, y (four words); one of G2 is x.c0, x.c1, y.c0, y.c1 (eight words). Infinity is all
/// zero.
///
/// The precompiles burn all gas that was forwarded when an input is invalid, and fail in the same way when
/// too little was forwarded. So a failure alone proves nothing about the input: `mulChecked` says how a
/// caller may conclude that a point is no member of the group.
library Bls {
    uint256 internal constant P_HI = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 internal constant P_LO = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
    /// (p - 1) / 2: the largest y whose sign bit is zero.
    uint256 private constant HALF_HI = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_LO = 0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;
    /// Order of the groups.
    uint256 internal constant Q = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    uint256 internal constant G_X_HI = 0x17f1d3a73197d7942695638c4fa9ac0f;
    uint256 internal constant G_X_LO = 0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb;
    uint256 internal constant G_Y_HI = 0x08b3f481e3aaa0f1a09e30ed741d8ae4;
    uint256 internal constant G_Y_LO = 0xfcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1;

    /// The negated generator of G2, as the pairing precompile takes it.
    bytes private constant NEGATED_G2 =
        hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051"
        hex"c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"0000000000000000000000000000000013e02b6052719f607dacd3a088274f65"
        hex"596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        hex"000000000000000000000000000000000d1b3cc2c7027888be51d9ef691d77bc"
        hex"b679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa"
        hex"0000000000000000000000000000000013fa4d4a0ad8b1ce186ed5061789213d"
        hex"993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed";

    uint256 private constant MODEXP = 0x05;
    uint256 private constant G1_ADD = 0x0b;
    uint256 private constant G1_MSM = 0x0c;
    uint256 private constant G2_ADD = 0x0d;
    uint256 private constant G2_MSM = 0x0e;
    uint256 private constant PAIRING = 0x0f;
    uint256 private constant MAP_TO_G1 = 0x10;

    /// Forwarded to a multiplication (12,000 by EIP-2537).
    uint256 internal constant MUL_GAS = 15_000;
    /// Forwarded to a pairing of two (102,900 by EIP-2537).
    uint256 internal constant PAIRING_GAS = 120_000;
    /// What must be left beside the forwarded gas, so that a check ends where it began.
    uint256 private constant RESERVE_GAS = 10_000;

    bytes internal constant MESSAGE_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
    bytes internal constant POSSESSION_DST = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

    /// Too little gas was left to tell an invalid point from an unaffordable call.
    error NotEnoughGas();
    /// A precompile failed on an input that had been found valid.
    error PrecompileFailed();
    /// Not a point as EIP-2537 encodes it.
    error BadPoint();

    // ---- coordinates

    function isCanonical(uint256 hi, uint256 lo) internal pure returns (bool) {
        return hi < P_HI || (hi == P_HI && lo < P_LO);
    }

    /// Whether `y` is the larger of the two roots.
    function isLarger(uint256 hi, uint256 lo) internal pure returns (bool) {
        return hi > HALF_HI || (hi == HALF_HI && lo > HALF_LO);
    }

    /// p - value, and zero for zero.
    function negate(uint256 hi, uint256 lo) internal pure returns (uint256, uint256) {
        if (hi == 0 && lo == 0) return (0, 0);
        unchecked {
            uint256 borrow = P_LO < lo ? 1 : 0;
            return (P_HI - hi - borrow, P_LO - lo);
        }
    }

    /// value ^ exponent mod p.
    function power(uint256 hi, uint256 lo, uint8 exponent) internal view returns (uint256 outHi, uint256 outLo) {
        bytes memory input = abi.encodePacked(
            uint256(48), uint256(1), uint256(48), uint128(hi), lo, exponent, uint128(P_HI), P_LO
        );
        return modexp(input);
    }

    /// x³ + 4: what y² is on the curve.
    function curveEquation(uint256 xHi, uint256 xLo) internal view returns (uint256 hi, uint256 lo) {
        (hi, lo) = power(xHi, xLo, 3);
        unchecked {
            lo += 4;
            if (lo < 4) ++hi;
            if (!isCanonical(hi, lo)) {
                if (lo < P_LO) --hi;
                lo -= P_LO;
                hi -= P_HI;
            }
        }
    }

    function modexp(bytes memory input) private view returns (uint256 hi, uint256 lo) {
        bool ok;
        assembly ("memory-safe") {
            mstore(0, 0)
            ok := staticcall(gas(), MODEXP, add(input, 32), mload(input), 16, 48)
            ok := and(ok, eq(returndatasize(), 48))
            hi := mload(0)
            lo := mload(32)
        }
        if (!ok) revert PrecompileFailed();
    }

    // ---- points of G1

    function generator() internal pure returns (uint256[4] memory) {
        return [G_X_HI, G_X_LO, G_Y_HI, G_Y_LO];
    }

    function isInfinity(uint256[4] memory point) internal pure returns (bool) {
        return point[0] | point[1] | point[2] | point[3] == 0;
    }

    function equal(uint256[4] memory a, uint256[4] memory b) internal pure returns (bool) {
        return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
    }

    /// The 48 compressed bytes of a valid point: upper 16, lower 32.
    function compress(uint256[4] memory point) internal pure returns (uint128 hi, uint256 lo) {
        if (isInfinity(point)) return (0xc0 << 120, 0);
        uint256 sign = isLarger(point[2], point[3]) ? 1 << 125 : 0;
        return (uint128(point[0] | (1 << 127) | sign), point[1]);
    }

    /// The x coordinate and the sign in 48 compressed bytes; not ok unless they are a compressed point
    /// other than infinity with x below p.
    function splitCompressed(uint128 head, uint256 tail)
        internal
        pure
        returns (bool ok, bool sign, uint256 xHi, uint256 xLo)
    {
        // Flags: compressed, infinity, sign.
        ok = head >> 126 == 2;
        sign = (head >> 125) & 1 == 1;
        xHi = head & ((1 << 125) - 1);
        xLo = tail;
        ok = ok && isCanonical(xHi, xLo);
    }

    /// The point that 48 compressed bytes stand for, given its y coordinate. Not ok unless the bytes are
    /// canonical, not infinity, and `y` is the root on the curve that they mean.
    function decompress(uint128 head, uint256 tail, uint256[2] memory y)
        internal
        view
        returns (bool ok, uint256[4] memory point)
    {
        (bool canonical, bool sign, uint256 xHi, uint256 xLo) = splitCompressed(head, tail);
        if (!canonical || !isCanonical(y[0], y[1]) || isLarger(y[0], y[1]) != sign) return (false, point);
        (uint256 wantHi, uint256 wantLo) = curveEquation(xHi, xLo);
        (uint256 hi, uint256 lo) = power(y[0], y[1], 2);
        if (hi != wantHi || lo != wantLo) return (false, point);
        return (true, [xHi, xLo, y[0], y[1]]);
    }

    /// a + b. Fails (not ok) if one is not on the curve.
    function add(uint256[4] memory a, uint256[4] memory b) internal view returns (uint256[4] memory sum) {
        uint256[8] memory input = [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), G1_ADD, input, 256, sum, 128)
            ok := and(ok, eq(returndatasize(), 128))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// scalar · point. Not ok if the point is not in the prime-order subgroup, **or** if 15,000 gas is
    /// not what this costs any more. Only together with a success on a point known to be good (under
    /// the same limit) does a failure prove something.
    function mulChecked(uint256[4] memory point, uint256 scalar)
        internal
        view
        returns (bool ok, uint256[4] memory product)
    {
        uint256[5] memory input = [point[0], point[1], point[2], point[3], scalar];
        requireGas(MUL_GAS);
        assembly ("memory-safe") {
            ok := staticcall(MUL_GAS, G1_MSM, input, 160, product, 128)
            ok := and(ok, eq(returndatasize(), 128))
        }
    }

    /// Whether the point is in the prime-order subgroup (infinity is). Reverts where a failure would
    /// prove nothing: with too little gas, or if the precompile fails on the generator too.
    function isInSubgroup(uint256[4] memory point) internal view returns (bool) {
        (bool ok,) = mulChecked(point, 1);
        if (ok) return true;
        (bool control,) = mulChecked(generator(), 1);
        if (!control) revert PrecompileFailed();
        return false;
    }

    /// s·generator.
    function mulGenerator(uint256 scalar) internal view returns (uint256[4] memory product) {
        bool ok;
        (ok, product) = mulChecked(generator(), scalar);
        if (!ok) revert PrecompileFailed();
    }

    /// s·generator + t·point. Reverts if the point is not in the subgroup.
    function mulAdd(uint256 s, uint256[4] memory point, uint256 t) internal view returns (uint256[4] memory sum) {
        uint256[10] memory input =
            [G_X_HI, G_X_LO, G_Y_HI, G_Y_LO, s, point[0], point[1], point[2], point[3], t];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), G1_MSM, input, 320, sum, 128)
            ok := and(ok, eq(returndatasize(), 128))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// Whether the order of the point divides the cofactor, so that nothing of prime order is in it: the
    /// point times 1 - x = 0xd201000000010001 is infinity. By doubling and adding, since the
    /// multiplication refuses points outside the subgroup.
    function isTorsion(uint256[4] memory point) internal view returns (bool) {
        uint256[4] memory sum = point;
        for (uint256 bit = 63; bit > 0; --bit) {
            sum = add(sum, sum);
            if ((0xd201000000010001 >> (bit - 1)) & 1 == 1) sum = add(sum, point);
        }
        return isInfinity(sum);
    }

    // ---- points of G2

    /// Reads 256 bytes of calldata.
    function g2FromCalldata(bytes calldata encoded) internal pure returns (uint256[8] memory point) {
        if (encoded.length != 256) revert BadPoint();
        assembly ("memory-safe") {
            calldatacopy(point, encoded.offset, 256)
        }
    }

    /// Reads 128 bytes of calldata.
    function g1FromCalldata(bytes calldata encoded) internal pure returns (uint256[4] memory point) {
        if (encoded.length != 128) revert BadPoint();
        assembly ("memory-safe") {
            calldatacopy(point, encoded.offset, 128)
        }
    }

    function g2FromMemory(bytes memory encoded) internal pure returns (uint256[8] memory point) {
        if (encoded.length != 256) revert BadPoint();
        assembly ("memory-safe") {
            mcopy(point, add(encoded, 32), 256)
        }
    }

    function g1FromMemory(bytes memory encoded) internal pure returns (uint256[4] memory point) {
        if (encoded.length != 128) revert BadPoint();
        assembly ("memory-safe") {
            mcopy(point, add(encoded, 32), 128)
        }
    }

    function isInfinity(uint256[8] memory point) internal pure returns (bool) {
        return point[0] | point[1] | point[2] | point[3] | point[4] | point[5] | point[6] | point[7] == 0;
    }

    function negate(uint256[8] memory point) internal pure returns (uint256[8] memory out) {
        out = [point[0], point[1], point[2], point[3], 0, 0, 0, 0];
        (out[4], out[5]) = negate(point[4], point[5]);
        (out[6], out[7]) = negate(point[6], point[7]);
    }

    /// a + b; reverts if one is not on the curve.
    function add(uint256[8] memory a, uint256[8] memory b) internal view returns (uint256[8] memory sum) {
        uint256[16] memory input = [
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
        ];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), G2_ADD, input, 512, sum, 256)
            ok := and(ok, eq(returndatasize(), 256))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// Reverts unless all points (256 bytes each, concatenated) are in the prime-order subgroup: one
    /// multiplication of all by 1.
    function requireG2Subgroup(bytes memory points) internal view {
        uint256 count = points.length / 256;
        bytes memory input = new bytes(count * 288);
        bool ok;
        assembly ("memory-safe") {
            let from := add(points, 32)
            let to := add(input, 32)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                mcopy(to, from, 256)
                mstore(add(to, 256), 1)
                from := add(from, 256)
                to := add(to, 288)
            }
            // The sum goes where the input was.
            ok := staticcall(gas(), G2_MSM, add(input, 32), mload(input), add(input, 32), 256)
            ok := and(ok, eq(returndatasize(), 256))
        }
        if (!ok) revert BadPoint();
    }

    /// The 96 compressed bytes of a valid point other than infinity: x.c1, x.c0, the sign from y.
    function compress(uint256[8] memory point) internal pure returns (bytes memory) {
        bool larger = point[6] | point[7] == 0 ? isLarger(point[4], point[5]) : isLarger(point[6], point[7]);
        uint256 head = point[2] | (1 << 127) | (larger ? 1 << 125 : 0);
        return abi.encodePacked(uint128(head), point[3], uint128(point[0]), point[1]);
    }

    // ---- pairings

    /// Whether e(a, g₂) = e(c, d), and whether the precompile accepted the points at all. A `false` in
    /// `ok` proves nothing.
    function pairing(uint256[4] memory a, uint256[4] memory c, uint256[8] memory d)
        internal
        view
        returns (bool ok, bool holds)
    {
        bytes memory input = abi.encodePacked(a, NEGATED_G2, c, d);
        requireGas(PAIRING_GAS);
        assembly ("memory-safe") {
            mstore(0, 0)
            ok := staticcall(PAIRING_GAS, PAIRING, add(input, 32), mload(input), 0, 32)
            ok := and(ok, eq(returndatasize(), 32))
            holds := mload(0)
        }
        holds = ok && holds;
    }

    /// Whether `signature` is one of `message` by `key`: e(σ, g₂) = e(H(m), key). False as well where a
    /// point is invalid or infinity.
    function verifySignature(
        uint256[8] memory key,
        uint256[4] memory signature,
        bytes memory message,
        bytes memory dst
    ) internal view returns (bool holds) {
        if (isInfinity(signature) || isInfinity(key)) return false;
        (, holds) = pairing(signature, hashToG1(message, dst), key);
    }

    // ---- hash to the curve

    /// RFC 9380, BLS12381G1_XMD:SHA-256_SSWU_RO_.
    function hashToG1(bytes memory message, bytes memory dst) internal view returns (uint256[4] memory) {
        bytes memory suffix = abi.encodePacked(dst, uint8(dst.length));
        bytes32 b0 = sha256(abi.encodePacked(bytes32(0), bytes32(0), message, uint16(128), uint8(0), suffix));
        bytes32 b1 = sha256(abi.encodePacked(b0, uint8(1), suffix));
        bytes32 b2 = sha256(abi.encodePacked(b0 ^ b1, uint8(2), suffix));
        bytes32 b3 = sha256(abi.encodePacked(b0 ^ b2, uint8(3), suffix));
        bytes32 b4 = sha256(abi.encodePacked(b0 ^ b3, uint8(4), suffix));
        return add(mapToG1(b1, b2), mapToG1(b3, b4));
    }

    /// Reduces 64 bytes modulo p and maps them to the subgroup.
    function mapToG1(bytes32 high, bytes32 low) private view returns (uint256[4] memory point) {
        (uint256 hi, uint256 lo) = modexp(
            abi.encodePacked(uint256(64), uint256(1), uint256(48), high, low, uint8(1), uint128(P_HI), P_LO)
        );
        uint256[2] memory input = [hi, lo];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), MAP_TO_G1, input, 64, point, 128)
            ok := and(ok, eq(returndatasize(), 128))
        }
        if (!ok) revert PrecompileFailed();
    }

    /// Reverts unless `forwarded` can be passed on (EIP-150 keeps one 64th back) and a reserve stays.
    function requireGas(uint256 forwarded) private view {
        if (gasleft() < forwarded + forwarded / 63 + RESERVE_GAS) revert NotEnoughGas();
    }
}
