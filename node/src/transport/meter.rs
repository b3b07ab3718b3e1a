//! Counters: readable in process, exported through the `metrics` façade.

use std::sync::atomic::{AtomicU64, Ordering};

use commonware_cryptography::ed25519::PublicKey;

/// A counter with an exported twin. The recorder must be installed before the transport starts,
/// or only the local value counts.
pub(super) struct Meter {
    value: AtomicU64,
    exported: metrics::Counter,
}

impl Meter {
    fn new(exported: metrics::Counter) -> Self {
        Self { value: AtomicU64::new(0), exported }
    }

    pub(super) fn add(&self, n: u64) {
        if n > 0 {
            self.value.fetch_add(n, Ordering::Relaxed);
            self.exported.increment(n);
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// Counters of one peer on one channel.
pub(super) struct ChannelMeters {
    pub(super) sent_bytes: Meter,
    pub(super) sent_messages: Meter,
    pub(super) received_bytes: Meter,
    pub(super) received_messages: Meter,
    /// Outgoing, dropped: outbox full, too old, or the peer away.
    pub(super) outbox_dropped: Meter,
    /// Incoming, dropped: inbox full.
    pub(super) inbox_dropped: Meter,
    /// Incoming, dropped: over the peer's quota.
    pub(super) quota_dropped: Meter,
}

/// The peer's name in metrics and logs: the first four bytes of its key, in hex.
pub(super) fn short_name(key: &PublicKey) -> String {
    let bytes: &[u8] = key.as_ref();
    alloy_primitives::hex::encode(&bytes[..bytes.len().min(4)])
}

impl ChannelMeters {
    /// `peer` is the label: a short name, or one for all followers, whose keys are anybody's choice.
    pub(super) fn new(channel: &'static str, peer: &str) -> Self {
        let peer = peer.to_owned();
        let meter = |name: &'static str| {
            Meter::new(metrics::counter!(name, "channel" => channel, "peer" => peer.clone()))
        };
        Self {
            sent_bytes: meter("blindfold_transport_sent_bytes_total"),
            sent_messages: meter("blindfold_transport_sent_messages_total"),
            received_bytes: meter("blindfold_transport_received_bytes_total"),
            received_messages: meter("blindfold_transport_received_messages_total"),
            outbox_dropped: meter("blindfold_transport_outbox_dropped_total"),
            inbox_dropped: meter("blindfold_transport_inbox_dropped_total"),
            quota_dropped: meter("blindfold_transport_quota_dropped_total"),
        }
    }
}

/// Counters of the whole transport.
pub(super) struct Meters {
    pub(super) links_opened: Meter,
    pub(super) dials_failed: Meter,
    pub(super) handshakes_refused: Meter,
    pub(super) faults: Meter,
    pub(super) oversize_sends: Meter,
    pub(super) wire_sent_bytes: Meter,
    pub(super) wire_received_bytes: Meter,
    pub(super) connected: metrics::Gauge,
    pub(super) followers: metrics::Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            links_opened: Meter::new(metrics::counter!("blindfold_transport_links_opened_total")),
            dials_failed: Meter::new(metrics::counter!("blindfold_transport_dials_failed_total")),
            handshakes_refused: Meter::new(metrics::counter!(
                "blindfold_transport_handshakes_refused_total"
            )),
            faults: Meter::new(metrics::counter!("blindfold_transport_peer_faults_total")),
            oversize_sends: Meter::new(metrics::counter!(
                "blindfold_transport_oversize_sends_total"
            )),
            wire_sent_bytes: Meter::new(metrics::counter!(
                "blindfold_transport_wire_sent_bytes_total"
            )),
            wire_received_bytes: Meter::new(metrics::counter!(
                "blindfold_transport_wire_received_bytes_total"
            )),
            connected: metrics::gauge!("blindfold_transport_connected_peers"),
            followers: metrics::gauge!("blindfold_transport_connected_followers"),
        }
    }
}

/// Counters of one peer on one channel, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Payload bytes written to the peer's stream.
    pub sent_bytes: u64,
    /// Messages written to the peer's stream.
    pub sent_messages: u64,
    /// Payload bytes handed to the consumer.
    pub received_bytes: u64,
    /// Messages handed to the consumer.
    pub received_messages: u64,
    /// Messages never sent: outbox full, too old, or the peer away.
    pub outbox_dropped: u64,
    /// Messages from the peer that found the inbox full.
    pub inbox_dropped: u64,
    /// Messages from the peer over its quota.
    pub quota_dropped: u64,
}

impl From<&ChannelMeters> for ChannelStats {
    fn from(meters: &ChannelMeters) -> Self {
        Self {
            sent_bytes: meters.sent_bytes.get(),
            sent_messages: meters.sent_messages.get(),
            received_bytes: meters.received_bytes.get(),
            received_messages: meters.received_messages.get(),
            outbox_dropped: meters.outbox_dropped.get(),
            inbox_dropped: meters.inbox_dropped.get(),
            quota_dropped: meters.quota_dropped.get(),
        }
    }
}

/// Counters of the transport, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Peers with a live link, followers among them.
    pub connected: usize,
    /// Followers with a live link.
    pub followers: usize,
    /// Links that finished their handshake since the start; those beyond the first of each peer
    /// are reconnections.
    pub links_opened: u64,
    /// Dials that did not lead to a link.
    pub dials_failed: u64,
    /// Incoming connections turned away: unknown or blocked key, other chain, too many, too slow.
    pub handshakes_refused: u64,
    /// Links closed because the peer broke the framing or flooded.
    pub faults: u64,
    /// Messages this node tried to send beyond a channel's limit: a defect of its own.
    pub oversize_sends: u64,
    /// Bytes of UDP datagrams sent on links, with all that QUIC adds and repeats; up to half a second old.
    pub wire_sent_bytes: u64,
    /// The same received.
    pub wire_received_bytes: u64,
}
