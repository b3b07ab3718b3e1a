//! Releasing this member's shares of a height: only when its order is final, journal first, once.
//!
//! [`Releaser`] owns the decryption key. Shares may be computed ahead of time by
//! [`Releaser::precompute`], but the only function that lets any out is [`Releaser::release`], and that
//! takes a [`SealedBatch`], which only a certified commitment makes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use blindfold_crypto::{DecryptionKey, Share};
use blindfold_wire::{
    Address, B256,
    bundle::{BundleHeader, ShareBundle, shares_root},
    checked::CheckedEnvelope,
    codec::DecodeError,
    signature::{Signature65, SigningKey},
};

use crate::{
    ahead::SharesAhead,
    batch::SealedBatch,
    journal::{JournalError, JournalStore, SigningJournal, Slot},
    parallel::{chunk_len, map_positions},
};

/// Positions that are computed together, at most.
const CHUNK_POSITIONS: usize = 128;

const SIGNATURE_BYTES: usize = 65;

/// Why a height's shares were not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The batch belongs to another chain.
    #[error("the commitment is for chain {got}, this member serves {expected}")]
    OtherChain {
        /// This member's chain.
        expected: u64,
        /// The commitment's chain.
        got: u64,
    },
    /// Another bundle was signed for the height, or the journal failed.
    #[error("the signing journal refuses")]
    Journal(#[from] JournalError),
    /// The journal returned something that is no signature.
    #[error("the signing journal returned a malformed signature")]
    Stored(#[from] DecodeError),
    /// The journal returned bytes of another length than a signature's.
    #[error("the signing journal returned {got_bytes} bytes for a signature")]
    StoredLength {
        /// Their length.
        got_bytes: usize,
    },
}

/// What was released, and on what ground: the auditable side of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// The height.
    pub height: u64,
    /// The epoch of its commitment.
    pub epoch: u64,
    /// Digest of the certified commitment that the bundle names.
    pub commitment: B256,
    /// The view of that commitment.
    pub view: u64,
    /// The view of the finalization certificate held; `None` when it was final through a descendant.
    pub certificate_view: Option<u64>,
    /// Digest of the signed bundle header.
    pub bundle: B256,
    /// Whether this call signed it; `false` when it repeats what the journal holds.
    pub first: bool,
}

/// A signed bundle, ready to be sent, and its record.
#[derive(Clone, Debug)]
pub struct Release {
    /// The bundle.
    pub bundle: Arc<ShareBundle>,
    /// Its record.
    pub record: ReleaseRecord,
}

/// Which member this is, on which chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSeat {
    /// Chain id.
    pub chain_id: u64,
    /// The settlement contract, part of every signing domain.
    pub settlement: Address,
    /// Index in the committee.
    pub member: u32,
}

/// Owns this member's decryption key and releases its shares.
///
/// Shared by reference: [`precompute`](Self::precompute) and [`release`](Self::release) may run on worker
/// threads at the same time.
pub struct Releaser<S> {
    seat: MemberSeat,
    key: DecryptionKey,
    signer: SigningKey,
    journal: Arc<SigningJournal<S>>,
    precomputed: Mutex<SharesAhead>,
}

impl<S> fmt::Debug for Releaser<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releaser").field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl<S: JournalStore> Releaser<S> {
    /// A releaser for one member. `journal` must be the only journal of `signer`.
    pub fn new(
        seat: MemberSeat,
        key: DecryptionKey,
        signer: SigningKey,
        journal: Arc<SigningJournal<S>>,
    ) -> Self {
        Self { seat, key, signer, journal, precomputed: Mutex::default() }
    }

    /// Computes shares that are likely to be needed soon, on up to `threads` threads, and keeps them inside.
    ///
    /// Worth calling for a block that is being voted on: the arithmetic then runs while votes travel.
    pub fn precompute(&self, envelopes: &[CheckedEnvelope], threads: usize) {
        let todo: Vec<_> = {
            let precomputed = self.precomputed();
            envelopes.iter().filter(|envelope| !precomputed.contains(envelope)).collect()
        };
        let shares = self.compute(&todo, threads);
        let mut precomputed = self.precomputed();
        for (envelope, share) in todo.into_iter().zip(shares) {
            precomputed.insert(envelope, &share);
        }
    }

    /// Releases the shares of a certified height, on up to `threads` threads; `None` for a height that orders
    /// nothing. After a restart, or on a repeated call, the same bundle comes back.
    ///
    /// Send the bundle until a verified opening is held; see
    /// [`ResendSchedule`](crate::resend::ResendSchedule).
    ///
    /// # Errors
    ///
    /// See [`ReleaseError`]. Nothing may be sent then.
    pub fn release(
        &self,
        batch: &SealedBatch,
        threads: usize,
    ) -> Result<Option<Release>, ReleaseError> {
        let commitment = batch.commitment();
        if commitment.chain_id != self.seat.chain_id
            || commitment.settlement != self.seat.settlement
        {
            return Err(ReleaseError::OtherChain {
                expected: self.seat.chain_id,
                got: commitment.chain_id,
            });
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let shares = self.shares(batch.envelopes(), threads);
        let header = BundleHeader {
            chain_id: self.seat.chain_id,
            settlement: self.seat.settlement,
            height: batch.height(),
            commitment: batch.digest(),
            shares_root: shares_root(&shares),
            member: self.seat.member,
        };
        let digest = header.digest();
        let signed =
            self.journal.sign_once(Slot::Bundle { height: batch.height() }, digest, || {
                self.signer.sign_digest(digest).to_bytes().to_vec()
            })?;
        let got_bytes = signed.bytes.len();
        let signature: [u8; SIGNATURE_BYTES] =
            signed.bytes.try_into().map_err(|_| ReleaseError::StoredLength { got_bytes })?;
        let signature = Signature65::from_bytes(&signature)?;
        let record = ReleaseRecord {
            height: batch.height(),
            epoch: commitment.epoch,
            commitment: batch.digest(),
            view: commitment.view,
            certificate_view: batch.certified().certificate().map(|certificate| certificate.view),
            bundle: digest,
            first: signed.fresh,
        };
        self.precomputed().forget(batch.envelopes());
        Ok(Some(Release { bundle: Arc::new(ShareBundle { header, shares, signature }), record }))
    }

    /// Shares of a height: what was computed ahead, and the rest now.
    fn shares(&self, envelopes: &[CheckedEnvelope], threads: usize) -> Vec<Share> {
        let known: Vec<Option<Share>> = {
            let precomputed = self.precomputed();
            envelopes.iter().map(|envelope| precomputed.get(envelope)).collect()
        };
        let rest: Vec<_> = envelopes
            .iter()
            .zip(&known)
            .filter(|(_, share)| share.is_none())
            .map(|(envelope, _)| envelope)
            .collect();
        let mut computed = self.compute(&rest, threads).into_iter();
        known.into_iter().filter_map(|share| share.or_else(|| computed.next())).collect()
    }

    /// Multiplies in chunks: positions of a chunk share the cost of their inversions.
    fn compute(&self, envelopes: &[&CheckedEnvelope], threads: usize) -> Vec<Share> {
        let chunks: Vec<_> =
            envelopes.chunks(chunk_len(envelopes.len(), threads, CHUNK_POSITIONS)).collect();
        map_positions(chunks.len(), threads, |chunk| {
            self.key.shares(chunks[chunk].iter().map(|envelope| envelope.ephemeral()))
        })
        .into_iter()
        .flatten()
        .collect()
    }

    fn precomputed(&self) -> std::sync::MutexGuard<'_, SharesAhead> {
        self.precomputed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
