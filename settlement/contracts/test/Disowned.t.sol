// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Handover.sol";
import "./Verdicts.sol";

/// Openings that a quorum did not certify: whoever posted one loses its stake, whatever envelope and opening
/// say; and nobody does without a quorum's certificate for the very height.
contract DisownedOpeningTest is Verdicts, Handover {
    function setUp() public {
        deploy(".committee4");
    }

    function refuses(DisownedOpeningEvidence memory e, bytes4 reason) internal view {
        refuses(disownedCall(e), reason);
    }

    /// A posted batch with another opening at position 1 of height 2, and what proves it.
    function offence(uint64 above) internal returns (DisownedOpeningEvidence memory) {
        Draft memory d = disownedDraft();
        return disownedEvidence(d, post(d, POSTER), 1, 1, above);
    }

    function testDisowned() public {
        slashes(disowned(0), 5, POSTER);
    }

    function testDisownedThroughAncestors() public {
        slashes(disowned(3), 5, POSTER);
    }

    /// An envelope that opens, called undecryptable with its right secret: pairing finds nothing wrong.
    function testCalledUndecryptableWithTheRightSecret() public {
        (SealedEnvelope memory e, uint256 r) = sealHello();
        uint256[4] memory secret = mul(committees.keyOf(0), r);
        tale(e, opened("hello"), Opening(1, 0, "", pointBytes(secret)), [secret[2], secret[3]]);
    }

    /// An opening that fits u, of an envelope whose body is something else, so that the committee called it
    /// undecryptable: sealing again gives the right u.
    function testOpeningThatFitsOnlyU() public {
        (SealedEnvelope memory e, uint256 r) = sealHello();
        bytes memory secret = pointBytes(mul(committees.keyOf(0), r));
        tale(e, Opening(1, 0, "", secret), opened("hello"), [uint256(0), 0]);
    }

    /// The committee has `right` for an envelope, the batch `posted`, with which L1 finds nothing wrong.
    function tale(SealedEnvelope memory e, Opening memory right, Opening memory posted, uint256[2] memory root)
        internal
    {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.heights[1].ids[1] = keccak256(e.preimage);
        d.heights[1].openingHashes[1] = this.openingHashOf(right);
        seal(d.heights[1]);
        d.heights[2].commitment.parent = digestOf(d.heights[1].commitment);
        seal(d.heights[2]);
        rebuild(d);
        d.openings[3].openingHash = this.openingHashOf(posted);
        roots(d);
        WrongOpeningEvidence memory w;
        w.batch = post(d, POSTER);
        (w.height, w.position, w.openingProof) = (2, 1, openingProof(d, 3));
        (w.envelope, w.opening, w.secretRoot) = (e, posted, root);
        refuses(abi.encodeCall(PosterAbi.verifyWrongOpening, (w)), SlasherAbi.NoFault.selector);
        slashes(disownedCall(disownedEvidence(d, w.batch, 1, 1, 0)), 5, POSTER);
    }

    /// Both forms of the offence have one id, so nobody counts it twice.
    function testSameOffenceAsAWrongOpening() public {
        uint256 state = vm.snapshotState();
        bytes memory wrong = wrongMessage();
        (, address culprit, bytes32 subject) = slasher.verify(wrong);
        same(culprit, signer(POSTER), "culprit");
        same(subject, keccak256(abi.encode(uint64(1), uint64(2), uint32(1))), "subject of a wrong opening");
        vm.revertToState(state);
        (, culprit, subject) = slasher.verify(disowned(0));
        same(culprit, signer(POSTER), "culprit");
        same(subject, keccak256(abi.encode(uint64(1), uint64(2), uint32(1))), "subject of a disowned one");
    }

    // ---- who is not accused

    function testHonestBatchesRefused() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Batch memory b = post(d, POSTER);
        for (uint256 height = 0; height < 3; ++height) {
            for (uint32 position = 0; position < d.heights[height].ids.length; ++position) {
                refuses(disownedEvidence(d, b, height, position, uint64(height)), SlasherAbi.NoFault.selector);
            }
        }
    }

    function testOtherBatchesAndTimes() public {
        DisownedOpeningEvidence memory e = offence(0);
        e.batch.l1Block += 1;
        refuses(e, SlasherAbi.UnknownBatch.selector);
        e.batch.l1Block -= 1;
        e.batch.index = 0;
        refuses(e, SlasherAbi.UnknownBatch.selector);
        e.batch.index = 1;
        vm.warp(block.timestamp + p.evidenceWindow);
        (bool ok,) = ask(disownedCall(e));
        check(ok, "until the window ends");
        vm.warp(block.timestamp + 1);
        refuses(e, SlasherAbi.TooLate.selector);
    }

    /// The batch of the height above answers for its own leaves only.
    function testAnotherBatchThanThePosters() public {
        Draft memory d = disownedDraft();
        Batch memory b = post(d, POSTER);
        Draft memory next = draft(4, b.lastCommitment, counts(1, 1, 1));
        DisownedOpeningEvidence memory e = disownedEvidence(d, b, 1, 1, 0);
        e.batch = post(next, 1);
        refuses(e, SlasherAbi.Unlinked.selector);
    }

    /// A batch without heights has no openings.
    function testForcedBatchRefused() public {
        DisownedOpeningEvidence memory e = offence(0);
        vm.deal(address(this), 1 ether);
        queue.force{value: p.forcedFee}(1, "x");
        vm.roll(block.number + p.forcedFallbackBlocks);
        bytes32 parent = inbox.batchHash(1);
        inbox.postForced(1);
        Batch memory b;
        (b.index, b.parent, b.firstHeight, b.lastHeight, b.forcedHead) = (2, parent, 4, 3, 1);
        (b.poster, b.l1Block, b.postedAt) = (address(this), uint64(block.number), uint64(block.timestamp));
        same(inbox.batchHash(2), keccak256(abi.encode(b)), "the batch as posted");
        e.batch = b;
        refuses(e, SlasherAbi.Unlinked.selector);
    }

    /// What a quorum says of another envelope than the posted one convicts nobody: the order does.
    function testAnotherEnvelopeRefused() public {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        Batch memory b = post(d, POSTER);
        d.heights[1].ids[1] = keccak256("another envelope");
        d.heights[1].openingHashes[1] = keccak256("its opening");
        refuses(disownedEvidence(d, b, 1, 1, 0), SlasherAbi.Unlinked.selector);
    }

    /// The leaf of another height or position than the posted one.
    function testAnotherPlaceRefused() public {
        Draft memory d = disownedDraft();
        Batch memory b = post(d, POSTER);
        DisownedOpeningEvidence memory e = disownedEvidence(d, b, 1, 1, 0);
        Height memory h = d.heights[1];
        // The right leaf's hash, at another index of a tree that the quorum certified.
        (h.ids[2], h.openingHashes[2]) = (h.ids[1], h.openingHashes[1]);
        bytes32[] memory leaves = heightLeaves(h);
        leaves[2] = leaves[1];
        e.openingRoot = Trees.root(leaves);
        e.certifiedProof = Trees.prove(leaves, 2);
        carry(e);
        refuses(e, SlasherAbi.Unlinked.selector);
        // Beyond the end of the height.
        e = disownedEvidence(d, b, 1, 1, 0);
        e.certifiedProof.count = 1;
        refuses(e, SlasherAbi.Unlinked.selector);
        // A height without openings.
        e = disownedEvidence(d, b, 1, 1, 0);
        e.openingRoot = Trees.root(new bytes32[](0));
        e.certifiedProof = MerkleProof(0, 1, new bytes32[](0));
        carry(e);
        refuses(e, SlasherAbi.Unlinked.selector);
        // The posted leaf is not in the batch.
        e = disownedEvidence(d, b, 1, 1, 0);
        e.posted.openingHash = keccak256("not posted");
        refuses(e, SlasherAbi.Unlinked.selector);
    }

    function testOtherHeightsRefused() public {
        DisownedOpeningEvidence memory e = offence(1);
        OrderCommitment[] memory chain = e.chain;
        // Beginning one above, or one below, with the right root in it.
        e.chain = new OrderCommitment[](1);
        for (uint64 height = 9; height <= 11; height += 2) {
            e.chain[0] = commitment(height);
            carry(e);
            refuses(e, SlasherAbi.Unlinked.selector);
        }
        e.chain = new OrderCommitment[](0);
        refuses(e, SlasherAbi.Unlinked.selector);
        // A root over something else.
        e.chain = chain;
        e.chain[0].executedRoot = keccak256("another root");
        e.certificate = certify(e.chain[1]);
        refuses(e, SlasherAbi.Unlinked.selector);
    }

    // ---- certificates

    function testNotCertified() public {
        DisownedOpeningEvidence memory e = offence(2);
        bytes4 reason = SlasherAbi.NotCertified.selector;
        Certificate memory right = e.certificate;
        e.certificate = certifyBy(e.chain[2], quorum() - 1);
        refuses(e, reason);
        // Of another commitment than the last.
        e.certificate = certify(e.chain[1]);
        refuses(e, reason);
        e.certificate = right;
        (bool ok,) = ask(disownedCall(e));
        check(ok, "the right one");
        e.certificate.view_ += 1;
        refuses(e, reason);
        e.certificate.view_ -= 1;
        e.certificate.signers = hex"";
        refuses(e, reason);
    }

    function testBrokenChainsRefused() public {
        DisownedOpeningEvidence memory e = offence(2);
        bytes4 reason = SlasherAbi.NotCertified.selector;
        // The certified one does not name the one below.
        e.chain[1].baseFee += 1;
        refuses(e, reason);
        e.chain[1].baseFee -= 1;
        // One left out.
        OrderCommitment[] memory holes = new OrderCommitment[](2);
        (holes[0], holes[1]) = (e.chain[0], e.chain[2]);
        OrderCommitment[] memory whole = e.chain;
        e.chain = holes;
        refuses(e, reason);
        e.chain = whole;
        // The first one is nobody's parent: somebody's word.
        e.chain[0].timestampMs += 1;
        refuses(e, reason);
    }

    function testForeignCommitmentsRefused() public {
        DisownedOpeningEvidence memory e = offence(1);
        bytes4 reason = SlasherAbi.NotCertified.selector;
        for (uint256 i = 0; i < 2; ++i) {
            e.chain[i].chainId += 1;
            carry(e);
            refuses(e, reason);
            e.chain[i].chainId -= 1;
            e.chain[i].settlement = address(this);
            carry(e);
            refuses(e, reason);
            e.chain[i].settlement = a.inbox;
        }
        carry(e);
        (bool ok,) = ask(disownedCall(e));
        check(ok, "ours");
    }

    /// With too little gas the certificate fails, and nobody is convicted by that.
    function testLittleGas() public {
        DisownedOpeningEvidence memory e = offence(0);
        bytes memory right = abi.encodeCall(SlasherAbi.verify, (disownedCall(e)));
        e.certificate = certifyBy(e.chain[0], quorum() - 1);
        bytes memory wrong = abi.encodeCall(SlasherAbi.verify, (disownedCall(e)));
        bool convicted = false;
        for (uint256 limit = 20_000; limit < 420_000; limit += 2_477) {
            (bool ok,) = a.slasher.staticcall{gas: limit}(wrong);
            check(!ok, "no quorum, no conviction");
            (ok,) = a.slasher.staticcall{gas: limit}(right);
            check(ok || !convicted, "more gas changes a verdict");
            convicted = ok;
        }
        check(convicted, "with enough of it");
    }

    // ---- committees that hand over

    /// The openings of epoch 0 are certified by epoch 1: the root comes `executedLag` heights later.
    function testCertifiedByTheNextCommittee() public {
        DisownedOpeningEvidence memory e = offence(0);
        handOver(10);
        // The old one has nothing to say about height 10 any more.
        refuses(e, SlasherAbi.NotCertified.selector);
        e.chain[0].epoch = 1;
        carry(e);
        slashes(disownedCall(e), 5, POSTER);
    }

    /// The root lies in the last height of epoch 0, whose certificate may be the first of epoch 1.
    function testThroughTheHandover() public {
        DisownedOpeningEvidence memory e = offence(1);
        handOver(11);
        refuses(e, SlasherAbi.NotCertified.selector);
        e.chain[1].epoch = 1;
        carry(e);
        slashes(disownedCall(e), 5, POSTER);
    }

    function testUnknownEpochRefused() public {
        DisownedOpeningEvidence memory e = offence(0);
        e.chain[0].epoch = 1;
        carry(e);
        refuses(e, SlasherAbi.UnknownEpoch.selector);
    }

    receive() external payable {}
}
