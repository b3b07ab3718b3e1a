//! The mutation that P1 exists to catch: a member that releases its shares of a block as soon as it
//! sees it proposed.
//!
//! The product cannot do this: its releaser takes nothing but a certified commitment. So the mutant
//! takes the key itself and signs its bundles past the releaser and its journal.

use blindfold_committee::secrets::MemberSecrets;
use blindfold_node::member::messages::ShareMessage;
use blindfold_ordering::{
    block::{BlockCodec, OrderedBlock},
    engine::Identity,
};
use blindfold_wire::{Envelope, ShareBundle};
use commonware_codec::Decode as _;
use commonware_p2p::{Recipients, Sender};
use commonware_runtime::IoBuf;
use commonware_utils::channel::mpsc;
use std::collections::BTreeSet;

/// The loop of a mutated member: from each proposed block straight to a signed bundle.
///
/// # Panics
/// If the secrets are not a member's.
pub async fn run<X: Sender<PublicKey = Identity>>(
    secrets: MemberSecrets,
    codec: BlockCodec,
    mut blocks: mpsc::UnboundedReceiver<IoBuf>,
    mut shares: X,
) {
    let (key, signer) = (
        secrets.decryption_key().expect("a dealt key"),
        secrets.signing_key().expect("a dealt key"),
    );
    let mut seen = BTreeSet::new();
    while let Some(message) = blocks.recv().await {
        let Ok(block) = OrderedBlock::decode_cfg(message, &codec) else { continue };
        if block.commitment().count == 0 || !seen.insert(block.id()) {
            continue;
        }
        let released: Option<Vec<_>> = block
            .block()
            .envelopes
            .iter()
            .map(|bytes| key.share(&Envelope::decode(bytes).ok()?.ciphertext.u).ok())
            .collect();
        let Some(released) = released else { continue };
        let commitment = block.commitment();
        let bundle = ShareBundle::sign(
            commitment.chain_id,
            commitment.settlement,
            commitment.height,
            block.id(),
            secrets.member(),
            released,
            &signer,
        );
        shares.send(Recipients::All, ShareMessage::Bundle(bundle).encode(), true);
    }
}
