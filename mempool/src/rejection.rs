//! Why an envelope was not admitted.

use blindfold_wire::{B256, U256, checked::EnvelopeError};

/// Why an envelope was not admitted, and whose fault that is.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A rule that needs no state is broken; see [`EnvelopeError`].
    #[error("the envelope is invalid")]
    Invalid(#[from] EnvelopeError),
    /// The very same envelope is pooled already.
    #[error("envelope {id} is already pooled")]
    AlreadyKnown {
        /// Its id.
        id: B256,
    },
    /// It could not be ordered at the next height any more.
    #[error("the envelope expired at height {expiry_height}, the chain is at {height}")]
    Expired {
        /// Last height it may be ordered at.
        expiry_height: u64,
        /// Last ordered height.
        height: u64,
    },
    /// It asks to be kept for longer than the chain allows.
    #[error("expiry height {expiry_height} is above {latest}, the latest allowed now")]
    ExpiryTooFar {
        /// Last height it may be ordered at.
        expiry_height: u64,
        /// The greatest expiry height admitted now.
        latest: u64,
    },
    /// The nonce is used up.
    #[error("payer nonce {nonce} is already ordered, the next is {next_nonce}")]
    StaleNonce {
        /// The envelope's nonce.
        nonce: u64,
        /// The payer's next nonce.
        next_nonce: u64,
    },
    /// The nonce is beyond the window.
    #[error("payer nonce {nonce} is too far ahead, it must be below {limit}")]
    NonceTooFar {
        /// The envelope's nonce.
        nonce: u64,
        /// The first nonce beyond the window.
        limit: u64,
    },
    /// Its fee is below the least base fee there can be, so it could never be ordered.
    #[error(
        "max_fee_per_gas {max_fee} can never be ordered, the base fee never falls below {minimum}"
    )]
    Underpriced {
        /// The envelope's `max_fee_per_gas`, wei.
        max_fee: u128,
        /// The chain's least base fee, wei.
        minimum: u128,
    },
    /// It would replace another, but does not raise both fees enough.
    #[error(
        "replacing {replaces} needs at least max_fee_per_gas {min_max_fee} and \
         max_priority_fee_per_gas {min_priority_fee}"
    )]
    ReplacementUnderpriced {
        /// The envelope that holds the nonce.
        replaces: B256,
        /// The lowest `max_fee_per_gas` that replaces it, wei.
        min_max_fee: u128,
        /// The lowest `max_priority_fee_per_gas` that replaces it, wei.
        min_priority_fee: u128,
    },
    /// The payer has too many pooled envelopes.
    #[error("the payer has {max} pooled envelopes, which is the most allowed")]
    PayerFull {
        /// The bound.
        max: usize,
    },
    /// The escrow does not cover everything the payer has pending.
    #[error("the payer's escrow of {escrow_wei} wei does not cover {needed_wei} wei pending")]
    Unpaid {
        /// Greatest possible charge of everything pending with this envelope, wei.
        needed_wei: U256,
        /// The payer's escrow, wei.
        escrow_wei: U256,
    },
    /// The pool is full of envelopes that pay at least as much.
    #[error("the pool is full and the fee is too low to displace anything")]
    Full,
    /// The owner of the pool does not keep up with persisting its changes.
    #[error("the pool's changes are not persisted fast enough, try again later")]
    Backlog,
}

impl Rejection {
    /// Whether an honest, up-to-date peer would not have forwarded this.
    ///
    /// Only rules without state qualify. Peers differ in what they have ordered, executed and pooled, so
    /// that nonce, escrow, expiry, fees and room say nothing about the one who forwarded.
    pub fn peer_at_fault(&self) -> bool {
        match self {
            Self::Invalid(error) => error.peer_at_fault(),
            Self::AlreadyKnown { .. }
            | Self::Expired { .. }
            | Self::ExpiryTooFar { .. }
            | Self::StaleNonce { .. }
            | Self::NonceTooFar { .. }
            | Self::Underpriced { .. }
            | Self::ReplacementUnderpriced { .. }
            | Self::PayerFull { .. }
            | Self::Unpaid { .. }
            | Self::Full
            | Self::Backlog => false,
        }
    }

    /// Stable, machine-readable name, in snake case.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::AlreadyKnown { .. } => "already_known",
            Self::Expired { .. } => "expired",
            Self::ExpiryTooFar { .. } => "expiry_too_far",
            Self::StaleNonce { .. } => "stale_nonce",
            Self::NonceTooFar { .. } => "nonce_too_far",
            Self::Underpriced { .. } => "underpriced",
            Self::ReplacementUnderpriced { .. } => "replacement_underpriced",
            Self::PayerFull { .. } => "payer_full",
            Self::Unpaid { .. } => "unpaid",
            Self::Full => "full",
            Self::Backlog => "backlog",
        }
    }

    /// Whether the same bytes may be admitted later, as state moves on.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::ExpiryTooFar { .. }
            | Self::NonceTooFar { .. }
            | Self::PayerFull { .. }
            | Self::Unpaid { .. }
            | Self::Full
            | Self::Backlog => true,
            Self::Invalid(_)
            | Self::AlreadyKnown { .. }
            | Self::Expired { .. }
            | Self::StaleNonce { .. }
            | Self::Underpriced { .. }
            | Self::ReplacementUnderpriced { .. } => false,
        }
    }
}
