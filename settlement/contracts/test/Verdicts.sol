// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Evidence.sol";

/// What becomes of evidence: true evidence takes the stake of the right signer, what does not show an offence
/// is refused.
abstract contract Verdicts is Evidence {
    /// Reports, and checks culprit, kind, payout and that it works once.
    function slashes(bytes memory evidence, uint8 kind, uint256 member) internal {
        same(uint256(slasher.kindOf(evidence)), kind, "kind");
        (address culprit, uint256 reward) = report(evidence);
        same(culprit, signer(member), "culprit");
        // An eighth of 32 ether is over the cap of 3.
        same(reward, 3 ether, "reward");
        same(vault.owed(REPORTER), 3 ether, "owed to the reporter");
        check(vault.isSlashed(culprit), "slashed");
        same(vault.stakeOf(culprit), 0, "stake left");
        same(vault.slashableOf(culprit), 0, "slashable left");
        same(vault.burnableOf(culprit), STAKE - 3 ether, "to burn");
        for (uint256 i = 0; i < members; ++i) {
            if (i != member) same(vault.stakeOf(signer(i)), STAKE, "another's stake");
        }
        // Neither the report nor the offence works again.
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.NotCommitted.selector);
        slasher.report(evidence, SALT);
        commitTo(evidence);
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.SignerSlashed.selector);
        slasher.report(evidence, SALT);

        uint256 had = REPORTER.balance;
        vm.prank(REPORTER);
        vault.withdraw();
        same(REPORTER.balance - had, 3 ether, "paid");
        uint256 burned = vault.BURN().balance;
        vault.burn(culprit);
        same(vault.BURN().balance - burned, STAKE - 3 ether, "burned");
        same(a.vault.balance, (members - 1) * STAKE, "the vault holds the others' stake");
    }

    function refuses(bytes memory evidence, bytes4 reason) internal view {
        (bool ok, bytes memory answer) = ask(evidence);
        check(!ok, "refused");
        same(bytes32(bytes4(answer)), bytes32(reason), "reason");
    }
}
