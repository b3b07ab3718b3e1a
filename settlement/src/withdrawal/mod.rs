//! Withdrawals to L1: what the outbox on L2 keeps of them, and how L1 is shown that it does.
//!
//! ```text
//! state root of a final output
//!   └─ account trie ─▶ outbox {storage root}
//!                        └─ storage trie ─▶ slot of the withdrawal's hash = 1
//! ```
//!
//! The outbox never takes a record back. So a withdrawal that some state has on record is on record in every later
//! one, and any final output from its height on will do.

pub mod trie;

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_rlp::Decodable as _;
use alloy_sol_types::SolValue as _;
use alloy_trie::TrieAccount;

use self::trie::TrieFault;
use crate::bindings::Bridge;

/// The predeploy on L2 that records withdrawals.
pub const OUTBOX: Address = address!("0x0000000000000000000000000000000000005e01");

/// Nodes on the way to one key, at most: a root, and one for each of the key's 64 nibbles.
pub const MAX_PROOF_NODES: usize = 65;

/// Bytes of one node, at most. A branch with sixteen hashes has 532, and no leaf of ours has more.
pub const MAX_NODE_BYTES: usize = 576;

/// What the outbox stores for a withdrawal: RLP of the number one.
const RECORDED: [u8; 1] = [1];

/// A withdrawal as the outbox recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Withdrawal {
    /// Its number, from 0.
    pub index: u64,
    /// The account on L2 that sent it.
    pub sender: Address,
    /// The account on L1 that gets it.
    pub to: Address,
    /// How much, in wei.
    pub amount_wei: U256,
}

impl Withdrawal {
    /// keccak256 of the ABI encoding of (index, sender, to, amount), 32 bytes each: under which the outbox keeps it,
    /// and the bridge remembers that it is paid.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256((U256::from(self.index), self.sender, self.to, self.amount_wei).abi_encode())
    }

    /// Its slot in the outbox's storage, which holds 1: keccak256(hash ‖ 32 zero bytes), as Solidity lays out a
    /// mapping in slot 0.
    #[must_use]
    pub fn slot(&self) -> B256 {
        keccak256((self.hash(), U256::ZERO).abi_encode())
    }
}

impl From<&Withdrawal> for Bridge::Withdrawal {
    fn from(from: &Withdrawal) -> Self {
        Self {
            index: U256::from(from.index),
            sender: from.sender,
            to: from.to,
            amount: from.amount_wei,
        }
    }
}

/// Shows that a state has a withdrawal on record. Both halves as `eth_getProof` gives them (EIP-1186): RLP of the
/// nodes from the root down; nodes below 32 bytes lie inside their parents and are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithdrawalProof {
    /// From the state root to the outbox's account.
    pub account: Vec<Bytes>,
    /// From the account's storage root to the withdrawal's slot.
    pub storage: Vec<Bytes>,
}

/// Why a proof proves nothing. Whoever gave it is at fault, or the state root is of a height before the withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// More nodes, or longer ones, than any trie of ours has.
    #[error(
        "the proof is too large: more than {MAX_PROOF_NODES} nodes, or one of more than {MAX_NODE_BYTES} bytes"
    )]
    TooLarge,
    /// The first half does not go together.
    #[error("the outbox's account: {0}")]
    Account(#[source] TrieFault),
    /// The state has no outbox: it is of a chain without settlement.
    #[error("the state has no outbox")]
    NoOutbox,
    /// What the state has at the outbox's address is no account.
    #[error("the outbox's account does not decode")]
    MalformedAccount,
    /// The second half does not go together.
    #[error("the withdrawal's slot: {0}")]
    Storage(#[source] TrieFault),
    /// The proof is a good one, of the opposite.
    #[error("the state has no such withdrawal on record")]
    NotRecorded,
}

impl WithdrawalProof {
    /// Checks the proof as the bridge on L1 does, so that one that would revert is not sent.
    ///
    /// # Errors
    /// [`ProofFault`].
    pub fn check(&self, state_root: B256, withdrawal: &Withdrawal) -> Result<(), ProofFault> {
        for half in [&self.account, &self.storage] {
            if half.len() > MAX_PROOF_NODES || half.iter().any(|node| node.len() > MAX_NODE_BYTES) {
                return Err(ProofFault::TooLarge);
            }
        }
        let account = trie::value(state_root, keccak256(OUTBOX), &self.account)
            .map_err(ProofFault::Account)?
            .ok_or(ProofFault::NoOutbox)?;
        let storage_root = account_of(&account).ok_or(ProofFault::MalformedAccount)?.storage_root;
        let value = trie::value(storage_root, keccak256(withdrawal.slot()), &self.storage)
            .map_err(ProofFault::Storage)?;
        match value {
            Some(value) if value == RECORDED => Ok(()),
            _ => Err(ProofFault::NotRecorded),
        }
    }

    /// The call of the bridge that pays a withdrawal out, against the output of batch `batch`.
    #[must_use]
    pub fn into_call(self, batch: u64, withdrawal: &Withdrawal) -> Bridge::withdrawCall {
        Bridge::withdrawCall {
            batchIndex: batch,
            w: withdrawal.into(),
            accountProof: self.account,
            storageProof: self.storage,
        }
    }
}

/// The account in a leaf of the account trie; nothing if the bytes are none, or something follows.
#[must_use]
pub fn account_of(mut leaf: &[u8]) -> Option<TrieAccount> {
    TrieAccount::decode(&mut leaf).ok().filter(|_| leaf.is_empty())
}
