//! The genesis document: everything a member, wallet or auditor must agree on before height 1.
//!
//! JSON for humans, canonical RLP for the hash. A wallet pins [`Genesis::hash`]; from it follow the
//! committee, its keys and the parameters.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_crypto::{CommitteeKey, CommitteePublic};
use serde::{Deserialize, Serialize};

use crate::{
    certificate::{MAX_MEMBERS, VoteCommittee, VoteKeyError, quorum, vote_key_pop_verify},
    checked::AdmissionRules,
    codec::{DecodeError, ListReader, ListWriter, bounded},
    domain,
    envelope::{KeyId, key_id},
    human,
    merkle::hash,
};

pub use crate::params::ChainParams;
use crate::params::MAX_SETTLED_BLOCK_BYTES;

/// Upper bound of an encoded genesis document, in bytes.
pub const MAX_GENESIS_BYTES: usize = 16 << 20;

/// Most accounts, escrow entries or storage slots a genesis document may list.
pub const MAX_GENESIS_ITEMS: usize = 1 << 16;

/// Why a genesis document cannot start a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Members are not sorted by identity, or one appears twice.
    #[error("members are not strictly ascending by identity")]
    MemberOrder,
    /// No member, or too many.
    #[error("a committee has between 1 and {MAX_MEMBERS} members, not {0}")]
    MemberCount(usize),
    /// Two members share a vote key or a signer address.
    #[error("member {member} shares its {what} with another member")]
    SharedKey {
        /// Index of the later member.
        member: usize,
        /// Which key.
        what: &'static str,
    },
    /// A member without stake.
    #[error("member {0} has no stake")]
    NoStake(usize),
    /// A member's vote key or proof of possession is invalid.
    #[error("member {member}'s vote key is invalid")]
    VoteKey {
        /// Index of the member.
        member: usize,
        /// What is wrong with it.
        source: VoteKeyError,
    },
    /// The threshold is not n − f.
    #[error("threshold is {got}, it must be n − f = {expected}")]
    Threshold {
        /// n − f.
        expected: usize,
        /// The document's threshold.
        got: usize,
    },
    /// Y, Y₂ and the verification keys do not belong together.
    #[error("committee key material is inconsistent: {0}")]
    CommitteeKey(String),
    /// Accounts or escrow entries are not sorted, or one appears twice.
    #[error("{0} is not strictly ascending by address")]
    EntryOrder(&'static str),
    /// A parameter is out of range.
    #[error("parameter {name}: {reason}")]
    Params {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The text is not the JSON of a genesis document.
    #[error("genesis JSON: {0}")]
    Json(String),
}

/// One member of the committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberInfo {
    /// ed25519 public key: transport and engine identity.
    #[serde(with = "human::hex")]
    pub identity: [u8; 32],
    /// BLS12-381 vote key, compressed G2.
    #[serde(with = "human::hex")]
    pub vote_key: [u8; 96],
    /// Proof of possession of the vote key, compressed G1.
    #[serde(with = "human::hex")]
    pub vote_key_pop: [u8; 48],
    /// Address whose key signs commitments, bundles and receipts.
    pub signer: Address,
    /// Address that receives fees.
    pub fee_address: Address,
    /// Stake: weighs leadership, not votes.
    pub stake: u64,
    /// x_i·g₂ of its decryption share, compressed G2.
    #[serde(with = "human::hex")]
    pub verification_key: [u8; 96],
}

impl MemberInfo {
    fn write(&self) -> Vec<u8> {
        ListWriter::new()
            .bytes(&self.identity)
            .bytes(&self.vote_key)
            .bytes(&self.vote_key_pop)
            .bytes(self.signer.as_slice())
            .bytes(self.fee_address.as_slice())
            .int(self.stake)
            .bytes(&self.verification_key)
            .finish()
    }

    fn read(mut list: ListReader<'_>) -> Result<Self, DecodeError> {
        let member = Self {
            identity: list.get("identity")?,
            vote_key: list.get("vote_key")?,
            vote_key_pop: list.get("vote_key_pop")?,
            signer: list.get::<[u8; 20]>("signer")?.into(),
            fee_address: list.get::<[u8; 20]>("fee_address")?.into(),
            stake: list.get("stake")?,
            verification_key: list.get("verification_key")?,
        };
        list.finish()?;
        Ok(member)
    }
}

/// The committee of the first epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitteeInfo {
    /// Its epoch.
    pub epoch: u64,
    /// Shares needed to open: n − f.
    pub threshold: u32,
    /// Y = x·g, compressed G1: what wallets seal to.
    #[serde(with = "human::hex")]
    pub y: [u8; 48],
    /// Y₂ = x·g₂, compressed G2.
    #[serde(with = "human::hex")]
    pub y2: [u8; 96],
    /// Members, ascending by identity; a member's index is its place here.
    pub members: Vec<MemberInfo>,
}

/// An account at genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisAccount {
    /// Its address.
    pub address: Address,
    /// Its balance, in wei.
    pub balance: U256,
    /// Its nonce.
    #[serde(default)]
    pub nonce: u64,
    /// Its code; empty if none.
    #[serde(default)]
    pub code: Bytes,
    /// Its storage: slot to value.
    #[serde(default)]
    pub storage: BTreeMap<B256, B256>,
}

impl GenesisAccount {
    fn write(&self) -> Vec<u8> {
        let mut storage = ListWriter::new();
        for (slot, value) in &self.storage {
            storage.raw(&ListWriter::new().bytes(slot.as_slice()).bytes(value.as_slice()).finish());
        }
        ListWriter::new()
            .bytes(self.address.as_slice())
            .int256(&self.balance)
            .int(self.nonce)
            .bytes(&self.code)
            .raw(&storage.finish())
            .finish()
    }

    fn read(mut list: ListReader<'_>) -> Result<Self, DecodeError> {
        let address = list.get::<[u8; 20]>("address")?.into();
        let balance = list.get("balance")?;
        let nonce = list.get("nonce")?;
        let code = Bytes::copy_from_slice(list.bytes("code", MAX_GENESIS_BYTES)?);
        let slots = list.list("storage")?.items("storage", MAX_GENESIS_ITEMS, |items| {
            let mut pair = items.list("slot")?;
            let slot =
                (pair.get::<[u8; 32]>("slot")?.into(), pair.get::<[u8; 32]>("value")?.into());
            pair.finish()?;
            Ok(slot)
        })?;
        if !slots.is_sorted_by(|a: &(B256, B256), b| a.0 < b.0) {
            return Err(DecodeError::Invalid {
                field: "storage",
                reason: "slots are not strictly ascending",
            });
        }
        list.finish()?;
        Ok(Self { address, balance, nonce, code, storage: slots.into_iter().collect() })
    }
}

/// The genesis document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// Chain id of the L2.
    pub chain_id: u64,
    /// Settlement contract on L1; zero while there is none.
    pub settlement: Address,
    /// Time of height 0, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Height from which the committee key is in force.
    pub activation: u64,
    /// Parameters.
    pub params: ChainParams,
    /// The first committee.
    pub committee: CommitteeInfo,
    /// Accounts, ascending by address.
    pub alloc: Vec<GenesisAccount>,
    /// Escrow balances in wei, ascending by address.
    pub escrow: Vec<(Address, U256)>,
}

impl Genesis {
    /// keccak256(domain ‖ RLP of the document).
    pub fn hash(&self) -> B256 {
        hash(domain::GENESIS, &[&self.encode()])
    }

    /// The name of the committee key.
    pub fn key_id(&self) -> KeyId {
        key_id(self.chain_id, &self.committee.y, self.activation)
    }

    /// Checks parameters, order and uniqueness of entries, proofs of possession and the consistency
    /// of the committee's key material. Costs a few pairings per member.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn validate(&self) -> Result<(), GenesisError> {
        self.params.validate()?;
        let is_settled = self.settlement != Address::ZERO;
        if is_settled && self.params.max_block_bytes > MAX_SETTLED_BLOCK_BYTES {
            return Err(GenesisError::Params {
                name: "maxBlockBytes",
                reason: "must not exceed 700000 with a settlement contract: a height must fit one batch",
            });
        }
        self.validate_members()?;
        if !self.alloc.is_sorted_by(|a, b| a.address < b.address) {
            return Err(GenesisError::EntryOrder("alloc"));
        }
        if !self.escrow.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(GenesisError::EntryOrder("escrow"));
        }
        self.committee_public().map(|_| ())
    }

    fn validate_members(&self) -> Result<(), GenesisError> {
        let members = &self.committee.members;
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(GenesisError::MemberCount(members.len()));
        }
        if !members.is_sorted_by(|a, b| a.identity < b.identity) {
            return Err(GenesisError::MemberOrder);
        }
        let (mut vote_keys, mut signers) = (HashSet::new(), HashSet::new());
        for (member, info) in members.iter().enumerate() {
            if !vote_keys.insert(info.vote_key) {
                return Err(GenesisError::SharedKey { member, what: "vote key" });
            }
            if !signers.insert(info.signer) {
                return Err(GenesisError::SharedKey { member, what: "signer" });
            }
            if info.stake == 0 {
                return Err(GenesisError::NoStake(member));
            }
            vote_key_pop_verify(&info.vote_key, &info.vote_key_pop)
                .map_err(|source| GenesisError::VoteKey { member, source })?;
        }
        let (expected, got) = (quorum(members.len()), self.committee.threshold as usize);
        if got == expected { Ok(()) } else { Err(GenesisError::Threshold { expected, got }) }
    }

    /// The public side of the decryption key, checked to be consistent.
    ///
    /// # Errors
    /// If Y, Y₂, the threshold and the verification keys do not belong together.
    pub fn committee_public(&self) -> Result<CommitteePublic, GenesisError> {
        let keys: Vec<_> =
            self.committee.members.iter().map(|member| member.verification_key).collect();
        CommitteePublic::new(
            &self.committee.y,
            &self.committee.y2,
            self.committee.threshold as usize,
            &keys,
        )
        .map_err(|error| GenesisError::CommitteeKey(error.to_string()))
    }

    /// The keys that finalize the first epoch. Validate the document first.
    ///
    /// # Errors
    /// If a vote key is not a valid point.
    pub fn vote_committee(&self) -> Result<VoteCommittee, VoteKeyError> {
        VoteCommittee::from_genesis(self)
    }

    /// What admission compares envelopes with.
    ///
    /// # Errors
    /// If Y is not a valid point.
    pub fn admission_rules(&self) -> Result<AdmissionRules, GenesisError> {
        let committee = CommitteeKey::from_bytes(&self.committee.y)
            .map_err(|error| GenesisError::CommitteeKey(error.to_string()))?;
        Ok(AdmissionRules { chain_id: self.chain_id, committee, key_id: self.key_id() })
    }

    /// Index of the member with this signer address.
    pub fn member_by_signer(&self, signer: Address) -> Option<u32> {
        let index = self.committee.members.iter().position(|member| member.signer == signer)?;
        u32::try_from(index).ok()
    }

    /// Canonical RLP `[chain_id, settlement, timestamp_ms, activation, params, [epoch, threshold, y,
    /// y2, [member…]], [account…], [[address, escrow]…]]`.
    pub fn encode(&self) -> Vec<u8> {
        let (mut members, mut alloc, mut escrow) =
            (ListWriter::new(), ListWriter::new(), ListWriter::new());
        for member in &self.committee.members {
            members.raw(&member.write());
        }
        for account in &self.alloc {
            alloc.raw(&account.write());
        }
        for (address, amount) in &self.escrow {
            escrow.raw(&ListWriter::new().bytes(address.as_slice()).int256(amount).finish());
        }
        let committee = ListWriter::new()
            .int(self.committee.epoch)
            .int(self.committee.threshold)
            .bytes(&self.committee.y)
            .bytes(&self.committee.y2)
            .raw(&members.finish())
            .finish();
        ListWriter::new()
            .int(self.chain_id)
            .bytes(self.settlement.as_slice())
            .int(self.timestamp_ms)
            .int(self.activation)
            .raw(&self.params.write())
            .raw(&committee)
            .raw(&alloc.finish())
            .raw(&escrow.finish())
            .finish()
    }

    /// Reads canonical RLP. Check [`Genesis::hash`] and [`Genesis::validate`] before use.
    ///
    /// # Errors
    /// If the bytes are anything else, or over [`MAX_GENESIS_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "genesis", MAX_GENESIS_BYTES)?;
        let mut list = ListReader::exact(bytes, "genesis")?;
        let chain_id = list.get("chain_id")?;
        let settlement = list.get::<[u8; 20]>("settlement")?.into();
        let timestamp_ms = list.get("timestamp_ms")?;
        let activation = list.get("activation")?;
        let params = ChainParams::read(list.list("params")?)?;
        let mut inner = list.list("committee")?;
        let committee = CommitteeInfo {
            epoch: inner.get("epoch")?,
            threshold: inner.get("threshold")?,
            y: inner.get("y")?,
            y2: inner.get("y2")?,
            members: inner
                .list("members")?
                .items("members", MAX_MEMBERS, |items| MemberInfo::read(items.list("member")?))?,
        };
        inner.finish()?;
        let alloc = list.list("alloc")?.items("alloc", MAX_GENESIS_ITEMS, |items| {
            GenesisAccount::read(items.list("account")?)
        })?;
        let escrow = list.list("escrow")?.items("escrow", MAX_GENESIS_ITEMS, |items| {
            let mut pair = items.list("escrow entry")?;
            let entry = (pair.get::<[u8; 20]>("address")?.into(), pair.get("amount")?);
            pair.finish()?;
            Ok(entry)
        })?;
        list.finish()?;
        Ok(Self {
            chain_id,
            settlement,
            timestamp_ms,
            activation,
            params,
            committee,
            alloc,
            escrow,
        })
    }

    /// Indented JSON for humans.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads what [`Genesis::to_json`] wrote.
    ///
    /// # Errors
    /// If the text is not the JSON of a genesis document.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        serde_json::from_str(text).map_err(|error| GenesisError::Json(error.to_string()))
    }
}
