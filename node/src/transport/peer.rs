//! One peer: its quotas and queues on each channel, its link, and why a link is closed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    config::{
        ABUSE_BURSTS, ABUSE_WINDOW, ACCEPT_BURST, ACCEPT_PER_MINUTE, ChannelSpec,
        FOLLOWER_INBOX_FRACTION, FOLLOWER_OUTBOX_FRACTION, RECEIVE_SLACK,
    },
    meter::{ChannelMeters, short_name},
    outbox::Outbox,
    quota::{AbuseCounter, TokenBucket},
};

/// A message in an inbox; the permit is the sender's share of it.
pub(super) type Inbound = (PublicKey, Bytes, OwnedSemaphorePermit);

/// One channel as the links see it.
pub(super) struct ChannelState {
    pub(super) spec: ChannelSpec,
    pub(super) inbox: mpsc::Sender<Inbound>,
    /// Places in the inbox that all followers share, so that they never crowd out a member.
    follower_share: Arc<Semaphore>,
    /// What all followers together may send.
    pub(super) follower_quota: Mutex<TokenBucket>,
}

impl ChannelState {
    pub(super) fn new(spec: ChannelSpec, inbox: mpsc::Sender<Inbound>, now: Instant) -> Self {
        let places = (spec.inbox_messages / FOLLOWER_INBOX_FRACTION).max(1);
        let quota = spec.quota.times(RECEIVE_SLACK);
        Self {
            inbox,
            follower_share: Arc::new(Semaphore::new(places)),
            follower_quota: Mutex::new(TokenBucket::new(quota, now)),
            spec,
        }
    }
}

/// What is known of one peer on one channel.
pub(super) struct PeerChannel {
    pub(super) outbox: Outbox,
    pub(super) meters: ChannelMeters,
    pub(super) send_quota: Mutex<TokenBucket>,
    pub(super) receive_quota: Mutex<TokenBucket>,
    pub(super) abuse: Mutex<AbuseCounter>,
    pub(super) inbox_share: Arc<Semaphore>,
}

/// One peer. Quotas and queues outlive its links, so that reconnecting gains nothing.
pub(super) struct Peer {
    pub(super) key: PublicKey,
    /// It is no member of any tracked set.
    pub(super) follower: bool,
    pub(super) channels: Vec<PeerChannel>,
    accept: Mutex<TokenBucket>,
    link: Mutex<Option<(u64, Connection)>>,
}

impl Peer {
    pub(super) fn new(
        key: PublicKey,
        follower: bool,
        channels: &[ChannelState],
        now: Instant,
    ) -> Self {
        let label = if follower { "follower".to_owned() } else { short_name(&key) };
        let channels = channels
            .iter()
            .map(|state| {
                let spec = &state.spec;
                let (outbox, inbox_share) = if follower {
                    let messages = (spec.outbox_messages / FOLLOWER_OUTBOX_FRACTION).max(1);
                    let bytes = spec.outbox_bytes / FOLLOWER_OUTBOX_FRACTION;
                    let outbox = Outbox::new(messages, bytes.max(spec.max_message_bytes), now);
                    (outbox, state.follower_share.clone())
                } else {
                    let outbox = Outbox::new(spec.outbox_messages, spec.outbox_bytes, now);
                    (outbox, Arc::new(Semaphore::new(spec.inbox_messages.div_ceil(2))))
                };
                let receive = spec.quota.times(RECEIVE_SLACK);
                let abuse_limit = receive.burst.saturating_mul(ABUSE_BURSTS);
                PeerChannel {
                    outbox,
                    meters: ChannelMeters::new(spec.name, &label),
                    send_quota: Mutex::new(TokenBucket::new(spec.quota, now)),
                    receive_quota: Mutex::new(TokenBucket::new(receive, now)),
                    abuse: Mutex::new(AbuseCounter::new(abuse_limit, ABUSE_WINDOW, now)),
                    inbox_share,
                }
            })
            .collect();
        let interval = Duration::from_secs(60) / ACCEPT_PER_MINUTE;
        let accept = Mutex::new(TokenBucket::with_interval(interval, ACCEPT_BURST, now));
        Self { key, follower, channels, accept, link: Mutex::new(None) }
    }

    /// Whether this peer may send on a channel.
    pub(super) fn may_send(&self, spec: &ChannelSpec) -> bool {
        !self.follower || spec.followers.asks()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.lock().is_some()
    }

    pub(super) fn may_accept(&self, now: Instant) -> bool {
        self.accept.lock().take(now).is_ok()
    }

    /// Makes `connection` its link, with number `id`; returns the link that was there.
    pub(super) fn link(&self, id: u64, connection: &Connection) -> Option<Connection> {
        let old = self.link.lock().replace((id, connection.clone()));
        old.map(|(_, connection)| connection)
    }

    /// Forgets link `id`. False if a newer one has replaced it.
    pub(super) fn unlink(&self, id: u64) -> bool {
        self.link.lock().take_if(|(current, _)| *current == id).is_some()
    }

    pub(super) fn close(&self, code: CloseCode) {
        if let Some((_, connection)) = &*self.link.lock() {
            connection.close(code.into(), code.reason());
        }
    }
}

/// Why a link was closed, as the other side sees it (QUIC application error code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum CloseCode {
    Shutdown = 0,
    Refused = 1,
    Blocked = 2,
    Replaced = 3,
    Untracked = 4,
    WrongDirection = 5,
    TooOften = 6,
    Fault = 7,
    /// On a stream: this node has no such channel.
    UnknownChannel = 8,
}

impl CloseCode {
    pub(super) fn reason(self) -> &'static [u8] {
        match self {
            Self::Shutdown => b"shutting down",
            Self::Refused => b"not a known peer",
            Self::Blocked => b"blocked",
            Self::Replaced => b"replaced by a newer connection",
            Self::Untracked => b"no longer in the peer set",
            Self::WrongDirection => b"the other side dials",
            Self::TooOften => b"reconnecting too often",
            Self::Fault => b"broke the protocol",
            Self::UnknownChannel => b"unknown channel",
        }
    }
}

impl From<CloseCode> for quinn::VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(code as u32)
    }
}
