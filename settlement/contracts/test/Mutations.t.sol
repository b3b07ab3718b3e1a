// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Evidence.sol";

/// Every single byte of true evidence, changed in several ways: the slasher refuses it, without exception.
/// ABI decoding would skip the zeros after a `bytes` value and take any offset that leads to the same value;
/// evidence with `bytes` in it is therefore encoded again and compared.
contract MutationTest is Evidence {
    function setUp() public {
        deploy(".committee4");
    }

    function everyByte(bytes memory evidence) internal view {
        (bool ok,) = ask(evidence);
        check(ok, "true evidence is accepted");
        for (uint256 i = 0; i < evidence.length; ++i) {
            bytes1 was = evidence[i];
            // Two single bits, all bits, and one of the other 252 changes.
            bytes4 masks = bytes4(abi.encodePacked(hex"0180ff", uint8(2 + i % 125)));
            for (uint256 j = 0; j < 4; ++j) {
                evidence[i] = was ^ masks[j];
                (ok,) = ask(evidence);
                if (ok) revert(string.concat("accepted with another byte ", vm.toString(i)));
            }
            evidence[i] = was;
        }
    }

    function testEquivocation() public view {
        everyByte(equivocation());
    }

    function testDoubleRelease() public view {
        everyByte(doubleRelease());
    }

    function testBadShare() public view {
        everyByte(badShare(12_345));
    }

    function testBadShareNoPoint() public view {
        (SealedEnvelope memory e,) = sealHello();
        everyByte(badShareOf(e, [bytes32(uint256(1)), 0, bytes32(uint256(5))]));
    }

    function testSwapped() public {
        everyByte(swapped());
    }

    function testInserted() public {
        everyByte(inserted());
    }

    function testOmitted() public {
        everyByte(omitted());
    }

    function testWrongHeight() public {
        everyByte(wrongHeight());
    }

    function testWrongCommitmentHeight() public {
        everyByte(wrongCommitmentHeight());
    }

    function testWrongOrderRoot() public {
        everyByte(wrongOrderRoot());
    }

    function testWrongFirstOffset() public {
        everyByte(wrongFirstOffset());
    }

    function testBrokenParent() public {
        everyByte(brokenParent());
    }

    function testBrokenOffset() public {
        everyByte(brokenOffset());
    }

    function testBrokenFirst() public {
        everyByte(brokenFirst());
    }

    function testBrokenCount() public {
        everyByte(brokenCount());
    }

    function testForgedCommitment() public {
        everyByte(forgedCommitment());
    }

    function testWrongMessage() public {
        everyByte(wrongMessage());
    }

    function testWrongSecret() public {
        everyByte(wrongSecret());
    }

    function testSecretOutsideSubgroup() public {
        everyByte(secretOutsideSubgroup());
    }

    function testSecretNotOnCurve() public {
        everyByte(secretNotOnCurve());
    }

    function testSecretNotCanonical() public {
        everyByte(secretNotCanonical());
    }

    function testDisownedOpening() public {
        everyByte(disowned(0));
    }

    function testDisownedOpeningThroughAncestors() public {
        everyByte(disowned(2));
    }

    /// A report commits to every byte, skipped or not.
    function testReportOfChangedEvidence() public {
        bytes memory evidence = wrongMessage();
        commitTo(evidence);
        for (uint256 i = 0; i < evidence.length; ++i) {
            evidence[i] ^= 0x01;
            vm.prank(REPORTER);
            vm.expectRevert(SlasherAbi.NotCommitted.selector);
            slasher.report(evidence, SALT);
            evidence[i] ^= 0x01;
        }
        vm.prank(REPORTER);
        slasher.report(evidence, SALT);
    }

    /// Nor does anything but the reporter and the salt of the commit.
    function testReportWithAnotherSalt() public {
        bytes memory evidence = equivocation();
        commitTo(evidence);
        vm.prank(REPORTER);
        vm.expectRevert(SlasherAbi.NotCommitted.selector);
        slasher.report(evidence, bytes32(uint256(SALT) ^ 1));
    }
}
