//! The committee, taken from a pinned genesis document.

use std::sync::Arc;

use blindfold_crypto::CommitteeKey;
use blindfold_wire::{
    Address, B256,
    codec::DecodeError,
    envelope::KeyId,
    genesis::{ChainParams, Genesis, GenesisError},
};

use crate::rpc::CommitteeDocument;

/// Everything a wallet believes about a chain. Cheap to clone.
///
/// It can only be made from a genesis document whose hash is the pinned one and whose keys are
/// consistent with each other (proofs of possession, verification keys, threshold). Whoever
/// answers on the network can therefore refuse to serve, but cannot substitute a key.
#[derive(Clone)]
pub struct Committee(Arc<Trusted>);

struct Trusted {
    genesis_hash: B256,
    genesis: Genesis,
    key: CommitteeKey,
}

/// Why a genesis document is not the pinned chain's.
#[derive(Debug, thiserror::Error)]
pub enum CommitteeError {
    /// The document is another chain's, or was tampered with. Do not seal with it.
    #[error("genesis hash is {found}, but {pinned} is pinned: wrong chain, or a node that lies")]
    WrongGenesis {
        /// The hash the caller trusts.
        pinned: B256,
        /// The hash of the document.
        found: B256,
    },
    /// The document is not canonical RLP.
    #[error("genesis document: {0}")]
    Decode(#[from] DecodeError),
    /// The document is not JSON of the expected form, or contradicts itself; whoever made this
    /// chain is at fault.
    #[error("genesis document: {0}")]
    Inconsistent(#[from] GenesisError),
}

impl Committee {
    /// Takes a genesis document in canonical RLP.
    ///
    /// # Errors
    /// If it is malformed, does not have the pinned hash, or contradicts itself.
    pub fn from_rlp(genesis: &[u8], pinned: B256) -> Result<Self, CommitteeError> {
        Self::from_genesis(Genesis::decode(genesis)?, pinned)
    }

    /// Takes a genesis document in JSON, as operators publish it.
    ///
    /// # Errors
    /// As [`Self::from_rlp`].
    pub fn from_json(genesis: &str, pinned: B256) -> Result<Self, CommitteeError> {
        Self::from_genesis(Genesis::from_json(genesis)?, pinned)
    }

    /// Takes a node's answer. Only the RLP document in it counts.
    ///
    /// # Errors
    /// As [`Self::from_rlp`].
    pub fn from_document(
        document: &CommitteeDocument,
        pinned: B256,
    ) -> Result<Self, CommitteeError> {
        Self::from_rlp(&document.genesis_rlp, pinned)
    }

    /// Takes a decoded genesis document.
    ///
    /// # Errors
    /// As [`Self::from_rlp`].
    pub fn from_genesis(genesis: Genesis, pinned: B256) -> Result<Self, CommitteeError> {
        let genesis_hash = genesis.hash();
        if genesis_hash != pinned {
            return Err(CommitteeError::WrongGenesis { pinned, found: genesis_hash });
        }
        genesis.validate()?;
        let key = genesis.admission_rules()?.committee;
        Ok(Self(Arc::new(Trusted { genesis_hash, genesis, key })))
    }

    /// Hash of the genesis document.
    pub fn genesis_hash(&self) -> B256 {
        self.0.genesis_hash
    }

    /// Chain id.
    pub fn chain_id(&self) -> u64 {
        self.0.genesis.chain_id
    }

    /// Key to seal with.
    pub fn key(&self) -> &CommitteeKey {
        &self.0.key
    }

    /// Identifier of the key.
    pub fn key_id(&self) -> KeyId {
        self.0.genesis.key_id()
    }

    /// Parameters of the chain.
    pub fn params(&self) -> &ChainParams {
        &self.0.genesis.params
    }

    /// The whole genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// Address with which a member signs, or `None` if there is no such member.
    pub fn signer(&self, member: u32) -> Option<Address> {
        let index = usize::try_from(member).ok()?;
        self.0.genesis.committee.members.get(index).map(|member| member.signer)
    }
}

impl std::fmt::Debug for Committee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committee")
            .field("genesis_hash", &self.0.genesis_hash)
            .field("chain_id", &self.chain_id())
            .finish_non_exhaustive()
    }
}
