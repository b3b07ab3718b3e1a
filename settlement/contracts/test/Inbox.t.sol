// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";

contract InboxTest is World {
    bytes32 internal constant GENESIS = keccak256("genesis");

    function setUp() public {
        deploy(".committee4");
        vm.deal(address(this), 100 ether);
    }

    function some() internal view returns (Draft memory) {
        return draft(1, GENESIS, counts(2, 5, 1));
    }

    /// Posts with every part given, expecting a refusal.
    function postReverts(Draft memory d, OrderCommitment memory last, Certificate memory cert, bytes4 reason)
        internal
    {
        MerkleProof memory proof = leafProof(d, d.leaves.length - 1);
        AccumulatorLeaf memory leaf = d.leaves[d.leaves.length - 1];
        vm.prank(signer(2));
        vm.expectRevert(reason);
        inbox.postBatch(d.input, last, cert, leaf, proof, "data");
    }

    function postReverts(Draft memory d, bytes4 reason) internal {
        OrderCommitment memory last = d.heights[d.heights.length - 1].commitment;
        postReverts(d, last, certify(last), reason);
    }

    /// Changes the last commitment, and what the draft says about it.
    function withLast(Draft memory d, OrderCommitment memory last) internal view returns (Draft memory) {
        d.heights[2].commitment = last;
        seal(d.heights[2]);
        rebuild(d);
        return d;
    }

    // ---- posting

    function testChainOfBatches() public {
        Batch memory first = post(some(), 2);
        same(first.parent, p.genesisHash, "parent of the first");
        Batch memory second = post(draft(4, first.lastCommitment, counts(0, 1, 0)), 3);
        same(second.parent, inbox.batchHash(1), "parent of the second");
        (uint64 count, uint64 lastHeight, uint64 forcedHead, bytes32 hash) = inbox.head();
        check(count == 2 && lastHeight == 6 && forcedHead == 0 && hash == inbox.batchHash(2), "head");
        same(inbox.batchHash(3), bytes32(0), "no third");
    }

    function testBrokenChain() public {
        Draft memory d = some();
        d.input.parent = keccak256("another");
        postReverts(d, Inbox.BrokenChain.selector);
        d = draft(2, GENESIS, counts(1, 1, 1));
        postReverts(d, Inbox.BrokenChain.selector);
        post(some(), 2);
        postReverts(some(), Inbox.BrokenChain.selector);
        // Heights that end before they begin.
        d = draft(4, GENESIS, counts(1, 1, 1));
        OrderCommitment memory last = commitment(3);
        postReverts(d, last, certify(last), Inbox.BrokenChain.selector);
    }

    /// Two posters at once: the second finds the chain moved on.
    function testNoFork() public {
        Draft memory one = some();
        Draft memory two = draft(1, GENESIS, counts(1, 1, 1));
        post(one, 2);
        postReverts(two, Inbox.BrokenChain.selector);
    }

    function testBadCertificate() public {
        Draft memory d = some();
        OrderCommitment memory last = d.heights[2].commitment;
        postReverts(d, last, certifyBy(last, 2), Inbox.BadCertificate.selector);
        postReverts(d, last, certify(d.heights[1].commitment), Inbox.BadCertificate.selector);
        last.chainId += 1;
        postReverts(d, last, certify(last), Inbox.ForeignCommitment.selector);
        last.chainId -= 1;
        last.settlement = address(1);
        postReverts(d, last, certify(last), Inbox.ForeignCommitment.selector);
    }

    function testNotStaked() public {
        Draft memory d = some();
        OrderCommitment memory last = d.heights[2].commitment;
        Certificate memory cert = certify(last);
        MerkleProof memory proof = leafProof(d, 2);
        // Stake without a seat.
        vault.deposit{value: 50 ether}(address(this));
        vm.expectRevert(Inbox.NotStaked.selector);
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "data");
        // A seat with too little stake.
        vault.requestExit(signer(2), STAKE - p.minStake + 1);
        vm.prank(signer(2));
        vm.expectRevert(Inbox.NotStaked.selector);
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "data");
        vault.deposit{value: 1}(signer(2));
        vm.prank(signer(2));
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "data");
    }

    function testSlashedSignerPostsNoMore() public {
        vm.prank(a.slasher);
        vault.slash(signer(2), REPORTER);
        postReverts(some(), Inbox.NotStaked.selector);
        post(some(), 1);
    }

    function testHeightsOfAnotherEpoch() public {
        GenesisCommittee memory g = abi.decode(genesisCommittee, (GenesisCommittee));
        NextCommittee memory n =
            NextCommittee(1, 3, g.threshold, g.y, g.y2, g.scheduleRoot, g.members);
        bytes memory message = abi.encodePacked(
            uint8(64), "BLINDFOLD-V1/committee-handover/", p.genesisHash, committees.handoverPayload(n)
        );
        committees.accept(n, Certificate(0, 0, bitmap(3), vote(message, 3)));
        postReverts(some(), Inbox.NotInEpoch.selector);
        vm.warp(block.timestamp + 1);
        showReverts(later(3, 0), Inbox.NotInEpoch.selector);
        Draft memory d = some();
        OrderCommitment memory last = d.heights[2].commitment;
        last.epoch = 1;
        postReverts(withLast(d, last), Inbox.NotInEpoch.selector);
    }

    function testLastLeaf() public {
        Draft memory d = some();
        d.leaves[2].digest = keccak256("other");
        roots(d);
        postReverts(d, Inbox.BadLastLeaf.selector);
        d = some();
        d.leaves[2].orderRoot = keccak256("other");
        roots(d);
        postReverts(d, Inbox.BadLastLeaf.selector);
        d = some();
        d.leaves[2].offset = 6;
        roots(d);
        postReverts(d, Inbox.BadLastLeaf.selector);
        d = some();
        d.leaves[2].height = 4;
        roots(d);
        postReverts(d, Inbox.BadLastLeaf.selector);
        d = some();
        d.input.openingCount += 1;
        postReverts(d, Inbox.BadLastLeaf.selector);
        d = some();
        d.input.accumulatorRoot = keccak256("other");
        postReverts(d, Inbox.BadLastLeaf.selector);
        // A leaf too many.
        d = some();
        AccumulatorLeaf[] memory more = new AccumulatorLeaf[](4);
        for (uint256 i = 0; i < 3; ++i) {
            more[i + 1] = d.leaves[i];
        }
        more[0] = d.leaves[0];
        d.leaves = more;
        roots(d);
        postReverts(d, Inbox.BadLastLeaf.selector);
    }

    function testData() public {
        Draft memory d = some();
        OrderCommitment memory last = d.heights[2].commitment;
        Certificate memory cert = certify(last);
        MerkleProof memory proof = leafProof(d, 2);
        vm.prank(signer(2));
        vm.expectRevert(Inbox.NoData.selector);
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "");
        bytes32[] memory blobs = new bytes32[](2);
        (blobs[0], blobs[1]) = (bytes32(uint256(1 << 248) | 5), bytes32(uint256(1 << 248) | 6));
        vm.blobhashes(blobs);
        vm.prank(signer(2));
        vm.expectRevert(Inbox.MixedData.selector);
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "data");
        vm.prank(signer(2));
        inbox.postBatch(d.input, last, cert, d.leaves[2], proof, "");
        Batch memory b = batchOf(d, 2);
        b.dataHash = keccak256(abi.encodePacked(uint8(1), blobs[0], blobs[1]));
        same(inbox.batchHash(1), keccak256(abi.encode(b)), "blobs");
    }

    function testEvent() public {
        vm.recordLogs();
        Draft memory d = some();
        Batch memory b = post(d, 2);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory log = logs[logs.length - 1];
        same(log.topics[0], Inbox.BatchPosted.selector, "event");
        same(log.topics[2], inbox.batchHash(1), "hash");
        same(keccak256(log.data), keccak256(abi.encode(b)), "the whole batch");
    }

    function testCredit() public {
        vm.fee(3 gwei);
        post(some(), 2);
        uint256 credit = inbox.credit(signer(2));
        check(credit > 200_000 * 3 gwei && credit < 600_000 * 3 gwei, "about what it cost");
        vm.prank(signer(2));
        same(uint256(inbox.claimPosting()), 0, "first item");
        same(inbox.credit(signer(2)), 0, "claimed");
        bytes32 item = keccak256(
            abi.encodePacked(
                "BLINDFOLD-V1/forced-item/",
                uint64(0),
                uint8(4),
                signer(2),
                keccak256(abi.encodePacked(signer(2), credit))
            )
        );
        same(
            queue.hashAt(1),
            keccak256(abi.encodePacked("BLINDFOLD-V1/forced-queue/", bytes32(0), item)),
            "a repayment"
        );
        vm.prank(signer(2));
        vm.expectRevert(Inbox.NothingToClaim.selector);
        inbox.claimPosting();
    }

    // ---- forced items

    function force() internal {
        queue.force{value: p.forcedFee}(1, "a transaction");
    }

    function testQueue() public {
        vm.expectRevert(Queue.FeeTooLow.selector);
        queue.force{value: p.forcedFee - 1}(1, "x");
        vm.expectRevert(Queue.WrongKind.selector);
        queue.force{value: p.forcedFee}(2, "x");
        vm.expectRevert(Queue.WrongLength.selector);
        queue.force{value: p.forcedFee}(1, "");
        vm.expectRevert(Queue.WrongLength.selector);
        queue.force{value: p.forcedFee}(1, new bytes(2_049));
        vm.expectRevert(Queue.NotAllowed.selector);
        queue.push(2, address(this), "x");
        vm.prank(a.inbox);
        vm.expectRevert(Queue.NotAllowed.selector);
        queue.push(3, address(this), "x");
        vm.prank(a.bridge);
        vm.expectRevert(Queue.NotAllowed.selector);
        queue.push(4, address(this), "x");
        vm.prank(a.bridge);
        vm.expectRevert(Queue.WrongKind.selector);
        queue.push(1, address(this), "x");
        vm.expectRevert(Queue.OutOfRange.selector);
        queue.hashAt(1);
        vm.expectRevert(Queue.OutOfRange.selector);
        queue.blockOf(0);
        bytes32 rolling = 0;
        for (uint64 i = 0; i < 11; ++i) {
            vm.roll(block.number + i);
            same(uint256(queue.force{value: p.forcedFee}(uint8(i % 2), abi.encode(i))), i, "index");
            bytes32 item = keccak256(
                abi.encodePacked(
                    "BLINDFOLD-V1/forced-item/", i, uint8(i % 2), address(this), keccak256(abi.encode(i))
                )
            );
            rolling = keccak256(abi.encodePacked("BLINDFOLD-V1/forced-queue/", rolling, item));
            same(queue.hashAt(i + 1), rolling, "rolling hash");
            same(uint256(queue.blockOf(i)), block.number, "block");
        }
        for (uint256 number = 990; number < 1_080; ++number) {
            uint64 due = 0;
            while (due < 11 && uint256(queue.blockOf(due)) + 10 <= number) ++due;
            same(uint256(queue.dueBy(number, 10)), due, "due");
        }
    }

    function testForcedSkipped() public {
        force();
        vm.roll(block.number + p.forcedDeadlineBlocks - 1);
        uint256 state = vm.snapshotState();
        post(some(), 2);
        vm.revertToState(state);
        vm.roll(block.number + 1);
        postReverts(some(), Inbox.ForcedSkipped.selector);
        Draft memory d = some();
        OrderCommitment memory last = d.heights[2].commitment;
        last.forcedCursor = 1;
        postReverts(withLast(d, last), Inbox.WrongForcedHash.selector);
        last.forcedHash = queue.hashAt(1);
        d = withLast(d, last);
        post(d, 2);
        (,, uint64 forcedHead,) = inbox.head();
        same(uint256(forcedHead), 1, "consumed");
        // The head never goes back.
        d = draft(4, GENESIS, counts(1, 1, 1));
        postReverts(d, Inbox.ForcedSkipped.selector);
        // Nor beyond the queue.
        last = d.heights[2].commitment;
        last.forcedCursor = 2;
        postReverts(withLast(d, last), Inbox.WrongForcedHash.selector);
    }

    function testPostForced() public {
        vm.expectRevert(Inbox.NothingDue.selector);
        inbox.postForced(1);
        Batch memory first = post(some(), 2);
        force();
        vm.roll(block.number + 5);
        force();
        vm.roll(block.number + p.forcedFallbackBlocks - 6);
        vm.expectRevert(Inbox.NothingDue.selector);
        inbox.postForced(1);
        vm.roll(block.number + 1);
        vm.expectRevert(Inbox.OutOfRange.selector);
        inbox.postForced(0);
        vm.expectRevert(Inbox.OutOfRange.selector);
        inbox.postForced(3);
        inbox.postForced(2);
        (uint64 count, uint64 lastHeight, uint64 forcedHead, bytes32 hash) = inbox.head();
        check(count == 2 && lastHeight == 3 && forcedHead == 2, "head");
        Batch memory b;
        (b.index, b.parent, b.firstHeight, b.lastHeight, b.forcedHead) = (2, inbox.batchHash(1), 4, 3, 2);
        (b.poster, b.l1Block, b.postedAt) = (address(this), uint64(block.number), uint64(block.timestamp));
        same(hash, keccak256(abi.encode(b)), "a batch without heights");
        // Nothing in it can be challenged.
        vm.expectRevert(Inbox.OutOfRange.selector);
        inbox.challenge{value: p.challengeBond}(b, 3, 0);
        // The committee goes on where it stood, beyond what was consumed.
        Draft memory d = draft(4, first.lastCommitment, counts(1, 1, 1));
        postReverts(d, Inbox.ForcedSkipped.selector);
        OrderCommitment memory last = d.heights[2].commitment;
        (last.forcedCursor, last.forcedHash) = (2, queue.hashAt(2));
        post(withLast(d, last), 2);
    }

    /// A batch of three heights from `first` on, whose last has consumed `cursor` forced items.
    function consuming(uint64 first, uint64 cursor) internal view returns (Draft memory d) {
        d = draft(first, GENESIS, counts(1, 1, 1));
        OrderCommitment memory last = d.heights[2].commitment;
        (last.forcedCursor, last.forcedHash) = (cursor, queue.hashAt(cursor));
        return withLast(d, last);
    }

    /// A commitment that has consumed `cursor` forced items.
    function later(uint64 height, uint64 cursor) internal view returns (OrderCommitment memory c) {
        c = commitment(height);
        (c.forcedCursor, c.forcedHash) = (cursor, queue.hashAt(cursor));
    }

    function showReverts(OrderCommitment memory c, Certificate memory cert, bytes4 reason) internal {
        vm.expectRevert(reason);
        inbox.showOrdered(c, cert);
    }

    function showReverts(OrderCommitment memory c, bytes4 reason) internal {
        showReverts(c, certify(c), reason);
    }

    function show(uint64 height, uint64 cursor) internal {
        OrderCommitment memory c = later(height, cursor);
        inbox.showOrdered(c, certify(c));
        (uint64 shownHeight, uint64 shownCursor) = inbox.shown();
        check(shownHeight == height && shownCursor == cursor, "shown");
    }

    /// More heights than one batch holds, below the one that consumed what is due.
    function testShowOrdered() public {
        vm.warp(block.timestamp + 1 days);
        force();
        vm.roll(block.number + p.forcedDeadlineBlocks);
        postReverts(consuming(1, 0), Inbox.ForcedSkipped.selector);
        // Only a certified height above that has consumed it, not too far, helps.
        showReverts(later(9, 0), Inbox.ForcedSkipped.selector);
        showReverts(later(0, 1), Inbox.OutOfRange.selector);
        showReverts(later(1 + (1 << 24), 1), Inbox.OutOfRange.selector);
        OrderCommitment memory c = later(9, 1);
        c.forcedHash = keccak256("other");
        showReverts(c, Inbox.WrongForcedHash.selector);
        c = later(9, 1);
        c.chainId += 1;
        showReverts(c, Inbox.ForeignCommitment.selector);
        c = later(9, 1);
        showReverts(c, certifyBy(c, 2), Inbox.BadCertificate.selector);
        c.timestampMs = uint64(block.timestamp * 1000 + 1);
        showReverts(c, Inbox.TooEarly.selector);
        show(9, 1);
        // One at a time.
        showReverts(later(10, 1), Inbox.AlreadyShown.selector);
        post(consuming(1, 0), 2);
        // What is below it is not younger.
        Draft memory d = consuming(4, 0);
        OrderCommitment memory last = d.heights[2].commitment;
        last.timestampMs = later(9, 1).timestampMs + 1;
        postReverts(withLast(d, last), Inbox.ForcedSkipped.selector);
        post(consuming(4, 0), 3);
        showReverts(later(10, 1), Inbox.AlreadyShown.selector);
        // Whatever reaches the shown height has consumed what that had.
        postReverts(consuming(7, 0), Inbox.ForcedSkipped.selector);
        post(consuming(7, 1), 2);
        (,, uint64 forcedHead,) = inbox.head();
        same(uint256(forcedHead), 1, "consumed");
        // It was for that height only.
        postReverts(consuming(10, 0), Inbox.ForcedSkipped.selector);
        force();
        vm.roll(block.number + p.forcedDeadlineBlocks);
        postReverts(consuming(10, 1), Inbox.ForcedSkipped.selector);
        show(9 + (1 << 24), 2);
        post(consuming(10, 1), 2);
    }

    /// A batch may reach beyond the shown height, and what became due meanwhile does not stop it.
    function testShownHeightIsReachedWhateverBecomesDue() public {
        vm.warp(block.timestamp + 1 days);
        force();
        vm.roll(block.number + p.forcedDeadlineBlocks);
        show(5, 1);
        force();
        vm.roll(block.number + p.forcedDeadlineBlocks);
        post(consuming(1, 0), 2);
        uint256 state = vm.snapshotState();
        post(consuming(4, 1), 2);
        postReverts(consuming(7, 1), Inbox.ForcedSkipped.selector);
        post(consuming(7, 2), 2);
        // Nor does the fallback, and then the next has consumed all of it.
        vm.revertToState(state);
        force();
        vm.roll(block.number + p.forcedFallbackBlocks);
        inbox.postForced(3);
        postReverts(consuming(4, 0), Inbox.ForcedSkipped.selector);
        post(consuming(4, 1), 2);
        (uint64 count, uint64 lastHeight, uint64 forcedHead,) = inbox.head();
        check(count == 3 && lastHeight == 6 && forcedHead == 3, "the fallback stands");
        postReverts(consuming(7, 2), Inbox.ForcedSkipped.selector);
        post(consuming(7, 3), 2);
    }

    // ---- challenges

    function challenge(Batch memory b, uint64 height, uint32 position) internal {
        vm.deal(REPORTER, p.challengeBond);
        vm.prank(REPORTER);
        inbox.challenge{value: p.challengeBond}(b, height, position);
    }

    function testChallengeRefusals() public {
        Batch memory b = post(some(), 2);
        vm.expectRevert(Inbox.WrongBond.selector);
        inbox.challenge(b, 1, 0);
        vm.expectRevert(Inbox.OutOfRange.selector);
        inbox.challenge{value: p.challengeBond}(b, 0, 0);
        vm.expectRevert(Inbox.OutOfRange.selector);
        inbox.challenge{value: p.challengeBond}(b, 4, 0);
        challenge(b, 1, 0);
        vm.expectRevert(Inbox.AlreadyChallenged.selector);
        inbox.challenge{value: p.challengeBond}(b, 1, 0);
        challenge(b, 1, 1);
        vm.warp(block.timestamp + p.evidenceWindow + 1);
        vm.expectRevert(Inbox.TooLate.selector);
        inbox.challenge{value: p.challengeBond}(b, 2, 0);
        b.stateRoot = 0;
        vm.expectRevert(Inbox.UnknownBatch.selector);
        inbox.challenge{value: p.challengeBond}(b, 2, 0);
    }

    function revealCommitment(Draft memory d, Batch memory b, uint256 index, uint32 position) internal {
        inbox.revealCommitment(
            b, position, d.leaves[index], leafProof(d, index), d.heights[index].commitment, d.heights[index].signature
        );
    }

    function testRevealCommitment() public {
        Draft memory d = some();
        Batch memory b = post(d, 2);
        uint32 whole = type(uint32).max;
        vm.expectRevert(Inbox.NoChallenge.selector);
        this.tryCommitment(d, b, 1, whole);
        challenge(b, 2, whole);
        // Another height's, a garbled one, a garbled signature.
        vm.expectRevert(Inbox.NoChallenge.selector);
        this.tryCommitment(d, b, 0, whole);
        d.heights[1].commitment.baseFee += 1;
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryCommitment(d, b, 1, whole);
        d.heights[1].commitment.baseFee -= 1;
        d.heights[1].signature.v ^= 1;
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryCommitment(d, b, 1, whole);
        d.heights[1].signature.v ^= 1;
        this.tryCommitment(d, b, 1, whole);
        same(inbox.owed(signer(2)), p.challengeBond, "the bond is the poster's");
        vm.expectRevert(Inbox.NoChallenge.selector);
        this.tryCommitment(d, b, 1, whole);
        vm.warp(block.timestamp + p.challengeWindow + 1);
        vm.expectRevert(Inbox.NoChallenge.selector);
        inbox.failReveal(b, 2, whole);
        vm.prank(signer(2));
        same(inbox.withdraw(), p.challengeBond, "bond");
        vm.prank(signer(2));
        vm.expectRevert(Inbox.NothingToClaim.selector);
        inbox.withdraw();
    }

    function tryCommitment(Draft memory d, Batch memory b, uint256 index, uint32 position) external {
        revealCommitment(d, b, index, position);
    }

    /// A challenge of a position that does not exist is answered by the commitment, which says so.
    function testRevealPositionBeyondCount() public {
        Draft memory d = some();
        Batch memory b = post(d, 2);
        challenge(b, 2, 5);
        challenge(b, 2, 4);
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryCommitment(d, b, 1, 4);
        this.tryCommitment(d, b, 1, 5);
        same(inbox.owed(signer(2)), p.challengeBond, "bond");
    }

    function sealedDraft() internal view returns (Draft memory d, SealedEnvelope memory e, Opening memory opening) {
        (e,) = sealEnvelope(Sealing(0xa11ce, 3, keccak256("seed"), "hello"));
        opening = Opening(0, keccak256("seed"), "hello", "");
        d = some();
        d.heights[1].ids[1] = keccak256(e.preimage);
        d.heights[1].openingHashes[1] = this.openingHashOf(opening);
        seal(d.heights[1]);
        d.heights[2].commitment.parent = digestOf(d.heights[1].commitment);
        seal(d.heights[2]);
        rebuild(d);
    }

    function tryOpening(
        Draft memory d,
        Batch memory b,
        uint32 position,
        SealedEnvelope memory e,
        Opening memory opening,
        uint256 index
    ) external {
        inbox.revealOpening(b, position, d.leaves[1], leafProof(d, 1), e, opening, openingProof(d, index));
    }

    function testRevealOpening() public {
        (Draft memory d, SealedEnvelope memory e, Opening memory opening) = sealedDraft();
        Batch memory b = post(d, 2);
        challenge(b, 2, 1);
        challenge(b, 2, 2);
        challenge(b, 2, type(uint32).max);
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryOpening(d, b, 2, e, opening, 3);
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryOpening(d, b, 1, e, opening, 4);
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryOpening(d, b, type(uint32).max, e, opening, 3);
        opening.seed ^= bytes32(uint256(1));
        vm.expectRevert(Inbox.BadReveal.selector);
        this.tryOpening(d, b, 1, e, opening, 3);
        opening.seed ^= bytes32(uint256(1));
        // With another signature nobody could seal it again.
        e.payer.v = 55 - e.payer.v;
        vm.expectRevert(Inbox.NotThePayer.selector);
        this.tryOpening(d, b, 1, e, opening, 3);
        e.payer.v = 55 - e.payer.v;
        this.tryOpening(d, b, 1, e, opening, 3);
        same(inbox.owed(signer(2)), p.challengeBond, "bond");
        // The deadline is inclusive; after it only the challenger wins.
        vm.warp(block.timestamp + p.challengeWindow + 1);
        vm.expectRevert(Inbox.TooLate.selector);
        this.tryCommitment(d, b, 1, type(uint32).max);
    }

    function testWithheld() public {
        Batch memory b = post(some(), 2);
        challenge(b, 2, 1);
        challenge(b, 2, 2);
        vm.warp(block.timestamp + p.challengeWindow);
        vm.expectRevert(Inbox.TooEarly.selector);
        inbox.failReveal(b, 2, 1);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(Inbox.NoChallenge.selector);
        inbox.failReveal(b, 2, 3);
        inbox.failReveal(b, 2, 1);
        check(vault.isSlashed(signer(2)), "slashed");
        same(vault.owed(REPORTER), 3 ether, "reward");
        same(inbox.owed(REPORTER), p.challengeBond, "bond");
        vm.expectRevert(Inbox.NoChallenge.selector);
        inbox.failReveal(b, 2, 1);
        // Another challenge of the same poster is settled without a second slash.
        inbox.failReveal(b, 2, 2);
        same(vault.owed(REPORTER), 3 ether, "one reward");
        same(inbox.owed(REPORTER), 2 * p.challengeBond, "both bonds");
        vm.prank(REPORTER);
        inbox.withdraw();
        same(a.inbox.balance, 0, "nothing stays");
    }

    receive() external payable {}
}

/// Forces, posts and waits in any order, and keeps what the inbox said after every step.
contract InboxActor is World {
    bytes32[] public history;
    uint64 public lastHead;
    /// Something was accepted that must not be, or the head of the queue went back.
    bool public broken;

    function start() external {
        deploy(".committee4");
        vm.deal(address(this), 1_000_000 ether);
        vm.warp(block.timestamp + 1 days);
    }

    function force(uint8 kind, bytes8 data) public {
        queue.force{value: p.forcedFee}(kind % 2, abi.encodePacked(data));
    }

    function wait(uint8 blocks) public {
        vm.roll(block.number + blocks);
    }

    /// A batch that consumes some of the queue; `garble` spoils it in one of a few ways.
    function postSome(uint8 consume, uint8 garble) public {
        (, uint64 lastHeight, uint64 forcedHead,) = inbox.head();
        Draft memory d = draft(lastHeight + 1, keccak256("genesis"), counts(1));
        OrderCommitment memory last = d.heights[0].commitment;
        // Anything from nothing to all of it: how much it must be, the inbox knows.
        last.forcedCursor = uint64(consume) % (queue.length() + 1);
        last.forcedHash = queue.hashAt(last.forcedCursor);
        bool skips = last.forcedCursor < forcedHead
            || queue.isDue(last.forcedCursor, block.number, p.forcedDeadlineBlocks);
        (uint64 shownHeight, uint64 shownCursor) = inbox.shown();
        if (lastHeight < shownHeight) skips = lastHeight + 1 >= shownHeight && last.forcedCursor < shownCursor;
        bool spoiled = skips || garble % 8 == 1 || (garble % 8 >= 3 && garble % 8 <= 5);
        if (garble % 8 == 1) last.forcedHash ^= bytes32(uint256(1));
        if (garble % 8 == 2 && last.forcedCursor != 0) {
            last.forcedCursor -= 1;
            spoiled = true;
        }
        if (garble % 8 == 3) last.height += 1;
        seal(d.heights[0]);
        rebuild(d);
        if (garble % 8 == 4) d.input.parent = keccak256("fork");
        if (garble % 8 == 5) d.input.firstHeight -= 1;
        post(d, garble % 4);
        if (spoiled) broken = true;
        note();
    }

    /// Shows a height that consumed some of the queue.
    function show(uint8 ahead, uint8 consume) public {
        (, uint64 lastHeight, uint64 forcedHead,) = inbox.head();
        (uint64 shownHeight,) = inbox.shown();
        OrderCommitment memory c = commitment(lastHeight + ahead % 4);
        c.forcedCursor = uint64(consume) % (queue.length() + 1);
        c.forcedHash = queue.hashAt(c.forcedCursor);
        bool wrong = shownHeight > lastHeight || ahead % 4 == 0 || c.forcedCursor < forcedHead
            || queue.isDue(c.forcedCursor, block.number, p.forcedDeadlineBlocks);
        inbox.showOrdered(c, certify(c));
        if (wrong) broken = true;
    }

    function postForced(uint8 upTo) public {
        (,, uint64 forcedHead,) = inbox.head();
        bool due = queue.isDue(forcedHead, block.number, p.forcedFallbackBlocks);
        inbox.postForced(forcedHead + upTo % 4);
        if (!due) broken = true;
        note();
    }

    function note() private {
        (uint64 count,, uint64 forcedHead,) = inbox.head();
        if (forcedHead < lastHead || forcedHead > queue.length()) broken = true;
        lastHead = forcedHead;
        history.push(inbox.batchHash(count));
    }

    /// Whether the inbox still has every hash that it ever had, and no other.
    function isOneChain() external view returns (bool) {
        (uint64 count,, uint64 forcedHead,) = inbox.head();
        if (count != history.length || forcedHead != lastHead) return false;
        for (uint64 i = 0; i < count; ++i) {
            if (inbox.batchHash(i + 1) != history[i]) return false;
        }
        return inbox.batchHash(count + 1) == 0;
    }
}

contract InboxInvariants is Base {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    InboxActor internal actor;

    function setUp() public {
        actor = new InboxActor();
        actor.start();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](5);
        (selectors[0], selectors[1]) = (actor.force.selector, actor.wait.selector);
        (selectors[2], selectors[3]) = (actor.postSome.selector, actor.postForced.selector);
        selectors[4] = actor.show.selector;
        targets[0] = FuzzSelector(address(actor), selectors);
    }

    /// The chain of batches never forks, and the head of the queue only grows.
    function invariantOneChain() public view {
        check(actor.isOneChain(), "one chain");
        check(!actor.broken(), "nothing was accepted that must not be");
    }
}
