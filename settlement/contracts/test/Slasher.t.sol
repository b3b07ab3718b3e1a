// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Verdicts.sol";

/// Each offence: true evidence takes the stake of the right signer and pays the reporter; what does not show
/// an offence is refused, by its reason.
contract SlasherTest is Verdicts {
    function setUp() public {
        deploy(".committee4");
    }

    // ---- equivocation

    function testEquivocation() public {
        slashes(equivocation(), 1, LEADER);
    }

    function two(OrderCommitment memory x, uint256 i, OrderCommitment memory y, uint256 j)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            SlasherAbi.verifyEquivocation,
            (
                SignedCommitment(x, sign(signerSecrets[i], digestOf(x))),
                SignedCommitment(y, sign(signerSecrets[j], digestOf(y)))
            )
        );
    }

    function testEquivocationRefused() public {
        OrderCommitment memory x = commitment(7);
        OrderCommitment memory y = commitment(7);
        refuses(two(x, 0, y, 0), SlasherAbi.NoConflict.selector);
        y.view_ += 1;
        refuses(two(x, 0, y, 0), SlasherAbi.DifferentSlots.selector);
        y = commitment(7);
        y.epoch = 1;
        refuses(two(x, 0, y, 0), SlasherAbi.DifferentSlots.selector);
        y = commitment(7);
        y.count = 1;
        refuses(two(x, 0, y, 1), SlasherAbi.NotSigned.selector);
        y.chainId += 1;
        refuses(two(x, 0, y, 0), SlasherAbi.ForeignChain.selector);
        y = commitment(7);
        y.settlement = address(this);
        refuses(two(x, 0, y, 0), SlasherAbi.ForeignChain.selector);
        // An epoch that has no committee.
        x.epoch = y.epoch = 5;
        y.settlement = a.inbox;
        y.count = 1;
        refuses(two(x, 0, y, 0), SlasherAbi.UnknownEpoch.selector);
        // Not a member.
        signerSecrets.push(0xbad);
        x.epoch = y.epoch = 0;
        refuses(two(x, 4, y, 4), SlasherAbi.NotAMember.selector);
    }

    /// The mirror image of a signature, and other values of v, recover to nobody here.
    function testMalleableSignatures() public view {
        OrderCommitment memory x = commitment(7);
        OrderCommitment memory y = commitment(7);
        y.count = 1;
        Signature memory s = sign(signerSecrets[0], digestOf(x));
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        Signature memory mirror = Signature(s.r, bytes32(order - uint256(s.s)), s.v == 27 ? 28 : 27);
        SignedCommitment memory other = SignedCommitment(y, sign(signerSecrets[0], digestOf(y)));
        refuses(
            abi.encodeCall(SlasherAbi.verifyEquivocation, (SignedCommitment(x, mirror), other)),
            SlasherAbi.NotSigned.selector
        );
        s.v -= 27;
        refuses(
            abi.encodeCall(SlasherAbi.verifyEquivocation, (SignedCommitment(x, s), other)),
            SlasherAbi.NotSigned.selector
        );
    }

    // ---- double release

    function testDoubleRelease() public {
        slashes(doubleRelease(), 6, LEADER);
    }

    function release(ShareBundle memory x, uint256 i, ShareBundle memory y, uint256 j, uint64 epoch)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            SlasherAbi.verifyDoubleRelease,
            (
                SignedBundle(x, sign(signerSecrets[i], digestOf(x))),
                SignedBundle(y, sign(signerSecrets[j], digestOf(y))),
                epoch
            )
        );
    }

    function testDoubleReleaseRefused() public view {
        ShareBundle memory x = bundle(9, keccak256("one"), keccak256("shares"));
        ShareBundle memory y = bundle(9, keccak256("one"), keccak256("others"));
        refuses(release(x, 0, y, 0, 0), SlasherAbi.NoConflict.selector);
        y.commitment = keccak256("two");
        refuses(release(x, 0, y, 1, 0), SlasherAbi.NotSigned.selector);
        refuses(release(x, 1, y, 1, 0), SlasherAbi.NotAMember.selector);
        refuses(release(x, 0, y, 0, 1), SlasherAbi.UnknownEpoch.selector);
        y.height = 10;
        refuses(release(x, 0, y, 0, 0), SlasherAbi.DifferentSlots.selector);
        y.height = 9;
        y.member = 1;
        refuses(release(x, 0, y, 0, 0), SlasherAbi.DifferentSlots.selector);
        y.member = 0;
        y.chainId = 1;
        refuses(release(x, 0, y, 0, 0), SlasherAbi.ForeignChain.selector);
    }

    // ---- bad share

    function testBadShare() public {
        slashes(badShare(12_345), 7, LEADER);
    }

    function testBadShareOutsideSubgroup() public {
        (SealedEnvelope memory e,) = sealHello();
        slashes(badShareOf(e, words(addTorsion(mul(uOf(e), shareSecrets[0])))), 7, LEADER);
    }

    function testBadShareNoPoint() public {
        (SealedEnvelope memory e,) = sealHello();
        slashes(badShareOf(e, [bytes32(uint256(1)), 0, bytes32(uint256(5))]), 7, LEADER);
    }

    function testBadShareNotCanonical() public {
        (SealedEnvelope memory e,) = sealHello();
        slashes(badShareOf(e, [bytes32(type(uint256).max), 0, bytes32(uint256(5))]), 7, LEADER);
    }

    /// Infinity is a point, but nobody's share.
    function testBadShareInfinity() public {
        (SealedEnvelope memory e,) = sealHello();
        slashes(badShareOf(e, [bytes32(0), 0, 0]), 7, LEADER);
    }

    function testGoodShareRefused() public view {
        refuses(badShare(shareSecrets[0]), SlasherAbi.NoFault.selector);
    }

    /// With too little gas the checks stop; they never find for the accuser.
    function testBadShareWithLittleGas() public {
        (SealedEnvelope memory e,) = sealHello();
        bytes[3] memory all = [
            badShare(shareSecrets[0]),
            badShareOf(e, words(addTorsion(mul(uOf(e), shareSecrets[0])))),
            badShare(77)
        ];
        for (uint256 i = 0; i < 3; ++i) {
            bool convicted = false;
            for (uint256 limit = 20_000; limit < 420_000; limit += 1_511) {
                (bool ok, bytes memory answer) = a.slasher.staticcall{gas: limit}(all[i]);
                if (ok) {
                    convicted = true;
                    same(abi.decode(answer, (address)), signer(LEADER), "culprit");
                } else {
                    check(!convicted || i == 0, "more gas changes a verdict");
                }
            }
            check(convicted == (i != 0), "the good share stands, the bad ones do not");
        }
    }

    // ---- reordering, insertion, omission

    function testSwapped() public {
        slashes(swapped(), 2, POSTER);
    }

    function testInserted() public {
        slashes(inserted(), 2, POSTER);
    }

    function testOmitted() public {
        slashes(omitted(), 2, POSTER);
    }

    function testReorderingRefused() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Batch memory b = post(d, POSTER);
        for (uint32 i = 0; i < 5; ++i) {
            refuses(reorderingEvidence(d, b, 1, i), SlasherAbi.NoFault.selector);
        }
        refuses(reorderingEvidence(d, b, 2, 0), SlasherAbi.NoFault.selector);
        // Another batch than the posted one.
        b.openingCount += 1;
        refuses(reorderingEvidence(d, b, 1, 0), SlasherAbi.UnknownBatch.selector);
        b.openingCount -= 1;
        // The window has passed.
        vm.warp(block.timestamp + p.evidenceWindow + 1);
        refuses(reorderingEvidence(d, b, 1, 0), SlasherAbi.TooLate.selector);
        vm.warp(block.timestamp - 1);
        refuses(reorderingEvidence(d, b, 1, 0), SlasherAbi.NoFault.selector);
        // An opening of another index than the position's.
        ReorderingEvidence memory e;
        (e.batch, e.leaf, e.leafProof) = (b, d.leaves[1], leafProof(d, 1));
        (e.commitment, e.orderedId) = (d.heights[1].commitment, d.heights[1].ids[0]);
        e.orderProof = Trees.prove(orderLeaves(d.heights[1]), 0);
        (e.posted, e.openingProof) = (d.openings[3], openingProof(d, 3));
        refuses(abi.encodeCall(PosterAbi.verifyReordering, (e)), SlasherAbi.Unlinked.selector);
    }

    // ---- broken chain

    function testWrongHeight() public {
        slashes(wrongHeight(), 3, POSTER);
    }

    function testWrongCommitmentHeight() public {
        slashes(wrongCommitmentHeight(), 3, POSTER);
    }

    function testWrongOrderRoot() public {
        slashes(wrongOrderRoot(), 3, POSTER);
    }

    function testWrongFirstOffset() public {
        slashes(wrongFirstOffset(), 3, POSTER);
    }

    function testBrokenParent() public {
        slashes(brokenParent(), 3, POSTER);
    }

    function testBrokenOffset() public {
        slashes(brokenOffset(), 3, POSTER);
    }

    function testBrokenFirst() public {
        slashes(brokenFirst(), 3, POSTER);
    }

    function testBrokenCount() public {
        slashes(brokenCount(), 3, POSTER);
    }

    function testBrokenChainRefused() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Batch memory b = post(d, POSTER);
        for (uint256 i = 0; i < 3; ++i) {
            refuses(brokenLeafEvidence(d, b, i), SlasherAbi.NoFault.selector);
        }
        BrokenLinkEvidence memory e = linkEvidence(d, b);
        e.commitment = d.heights[1].commitment;
        refuses(abi.encodeCall(PosterAbi.verifyBrokenParent, (e)), SlasherAbi.NoFault.selector);
        refuses(abi.encodeCall(PosterAbi.verifyBrokenOffset, (e)), SlasherAbi.Unlinked.selector);
        e.commitment = d.heights[0].commitment;
        refuses(abi.encodeCall(PosterAbi.verifyBrokenOffset, (e)), SlasherAbi.NoFault.selector);
        refuses(abi.encodeCall(PosterAbi.verifyBrokenParent, (e)), SlasherAbi.Unlinked.selector);
        // Not neighbours.
        (e.upper, e.upperProof) = (d.leaves[2], leafProof(d, 2));
        refuses(abi.encodeCall(PosterAbi.verifyBrokenOffset, (e)), SlasherAbi.Unlinked.selector);
        (e.lower, e.lowerProof) = (d.leaves[2], leafProof(d, 2));
        e.commitment = d.heights[2].commitment;
        refuses(abi.encodeCall(PosterAbi.verifyBrokenParent, (e)), SlasherAbi.Unlinked.selector);
        refuses(
            abi.encodeCall(PosterAbi.verifyBrokenCount, (b, 8, Trees.top(openingLeaves(d)))),
            SlasherAbi.NoFault.selector
        );
        refuses(
            abi.encodeCall(PosterAbi.verifyBrokenCount, (b, 7, Trees.top(openingLeaves(d)))),
            SlasherAbi.Unlinked.selector
        );

        Draft memory next = draft(4, b.lastCommitment, counts(1, 1, 1));
        BrokenFirstEvidence memory f;
        f.previous = b;
        f.batch = post(next, POSTER);
        (f.leaf, f.leafProof, f.commitment) = (next.leaves[0], leafProof(next, 0), next.heights[0].commitment);
        refuses(abi.encodeCall(PosterAbi.verifyBrokenFirst, (f)), SlasherAbi.NoFault.selector);
        (f.leaf, f.leafProof, f.commitment) = (next.leaves[1], leafProof(next, 1), next.heights[1].commitment);
        refuses(abi.encodeCall(PosterAbi.verifyBrokenFirst, (f)), SlasherAbi.Unlinked.selector);
    }

    // ---- forged commitment

    function testForgedCommitment() public {
        slashes(forgedCommitment(), 4, POSTER);
    }

    /// A signature that recovers to nobody is as forged as another's.
    function testForgedGarbage() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Signature memory s = Signature(bytes32(uint256(1)), bytes32(type(uint256).max), 99);
        d.leaves[1].signatureHash = keccak256(abi.encodePacked(s.r, s.s, s.v));
        roots(d);
        slashes(forgedEvidence(d, post(d, POSTER), s), 4, POSTER);
    }

    function testForgedRefused() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Batch memory b = post(d, POSTER);
        refuses(forgedEvidence(d, b, d.heights[1].signature), SlasherAbi.NoFault.selector);
        refuses(forgedEvidence(d, b, d.heights[0].signature), SlasherAbi.Unlinked.selector);
        // Another view's leader.
        OrderCommitment memory c = d.heights[1].commitment;
        ForgedCommitmentEvidence memory e = ForgedCommitmentEvidence({
            batch: b,
            leaf: d.leaves[1],
            leafProof: leafProof(d, 1),
            commitment: c,
            signature: d.heights[1].signature,
            leader: signer(leaderOf(c.view_ + 1)),
            scheduleProof: scheduleProof(c.view_ + 1)
        });
        refuses(abi.encodeCall(PosterAbi.verifyForgedCommitment, (e)), SlasherAbi.Unlinked.selector);
    }

    // ---- wrong opening

    function testWrongMessage() public {
        slashes(wrongMessage(), 5, POSTER);
    }

    function testWrongSecret() public {
        slashes(wrongSecret(), 5, POSTER);
    }

    function testSecretOutsideSubgroup() public {
        slashes(secretOutsideSubgroup(), 5, POSTER);
    }

    function testSecretNotOnCurve() public {
        slashes(secretNotOnCurve(), 5, POSTER);
    }

    function testSecretNotCanonical() public {
        slashes(secretNotCanonical(), 5, POSTER);
    }

    function testRightOpeningsRefused() public {
        (SealedEnvelope memory e, uint256 r) = sealHello();
        uint256 state = vm.snapshotState();
        refuses(openingEvidence(e, opened("hello"), [uint256(0), 0]), SlasherAbi.NoFault.selector);
        vm.revertToState(state);
        uint256[4] memory secret = mul(committees.keyOf(0), r);
        refuses(secretEvidence(secret), SlasherAbi.NoFault.selector);
        vm.revertToState(state);
        // The other root is another point's.
        (uint256 hi, uint256 lo) = Bls.negate(secret[2], secret[3]);
        refuses(
            openingEvidence(e, Opening(1, 0, "", pointBytes(secret)), [hi, lo]), SlasherAbi.Unlinked.selector
        );
    }

    /// The id does not cover the payer's signature. If any would do, whoever shows another's could make every
    /// opening look wrong.
    function testAnotherPayersSignatureRefused() public {
        (SealedEnvelope memory e,) = sealHello();
        e.payer = sign(
            0xb0b, keccak256(abi.encodePacked("BLINDFOLD-V1/envelope-signature/", keccak256(e.preimage)))
        );
        refuses(openingEvidence(e, opened("hello"), [uint256(0), 0]), SlasherAbi.NotThePayer.selector);
    }

    /// A wallet may add a point of small order to w: members accept it, so it must be provable too.
    function testTorsionInProof() public {
        (SealedEnvelope memory e,) = torsionEnvelope();
        uint256 state = vm.snapshotState();
        refuses(openingEvidence(e, opened("hello"), [uint256(0), 0]), SlasherAbi.NoFault.selector);
        vm.revertToState(state);
        bytes memory evidence = openingEvidence(e, opened("hellp"), [uint256(0), 0]);
        slashes(evidence, 5, POSTER);
    }

    function torsionEnvelope() internal view returns (SealedEnvelope memory e, uint256 r) {
        Sealing memory s = Sealing(0xa11ce, 3, keccak256("seed"), "hello");
        uint256[4] memory y = committees.keyOf(0);
        bytes32 label = Envelopes.label(fieldsOf(s.nonce), vm.addr(s.payerSecret));
        r = sealingScalar(s.seed, label, y, s.message);
        uint256[4] memory u = Bls.mulGenerator(r);
        uint256[4] memory w = addTorsion(Bls.mulGenerator(99));
        e.uY = [u[2], u[3]];
        e.wY = [w[2], w[3]];
        bytes memory points = pointBytes(u);
        bytes32 c = keccak256(
            bytes.concat(
                abi.encodePacked("blindfold.crypto.v1.proof", pointBytes(y), label),
                points,
                points,
                abi.encodePacked(keccak256("wrapped"), keccak256("body")),
                pointBytes(w),
                points
            )
        );
        uint256 z = addmod(99, mulmod(uint128(bytes16(c)), r, Bls.Q), Bls.Q);
        e.preimage = preimageOf(s.nonce, points, pointBytes(w), z);
        e.payer = sign(
            s.payerSecret,
            keccak256(abi.encodePacked("BLINDFOLD-V1/envelope-signature/", keccak256(e.preimage)))
        );
    }

    // ---- reports

    function testNobodyTakesAnothersReport() public {
        bytes memory evidence = equivocation();
        commitTo(evidence);
        // Whoever reads it in the mempool has committed to nothing yet.
        address thief = address(0x7411ef);
        vm.prank(thief);
        vm.expectRevert(SlasherAbi.NotCommitted.selector);
        slasher.report(evidence, SALT);
        bytes32 commit = keccak256(abi.encode(thief, keccak256(evidence), SALT));
        vm.prank(thief);
        slasher.commitReport(commit);
        vm.prank(thief);
        vm.expectRevert(SlasherAbi.TooEarly.selector);
        slasher.report(evidence, SALT);
        vm.prank(REPORTER);
        slasher.report(evidence, SALT);
        vm.roll(block.number + 10);
        vm.prank(thief);
        vm.expectRevert(SlasherAbi.SignerSlashed.selector);
        slasher.report(evidence, SALT);
    }

    function testCommitTimes() public {
        bytes memory evidence = equivocation();
        bytes32 commit = slasher.commitOf(REPORTER, keccak256(evidence), SALT);
        same(commit, keccak256(abi.encode(REPORTER, keccak256(evidence), SALT)), "commit");
        slasher.commitReport(commit);
        // Committing again must not move the time, or anyone could put a report off for ever.
        vm.roll(block.number + 1);
        vm.expectRevert(SlasherAbi.AlreadyCommitted.selector);
        slasher.commitReport(commit);
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.TooEarly.selector);
        slasher.report(evidence, SALT);
        uint256 state = vm.snapshotState();
        vm.roll(block.number + 1 + 256);
        vm.prank(REPORTER);
        slasher.report(evidence, SALT);
        vm.revertToState(state);
        vm.roll(block.number + 1 + 257);
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.TooLate.selector);
        slasher.report(evidence, SALT);
        slasher.commitReport(commit);
        vm.roll(block.number + 2);
        vm.prank(REPORTER);
        slasher.report(evidence, SALT);
    }

    function testOtherEvidenceThanCommitted() public {
        commitTo(equivocation());
        bytes memory other = doubleRelease();
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.NotCommitted.selector);
        slasher.report(other, SALT);
    }

    /// Only the checks of offences may be called through a report.
    function testUnknownOffences() public {
        bytes[6] memory others = [
            abi.encodeCall(SlasherAbi.commitOf, (address(1), bytes32(0), bytes32(0))),
            abi.encodeCall(SlasherAbi.kindOf, (hex"00")),
            abi.encodeCall(SlasherAbi.verify, (equivocation())),
            abi.encodeCall(SlasherAbi.posterVerifier, ()),
            abi.encodeCall(PosterAbi.executedLag, ()),
            bytes(hex"0011")
        ];
        for (uint256 i = 0; i < others.length; ++i) {
            commitTo(others[i]);
            vm.prank(REPORTER);
            vm.expectRevert(SlasherAbi.UnknownOffence.selector);
            slasher.report(others[i], SALT);
        }
    }

    /// A culprit without stake is marked all the same, and nobody is paid.
    function testExitingStakeIsTakenAndLeftStakeIsNot() public {
        vault.requestExit(signer(LEADER), STAKE);
        same(vault.stakeOf(signer(LEADER)), 0, "no stake");
        vm.warp(block.timestamp + p.exitDelay);
        uint256 state = vm.snapshotState();
        slashes(equivocation(), 1, LEADER);
        vm.revertToState(state);
        vault.claim(signer(LEADER));
        (address culprit, uint256 reward) = report(equivocation());
        same(culprit, signer(LEADER), "culprit");
        same(reward, 0, "reward");
        check(vault.isSlashed(culprit), "slashed");
    }

    /// The poster verifier has the parameters of the deployment, and whoever asks it gets what the slasher gets.
    function testPosterVerifier() public {
        PosterAbi posters = PosterAbi(slasher.posterVerifier());
        same(uint256(posters.evidenceWindow()), p.evidenceWindow, "evidence window");
        same(uint256(posters.executedLag()), p.executedLag, "executed lag");
        bytes memory evidence = swapped();
        (uint8 kind, address culprit, bytes32 subject) = slasher.verify(evidence);
        same(uint256(kind), 2, "kind");
        same(culprit, signer(POSTER), "culprit");
        (bool ok, bytes memory answer) = address(posters).staticcall(evidence);
        check(ok, "asked itself");
        same(keccak256(answer), keccak256(abi.encode(culprit, subject)), "the same answer");
    }

    receive() external payable {}
}
