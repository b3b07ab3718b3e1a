//! Taking openings from others instead of collecting shares.
//!
//! A member that was away, or a follower that holds no share, asks any peer for the openings of a height and
//! believes none of them: (σ, m) is sealed again and compared byte for byte, a published secret is put
//! through the pairing equation. A peer can therefore delay, but never mislead.

use blindfold_crypto::{CommitteePublic, OpeningError};
use blindfold_wire::{
    B256,
    opened::{OpenedBatch, OpenedBatchError},
    opening::OpeningSet,
};

use crate::{batch::SealedBatch, parallel::map_positions};

/// Why openings received from a peer were refused.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// They are for another height or another commitment.
    #[error("the openings are for commitment {got} of height {height}, not for {expected}")]
    OtherCommitment {
        /// The height they claim.
        height: u64,
        /// The commitment wanted.
        expected: B256,
        /// The commitment they claim.
        got: B256,
    },
    /// Another number of them than the height has positions.
    #[error("the height has {expected} positions, got {got} openings")]
    Count {
        /// Positions.
        expected: usize,
        /// Openings.
        got: usize,
    },
    /// One does not belong to its envelope.
    #[error("the opening of position {position} is wrong")]
    Wrong {
        /// The lowest such position.
        position: usize,
        /// What is wrong.
        #[source]
        error: OpeningError,
    },
    /// The opened batch could not be put together.
    #[error("the openings do not fit the commitment")]
    Assembly(#[from] OpenedBatchError),
}

impl CatchUpError {
    /// Whether an honest peer would not have sent this.
    pub fn peer_at_fault(&self) -> bool {
        match self {
            Self::OtherCommitment { .. } | Self::Count { .. } | Self::Wrong { .. } => true,
            Self::Assembly(_) => false,
        }
    }
}

/// Verifies a peer's openings of a whole height, on up to `threads` threads.
///
/// # Errors
///
/// See [`CatchUpError`]; nothing of a set with one wrong opening is used.
pub fn verify_openings(
    public: &CommitteePublic,
    batch: &SealedBatch,
    set: OpeningSet,
    threads: usize,
) -> Result<OpenedBatch, CatchUpError> {
    if set.height != batch.height() || set.commitment != batch.digest() {
        return Err(CatchUpError::OtherCommitment {
            height: set.height,
            expected: batch.digest(),
            got: set.commitment,
        });
    }
    let openings = set.openings;
    if openings.len() != batch.len() {
        return Err(CatchUpError::Count { expected: batch.len(), got: openings.len() });
    }
    let verdicts = map_positions(openings.len(), threads, |position| {
        let envelope = &batch.envelopes()[position];
        blindfold_crypto::check_opening(
            public,
            envelope.label(),
            &envelope.envelope().ciphertext,
            &openings[position],
        )
    });
    for (position, verdict) in verdicts.into_iter().enumerate() {
        verdict.map_err(|error| CatchUpError::Wrong { position, error })?;
    }
    let items = batch.envelopes().iter().cloned().zip(openings).collect();
    Ok(OpenedBatch::new(batch.certified().clone(), items)?)
}
