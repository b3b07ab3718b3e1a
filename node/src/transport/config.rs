//! What the transport is told at start, and every limit it keeps.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::Channel;

use super::{Identity, quota::Quota};

/// Version of the framing below TLS; part of the ALPN identifier.
pub const PROTOCOL_VERSION: u32 = 1;

/// Channels one transport may register; also the number of uni-directional streams a peer may
/// hold open.
pub const MAX_CHANNELS: usize = 32;
/// Largest `max_message_bytes` a channel may ask for (16 MiB).
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Bytes of stream flow-control credit per channel and peer (1 MiB): what a peer may push into a
/// channel whose consumer has stopped reading.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that a reader allocates before they have arrived (64 KiB); a frame's announced length
/// alone never buys memory.
pub const READ_CHUNK_BYTES: usize = 64 << 10;

/// Peer sets kept by [`Manager::track`](commonware_p2p::Manager::track); older ones are dropped.
pub const MAX_TRACKED_SETS: usize = 4;
/// Peers in all tracked sets together.
pub const MAX_PEERS: usize = 1_024;
/// Peers of tracked sets blocked at once; beyond it the oldest block is kept and the new one closes the link only.
pub const MAX_BLOCKED: usize = 4_096;

/// Followers blocked at once; beyond it the oldest is let in again. A follower's key costs its holder
/// nothing, so that remembering all of them would buy nothing either.
pub const MAX_BLOCKED_FOLLOWERS: usize = 1_024;
/// Followers that connect for the first time: at once, and regained per minute.
pub const NEW_FOLLOWER_BURST: u32 = 16;
/// See [`NEW_FOLLOWER_BURST`].
pub const NEW_FOLLOWERS_PER_MINUTE: u32 = 30;
/// All followers together hold at most this fraction (one over it) of an inbox.
pub const FOLLOWER_INBOX_FRACTION: usize = 4;
/// A follower's outbox is this fraction (one over it) of a member's, in messages and in bytes, but
/// holds at least one message.
pub const FOLLOWER_OUTBOX_FRACTION: usize = 2;

/// Connections whose handshake is not done.
pub const MAX_HANDSHAKES: usize = 64;
/// Such connections from one IP address (for IPv6, one /64 network). A devnet puts a whole committee on one
/// address.
pub const MAX_HANDSHAKES_PER_IP: usize = 32;
/// Unfinished handshakes above which a dialer must first prove its address (QUIC retry).
pub const RETRY_HANDSHAKES: usize = 16;
/// Handshakes that one authenticated peer may finish at once, and the number regained per minute.
pub const ACCEPT_BURST: u32 = 16;
/// See [`ACCEPT_BURST`].
pub const ACCEPT_PER_MINUTE: u32 = 30;

/// Time a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time from opening a stream to having named its channel.
pub const STREAM_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time from a frame's length to its last byte.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval of keep-alive packets on an otherwise silent link.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How often the datagrams of a link are counted.
pub const COUNT_INTERVAL: Duration = Duration::from_millis(500);
/// Silence after which a link is given up.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// Time an attempt to dial may take. Short, as the last packets of an attempt are far apart: the next
/// attempt's first one reaches a peer that is back sooner.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Round-trip time assumed before one is measured. A lost first packet is repeated after three of them.
pub const INITIAL_RTT: Duration = Duration::from_millis(100);
/// First pause before dialing again.
pub const BACKOFF_BASE_MS: u64 = 100;
/// Longest pause before dialing again: well below a leader time-out, so that a member which was away
/// has its links back before the next view is lost.
pub const BACKOFF_MAX_MS: u64 = 1_000;
/// A link that lived this long starts over with [`BACKOFF_BASE_MS`].
pub const STABLE_LINK: Duration = Duration::from_secs(5);

/// How long an outbox keeps taking messages for a peer that is not connected.
pub const OFFLINE_HOLD: Duration = Duration::from_secs(10);
/// How long a peer is refused after it broke the framing or flooded.
pub const FAULT_BAN: Duration = Duration::from_secs(15);
/// A receiver grants this multiple of a channel's quota, so that clock drift and bunching never
/// punish an honest sender.
pub const RECEIVE_SLACK: u32 = 2;
/// Messages over quota within [`ABUSE_WINDOW`] after which a peer is disconnected, as a multiple
/// of the channel's receive burst.
pub const ABUSE_BURSTS: u32 = 8;
/// See [`ABUSE_BURSTS`].
pub const ABUSE_WINDOW: Duration = Duration::from_secs(10);

/// What a channel does when its consumer is slower than its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// Drops the newest message and counts it. For votes and gossip: repeated by their protocols,
    /// worthless when late.
    Drop,
    /// Stops reading the peer's stream, so that flow control slows that peer down on that channel
    /// alone. For blocks and backfill: large, dear to send twice.
    Backpressure,
}

/// What a follower has to do with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerUse {
    /// Nothing in either direction.
    Nothing,
    /// It hears what members tell all, and says nothing itself.
    Listens,
    /// It asks or hands in, and is answered; it does not hear what members tell all.
    Asks,
    /// Both.
    ListensAndAsks,
}

impl FollowerUse {
    /// Whether it hears what members tell all.
    pub const fn listens(self) -> bool {
        matches!(self, Self::Listens | Self::ListensAndAsks)
    }

    /// Whether it may send.
    pub const fn asks(self) -> bool {
        matches!(self, Self::Asks | Self::ListensAndAsks)
    }
}

/// One channel: its name on the wire and its bounds. Every peer must use the same values.
#[derive(Clone, Debug)]
pub struct ChannelSpec {
    /// Identifier, sent as eight big-endian bytes at the start of each stream.
    pub id: Channel,
    /// Name in metrics and logs.
    pub name: &'static str,
    /// Longest message in bytes. A longer frame ends the link.
    pub max_message_bytes: usize,
    /// Messages that one peer may be sent, and (times [`RECEIVE_SLACK`]) may send.
    pub quota: Quota,
    /// Messages waiting to be written to one peer.
    pub outbox_messages: usize,
    /// Bytes waiting to be written to one peer.
    pub outbox_bytes: usize,
    /// Messages of all peers waiting for the consumer. One peer holds at most half of it.
    pub inbox_messages: usize,
    /// QUIC stream priority: larger goes first.
    pub priority: i32,
    /// What to do with more than the inbox holds.
    pub overload: Overload,
    /// What followers have to do with it.
    pub followers: FollowerUse,
}

impl ChannelSpec {
    /// A channel of small, urgent, repeatable messages (votes, certificates, gossip): up to
    /// 64 KiB each, 1,024 a second and peer, dropped when late, ahead of large ones.
    pub fn small(id: Channel, name: &'static str) -> Self {
        Self {
            id,
            name,
            max_message_bytes: 64 << 10,
            quota: Quota { per_second: 1_024, burst: 2_048 },
            outbox_messages: 2_048,
            outbox_bytes: 8 << 20,
            inbox_messages: 4_096,
            priority: 10,
            overload: Overload::Drop,
            followers: FollowerUse::ListensAndAsks,
        }
    }

    /// A channel of large messages (blocks, backfill, share bundles) of at most
    /// `max_message_bytes`: 128 a second and peer, slowed down rather than dropped.
    pub fn large(id: Channel, name: &'static str, max_message_bytes: usize) -> Self {
        Self {
            id,
            name,
            max_message_bytes,
            quota: Quota { per_second: 128, burst: 256 },
            outbox_messages: 256,
            outbox_bytes: (4 * max_message_bytes).max(8 << 20),
            inbox_messages: 64,
            priority: 0,
            overload: Overload::Backpressure,
            followers: FollowerUse::ListensAndAsks,
        }
    }

    /// The same channel with another use by followers.
    #[must_use]
    pub fn for_followers(self, followers: FollowerUse) -> Self {
        Self { followers, ..self }
    }

    /// The first bound that is out of range, if any.
    pub(super) fn invalid(&self) -> Option<&'static str> {
        if self.max_message_bytes == 0 || self.max_message_bytes > MAX_MESSAGE_BYTES {
            return Some("max_message_bytes must be between 1 and MAX_MESSAGE_BYTES");
        }
        if self.quota.per_second == 0 || self.quota.burst == 0 {
            return Some("quota must be positive");
        }
        if self.outbox_messages == 0 || self.inbox_messages == 0 {
            return Some("outbox_messages and inbox_messages must be positive");
        }
        if self.outbox_bytes < self.max_message_bytes {
            return Some("outbox_bytes must hold at least one message");
        }
        None
    }
}

/// What a transport needs to start.
#[derive(Debug)]
pub struct TransportConfig {
    /// UDP address to listen on. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Genesis hash. It is part of the ALPN identifier: nodes of two chains never connect.
    pub genesis_hash: [u8; 32],
    /// This node's ed25519 key.
    pub identity: Identity,
    /// Where to dial peers: `host:port`, resolved again at every attempt. A peer without an
    /// address can still dial us.
    pub addresses: BTreeMap<PublicKey, String>,
    /// Followers that may be connected at a time, beside the peer sets. 0 admits none.
    pub max_followers: usize,
}
