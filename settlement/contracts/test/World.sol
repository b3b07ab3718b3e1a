// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "../src/Types.sol";
import "./Abi.sol";
import {Vm} from "./Vm.sol";
import {Bls} from "../src/lib/Bls.sol";
import {Commitments} from "../src/lib/Commitments.sol";
import {Envelopes} from "../src/lib/Envelopes.sol";
import {Merkle} from "../src/lib/Merkle.sol";

/// Assertions and the vectors that the Rust code made.
abstract contract Base {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    string internal vectors;

    function load() internal {
        vectors = vm.readFile("test/vectors.json");
    }

    function bytesOf(string memory key) internal view returns (bytes memory) {
        return vm.parseJsonBytes(vectors, key);
    }

    function check(bool ok, string memory what) internal pure {
        require(ok, what);
    }

    function same(uint256 a, uint256 b, string memory what) internal pure {
        require(a == b, string.concat(what, ": ", vm.toString(a), " is not ", vm.toString(b)));
    }

    function same(bytes32 a, bytes32 b, string memory what) internal pure {
        require(a == b, what);
    }

    function same(address a, address b, string memory what) internal pure {
        require(a == b, what);
    }
}

/// The project's Merkle tree written down naively: all levels are kept.
library Trees {
    function levelUp(bytes32[] memory level) private pure returns (bytes32[] memory up) {
        up = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < up.length; ++i) {
            up[i] = 2 * i + 1 < level.length
                ? keccak256(abi.encodePacked("BLINDFOLD-V1/merkle-node/", level[2 * i], level[2 * i + 1]))
                : level[2 * i];
        }
    }

    function top(bytes32[] memory leaves) internal pure returns (bytes32) {
        while (leaves.length > 1) leaves = levelUp(leaves);
        return leaves.length == 0 ? bytes32(0) : leaves[0];
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/merkle-root/", uint32(leaves.length), top(leaves)));
    }

    function prove(bytes32[] memory leaves, uint256 index) internal pure returns (MerkleProof memory proof) {
        proof.count = uint32(leaves.length);
        proof.index = uint32(index);
        bytes32[] memory siblings = new bytes32[](32);
        uint256 used = 0;
        while (leaves.length > 1) {
            if (index ^ 1 < leaves.length) siblings[used++] = leaves[index ^ 1];
            leaves = levelUp(leaves);
            index /= 2;
        }
        proof.siblings = new bytes32[](used);
        for (uint256 i = 0; i < used; ++i) {
            proof.siblings[i] = siblings[i];
        }
    }
}

/// One height as the tests make it: its commitment, its envelopes and its openings.
struct Height {
    OrderCommitment commitment;
    Signature signature;
    bytes32[] ids;
    bytes32[] openingHashes;
}

/// What a poster would post about some heights, before anything is falsified.
struct Draft {
    Height[] heights;
    AccumulatorLeaf[] leaves;
    OpeningLeaf[] openings;
    PostInput input;
}

/// All eight contracts with a committee of known secrets.
abstract contract World is Base {
    address internal constant REPORTER = address(0x4e70);
    bytes32 internal constant SALT = keccak256("salt");
    uint256 internal constant STAKE = 32 ether;

    address internal deployer;
    Addresses internal a;
    Params internal p;
    Vault internal vault;
    Operators internal operators;
    Committees internal committees;
    Queue internal queue;
    Inbox internal inbox;
    Oracle internal oracle;
    BridgeAbi internal bridge;
    SlasherAbi internal slasher;

    uint256[] internal voteSecrets;
    uint256[] internal signerSecrets;
    uint256[] internal shareSecrets;
    bytes internal genesisCommittee;
    string internal committeeKey;
    bytes32 internal separator;
    uint256 internal members;

    function params() internal view virtual returns (Params memory) {
        return Params({
            l2ChainId: uint64(vm.parseJsonUint(vectors, string.concat(committeeKey, ".chainId"))),
            genesisHash: vm.parseJsonBytes32(vectors, string.concat(committeeKey, ".genesisHash")),
            executedLag: 8,
            forcedDelayBlocks: 10,
            forcedDeadlineBlocks: 50,
            forcedFallbackBlocks: 200,
            challengeWindow: 1 days,
            evidenceWindow: 7 days,
            exitDelay: 9 days,
            outputWindow: 1 days,
            proveWindow: 2 days,
            revealDelayBlocks: 2,
            minStake: 1 ether,
            rewardCap: 3 ether,
            challengeBond: 0.1 ether,
            outputBond: 0.5 ether,
            forcedFee: 0.001 ether
        });
    }

    function deploy(string memory key) internal {
        load();
        committeeKey = key;
        voteSecrets = secrets(".voteSecrets");
        signerSecrets = secrets(".signerSecrets");
        shareSecrets = secrets(".shareSecrets");
        members = voteSecrets.length;
        deployer = vm.parseJsonAddress(vectors, ".deployer");
        a = Addresses({
            vault: vm.computeCreateAddress(deployer, 0),
            operators: vm.computeCreateAddress(deployer, 1),
            committees: vm.computeCreateAddress(deployer, 2),
            queue: vm.computeCreateAddress(deployer, 3),
            inbox: vm.computeCreateAddress(deployer, 4),
            oracle: vm.computeCreateAddress(deployer, 5),
            bridge: vm.computeCreateAddress(deployer, 6),
            slasher: vm.computeCreateAddress(deployer, 7)
        });
        p = params();
        genesisCommittee = bytesOf(string.concat(key, ".genesis"));
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        vault = Vault(create("StakeVault", abi.encode(a, p)));
        operators = Operators(create("OperatorRegistry", abi.encode(a, p)));
        committees = Committees(create("CommitteeRegistry", constructorArguments()));
        queue = Queue(create("ForcedQueue", abi.encode(a, p)));
        inbox = Inbox(create("BatchInbox", abi.encode(a, p)));
        oracle = Oracle(create("OutputOracle", abi.encode(a, p)));
        bridge = BridgeAbi(create("Bridge", abi.encode(a, p)));
        slasher = SlasherAbi(create("Slasher", abi.encode(a, p)));
        separator = Commitments.domainSeparator(p.l2ChainId, a.inbox);
        for (uint256 i = 0; i < members; ++i) {
            vm.deal(address(this), STAKE);
            vault.deposit{value: STAKE}(signer(i));
        }
    }

    function constructorArguments() internal view returns (bytes memory) {
        return abi.encode(a, p, abi.decode(genesisCommittee, (GenesisCommittee)));
    }

    function create(string memory name, bytes memory arguments) internal returns (address where) {
        bytes memory code = bytes.concat(creationCode(name), arguments);
        vm.startPrank(deployer);
        assembly ("memory-safe") {
            where := create(0, add(code, 32), mload(code))
        }
        vm.stopPrank();
        if (where == address(0)) {
            assembly ("memory-safe") {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }

    function creationCode(string memory name) internal view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile(string.concat("out/", name, ".json")), ".bytecode.object");
    }

    function secrets(string memory what) private view returns (uint256[] memory out) {
        bytes32[] memory raw = vm.parseJsonBytes32Array(vectors, string.concat(committeeKey, what));
        out = new uint256[](raw.length);
        for (uint256 i = 0; i < raw.length; ++i) {
            out[i] = uint256(raw[i]);
        }
    }

    function signer(uint256 member) internal view returns (address) {
        return vm.addr(signerSecrets[member]);
    }

    // ---- signatures

    function sign(uint256 secret, bytes32 digest) internal pure returns (Signature memory s) {
        (s.v, s.r, s.s) = vm.sign(secret, digest);
    }

    function digestOf(OrderCommitment memory c) internal view returns (bytes32) {
        return Commitments.digest(c, separator);
    }

    function digestOf(ShareBundle memory b) internal view returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                hex"1901", separator, keccak256(abi.encode(Commitments.BUNDLE_TYPE, b))
            )
        );
    }

    function quorum() internal view returns (uint256) {
        return members - (members - 1) / 3;
    }

    function bitmap(uint256 count) internal view returns (bytes memory out) {
        out = new bytes((members + 7) / 8);
        for (uint256 i = 0; i < count; ++i) {
            out[i / 8] |= bytes1(uint8(1 << (i % 8)));
        }
    }

    /// The sum of the first `count` members' signatures.
    function vote(bytes memory message, uint256 count) internal view returns (bytes memory) {
        uint256 secret = 0;
        for (uint256 i = 0; i < count; ++i) {
            secret = addmod(secret, voteSecrets[i], Bls.Q);
        }
        (bool ok, uint256[4] memory point) = Bls.mulChecked(Bls.hashToG1(message, Bls.MESSAGE_DST), secret);
        require(ok, "vote");
        return abi.encodePacked(point);
    }

    function varint(uint64 value) internal pure returns (bytes memory) {
        return value < 0x80
            ? abi.encodePacked(uint8(value))
            : bytes.concat(bytes1(uint8(value & 0x7f) | 0x80), varint(value >> 7));
    }

    function finalizeMessage(uint64 epoch, uint64 view_, uint64 parentView, bytes32 payload)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            uint8(61),
            "BLINDFOLD-V1/engine/",
            p.genesisHash,
            "_FINALIZE",
            varint(epoch),
            varint(view_),
            varint(parentView),
            payload
        );
    }

    function certify(OrderCommitment memory c) internal view returns (Certificate memory) {
        return certifyBy(c, quorum());
    }

    function certifyBy(OrderCommitment memory c, uint256 count) internal view returns (Certificate memory) {
        return Certificate({
            view_: c.view_,
            parentView: c.view_ - 1,
            signers: bitmap(count),
            signature: vote(finalizeMessage(c.epoch, c.view_, c.view_ - 1, digestOf(c)), count)
        });
    }

    // ---- heights and batches

    function commitment(uint64 height) internal view returns (OrderCommitment memory c) {
        c.chainId = p.l2ChainId;
        c.settlement = a.inbox;
        c.height = height;
        c.view_ = height + 2;
        c.timestampMs = 1_700_000_000_000 + height;
        c.baseFee = 1 gwei;
        c.parent = keccak256("genesis");
        c.forcedHash = queue.hashAt(0);
    }

    function leaderOf(uint64 view_) internal view returns (uint256 member) {
        return view_ % (2 * members) % members;
    }

    function scheduleProof(uint64 view_) internal view returns (MerkleProof memory) {
        bytes32[] memory leaves = new bytes32[](2 * members);
        for (uint256 slot = 0; slot < leaves.length; ++slot) {
            leaves[slot] = Merkle.scheduleLeaf(uint32(slot), signer(slot % members));
        }
        return Trees.prove(leaves, view_ % leaves.length);
    }

    /// `sizes[i]` envelopes at height `first + i`, each commitment the child of the one before.
    function draft(uint64 first, bytes32 firstParent, uint256[] memory sizes) internal view returns (Draft memory d) {
        d.heights = new Height[](sizes.length);
        bytes32 parent = firstParent;
        for (uint256 i = 0; i < sizes.length; ++i) {
            Height memory h = d.heights[i];
            h.ids = new bytes32[](sizes[i]);
            h.openingHashes = new bytes32[](sizes[i]);
            for (uint256 j = 0; j < sizes[i]; ++j) {
                h.ids[j] = keccak256(abi.encode("envelope", first + i, j));
                h.openingHashes[j] = keccak256(abi.encode("opening", first + i, j));
            }
            h.commitment = commitment(first + uint64(i));
            h.commitment.parent = parent;
            seal(h);
            parent = digestOf(h.commitment);
        }
        rebuild(d);
    }

    /// Computes what follows from the ids, and signs again.
    function seal(Height memory h) internal view {
        h.commitment.count = uint32(h.ids.length);
        h.commitment.orderRoot = Trees.root(orderLeaves(h));
        h.signature = sign(signerSecrets[leaderOf(h.commitment.view_)], digestOf(h.commitment));
    }

    function orderLeaves(Height memory h) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](h.ids.length);
        for (uint32 i = 0; i < leaves.length; ++i) {
            leaves[i] = Merkle.orderLeaf(i, h.ids[i]);
        }
    }

    /// Leaves, openings and roots as an honest poster makes them from the heights.
    function rebuild(Draft memory d) internal view {
        d.leaves = new AccumulatorLeaf[](d.heights.length);
        uint256 total = 0;
        for (uint256 i = 0; i < d.heights.length; ++i) {
            Height memory h = d.heights[i];
            d.leaves[i] = AccumulatorLeaf({
                height: h.commitment.height,
                digest: digestOf(h.commitment),
                orderRoot: h.commitment.orderRoot,
                offset: uint32(total),
                signatureHash: keccak256(abi.encodePacked(h.signature.r, h.signature.s, h.signature.v))
            });
            total += h.ids.length;
        }
        d.openings = new OpeningLeaf[](total);
        uint256 next = 0;
        for (uint256 i = 0; i < d.heights.length; ++i) {
            Height memory h = d.heights[i];
            for (uint32 j = 0; j < h.ids.length; ++j) {
                d.openings[next++] = OpeningLeaf({
                    height: h.commitment.height,
                    position: j,
                    id: h.ids[j],
                    openingHash: h.openingHashes[j]
                });
            }
        }
        d.input.openingCount = uint32(total);
        d.input.firstHeight = d.heights[0].commitment.height;
        d.input.stateRoot = keccak256(abi.encode("state", d.heights[d.heights.length - 1].commitment.height));
        roots(d);
    }

    /// The roots over the leaves as they are now, falsified or not.
    function roots(Draft memory d) internal view {
        d.input.accumulatorRoot = Trees.root(accumulator(d));
        d.input.openingRoot = Trees.root(openingLeaves(d));
        (,,, d.input.parent) = inbox.head();
    }

    function accumulator(Draft memory d) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](d.leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            AccumulatorLeaf memory l = d.leaves[i];
            leaves[i] = keccak256(
                abi.encodePacked(
                    "BLINDFOLD-V1/accumulator-leaf/", l.height, l.digest, l.orderRoot, l.offset, l.signatureHash
                )
            );
        }
    }

    function openingLeaves(Draft memory d) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](d.openings.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = Merkle.openingLeaf(d.openings[i]);
        }
    }

    function leafProof(Draft memory d, uint256 index) internal pure returns (MerkleProof memory) {
        return Trees.prove(accumulator(d), index);
    }

    function openingProof(Draft memory d, uint256 index) internal pure returns (MerkleProof memory) {
        return Trees.prove(openingLeaves(d), index);
    }

    /// Posts the draft by `member`, and gives the batch as the inbox filled it in.
    function post(Draft memory d, uint256 member) internal returns (Batch memory b) {
        OrderCommitment memory last = d.heights[d.heights.length - 1].commitment;
        Certificate memory cert = certify(last);
        MerkleProof memory proof = leafProof(d, d.leaves.length - 1);
        vm.prank(signer(member));
        inbox.postBatch(d.input, last, cert, d.leaves[d.leaves.length - 1], proof, "data");
        b = batchOf(d, member);
        same(inbox.batchHash(b.index), keccak256(abi.encode(b)), "the batch as posted");
    }

    function batchOf(Draft memory d, uint256 member) internal view returns (Batch memory b) {
        OrderCommitment memory last = d.heights[d.heights.length - 1].commitment;
        (b.index,,,) = inbox.head();
        b.parent = d.input.parent;
        b.epoch = last.epoch;
        b.firstHeight = d.input.firstHeight;
        b.lastHeight = last.height;
        b.lastCommitment = digestOf(last);
        b.accumulatorRoot = d.input.accumulatorRoot;
        b.openingRoot = d.input.openingRoot;
        b.openingCount = d.input.openingCount;
        b.stateRoot = d.input.stateRoot;
        b.forcedHead = last.forcedCursor;
        b.dataHash = keccak256(abi.encodePacked(uint8(0), keccak256("data")));
        b.poster = signer(member);
        b.l1Block = uint64(block.number);
        b.postedAt = uint64(block.timestamp);
    }

    function counts(uint256 x) internal pure returns (uint256[] memory out) {
        out = new uint256[](1);
        out[0] = x;
    }

    function counts(uint256 x, uint256 y, uint256 z) internal pure returns (uint256[] memory out) {
        out = new uint256[](3);
        (out[0], out[1], out[2]) = (x, y, z);
    }

    // ---- sealing

    struct Sealing {
        uint256 payerSecret;
        uint64 nonce;
        bytes32 seed;
        bytes message;
    }

    /// Seals as a wallet does, up to the bytes that L1 does not look at: the body, u̅ and w̅.
    function sealEnvelope(Sealing memory s) internal view returns (SealedEnvelope memory e, uint256 r) {
        uint256[4] memory y = committees.keyOf(0);
        bytes32 label;
        {
            Envelopes.Fields memory f = fieldsOf(s.nonce);
            label = Envelopes.label(f, vm.addr(s.payerSecret));
        }
        r = sealingScalar(s.seed, label, y, s.message);
        return (sealWith(s, label, y, r, uint256(keccak256(abi.encode(r))) % Bls.Q), r);
    }

    function sealWith(Sealing memory s, bytes32 label, uint256[4] memory y, uint256 r, uint256 t)
        internal
        view
        returns (SealedEnvelope memory e)
    {
        uint256[4] memory u = Bls.mulGenerator(r);
        uint256[4] memory w = Bls.mulGenerator(t);
        e.uY = [u[2], u[3]];
        (bytes memory points, bytes32 rest) = (pointBytes(u), keccak256("body"));
        bytes32 c = keccak256(
            bytes.concat(
                abi.encodePacked("blindfold.crypto.v1.proof", pointBytes(y), label),
                points,
                points,
                abi.encodePacked(keccak256("wrapped"), rest),
                pointBytes(w),
                points
            )
        );
        uint256 z = addmod(t, mulmod(uint128(bytes16(c)), r, Bls.Q), Bls.Q);
        e.preimage = preimageOf(s.nonce, points, pointBytes(w), z);
        e.payer = sign(
            s.payerSecret,
            keccak256(abi.encodePacked("BLINDFOLD-V1/envelope-signature/", keccak256(e.preimage)))
        );
    }

    function fieldsOf(uint64 nonce) internal view returns (Envelopes.Fields memory f) {
        f.chainId = p.l2ChainId;
        f.keyId = 0x0102030405060708;
        f.nonce = nonce;
        f.maxFee = 10 gwei;
        f.maxPriorityFee = 1 gwei;
        f.gasLimit = 1 << 17;
        f.expiry = 1_000;
    }

    function preimageOf(uint64 nonce, bytes memory u, bytes memory w, uint256 z)
        internal
        view
        returns (bytes memory)
    {
        Envelopes.Fields memory f = fieldsOf(nonce);
        bytes memory list = bytes.concat(
            rlp(f.chainId), hex"88", bytes8(f.keyId), rlp(nonce), rlp(f.maxFee), rlp(f.maxPriorityFee),
            rlp(f.gasLimit), rlp(f.expiry)
        );
        list = bytes.concat(list, hex"b0", u, hex"b0", u, hex"b0", w, hex"b0", u);
        list = bytes.concat(
            list, hex"a0", bytes32(z), hex"a0", keccak256("wrapped"), hex"a0", keccak256("body")
        );
        return bytes.concat(hex"5ef9", bytes2(uint16(list.length)), list);
    }

    function pointBytes(uint256[4] memory point) internal pure returns (bytes memory) {
        (uint128 head, uint256 tail) = Bls.compress(point);
        return abi.encodePacked(head, tail);
    }

    function rlp(uint256 value) internal pure returns (bytes memory) {
        if (value == 0) return hex"80";
        if (value < 0x80) return abi.encodePacked(uint8(value));
        uint256 length = 0;
        while (value >> (8 * length) != 0) ++length;
        bytes memory out = abi.encodePacked(value << (256 - 8 * length));
        assembly ("memory-safe") {
            mstore(out, length)
        }
        return bytes.concat(bytes1(uint8(0x80 + length)), out);
    }

    /// The library reads calldata, so it is called through ourselves.
    function sealingScalar(bytes32 seed, bytes32 label, uint256[4] memory y, bytes memory message)
        internal
        view
        returns (uint256)
    {
        return this.sealingScalarOf(seed, label, y, message);
    }

    function sealingScalarOf(bytes32 seed, bytes32 label, uint256[4] memory y, bytes calldata message)
        external
        pure
        returns (uint256)
    {
        return Envelopes.sealingScalar(seed, label, y, message);
    }

    function openingHashOf(Opening calldata opening) external pure returns (bytes32) {
        return Envelopes.openingHash(opening);
    }

    // ---- reporting

    /// Both steps of a report.
    function report(bytes memory evidence) internal returns (address culprit, uint256 reward) {
        commitTo(evidence);
        vm.prank(REPORTER);
        return slasher.report(evidence, SALT);
    }

    function commitTo(bytes memory evidence) internal {
        bytes32 commit = keccak256(abi.encode(REPORTER, keccak256(evidence), SALT));
        vm.prank(REPORTER);
        slasher.commitReport(commit);
        vm.roll(block.number + p.revealDelayBlocks);
    }

    /// What the slasher answers to evidence, without a report.
    function ask(bytes memory evidence) internal view returns (bool ok, bytes memory answer) {
        return a.slasher.staticcall(abi.encodeCall(SlasherAbi.verify, (evidence)));
    }
}
