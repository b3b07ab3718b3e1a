//! Peers that break the rules, and what it costs them.

use super::*;

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

/// A listening node, and a peer it knows that speaks bare QUIC.
async fn raw_peer() -> (Node, Endpoint, quinn::Connection) {
    let (low, high) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
    let mut listener = start(config(high, 0), [small(), large()]);
    listener.control.track(0, Set::from_iter_dedup([key(low), key(high)]));
    let target = listener.transport.local_addr().expect("bound");
    let (raw, connection) = dial_raw(low, high, target).await;
    (listener, raw, connection)
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
