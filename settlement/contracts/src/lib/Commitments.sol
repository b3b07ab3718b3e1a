// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Batch, OrderCommitment, ShareBundle, Signature} from "../Types.sol";

/// EIP-712 digests of what members sign, and whose key signed them.
library Commitments {
    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant ORDER_TYPE = keccak256(
        "OrderCommitment(uint64 chainId,address settlement,uint64 epoch,uint64 height,uint64 view,bytes32 parent,uint64 timestampMs,uint128 baseFee,uint32 count,bytes32 orderRoot,uint64 l1Block,uint64 l1BaseFee,uint64 forcedCursor,bytes32 forcedHash,bytes32 executedRoot)"
    );
    bytes32 internal constant BUNDLE_TYPE = keccak256(
        "ShareBundle(uint64 chainId,address settlement,uint64 height,bytes32 commitment,bytes32 sharesRoot,uint32 member)"
    );
    /// Half the order of secp256k1: the largest `s` whose mirror image is not a signature too.
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// The structure names another chain or settlement contract than ours.
    error ForeignChain();

    function domainSeparator(uint64 chainId, address settlement) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("Blindfold"), keccak256("1"), chainId, settlement));
    }

    /// The digest under our domain. Call `requireOurs` too: a leader's signature counts here only if it
    /// is over this chain and this contract.
    function digest(OrderCommitment memory c, bytes32 separator) internal pure returns (bytes32) {
        return typed(separator, keccak256(bytes.concat(ORDER_TYPE, abi.encode(c))));
    }

    function digest(ShareBundle calldata b, bytes32 separator) internal pure returns (bytes32) {
        return typed(separator, keccak256(bytes.concat(BUNDLE_TYPE, abi.encode(b))));
    }

    /// The signer's address; zero where `s` is high, `v` is neither 27 nor 28, or no key fits.
    function recover(bytes32 digest_, Signature calldata signature) internal pure returns (address) {
        if (uint256(signature.s) > HALF_ORDER) return address(0);
        if (signature.v != 27 && signature.v != 28) return address(0);
        return ecrecover(digest_, signature.v, signature.r, signature.s);
    }

    /// keccak256 of r ‖ s ‖ v.
    function signatureHash(Signature calldata signature) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(signature.r, signature.s, signature.v));
    }

    function batchHash(Batch memory batch) internal pure returns (bytes32) {
        return keccak256(abi.encode(batch));
    }

    function typed(bytes32 separator, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }
}
