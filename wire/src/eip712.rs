//! EIP-712 types of everything that an L1 contract checks, and their signing hashes.
//!
//! Domain: name `Blindfold`, version `1`, the L2's chain id, and the settlement contract's address
//! as `verifyingContract` (zero while there is none).

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain};

/// The structures as Solidity sees them; field order is part of the format.
pub mod sol {
    alloy_sol_types::sol! {
        /// See [`crate::OrderCommitment`].
        struct OrderCommitment {
            uint64 chainId;
            address settlement;
            uint64 epoch;
            uint64 height;
            uint64 view;
            bytes32 parent;
            uint64 timestampMs;
            uint128 baseFee;
            uint32 count;
            bytes32 orderRoot;
            uint64 l1Block;
            uint64 l1BaseFee;
            uint64 forcedCursor;
            bytes32 forcedHash;
            bytes32 executedRoot;
        }

        /// See [`crate::BundleHeader`].
        struct ShareBundle {
            uint64 chainId;
            address settlement;
            uint64 height;
            bytes32 commitment;
            bytes32 sharesRoot;
            uint32 member;
        }

        /// See [`crate::AdmissionReceipt`].
        struct AdmissionReceipt {
            uint64 chainId;
            address settlement;
            bytes32 envelopeId;
            uint32 member;
            uint64 heightSeen;
        }
    }
}

/// The EIP-712 domain of a chain.
pub fn domain(chain_id: u64, settlement: Address) -> Eip712Domain {
    eip712_domain! {
        name: "Blindfold",
        version: "1",
        chain_id: chain_id,
        verifying_contract: settlement,
    }
}

/// keccak256(0x19 ‖ 0x01 ‖ domain separator ‖ struct hash).
pub(crate) fn signing_hash(chain_id: u64, settlement: Address, value: &impl SolStruct) -> B256 {
    value.eip712_signing_hash(&domain(chain_id, settlement))
}
