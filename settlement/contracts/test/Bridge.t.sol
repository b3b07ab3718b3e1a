// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Handover.sol";

/// An item of the forced queue as the Rust code has it. `to` and `amount` are zero where nothing is credited.
struct ForcedExample {
    uint8 kind;
    address sender;
    bytes data;
    address to;
    uint256 amount;
    bytes32 item;
    bytes32 rolled;
}

contract OracleAndBridgeTest is Handover {
    bytes32 internal constant GENESIS = keccak256("genesis");
    bytes32 internal constant OPENINGS = keccak256("openings of the last height");
    address internal constant PROPOSER = address(0x9009);
    address internal constant CHALLENGER = address(0xc4a1);
    address internal constant PROVER = address(0x9404e4);

    bytes32 internal stateRoot;

    function setUp() public {
        deploy(".committee4");
        stateRoot = vm.parseJsonBytes32(vectors, ".withdrawal.stateRoot");
        vm.deal(PROPOSER, 10 ether);
        vm.deal(CHALLENGER, 10 ether);
    }

    function posted() internal returns (Batch memory) {
        Draft memory d = draft(1, GENESIS, counts(2, 5, 1));
        d.input.stateRoot = stateRoot;
        return post(d, 2);
    }

    function propose(Batch memory b) internal {
        vm.prank(PROPOSER);
        oracle.propose{value: p.outputBond}(b);
    }

    function challenge(uint64 index) internal {
        vm.prank(CHALLENGER);
        oracle.challenge{value: p.outputBond}(index);
    }

    /// The commitment of height 11 = 3 + 8 carries the executed root of height 3; `above` more follow, of which
    /// the last is certified.
    function proof(Batch memory b, uint256 above) internal view returns (CommitteeProof memory q) {
        q.batch = b;
        q.openingRoot = OPENINGS;
        q.chain = new OrderCommitment[](1 + above);
        for (uint64 i = 0; i <= above; ++i) {
            q.chain[i] = commitment(11 + i);
            if (i != 0) q.chain[i].parent = digestOf(q.chain[i - 1]);
            else q.chain[i].executedRoot = keccak256(abi.encodePacked("BLINDFOLD-V1/executed-root/", b.stateRoot, OPENINGS));
        }
        q.certificate = certify(q.chain[above]);
    }

    // ---- oracle

    function testFinalAfterWindow() public {
        Batch memory b = posted();
        vm.expectRevert(Oracle.NotFinal.selector);
        oracle.finalOutput(1);
        propose(b);
        vm.warp(block.timestamp + p.outputWindow);
        vm.expectRevert(Oracle.NotFinal.selector);
        oracle.finalOutput(1);
        vm.expectRevert(Oracle.TooEarly.selector);
        oracle.returnBond(1);
        vm.warp(block.timestamp + 1);
        same(oracle.finalOutput(1), stateRoot, "final");
        vm.prank(CHALLENGER);
        vm.expectRevert(Oracle.TooLate.selector);
        oracle.challenge{value: 0.5 ether}(1);
        oracle.returnBond(1);
        same(oracle.finalOutput(1), stateRoot, "still final");
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.returnBond(1);
        vm.prank(PROPOSER);
        same(oracle.withdraw(), p.outputBond, "bond");
        same(address(oracle).balance, 0, "nothing stays");
    }

    function testProposeRefusals() public {
        Batch memory b = posted();
        vm.prank(PROPOSER);
        vm.expectRevert(Oracle.WrongBond.selector);
        oracle.propose(b);
        b.stateRoot = keccak256("mine");
        vm.prank(PROPOSER);
        vm.expectRevert(Oracle.UnknownBatch.selector);
        oracle.propose{value: 0.5 ether}(b);
        b.stateRoot = stateRoot;
        propose(b);
        vm.prank(PROPOSER);
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.propose{value: 0.5 ether}(b);
        vm.prank(CHALLENGER);
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.challenge{value: 0.5 ether}(2);
        vm.prank(CHALLENGER);
        vm.expectRevert(Oracle.WrongBond.selector);
        oracle.challenge{value: 0.4 ether}(1);
    }

    function testForcedBatchHasNoState() public {
        vm.deal(address(this), 1 ether);
        queue.force{value: p.forcedFee}(1, "x");
        vm.roll(block.number + p.forcedFallbackBlocks);
        inbox.postForced(1);
        Batch memory b;
        (b.index, b.parent, b.firstHeight, b.forcedHead) = (1, p.genesisHash, 1, 1);
        (b.poster, b.l1Block, b.postedAt) = (address(this), uint64(block.number), uint64(block.timestamp));
        vm.prank(PROPOSER);
        vm.expectRevert(Oracle.NoState.selector);
        oracle.propose{value: 0.5 ether}(b);
    }

    function testChallengedAndProven() public {
        Batch memory b = posted();
        propose(b);
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.prove(1, "");
        challenge(1);
        vm.warp(block.timestamp + p.outputWindow + 1);
        vm.expectRevert(Oracle.NotFinal.selector);
        oracle.finalOutput(1);
        bytes memory encoded = abi.encode(proof(b, 0));
        vm.prank(PROVER);
        oracle.prove(1, encoded);
        same(oracle.finalOutput(1), stateRoot, "final at once");
        same(oracle.owed(PROPOSER), p.outputBond, "the proposer's bond");
        same(oracle.owed(PROVER), p.outputBond, "the challenger's bond");
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.prove(1, encoded);
    }

    function testProvenThroughAncestors() public {
        Batch memory b = posted();
        propose(b);
        challenge(1);
        oracle.prove(1, abi.encode(proof(b, 3)));
        same(oracle.finalOutput(1), stateRoot, "final");
    }

    function proofRefused(CommitteeProof memory q) internal {
        vm.expectRevert(Oracle.BadProof.selector);
        oracle.prove(1, abi.encode(q));
    }

    function testProofRefusals() public {
        Batch memory b = posted();
        propose(b);
        challenge(1);
        CommitteeProof memory q = proof(b, 2);
        q.chain[1].baseFee += 1;
        proofRefused(q);
        q = proof(b, 2);
        q.openingRoot = 0;
        proofRefused(q);
        q = proof(b, 2);
        q.batch.stateRoot = 0;
        proofRefused(q);
        // The same memory as `b`.
        q.batch.stateRoot = stateRoot;
        q = proof(b, 2);
        q.certificate = certify(q.chain[1]);
        proofRefused(q);
        q = proof(b, 0);
        q.certificate = certifyBy(q.chain[0], 2);
        proofRefused(q);
        q = proof(b, 0);
        q.chain[0].height = 12;
        q.certificate = certify(q.chain[0]);
        proofRefused(q);
        q = proof(b, 0);
        q.chain[0].executedRoot = keccak256("another state");
        q.certificate = certify(q.chain[0]);
        proofRefused(q);
        q = proof(b, 0);
        q.chain[0].chainId += 1;
        proofRefused(q);
        q = proof(b, 0);
        q.chain = new OrderCommitment[](0);
        proofRefused(q);
        vm.expectRevert();
        oracle.prove(1, "no proof");
        oracle.prove(1, abi.encode(proof(b, 0)));
    }

    /// A committee that handed over finalizes nothing of its successors: its members may have taken their stake.
    function testProofOfARetiredCommittee() public {
        Batch memory b = posted();
        propose(b);
        challenge(1);
        uint256 state = vm.snapshotState();
        handOver(11);
        proofRefused(proof(b, 0));
        CommitteeProof memory q = proof(b, 0);
        q.chain[0].epoch = 1;
        q.certificate = certify(q.chain[0]);
        oracle.prove(1, abi.encode(q));
        // The old one's certificate of its last height is good for those below, and only for those.
        vm.revertToState(state);
        handOver(12);
        proofRefused(proof(b, 1));
        oracle.prove(1, abi.encode(proof(b, 0)));
    }

    function testRejected() public {
        Batch memory b = posted();
        propose(b);
        challenge(1);
        vm.warp(block.timestamp + p.proveWindow);
        vm.expectRevert(Oracle.TooEarly.selector);
        oracle.reject(1);
        vm.warp(block.timestamp + 1);
        bytes memory encoded = abi.encode(proof(b, 0));
        vm.expectRevert(Oracle.TooLate.selector);
        oracle.prove(1, encoded);
        oracle.reject(1);
        same(oracle.owed(CHALLENGER), 2 * p.outputBond, "both bonds");
        vm.expectRevert(Oracle.NotFinal.selector);
        oracle.finalOutput(1);
        vm.expectRevert(Oracle.WrongStatus.selector);
        oracle.reject(1);
        vm.prank(CHALLENGER);
        oracle.withdraw();
        vm.prank(CHALLENGER);
        vm.expectRevert(Oracle.NothingToClaim.selector);
        oracle.withdraw();
        // A right root that nobody defended can be proposed again.
        propose(b);
        vm.warp(block.timestamp + p.outputWindow + 1);
        same(oracle.finalOutput(1), stateRoot, "final");
    }

    // ---- bridge

    function testDeposits() public {
        vm.prank(PROPOSER);
        bridge.depositToBalance{value: 1 ether}(CHALLENGER);
        vm.prank(PROPOSER);
        same(uint256(bridge.depositToEscrow{value: 2 ether}(CHALLENGER)), 1, "second item");
        bytes32 rolling = item(0, 0, 2, 1 ether);
        same(queue.hashAt(1), rolling, "to the balance");
        same(queue.hashAt(2), item(rolling, 1, 3, 2 ether), "to the escrow");
        same(address(bridge).balance, 3 ether, "held");
        vm.expectRevert(BridgeAbi.NothingSent.selector);
        bridge.depositToBalance(CHALLENGER);
    }

    /// Items of every kind, put into the queue by whoever may: data, item hash and rolling hash are those of the
    /// Rust code.
    function testForcedVectors() public {
        bytes[] memory all = vm.parseJsonBytesArray(vectors, ".forced");
        uint256 kinds = 0;
        for (uint64 i = 0; i < all.length; ++i) {
            ForcedExample memory e = abi.decode(all[i], (ForcedExample));
            vm.recordLogs();
            enter(e);
            Vm.Log memory log = vm.getRecordedLogs()[0];
            same(log.emitter, a.queue, "the queue's event");
            same(uint256(log.topics[1]), i, "index");
            same(keccak256(log.data), keccak256(abi.encode(e.kind, e.sender, e.data)), "kind, sender, data");
            same(
                keccak256(
                    abi.encodePacked("BLINDFOLD-V1/forced-item/", i, e.kind, e.sender, keccak256(e.data))
                ),
                e.item,
                "item hash"
            );
            same(queue.hashAt(i + 1), e.rolled, "rolling hash");
            kinds |= 1 << e.kind;
        }
        same(kinds, 31, "every kind");
    }

    function enter(ForcedExample memory e) internal {
        if (e.kind <= 1) {
            vm.deal(e.sender, p.forcedFee);
            vm.prank(e.sender);
            queue.force{value: p.forcedFee}(e.kind, e.data);
        } else if (e.kind == 4) {
            // As `claimPosting` does, whose amount is what gas came to.
            same(e.to, e.sender, "a poster is repaid itself");
            vm.prank(a.inbox);
            queue.push(4, e.sender, abi.encodePacked(e.sender, e.amount));
        } else {
            vm.deal(e.sender, e.amount);
            vm.prank(e.sender);
            if (e.kind == 2) bridge.depositToBalance{value: e.amount}(e.to);
            else bridge.depositToEscrow{value: e.amount}(e.to);
        }
    }

    function item(bytes32 before, uint64 index, uint8 kind, uint256 amount) internal pure returns (bytes32) {
        bytes32 hash = keccak256(
            abi.encodePacked(
                "BLINDFOLD-V1/forced-item/", index, kind, PROPOSER, keccak256(abi.encodePacked(CHALLENGER, amount))
            )
        );
        return keccak256(abi.encodePacked("BLINDFOLD-V1/forced-queue/", before, hash));
    }

    function withdrawal()
        internal
        view
        returns (Withdrawal memory w, bytes[] memory accountProof, bytes[] memory storageProof)
    {
        w = abi.decode(bytesOf(".withdrawal.withdrawal"), (Withdrawal));
        accountProof = abi.decode(bytesOf(".withdrawal.accountProof"), (bytes[]));
        storageProof = abi.decode(bytesOf(".withdrawal.storageProof"), (bytes[]));
    }

    function testWithdraw() public {
        (Withdrawal memory w, bytes[] memory accounts, bytes[] memory slots) = withdrawal();
        vm.prank(PROPOSER);
        bridge.depositToBalance{value: 1 ether}(PROPOSER);
        propose(posted());
        vm.expectRevert(Oracle.NotFinal.selector);
        bridge.withdraw(1, w, accounts, slots);
        vm.warp(block.timestamp + p.outputWindow + 1);
        uint256 had = w.to.balance;
        bridge.withdraw(1, w, accounts, slots);
        same(w.to.balance - had, w.amount, "paid");
        check(bridge.spent(bridge.withdrawalHash(w)), "spent");
        vm.expectRevert(BridgeAbi.AlreadySpent.selector);
        bridge.withdraw(1, w, accounts, slots);
    }

    function testWithdrawRefusals() public {
        (Withdrawal memory w, bytes[] memory accounts, bytes[] memory slots) = withdrawal();
        vm.prank(PROPOSER);
        bridge.depositToBalance{value: 1 ether}(PROPOSER);
        propose(posted());
        vm.warp(block.timestamp + p.outputWindow + 1);
        w.amount += 1;
        vm.expectRevert(BridgeAbi.BadProof.selector);
        bridge.withdraw(1, w, accounts, slots);
        w.amount -= 1;
        w.to = address(this);
        vm.expectRevert(BridgeAbi.BadProof.selector);
        bridge.withdraw(1, w, accounts, slots);
        (w,,) = withdrawal();
        w.index += 1;
        vm.expectRevert(BridgeAbi.BadProof.selector);
        bridge.withdraw(1, w, accounts, slots);
        w.index -= 1;
        vm.expectRevert(BridgeAbi.BadProof.selector);
        bridge.withdraw(1, w, slots, accounts);
        vm.expectRevert(BridgeAbi.BadProof.selector);
        bridge.withdraw(1, w, accounts, new bytes[](0));
        for (uint256 n = 0; n < accounts.length; ++n) {
            for (uint256 i = 0; i < accounts[n].length; ++i) {
                accounts[n][i] ^= 0x01;
                vm.expectRevert(BridgeAbi.BadProof.selector);
                bridge.withdraw(1, w, accounts, slots);
                accounts[n][i] ^= 0x01;
            }
        }
        // More than there is.
        vm.deal(address(bridge), w.amount - 1);
        vm.expectRevert(BridgeAbi.TransferFailed.selector);
        bridge.withdraw(1, w, accounts, slots);
        check(!bridge.spent(bridge.withdrawalHash(w)), "not spent");
    }

    receive() external payable {}
}
