// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Certificate, GenesisCommittee, Member, MerkleProof, NextCommittee, Params} from "./Types.sol";
import {ICommitteeRegistry, IOperatorRegistry} from "./Interfaces.sol";
import {Bls} from "./lib/Bls.sol";
import {Merkle} from "./lib/Merkle.sol";
import {Possession} from "./lib/Possession.sol";

/// The committee of every epoch, and its certificates. The first comes with the deployment, every later one
/// under a certificate of the one before: nobody else can change it.
///
/// Members and keys lie in the code of two data contracts per epoch (a sixth of the price of storage):
///
///   votes   00 ‖ n × signer, 20 ‖ sum of all vote keys, 256 ‖ n × vote key, 256
///   shares  00 ‖ Y, 128 ‖ Y₂, 256 ‖ n × share key, 256
contract CommitteeRegistry is ICommitteeRegistry {
    /// So that the data contracts stay below the limit of a contract's size.
    uint256 public constant MAX_MEMBERS = 64;

    struct Committee {
        address votes;
        uint32 members;
        uint32 threshold;
        address shares;
        uint64 firstHeight;
        bytes32 scheduleRoot;
    }

    IOperatorRegistry private immutable OPERATORS;
    bytes32 public immutable genesisHash;
    uint64 public immutable firstEpoch;

    uint64 public latestEpoch;
    mapping(uint64 epoch => Committee) private committees;

    event CommitteeAccepted(
        uint64 indexed epoch, uint64 firstHeight, uint32 threshold, bytes32 scheduleRoot, address[] signers
    );

    error WrongAddress();
    error UnknownEpoch();
    error WrongEpoch();
    error WrongHeight();
    error WrongSize();
    error WrongThreshold();
    error BadKey();
    error NotProven(address signer);
    error DuplicateMember(address signer);
    error BadCertificate();
    error StoreFailed();

    constructor(Addresses memory a, Params memory p, GenesisCommittee memory g) {
        if (a.committees != address(this)) revert WrongAddress();
        OPERATORS = IOperatorRegistry(a.operators);
        genesisHash = p.genesisHash;
        firstEpoch = g.epoch;
        for (uint256 i = 0; i < g.members.length; ++i) {
            Member memory member = g.members[i];
            uint256[4] memory proof = Bls.g1FromMemory(member.voteKeyPossession);
            if (!Possession.verify(Bls.g2FromMemory(member.voteKey), proof)) revert NotProven(member.signer);
        }
        store(
            NextCommittee({
                epoch: g.epoch,
                firstHeight: 1,
                threshold: g.threshold,
                y: g.y,
                y2: g.y2,
                scheduleRoot: g.scheduleRoot,
                members: g.members
            })
        );
    }

    /// Accepts the next committee under a certificate of the latest one. Every member's vote key must be
    /// proven: registered for its signer at the operator registry, or its own in the latest committee.
    function accept(NextCommittee calldata next, Certificate calldata certificate) external {
        uint64 latest = latestEpoch;
        if (next.epoch != latest + 1) revert WrongEpoch();
        if (next.firstHeight <= committees[latest].firstHeight) revert WrongHeight();
        // A vote on a handover has no view.
        if (certificate.view_ != 0 || certificate.parentView != 0) revert BadCertificate();
        bytes memory message = abi.encodePacked(
            // The length of the namespace: 32 of the domain, 32 of the genesis hash.
            uint8(64),
            "BLINDFOLD-V1/committee-handover/",
            genesisHash,
            handoverPayload(next)
        );
        if (!verifyQuorum(latest, message, certificate.signers, certificate.signature)) revert BadCertificate();
        for (uint256 i = 0; i < next.members.length; ++i) {
            requireProven(latest, next.members[i]);
        }
        store(next);
    }

    /// What the members of the latest committee vote on.
    function handoverPayload(NextCommittee calldata next) public pure returns (bytes32) {
        return keccak256(abi.encodePacked("BLINDFOLD-V1/committee-handover/", abi.encode(next)));
    }

    // ---- what is known about an epoch

    function committeeOf(uint64 epoch) external view returns (Committee memory) {
        return known(epoch);
    }

    function scheduleRootOf(uint64 epoch) external view returns (bytes32) {
        return known(epoch).scheduleRoot;
    }

    /// Whether all heights from `firstHeight` to `lastHeight` are the epoch's.
    function covers(uint64 epoch, uint64 firstHeight, uint64 lastHeight) external view returns (bool) {
        if (firstHeight < known(epoch).firstHeight) return false;
        return epoch == latestEpoch || lastHeight < committees[epoch + 1].firstHeight;
    }

    function signerAt(uint64 epoch, uint32 index) external view returns (address) {
        Committee storage committee = known(epoch);
        if (index >= committee.members) return address(0);
        bytes memory signer = read(committee.votes, 20 * uint256(index), 20);
        return address(bytes20(signer));
    }

    function signersOf(uint64 epoch) external view returns (address[] memory signers) {
        Committee storage committee = known(epoch);
        bytes memory packed = read(committee.votes, 0, 20 * uint256(committee.members));
        signers = new address[](committee.members);
        for (uint256 i = 0; i < signers.length; ++i) {
            signers[i] = signerIn(packed, i);
        }
    }

    function memberOf(uint64 epoch, address signer) public view returns (bool found, uint32 index) {
        Committee storage committee = known(epoch);
        uint256 members = committee.members;
        bytes memory packed = read(committee.votes, 0, 20 * members);
        for (uint256 i = 0; i < members; ++i) {
            if (signerIn(packed, i) == signer) return (true, uint32(i));
        }
        return (false, 0);
    }

    function voteKeyAt(uint64 epoch, uint32 index) public view returns (uint256[8] memory) {
        Committee storage committee = known(epoch);
        if (index >= committee.members) revert WrongSize();
        return toG2(read(committee.votes, 20 * uint256(committee.members) + 256 * (uint256(index) + 1), 256));
    }

    function shareKeyAt(uint64 epoch, uint32 index) external view returns (uint256[8] memory) {
        Committee storage committee = known(epoch);
        if (index >= committee.members) revert WrongSize();
        return toG2(read(committee.shares, 384 + 256 * uint256(index), 256));
    }

    /// Y: what envelopes are sealed to.
    function keyOf(uint64 epoch) external view returns (uint256[4] memory y) {
        bytes memory encoded = read(known(epoch).shares, 0, 128);
        assembly ("memory-safe") {
            mcopy(y, add(encoded, 32), 128)
        }
    }

    /// Y₂: the same key in G2.
    function pairingKeyOf(uint64 epoch) external view returns (uint256[8] memory) {
        return toG2(read(known(epoch).shares, 128, 256));
    }

    /// Whether `leader` has the slot of `view_`: slot view mod L under the schedule root, L the number of
    /// its leaves.
    function leaderAt(uint64 epoch, uint64 view_, address leader, MerkleProof calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.count == 0 || proof.index != view_ % proof.count) return false;
        return Merkle.verify(known(epoch).scheduleRoot, Merkle.scheduleLeaf(proof.index, leader), proof);
    }

    // ---- certificates

    /// Whether a quorum of the epoch's committee finalized `payload` (the engine's finalize message).
    /// `signers` is the engine's bitmap, `signature` 128 bytes of G1.
    function verifyFinalization(
        uint64 epoch,
        uint64 view_,
        uint64 parentView,
        bytes32 payload,
        bytes calldata signers,
        bytes calldata signature
    ) external view returns (bool) {
        bytes memory message = abi.encodePacked(
            // The length of the namespace: 20 of the domain, 32 of the genesis hash, 9 of the suffix.
            uint8(61),
            "BLINDFOLD-V1/engine/",
            genesisHash,
            "_FINALIZE",
            varint(epoch),
            varint(view_),
            varint(parentView),
            payload
        );
        return verifyQuorum(epoch, message, signers, signature);
    }

    function verifyQuorum(uint64 epoch, bytes memory message, bytes calldata signers, bytes calldata signature)
        private
        view
        returns (bool)
    {
        Committee storage committee = known(epoch);
        uint256 members = committee.members;
        if (signers.length != (members + 7) / 8 || signature.length != 128) return false;
        // The sum of the signers' keys is that of all less that of the absent, of whom there are fewer.
        bytes memory keys = read(committee.votes, 20 * members, 256 * (members + 1));
        uint256[8] memory absent;
        uint256 absences = 0;
        for (uint256 i = 0; i < signers.length * 8; ++i) {
            bool signed = (uint8(signers[i / 8]) >> (i % 8)) & 1 == 1;
            if (i >= members) {
                if (signed) return false;
            } else if (!signed) {
                if (++absences > maxFaults(members)) return false;
                absent = absences == 1 ? slice(keys, i + 1) : Bls.add(absent, slice(keys, i + 1));
            }
        }
        uint256[8] memory key = slice(keys, 0);
        if (absences != 0) key = Bls.add(key, Bls.negate(absent));
        return Bls.verifySignature(key, Bls.g1FromCalldata(signature), message, Bls.MESSAGE_DST);
    }

    /// Members that may fail: f = (n - 1) / 3.
    function maxFaults(uint256 members) private pure returns (uint256) {
        return (members - 1) / 3;
    }

    /// LEB128, shortest form.
    function varint(uint64 value) private pure returns (bytes memory out) {
        while (value >= 0x80) {
            out = abi.encodePacked(out, uint8(value & 0x7f) | 0x80);
            value >>= 7;
        }
        return abi.encodePacked(out, uint8(value));
    }

    // ---- storing

    function requireProven(uint64 latest, Member calldata member) private view {
        bytes32 keyHash = keccak256(member.voteKey);
        if (OPERATORS.voteKeyHashOf(member.signer) == keyHash) return;
        (bool found, uint32 index) = memberOf(latest, member.signer);
        if (!found || keccak256(abi.encodePacked(voteKeyAt(latest, index))) != keyHash) {
            revert NotProven(member.signer);
        }
    }

    /// Checks what later checks rely on (all keys are points of the prime-order subgroups, Y and Y₂ are
    /// one key, members are distinct) and keeps it. Vote keys must have been proven.
    function store(NextCommittee memory next) private {
        uint256 members = next.members.length;
        if (members == 0 || members > MAX_MEMBERS) revert WrongSize();
        if (next.threshold != members - maxFaults(members)) revert WrongThreshold();
        requireSameKey(next.y, next.y2);

        // As they are stored, filled in place: joining pieces would cost memory by the square of their number.
        bytes memory votes = new bytes(20 * members + 256 * (members + 1));
        bytes memory shareKeys = new bytes(256 * members);
        address[] memory list = new address[](members);
        bytes32[] memory keyHashes = new bytes32[](members);
        uint256[8] memory sum;
        for (uint256 i = 0; i < members; ++i) {
            Member memory member = next.members[i];
            if (member.signer == address(0)) revert DuplicateMember(address(0));
            list[i] = member.signer;
            keyHashes[i] = keccak256(member.voteKey);
            for (uint256 j = 0; j < i; ++j) {
                if (list[j] == member.signer || keyHashes[j] == keyHashes[i]) revert DuplicateMember(member.signer);
            }
            uint256[8] memory voteKey = Bls.g2FromMemory(member.voteKey);
            uint256[8] memory shareKey = Bls.g2FromMemory(member.shareKey);
            if (Bls.isInfinity(voteKey) || Bls.isInfinity(shareKey)) revert BadKey();
            sum = i == 0 ? voteKey : Bls.add(sum, voteKey);
            put(shareKeys, 256 * i, shareKey);
            put(votes, 20 * members + 256 * (i + 1), voteKey);
        }
        put(votes, 20 * members, sum);
        for (uint256 i = 0; i < members; ++i) {
            bytes20 signer = bytes20(list[i]);
            for (uint256 j = 0; j < 20; ++j) {
                votes[20 * i + j] = signer[j];
            }
        }
        Bls.requireG2Subgroup(shareKeys);

        Committee storage committee = committees[next.epoch];
        committee.votes = write(votes);
        committee.shares = write(bytes.concat(next.y, next.y2, shareKeys));
        committee.members = uint32(members);
        committee.threshold = next.threshold;
        committee.firstHeight = next.firstHeight;
        committee.scheduleRoot = next.scheduleRoot;
        latestEpoch = next.epoch;
        emit CommitteeAccepted(next.epoch, next.firstHeight, next.threshold, next.scheduleRoot, list);
    }

    /// e(Y, g₂) = e(g, Y₂); the pairing also checks that both are in their subgroups.
    function requireSameKey(bytes memory y, bytes memory y2) private view {
        uint256[4] memory inG1 = Bls.g1FromMemory(y);
        uint256[8] memory inG2 = Bls.g2FromMemory(y2);
        if (Bls.isInfinity(inG1) || Bls.isInfinity(inG2)) revert BadKey();
        (, bool holds) = Bls.pairing(inG1, Bls.generator(), inG2);
        if (!holds) revert BadKey();
    }

    function known(uint64 epoch) private view returns (Committee storage committee) {
        committee = committees[epoch];
        if (committee.members == 0) revert UnknownEpoch();
    }

    /// Deploys a contract whose code is a zero byte (so that it cannot be called) and `data`.
    function write(bytes memory data) private returns (address where) {
        // PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN: returns what follows.
        bytes memory code =
            abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a5f395ff3", hex"00", data);
        assembly ("memory-safe") {
            where := create(0, add(code, 32), mload(code))
        }
        if (where == address(0)) revert StoreFailed();
    }

    function read(address where, uint256 offset, uint256 length) private view returns (bytes memory data) {
        data = new bytes(length);
        assembly ("memory-safe") {
            extcodecopy(where, add(data, 32), add(offset, 1), length)
        }
    }

    function slice(bytes memory keys, uint256 index) private pure returns (uint256[8] memory key) {
        assembly ("memory-safe") {
            mcopy(key, add(add(keys, 32), mul(256, index)), 256)
        }
    }

    function put(bytes memory where, uint256 offset, uint256[8] memory key) private pure {
        assembly ("memory-safe") {
            mcopy(add(add(where, 32), offset), key, 256)
        }
    }

    function toG2(bytes memory encoded) private pure returns (uint256[8] memory) {
        return slice(encoded, 0);
    }

    function signerIn(bytes memory packed, uint256 index) private pure returns (address signer) {
        assembly ("memory-safe") {
            signer := shr(96, mload(add(add(packed, 32), mul(20, index))))
        }
    }
}
