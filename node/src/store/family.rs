//! The column families, each with one kind of key and value.

use blindfold_execution::state::Column as StateColumn;

/// One column family. All integers in keys are big-endian, so that keys sort by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Name → value: chain and schema version. Written by [`Store`](super::Store) alone.
    Meta,
    /// Height (8 bytes) → final block, in the engine's encoding.
    Blocks,
    /// Height (8) → digest of the block in [`Self::Blocks`] (32).
    BlockDigests,
    /// Block digest (32) → height (8).
    BlockHeights,
    /// Height (8) → block digest (32) ‖ finalization certificate in the engine's encoding.
    Certificates,
    /// Block digest (32) → height (8) of its certificate.
    CertificateHeights,
    /// Height (8) → what this node knows of a final height: commitment, proof that it is final.
    Heights,
    /// Commitment digest (32) → height (8).
    Digests,
    /// Commitment digest (32) → block this node proposed or signed.
    Proposals,
    /// Epoch (8) ‖ view (8) → first commitment seen signed for it.
    FirstSeen,
    /// Height (8) → openings.
    Openings,
    /// Height (8) → executed block: header, transactions, receipts, outcomes.
    Executed,
    /// Height (8) → what every position of the executed block accessed (EIP-7928).
    AccessLists,
    /// Height (8) → what it takes to execute the block without the state; the newest heights only.
    Witnesses,
    /// EVM block hash (32) → height (8).
    BlockHashes,
    /// Inner transaction hash (32) → height (8) ‖ index (4).
    Transactions,
    /// Envelope id (32) → height (8) ‖ position (4) at which it was ordered.
    Envelopes,
    /// Envelope id (32) → encoded envelope waiting to be ordered.
    Mempool,
    /// Digest (32) → encoded evidence.
    Evidence,
    /// Height (8) → the posted batch that ends with it, and its L1 transaction. Only in final L1 blocks. One without
    /// heights stands behind the batch before it: height (8) ‖ its index (8).
    Posted,
    /// Batch number (8) → its last height (8), the key in [`Self::Posted`].
    BatchHeights,
    /// Batch number (8) → its output on L1. Only what happened in final L1 blocks.
    Outputs,
    /// Withdrawals to L1: `00` ‖ number (8) → what the outbox recorded, and where; `01` ‖ sender (20) ‖ number (8) → nothing;
    /// `02` ‖ height (8) → number (8) of its first. See `settlement::outbox`.
    Withdrawals,
    /// `00` ‖ height (8) → nodes of the account trie on the way to the outbox; `01` ‖ hash (32) → node of its storage trie.
    OutboxProofs,
    /// Name → the poster's transaction that is not settled.
    Posting,
    /// What is known of L1: `00` → where the queue stood before the first kept item, `01` ‖ number (8) → base fee of a
    /// finalized block, `02` ‖ index (8) → forced item that is not consumed. See `member::l1`.
    L1,
    /// Slot → signed digest and bytes; only ever written with fsync, never deleted.
    Journal,
    /// The executed state; see [`blindfold_execution::state::Column`].
    State(StateColumn),
}

impl Family {
    /// Every column family besides those of the state.
    const OWN: [Self; 27] = [
        Self::Meta,
        Self::Blocks,
        Self::BlockDigests,
        Self::BlockHeights,
        Self::Certificates,
        Self::CertificateHeights,
        Self::Heights,
        Self::Digests,
        Self::Proposals,
        Self::FirstSeen,
        Self::Openings,
        Self::Executed,
        Self::AccessLists,
        Self::Witnesses,
        Self::BlockHashes,
        Self::Transactions,
        Self::Envelopes,
        Self::Mempool,
        Self::Evidence,
        Self::Posted,
        Self::BatchHeights,
        Self::Outputs,
        Self::Withdrawals,
        Self::OutboxProofs,
        Self::Posting,
        Self::L1,
        Self::Journal,
    ];

    /// Every column family.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN.into_iter().chain(StateColumn::ALL.into_iter().map(Self::State))
    }

    /// The name on disk. Never changes without a new [`SCHEMA_VERSION`](super::SCHEMA_VERSION).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Blocks => "blocks",
            Self::BlockDigests => "block_digests",
            Self::BlockHeights => "block_heights",
            Self::Certificates => "certificates",
            Self::CertificateHeights => "certificate_heights",
            Self::Heights => "heights",
            Self::Digests => "digests",
            Self::Proposals => "proposals",
            Self::FirstSeen => "first_seen",
            Self::Openings => "openings",
            Self::Executed => "executed",
            Self::AccessLists => "access_lists",
            Self::Witnesses => "witnesses",
            Self::BlockHashes => "block_hashes",
            Self::Transactions => "transactions",
            Self::Envelopes => "envelopes",
            Self::Mempool => "mempool",
            Self::Evidence => "evidence",
            Self::Posted => "posted",
            Self::BatchHeights => "batch_heights",
            Self::Outputs => "outputs",
            Self::Withdrawals => "withdrawals",
            Self::OutboxProofs => "outbox_proofs",
            Self::Posting => "posting",
            Self::L1 => "l1",
            Self::Journal => "journal",
            Self::State(column) => column.name(),
        }
    }

    /// Whether values are hashes for the most part.
    pub(super) const fn is_hashes(self) -> bool {
        matches!(
            self,
            Self::OutboxProofs | Self::State(StateColumn::AccountTrie | StateColumn::StorageTrie)
        )
    }

    /// Whether values are large and rarely read, so that they are not to crowd the cache.
    pub(super) const fn is_bulk(self) -> bool {
        matches!(
            self,
            Self::Blocks
                | Self::Proposals
                | Self::Openings
                | Self::Executed
                | Self::AccessLists
                | Self::Witnesses
        )
    }
}
