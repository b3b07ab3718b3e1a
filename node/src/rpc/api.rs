//! What the RPC asks of the node: one trait, and the plain values that cross it.
//!
//! The server knows nothing of databases, actors or engines. Whoever implements [`NodeApi`]
//! answers from what it holds; whoever tests the server implements it over a few maps.
//!
//! Reads are ordinary blocking functions; the server runs them on the runtime's blocking threads,
//! at most [`RpcConfig::max_concurrent_calls`](crate::config::RpcConfig::max_concurrent_calls) at
//! a time. Only submission waits for another part of the node and is asynchronous.
//!
//! Heights and blocks are one thing here: every height has exactly one EVM block of the same
//! number. `latest`, `safe`, `finalized` and `pending` all name the highest executed height, since
//! what is executed is final.

use std::sync::Arc;

use alloy_consensus::{Header, Receipt, TxEnvelope};
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_execution::{
    bal::BlockAccessList,
    witness::{ExecutionWitness, ReplayFile},
};
use blindfold_sdk::rpc::{
    CommitmentDocument, EvidenceDocument, HeadDocument, HeightDocument, OpenedNotice,
    OpeningDocument, OrderedNotice, PayerDocument, PendingDocument, SettlementDocument,
    SettlementHeadDocument, WithdrawalDocument,
};
use blindfold_wire::{genesis::Genesis, receipt::SignedReceipt, status::TxStatus};
use futures::future::BoxFuture;
use tokio::sync::broadcast;

/// What the RPC server needs from a running member or follower.
pub trait NodeApi: Send + Sync + 'static {
    /// The chain's genesis document, already validated.
    fn genesis(&self) -> Arc<Genesis>;

    /// How far this node has got, and the fees of the next height.
    fn head(&self) -> HeadDocument;

    /// Whether this node can serve and take transactions, and if not, why.
    fn readiness(&self) -> Readiness;

    /// Connected peers.
    fn peer_count(&self) -> usize;

    /// Checks an encoded envelope, admits it to the mempool, gossips it and signs a receipt.
    fn submit(&self, envelope: Bytes) -> BoxFuture<'_, Result<SignedReceipt, SubmitError>>;

    /// Status of the envelope with this id, or of the inner transaction with this hash once it
    /// was opened. `None` if this node has never heard of it (or has forgotten it).
    fn status(&self, id: B256) -> Result<Option<TxStatus>, ReadError>;

    /// The batch on L1 that holds a height, if this node has seen one.
    fn settlement(&self, height: u64) -> Result<Option<SettlementDocument>, ReadError>;

    /// How far L1 has got, as this node sees it.
    fn settlement_head(&self) -> Result<SettlementHeadDocument, ReadError>;

    /// The withdrawal with this number.
    fn withdrawal(&self, index: u64) -> Result<Option<WithdrawalDocument>, ReadError>;

    /// Up to `limit` withdrawals of an account, by number, from number `first` on.
    fn withdrawals(
        &self,
        sender: Address,
        first: u64,
        limit: usize,
    ) -> Result<Vec<WithdrawalDocument>, ReadError>;

    /// Nonces and escrow of a payer.
    fn payer(&self, payer: Address) -> Result<PayerDocument, ReadError>;

    /// Up to `limit` waiting envelopes: what any observer of the mempool has.
    fn pending(&self, limit: usize) -> Vec<PendingDocument>;

    /// What this node keeps of a final height: times, proof of finality, its own signed release.
    fn height_record(&self, height: u64) -> Result<Option<HeightDocument>, ReadError>;

    /// All evidence of offences that this node found or was given, verified.
    fn evidence(&self) -> Result<Vec<EvidenceDocument>, ReadError>;

    /// The certified commitment of a height.
    fn commitment_by_height(&self, height: u64) -> Result<Option<CommitmentDocument>, ReadError>;

    /// The certified commitment with this EIP-712 digest.
    fn commitment_by_digest(&self, digest: B256) -> Result<Option<CommitmentDocument>, ReadError>;

    /// The opening at a position of a height, once opened.
    fn opening(&self, height: u64, position: u32) -> Result<Option<OpeningDocument>, ReadError>;

    /// Header of an executed height.
    fn header(&self, height: u64) -> Result<Option<HeaderView>, ReadError>;

    /// Block of an executed height with transactions and receipts.
    fn block(&self, height: u64) -> Result<Option<Arc<BlockView>>, ReadError>;

    /// Height of the block with this hash.
    fn height_of(&self, block_hash: B256) -> Result<Option<u64>, ReadError>;

    /// Where the inner transaction with this hash was executed.
    fn transaction_location(&self, hash: B256) -> Result<Option<TransactionLocation>, ReadError>;

    /// Account after the block of `height`; the default value for one that does not exist.
    fn account(&self, height: u64, address: Address) -> Result<AccountView, ReadError>;

    /// Code of an account after the block of `height`; empty if it has none.
    fn code(&self, height: u64, address: Address) -> Result<Bytes, ReadError>;

    /// Storage word of an account after the block of `height`; zero if unset.
    fn storage(&self, height: u64, address: Address, slot: B256) -> Result<B256, ReadError>;

    /// Merkle proof of an account and of storage slots against the state root of `height`: the newest, or, of the
    /// outbox, one that ends a batch on L1 or is not on L1 yet.
    fn proof(
        &self,
        height: u64,
        address: Address,
        slots: &[B256],
    ) -> Result<EIP1186AccountProofResponse, ReadError>;

    /// What it takes to execute a height again without the state; kept for the newest heights only.
    fn witness(&self, height: u64) -> Result<Option<ExecutionWitness>, ReadError>;

    /// What every position of an executed height accessed and left behind.
    fn access_list(&self, height: u64) -> Result<Option<BlockAccessList>, ReadError>;

    /// A height with its order, openings, results and witness, to be executed again elsewhere.
    fn replay_file(&self, height: u64) -> Result<Option<ReplayFile>, ReadError>;

    /// Runs a call on the state after `height` and throws its effects away.
    fn call(&self, height: u64, call: CallRequest) -> Result<CallOutcome, ReadError>;

    /// Smallest gas limit at most `call.gas_limit` with which the call succeeds, on the state after
    /// `height`; `Ok(Err(outcome))` if it fails with any.
    fn estimate_gas(
        &self,
        height: u64,
        call: CallRequest,
    ) -> Result<Result<u64, CallOutcome>, ReadError>;

    /// The node's events from now on. A receiver that falls behind loses events and is told so.
    fn events(&self) -> broadcast::Receiver<NodeEvent>;
}

/// Whether the node is fit to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// In step with its peers.
    Ready,
    /// Catching up from `started_at`; `highest` is the highest height known to be final.
    Syncing {
        /// Height at which catching up began.
        started_at: u64,
        /// Highest executed height.
        current: u64,
        /// Highest height known to be final.
        highest: u64,
    },
    /// Not serving, for the reason given.
    NotReady(String),
}

/// Something that happened on this node.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// The order of a height became final.
    Ordered(Arc<OrderedNotice>),
    /// Every position of a height was decided.
    Opened(OpenedNotice),
    /// A height was executed.
    Executed(Arc<BlockView>),
    /// An envelope's status changed.
    Status {
        /// The envelope.
        envelope_id: B256,
        /// Its new status.
        status: TxStatus,
    },
}

/// A header and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderView {
    /// Keccak of the header's RLP.
    pub hash: B256,
    /// The header.
    pub header: Header,
}

/// An executed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Keccak of the header's RLP.
    pub hash: B256,
    /// The header.
    pub header: Header,
    /// Executed transactions, in order.
    pub transactions: Vec<ExecutedTransaction>,
}

/// One executed transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedTransaction {
    /// The signed inner transaction.
    pub transaction: TxEnvelope,
    /// Its recovered sender.
    pub sender: Address,
    /// Status, cumulative gas and logs.
    pub receipt: Receipt,
    /// Gas used by this transaction alone.
    pub gas_used: u64,
}

/// Place of an executed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLocation {
    /// Height.
    pub height: u64,
    /// Index within the EVM block (not the position in the commitment: skipped envelopes have no
    /// index).
    pub index: u32,
}

/// An account without code and storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountView {
    /// Balance in wei.
    pub balance: U256,
    /// Nonce.
    pub nonce: u64,
}

/// An unsigned call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Caller.
    pub from: Address,
    /// Callee, or `None` to run init code.
    pub to: Option<Address>,
    /// Gas limit; already clamped to the server's cap.
    pub gas_limit: u64,
    /// Gas price in wei; 0 lets a call run without funds.
    pub gas_price_wei: u128,
    /// Value in wei.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Addresses and slots to warm up (EIP-2930).
    pub access_list: AccessList,
    /// Delegations that come with it (EIP-7702).
    pub authorization_list: Vec<SignedAuthorization>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It returned this.
    Returned(Bytes),
    /// It reverted with this data.
    Reverted(Bytes),
    /// It ran out of gas or broke a rule of the EVM, or could not begin.
    Halted(String),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// State of that height is not kept.
    #[error("state of height {requested} is not kept here; available: {oldest} to {newest}")]
    HistoryUnavailable {
        /// Height asked for.
        requested: u64,
        /// Oldest height kept.
        oldest: u64,
        /// Newest height.
        newest: u64,
    },
    /// The node is stopping or not started.
    #[error("the node cannot answer now: {0}")]
    Unavailable(String),
    /// The node's store failed; the text goes to the log, never to the caller.
    #[error("store: {0}")]
    Store(String),
}

/// Why an envelope was not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The bytes are no valid envelope of this chain; whoever made them is at fault.
    #[error("invalid envelope: {message}")]
    Invalid {
        /// Stable, machine-readable reason (see [`reasons`](super::reasons)).
        reason: &'static str,
        /// Which check failed, and how.
        message: String,
    },
    /// A valid envelope the mempool does not want now.
    #[error("envelope refused ({reason}): {message}")]
    Refused {
        /// Stable, machine-readable reason (see [`reasons`](super::reasons)).
        reason: &'static str,
        /// What to do about it.
        message: String,
    },
    /// This node does not take envelopes, or is overloaded, or is stopping.
    #[error("cannot take envelopes now: {message}")]
    Unavailable {
        /// Stable, machine-readable reason (see [`reasons`](super::reasons)).
        reason: &'static str,
        /// For people.
        message: String,
    },
}
