//! Executed blocks: what they hold, and the bytes they are stored as.

use std::sync::Arc;

use alloy_consensus::{EthereumReceipt, Header, ReceiptWithBloom, TxEnvelope, TxReceipt, TxType};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, U256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use blindfold_wire::{SkipReason, TxStatus};

use crate::access::AccessRecord;
use crate::evm::Transaction;
use crate::state::{Layer, StateDiff, StateWrites};

/// First byte of a stored [`BlockRecord`].
pub const BLOCK_RECORD_VERSION: u8 = 2;

/// What happened to one executed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// EIP-2718 type of the transaction.
    pub tx_type: TxType,
    /// Whether it succeeded (EIP-658).
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// Gas used in the block up to and including it.
    pub cumulative_gas_used: u64,
    /// Wei per gas it paid.
    pub effective_gas_price_wei: u128,
    /// The contract it created, or tried to.
    pub contract_address: Option<Address>,
    /// Its logs; none if it failed.
    pub logs: Vec<Log>,
}

impl Receipt {
    /// The receipt as Ethereum hashes it into the receipts root.
    #[must_use]
    pub fn to_consensus(&self) -> ReceiptWithBloom<EthereumReceipt<TxType>> {
        EthereumReceipt {
            tx_type: self.tx_type,
            success: self.success,
            cumulative_gas_used: self.cumulative_gas_used,
            logs: self.logs.clone(),
        }
        .into_with_bloom()
    }

    /// The bloom filter of its logs.
    #[must_use]
    pub fn bloom(&self) -> Bloom {
        self.logs.iter().collect()
    }
}

/// What became of an envelope's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was executed, and may have reverted.
    Executed {
        /// Index among the block's transactions.
        transaction_index: u32,
        /// Hash of the transaction.
        transaction_hash: B256,
        /// Whether it succeeded.
        success: bool,
    },
    /// It could not be executed and left no trace but its charge.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// Hash of the transaction, if it was one.
        transaction_hash: Option<B256>,
    },
    /// It held nothing that opens.
    Undecryptable,
}

/// What became of the envelope at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The envelope.
    pub envelope_id: B256,
    /// Who paid for it.
    pub payer: Address,
    /// What it cost the payer's escrow, in wei. Gas the transaction used is its sender's affair.
    pub charge_wei: U256,
    /// What became of its content.
    pub verdict: Verdict,
}

impl Outcome {
    /// The outcome as a wallet sees it.
    #[must_use]
    pub const fn status(&self, height: u64, position: u32) -> TxStatus {
        match self.verdict {
            Verdict::Executed { transaction_index, transaction_hash, success } => {
                TxStatus::Executed {
                    height,
                    position,
                    tx_hash: transaction_hash,
                    tx_index: transaction_index,
                    success,
                }
            }
            Verdict::Skipped { reason, .. } => TxStatus::Skipped { height, position, reason },
            Verdict::Undecryptable => TxStatus::Undecryptable { height, position },
        }
    }
}

/// What became of a forced item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedVerdict {
    /// It held an envelope that was ordered. What became of that is the position's outcome.
    Ordered {
        /// The position.
        position: u32,
    },
    /// It held a transaction that was executed, and may have reverted.
    Executed {
        /// Index among the block's transactions.
        transaction_index: u32,
        /// Hash of the transaction.
        transaction_hash: B256,
        /// Whether it succeeded.
        success: bool,
    },
    /// Wei was credited: to a balance, to an escrow, or from the posting pool, as the item's kind says.
    Credited {
        /// Whom to.
        to: Address,
        /// How much, in wei. Of a reimbursement: what the posting pool had.
        wei: U256,
    },
    /// It came to nothing and left no trace.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// Hash of the transaction, if it held one.
        transaction_hash: Option<B256>,
    },
}

/// What became of one forced item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedOutcome {
    /// Its number in the queue.
    pub index: u64,
    /// Number of its kind (`blindfold_wire::ForcedKind`).
    pub kind: u8,
    /// The account on L1 that put it there.
    pub sender: Address,
    /// What became of it.
    pub verdict: ForcedVerdict,
}

/// An executed block as it is stored and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// Ethereum header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// Digest of the height's order commitment; also the header's extra data.
    pub commitment: B256,
    /// Executed transactions, in order.
    pub transactions: Vec<Transaction>,
    /// One receipt for each transaction.
    pub receipts: Vec<Receipt>,
    /// One outcome for each position of the order.
    pub outcomes: Vec<Outcome>,
    /// One outcome for each forced item, in the order of the queue. Their transactions come before those of the
    /// order.
    pub forced: Vec<ForcedOutcome>,
    /// Root over the height's openings.
    pub opening_root: B256,
    /// Commits to state root and opening root; certified k heights later.
    pub executed_root: B256,
}

impl BlockRecord {
    /// The height.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.header.number
    }

    /// The state root after the block.
    #[must_use]
    pub const fn state_root(&self) -> B256 {
        self.header.state_root
    }

    /// Stored form: [`BLOCK_RECORD_VERSION`], then RLP.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let record = StoredRecord {
            header: self.header.clone(),
            commitment: self.commitment,
            transactions: self
                .transactions
                .iter()
                .map(|tx| StoredTransaction { sender: tx.sender(), bytes: tx.encode().into() })
                .collect(),
            receipts: self.receipts.iter().map(StoredReceipt::from).collect(),
            outcomes: self.outcomes.iter().map(StoredOutcome::from).collect(),
            forced: self.forced.iter().map(StoredForced::from).collect(),
            opening_root: self.opening_root,
            executed_root: self.executed_root,
        };
        let mut out = Vec::with_capacity(record.length() + 1);
        out.push(BLOCK_RECORD_VERSION);
        record.encode(&mut out);
        out
    }

    /// Reads the stored form back.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: the database is damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (version, mut rest) = bytes.split_first().ok_or(RecordError::Empty)?;
        if *version != BLOCK_RECORD_VERSION {
            return Err(RecordError::Version { version: *version });
        }
        let stored = StoredRecord::decode(&mut rest)?;
        if !rest.is_empty() {
            return Err(RecordError::Rlp(alloy_rlp::Error::UnexpectedLength));
        }
        Ok(Self {
            hash: stored.header.hash_slow(),
            header: stored.header,
            commitment: stored.commitment,
            transactions: stored
                .transactions
                .into_iter()
                .map(StoredTransaction::into_transaction)
                .collect::<Result<_, _>>()?,
            receipts: stored
                .receipts
                .into_iter()
                .map(StoredReceipt::into_receipt)
                .collect::<Result<_, _>>()?,
            outcomes: stored
                .outcomes
                .into_iter()
                .map(StoredOutcome::into_outcome)
                .collect::<Result<_, _>>()?,
            forced: stored
                .forced
                .into_iter()
                .map(StoredForced::into_outcome)
                .collect::<Result<_, _>>()?,
            opening_root: stored.opening_root,
            executed_root: stored.executed_root,
        })
    }
}

/// A block fresh from execution: the record, and the state changes that go with it. Both must
/// reach the database in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedBlock {
    /// What is stored and served.
    pub record: Arc<BlockRecord>,
    /// What changed in the store; extends the parent state.
    pub layer: Arc<Layer>,
    /// What changed in the state.
    pub diff: Arc<StateDiff>,
    /// What every position read and changed.
    pub access: Arc<AccessRecord>,
}

impl ExecutedBlock {
    /// The height.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.record.height()
    }

    /// The state changes to write.
    #[must_use]
    pub fn writes(&self) -> &StateWrites {
        self.layer.writes()
    }
}

/// Why a stored record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are no bytes.
    #[error("stored block is empty")]
    Empty,
    /// Another program version wrote it.
    #[error("stored block has version {version}, this program reads {BLOCK_RECORD_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The bytes are not what was written.
    #[error("stored block is damaged: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// A field holds a value no program wrote.
    #[error("stored block is damaged: {0}")]
    Field(&'static str),
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredRecord {
    header: Header,
    commitment: B256,
    transactions: Vec<StoredTransaction>,
    receipts: Vec<StoredReceipt>,
    outcomes: Vec<StoredOutcome>,
    forced: Vec<StoredForced>,
    opening_root: B256,
    executed_root: B256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredTransaction {
    sender: Address,
    bytes: Bytes,
}

impl StoredTransaction {
    fn into_transaction(self) -> Result<Transaction, RecordError> {
        let signed = TxEnvelope::decode_2718_exact(&self.bytes)
            .map_err(|_| RecordError::Field("transaction"))?;
        Ok(Transaction::from_parts(signed, self.sender))
    }
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredReceipt {
    tx_type: u8,
    success: bool,
    gas_used: u64,
    cumulative_gas_used: u64,
    effective_gas_price_wei: u128,
    /// Empty, or 20 bytes.
    contract_address: Bytes,
    logs: Vec<Log>,
}

impl From<&Receipt> for StoredReceipt {
    fn from(receipt: &Receipt) -> Self {
        Self {
            tx_type: receipt.tx_type as u8,
            success: receipt.success,
            gas_used: receipt.gas_used,
            cumulative_gas_used: receipt.cumulative_gas_used,
            effective_gas_price_wei: receipt.effective_gas_price_wei,
            contract_address: optional(
                receipt.contract_address.as_ref().map(|address| address.as_slice()),
            ),
            logs: receipt.logs.clone(),
        }
    }
}

impl StoredReceipt {
    fn into_receipt(self) -> Result<Receipt, RecordError> {
        Ok(Receipt {
            tx_type: TxType::try_from(self.tx_type)
                .map_err(|_| RecordError::Field("receipt type"))?,
            success: self.success,
            gas_used: self.gas_used,
            cumulative_gas_used: self.cumulative_gas_used,
            effective_gas_price_wei: self.effective_gas_price_wei,
            contract_address: required(&self.contract_address, "contract address")?,
            logs: self.logs,
        })
    }
}

const EXECUTED: u8 = 1;
const SKIPPED: u8 = 2;
const UNDECRYPTABLE: u8 = 3;

#[derive(RlpEncodable, RlpDecodable)]
struct StoredOutcome {
    envelope_id: B256,
    payer: Address,
    charge_wei: U256,
    /// [`EXECUTED`], [`SKIPPED`] or [`UNDECRYPTABLE`].
    kind: u8,
    /// Transaction index if executed, code of the reason if skipped.
    detail: u32,
    /// Success of an executed transaction.
    success: bool,
    /// Empty, or 32 bytes.
    transaction_hash: Bytes,
}

impl From<&Outcome> for StoredOutcome {
    fn from(outcome: &Outcome) -> Self {
        let (kind, detail, success, hash) = match outcome.verdict {
            Verdict::Executed { transaction_index, transaction_hash, success } => {
                (EXECUTED, transaction_index, success, Some(transaction_hash))
            }
            Verdict::Skipped { reason, transaction_hash } => {
                (SKIPPED, u32::from(reason.code()), false, transaction_hash)
            }
            Verdict::Undecryptable => (UNDECRYPTABLE, 0, false, None),
        };
        Self {
            envelope_id: outcome.envelope_id,
            payer: outcome.payer,
            charge_wei: outcome.charge_wei,
            kind,
            detail,
            success,
            transaction_hash: optional(hash.as_ref().map(|hash| hash.as_slice())),
        }
    }
}

impl StoredOutcome {
    fn into_outcome(self) -> Result<Outcome, RecordError> {
        let transaction_hash = required(&self.transaction_hash, "transaction hash")?;
        let verdict = match self.kind {
            EXECUTED => Verdict::Executed {
                transaction_index: self.detail,
                transaction_hash: transaction_hash.ok_or(RecordError::Field("transaction hash"))?,
                success: self.success,
            },
            SKIPPED => Verdict::Skipped { reason: reason(self.detail)?, transaction_hash },
            UNDECRYPTABLE => Verdict::Undecryptable,
            _ => return Err(RecordError::Field("outcome kind")),
        };
        Ok(Outcome {
            envelope_id: self.envelope_id,
            payer: self.payer,
            charge_wei: self.charge_wei,
            verdict,
        })
    }
}

const ORDERED: u8 = 4;
const CREDITED: u8 = 5;

#[derive(RlpEncodable, RlpDecodable)]
struct StoredForced {
    index: u64,
    item_kind: u8,
    sender: Address,
    /// [`EXECUTED`], [`SKIPPED`], [`ORDERED`] or [`CREDITED`].
    kind: u8,
    /// Position if ordered, transaction index if executed, code of the reason if skipped.
    detail: u32,
    /// Success of an executed transaction.
    success: bool,
    /// Empty, or 32 bytes.
    transaction_hash: Bytes,
    /// Whom wei was credited to; zero if it was not.
    to: Address,
    wei: U256,
}

impl From<&ForcedOutcome> for StoredForced {
    fn from(outcome: &ForcedOutcome) -> Self {
        let ForcedOutcome { index, kind: item_kind, sender, verdict } = *outcome;
        let stored = |kind, detail, hash: Option<B256>| Self {
            index,
            item_kind,
            sender,
            kind,
            detail,
            success: false,
            transaction_hash: optional(hash.as_ref().map(|hash| hash.as_slice())),
            to: Address::ZERO,
            wei: U256::ZERO,
        };
        match verdict {
            ForcedVerdict::Ordered { position } => stored(ORDERED, position, None),
            ForcedVerdict::Executed { transaction_index, transaction_hash, success } => {
                Self { success, ..stored(EXECUTED, transaction_index, Some(transaction_hash)) }
            }
            ForcedVerdict::Credited { to, wei } => Self { to, wei, ..stored(CREDITED, 0, None) },
            ForcedVerdict::Skipped { reason, transaction_hash } => {
                stored(SKIPPED, u32::from(reason.code()), transaction_hash)
            }
        }
    }
}

impl StoredForced {
    fn into_outcome(self) -> Result<ForcedOutcome, RecordError> {
        let transaction_hash = required(&self.transaction_hash, "transaction hash")?;
        let verdict = match self.kind {
            ORDERED => ForcedVerdict::Ordered { position: self.detail },
            EXECUTED => ForcedVerdict::Executed {
                transaction_index: self.detail,
                transaction_hash: transaction_hash.ok_or(RecordError::Field("transaction hash"))?,
                success: self.success,
            },
            CREDITED => ForcedVerdict::Credited { to: self.to, wei: self.wei },
            SKIPPED => ForcedVerdict::Skipped { reason: reason(self.detail)?, transaction_hash },
            _ => return Err(RecordError::Field("kind of a forced outcome")),
        };
        let Self { index, item_kind: kind, sender, .. } = self;
        Ok(ForcedOutcome { index, kind, sender, verdict })
    }
}

fn reason(code: u32) -> Result<SkipReason, RecordError> {
    let reason = u8::try_from(code).ok().and_then(SkipReason::from_code);
    reason.ok_or(RecordError::Field("skip reason"))
}

fn optional(bytes: Option<&[u8]>) -> Bytes {
    bytes.map(Bytes::copy_from_slice).unwrap_or_default()
}

fn required<T>(bytes: &Bytes, field: &'static str) -> Result<Option<T>, RecordError>
where
    T: for<'a> TryFrom<&'a [u8]>,
{
    if bytes.is_empty() {
        return Ok(None);
    }
    T::try_from(bytes.as_ref()).map(Some).map_err(|_| RecordError::Field(field))
}
