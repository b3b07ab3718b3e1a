//! Runs the equivocation [`Watch`] over a channel.
//!
//! In: commitments that blocks brought (from the block gate, verification and our own proposals), those
//! that other members gossip, and finalized views. Out: gossip to all members, and events for the node.
//! A member that sends bytes that are not a commitment, or one its view's leader did not sign, is
//! blocked: nothing honest looks like that.

use crate::{
    engine::Identity,
    events::OrderingReporter,
    watch::{Effect, Watch},
};
use blindfold_wire::SignedCommitment;
use bytes::{Buf as _, Bytes};
use commonware_macros::select;
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_utils::channel::mpsc;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tracing::{debug, warn};

/// Commitments waiting to be observed, at most. More are dropped: the same commitment comes again by
/// gossip, and the leader's conflicting one by the members who saw it.
pub const WATCH_QUEUE: usize = 256;

/// Way into the watch. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct WatchHandle {
    sender: mpsc::Sender<SignedCommitment>,
    tip_view: Arc<AtomicU64>,
}

impl WatchHandle {
    /// Opens the way into a watch that [`run`] will drive.
    pub(crate) fn open() -> (Self, mpsc::Receiver<SignedCommitment>) {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        (Self { sender, tip_view: Arc::new(AtomicU64::new(0)) }, receiver)
    }

    /// Hands in a commitment that a block brought.
    pub fn observe(&self, signed: SignedCommitment) {
        if self.sender.try_send(signed).is_err() {
            debug!(target: "blindfold::ordering", "watch queue is full, a commitment is dropped");
        }
    }

    /// Tells that `view` was finalized.
    pub fn advance(&self, view: u64) {
        self.tip_view.fetch_max(view, Ordering::Relaxed);
    }
}

/// Loop of the watch. Ends when the channel closes.
pub(crate) async fn run<X, R, B, O>(
    mut watch: Watch,
    restored: Vec<SignedCommitment>,
    handle: WatchHandle,
    mut local: mpsc::Receiver<SignedCommitment>,
    (mut sender, mut receiver): (X, R),
    mut blocker: B,
    reporter: O,
) where
    X: Sender<PublicKey = Identity>,
    R: Receiver<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
    O: OrderingReporter,
{
    if let Some(view) = restored.iter().map(|signed| signed.commitment.view).max() {
        watch.advance(view);
    }
    for signed in restored {
        if let Err(reason) = watch.observe(signed) {
            warn!(target: "blindfold::ordering", %reason, "a stored first-seen commitment is not usable");
        }
    }
    loop {
        let (from, signed) = select! {
            signed = local.recv() => match signed {
                Some(signed) => (None, signed),
                None => return,
            },
            message = receiver.recv() => match message {
                Ok((peer, mut message)) => {
                    let bytes: Bytes = message.copy_to_bytes(message.remaining());
                    match SignedCommitment::decode(&bytes) {
                        Ok(signed) => (Some(peer), signed),
                        Err(reason) => {
                            commonware_p2p::block!(blocker, peer, %reason, "gossip is not a commitment");
                            continue;
                        }
                    }
                }
                Err(_) => return,
            },
        };
        watch.advance(handle.tip_view.load(Ordering::Relaxed));
        match watch.observe(signed) {
            Ok(Effect::Nothing) => {}
            Ok(Effect::Gossip(signed)) => {
                // Kept before it is sent: the node persists what it is told here.
                reporter.first_seen(signed.clone());
                sender.send(Recipients::All, Bytes::from(signed.encode()), false);
            }
            Ok(Effect::Evidence { evidence, second }) => {
                warn!(
                    target: "blindfold::ordering",
                    view = second.commitment.view,
                    epoch = second.commitment.epoch,
                    "a leader signed two commitments for one view"
                );
                reporter.evidence(*evidence);
                sender.send(Recipients::All, Bytes::from(second.encode()), false);
            }
            Err(reason) => match from {
                Some(peer) => {
                    commonware_p2p::block!(blocker, peer, %reason, "gossiped commitment is not its leader's");
                }
                None => {
                    debug!(target: "blindfold::ordering", %reason, "commitment is not its leader's")
                }
            },
        }
    }
}
