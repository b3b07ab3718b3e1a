//! The JSON documents of the `sealed_*` methods, shared by the server in `node` and by [`Client`](crate::Client).
//!
//! Encodings are those of Ethereum's JSON-RPC: quantities are `0x` hex without leading zeros, byte
//! strings are `0x` hex of even length, names are camelCase. Nothing in a document is to be
//! believed because a node sent it; each type says what its receiver checks.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use blindfold_wire::{
    genesis::Genesis,
    receipt::{AdmissionReceipt, SignedReceipt},
    signature::Signature65,
    status::{SkipReason, TxStatus},
};
use serde::{Deserialize, Serialize};

/// Result of `sealed_getCommittee`.
///
/// A wallet believes `genesis_rlp` only if it hashes to the genesis hash the wallet pinned, and
/// then takes everything from there ([`Committee`](crate::Committee)). The other fields are for
/// people and for logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeDocument {
    /// Hash of the genesis document, the chain's root of trust.
    pub genesis_hash: B256,
    /// The genesis document in its canonical RLP encoding.
    pub genesis_rlp: Bytes,
    /// The genesis document as JSON.
    pub genesis: serde_json::Value,
    /// Chain id.
    #[serde(with = "alloy_serde::quantity")]
    pub chain_id: u64,
    /// Epoch of the committee.
    #[serde(with = "alloy_serde::quantity")]
    pub epoch: u64,
    /// Identifier of the committee key, 8 bytes.
    pub key_id: FixedBytes<8>,
    /// Committee key Y, 48 bytes, compressed G1.
    pub committee_key: FixedBytes<48>,
}

impl CommitteeDocument {
    /// The document that a node with this genesis serves.
    ///
    /// # Errors
    /// If the genesis does not serialize to JSON.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, serde_json::Error> {
        Ok(Self {
            genesis_hash: genesis.hash(),
            genesis_rlp: genesis.encode().into(),
            genesis: serde_json::to_value(genesis)?,
            chain_id: genesis.chain_id,
            epoch: genesis.committee.epoch,
            key_id: genesis.key_id(),
            committee_key: FixedBytes(genesis.committee.y),
        })
    }
}

/// Result of `sealed_sendTransaction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendDocument {
    /// Identifier of the admitted envelope; the sender compares it with its own.
    pub envelope_id: B256,
    /// The member's signed word that it has seen the envelope.
    pub receipt: ReceiptDocument,
}

/// A member's signed admission receipt. It promises no position; it serves censorship statistics.
///
/// The receiver recovers the signer and compares it with the genesis entry of `member`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptDocument {
    /// Chain id.
    #[serde(with = "alloy_serde::quantity")]
    pub chain_id: u64,
    /// Settlement contract of the chain.
    pub settlement: Address,
    /// The envelope the receipt is for.
    pub envelope_id: B256,
    /// Index of the member in the committee.
    #[serde(with = "alloy_serde::quantity")]
    pub member: u32,
    /// Height the member had seen ordered when it admitted the envelope.
    #[serde(with = "alloy_serde::quantity")]
    pub height_seen: u64,
    /// EIP-712 signature, 65 bytes: r, s, v (27 or 28).
    pub signature: FixedBytes<65>,
}

impl From<&SignedReceipt> for ReceiptDocument {
    fn from(signed: &SignedReceipt) -> Self {
        Self {
            chain_id: signed.receipt.chain_id,
            settlement: signed.receipt.settlement,
            envelope_id: signed.receipt.envelope_id,
            member: signed.receipt.member,
            height_seen: signed.receipt.height_seen,
            signature: FixedBytes(signed.signature.to_bytes()),
        }
    }
}

impl TryFrom<&ReceiptDocument> for SignedReceipt {
    type Error = blindfold_wire::codec::DecodeError;

    /// # Errors
    /// If the signature's last byte is neither 27 nor 28.
    fn try_from(document: &ReceiptDocument) -> Result<Self, Self::Error> {
        let receipt = AdmissionReceipt {
            chain_id: document.chain_id,
            settlement: document.settlement,
            envelope_id: document.envelope_id,
            member: document.member,
            height_seen: document.height_seen,
        };
        Ok(Self { receipt, signature: Signature65::from_bytes(&document.signature.0)? })
    }
}

/// Result of `sealed_getTransaction`: where an envelope stands, and once its height is posted, where that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionDocument {
    /// Where it stands on the L2.
    #[serde(flatten)]
    pub status: TxStatus,
    /// The batch on L1 that holds its height; absent as long as there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<SettlementDocument>,
}

/// How far a posted batch has got on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlementState {
    /// In an L1 block that may still go.
    Posted,
    /// In an L1 block that stays.
    Finalized,
}

/// A batch on L1. A wallet that wants to rely on it looks the transaction up on an L1 node of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementDocument {
    /// How far it has got.
    pub state: SettlementState,
    /// Number of the batch, from 1.
    #[serde(with = "alloy_serde::quantity")]
    pub batch: u64,
    /// Its first height.
    #[serde(with = "alloy_serde::quantity")]
    pub first_height: u64,
    /// Its last height.
    #[serde(with = "alloy_serde::quantity")]
    pub last_height: u64,
    /// The L1 transaction that posted it.
    pub l1_transaction: B256,
    /// The L1 block it is in.
    #[serde(with = "alloy_serde::quantity")]
    pub l1_block: u64,
    /// Who posted it.
    pub poster: Address,
}

/// Result of `sealed_getSettlement`: how far L1 has got, as this node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementHeadDocument {
    /// Batches posted.
    #[serde(with = "alloy_serde::quantity")]
    pub batches: u64,
    /// Highest posted height.
    #[serde(with = "alloy_serde::quantity")]
    pub posted_height: u64,
    /// Highest height in a batch whose L1 block is final.
    #[serde(with = "alloy_serde::quantity")]
    pub finalized_height: u64,
    /// Newest L1 block that this node knows as final; absent without an L1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy_serde::quantity::opt")]
    pub l1_final_block: Option<u64>,
}

/// How far an output, the state root of a batch that withdrawals are claimed against, has got on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    /// It becomes final when its deadline is over, unless it is challenged.
    Proposed,
    /// It becomes final only if it is proven before its deadline.
    Challenged,
    /// The bridge pays out against it.
    Final,
}

/// An output on L1, as the node sees it. Who relies on it asks the oracle on an L1 node of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputDocument {
    /// How far it has got.
    pub state: OutputState,
    /// Number of its batch.
    #[serde(with = "alloy_serde::quantity")]
    pub batch: u64,
    /// Last height of the batch: the state root is the one after it, and `eth_getProof` of the outbox is answered for it.
    #[serde(with = "alloy_serde::quantity")]
    pub last_height: u64,
    /// The state root proposed.
    pub state_root: B256,
    /// Last second, in L1's time since the Unix epoch, to challenge or to prove it.
    #[serde(with = "alloy_serde::quantity")]
    pub deadline_s: u64,
    /// Who has the bond in it.
    pub proposer: Address,
}

/// Entry of `sealed_getWithdrawals`, result of `sealed_getWithdrawal`: ether on its way to L1.
///
/// Whoever claims proves `index`, `sender`, `to` and `amount_wei` against the state root on L1; nothing here has to be
/// believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalDocument {
    /// Its number in the outbox, from 0.
    #[serde(with = "alloy_serde::quantity")]
    pub index: u64,
    /// The account on L2 that sent it.
    pub sender: Address,
    /// The account on L1 that gets it.
    pub to: Address,
    /// How much.
    pub amount_wei: U256,
    /// The height that executed it.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// Hash of the inner transaction.
    pub transaction: B256,
    /// The batch on L1 that holds its height; absent as long as there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<SettlementDocument>,
    /// The output to claim it against: a final one if there is any, else the one that becomes so first; absent as long
    /// as there is none. One with another state root than the node computed is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputDocument>,
}

/// Result of `sealed_getHead`: how far the node has got, and what the next height costs.
///
/// A wallet uses it to choose fees and an expiry. A lying node can make a transaction dear or
/// late, never readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadDocument {
    /// Highest height whose order is final.
    #[serde(with = "alloy_serde::quantity")]
    pub ordered_height: u64,
    /// Highest height opened, with all below it.
    #[serde(with = "alloy_serde::quantity")]
    pub opened_height: u64,
    /// Highest height executed.
    #[serde(with = "alloy_serde::quantity")]
    pub executed_height: u64,
    /// Hash of the EVM block at `executed_height`.
    pub executed_hash: B256,
    /// Base fee of the next height to be ordered, in wei per gas.
    #[serde(with = "alloy_serde::quantity")]
    pub next_base_fee_wei: u128,
    /// Least max_fee with which an envelope is orderable at the next height, in wei per gas: the base fee, or what
    /// posting its bytes to L1 takes, if that is more. Rises and falls with L1's base fee.
    #[serde(with = "alloy_serde::quantity")]
    pub least_max_fee_wei: u128,
    /// Base fee of the L1 block that the newest height names, in wei per gas; 0 without settlement.
    #[serde(with = "alloy_serde::quantity")]
    pub l1_base_fee_wei: u64,
    /// Priority fee the node suggests, in wei per gas.
    #[serde(with = "alloy_serde::quantity")]
    pub suggested_priority_fee_wei: u128,
    /// Share bundles that this node was sent, since it started, for an order that is not the final
    /// one. Anything but zero is an alarm: a member read before the order was final.
    #[serde(with = "alloy_serde::quantity")]
    pub uncertified_releases: u64,
}

/// Result of `sealed_getPayer`: what a payer needs to know before it seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayerDocument {
    /// The payer.
    pub address: Address,
    /// Envelope nonce that would be ordered next, counting what is ordered already.
    #[serde(with = "alloy_serde::quantity")]
    pub next_nonce: u64,
    /// Envelope nonce to use for a new envelope, counting what this node holds pending.
    #[serde(with = "alloy_serde::quantity")]
    pub pending_nonce: u64,
    /// Escrow in wei at `executed_height`.
    pub escrow_wei: U256,
    /// Height of the escrow figure.
    #[serde(with = "alloy_serde::quantity")]
    pub executed_height: u64,
}

/// Result of `sealed_getCommitment`.
///
/// Whoever wants to rely on it decodes `commitment`, compares its EIP-712 digest with `digest`
/// and verifies `certificate` with the committee's vote keys (`blindfold_wire`'s `Certified`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitmentDocument {
    /// Height.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// EIP-712 digest of the commitment.
    pub digest: B256,
    /// Index of the leader in the committee.
    #[serde(with = "alloy_serde::quantity")]
    pub leader: u32,
    /// Address that signed the commitment.
    pub leader_address: Address,
    /// The signed commitment in its canonical encoding.
    pub commitment: Bytes,
    /// Identifiers of the ordered envelopes, in order.
    pub envelope_ids: Vec<B256>,
    /// The finalization certificate in the engine's encoding; absent where the height was made
    /// final by a descendant, whose digest is then in `certified_by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Bytes>,
    /// Digest of the child commitment whose certificate covers this height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified_by: Option<B256>,
}

/// One entry of `sealed_getPending`: a waiting envelope, as every member and observer holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingDocument {
    /// Identifier of the envelope.
    pub envelope_id: B256,
    /// Who signed and pays.
    pub payer: Address,
    /// The encoded envelope.
    pub envelope: Bytes,
}

/// Result of `sealed_getHeight`: what one node keeps of a final height.
///
/// `commitment`, `descendants` and `certificate` together prove that the height is final (step by
/// step with `blindfold_wire::Certified`), and `released` is what the member signed on the strength
/// of them. Times are the node's own clock, in milliseconds since the Unix epoch, zero while the
/// stage is not reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeightDocument {
    /// Height.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// EIP-712 digest of its commitment.
    pub digest: B256,
    /// Index of its leader in the committee.
    #[serde(with = "alloy_serde::quantity")]
    pub leader: u32,
    /// Ordered envelopes.
    #[serde(with = "alloy_serde::quantity")]
    pub count: u32,
    /// Timestamp of the commitment.
    #[serde(with = "alloy_serde::quantity")]
    pub proposed_ms: u64,
    /// When the node held the proof of finality.
    #[serde(with = "alloy_serde::quantity")]
    pub ordered_ms: u64,
    /// When the node held all openings.
    #[serde(with = "alloy_serde::quantity")]
    pub opened_ms: u64,
    /// When the node had executed the height.
    #[serde(with = "alloy_serde::quantity")]
    pub executed_ms: u64,
    /// The commitment in its canonical encoding.
    pub commitment: Bytes,
    /// Finalization certificate of the height or of the last of `descendants`, in the engine's
    /// encoding.
    pub certificate: Bytes,
    /// Commitments from the next height up to the certified one.
    pub descendants: Vec<Bytes>,
    /// The signed header of the share bundle this member released; absent for followers and for
    /// heights without envelopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Bytes>,
    /// The L1 block that the height names; 0 without settlement.
    #[serde(with = "alloy_serde::quantity")]
    pub l1_block: u64,
    /// Base fee of that L1 block, in wei per gas.
    #[serde(with = "alloy_serde::quantity")]
    pub l1_base_fee_wei: u64,
    /// The forced items that the height consumes, in the order of the queue.
    pub forced: Vec<ForcedDocument>,
    /// State root after the height, once executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_root: Option<B256>,
    /// Envelopes whose transaction was executed; zero until then.
    #[serde(with = "alloy_serde::quantity")]
    pub executed: u32,
    /// Envelopes that were opened but could not run.
    #[serde(with = "alloy_serde::quantity")]
    pub skipped: u32,
    /// Envelopes that held nothing.
    #[serde(with = "alloy_serde::quantity")]
    pub undecryptable: u32,
}

/// A forced item in a [`HeightDocument`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForcedDocument {
    /// Its number in the queue on L1.
    #[serde(with = "alloy_serde::quantity")]
    pub index: u64,
    /// `sealed`, `plain`, `deposit`, `escrow_deposit`, `reimbursement`, or the number of another kind.
    pub kind: String,
    /// The account on L1 that put it there.
    pub sender: Address,
    /// What it holds.
    pub data: Bytes,
    /// What became of it, once the height is executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ForcedStatus>,
}

/// What became of a forced item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ForcedStatus {
    /// Its envelope was ordered; what became of that is the envelope's status.
    Ordered {
        /// Position within the height, from 0.
        position: u32,
    },
    /// Its transaction was executed.
    Executed {
        /// Hash of the transaction.
        tx_hash: B256,
        /// Index among the block's executed transactions.
        tx_index: u32,
        /// Whether it succeeded; `false` if it reverted.
        success: bool,
    },
    /// Wei was credited.
    Credited {
        /// Whom to.
        to: Address,
        /// How much; of a reimbursement what the posting pool had.
        wei: U256,
    },
    /// It came to nothing.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// Hash of the transaction, if it held one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tx_hash: Option<B256>,
    },
}

/// One entry of `sealed_getEvidence`: proof of an offence.
///
/// The receiver decodes `evidence` and verifies it against the genesis document it pinned
/// (`blindfold_wire::Evidence::verify`, or `blindfold inspect evidence`); the other fields are for
/// people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceDocument {
    /// Keccak of `evidence`.
    pub id: B256,
    /// `equivocation`, `double_release` or `bad_share`.
    pub offence: String,
    /// The evidence in its canonical encoding.
    pub evidence: Bytes,
}

/// Result of `sealed_getOpening`: one opened position of a height.
///
/// The receiver checks it by sealing again or, for an undecryptable envelope, by the pairing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpeningDocument {
    /// Height.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// Position within the height, from 0.
    #[serde(with = "alloy_serde::quantity")]
    pub position: u32,
    /// Identifier of the envelope at this position.
    pub envelope_id: B256,
    /// The whole envelope.
    pub envelope: Bytes,
    /// `true` if the opening holds a message, `false` if the envelope is undecryptable.
    pub decryptable: bool,
    /// The opening in its canonical encoding.
    pub opening: Bytes,
}

/// Notification of `sealed_subscribe("ordered")`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedNotice {
    /// Height whose order became final.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// EIP-712 digest of its commitment.
    pub digest: B256,
    /// Index of its leader in the committee.
    #[serde(with = "alloy_serde::quantity")]
    pub leader: u32,
    /// Timestamp of the commitment in milliseconds since the Unix epoch.
    #[serde(with = "alloy_serde::quantity")]
    pub timestamp_ms: u64,
    /// Identifiers of the ordered envelopes, in order.
    pub envelope_ids: Vec<B256>,
}

/// Notification of `sealed_subscribe("opened")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedNotice {
    /// Height that was opened.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// Positions opened.
    #[serde(with = "alloy_serde::quantity")]
    pub opened: u32,
    /// Positions that turned out undecryptable.
    #[serde(with = "alloy_serde::quantity")]
    pub undecryptable: u32,
}

/// Notification of `sealed_subscribe("executed")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutedNotice {
    /// Height that was executed.
    #[serde(with = "alloy_serde::quantity")]
    pub height: u64,
    /// Hash of its EVM block.
    pub block_hash: B256,
    /// Its state root.
    pub state_root: B256,
    /// Transactions executed.
    #[serde(with = "alloy_serde::quantity")]
    pub executed: u32,
}

/// Error codes of the server that are not JSON-RPC's own.
pub mod codes {
    /// `eth_sendRawTransaction` and its kin: plaintext is never accepted.
    pub const PLAINTEXT_REFUSED: i32 = -38000;
    /// The bytes are no valid envelope of this chain; sending them again is pointless. `data.reason` says why.
    pub const ENVELOPE_INVALID: i32 = -38001;
    /// A valid envelope that the mempool does not want now; `data.reason` says why.
    pub const ENVELOPE_REFUSED: i32 = -38002;
    /// The node cannot take the request at the moment; try again or elsewhere.
    pub const UNAVAILABLE: i32 = -38003;
    /// The state of that height is no longer (or not yet) kept.
    pub const HISTORY_UNAVAILABLE: i32 = -38004;
    /// The client itself is refused (origin, host, too slow), whatever it asks for.
    pub const FORBIDDEN: i32 = -38005;
    /// No such block (EIP-1474 "resource not found").
    pub const NOT_FOUND: i32 = -32001;
    /// The request asks for more than the node gives (EIP-1474 "limit exceeded").
    pub const LIMIT_EXCEEDED: i32 = -32005;
    /// The call reverted; `data` is the revert data, as Geth reports it.
    pub const REVERTED: i32 = 3;
}
