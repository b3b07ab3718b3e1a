//! The bounds of a pool.

use blindfold_wire::genesis::ChainParams;

/// Bytes charged to every pooled envelope on top of its encoding, for the indexes that name it.
pub const ENTRY_OVERHEAD_BYTES: usize = 512;

/// Changes that may wait for [`drain_changes`](crate::Mempool::drain_changes) before admission is
/// refused with [`Rejection::Backlog`](crate::Rejection::Backlog).
pub const MAX_PENDING_CHANGES: usize = 65_536;

/// Default of [`MempoolConfig::max_bytes`]: 64 MiB.
pub const DEFAULT_MAX_BYTES: usize = 64 << 20;

/// Default of [`MempoolConfig::max_envelopes`].
pub const DEFAULT_MAX_ENVELOPES: usize = 20_000;

/// Default of [`MempoolConfig::max_ended`].
pub const DEFAULT_MAX_ENDED: usize = 65_536;

/// Default of [`MempoolConfig::replacement_bump_percent`].
pub const DEFAULT_REPLACEMENT_BUMP_PERCENT: u32 = 10;

/// What bounds a pool, and the chain parameters it prices reservations with.
///
/// Only [`params`](Self::params) must be equal on all members. The rest is each member's own choice:
/// a pool decides what a member *offers* for ordering, never what is valid.
#[derive(Clone, Debug)]
pub struct MempoolConfig {
    /// Bytes of all pooled envelopes, each with [`ENTRY_OVERHEAD_BYTES`].
    pub max_bytes: usize,
    /// Number of pooled envelopes.
    pub max_envelopes: usize,
    /// Number of pooled envelopes of one payer.
    pub max_per_payer: usize,
    /// A payer's nonce must be below its next nonce plus this.
    pub nonce_window: u64,
    /// By how many percent both fees of a replacement must exceed those of what it replaces.
    pub replacement_bump_percent: u32,
    /// How many ended envelopes (replaced, expired, …) are remembered, oldest forgotten first.
    pub max_ended: usize,
    /// The chain's parameters.
    pub params: ChainParams,
}

impl MempoolConfig {
    /// The default bounds for a chain. One payer may fill its whole nonce window.
    pub fn new(params: ChainParams) -> Self {
        let nonce_window = params.nonce_window;
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            max_envelopes: DEFAULT_MAX_ENVELOPES,
            max_per_payer: usize::try_from(nonce_window).unwrap_or(usize::MAX),
            nonce_window,
            replacement_bump_percent: DEFAULT_REPLACEMENT_BUMP_PERCENT,
            max_ended: DEFAULT_MAX_ENDED,
            params,
        }
    }
}
