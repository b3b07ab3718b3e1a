//! Followers: who gets in, and what they hear and may say.

use super::*;

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
