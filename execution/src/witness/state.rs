//! The state before a block, as far as a witness proves it.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};

use super::format::{ExecutionWitness, WitnessError, WitnessHeader};
use super::source::{self, Tries};
use crate::chain::BLOCK_HASH_HEIGHTS;
use crate::state::{Account, StateDiff, StateView, StoreError};

/// Why a witness does not suffice. Whoever made it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    /// A trie node is needed and not there.
    #[error("the witness lacks the trie node {hash}")]
    LacksNode {
        /// keccak256 of its RLP.
        hash: B256,
    },
    /// A code is needed and not there.
    #[error("the witness lacks the code {hash}")]
    LacksCode {
        /// keccak256 of it.
        hash: B256,
    },
    /// `BLOCKHASH` asks for a block whose header is not there.
    #[error("the witness lacks the header of height {height}")]
    LacksHeader {
        /// The height.
        height: u64,
    },
    /// What has the hash of a node is none.
    #[error("the witness's bytes with hash {hash} are no trie node")]
    MalformedNode {
        /// keccak256 of the bytes.
        hash: B256,
    },
    /// A leaf holds no account, or no value of a slot.
    #[error("a leaf of the witness holds no account or value of {address}")]
    MalformedLeaf {
        /// The account.
        address: Address,
    },
}

/// The state before a block. What it returns is proved by the parent's state root; what the witness lacks is
/// an error, and never read as empty.
#[derive(Clone, Debug)]
pub struct WitnessState {
    nodes: HashMap<B256, Bytes>,
    codes: HashMap<B256, Bytes>,
    block_hashes: BTreeMap<u64, B256>,
    parent: WitnessHeader,
}

impl WitnessState {
    /// The state that a witness proves.
    ///
    /// # Errors
    ///
    /// [`WitnessError`] if it is not in canonical form. Whether it is complete shows when it is read.
    pub fn new(witness: &ExecutionWitness) -> Result<Self, WitnessError> {
        let headers = witness.check()?;
        let by_hash = |list: &[Bytes]| {
            list.iter().map(|bytes| (keccak256(bytes), bytes.clone())).collect::<HashMap<_, _>>()
        };
        let block_hashes =
            headers.iter().map(|header| (header.header.number, header.hash)).collect();
        let parent = headers.into_iter().next_back().ok_or(WitnessError::HeaderCount { got: 0 })?;
        Ok(Self {
            nodes: by_hash(&witness.state),
            codes: by_hash(&witness.codes),
            block_hashes,
            parent,
        })
    }

    /// Header of the block that this is the state after.
    #[must_use]
    pub const fn parent(&self) -> &WitnessHeader {
        &self.parent
    }

    /// The state root after these changes.
    ///
    /// # Errors
    ///
    /// [`WitnessFault`] if the witness lacks a node that this takes.
    pub fn root_after(&self, diff: &StateDiff) -> Result<B256, WitnessFault> {
        source::root_after(&mut Nodes(&self.nodes), self.parent.header.state_root, diff)
    }
}

impl StateView for WitnessState {
    fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        let nodes = &mut Nodes(&self.nodes);
        let leaf = source::account(nodes, self.parent.header.state_root, address)?;
        Ok(leaf.map(|leaf| Account {
            nonce: leaf.nonce,
            balance: leaf.balance,
            code_hash: leaf.code_hash,
        }))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let nodes = &mut Nodes(&self.nodes);
        match source::account(nodes, self.parent.header.state_root, address)? {
            Some(leaf) => Ok(source::slot(nodes, address, leaf.storage_root, slot)?),
            None => Ok(U256::ZERO),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StoreError> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        let code = self.codes.get(&code_hash).cloned();
        Ok(code.ok_or(WitnessFault::LacksCode { hash: code_hash })?)
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StoreError> {
        let newest = self.parent.header.number;
        if height > newest || newest - height >= BLOCK_HASH_HEIGHTS {
            return Ok(None);
        }
        let hash = self.block_hashes.get(&height).copied();
        Ok(Some(hash.ok_or(WitnessFault::LacksHeader { height })?))
    }
}

/// The nodes of a witness: one heap for all tries.
struct Nodes<'a>(&'a HashMap<B256, Bytes>);

impl Tries for Nodes<'_> {
    type Error = WitnessFault;

    fn node(&mut self, _: Option<Address>, hash: B256, _: &[u8]) -> Result<Vec<u8>, WitnessFault> {
        let node = self.0.get(&hash).ok_or(WitnessFault::LacksNode { hash })?;
        Ok(node.to_vec())
    }

    fn malformed(&self, hash: B256) -> WitnessFault {
        WitnessFault::MalformedNode { hash }
    }

    fn malformed_leaf(&self, address: Address) -> WitnessFault {
        WitnessFault::MalformedLeaf { address }
    }
}
