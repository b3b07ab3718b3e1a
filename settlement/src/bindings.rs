//! The contracts on L1: typed calls, events, errors and creation code, from the committed artifacts.
//!
//! One module a contract, named after it. Structures that several contracts share (`Types.sol`) have a
//! type in each; the conversions below go from the wire types to all of them.

use alloy_primitives::{B256, Bytes};
use blindfold_wire::{
    FinalizationCertificate, MerkleProof, OrderCommitment, Signature65, SignedBundleHeader,
    SignedCommitment,
};

use crate::points::{self, PointError};

#[allow(
    missing_docs,
    clippy::too_many_arguments,
    reason = "generated; the sources in contracts/src carry the documentation"
)]
mod generated {
    use alloy_sol_types::sol;

    sol!(
        #[sol(rpc, all_derives)]
        BatchInbox,
        "contracts/out/BatchInbox.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        Bridge,
        "contracts/out/Bridge.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        CommitteeRegistry,
        "contracts/out/CommitteeRegistry.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        CommitteeVerifier,
        "contracts/out/CommitteeVerifier.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        ForcedQueue,
        "contracts/out/ForcedQueue.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        OperatorRegistry,
        "contracts/out/OperatorRegistry.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        OutputOracle,
        "contracts/out/OutputOracle.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        PosterVerifier,
        "contracts/out/PosterVerifier.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        Slasher,
        "contracts/out/Slasher.json"
    );
    sol!(
        #[sol(rpc, all_derives)]
        StakeVault,
        "contracts/out/StakeVault.json"
    );
}

pub use generated::{
    BatchInbox, Bridge, CommitteeRegistry, CommitteeVerifier, ForcedQueue, OperatorRegistry,
    OutputOracle, PosterVerifier, Slasher, StakeVault,
};

/// The wire's order commitment as the contracts named have it.
macro_rules! commitments {
    ($($contract:ident),*) => {$(
        impl From<&OrderCommitment> for $contract::OrderCommitment {
            fn from(from: &OrderCommitment) -> Self {
                Self {
                    chainId: from.chain_id,
                    settlement: from.settlement,
                    epoch: from.epoch,
                    height: from.height,
                    view_: from.view,
                    parent: from.parent,
                    timestampMs: from.timestamp_ms,
                    baseFee: from.base_fee,
                    count: from.count,
                    orderRoot: from.order_root,
                    l1Block: from.l1_block,
                    l1BaseFee: from.l1_base_fee,
                    forcedCursor: from.forced_cursor,
                    forcedHash: from.forced_hash,
                    executedRoot: from.executed_root,
                }
            }
        }

        impl From<&$contract::OrderCommitment> for OrderCommitment {
            fn from(from: &$contract::OrderCommitment) -> Self {
                Self {
                    chain_id: from.chainId,
                    settlement: from.settlement,
                    epoch: from.epoch,
                    height: from.height,
                    view: from.view_,
                    parent: from.parent,
                    timestamp_ms: from.timestampMs,
                    base_fee: from.baseFee,
                    count: from.count,
                    order_root: from.orderRoot,
                    l1_block: from.l1Block,
                    l1_base_fee: from.l1BaseFee,
                    forced_cursor: from.forcedCursor,
                    forced_hash: from.forcedHash,
                    executed_root: from.executedRoot,
                }
            }
        }
    )*};
}

commitments!(BatchInbox, CommitteeVerifier, PosterVerifier, Slasher);

/// The wire's Merkle proof as the contracts named have it.
macro_rules! proofs {
    ($($contract:ident),*) => {$(
        impl From<&MerkleProof> for $contract::MerkleProof {
            fn from(from: &MerkleProof) -> Self {
                Self { count: from.count, index: from.index, siblings: from.siblings.clone() }
            }
        }

        impl From<&$contract::MerkleProof> for MerkleProof {
            fn from(from: &$contract::MerkleProof) -> Self {
                Self { count: from.count, index: from.index, siblings: from.siblings.clone() }
            }
        }
    )*};
}

proofs!(BatchInbox, CommitteeRegistry, PosterVerifier, Slasher);

/// The wire's signatures as the contracts named have them.
macro_rules! signatures {
    ($($contract:ident),*) => {$(
        impl From<&Signature65> for $contract::Signature {
            fn from(from: &Signature65) -> Self {
                Self { r: B256::from(from.r), s: B256::from(from.s), v: 27 + u8::from(from.y_parity) }
            }
        }
    )*};
}

signatures!(BatchInbox, PosterVerifier, Slasher);

impl From<&SignedCommitment> for Slasher::SignedCommitment {
    fn from(from: &SignedCommitment) -> Self {
        Self { commitment: (&from.commitment).into(), signature: (&from.signature).into() }
    }
}

impl From<&SignedBundleHeader> for Slasher::SignedBundle {
    fn from(from: &SignedBundleHeader) -> Self {
        Self { bundle: (&from.header).into(), signature: (&from.signature).into() }
    }
}

/// The signers of a certificate as the contracts read them: member i is bit i mod 8, lowest first, of
/// byte i / 8; as many bytes as the committee needs.
#[must_use]
pub fn signer_bits(certificate: &FinalizationCertificate) -> Bytes {
    let mut bits = vec![0u8; usize::from(certificate.members).div_ceil(8)];
    for signer in &certificate.signers {
        if let Some(byte) = bits.get_mut(usize::from(signer / 8)) {
            *byte |= 1 << (signer % 8);
        }
    }
    bits.into()
}

/// The wire's certificate as the contracts named have it.
macro_rules! certificates {
    ($($contract:ident),*) => {$(
        impl TryFrom<&FinalizationCertificate> for $contract::Certificate {
            type Error = PointError;

            fn try_from(from: &FinalizationCertificate) -> Result<Self, PointError> {
                Ok(Self {
                    view_: from.view,
                    parentView: from.parent_view,
                    signers: signer_bits(from),
                    signature: points::g1_to_eip2537(&from.signature)?.into(),
                })
            }
        }
    )*};
}

certificates!(BatchInbox, CommitteeRegistry, CommitteeVerifier, PosterVerifier);

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_sol_types::SolValue as _;
    use proptest::prelude::*;

    proptest! {
        /// There and back is the same, for all contracts.
        #[test]
        fn commitments_survive(numbers in prop::array::uniform10(any::<u64>()), hashes in prop::array::uniform5(any::<[u8; 32]>())) {
            let [chain_id, epoch, height, view, timestamp_ms, base_fee, count, l1_block, l1_base_fee, forced_cursor] = numbers;
            let [parent, order_root, forced_hash, executed_root, settlement] = hashes.map(B256::from);
            let wire = OrderCommitment {
                chain_id,
                settlement: alloy_primitives::Address::from_word(settlement),
                epoch, height, view, parent, timestamp_ms,
                base_fee: u128::from(base_fee) << 40,
                count: count as u32,
                order_root, l1_block, l1_base_fee, forced_cursor, forced_hash, executed_root,
            };
            let inbox = BatchInbox::OrderCommitment::from(&wire);
            prop_assert_eq!(OrderCommitment::from(&inbox), wire.clone());
            // All of them have one encoding.
            prop_assert_eq!(inbox.abi_encode(), Slasher::OrderCommitment::from(&wire).abi_encode());
            prop_assert_eq!(inbox.abi_encode(), CommitteeVerifier::OrderCommitment::from(&wire).abi_encode());
        }

        #[test]
        fn bits_name_the_signers(members in 1u16..200, picks in prop::collection::btree_set(any::<u16>(), 0..20)) {
            let signers: std::collections::BTreeSet<u16> = picks.iter().map(|pick| pick % members).collect();
            let certificate = FinalizationCertificate {
                epoch: 0, view: 1, parent_view: 0, payload: B256::ZERO, members,
                signers: signers.iter().copied().collect(), signature: [0; 48],
            };
            let bits = signer_bits(&certificate);
            prop_assert_eq!(bits.len(), usize::from(members).div_ceil(8));
            let read: Vec<u16> = (0..members).filter(|i| bits[usize::from(i / 8)] >> (i % 8) & 1 == 1).collect();
            prop_assert_eq!(read, certificate.signers);
        }
    }
}
