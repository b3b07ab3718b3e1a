//! The peer table: who may connect, who dials whom, who gets what is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{PeerSetSubscription, PeerSetUpdate, Recipients, TrackedPeers};
use commonware_utils::{
    channel::{mpsc as peer_channel, ring},
    ordered::Set,
};
use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::Notify;

use super::{
    config::{MAX_PEERS, MAX_TRACKED_SETS, NEW_FOLLOWER_BURST, NEW_FOLLOWERS_PER_MINUTE},
    meter::{Meters, TransportStats},
    peer::{ChannelState, CloseCode, Peer},
    quota::TokenBucket,
    refusals::Refusals,
};

#[derive(Default)]
struct Table {
    addresses: BTreeMap<PublicKey, String>,
    sets: BTreeMap<u64, TrackedPeers<PublicKey>>,
    /// Peers of the tracked sets.
    peers: BTreeMap<PublicKey, Arc<Peer>>,
    /// Followers that came by themselves, also those that left and may be back.
    followers: BTreeMap<PublicKey, Arc<Peer>>,
    members: BTreeSet<PublicKey>,
    refusals: Refusals,
    set_subscribers: Vec<peer_channel::UnboundedSender<PeerSetUpdate<PublicKey>>>,
    block_subscribers: Vec<ring::Sender<Set<PublicKey>>>,
}

impl Table {
    fn peer(&self, key: &PublicKey) -> Option<&Arc<Peer>> {
        self.peers.get(key).or_else(|| self.followers.get(key))
    }

    fn all(&self) -> TrackedPeers<PublicKey> {
        let primary: BTreeSet<_> =
            self.sets.values().flat_map(|set| set.primary.iter().cloned()).collect();
        let secondary = self
            .sets
            .values()
            .flat_map(|set| set.secondary.iter().cloned())
            .filter(|key| !primary.contains(key));
        let secondary = Set::from_iter_dedup(secondary);
        TrackedPeers::new(Set::from_iter_dedup(primary), secondary)
    }
}

/// The state that senders, links, verifiers and the peer control share.
pub(super) struct Shared {
    pub(super) me: PublicKey,
    pub(super) channels: Vec<ChannelState>,
    pub(super) meters: Meters,
    /// Rung when the set of peers to dial may have changed.
    pub(super) changed: Notify,
    table: Mutex<Table>,
    next_link: AtomicU64,
    max_followers: usize,
    /// How often a follower may come that was never here.
    new_followers: Mutex<TokenBucket>,
}

impl Shared {
    pub(super) fn new(
        me: PublicKey,
        channels: Vec<ChannelState>,
        addresses: BTreeMap<PublicKey, String>,
        max_followers: usize,
    ) -> Self {
        let interval = Duration::from_secs(60) / NEW_FOLLOWERS_PER_MINUTE;
        let new_followers =
            TokenBucket::with_interval(interval, NEW_FOLLOWER_BURST, Instant::now());
        let table = Table { addresses, ..Table::default() };
        Self {
            me,
            channels,
            meters: Meters::new(),
            changed: Notify::new(),
            table: Mutex::new(table),
            next_link: AtomicU64::new(0),
            max_followers,
            new_followers: Mutex::new(new_followers),
        }
    }

    /// Whether `key` may be connected now: known, not blocked, not banned.
    pub(super) fn permits(&self, key: &PublicKey) -> bool {
        let table = self.table.lock();
        table.peer(key).is_some() && !table.refusals.refuses(key, Instant::now())
    }

    /// Whether a connection of `key` is worth a handshake: it is permitted, or there is room for a
    /// follower more.
    pub(super) fn welcomes(&self, key: &PublicKey) -> bool {
        let table = self.table.lock();
        if *key == self.me || table.refusals.refuses(key, Instant::now()) {
            return false;
        }
        table.peer(key).is_some() || self.has_follower_room(&table)
    }

    fn has_follower_room(&self, table: &Table) -> bool {
        table.followers.len() < self.max_followers
            || self.max_followers > 0
                && table.followers.values().any(|follower| !follower.is_connected())
    }

    /// The peer behind a key that has finished its handshake; a stranger becomes a follower if there
    /// is room. The place of a follower that is away goes to the next one that comes.
    pub(super) fn admit(&self, key: &PublicKey, now: Instant) -> Option<Arc<Peer>> {
        let mut table = self.table.lock();
        if *key == self.me || table.refusals.refuses(key, now) {
            return None;
        }
        if let Some(peer) = table.peer(key) {
            return Some(peer.clone());
        }
        if !self.has_follower_room(&table) || self.new_followers.lock().take(now).is_err() {
            return None;
        }
        if table.followers.len() >= self.max_followers {
            let away = table.followers.iter().find(|(_, follower)| !follower.is_connected());
            let away = away.map(|(key, _)| key.clone())?;
            table.followers.remove(&away);
        }
        let peer = Arc::new(Peer::new(key.clone(), true, &self.channels, now));
        table.followers.insert(key.clone(), peer.clone());
        Some(peer)
    }

    /// Whether this node is the one to dial `key`. Among members the smaller key dials; a
    /// follower dials members; among followers the smaller key dials. Both sides derive the
    /// same answer from the same sets, so a pair has one connection.
    pub(super) fn dials(&self, key: &PublicKey) -> bool {
        dials(&self.table.lock(), &self.me, key)
    }

    pub(super) fn peer(&self, key: &PublicKey) -> Option<Arc<Peer>> {
        self.table.lock().peer(key).cloned()
    }

    /// All peers, followers among them.
    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        let table = self.table.lock();
        table.peers.values().chain(table.followers.values()).cloned().collect()
    }

    /// Those of `recipients` that get what is sent on a channel.
    pub(super) fn recipients(
        &self,
        channel: usize,
        recipients: Recipients<PublicKey>,
    ) -> Vec<Arc<Peer>> {
        let followers = self.channels[channel].spec.followers;
        let table = self.table.lock();
        let from_follower = !table.members.contains(&self.me);
        let hears = |peer: &&Arc<Peer>| match peer.follower {
            // A follower says only what it is heard with. Among themselves nothing is barred.
            false => !from_follower || followers.asks() || table.members.is_empty(),
            true => followers.listens() || followers.asks(),
        };
        match recipients {
            Recipients::All => table
                .peers
                .values()
                .chain(table.followers.values())
                .filter(|peer| !peer.follower || followers.listens())
                .filter(hears)
                .cloned()
                .collect(),
            Recipients::Some(keys) => {
                keys.iter().filter_map(|key| table.peer(key)).filter(hears).cloned().collect()
            }
            Recipients::One(key) => table.peer(&key).into_iter().filter(hears).cloned().collect(),
        }
    }

    pub(super) fn address(&self, key: &PublicKey) -> Option<String> {
        self.table.lock().addresses.get(key).cloned()
    }

    pub(super) fn set_address(&self, key: PublicKey, address: String) {
        let mut table = self.table.lock();
        if table.addresses.len() >= MAX_PEERS && !table.addresses.contains_key(&key) {
            tracing::warn!(target: "blindfold::transport", "address book is full");
            return;
        }
        table.addresses.insert(key, address);
    }

    /// Every peer this node should keep a link to by dialing.
    pub(super) fn to_dial(&self) -> Vec<Arc<Peer>> {
        let table = self.table.lock();
        let wanted =
            |key: &PublicKey| dials(&table, &self.me, key) && !table.refusals.is_blocked(key);
        table.peers.iter().filter(|(key, _)| wanted(key)).map(|(_, peer)| peer.clone()).collect()
    }

    /// Replaces the peer sets' newest entry; see [`Manager::track`](commonware_p2p::Manager).
    pub(super) fn track(&self, id: u64, tracked: TrackedPeers<PublicKey>) {
        let now = Instant::now();
        let mut table = self.table.lock();
        if table.sets.last_key_value().is_some_and(|(last, _)| id <= *last) {
            tracing::warn!(target: "blindfold::transport", id, "peer set is not newer than the last one");
            return;
        }
        let secondary = tracked.secondary.iter().filter(|k| tracked.primary.position(k).is_none());
        let secondary = Set::from_iter_dedup(secondary.cloned());
        let latest = TrackedPeers::new(tracked.primary, secondary);
        table.sets.insert(id, latest.clone());
        while table.sets.len() > MAX_TRACKED_SETS {
            table.sets.pop_first();
        }
        let all = table.all();
        let members: BTreeSet<PublicKey> = all.primary.iter().cloned().collect();
        // Members first, so that followers can never crowd one out of the bound.
        let keys = all.primary.iter().chain(all.secondary.iter()).filter(|key| **key != self.me);
        let keys: BTreeSet<PublicKey> = keys.take(MAX_PEERS).cloned().collect();
        let mut gone = Vec::new();
        // Who changes between member and follower starts anew, with the other's bounds.
        table.peers.retain(|key, peer| {
            let stays = keys.contains(key) && peer.follower != members.contains(key);
            if !stays {
                gone.push(peer.clone());
            }
            stays
        });
        for key in &keys {
            gone.extend(table.followers.remove(key));
            if !table.peers.contains_key(key) {
                let follower = !members.contains(key);
                let peer = Arc::new(Peer::new(key.clone(), follower, &self.channels, now));
                table.peers.insert(key.clone(), peer);
            }
        }
        table.members = members;
        table.refusals.track(&keys);
        table.refusals.forget_past(now);
        let update = PeerSetUpdate { index: id, latest, all };
        table.set_subscribers.retain(|subscriber| subscriber.send(update.clone()).is_ok());
        drop(table);
        gone.iter().for_each(|peer| peer.close(CloseCode::Untracked));
        self.changed.notify_one();
    }

    pub(super) fn peer_set(&self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.table.lock().sets.get(&id).cloned()
    }

    /// A subscription that starts with the newest set, if there is one.
    pub(super) fn subscribe(&self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = peer_channel::unbounded_channel();
        let mut table = self.table.lock();
        if let Some((index, latest)) = table.sets.last_key_value() {
            let update = PeerSetUpdate { index: *index, latest: latest.clone(), all: table.all() };
            // The receiver is in hand: this cannot fail.
            let _ = sender.send(update);
        }
        table.set_subscribers.push(sender);
        receiver
    }

    /// Blocks `key` until this process ends.
    pub(super) fn block(&self, key: PublicKey) {
        let mut table = self.table.lock();
        let peer = table.peer(&key).cloned();
        let tracked = table.peers.contains_key(&key);
        table.refusals.block(key, tracked);
        let blocked = table.refusals.blocked();
        table.block_subscribers.retain(|subscriber| subscriber.send_lossy(blocked.clone()));
        drop(table);
        if let Some(peer) = peer {
            peer.close(CloseCode::Blocked);
        }
        self.changed.notify_one();
    }

    pub(super) fn blocked(&self) -> ring::Receiver<Set<PublicKey>> {
        let (sender, receiver) = ring::channel(std::num::NonZeroUsize::MIN);
        let mut table = self.table.lock();
        sender.send_lossy(table.refusals.blocked());
        table.block_subscribers.push(sender);
        receiver
    }

    /// Refuses `key` for [`FAULT_BAN`](super::config::FAULT_BAN).
    pub(super) fn ban(&self, key: &PublicKey) {
        let now = Instant::now();
        let mut table = self.table.lock();
        if table.peer(key).is_some() {
            table.refusals.ban(key.clone(), now);
        }
    }

    /// Makes `connection` the peer's link; one that was there is closed, since only the holder
    /// of the key can have opened the new one. `None` if the peer is not permitted any more.
    pub(super) fn install(&self, peer: &Peer, connection: &Connection) -> Option<u64> {
        let id = self.next_link.fetch_add(1, Ordering::Relaxed);
        if let Some(old) = peer.link(id, connection) {
            old.close(CloseCode::Replaced.into(), CloseCode::Replaced.reason());
        } else {
            self.meters.connected.increment(1);
            self.meters.followers.increment(f64::from(u8::from(peer.follower)));
        }
        self.meters.links_opened.add(1);
        // Checked after the link is visible: `block` and `track` either see and close it, or
        // have already changed what `permits` says.
        if !self.permits(&peer.key) {
            connection.close(CloseCode::Refused.into(), CloseCode::Refused.reason());
            self.remove(peer, id);
            return None;
        }
        Some(id)
    }

    /// Forgets link `id`, unless a newer one has replaced it.
    pub(super) fn remove(&self, peer: &Peer, id: u64) {
        if peer.unlink(id) {
            self.meters.connected.decrement(1);
            self.meters.followers.decrement(f64::from(u8::from(peer.follower)));
        }
    }

    pub(super) fn stats(&self) -> TransportStats {
        let peers = self.peers();
        let connected = peers.iter().filter(|peer| peer.is_connected());
        TransportStats {
            connected: connected.clone().count(),
            followers: connected.filter(|peer| peer.follower).count(),
            links_opened: self.meters.links_opened.get(),
            dials_failed: self.meters.dials_failed.get(),
            handshakes_refused: self.meters.handshakes_refused.get(),
            faults: self.meters.faults.get(),
            oversize_sends: self.meters.oversize_sends.get(),
            wire_sent_bytes: self.meters.wire_sent_bytes.get(),
            wire_received_bytes: self.meters.wire_received_bytes.get(),
        }
    }
}

fn dials(table: &Table, me: &PublicKey, key: &PublicKey) -> bool {
    match (table.members.contains(me), table.members.contains(key)) {
        (true, false) => false,
        (false, true) => true,
        _ => me < key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Identity, config::MAX_BLOCKED_FOLLOWERS};

    fn key(seed: u8) -> PublicKey {
        Identity::from_seed([seed; 32]).expect("seed").public_key()
    }

    #[test]
    fn exactly_one_side_of_each_pair_dials() {
        let keys: Vec<_> = (1..=6).map(key).collect();
        for members in 0u32..64 {
            let is_member = |at: &usize| members & (1 << at) != 0;
            let members = (0..6).filter(is_member).map(|at| keys[at].clone()).collect();
            let table = Table { members, ..Table::default() };
            for a in &keys {
                for b in keys.iter().filter(|b| *b != a) {
                    assert_ne!(dials(&table, a, b), dials(&table, b, a));
                    let follower_side = table.members.contains(b) && !table.members.contains(a);
                    assert!(!follower_side || dials(&table, a, b), "followers dial members");
                }
            }
        }
    }

    #[test]
    fn tables_are_bounded_and_members_come_first() {
        let shared = Shared::new(key(0), Vec::new(), BTreeMap::new(), 0);
        // Many followers, few members: all keys below are distinct valid keys.
        let keys: Vec<PublicKey> = (0..MAX_PEERS + 8)
            .map(|at| {
                let mut seed = [1; 32];
                seed[..8].copy_from_slice(&(at as u64).to_be_bytes());
                Identity::from_seed(seed).expect("seed").public_key()
            })
            .collect();
        let (members, followers) = keys.split_at(4);
        let tracked = TrackedPeers::new(
            Set::from_iter_dedup(members.iter().cloned()),
            Set::from_iter_dedup(followers.iter().cloned()),
        );
        shared.track(0, tracked);
        assert_eq!(shared.peers().len(), MAX_PEERS);
        assert!(members.iter().all(|key| shared.permits(key)));
    }

    #[test]
    fn a_block_from_before_it_was_a_member_is_for_good() {
        let shared = Shared::new(key(0), Vec::new(), BTreeMap::new(), 1);
        shared.block(key(1));
        shared.track(0, Set::from_iter_dedup([key(1), key(2)]).into());
        let strangers = (0u64..).map(|number| {
            let mut seed = [1; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            Identity::from_seed(seed).expect("seed").public_key()
        });
        strangers.take(MAX_BLOCKED_FOLLOWERS + 1).for_each(|stranger| shared.block(stranger));
        assert!(!shared.permits(&key(1)) && shared.permits(&key(2)));
    }

    #[test]
    fn bans_end_with_their_peer() {
        let shared = Shared::new(key(0), Vec::new(), BTreeMap::new(), 0);
        shared.track(0, Set::from_iter_dedup([key(1), key(2)]).into());
        shared.ban(&key(1));
        shared.ban(&key(9));
        assert!(!shared.permits(&key(1)));
        assert!(shared.permits(&key(2)));
        assert!(!shared.permits(&key(9)), "never tracked");
        assert_eq!(shared.table.lock().refusals.bans(), 1, "strangers take no memory");
        shared.block(key(2));
        assert!(!shared.permits(&key(2)));
    }
}
