//! A member that leaves out what it does not like: due forced items, and whatever one payer hands in.
//!
//! It does so by not knowing: nobody tells it of items, and its mischief keeps the payer's envelopes from it. So it
//! proposes blocks without them, and as a voter waits in vain where others bring them.

use super::Mischief;
use alloy_primitives::Bytes;
use blindfold_node::member::messages::{ENVELOPE_CHANNEL, pack_envelopes, unpack_envelopes};
use blindfold_wire::Envelope;
use commonware_runtime::IoBuf;

impl Mischief {
    /// Counts its own blocks that leave a due item out.
    pub(super) fn leave_out(&mut self, channel: u64, message: &IoBuf) -> bool {
        if let Some(block) = self.own_block(channel, message) {
            let forced = &block.block().forced;
            let cursor = forced.parent().map_or(0, |parent| parent.forced_cursor);
            let due = self.l1.due(cursor, block.commitment().l1_block).len();
            self.deeds += usize::from(forced.items().len() < due);
        }
        true
    }

    /// A message with envelopes, without those of the payer that is censored.
    pub(super) fn without_censored(&self, channel: u64, message: &IoBuf) -> Option<IoBuf> {
        if channel != ENVELOPE_CHANNEL {
            return None;
        }
        let is_censored = |bytes: &Bytes| {
            let payer = Envelope::decode(bytes).ok().and_then(|it| it.recover_payer().ok());
            payer == Some(self.censored)
        };
        let envelopes = unpack_envelopes(message.as_ref()).ok()?;
        let kept: Vec<_> = envelopes.iter().filter(|bytes| !is_censored(bytes)).collect();
        if kept.len() == envelopes.len() {
            return None;
        }
        // An empty message is none that anybody sends, but one that everybody can read.
        Some(pack_envelopes(kept).into_iter().next().unwrap_or_default().into())
    }
}
