//! The break that P1 exists to catch: a member that releases its shares of a block as soon as it sees
//! it proposed.
//!
//! The product cannot do this: its releaser takes nothing but a certified commitment. So the mutant
//! takes the key itself and signs its bundles past the releaser and its journal.

use super::Mischief;
use blindfold_committee::secrets::MemberSecrets;
use blindfold_crypto::{DecryptionKey, EphemeralPoint};
use blindfold_node::member::messages::ShareMessage;
use blindfold_ordering::{
    block::{BlockCodec, OrderedBlock},
    engine::Identity,
};
use blindfold_wire::{Envelope, ShareBundle, SigningKey};
use commonware_codec::Decode as _;
use commonware_p2p::{Recipients, Sender};
use commonware_runtime::IoBuf;
use commonware_utils::{channel::mpsc, sync::Mutex};
use std::{collections::BTreeSet, sync::Arc};

/// A member's signed shares of a block, final or not; `None` for one that orders nothing.
pub(super) fn bundle(
    block: &OrderedBlock,
    key: &DecryptionKey,
    signer: &SigningKey,
    member: u32,
) -> Option<ShareBundle> {
    let commitment = block.commitment();
    if commitment.count == 0 {
        return None;
    }
    let envelopes = &block.block().envelopes;
    let shares: Option<Vec<_>> = envelopes
        .iter()
        .map(|bytes| {
            let u = Envelope::decode(bytes).ok()?.ciphertext.u;
            Some(key.share(&EphemeralPoint::from_bytes(&u).ok()?))
        })
        .collect();
    Some(ShareBundle::sign(
        commitment.chain_id,
        commitment.settlement,
        commitment.height,
        block.id(),
        member,
        shares?,
        signer,
    ))
}

/// The loop of such a member: from each proposed block straight to a signed bundle.
///
/// # Panics
/// If the secrets are not a member's.
pub async fn run<X: Sender<PublicKey = Identity>>(
    secrets: MemberSecrets,
    codec: BlockCodec,
    mut blocks: mpsc::UnboundedReceiver<IoBuf>,
    mut shares: X,
    mischief: Option<Arc<Mutex<Mischief>>>,
) {
    let (key, signer) = (
        secrets.decryption_key().expect("a dealt key"),
        secrets.signing_key().expect("a dealt key"),
    );
    let mut seen = BTreeSet::new();
    while let Some(message) = blocks.recv().await {
        let Ok(block) = OrderedBlock::decode_cfg(message, &codec) else { continue };
        if !seen.insert(block.id()) {
            continue;
        }
        let Some(bundle) = bundle(&block, &key, &signer, secrets.member()) else { continue };
        if let Some(mischief) = &mischief {
            mischief.lock().released_early();
        }
        shares.send(Recipients::All, ShareMessage::Bundle(bundle).encode(), true);
    }
}
