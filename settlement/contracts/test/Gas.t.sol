// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Evidence.sol";

/// What whole transactions cost. Run with `--isolate`, which makes every call of a test a transaction of its
/// own: 21,000, calldata, cold accounts and slots, refunds. The numbers go into gas.md by gas.cjs.
abstract contract GasBase is Evidence {
    event log_named_uint(string key, uint256 value);

    function measure(string memory name, address from, address to, uint256 value, bytes memory data) internal {
        vm.deal(from, value + 1 ether);
        vm.prank(from);
        (bool ok,) = to.call{value: value}(data);
        Vm.Gas memory used = vm.lastCallGas();
        check(ok, name);
        emit log_named_uint(name, used.gasTotalUsed);
    }

    function measureReport(string memory name, bytes memory evidence) internal {
        commitTo(evidence);
        measure(name, REPORTER, a.slasher, 0, abi.encodeCall(SlasherAbi.report, (evidence, SALT)));
    }

    function measurePost(string memory name, Draft memory d, uint256 member, bytes memory data) internal {
        OrderCommitment memory last = d.heights[d.heights.length - 1].commitment;
        uint256 end = d.leaves.length - 1;
        bytes memory call =
            abi.encodeCall(Inbox.postBatch, (d.input, last, certify(last), d.leaves[end], leafProof(d, end), data));
        measure(name, signer(member), a.inbox, 0, call);
    }

    function sizes(uint256 heights, uint256 tall, uint256 positions) internal pure returns (uint256[] memory out) {
        out = new uint256[](heights);
        out[tall] = positions;
    }
}

contract GasTest is GasBase {
    function setUp() public {
        deploy(".committee4");
    }

    function testCommit() public {
        measure(
            "commit of any report", REPORTER, a.slasher, 0, abi.encodeCall(SlasherAbi.commitReport, (keccak256("x")))
        );
    }

    function testEquivocation() public {
        measureReport("equivocation", equivocation());
    }

    function testEquivocationByAKnownReporter() public {
        // The second reward of a reporter finds its slot in use.
        vm.prank(a.slasher);
        vault.slash(signer(1), REPORTER);
        measureReport("equivocation, reporter with a reward already", equivocation());
    }

    function testDoubleRelease() public {
        measureReport("double release", doubleRelease());
    }

    function reordered(uint256 positions) internal returns (bytes memory) {
        Draft memory d = draft(1, GENESIS, sizes(64, 40, positions));
        (d.openings[1].id, d.openings[positions - 1].id) = (d.openings[positions - 1].id, d.openings[1].id);
        roots(d);
        return reorderingEvidence(d, post(d, POSTER), 40, 1);
    }

    function testReordering256() public {
        measureReport("reordering, 256 positions, batch of 64 heights", reordered(256));
    }

    function testReordering4096() public {
        measureReport("reordering, 4096 positions, batch of 64 heights", reordered(4_096));
    }

    function testBrokenLeaf() public {
        measureReport("broken chain: leaf", wrongOrderRoot());
    }

    function testBrokenParent() public {
        measureReport("broken chain: parent", brokenParent());
    }

    function testBrokenOffset() public {
        measureReport("broken chain: offset", brokenOffset());
    }

    function testBrokenFirst() public {
        measureReport("broken chain: first height", brokenFirst());
    }

    function testBrokenCount() public {
        measureReport("broken chain: number of openings", brokenCount());
    }

    function testForged() public {
        measureReport("forged commitment", forgedCommitment());
    }

    function testWrongMessage() public {
        measureReport("wrong opening: message of 5 bytes", wrongMessage());
    }

    function testWrongLongMessage() public {
        (SealedEnvelope memory e,) = sealHello();
        bytes memory message = new bytes(1_500);
        for (uint256 i = 0; i < 1_500; ++i) {
            message[i] = 0x55;
        }
        measureReport("wrong opening: message of 1500 bytes", openingEvidence(e, opened(message), [uint256(0), 0]));
    }

    function testWrongSecret() public {
        measureReport("wrong opening: secret of another envelope", wrongSecret());
    }

    function testSecretOutsideSubgroup() public {
        measureReport("wrong opening: secret outside the subgroup", secretOutsideSubgroup());
    }

    function testSecretNotOnCurve() public {
        measureReport("wrong opening: secret not on the curve", secretNotOnCurve());
    }

    function testSecretNotCanonical() public {
        measureReport("wrong opening: secret not canonical", secretNotCanonical());
    }

    function testDisownedOpening() public {
        measureReport("wrong opening: not the certified one", disowned(0));
    }

    function testDisownedOpeningThroughAncestors() public {
        measureReport("wrong opening: not the certified one, 4 commitments", disowned(3));
    }

    function testDisownedOpening4096() public {
        Draft memory d = draft(1, GENESIS, sizes(64, 40, 4_096));
        d.openings[1].openingHash = keccak256("a tale");
        roots(d);
        bytes memory evidence = disownedCall(disownedEvidence(d, post(d, POSTER), 40, 1, 0));
        measureReport("wrong opening: not the certified one, 4096 positions", evidence);
    }

    function testBadShare() public {
        measureReport("bad share: another point", badShare(12_345));
    }

    function testBadShareOutsideSubgroup() public {
        (SealedEnvelope memory e,) = sealHello();
        measureReport(
            "bad share: outside the subgroup", badShareOf(e, words(addTorsion(mul(uOf(e), shareSecrets[0]))))
        );
    }

    function testBadShareNoPoint() public {
        (SealedEnvelope memory e,) = sealHello();
        measureReport("bad share: no point", badShareOf(e, [bytes32(uint256(1)), 0, bytes32(uint256(5))]));
    }

    // ---- everything else

    function testPosting() public {
        measurePost("postBatch, n = 4, first batch ever", draft(1, GENESIS, sizes(64, 1, 1)), 2, "data");
        measurePost("postBatch, n = 4", draft(65, GENESIS, sizes(64, 1, 1)), 2, "data");
        bytes memory data = new bytes(4_096);
        for (uint256 i = 0; i < 4_096; ++i) {
            data[i] = bytes1(uint8(1 + i % 255));
        }
        measurePost("postBatch, n = 4, 4096 bytes of calldata", draft(129, GENESIS, sizes(64, 1, 1)), 2, data);
    }

    function testForcedItems() public {
        bytes memory data = new bytes(200);
        for (uint256 i = 0; i < 200; ++i) {
            data[i] = 0x55;
        }
        measure("force, 200 bytes", REPORTER, a.queue, p.forcedFee, abi.encodeCall(Queue.force, (1, data)));
        bytes memory longer = new bytes(2_048);
        for (uint256 i = 0; i < 2_048; ++i) {
            longer[i] = 0x55;
        }
        measure("force, 2048 bytes", REPORTER, a.queue, p.forcedFee, abi.encodeCall(Queue.force, (1, longer)));
        vm.roll(block.number + p.forcedFallbackBlocks);
        measure("postForced", REPORTER, a.inbox, 0, abi.encodeCall(Inbox.postForced, (2)));
        vm.warp(block.timestamp + 1);
        OrderCommitment memory c = commitment(100);
        (c.forcedCursor, c.forcedHash) = (2, queue.hashAt(2));
        measure("showOrdered, n = 4", REPORTER, a.inbox, 0, abi.encodeCall(Inbox.showOrdered, (c, certify(c))));
        measure(
            "depositToBalance", REPORTER, a.bridge, 1 ether, abi.encodeCall(BridgeAbi.depositToBalance, (REPORTER))
        );
    }

    function testChallenges() public {
        (SealedEnvelope memory e,) = sealHello();
        Opening memory o = opened("hello");
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.heights[1].ids[1] = keccak256(e.preimage);
        d.heights[1].openingHashes[1] = this.openingHashOf(o);
        seal(d.heights[1]);
        rebuild(d);
        Batch memory b = post(d, POSTER);
        uint32 whole = type(uint32).max;
        measure(
            "challenge", REPORTER, a.inbox, p.challengeBond, abi.encodeCall(Inbox.challenge, (b, 2, whole))
        );
        vm.deal(REPORTER, 1 ether);
        vm.prank(REPORTER);
        inbox.challenge{value: p.challengeBond}(b, 2, 1);
        vm.prank(REPORTER);
        inbox.challenge{value: p.challengeBond}(b, 2, 0);
        measure(
            "revealCommitment",
            signer(POSTER),
            a.inbox,
            0,
            abi.encodeCall(
                Inbox.revealCommitment,
                (b, whole, d.leaves[1], leafProof(d, 1), d.heights[1].commitment, d.heights[1].signature)
            )
        );
        measure(
            "revealOpening",
            signer(POSTER),
            a.inbox,
            0,
            abi.encodeCall(
                Inbox.revealOpening, (b, 1, d.leaves[1], leafProof(d, 1), e, o, openingProof(d, 3))
            )
        );
        vm.warp(block.timestamp + p.challengeWindow + 1);
        measure("failReveal", REPORTER, a.inbox, 0, abi.encodeCall(Inbox.failReveal, (b, 2, 0)));
    }

    function testStake() public {
        measure("deposit", REPORTER, a.vault, 1 ether, abi.encodeCall(Vault.deposit, (REPORTER)));
        measure("requestExit", REPORTER, a.vault, 0, abi.encodeCall(Vault.requestExit, (REPORTER, 1 ether)));
        vm.warp(block.timestamp + p.exitDelay);
        measure("claim", REPORTER, a.vault, 0, abi.encodeCall(Vault.claim, (REPORTER)));
    }

    function testRegister() public {
        GenesisCommittee memory g = abi.decode(genesisCommittee, (GenesisCommittee));
        measure(
            "register",
            signer(0),
            a.operators,
            0,
            abi.encodeCall(
                Operators.register, (signer(0), g.members[0].voteKey, g.members[0].voteKeyPossession, "")
            )
        );
    }

    function testOutputs() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.input.stateRoot = vm.parseJsonBytes32(vectors, ".withdrawal.stateRoot");
        Batch memory b = post(d, POSTER);
        measure("propose an output", REPORTER, a.oracle, p.outputBond, abi.encodeCall(Oracle.propose, (b)));
        measure("challenge an output", REPORTER, a.oracle, p.outputBond, abi.encodeCall(Oracle.challenge, (1)));
        CommitteeProof memory q;
        (q.batch, q.openingRoot, q.chain) = (b, keccak256("openings"), new OrderCommitment[](1));
        q.chain[0] = commitment(11);
        q.chain[0].executedRoot =
            keccak256(abi.encodePacked("BLINDFOLD-V1/executed-root/", b.stateRoot, q.openingRoot));
        q.certificate = certify(q.chain[0]);
        measure("prove an output", REPORTER, a.oracle, 0, abi.encodeCall(Oracle.prove, (1, abi.encode(q))));
        vm.deal(a.bridge, 1 ether);
        Withdrawal memory w = abi.decode(bytesOf(".withdrawal.withdrawal"), (Withdrawal));
        bytes memory call = abi.encodeCall(
            BridgeAbi.withdraw,
            (
                1,
                w,
                abi.decode(bytesOf(".withdrawal.accountProof"), (bytes[])),
                abi.decode(bytesOf(".withdrawal.storageProof"), (bytes[]))
            )
        );
        measure("withdraw on the bridge", REPORTER, a.bridge, 0, call);
    }
}

contract GasSixteenTest is GasBase {
    function setUp() public {
        deploy(".committee16");
    }

    function testPosting() public {
        post(draft(1, GENESIS, counts(1)), 2);
        measurePost("postBatch, n = 16", draft(2, GENESIS, sizes(64, 1, 1)), 2, "data");
    }

    function testEquivocation() public {
        measureReport("equivocation, n = 16", equivocation());
    }
}

contract GasSixtyFourTest is GasBase {
    function setUp() public {
        deploy(".committee64");
    }

    function testPosting() public {
        post(draft(1, GENESIS, counts(1)), 2);
        measurePost("postBatch, n = 64", draft(2, GENESIS, sizes(64, 1, 1)), 2, "data");
    }

    function testEquivocation() public {
        measureReport("equivocation, n = 64", equivocation());
    }

    function testBadShare() public {
        measureReport("bad share: another point, n = 64", badShare(12_345));
    }

    function testDisownedOpening() public {
        measureReport("wrong opening: not the certified one, n = 64", disowned(0));
    }

    /// A handover to 64 members, who were all members before.
    function testAccept() public {
        GenesisCommittee memory g = abi.decode(genesisCommittee, (GenesisCommittee));
        for (uint256 i = 0; i < g.members.length; ++i) {
            g.members[i].voteKeyPossession = "";
        }
        NextCommittee memory n =
            NextCommittee(1, 100, g.threshold, g.y, g.y2, g.scheduleRoot, g.members);
        bytes memory message = abi.encodePacked(
            uint8(64), "BLINDFOLD-V1/committee-handover/", p.genesisHash, committees.handoverPayload(n)
        );
        Certificate memory cert = Certificate(0, 0, bitmap(quorum()), vote(message, quorum()));
        measure("accept, n = 64", REPORTER, a.committees, 0, abi.encodeCall(Committees.accept, (n, cert)));
    }
}
