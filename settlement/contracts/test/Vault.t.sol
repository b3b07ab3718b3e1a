// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";

contract VaultTest is World {
    address internal constant FUNDER = address(0xf00d);
    address internal constant SIGNER = address(0x519);

    function setUp() public {
        deploy(".committee4");
        vm.deal(FUNDER, 1_000 ether);
        vm.deal(address(this), 1_000 ether);
    }

    function fund(uint256 amount) internal {
        vm.prank(FUNDER);
        vault.deposit{value: amount}(SIGNER);
    }

    function testDepositExitClaim() public {
        fund(10 ether);
        vault.deposit{value: 1 ether}(SIGNER);
        same(vault.stakeOf(SIGNER), 11 ether, "stake");
        vm.prank(FUNDER);
        vault.requestExit(SIGNER, 4 ether);
        same(vault.stakeOf(SIGNER), 7 ether, "stake that counts");
        same(vault.slashableOf(SIGNER), 11 ether, "slashable");
        vm.warp(block.timestamp + p.exitDelay - 1);
        vm.prank(FUNDER);
        vm.expectRevert(abi.encodeWithSelector(Vault.StillLocked.selector, uint64(block.timestamp + 1)));
        vault.claim(SIGNER);
        // A second request starts the delay anew for all of it.
        vm.prank(FUNDER);
        vault.requestExit(SIGNER, 1 ether);
        vm.warp(block.timestamp + p.exitDelay - 1);
        vm.prank(FUNDER);
        vm.expectRevert();
        vault.claim(SIGNER);
        vm.warp(block.timestamp + 1);
        uint256 had = FUNDER.balance;
        vm.prank(FUNDER);
        same(vault.claim(SIGNER), 5 ether, "claimed");
        same(FUNDER.balance - had, 5 ether, "paid");
        same(vault.slashableOf(SIGNER), 6 ether, "left");
        vm.prank(FUNDER);
        vm.expectRevert(Vault.NothingToClaim.selector);
        vault.claim(SIGNER);
    }

    function testNobodyTakesAnothersStake() public {
        fund(10 ether);
        vm.expectRevert(Vault.TooMuch.selector);
        vault.requestExit(SIGNER, 1);
        vm.prank(FUNDER);
        vm.expectRevert(Vault.TooMuch.selector);
        vault.requestExit(SIGNER, 10 ether + 1);
        vm.prank(FUNDER);
        vm.expectRevert(Vault.TooMuch.selector);
        vault.requestExit(SIGNER, 0);
        vm.expectRevert(Vault.NothingToClaim.selector);
        vault.claim(SIGNER);
        vm.expectRevert(Vault.NothingSent.selector);
        vault.deposit(SIGNER);
        vm.deal(address(this), 1 << 96);
        vm.expectRevert(Vault.TooMuch.selector);
        vault.deposit{value: 1 << 96}(SIGNER);
    }

    function testOnlySlasherAndInbox() public {
        vm.expectRevert(Vault.NotAllowed.selector);
        vault.slash(SIGNER, FUNDER);
        vm.prank(a.inbox);
        vm.expectRevert(Vault.NotAllowed.selector);
        vault.slash(SIGNER, FUNDER);
        vm.prank(a.slasher);
        vm.expectRevert(Vault.NotAllowed.selector);
        vault.seize(SIGNER, FUNDER);
    }

    function testSlashTakesAllOnce() public {
        fund(10 ether);
        vault.deposit{value: 6 ether}(SIGNER);
        vm.prank(FUNDER);
        vault.requestExit(SIGNER, 5 ether);
        vm.prank(a.slasher);
        (uint256 taken, uint256 reward) = vault.slash(SIGNER, REPORTER);
        same(taken, 16 ether, "taken");
        same(reward, 2 ether, "an eighth");
        vm.warp(block.timestamp + p.exitDelay);
        vm.prank(FUNDER);
        vm.expectRevert(Vault.SignerSlashed.selector);
        vault.claim(SIGNER);
        vm.prank(FUNDER);
        vm.expectRevert(Vault.SignerSlashed.selector);
        vault.requestExit(SIGNER, 1);
        vm.expectRevert(Vault.SignerSlashed.selector);
        vault.deposit{value: 1}(SIGNER);
        vm.prank(a.slasher);
        vm.expectRevert(Vault.SignerSlashed.selector);
        vault.slash(SIGNER, REPORTER);
        vm.prank(a.inbox);
        (taken, reward) = vault.seize(SIGNER, REPORTER);
        same(taken + reward, 0, "seized twice");
        same(vault.burn(SIGNER), 14 ether, "burned");
        vm.expectRevert(Vault.NothingToClaim.selector);
        vault.burn(SIGNER);
        vm.prank(REPORTER);
        same(vault.withdraw(), 2 ether, "reward");
        vm.prank(REPORTER);
        vm.expectRevert(Vault.NothingToClaim.selector);
        vault.withdraw();
        vm.expectRevert(Vault.NothingToClaim.selector);
        vault.burn(FUNDER);
        same(a.vault.balance, members * STAKE, "nothing else moved");
    }

    function testConstructorRefuses() public {
        Params memory q = p;
        q.exitDelay = q.challengeWindow + q.evidenceWindow;
        refusesDeployment("StakeVault", abi.encode(a, q));
        q = p;
        q.forcedDeadlineBlocks = q.forcedDelayBlocks;
        refusesDeployment("BatchInbox", abi.encode(a, q));
        q = p;
        q.forcedFallbackBlocks = q.forcedDeadlineBlocks;
        refusesDeployment("BatchInbox", abi.encode(a, q));
        q = p;
        q.revealDelayBlocks = 0;
        refusesDeployment("Slasher", abi.encode(a, q));
        q = p;
        q.proveWindow = 0;
        refusesDeployment("OutputOracle", abi.encode(a, q));
    }

    /// Every contract insists on standing where the others think it stands.
    function testWrongAddresses() public {
        string[7] memory names =
            ["StakeVault", "OperatorRegistry", "ForcedQueue", "BatchInbox", "OutputOracle", "Bridge", "Slasher"];
        for (uint256 i = 0; i < names.length; ++i) {
            refusesDeployment(names[i], abi.encode(a, p));
        }
        refusesDeployment("CommitteeRegistry", constructorArguments());
    }

    function refusesDeployment(string memory name, bytes memory arguments) internal {
        bytes memory code = bytes.concat(creationCode(name), arguments);
        address where;
        assembly ("memory-safe") {
            where := create(0, add(code, 32), mload(code))
        }
        check(where == address(0), name);
    }

    receive() external payable {}
}

/// What funders, signers and slashers can do in any order; the invariant is about the sums.
contract VaultActor is Base {
    Vault internal vault;
    Addresses internal a;
    uint256 public deposited;
    uint256 public claimed;
    uint256 public burned;
    uint256 public rewarded;

    constructor(Vault vault_, Addresses memory a_) {
        vault = vault_;
        a = a_;
    }

    /// Few, so that calls meet. Funders are the first two; slashes are rare, for they end everything.
    function who(uint8 n) internal pure returns (address) {
        return address(uint160(0x1000 + n % 5));
    }

    function deposit(uint8 funder, uint8 signer_, uint96 amount) public {
        funder %= 2;
        vm.deal(who(funder), amount);
        vm.prank(who(funder));
        vault.deposit{value: amount}(who(signer_));
        deposited += amount;
    }

    function requestExit(uint8 funder, uint8 signer_, uint96 amount) public {
        funder %= 2;
        (uint256 active,,) = vault.positionOf(who(signer_), who(funder));
        vm.prank(who(funder));
        vault.requestExit(who(signer_), active == 0 ? amount : 1 + amount % active);
    }

    function claim(uint8 funder, uint8 signer_) public {
        vm.prank(who(funder % 2));
        claimed += vault.claim(who(signer_));
    }

    function slash(uint8 signer_, uint8 reporter, bool byInbox) public {
        if (signer_ % 8 != 0) signer_ = 4;
        vm.prank(byInbox ? a.inbox : a.slasher);
        (bool ok, bytes memory answer) = a.vault.call(
            byInbox
                ? abi.encodeCall(Vault.seize, (who(signer_), who(reporter)))
                : abi.encodeCall(Vault.slash, (who(signer_), who(reporter)))
        );
        require(ok);
        (uint256 taken, uint256 reward) = abi.decode(answer, (uint256, uint256));
        require(reward <= taken / 8 && reward <= 3 ether);
    }

    function withdraw(uint8 reporter) public {
        vm.prank(who(reporter));
        rewarded += vault.withdraw();
    }

    function burn(uint8 signer_) public {
        burned += vault.burn(who(signer_));
    }

    function pass(uint32 time) public {
        vm.warp(block.timestamp + time % 20 days);
    }

    function sums() external view returns (uint256 stakes, uint256 toBurn, uint256 owed, uint256 positions) {
        for (uint8 i = 0; i < 5; ++i) {
            stakes += vault.slashableOf(who(i));
            toBurn += vault.burnableOf(who(i));
            owed += vault.owed(who(i));
            if (vault.isSlashed(who(i))) continue;
            for (uint8 j = 0; j < 5; ++j) {
                (uint256 active, uint256 exiting,) = vault.positionOf(who(i), who(j));
                positions += active + exiting;
            }
        }
    }
}

contract VaultInvariants is World {
    VaultActor internal actor;

    function setUp() public {
        deploy(".committee4");
        actor = new VaultActor(vault, a);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    /// deposits = stakes + exits + burned + to be burned + rewards paid + rewards owed + claims.
    function invariantNothingIsLostOrMade() public view {
        (uint256 stakes, uint256 toBurn, uint256 owed, uint256 positions) = actor.sums();
        same(stakes, positions, "a signer's stake is the sum of its positions");
        same(
            actor.deposited(),
            stakes + toBurn + owed + actor.claimed() + actor.burned() + actor.rewarded(),
            "every wei is somewhere"
        );
        same(a.vault.balance - members * STAKE, stakes + toBurn + owed, "and the vault holds what it owes");
    }
}
