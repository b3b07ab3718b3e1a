//! Peer sets, blocks and addresses: the handle that protocols and the node's shell share.

use std::{fmt, sync::Arc};

use commonware_actor::Feedback;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    BlockedSubscription, Blocker, Manager, PeerSetSubscription, Provider, TrackedPeers,
};

use super::{
    meter::{ChannelStats, TransportStats},
    peers::Shared,
};

/// Manages peers: [`Provider`], [`Manager`] and [`Blocker`] of this transport. Cheap to clone.
///
/// Primary peers are committee members, secondary ones followers. Members keep links among
/// themselves; a follower dials the members it has addresses of.
#[derive(Clone)]
pub struct PeerControl(pub(super) Arc<Shared>);

impl PeerControl {
    /// This node's own key.
    pub fn me(&self) -> PublicKey {
        self.0.me.clone()
    }

    /// Sets where to dial `peer` (`host:port`) from the next attempt on. A live link stays.
    pub fn set_address(&self, peer: PublicKey, address: String) {
        self.0.set_address(peer, address);
        self.0.changed.notify_one();
    }

    /// The peers with a live link.
    pub fn connected(&self) -> Vec<PublicKey> {
        let peers = self.0.peers();
        peers.iter().filter(|peer| peer.is_connected()).map(|peer| peer.key.clone()).collect()
    }

    /// The members with a live link: those of [`connected`](Self::connected) that are no followers.
    pub fn connected_members(&self) -> Vec<PublicKey> {
        let peers = self.0.peers();
        let members = peers.iter().filter(|peer| !peer.follower && peer.is_connected());
        members.map(|peer| peer.key.clone()).collect()
    }

    /// Counters of the whole transport.
    pub fn stats(&self) -> TransportStats {
        self.0.stats()
    }

    /// Counters of `peer` on the channel called `channel`, if both are known.
    pub fn channel_stats(&self, peer: &PublicKey, channel: &str) -> Option<ChannelStats> {
        let index = self.0.channels.iter().position(|state| state.spec.name == channel)?;
        let peer = self.0.peer(peer)?;
        Some(ChannelStats::from(&peer.channels.get(index)?.meters))
    }
}

impl fmt::Debug for PeerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerControl({})", self.0.me)
    }
}

impl Provider for PeerControl {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.0.peer_set(id)
    }

    /// Unlike a subscription that starts with the next change, this one starts with the set
    /// that is current, so that no subscriber can come too late.
    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        self.0.subscribe()
    }
}

impl Manager for PeerControl {
    /// Makes `peers` the newest set. Ids must grow; an older one is ignored with a warning.
    /// Peers in none of the last
    /// [`MAX_TRACKED_SETS`](super::config::MAX_TRACKED_SETS) sets are disconnected.
    fn track<R>(&mut self, id: u64, peers: R) -> Feedback
    where
        R: Into<TrackedPeers<PublicKey>> + Send,
    {
        self.0.track(id, peers.into());
        Feedback::Ok
    }
}

impl Blocker for PeerControl {
    type PublicKey = PublicKey;

    /// Closes the link to `peer` and refuses it until this process ends.
    fn block(&mut self, peer: PublicKey) -> Feedback {
        self.0.block(peer);
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        self.0.blocked()
    }
}
