//! Who is linked with whom, and what a link carries.

use super::*;

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
