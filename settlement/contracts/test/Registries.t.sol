// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";

contract RegistriesTest is World {
    function setUp() public {
        deploy(".committee4");
    }

    function genesis() internal view returns (GenesisCommittee memory) {
        return abi.decode(genesisCommittee, (GenesisCommittee));
    }

    // ---- operators

    function possession(uint256 secret, bytes memory key) internal view returns (bytes memory) {
        bytes memory message = abi.encodePacked(
            uint8(33), "BLINDFOLD-V1/vote-key-possession/", Bls.compress(Bls.g2FromMemory(key))
        );
        (bool ok, uint256[4] memory point) =
            Bls.mulChecked(Bls.hashToG1(message, Bls.POSSESSION_DST), secret);
        require(ok, "possession");
        return abi.encodePacked(point);
    }

    function voteKey(uint256 secret) internal view returns (bytes memory) {
        bytes memory generator = abi.encodePacked(
            uint256(0x024aa2b2f08f0a91260805272dc51051),
            uint256(0xc6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8),
            uint256(0x13e02b6052719f607dacd3a088274f65),
            uint256(0x596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e),
            uint256(0x0ce5d527727d6e118cc9cdc6da2e351a),
            uint256(0xadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801),
            uint256(0x0606c4a02ea734cc32acd2b02bc28b99),
            uint256(0xcb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be)
        );
        (bool ok, bytes memory out) = address(0x0e).staticcall(bytes.concat(generator, bytes32(secret)));
        require(ok, "key");
        return out;
    }

    function testRegister() public {
        bytes memory key = voteKey(77);
        bytes memory proof = possession(77, key);
        vm.prank(address(0x77));
        operators.register(address(0x77), key, proof, "");
        same(operators.voteKeyHashOf(address(0x77)), keccak256(key), "key");
        same(operators.signerOf(keccak256(key)), address(0x77), "signer");
        // Once per signer, once per key.
        vm.prank(address(0x77));
        vm.expectRevert(Operators.AlreadyRegistered.selector);
        operators.register(address(0x77), key, proof, "");
        vm.prank(address(0x78));
        vm.expectRevert(Operators.KeyInUse.selector);
        operators.register(address(0x78), key, proof, "");
    }

    function testRegisterForAnother() public {
        bytes memory key = voteKey(77);
        bytes memory proof = possession(77, key);
        address owner = vm.addr(0x123);
        vm.expectRevert(Operators.NotTheSigner.selector);
        operators.register(owner, key, proof, "");
        Signature memory s = sign(0x123, operators.registrationDigest(voteKey(78)));
        vm.expectRevert(Operators.NotTheSigner.selector);
        operators.register(owner, key, proof, abi.encodePacked(s.r, s.s, s.v));
        s = sign(0x124, operators.registrationDigest(key));
        vm.expectRevert(Operators.NotTheSigner.selector);
        operators.register(owner, key, proof, abi.encodePacked(s.r, s.s, s.v));
        vm.expectRevert(Operators.NotTheSigner.selector);
        operators.register(address(0), key, proof, abi.encodePacked(s.r, s.s, uint8(0)));
        s = sign(0x123, operators.registrationDigest(key));
        operators.register(owner, key, proof, abi.encodePacked(s.r, s.s, s.v));
        same(operators.voteKeyHashOf(owner), keccak256(key), "key");
    }

    function testRegisterRefusesBadKeys() public {
        bytes memory key = voteKey(77);
        bytes memory proof = possession(77, key);
        registerReverts(voteKey(78), proof, Operators.BadPossession.selector);
        registerReverts(key, abi.encodePacked(Bls.generator()), Operators.BadPossession.selector);
        registerReverts(key, new bytes(128), Operators.BadPossession.selector);
        registerReverts(new bytes(256), new bytes(128), Operators.BadPossession.selector);
        registerReverts(bytes.concat(key, hex"00"), proof, Operators.BadPoint.selector);
        registerReverts(key, bytes.concat(proof, hex"00"), Operators.BadPoint.selector);
        // Not on the curve.
        key[255] ^= 0x01;
        registerReverts(key, possession(77, key), Operators.BadPossession.selector);
    }

    function registerReverts(bytes memory key, bytes memory proof, bytes4 reason) internal {
        vm.expectRevert(reason);
        operators.register(address(this), key, proof, "");
    }

    // ---- committees

    function testGenesisCommittee() public view {
        GenesisCommittee memory g = genesis();
        Committees.Committee memory c = committees.committeeOf(0);
        same(uint256(c.members), 4, "members");
        same(uint256(c.threshold), 3, "threshold");
        same(uint256(c.firstHeight), 1, "first height");
        same(c.scheduleRoot, g.scheduleRoot, "schedule");
        same(keccak256(abi.encodePacked(committees.keyOf(0))), keccak256(g.y), "Y");
        same(keccak256(abi.encodePacked(committees.pairingKeyOf(0))), keccak256(g.y2), "Y2");
        address[] memory signers = committees.signersOf(0);
        for (uint32 i = 0; i < 4; ++i) {
            same(signers[i], g.members[i].signer, "signers");
            same(committees.signerAt(0, i), g.members[i].signer, "signer");
            (bool found, uint32 index) = committees.memberOf(0, g.members[i].signer);
            check(found && index == i, "member");
            same(
                keccak256(abi.encodePacked(committees.voteKeyAt(0, i))), keccak256(g.members[i].voteKey), "vote key"
            );
            same(
                keccak256(abi.encodePacked(committees.shareKeyAt(0, i))),
                keccak256(g.members[i].shareKey),
                "share key"
            );
        }
        same(committees.signerAt(0, 4), address(0), "nobody");
        (bool any,) = committees.memberOf(0, address(0));
        check(!any, "the zero address");
        check(committees.covers(0, 1, type(uint64).max), "covers");
        check(!committees.covers(0, 0, 5), "not genesis");
    }

    function testUnknownEpoch() public {
        vm.expectRevert(Committees.UnknownEpoch.selector);
        committees.signerAt(1, 0);
        vm.expectRevert(Committees.UnknownEpoch.selector);
        committees.memberOf(1, address(this));
        vm.expectRevert(Committees.UnknownEpoch.selector);
        committees.keyOf(1);
        vm.expectRevert(Committees.UnknownEpoch.selector);
        committees.covers(1, 1, 1);
        vm.expectRevert(Committees.WrongSize.selector);
        committees.voteKeyAt(0, 4);
        vm.expectRevert(Committees.WrongSize.selector);
        committees.shareKeyAt(0, 4);
    }

    function testLeaderAt() public view {
        for (uint64 view_ = 0; view_ < 20; ++view_) {
            MerkleProof memory proof = scheduleProof(view_);
            check(committees.leaderAt(0, view_, signer(leaderOf(view_)), proof), "leader");
            check(!committees.leaderAt(0, view_, signer((leaderOf(view_) + 1) % 4), proof), "not the leader");
            check(!committees.leaderAt(0, view_ + 1, signer(leaderOf(view_)), proof), "another view");
        }
        MerkleProof memory empty;
        check(!committees.leaderAt(0, 0, signer(0), empty), "empty");
    }

    function vectorCertificate(string memory which)
        internal
        view
        returns (OrderCommitment memory c, Certificate memory cert)
    {
        c = abi.decode(bytesOf(string.concat(which, ".commitment")), (OrderCommitment));
        cert = abi.decode(bytesOf(string.concat(which, ".certificate")), (Certificate));
    }

    function verify(OrderCommitment memory c, Certificate memory cert) internal view returns (bool) {
        return committees.verifyFinalization(
            c.epoch, cert.view_, cert.parentView, digestOf(c), cert.signers, cert.signature
        );
    }

    function testCertificateOfTheEngine() public view {
        (OrderCommitment memory c, Certificate memory cert) = vectorCertificate(".committee4");
        check(verify(c, cert), "the engine's certificate");
        cert.view_ += 1;
        check(!verify(c, cert), "another view");
        cert.view_ -= 1;
        cert.parentView += 1;
        check(!verify(c, cert), "another parent view");
        cert.parentView -= 1;
        c.count += 1;
        check(!verify(c, cert), "another commitment");
        c.count -= 1;
        // Every byte of bitmap and signature.
        for (uint256 i = 0; i < 128; ++i) {
            cert.signature[i] ^= 0x01;
            check(!verify(c, cert), "another signature");
            cert.signature[i] ^= 0x01;
        }
        for (uint256 bit = 0; bit < 8; ++bit) {
            cert.signers[0] ^= bytes1(uint8(1 << bit));
            check(!verify(c, cert), "other signers");
            cert.signers[0] ^= bytes1(uint8(1 << bit));
        }
        cert.signers = bytes.concat(cert.signers, hex"00");
        check(!verify(c, cert), "longer bitmap");
        cert.signers = "";
        check(!verify(c, cert), "no bitmap");
    }

    function testCertificates() public view {
        OrderCommitment memory c = commitment(5);
        check(verify(c, certifyBy(c, 3)), "a quorum");
        check(verify(c, certifyBy(c, 4)), "everybody");
        check(!verify(c, certifyBy(c, 2)), "too few");
        Certificate memory cert = certifyBy(c, 3);
        cert.signature = new bytes(128);
        check(!verify(c, cert), "infinity");
        cert.signature = new bytes(127);
        check(!verify(c, cert), "too short");
        // A longer varint in each place.
        c.view_ = 1 << 40;
        check(verify(c, certifyBy(c, 3)), "a view of six bytes");
    }

    function next() internal view returns (NextCommittee memory n) {
        GenesisCommittee memory g = genesis();
        n.epoch = 1;
        n.firstHeight = 100;
        (n.threshold, n.y, n.y2, n.scheduleRoot, n.members) =
            (g.threshold, g.y, g.y2, keccak256("schedule"), g.members);
        (n.members[0], n.members[3]) = (n.members[3], n.members[0]);
    }

    function handover(NextCommittee memory n, uint256 count) internal view returns (Certificate memory cert) {
        bytes memory message = abi.encodePacked(
            uint8(64), "BLINDFOLD-V1/committee-handover/", p.genesisHash, committees.handoverPayload(n)
        );
        cert.signers = bitmap(count);
        cert.signature = vote(message, count);
    }

    function testAccept() public {
        NextCommittee memory n = next();
        committees.accept(n, handover(n, 3));
        same(uint256(committees.latestEpoch()), 1, "latest");
        same(committees.signerAt(1, 0), signer(3), "signers");
        check(committees.covers(0, 1, 99) && !committees.covers(0, 1, 100), "the old one ends");
        check(committees.covers(1, 100, 200) && !committees.covers(1, 99, 200), "the new one begins");
        // Only the latest hands over, and only to the next.
        n.epoch = 2;
        n.firstHeight = 200;
        Certificate memory cert = handover(n, 3);
        vm.expectRevert(Committees.BadCertificate.selector);
        committees.accept(n, cert);
        n.epoch = 1;
        cert = handover(n, 3);
        vm.expectRevert(Committees.WrongEpoch.selector);
        committees.accept(n, cert);
    }

    function testAcceptNewOperator() public {
        NextCommittee memory n = next();
        bytes memory key = voteKey(77);
        n.members[2].signer = address(0x77);
        n.members[2].voteKey = key;
        Certificate memory cert = handover(n, 3);
        vm.expectRevert(abi.encodeWithSelector(Committees.NotProven.selector, address(0x77)));
        committees.accept(n, cert);
        bytes memory proof = possession(77, key);
        vm.prank(address(0x77));
        operators.register(address(0x77), key, proof, "");
        committees.accept(n, cert);
        same(committees.signerAt(1, 2), address(0x77), "signer");
    }

    function acceptReverts(NextCommittee memory n, bytes memory reason) internal {
        Certificate memory cert = handover(n, 3);
        vm.expectRevert(reason);
        committees.accept(n, cert);
    }

    function testAcceptRefuses() public {
        NextCommittee memory n = next();
        Certificate memory cert = handover(n, 2);
        vm.expectRevert(Committees.BadCertificate.selector);
        committees.accept(n, cert);
        cert = handover(n, 3);
        cert.view_ = 1;
        vm.expectRevert(Committees.BadCertificate.selector);
        committees.accept(n, cert);
        // A finalization is no handover.
        cert = certifyBy(commitment(5), 3);
        (cert.view_, cert.parentView) = (0, 0);
        vm.expectRevert(Committees.BadCertificate.selector);
        committees.accept(n, cert);

        n.firstHeight = 1;
        acceptReverts(n, abi.encodeWithSelector(Committees.WrongHeight.selector));
        n = next();
        n.threshold = 4;
        acceptReverts(n, abi.encodeWithSelector(Committees.WrongThreshold.selector));
        n = next();
        n.members[1].signer = n.members[0].signer;
        n.members[1].voteKey = n.members[0].voteKey;
        acceptReverts(n, abi.encodeWithSelector(Committees.DuplicateMember.selector, n.members[0].signer));
        n = next();
        n.y2 = n.members[0].shareKey;
        acceptReverts(n, abi.encodeWithSelector(Committees.BadKey.selector));
        n = next();
        n.members[1].shareKey = new bytes(256);
        acceptReverts(n, abi.encodeWithSelector(Committees.BadKey.selector));
        // A share key that is no point would make every share of its member look wrong.
        n = next();
        n.members[1].shareKey[255] ^= 0x01;
        acceptReverts(n, abi.encodeWithSelector(Committees.BadPoint.selector));
        n = next();
        n.members[1].shareKey = new bytes(255);
        acceptReverts(n, abi.encodeWithSelector(Committees.BadPoint.selector));
        n = next();
        n.members = new Member[](0);
        acceptReverts(n, abi.encodeWithSelector(Committees.WrongSize.selector));
        n.members = new Member[](65);
        for (uint256 i = 0; i < 65; ++i) {
            n.members[i] = genesis().members[0];
        }
        acceptReverts(n, abi.encodeWithSelector(Committees.WrongSize.selector));
    }
}

/// The other sizes that the Rust code made certificates for.
contract LargerCommitteesTest is World {
    function size(string memory key) internal {
        deploy(key);
        OrderCommitment memory c = abi.decode(bytesOf(string.concat(key, ".commitment")), (OrderCommitment));
        Certificate memory cert = abi.decode(bytesOf(string.concat(key, ".certificate")), (Certificate));
        check(
            committees.verifyFinalization(
                c.epoch, cert.view_, cert.parentView, digestOf(c), cert.signers, cert.signature
            ),
            "certificate"
        );
        check(
            !committees.verifyFinalization(
                c.epoch, cert.view_ + 1, cert.parentView, digestOf(c), cert.signers, cert.signature
            ),
            "another view"
        );
    }

    function testSixteen() public {
        size(".committee16");
    }

    function testSixtyFour() public {
        size(".committee64");
    }
}
