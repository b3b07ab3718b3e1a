//! The two ends of a channel, as the protocols above see them.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{CheckedSender, LimitedSender, Message, Recipients};
use commonware_runtime::{IoBuf, IoBufs};
use tokio::sync::mpsc;

use super::{
    outbox::Pushed,
    peer::{Inbound, Peer},
    peers::Shared,
};

/// What becomes of each message that a [rewritten](Sender::rewritten) sender is given; `None` drops it.
pub type Rewrite = Arc<dyn Fn(Bytes) -> Option<Bytes> + Send + Sync>;

/// Sends on one channel. Never blocks: what does not fit is dropped and counted.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    channel: usize,
    rewrite: Option<Rewrite>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, channel: usize) -> Self {
        Self { shared, channel, rewrite: None }
    }

    /// The same sender with something between it and the wire: how tests make a member faulty
    /// without a faulty build of it.
    #[must_use]
    pub fn rewritten(self, rewrite: Rewrite) -> Self {
        Self { rewrite: Some(rewrite), ..self }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.shared.channels[self.channel].spec.name)
    }
}

impl LimitedSender for Sender {
    type PublicKey = PublicKey;
    type Checked<'a> = Checked;

    /// Keeps the recipients that are known and within their quota. This node itself, unknown keys,
    /// and those whom the channel's [use by followers](super::FollowerUse) rules out fall out silently.
    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Checked, SystemTime> {
        let peers = self.shared.recipients(self.channel, recipients);
        let now = Instant::now();
        let mut allowed = Vec::with_capacity(peers.len());
        let mut longest_wait: Option<Duration> = None;
        for peer in peers {
            match peer.channels[self.channel].send_quota.lock().take(now) {
                Ok(()) => {}
                Err(wait) => {
                    longest_wait = longest_wait.max(Some(wait));
                    continue;
                }
            }
            allowed.push(peer);
        }
        match longest_wait {
            Some(wait) if allowed.is_empty() => Err(SystemTime::now() + wait),
            _ => Ok(Checked {
                shared: self.shared.clone(),
                channel: self.channel,
                to: allowed,
                rewrite: self.rewrite.clone(),
            }),
        }
    }
}

/// Recipients that passed [`Sender::check`](LimitedSender::check).
pub struct Checked {
    shared: Arc<Shared>,
    channel: usize,
    to: Vec<Arc<Peer>>,
    rewrite: Option<Rewrite>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("recipients", &self.to.len()).finish_non_exhaustive()
    }
}

impl CheckedSender for Checked {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.to.iter().map(|peer| peer.key.clone()).collect()
    }

    /// Queues the message. Rejected if it is too long for the channel (nothing panics), or if
    /// every recipient has been away for longer than
    /// [`OFFLINE_HOLD`](super::config::OFFLINE_HOLD).
    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let mut message: Bytes = message.into().coalesce().into();
        if let Some(rewrite) = &self.rewrite {
            match rewrite(message) {
                Some(rewritten) => message = rewritten,
                None => return Unreliable::rejected(),
            }
        }
        let spec = &self.shared.channels[self.channel].spec;
        if message.len() > spec.max_message_bytes {
            self.shared.meters.oversize_sends.add(1);
            tracing::error!(
                target: "blindfold::transport",
                channel = spec.name,
                len_bytes = message.len(),
                max_bytes = spec.max_message_bytes,
                "message is too long for its channel; not sent"
            );
            return Unreliable::rejected();
        }
        if self.to.is_empty() {
            return Unreliable::new(Feedback::Ok);
        }
        let now = Instant::now();
        let mut outcome = Unreliable::rejected();
        for peer in &self.to {
            let channel = &peer.channels[self.channel];
            match channel.outbox.push(message.clone(), priority, now) {
                Pushed::Queued { dropped: 0 } if outcome.is_rejected() => {
                    outcome = Unreliable::new(Feedback::Ok);
                }
                Pushed::Queued { dropped: 0 } => {}
                Pushed::Queued { dropped } => {
                    channel.meters.outbox_dropped.add(dropped);
                    outcome = Unreliable::new(Feedback::Backoff);
                }
                Pushed::Offline => channel.meters.outbox_dropped.add(1),
            }
        }
        outcome
    }
}

/// Receives on one channel.
pub struct Receiver {
    inbox: mpsc::Receiver<Inbound>,
    name: &'static str,
    capacity: NonZeroUsize,
}

impl Receiver {
    pub(super) fn new(inbox: mpsc::Receiver<Inbound>, name: &'static str) -> Self {
        let capacity = NonZeroUsize::new(inbox.max_capacity()).unwrap_or(NonZeroUsize::MIN);
        Self { inbox, name, capacity }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", self.name)
    }
}

/// The transport has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transport has stopped")]
pub struct Stopped;

impl commonware_p2p::Receiver for Receiver {
    type Error = Stopped;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Stopped> {
        // The permit goes back to the sending peer's share here.
        let (peer, message, _share) = self.inbox.recv().await.ok_or(Stopped)?;
        Ok((peer, IoBuf::from(message)))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.capacity
    }
}
