// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./Evidence.sol";

/// Every single byte of true evidence, changed in several ways: the slasher refuses it, or the byte is one
/// that ABI decoding skips, and then the verdict is the same.
///
/// Skipped are only the zeros that fill up a `bytes` value to whole words: the envelope's preimage, the
/// message and the secret of an opening. Each test says how many there are.
contract MutationTest is Evidence {
    function setUp() public {
        deploy(".committee4");
    }

    function everyByte(bytes memory evidence, uint256 skipped) internal view {
        (bool ok, bytes memory verdict) = ask(evidence);
        check(ok, "true evidence is accepted");
        uint256 ignored = 0;
        for (uint256 i = 0; i < evidence.length; ++i) {
            bytes1 was = evidence[i];
            // Two single bits, all bits, and one of the other 252 changes.
            bytes4 masks = bytes4(abi.encodePacked(hex"0180ff", uint8(2 + i % 125)));
            bool matters = true;
            for (uint256 j = 0; j < 4; ++j) {
                evidence[i] = was ^ masks[j];
                bytes memory answer;
                (ok, answer) = ask(evidence);
                if (ok) {
                    check(keccak256(answer) == keccak256(verdict), "another verdict");
                    check(was == 0, "a byte that says something was skipped");
                    matters = false;
                } else {
                    check(matters, "skipped for some values only");
                }
            }
            evidence[i] = was;
            if (!matters) ++ignored;
        }
        same(ignored, skipped, "bytes that decoding skips");
    }

    function padding(uint256 length) internal pure returns (uint256) {
        return (32 - length % 32) % 32;
    }

    function envelopePadding() internal view returns (uint256) {
        (SealedEnvelope memory e,) = sealHello();
        return padding(e.preimage.length);
    }

    function testEquivocation() public view {
        everyByte(equivocation(), 0);
    }

    function testDoubleRelease() public view {
        everyByte(doubleRelease(), 0);
    }

    function testBadShare() public view {
        everyByte(badShare(12_345), envelopePadding());
    }

    function testBadShareNoPoint() public view {
        (SealedEnvelope memory e,) = sealHello();
        everyByte(badShareOf(e, [bytes32(uint256(1)), 0, bytes32(uint256(5))]), envelopePadding());
    }

    function testSwapped() public {
        everyByte(swapped(), 0);
    }

    function testInserted() public {
        everyByte(inserted(), 0);
    }

    function testOmitted() public {
        everyByte(omitted(), 0);
    }

    function testWrongHeight() public {
        everyByte(wrongHeight(), 0);
    }

    function testWrongCommitmentHeight() public {
        everyByte(wrongCommitmentHeight(), 0);
    }

    function testWrongOrderRoot() public {
        everyByte(wrongOrderRoot(), 0);
    }

    function testWrongFirstOffset() public {
        everyByte(wrongFirstOffset(), 0);
    }

    function testBrokenParent() public {
        everyByte(brokenParent(), 0);
    }

    function testBrokenOffset() public {
        everyByte(brokenOffset(), 0);
    }

    function testBrokenFirst() public {
        everyByte(brokenFirst(), 0);
    }

    function testBrokenCount() public {
        everyByte(brokenCount(), 0);
    }

    function testForgedCommitment() public {
        everyByte(forgedCommitment(), 0);
    }

    function testWrongMessage() public {
        everyByte(wrongMessage(), envelopePadding() + padding(5));
    }

    function testWrongSecret() public {
        everyByte(wrongSecret(), envelopePadding() + padding(48));
    }

    function testSecretOutsideSubgroup() public {
        everyByte(secretOutsideSubgroup(), envelopePadding() + padding(48));
    }

    function testSecretNotOnCurve() public {
        everyByte(secretNotOnCurve(), envelopePadding() + padding(48));
    }

    function testSecretNotCanonical() public {
        everyByte(secretNotCanonical(), envelopePadding() + padding(48));
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
