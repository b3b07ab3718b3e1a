// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";
import {Mpt} from "../src/lib/Mpt.sol";
import {Possession} from "../src/lib/Possession.sol";

struct MerkleExample {
    bytes32 root;
    bytes32[] leaves;
    MerkleProof[] proofs;
}

struct TrieExample {
    bytes32 root;
    bytes32 key;
    bytes[] nodes;
    bytes value;
}

struct EnvelopeExample {
    SealedEnvelope envelope;
    bytes32 id;
    bytes32 label;
    address payer;
    bytes u;
    Opening opening;
    bytes32 openingHash;
    uint256[2] secretRoot;
}

struct ShareExample {
    bytes32[3] good;
    bytes32[3] torsion;
    bytes32 goodLeaf;
}

/// The libraries take calldata, so the tests call them from outside.
contract Library {
    function merkleVerify(bytes32 root, bytes32 leaf, MerkleProof calldata proof) external pure returns (bool) {
        return Merkle.verify(root, leaf, proof);
    }

    function shareLeaf(uint32 position, bytes32[3] calldata share) external pure returns (bytes32) {
        return Merkle.shareLeaf(position, share);
    }

    function accumulatorLeaf(AccumulatorLeaf calldata leaf) external pure returns (bytes32) {
        return Merkle.accumulatorLeaf(leaf);
    }

    function bundleDigest(ShareBundle calldata b, bytes32 separator) external pure returns (bytes32) {
        return Commitments.digest(b, separator);
    }

    function recover(bytes32 digest, Signature calldata s) external pure returns (address) {
        return Commitments.recover(digest, s);
    }

    function signatureHash(Signature calldata s) external pure returns (bytes32) {
        return Commitments.signatureHash(s);
    }

    function parse(bytes calldata preimage) external pure returns (Envelopes.Fields memory) {
        return Envelopes.parse(preimage);
    }

    function checkEnvelope(SealedEnvelope calldata envelope, uint256[4] memory y, uint64 chainId)
        external
        view
        returns (Envelopes.Checked memory)
    {
        return Envelopes.check(envelope, y, chainId);
    }

    function openingHash(Opening calldata opening) external pure returns (bytes32) {
        return Envelopes.openingHash(opening);
    }

    function sealingScalar(bytes32 seed, bytes32 label, uint256[4] memory y, bytes calldata message)
        external
        pure
        returns (uint256)
    {
        return Envelopes.sealingScalar(seed, label, y, message);
    }

    function trie(bytes32 root, bytes32 key, bytes[] calldata nodes) external pure returns (bytes memory) {
        return Mpt.get(root, key, nodes);
    }

    function decodeList(bytes memory encoded) external pure returns (bytes[] memory) {
        return Mpt.decodeList(encoded);
    }

    function decodeString(bytes memory encoded) external pure returns (bytes memory) {
        return Mpt.decodeString(encoded);
    }

    function multiply(uint256[4] memory point, uint256 scalar) external view returns (bool ok) {
        (ok,) = Bls.mulChecked(point, scalar);
    }

    function isInSubgroup(uint256[4] memory point) external view returns (bool) {
        return Bls.isInSubgroup(point);
    }
}

/// The libraries against what the Rust code made, and against themselves written naively.
contract LibrariesTest is Base {
    Library internal lib;

    function setUp() public {
        load();
        lib = new Library();
    }

    // ---- Merkle trees

    function testMerkleVectors() public view {
        bytes[] memory all = vm.parseJsonBytesArray(vectors, ".merkle");
        for (uint256 i = 0; i < all.length; ++i) {
            MerkleExample memory e = abi.decode(all[i], (MerkleExample));
            same(Trees.root(e.leaves), e.root, "root");
            for (uint256 j = 0; j < e.leaves.length; ++j) {
                check(lib.merkleVerify(e.root, e.leaves[j], e.proofs[j]), "proof");
                same(
                    keccak256(abi.encode(Trees.prove(e.leaves, j))), keccak256(abi.encode(e.proofs[j])), "same proof"
                );
            }
        }
    }

    function testMerkleRefusals() public view {
        for (uint32 count = 1; count <= 9; ++count) {
            bytes32[] memory leaves = new bytes32[](count);
            for (uint256 i = 0; i < count; ++i) {
                leaves[i] = keccak256(abi.encode(i));
            }
            bytes32 root = Trees.root(leaves);
            for (uint32 i = 0; i < count; ++i) {
                MerkleProof memory proof = Trees.prove(leaves, i);
                check(!lib.merkleVerify(root, bytes32(uint256(leaves[i]) ^ 1), proof), "other leaf");
                for (uint32 other = 0; other < 20; ++other) {
                    if (other != i) {
                        proof.index = other;
                        check(!lib.merkleVerify(root, leaves[i], proof), "other index");
                        proof.index = i;
                    }
                    if (other != count) {
                        proof.count = other;
                        check(!lib.merkleVerify(root, leaves[i], proof), "other count");
                        proof.count = count;
                    }
                }
                bytes32[] memory siblings = new bytes32[](proof.siblings.length + 1);
                for (uint256 k = 0; k < proof.siblings.length; ++k) {
                    siblings[k] = proof.siblings[k];
                }
                proof.siblings = siblings;
                check(!lib.merkleVerify(root, leaves[i], proof), "surplus sibling");
                if (siblings.length > 1) {
                    assembly ("memory-safe") {
                        mstore(siblings, sub(mload(siblings), 2))
                    }
                    check(!lib.merkleVerify(root, leaves[i], proof), "missing sibling");
                }
            }
        }
        // An empty tree has no leaf, not even zero.
        MerkleProof memory empty;
        check(!lib.merkleVerify(Trees.root(new bytes32[](0)), bytes32(0), empty), "empty");
    }

    function testFuzzMerkle(uint16 size, uint16 where, bytes32 seed) public view {
        uint256 count = 1 + size % 300;
        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
        uint256 index = where % count;
        MerkleProof memory proof = Trees.prove(leaves, index);
        bytes32 root = Trees.root(leaves);
        check(lib.merkleVerify(root, leaves[index], proof), "proof");
        check(!lib.merkleVerify(root, seed, proof), "other leaf");
        if (proof.siblings.length != 0) {
            proof.siblings[where % proof.siblings.length] ^= bytes32(uint256(1) << (size % 256));
            check(!lib.merkleVerify(root, leaves[index], proof), "other sibling");
        }
    }

    function testLeaves() public view {
        bytes32 id = bytes32(0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa);
        same(Merkle.orderLeaf(5, id), vm.parseJsonBytes32(vectors, ".leaves.order"), "order leaf");
        bytes32 hash = vm.parseJsonBytes32(vectors, ".leaves.openingHash");
        bytes32 seed = bytes32(0x0101010101010101010101010101010101010101010101010101010101010101);
        same(lib.openingHash(Opening(0, seed, hex"020202", "")), hash, "opening hash");
        same(
            Merkle.openingLeaf(OpeningLeaf(1 << 40, 6, id, hash)),
            vm.parseJsonBytes32(vectors, ".leaves.opening"),
            "opening leaf"
        );
        bytes32[3] memory share = [
            bytes32(0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f),
            bytes32(0x202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f),
            bytes32(0x404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f)
        ];
        same(lib.shareLeaf(7, share), vm.parseJsonBytes32(vectors, ".leaves.share"), "share leaf");
        bytes32 other = bytes32(0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb);
        same(
            keccak256(abi.encodePacked("BLINDFOLD-V1/executed-root/", id, other)),
            vm.parseJsonBytes32(vectors, ".leaves.executedRoot"),
            "executed root"
        );
    }

    // ---- signatures

    function testDigests() public view {
        string[3] memory all = [".committee4", ".committee16", ".committee64"];
        for (uint256 i = 0; i < 3; ++i) {
            OrderCommitment memory c =
                abi.decode(bytesOf(string.concat(all[i], ".commitment")), (OrderCommitment));
            bytes32 separator = Commitments.domainSeparator(c.chainId, c.settlement);
            bytes32 digest = vm.parseJsonBytes32(vectors, string.concat(all[i], ".digest"));
            same(Commitments.digest(c, separator), digest, "digest");
            Signature memory s = abi.decode(bytesOf(string.concat(all[i], ".signature")), (Signature));
            uint256 secret =
                uint256(vm.parseJsonBytes32Array(vectors, string.concat(all[i], ".signerSecrets"))[0]);
            same(lib.recover(digest, s), vm.addr(secret), "signer");
            same(
                lib.signatureHash(s),
                vm.parseJsonBytes32(vectors, string.concat(all[i], ".signatureHash")),
                "signature hash"
            );
        }
        ShareBundle memory b = abi.decode(bytesOf(".bundle.bundle"), (ShareBundle));
        same(
            lib.bundleDigest(b, Commitments.domainSeparator(b.chainId, b.settlement)),
            vm.parseJsonBytes32(vectors, ".bundle.digest"),
            "bundle digest"
        );
    }

    // ---- points

    function testVoteKeys() public view {
        string[3] memory all = [".committee4", ".committee16", ".committee64"];
        for (uint256 i = 0; i < 3; ++i) {
            GenesisCommittee memory g =
                abi.decode(bytesOf(string.concat(all[i], ".genesis")), (GenesisCommittee));
            bytes[] memory compressed =
                vm.parseJsonBytesArray(vectors, string.concat(all[i], ".compressedVoteKeys"));
            for (uint256 j = 0; j < g.members.length; ++j) {
                uint256[8] memory key = Bls.g2FromMemory(g.members[j].voteKey);
                same(keccak256(Bls.compress(key)), keccak256(compressed[j]), "compressed key");
                uint256[4] memory proof = Bls.g1FromMemory(g.members[j].voteKeyPossession);
                check(Possession.verify(key, proof), "possession");
                uint256[4] memory other =
                    Bls.g1FromMemory(g.members[(j + 1) % g.members.length].voteKeyPossession);
                check(!Possession.verify(key, other), "another's possession");
            }
            (uint128 head, uint256 tail) = Bls.compress(Bls.g1FromMemory(g.y));
            same(
                keccak256(abi.encodePacked(head, tail)),
                keccak256(bytesOf(string.concat(all[i], ".compressedY"))),
                "compressed Y"
            );
        }
    }

    function testFuzzPoints(uint256 scalar) public view {
        scalar %= Bls.Q;
        vm.assume(scalar != 0);
        uint256[4] memory point = Bls.mulGenerator(scalar);
        (uint128 head, uint256 tail) = Bls.compress(point);
        (bool ok, uint256[4] memory back) = Bls.decompress(head, tail, [point[2], point[3]]);
        check(ok && Bls.equal(back, point), "there and back");
        // The other root is another point's.
        (uint256 hi, uint256 lo) = Bls.negate(point[2], point[3]);
        (ok,) = Bls.decompress(head, tail, [hi, lo]);
        check(!ok, "wrong sign");
        (ok, back) = Bls.decompress(head ^ (1 << 125), tail, [hi, lo]);
        check(ok, "the negated point");
        check(Bls.isInfinity(Bls.add(point, back)), "sum of a point and its negative");
        (ok,) = Bls.decompress(head, tail, [point[2], point[3] ^ 1]);
        check(!ok, "no root");
        for (uint256 flags = 0; flags < 8; ++flags) {
            uint128 other = uint128((head & ((1 << 125) - 1)) | (flags << 125));
            (ok,,,) = Bls.splitCompressed(other, tail);
            check(ok == (flags >> 1 == 2), "flags");
        }
        check(!Bls.isTorsion(point), "of prime order");
    }

    function testSplitRefusesOverflow() public pure {
        (bool ok,,,) = Bls.splitCompressed(uint128(Bls.P_HI | (1 << 127)), Bls.P_LO);
        check(!ok, "x = p");
        (ok,,,) = Bls.splitCompressed(uint128(Bls.P_HI | (1 << 127)), Bls.P_LO - 1);
        check(ok, "x = p - 1");
    }

    /// x³ + 4 wraps around p where x³ is p - 1, that is for x = -1.
    function testCurveEquationWraps() public view {
        (uint256 hi, uint256 lo) = Bls.curveEquation(Bls.P_HI, Bls.P_LO - 1);
        check(hi == 0 && lo == 3, "(-1)^3 + 4");
        (hi, lo) = Bls.curveEquation(0, 0);
        check(hi == 0 && lo == 4, "0^3 + 4");
        (hi, lo) = Bls.negate(0, 1);
        check(hi == Bls.P_HI && lo == Bls.P_LO - 1, "-1");
        // The lower word is larger than that of p, so one is borrowed.
        (hi, lo) = Bls.negate(1, type(uint256).max);
        check(hi == Bls.P_HI - 2 && lo == Bls.P_LO + 1, "borrow");
    }

    function testTorsion() public view {
        // (0, 2) has order 3.
        uint256[4] memory three = [uint256(0), 0, 0, 2];
        check(Bls.isTorsion(three), "order 3");
        check(Bls.isTorsion([uint256(0), 0, 0, 0]), "infinity");
        check(!Bls.isTorsion(Bls.add(Bls.generator(), three)), "sum");
        check(!lib.isInSubgroup(three), "order 3 is outside");
        check(lib.isInSubgroup(Bls.generator()), "generator");
        check(!lib.isInSubgroup([uint256(0), 1, 0, 1]), "not on the curve");
    }

    /// The precompiles fail alike for a bad point and for too little gas: what little gas causes must never
    /// read as a verdict.
    function testLittleGas() public view {
        uint256[4] memory three = [uint256(0), 0, 0, 2];
        for (uint256 limit = 2_000; limit < 80_000; limit += 337) {
            (bool ok, bytes memory answer) =
                address(lib).staticcall{gas: limit}(abi.encodeCall(lib.isInSubgroup, (Bls.generator())));
            if (ok) check(abi.decode(answer, (bool)), "good point");
            (ok, answer) = address(lib).staticcall{gas: limit}(abi.encodeCall(lib.isInSubgroup, (three)));
            if (ok) check(!abi.decode(answer, (bool)), "bad point");
        }
    }

    // ---- envelopes

    function committeeKey() internal view returns (uint256[4] memory) {
        return Bls.g1FromMemory(abi.decode(bytesOf(".committee4.genesis"), (GenesisCommittee)).y);
    }

    function chain() internal view returns (uint64) {
        return uint64(vm.parseJsonUint(vectors, ".committee4.chainId"));
    }

    function testEnvelopes() public view {
        bytes[] memory all = vm.parseJsonBytesArray(vectors, ".opened");
        for (uint256 i = 0; i < all.length; ++i) {
            EnvelopeExample memory e = abi.decode(all[i], (EnvelopeExample));
            requireEnvelope(e);
            uint256 r = lib.sealingScalar(e.opening.seed, e.label, committeeKey(), e.opening.message);
            check(Bls.equal(Bls.mulGenerator(r), Bls.g1FromMemory(e.u)), "sealing again");
            if (e.opening.message.length != 0) {
                e.opening.message[0] ^= 0x01;
                r = lib.sealingScalar(e.opening.seed, e.label, committeeKey(), e.opening.message);
                check(!Bls.equal(Bls.mulGenerator(r), Bls.g1FromMemory(e.u)), "another message");
            }
        }
    }

    function testUndecryptable() public view {
        EnvelopeExample memory e = abi.decode(bytesOf(".undecryptable"), (EnvelopeExample));
        requireEnvelope(e);
        (uint128 head, uint256 tail) = (uint128(bytes16(e.opening.secret)), tailOf(e.opening.secret));
        (bool ok, uint256[4] memory secret) = Bls.decompress(head, tail, e.secretRoot);
        check(ok, "secret");
        GenesisCommittee memory g = abi.decode(bytesOf(".committee4.genesis"), (GenesisCommittee));
        (bool accepted, bool holds) = Bls.pairing(secret, Bls.g1FromMemory(e.u), Bls.g2FromMemory(g.y2));
        check(accepted && holds, "e(D, g2) = e(u, Y2)");

        ShareExample memory s = abi.decode(bytesOf(".share"), (ShareExample));
        same(lib.shareLeaf(0, s.good), s.goodLeaf, "share leaf");
        (accepted, holds) =
            Bls.pairing(pointOf(s.good), Bls.g1FromMemory(e.u), Bls.g2FromMemory(g.members[1].shareKey));
        check(accepted && holds, "share");
        (accepted, holds) =
            Bls.pairing(pointOf(s.good), Bls.g1FromMemory(e.u), Bls.g2FromMemory(g.members[2].shareKey));
        check(accepted && !holds, "another's share");
        check(!lib.isInSubgroup(pointOf(s.torsion)), "a share with torsion");
    }

    function requireEnvelope(EnvelopeExample memory e) internal view {
        same(keccak256(e.envelope.preimage), e.id, "id");
        Envelopes.Checked memory checked = lib.checkEnvelope(e.envelope, committeeKey(), chain());
        same(checked.id, e.id, "checked id");
        same(checked.label, e.label, "label");
        check(Bls.equal(checked.u, Bls.g1FromMemory(e.u)), "u");
        same(lib.openingHash(e.opening), e.openingHash, "opening hash");
        same(Envelopes.label(lib.parse(e.envelope.preimage), e.payer), e.label, "label of the payer");
    }

    function tailOf(bytes memory secret) internal pure returns (uint256 tail) {
        assembly ("memory-safe") {
            tail := mload(add(secret, 48))
        }
    }

    function pointOf(bytes32[3] memory s) internal pure returns (uint256[4] memory) {
        return [
            uint256(s[0]) >> 128,
            (uint256(s[0]) << 128) | (uint256(s[1]) >> 128),
            uint256(uint128(uint256(s[1]))),
            uint256(s[2])
        ];
    }

    function refusesEnvelope(EnvelopeExample memory e, bytes4 reason) internal view {
        (bool ok, bytes memory answer) =
            address(lib).staticcall(abi.encodeCall(lib.checkEnvelope, (e.envelope, committeeKey(), chain())));
        check(!ok && bytes4(answer) == reason, "refused");
    }

    function testEnvelopeRefusals() public view {
        bytes memory example = vm.parseJsonBytesArray(vectors, ".opened")[5];
        EnvelopeExample memory e = abi.decode(example, (EnvelopeExample));
        // The other parity: another payer, for whom the proof does not hold.
        e.envelope.payer.v = 55 - e.envelope.payer.v;
        refusesEnvelope(e, Envelopes.NotThePayer.selector);
        e.envelope.payer.v = 0;
        refusesEnvelope(e, Envelopes.NotThePayer.selector);
        e = abi.decode(example, (EnvelopeExample));
        e.envelope.uY[1] ^= 1;
        refusesEnvelope(e, Envelopes.BadEphemeral.selector);
        e = abi.decode(example, (EnvelopeExample));
        e.envelope.wY[1] = 1;
        refusesEnvelope(e, Envelopes.NotThePayer.selector);
        e = abi.decode(example, (EnvelopeExample));
        (bool ok, bytes memory answer) = address(lib).staticcall(
            abi.encodeCall(lib.checkEnvelope, (e.envelope, committeeKey(), chain() + 1))
        );
        check(!ok && bytes4(answer) == Commitments.ForeignChain.selector, "another chain");
        // Another committee key.
        (ok, answer) = address(lib).staticcall(
            abi.encodeCall(lib.checkEnvelope, (e.envelope, Bls.mulGenerator(5), chain()))
        );
        check(!ok && bytes4(answer) == Envelopes.NotThePayer.selector, "another key");
    }

    /// Only canonical preimages are read: no prefix, no suffix, no other first bytes.
    function testPreimageStrictness() public view {
        EnvelopeExample memory e =
            abi.decode(vm.parseJsonBytesArray(vectors, ".opened")[5], (EnvelopeExample));
        bytes memory good = e.envelope.preimage;
        lib.parse(good);
        refusesPreimage(bytes.concat(good, hex"00"));
        for (uint256 length = 0; length < good.length; ++length) {
            bytes memory shorter = new bytes(length);
            for (uint256 i = 0; i < length; ++i) {
                shorter[i] = good[i];
            }
            refusesPreimage(shorter);
            if (length >= 4) {
                (shorter[2], shorter[3]) = (bytes1(uint8((length - 4) >> 8)), bytes1(uint8(length - 4)));
                refusesPreimage(shorter);
            }
        }
        for (uint256 i = 0; i < 4; ++i) {
            good[i] ^= 0x01;
            refusesPreimage(good);
            good[i] ^= 0x01;
        }
    }

    function refusesPreimage(bytes memory preimage) internal view {
        (bool ok, bytes memory answer) = address(lib).staticcall(abi.encodeCall(lib.parse, (preimage)));
        check(!ok && bytes4(answer) == Envelopes.BadEnvelope.selector, "a preimage was read");
    }

    function rlp(uint256 value) internal pure returns (bytes memory) {
        if (value == 0) return hex"80";
        if (value < 0x80) return abi.encodePacked(uint8(value));
        uint256 length = 0;
        while (length < 32 && value >> (8 * length) != 0) ++length;
        bytes memory out = abi.encodePacked(value << (256 - 8 * length));
        assembly ("memory-safe") {
            mstore(out, length)
        }
        return bytes.concat(bytes1(uint8(0x80 + length)), out);
    }

    /// Every field comes back, whatever its length.
    function testFuzzParse(uint64[4] memory small, uint128[2] memory fees, bytes8 keyId, bytes32 seed) public view {
        // Short integers too.
        small[0] >>= uint8(seed[0]) % 64;
        small[1] >>= uint8(seed[1]) % 64;
        fees[0] >>= uint8(seed[2]) % 128;
        bytes memory list = bytes.concat(
            rlp(small[0]), hex"88", keyId, rlp(small[1]), rlp(fees[0]), rlp(fees[1]), rlp(small[2]), rlp(small[3])
        );
        bytes memory point = bytes.concat(hex"b0", seed, bytes16(seed));
        list = bytes.concat(list, point, point, point, point);
        list = bytes.concat(list, hex"a0", seed, hex"a0", seed, hex"a0", seed);
        Envelopes.Fields memory f =
            lib.parse(bytes.concat(hex"5ef9", bytes2(uint16(list.length)), list));
        check(f.chainId == small[0] && f.nonce == small[1] && f.gasLimit == small[2], "integers");
        check(f.expiry == small[3] && f.maxFee == fees[0] && f.maxPriorityFee == fees[1], "fees");
        check(bytes8(f.keyId) == keyId && f.z == seed && f.wrappedSeed == seed && f.bodyHash == seed, "strings");
        check(f.wBar.head == uint128(bytes16(seed)), "point");
        check(f.u.tail == uint256(bytes32(bytes.concat(bytes16(uint128(uint256(seed))), bytes16(seed)))), "tail");
    }

    /// Random bytes never make the parser do anything but read or refuse.
    function testFuzzParseGarbage(bytes memory garbage) public view {
        refusesPreimage(garbage);
    }

    function testOpeningForms() public view {
        Opening memory o = Opening(0, keccak256("seed"), "hi", hex"00");
        refusesOpening(o);
        o = Opening(1, bytes32(uint256(1)), "", new bytes(48));
        refusesOpening(o);
        o = Opening(1, 0, "x", new bytes(48));
        refusesOpening(o);
        o = Opening(1, 0, "", new bytes(47));
        refusesOpening(o);
        o = Opening(2, 0, "", new bytes(48));
        refusesOpening(o);
        o = Opening(0, 0, new bytes(65_533), "");
        refusesOpening(o);
        o.message = new bytes(65_532);
        lib.openingHash(o);
    }

    function refusesOpening(Opening memory o) internal view {
        (bool ok, bytes memory answer) = address(lib).staticcall(abi.encodeCall(lib.openingHash, (o)));
        check(!ok && bytes4(answer) == Envelopes.BadOpening.selector, "an opening was hashed");
    }

    // ---- tries

    function testTries() public view {
        bytes[] memory all = vm.parseJsonBytesArray(vectors, ".tries");
        for (uint256 i = 0; i < all.length; ++i) {
            TrieExample memory e = abi.decode(all[i], (TrieExample));
            same(keccak256(lib.trie(e.root, e.key, e.nodes)), keccak256(e.value), "value");
            refusesTrie(bytes32(uint256(e.root) ^ 1), e.key, e.nodes);
            // No bit of the key is free.
            for (uint256 bit = 0; bit < 256; ++bit) {
                (bool ok, bytes memory answer) = address(lib).staticcall(
                    abi.encodeCall(lib.trie, (e.root, bytes32(uint256(e.key) ^ (1 << bit)), e.nodes))
                );
                // Another key whose leaf lies inside a node of this proof has its own value.
                if (ok) check(keccak256(abi.decode(answer, (bytes))) != keccak256(e.value), "another key");
            }
            // No byte of the proof is free.
            for (uint256 n = 0; n < e.nodes.length; ++n) {
                for (uint256 b = 0; b < e.nodes[n].length; ++b) {
                    e.nodes[n][b] ^= 0x01;
                    refusesTrie(e.root, e.key, e.nodes);
                    e.nodes[n][b] ^= 0x01;
                }
            }
            // Nor may nodes be left out or added.
            bytes[] memory longer = new bytes[](e.nodes.length + 1);
            bytes[] memory shorter = new bytes[](e.nodes.length - 1);
            for (uint256 n = 0; n < e.nodes.length; ++n) {
                longer[n] = e.nodes[n];
                if (n < shorter.length) shorter[n] = e.nodes[n];
            }
            refusesTrie(e.root, e.key, longer);
            refusesTrie(e.root, e.key, shorter);
        }
    }

    function refusesTrie(bytes32 root, bytes32 key, bytes[] memory nodes) internal view {
        (bool ok,) = address(lib).staticcall(abi.encodeCall(lib.trie, (root, key, nodes)));
        check(!ok, "a proof was accepted");
    }

    /// Garbage whose hash is the root: the parser must refuse it or find a value, never go wrong.
    function testFuzzTrieGarbage(bytes memory node, bytes32 key) public view {
        bytes[] memory nodes = new bytes[](1);
        nodes[0] = node;
        (bool ok, bytes memory answer) =
            address(lib).staticcall(abi.encodeCall(lib.trie, (keccak256(node), key, nodes)));
        if (!ok) check(bytes4(answer) == Mpt.BadProof.selector, "refused by its own error");
    }

    function testFuzzList(bytes[] memory items) public view {
        bytes memory payload;
        for (uint256 i = 0; i < items.length; ++i) {
            payload = bytes.concat(payload, rlpString(items[i]));
        }
        bytes[] memory out = lib.decodeList(bytes.concat(prefix(payload.length, 0xc0), payload));
        same(out.length, items.length, "items");
        for (uint256 i = 0; i < items.length; ++i) {
            same(keccak256(lib.decodeString(out[i])), keccak256(items[i]), "item");
        }
    }

    function rlpString(bytes memory value) internal pure returns (bytes memory) {
        if (value.length == 1 && uint8(value[0]) < 0x80) return value;
        return bytes.concat(prefix(value.length, 0x80), value);
    }

    function prefix(uint256 length, uint8 base) internal pure returns (bytes memory) {
        if (length < 56) return abi.encodePacked(uint8(base + length));
        if (length < 256) return abi.encodePacked(uint8(base + 56), uint8(length));
        return abi.encodePacked(uint8(base + 57), uint16(length));
    }
}
