//! Puts proofs of misbehaviour together.

use blindfold_crypto::CommitteePublic;
use blindfold_wire::{
    bundle::{ShareBundle, SignedBundleHeader, share_proof},
    commitment::order_proof,
    evidence::{BadShare, Evidence},
};

use crate::batch::SealedBatch;

/// Two bundles of one member for one height, with different commitments. Both signatures are verified.
pub(crate) fn double_release(first: SignedBundleHeader, second: SignedBundleHeader) -> Evidence {
    debug_assert_eq!(first.header.member, second.header.member);
    debug_assert_eq!(first.header.height, second.header.height);
    debug_assert_ne!(first.header.commitment, second.header.commitment);
    Evidence::DoubleRelease { first, second }
}

/// The wrong share of `bundle` at `position` of `batch`. `None` when the share is right after all: nobody is
/// accused on the word of the code that blamed it.
pub(crate) fn bad_share(
    public: &CommitteePublic,
    batch: &SealedBatch,
    bundle: &ShareBundle,
    position: usize,
) -> Option<Evidence> {
    let envelope = batch.envelopes().get(position)?;
    let share = *bundle.shares.get(position)?;
    let member = usize::try_from(bundle.header.member).ok()?;
    if public.verify_share(member, &envelope.envelope().ciphertext.u, &share) {
        return None;
    }
    let index = u32::try_from(position).ok()?;
    let ids: Vec<_> = batch.envelopes().iter().map(|envelope| envelope.id()).collect();
    Some(Evidence::BadShare(Box::new(BadShare {
        bundle: bundle.signed_header(),
        share,
        share_proof: share_proof(&bundle.shares, index)?,
        commitment: batch.commitment().clone(),
        envelope: envelope.bytes().to_vec(),
        envelope_proof: order_proof(&ids, index)?,
    })))
}
