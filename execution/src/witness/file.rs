//! A block with all that is needed to execute it again, as JSON.

use alloy_consensus::Header;
use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, B256, Bytes, Log, U64, U128, U256};
use blindfold_wire::{
    Block, Envelope, EnvelopeHeader, FinalizationCertificate, Genesis, KeyId, Opening,
    OrderCommitment, SkipReason,
};
use serde::{Deserialize, Serialize};

use super::format::{ExecutionWitness, WitnessError};
use crate::bal::{AccessListError, BlockAccessList};
use crate::block::{BlockRecord, ForcedOutcome, ForcedVerdict, Outcome, Receipt, Verdict};

/// Version of the format that this program writes and reads.
pub const REPLAY_FILE_VERSION: u32 = 2;

/// Bytes of a file, at most: the largest witness in hex, and as much again for the rest.
pub const MAX_REPLAY_FILE_BYTES: usize = 256 << 20;

/// A block to be executed again: what was ordered, how it opened, what is claimed of it, and the witness.
///
/// Ciphertexts are not part of it: an opened envelope is sealed again from its clear fields and opening, which
/// gives the very bytes, and so the id, that were ordered. An undecryptable one is there as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayFile {
    /// [`REPLAY_FILE_VERSION`].
    pub version: u32,
    /// The chain's genesis document: parameters, committee keys, fee addresses.
    pub genesis: Genesis,
    /// The order commitment with its leader's signature.
    pub commitment: Bytes,
    /// The certificate that makes it final, or the last of `descendants`.
    pub certificate: Bytes,
    /// Commitments from the next height up to the certified one.
    pub descendants: Vec<Bytes>,
    /// Envelopes in order.
    pub envelopes: Vec<OrderedEnvelope>,
    /// Forced items of the height, with its parent's commitment (`ForcedSpan::encode`).
    pub forced: Bytes,
    /// What is claimed of the block.
    pub claimed: ClaimedBlock,
    /// What it takes to execute it without the state.
    pub witness: ExecutionWitness,
}

/// The clear fields of an ordered envelope, and its opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderedEnvelope {
    /// Its id, as ordered.
    pub id: B256,
    /// Who signed it and pays for it.
    pub payer: Address,
    /// Chain it is for.
    pub chain_id: U64,
    /// Committee key it is sealed to.
    pub key_id: KeyId,
    /// The payer's envelope nonce.
    pub payer_nonce: U64,
    /// Most the payer gives per unit of gas, in wei.
    pub max_fee_per_gas: U128,
    /// Most of it that goes to the leader, in wei.
    pub max_priority_fee_per_gas: U128,
    /// Reserved gas.
    pub gas_limit: U64,
    /// Last height at which it may be ordered.
    pub expiry_height: U64,
    /// The payer's signature, 65 bytes.
    pub signature: Bytes,
    /// What it held.
    pub opening: FileOpening,
}

/// How an envelope opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FileOpening {
    /// To a message.
    Opened {
        /// The wallet's seed.
        seed: B256,
        /// What was sealed.
        message: Bytes,
    },
    /// To nothing.
    Undecryptable {
        /// The secret that proves it, 48 bytes.
        secret: Bytes,
        /// The whole envelope: it cannot be sealed again.
        envelope: Bytes,
    },
}

/// What is claimed of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedBlock {
    /// Its header.
    pub header: Header,
    /// Receipts of the executed transactions.
    pub receipts: Vec<ClaimedReceipt>,
    /// What became of each position.
    pub outcomes: Vec<ClaimedOutcome>,
    /// What became of each forced item.
    pub forced: Vec<ClaimedForced>,
    /// Root over the openings.
    pub opening_root: B256,
    /// Commits to state root and opening root.
    pub executed_root: B256,
    /// What every forced item and position left behind (EIP-7928, indices count items, then positions, from 1). Names the place if only the state
    /// root differs.
    pub access_list: Vec<AccountChanges>,
}

/// A receipt in a [`ReplayFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedReceipt {
    /// EIP-2718 type of the transaction.
    #[serde(rename = "type")]
    pub tx_type: u8,
    /// Whether it succeeded.
    pub success: bool,
    /// Gas it used.
    pub gas_used: U64,
    /// Gas used in the block up to and including it.
    pub cumulative_gas_used: U64,
    /// Wei per gas that it paid.
    pub effective_gas_price: U128,
    /// The contract it created, or tried to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_address: Option<Address>,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// What became of one position, in a [`ReplayFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedOutcome {
    /// The envelope.
    pub envelope_id: B256,
    /// Who paid.
    pub payer: Address,
    /// What it cost, in wei.
    pub charge_wei: U256,
    /// What became of its content.
    pub status: ClaimedStatus,
    /// Index among the block's transactions, if executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_index: Option<U64>,
    /// Hash of the transaction, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_hash: Option<B256>,
    /// Whether it succeeded, if executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Why it was skipped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<SkipReason>,
}

/// What became of an envelope's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedStatus {
    /// It was executed, and may have reverted.
    Executed,
    /// It could not be executed.
    Skipped,
    /// It held nothing that opens.
    Undecryptable,
}

/// What became of one forced item, in a [`ReplayFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimedForced {
    /// Its number in the queue.
    pub index: U64,
    /// What became of it.
    pub status: ClaimedForcedStatus,
    /// Position of its envelope, if ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<U64>,
    /// Index among the block's transactions, if executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_index: Option<U64>,
    /// Hash of the transaction, if it held one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_hash: Option<B256>,
    /// Whether it succeeded, if executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Why it was skipped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<SkipReason>,
    /// Whom wei was credited to, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Address>,
    /// How much, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wei: Option<U256>,
}

/// What became of a forced item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedForcedStatus {
    /// Its envelope was ordered.
    Ordered,
    /// Its transaction was executed, and may have reverted.
    Executed,
    /// Wei was credited.
    Credited,
    /// It came to nothing.
    Skipped,
}

/// Why a file is none, or cannot be executed. Whoever made it is at fault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplayFileError {
    /// It is longer than [`MAX_REPLAY_FILE_BYTES`].
    #[error("file has {got_bytes} of at most {MAX_REPLAY_FILE_BYTES} bytes")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// It is not JSON of the format's structure.
    #[error("file does not decode: {0}")]
    Json(String),
    /// Another program version wrote it.
    #[error("file has version {got}, this program reads {REPLAY_FILE_VERSION}")]
    Version {
        /// The version found.
        got: u32,
    },
    /// The genesis document is not valid.
    #[error("genesis document: {0}")]
    Genesis(String),
    /// A field does not decode.
    #[error("{field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A position does not decode.
    #[error("envelope at position {position}: {reason}")]
    Envelope {
        /// The position.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The claimed access list is not canonical.
    #[error(transparent)]
    AccessList(#[from] AccessListError),
    /// The witness is not canonical.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

impl ReplayFileError {
    pub(super) fn field(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Field { field, reason: reason.to_string() }
    }

    pub(super) fn envelope(position: usize, reason: impl std::fmt::Display) -> Self {
        Self::Envelope { position, reason: reason.to_string() }
    }
}

/// What a node keeps of an executed height: the parts of a [`ReplayFile`].
#[derive(Clone, Debug)]
pub struct ReplayParts<'a> {
    /// The chain's genesis document.
    pub genesis: &'a Genesis,
    /// The ordered block.
    pub block: &'a Block,
    /// The certificate of the height, or of the last of `descendants`.
    pub certificate: &'a FinalizationCertificate,
    /// Commitments from the next height up to the certified one.
    pub descendants: &'a [OrderCommitment],
    /// One opening for each envelope.
    pub openings: &'a [Opening],
    /// The executed block.
    pub record: &'a BlockRecord,
    /// Its access list.
    pub access_list: &'a BlockAccessList,
    /// Its witness.
    pub witness: &'a ExecutionWitness,
}

impl ReplayFile {
    /// Puts a file together. Nothing is verified but that envelopes and openings pair up.
    ///
    /// # Errors
    ///
    /// [`ReplayFileError::Envelope`] if an envelope does not decode or has no opening.
    pub fn new(parts: &ReplayParts<'_>) -> Result<Self, ReplayFileError> {
        let count = parts.block.envelopes.len();
        if parts.openings.len() != count {
            let reason = format!("{} openings for {count} envelopes", parts.openings.len());
            return Err(ReplayFileError::field("openings", reason));
        }
        let envelopes = parts
            .block
            .envelopes
            .iter()
            .zip(parts.openings)
            .enumerate()
            .map(|(position, (bytes, opening))| {
                OrderedEnvelope::new(bytes, opening)
                    .map_err(|reason| ReplayFileError::Envelope { position, reason })
            })
            .collect::<Result<_, _>>()?;
        let record = parts.record;
        Ok(Self {
            version: REPLAY_FILE_VERSION,
            genesis: parts.genesis.clone(),
            commitment: parts.block.commitment.encode().into(),
            certificate: parts.certificate.encode_engine().into(),
            descendants: parts.descendants.iter().map(|link| link.encode().into()).collect(),
            envelopes,
            forced: parts.block.forced.encode().into(),
            claimed: ClaimedBlock {
                header: record.header.clone(),
                receipts: record.receipts.iter().map(ClaimedReceipt::from).collect(),
                outcomes: record.outcomes.iter().map(ClaimedOutcome::from).collect(),
                forced: record.forced.iter().map(ClaimedForced::from).collect(),
                opening_root: record.opening_root,
                executed_root: record.executed_root,
                access_list: parts.access_list.accounts().to_vec(),
            },
            witness: parts.witness.clone(),
        })
    }

    /// Reads JSON. Checks structure, version and bounds; the rest is [`super::replay`]'s affair.
    ///
    /// # Errors
    ///
    /// [`ReplayFileError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReplayFileError> {
        if bytes.len() > MAX_REPLAY_FILE_BYTES {
            return Err(ReplayFileError::TooLong { got_bytes: bytes.len() });
        }
        let file: Self = serde_json::from_slice(bytes)
            .map_err(|error| ReplayFileError::Json(error.to_string()))?;
        if file.version != REPLAY_FILE_VERSION {
            return Err(ReplayFileError::Version { got: file.version });
        }
        file.witness.check()?;
        Ok(file)
    }

    /// Writes JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl OrderedEnvelope {
    fn new(bytes: &[u8], opening: &Opening) -> Result<Self, String> {
        let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
        let payer = envelope.recover_payer().map_err(|error| error.to_string())?;
        let header = &envelope.header;
        Ok(Self {
            id: envelope.id(),
            payer,
            chain_id: U64::from(header.chain_id),
            key_id: header.key_id,
            payer_nonce: U64::from(header.payer_nonce),
            max_fee_per_gas: U128::from(header.max_fee_per_gas),
            max_priority_fee_per_gas: U128::from(header.max_priority_fee_per_gas),
            gas_limit: U64::from(header.gas_limit),
            expiry_height: U64::from(header.expiry_height),
            signature: envelope.signature.to_bytes().into(),
            opening: match opening {
                Opening::Opened { seed, message } => {
                    FileOpening::Opened { seed: seed.into(), message: message.clone().into() }
                }
                Opening::Undecryptable { secret } => FileOpening::Undecryptable {
                    secret: Bytes::copy_from_slice(secret),
                    envelope: Bytes::copy_from_slice(bytes),
                },
            },
        })
    }

    /// The clear fields that the payer signed.
    pub(super) fn header(&self) -> EnvelopeHeader {
        EnvelopeHeader {
            chain_id: self.chain_id.to(),
            key_id: self.key_id,
            payer_nonce: self.payer_nonce.to(),
            max_fee_per_gas: self.max_fee_per_gas.to(),
            max_priority_fee_per_gas: self.max_priority_fee_per_gas.to(),
            gas_limit: self.gas_limit.to(),
            expiry_height: self.expiry_height.to(),
        }
    }
}

impl From<&Receipt> for ClaimedReceipt {
    fn from(receipt: &Receipt) -> Self {
        Self {
            tx_type: receipt.tx_type as u8,
            success: receipt.success,
            gas_used: U64::from(receipt.gas_used),
            cumulative_gas_used: U64::from(receipt.cumulative_gas_used),
            effective_gas_price: U128::from(receipt.effective_gas_price_wei),
            contract_address: receipt.contract_address,
            logs: receipt.logs.clone(),
        }
    }
}

impl From<&Outcome> for ClaimedOutcome {
    fn from(outcome: &Outcome) -> Self {
        let Outcome { envelope_id, payer, charge_wei, verdict } = *outcome;
        let claimed = Self {
            envelope_id,
            payer,
            charge_wei,
            status: ClaimedStatus::Undecryptable,
            transaction_index: None,
            transaction_hash: None,
            success: None,
            reason: None,
        };
        match verdict {
            Verdict::Executed { transaction_index, transaction_hash, success } => Self {
                status: ClaimedStatus::Executed,
                transaction_index: Some(U64::from(transaction_index)),
                transaction_hash: Some(transaction_hash),
                success: Some(success),
                ..claimed
            },
            Verdict::Skipped { reason, transaction_hash } => Self {
                status: ClaimedStatus::Skipped,
                reason: Some(reason),
                transaction_hash,
                ..claimed
            },
            Verdict::Undecryptable => claimed,
        }
    }
}

impl From<&ForcedOutcome> for ClaimedForced {
    fn from(outcome: &ForcedOutcome) -> Self {
        let claimed = |status| Self {
            index: U64::from(outcome.index),
            status,
            position: None,
            transaction_index: None,
            transaction_hash: None,
            success: None,
            reason: None,
            to: None,
            wei: None,
        };
        match outcome.verdict {
            ForcedVerdict::Ordered { position } => Self {
                position: Some(U64::from(position)),
                ..claimed(ClaimedForcedStatus::Ordered)
            },
            ForcedVerdict::Executed { transaction_index, transaction_hash, success } => Self {
                transaction_index: Some(U64::from(transaction_index)),
                transaction_hash: Some(transaction_hash),
                success: Some(success),
                ..claimed(ClaimedForcedStatus::Executed)
            },
            ForcedVerdict::Credited { to, wei } => {
                Self { to: Some(to), wei: Some(wei), ..claimed(ClaimedForcedStatus::Credited) }
            }
            ForcedVerdict::Skipped { reason, transaction_hash } => Self {
                reason: Some(reason),
                transaction_hash,
                ..claimed(ClaimedForcedStatus::Skipped)
            },
        }
    }
}
