//! Whole transports over loopback.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    Blocker as _, Manager as _, Provider as _, Receiver as _, Recipients, Sender as _, TrackedPeers,
};
use commonware_utils::ordered::Set;
use tokio::time::{sleep, timeout};

use super::*;

const GENESIS: [u8; 32] = [9; 32];
const PATIENCE: Duration = Duration::from_secs(10);

struct Node {
    transport: Transport,
    control: PeerControl,
    key: PublicKey,
    small: (Sender, Receiver),
    large: (Sender, Receiver),
}

fn key(seed: u8) -> PublicKey {
    Identity::from_seed([seed; 32]).expect("seed").public_key()
}

fn config(seed: u8, port: u16) -> TransportConfig {
    TransportConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        genesis_hash: GENESIS,
        identity: Identity::from_seed([seed; 32]).expect("seed"),
        addresses: BTreeMap::new(),
        max_followers: 0,
    }
}

fn small() -> ChannelSpec {
    ChannelSpec::small(0, "small")
}

fn large() -> ChannelSpec {
    ChannelSpec::large(7, "large", 4 << 20)
}

fn start(config: TransportConfig, specs: [ChannelSpec; 2]) -> Node {
    let key = config.identity.public_key();
    let (transport, [small, large]) = Transport::bind(config, specs).expect("bind");
    Node { control: transport.control(), transport, key, small, large }
}

impl Node {
    fn address(&self) -> String {
        self.transport.local_addr().expect("bound").to_string()
    }

    fn send_small(&mut self, to: &PublicKey, text: &str) -> bool {
        let message = Bytes::copy_from_slice(text.as_bytes());
        !self.small.0.send(Recipients::One(to.clone()), message, false).is_empty()
    }

    async fn recv_small(&mut self) -> (PublicKey, Bytes) {
        let received = timeout(PATIENCE, self.small.1.recv()).await.expect("in time");
        let (from, message) = received.expect("running");
        (from, message.into())
    }
}

/// Lets every node know and track all of them.
fn introduce(nodes: &mut [&mut Node]) {
    let book: Vec<_> = nodes.iter().map(|node| (node.key.clone(), node.address())).collect();
    let set = Set::from_iter_dedup(book.iter().map(|(key, _)| key.clone()));
    for node in nodes.iter_mut() {
        for (key, address) in &book {
            node.control.set_address(key.clone(), address.clone());
        }
        node.control.track(0, set.clone());
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(test);
}

/// Two connected nodes; the first has the smaller key, so it dials.
async fn pair() -> (Node, Node) {
    let (a, b) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
    let mut a = start(config(a, 0), [small(), large()]);
    let mut b = start(config(b, 0), [small(), large()]);
    introduce(&mut [&mut a, &mut b]);
    until("both connected", || {
        a.control.connected().len() == 1 && b.control.connected().len() == 1
    })
    .await;
    (a, b)
}

#[test]
fn everybody_hears_everybody_in_order() {
    run(async {
        let mut nodes: Vec<Node> =
            (1..=4).map(|seed| start(config(seed, 0), [small(), large()])).collect();
        introduce(&mut nodes.iter_mut().collect::<Vec<_>>());
        let keys: Vec<_> = nodes.iter().map(|node| node.key.clone()).collect();
        for node in &mut nodes {
            // Sent before any link is up: the outboxes hold them.
            for round in 0..3u8 {
                let message = Bytes::from(vec![round; 5]);
                let told = node.small.0.send(Recipients::All, message, false);
                assert_eq!(told.len(), 3);
            }
        }
        for node in &mut nodes {
            let mut rounds: BTreeMap<PublicKey, u8> = BTreeMap::new();
            for _ in 0..9 {
                let (from, message) = node.recv_small().await;
                assert!(keys.contains(&from) && from != node.key);
                let next = rounds.entry(from).or_default();
                assert_eq!(message.as_ref(), [*next; 5]);
                *next += 1;
            }
            assert!(rounds.values().all(|count| *count == 3));
            assert_eq!(node.control.stats().connected, 3);
        }
        // Two ends, one connection per pair.
        let links: u64 = nodes.iter().map(|node| node.control.stats().links_opened).sum();
        assert_eq!(links, 12);
        // A meter counts a message after it was handed on.
        let stats = || nodes[0].control.channel_stats(&keys[1], "small").expect("known");
        until("all counted", || stats().sent_bytes >= 15 && stats().received_bytes >= 15).await;
        let stats = stats();
        assert_eq!((stats.sent_messages, stats.sent_bytes), (3, 15));
        assert_eq!((stats.received_messages, stats.received_bytes), (3, 15));
    });
}

#[test]
fn unknown_dialer_is_refused() {
    run(async {
        let (low, high) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
        let mut stranger = start(config(low, 0), [small(), large()]);
        let mut listener = start(config(high, 0), [small(), large()]);
        stranger.control.set_address(listener.key.clone(), listener.address());
        let both = [stranger.key.clone(), listener.key.clone()];
        stranger.control.track(0, Set::from_iter_dedup(both));
        let only_third = Set::from_iter_dedup([key(3), listener.key.clone()]);
        listener.control.track(0, only_third);
        let listener_key = listener.key.clone();
        stranger.send_small(&listener_key, "let me in");
        until("refused twice", || listener.control.stats().handshakes_refused >= 2).await;
        assert_eq!(listener.control.stats().links_opened, 0);
        let heard = timeout(Duration::from_millis(200), listener.small.1.recv()).await;
        assert!(heard.is_err(), "a stranger was heard");
    });
}

#[test]
fn another_key_at_the_dialed_address_is_refused() {
    run(async {
        let mut seeds = [1, 2, 3];
        seeds.sort_by_key(|seed| key(*seed));
        let [dialer, expected, other] = seeds;
        let mut dialer = start(config(dialer, 0), [small(), large()]);
        let mut imposter = start(config(other, 0), [small(), large()]);
        let all = Set::from_iter_dedup(seeds.map(key));
        imposter.control.track(0, all.clone());
        // The dialer knows no address of the imposter itself.
        dialer.control.set_address(key(expected), imposter.address());
        dialer.control.track(0, all);
        until("dials fail", || dialer.control.stats().dials_failed >= 2).await;
        assert_eq!(dialer.control.stats().links_opened, 0);
        assert_eq!(imposter.control.stats().links_opened, 0);
    });
}

#[test]
fn chains_do_not_mix() {
    run(async {
        let mut a = start(config(1, 0), [small(), large()]);
        let other = TransportConfig { genesis_hash: [8; 32], ..config(2, 0) };
        let mut b = start(other, [small(), large()]);
        introduce(&mut [&mut a, &mut b]);
        let failed = || a.control.stats().dials_failed + b.control.stats().dials_failed;
        until("dials fail", || failed() >= 2).await;
        assert_eq!(a.control.stats().links_opened + b.control.stats().links_opened, 0);
    });
}

#[test]
fn either_side_may_restart() {
    run(async {
        let (mut dialer, listener) = pair().await;
        let (dialer_key, listener_key) = (dialer.key.clone(), listener.key.clone());
        let seed_of = |wanted: &PublicKey| if key(1) == *wanted { 1 } else { 2 };

        let port = listener.transport.local_addr().expect("bound").port();
        listener.transport.shutdown().await;
        until("port is free", || std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()).await;
        let mut listener = start(config(seed_of(&listener_key), port), [small(), large()]);
        listener.control.track(0, Set::from_iter_dedup([dialer_key.clone(), listener_key.clone()]));
        until("dialed again", || listener.control.stats().connected == 1).await;
        assert!(dialer.send_small(&listener_key, "hello again"));
        assert_eq!(listener.recv_small().await.1, "hello again");
        assert!(dialer.control.stats().links_opened >= 2);

        let address = listener.address();
        // A second start of the dialer, from another port.
        dialer.transport.tasks.abort_all();
        let mut again = start(config(seed_of(&dialer_key), 0), [small(), large()]);
        again.control.set_address(listener_key.clone(), address);
        again.control.track(0, Set::from_iter_dedup([dialer_key.clone(), listener_key]));
        until("the newest connection wins", || again.control.stats().connected == 1).await;
        until("listener knows", || listener.control.stats().links_opened == 2).await;
        assert!(listener.send_small(&dialer_key, "welcome back"));
        assert_eq!(again.recv_small().await.1, "welcome back");
    });
}

#[test]
fn a_stuck_large_channel_does_not_delay_a_small_one() {
    run(async {
        let (mut a, mut b) = pair().await;
        let b_key = b.key.clone();
        // Nobody reads b's large channel: flow control fills up, then a's outbox.
        let block = Bytes::from(vec![1u8; 4 << 20]);
        for _ in 0..40 {
            let _ = a.large.0.send(Recipients::One(b_key.clone()), block.clone(), false);
        }
        sleep(Duration::from_millis(300)).await;
        let begin = std::time::Instant::now();
        for vote in 0..100u32 {
            assert!(a.send_small(&b_key, &vote.to_string()));
            assert_eq!(b.recv_small().await.1, vote.to_string());
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(3), "100 votes took {took:?}");
        // What was accepted arrives whole once the consumer wakes up.
        let received = timeout(PATIENCE, b.large.1.recv()).await.expect("in time");
        let received: Bytes = received.expect("running").1.into();
        assert_eq!(received, block);
        let stats = a.control.channel_stats(&b_key, "large").expect("known");
        assert!(stats.outbox_dropped > 0, "40 blocks cannot have fitted: {stats:?}");
        // Datagrams carry more than the messages; both ends count them.
        let on_the_wire =
            || (a.control.stats().wire_sent_bytes, b.control.stats().wire_received_bytes);
        until("counted", || on_the_wire().0.min(on_the_wire().1) >= block.len() as u64).await;
    });
}

#[test]
fn a_blocked_peer_stays_out() {
    run(async {
        let (mut dialer, mut listener) = pair().await;
        let mut news = listener.control.blocked();
        assert_eq!(news.recv().await, Some(Set::default()));
        listener.control.block(dialer.key.clone());
        assert_eq!(news.recv().await, Some(Set::from_iter_dedup([dialer.key.clone()])));
        until("cut", || dialer.control.connected().is_empty()).await;
        until("refused", || listener.control.stats().handshakes_refused >= 2).await;
        assert_eq!(listener.control.stats().connected, 0);
        let listener_key = listener.key.clone();
        dialer.send_small(&listener_key, "please");
        assert!(timeout(Duration::from_millis(200), listener.small.1.recv()).await.is_err());
    });
}

#[test]
fn an_oversize_frame_ends_the_link() {
    run(async {
        let mut a = start(config(1, 0), [small(), large()]);
        let narrow = ChannelSpec { max_message_bytes: 100, ..small() };
        let mut b = start(config(2, 0), [narrow, large()]);
        introduce(&mut [&mut a, &mut b]);
        until("connected", || b.control.stats().connected == 1).await;
        let (a_key, b_key) = (a.key.clone(), b.key.clone());
        a.send_small(&b_key, &"x".repeat(100));
        assert_eq!(b.recv_small().await.1.len(), 100);
        a.send_small(&b_key, &"x".repeat(101));
        until("fault", || b.control.stats().faults == 1).await;
        until("cut", || a.control.connected().is_empty()).await;
        assert!(!b.control.0.permits(&a_key), "the offender is banned for a while");
        // One's own limit: nothing is sent, nothing panics.
        assert!(!b.send_small(&a_key, &"x".repeat(101)));
        assert_eq!(b.control.stats().oversize_sends, 1);
    });
}

#[test]
fn a_flood_is_dropped_then_cut() {
    run(async {
        let mut a = start(config(1, 0), [small(), large()]);
        let strict = ChannelSpec { quota: Quota { per_second: 1, burst: 2 }, ..small() };
        let mut b = start(config(2, 0), [strict, large()]);
        introduce(&mut [&mut a, &mut b]);
        until("connected", || a.control.stats().connected == 1).await;
        let (a_key, b_key) = (a.key.clone(), b.key.clone());
        for _ in 0..20 {
            a.send_small(&b_key, "vote");
        }
        let stats = || b.control.channel_stats(&a_key, "small").expect("known");
        until("all seen", || stats().received_messages + stats().quota_dropped == 20).await;
        // Burst 2, doubled by the receiver's slack.
        assert!((4..8).contains(&stats().received_messages), "{:?}", stats());
        assert_eq!(b.control.stats().faults, 0, "a short burst is forgiven");
        for _ in 0..200 {
            a.send_small(&b_key, "vote");
        }
        until("fault", || b.control.stats().faults == 1).await;
        assert!(!b.control.0.permits(&a_key));
    });
}

#[test]
fn senders_keep_to_their_quota() {
    run(async {
        let tight = ChannelSpec { quota: Quota { per_second: 1, burst: 3 }, ..small() };
        let mut a = start(config(1, 0), [tight.clone(), large()]);
        let mut b = start(config(2, 0), [tight, large()]);
        introduce(&mut [&mut a, &mut b]);
        let b_key = b.key.clone();
        let sent = (0..10).filter(|_| a.send_small(&b_key, "vote")).count();
        assert_eq!(sent, 3);
        use commonware_p2p::LimitedSender as _;
        let refused = a.small.0.check(Recipients::One(b_key)).expect_err("over quota");
        assert!(refused > std::time::SystemTime::now());
    });
}

#[test]
fn a_channel_the_peer_lacks_costs_only_itself() {
    run(async {
        let mut a = start(config(1, 0), [small(), large()]);
        let other = ChannelSpec { id: 8, ..large() };
        let mut b = start(config(2, 0), [small(), other]);
        introduce(&mut [&mut a, &mut b]);
        let b_key = b.key.clone();
        let _ = a.large.0.send(Recipients::All, Bytes::from_static(b"block"), false);
        a.send_small(&b_key, "vote");
        assert_eq!(b.recv_small().await.1, "vote");
        sleep(Duration::from_millis(100)).await;
        let _ = a.large.0.send(Recipients::All, Bytes::from_static(b"block"), false);
        a.send_small(&b_key, "vote");
        assert_eq!(b.recv_small().await.1, "vote");
        assert_eq!(b.control.stats().faults + a.control.stats().faults, 0);
        assert_eq!(a.control.stats().links_opened, 1);
    });
}

#[test]
fn leaving_the_peer_set_cuts_the_link() {
    run(async {
        let (mut a, mut b) = pair().await;
        let mut updates = a.control.subscribe().await;
        let first = updates.recv().await.expect("the current set comes first");
        assert_eq!(first.index, 0);
        let b_key = b.key.clone();
        for id in 1..=config::MAX_TRACKED_SETS as u64 {
            a.control.track(id, Set::from_iter_dedup([a.key.clone()]));
        }
        until("cut", || a.control.connected().is_empty() && b.control.connected().is_empty()).await;
        assert!(a.control.peer_set(0).await.is_none());
        assert!(!a.send_small(&b_key, "gone"));
        let mut last = first;
        while let Ok(update) = updates.try_recv() {
            assert_eq!(update.index, last.index + 1);
            last = update;
        }
        assert_eq!(last.all.primary, Set::from_iter_dedup([a.key.clone()]));
        // An old id changes nothing.
        a.control.track(2, Set::from_iter_dedup([a.key.clone(), b_key.clone()]));
        assert!(!a.control.0.permits(&b_key));
        // Back in a newer set: linked again.
        a.control.track(9, Set::from_iter_dedup([a.key.clone(), b_key.clone()]));
        until("linked", || b.control.connected().len() == 1).await;
        let a_key = a.key.clone();
        b.send_small(&a_key, "back");
        assert_eq!(a.recv_small().await.1, "back");
    });
}

#[test]
fn a_follower_dials_members_whatever_its_key() {
    run(async {
        for (member, follower) in [(1, 2), (2, 1)] {
            let mut member = start(config(member, 0), [small(), large()]);
            let mut follower = start(config(follower, 0), [small(), large()]);
            let peers = TrackedPeers::new(
                Set::from_iter_dedup([member.key.clone()]),
                Set::from_iter_dedup([follower.key.clone()]),
            );
            follower.control.set_address(member.key.clone(), member.address());
            member.control.track(0, peers.clone());
            follower.control.track(0, peers);
            let follower_key = follower.key.clone();
            assert!(member.send_small(&follower_key, "block 1"));
            assert_eq!(follower.recv_small().await.1, "block 1");
        }
    });
}

/// A member with room for `max_followers`, and strangers that know it.
fn member_and_strangers<const N: usize>(max_followers: usize) -> (Node, [Node; N]) {
    let specs = || {
        let listens = small().for_followers(FollowerUse::Listens);
        [listens, large().for_followers(FollowerUse::Asks)]
    };
    let mut member = start(TransportConfig { max_followers, ..config(9, 0) }, specs());
    let set = Set::from_iter_dedup([member.key.clone()]);
    member.control.track(0, set.clone());
    let strangers = std::array::from_fn(|at| {
        let mut stranger = start(config(20 + at as u8, 0), specs());
        stranger.control.set_address(member.key.clone(), member.address());
        stranger.control.track(0, set.clone());
        stranger
    });
    (member, strangers)
}

#[test]
fn strangers_may_follow_while_there_is_room() {
    run(async {
        let (member, strangers) = member_and_strangers::<3>(2);
        until("two follow", || member.control.stats().followers == 2).await;
        let refused = || member.control.stats().handshakes_refused > 0;
        until("the third is refused", refused).await;
        assert!(member.control.connected_members().is_empty(), "a follower is no member");
        // A place that becomes free goes to the one that waits.
        let connected = |node: &Node| node.control.stats().connected == 1;
        let (leaving, staying): (Vec<_>, Vec<_>) = strangers.into_iter().partition(connected);
        assert_eq!((leaving.len(), staying.len()), (2, 1));
        drop(leaving);
        until("the third follows", || connected(&staying[0])).await;
    });
}

#[test]
fn a_member_without_room_refuses_strangers() {
    run(async {
        let (member, _strangers) = member_and_strangers::<1>(0);
        until("refused", || member.control.stats().handshakes_refused >= 2).await;
        assert_eq!(member.control.stats().connected, 0);
    });
}

#[test]
fn followers_hear_and_ask_only_where_they_may() {
    run(async {
        let (mut member, [mut follower]) = member_and_strangers::<1>(1);
        until("linked", || follower.control.stats().connected == 1).await;
        let (member_key, follower_key) = (member.key.clone(), follower.key.clone());
        // The small channel is for listening.
        assert!(!follower.send_small(&member_key, "a vote"), "not even tried");
        let told = member.small.0.send(Recipients::All, Bytes::from_static(b"news"), false);
        assert_eq!(told, std::slice::from_ref(&follower_key));
        assert_eq!(follower.recv_small().await.1, "news");
        // The large one is for questions.
        let asked = follower.large.0.send(Recipients::All, Bytes::from_static(b"what?"), false);
        assert_eq!(asked, [member_key]);
        let (from, question) = member.large.1.recv().await.expect("running");
        assert_eq!((from, Bytes::from(question)), (follower_key.clone(), Bytes::from("what?")));
        let all = member.large.0.send(Recipients::All, Bytes::from_static(b"not for it"), false);
        assert!(all.is_empty());
        let answer = Recipients::One(follower_key.clone());
        member.large.0.send(answer, Bytes::from_static(b"that"), false);
        let (_, answer) = follower.large.1.recv().await.expect("running");
        assert_eq!(Bytes::from(answer), "that");
        // One that breaks a protocol stays out like any other peer.
        member.control.block(follower_key);
        until("cut off", || member.control.stats().connected == 0).await;
        let refused = member.control.stats().handshakes_refused;
        until("stays out", || member.control.stats().handshakes_refused > refused).await;
    });
}

/// A listening node, and a peer it knows that speaks bare QUIC.
async fn raw_peer() -> (Node, Endpoint, quinn::Connection) {
    let (low, high) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
    let mut listener = start(config(high, 0), [small(), large()]);
    listener.control.track(0, Set::from_iter_dedup([key(low), key(high)]));
    let target = listener.transport.local_addr().expect("bound");
    let (raw, connection) = dial_raw(low, high, target).await;
    (listener, raw, connection)
}

/// Dials `target`, which has the key of seed `high`, as the peer of seed `low`.
async fn dial_raw(low: u8, high: u8, target: SocketAddr) -> (Endpoint, quinn::Connection) {
    let identity = Identity::from_seed([low; 32]).expect("seed");
    let crypto = tls::client_crypto(&identity, &GENESIS, key(high)).expect("crypto");
    let raw = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let client = quinn::ClientConfig::new(Arc::new(crypto));
    let dialed = raw.connect_with(client, target, tls::SERVER_NAME).expect("config");
    (raw, dialed.await.expect("a known key may connect"))
}

async fn closed_for_a_fault(connection: &quinn::Connection) {
    let closed = timeout(PATIENCE, connection.closed()).await.expect("closed");
    let expected = quinn::VarInt::from(CloseCode::Fault);
    assert!(
        matches!(&closed, quinn::ConnectionError::ApplicationClosed(close)
            if close.error_code == expected),
        "{closed:?}"
    );
}

/// A crash says no farewell. The next run answers what is sent to the one before with a reset, so the
/// peer need not wait until its link has been silent for long.
#[test]
fn a_restart_after_a_crash_is_told_at_once() {
    let crashing = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("runtime");
    run(async move {
        let (low, high) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
        let listen = move |port| {
            let listener = start(config(high, port), [small(), large()]);
            let mut control = listener.control.clone();
            control.track(0, Set::from_iter_dedup([key(low), key(high)]));
            listener
        };
        let listener = crashing.spawn(async move { listen(0) }).await.expect("started");
        let target = listener.transport.local_addr().expect("bound");
        let (_raw, connection) = dial_raw(low, high, target).await;
        // All tasks are dropped where they are, so that nobody is left to say farewell.
        let crash = std::thread::spawn(move || crashing.shutdown_timeout(PATIENCE));
        crash.join().expect("crashed");
        drop(listener);
        until("the port is free", || std::net::UdpSocket::bind(target).is_ok()).await;

        let _again = listen(target.port());
        let mut stream = connection.open_uni().await.expect("credit");
        let _ = stream.write_all(&[0; 64]).await;
        let closed = timeout(PATIENCE, connection.closed()).await.expect("closed");
        assert!(matches!(closed, quinn::ConnectionError::Reset), "{closed:?}");
    });
}

#[test]
fn a_second_stream_for_a_channel_is_a_fault() {
    run(async {
        let (listener, _raw, connection) = raw_peer().await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = connection.open_uni().await.expect("credit");
            stream.write_all(&0u64.to_be_bytes()).await.expect("open");
            streams.push(stream);
        }
        closed_for_a_fault(&connection).await;
        assert_eq!(listener.control.stats().faults, 1);
    });
}

#[test]
fn a_stream_that_never_names_its_channel_is_a_fault() {
    run(async {
        let (listener, _raw, connection) = raw_peer().await;
        let mut stream = connection.open_uni().await.expect("credit");
        stream.write_all(&[0]).await.expect("open");
        closed_for_a_fault(&connection).await;
        assert_eq!(listener.control.stats().faults, 1);
    });
}

#[test]
fn bad_channels_are_refused_at_start() {
    run(async {
        assert!(matches!(Transport::bind(config(1, 0), []), Err(TransportError::Config(_))));
        let refused = |specs: [ChannelSpec; 2]| {
            matches!(Transport::bind(config(1, 0), specs), Err(TransportError::Channel { .. }))
        };
        assert!(refused([small(), ChannelSpec { id: 0, ..large() }]));
        assert!(refused([small(), ChannelSpec { name: "small", ..large() }]));
        assert!(refused([small(), ChannelSpec { max_message_bytes: 0, ..large() }]));
        assert!(refused([small(), ChannelSpec { outbox_bytes: 1, ..large() }]));
    });
    assert!(matches!(Transport::bind(config(1, 0), [small()]), Err(TransportError::NoRuntime)));
}

/// First packets of handshakes that nobody goes on with, as from a spoofed address.
#[test]
fn a_flood_of_unfinished_handshakes_keeps_no_peer_out() {
    run(async {
        const FLOOD: usize = 300;
        let (low, high) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
        let mut listener = start(config(high, 0), [small(), large()]);
        let both = [key(low), key(high)];
        listener.control.track(0, Set::from_iter_dedup(both.clone()));
        let target = listener.transport.local_addr().expect("bound");

        let raw = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let stranger = Identity::from_seed([77; 32]).expect("seed");
        let crypto = tls::client_crypto(&stranger, &GENESIS, key(high)).expect("crypto");
        let client = quinn::ClientConfig::new(Arc::new(crypto));
        // It dials a socket that only passes the first packet on.
        let spoofed = tokio::net::UdpSocket::bind("127.0.0.2:0").await.expect("bind");
        let aside = spoofed.local_addr().expect("bound");
        let mut packet = [0; 2_048];
        let (mut sent, mut unfinished) = (0, Vec::new());
        while sent < FLOOD {
            let dialed = raw.connect_with(client.clone(), aside, tls::SERVER_NAME).expect("config");
            let (length, from) = spoofed.recv_from(&mut packet).await.expect("a packet");
            if from.ip() == target.ip() && from != target {
                spoofed.send_to(&packet[..length], target).await.expect("sent");
                sent += 1;
            }
            // Kept, or it would say farewell and free its place.
            unfinished.push(dialed);
        }

        let mut peer = start(config(low, 0), [small(), large()]);
        peer.control.set_address(key(high), listener.address());
        peer.control.track(0, Set::from_iter_dedup(both));
        until("a peer gets in", || {
            peer.control.connected().len() == 1 && listener.control.connected().len() == 1
        })
        .await;
        assert!(peer.send_small(&key(high), "through"));
        assert_eq!(listener.recv_small().await.1, "through");
        // They cost their places for a moment, and nothing after.
        until("the unfinished are given up", || {
            listener.control.stats().handshakes_refused as usize >= config::RETRY_HANDSHAKES
        })
        .await;
        assert_eq!(listener.control.stats().links_opened, 1);
    });
}
