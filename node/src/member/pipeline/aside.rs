//! What peers ask for and accuse others of, dealt with beside the loop: the loop decides what to answer, a thread of
//! its own reads, encodes and sends it, and verifies evidence.
//!
//! ```text
//!  loop ─▶ Requests: places per member, places of all followers ─▶ thread ─▶ quota? ─▶ read ─▶ send
//!              │ no place: dropped                               │      │ none, or its outbox is full: dropped
//!                                                                └─▶ evidence ─▶ kept, or its sender blocked
//! ```
//!
//! What is dropped is counted; the asker asks another member, or again. Members go first. Nothing is read for a
//! peer that nothing can be sent to. Evidence that is dropped is told by others, too: all who see an offence
//! tell all.

use crate::{
    member::{
        MemberError, Shared,
        asking::ASKED_PER_PEER,
        messages::{MAX_HINT_BYTES, ShareMessage},
        records::Records,
        unix_ms,
    },
    metrics,
};
use blindfold_ordering::engine::Identity;
use blindfold_wire::{bundle::ShareBundle, evidence::Evidence};
use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{Blocker, CheckedSender as _, Recipients, Sender};
use commonware_runtime::Clock;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{error, warn};

/// Requests of one member that wait: twice what an honest one asks for at a time.
const MEMBER_PLACES: usize = 2 * ASKED_PER_PEER;
/// Requests of all followers together that wait.
const FOLLOWER_PLACES: usize = 4 * ASKED_PER_PEER;
/// How long a peer is answered nothing after an answer did not fit its outbox, in milliseconds. What was read
/// for it meanwhile would only push out what was read before.
const FULL_MS: u64 = 500;

/// What is to be done for a peer.
#[derive(Debug)]
pub(super) enum Asked {
    /// Send the stored openings of a height, and what it accessed.
    Openings(u64),
    /// Send our shares.
    Bundle(Arc<ShareBundle>),
    /// Verify this, and keep it.
    Evidence(Box<Evidence>),
}

#[derive(Debug)]
struct Request {
    peer: Identity,
    asked: Asked,
    /// Free again once this is dealt with.
    _place: OwnedSemaphorePermit,
}

/// The loop's end.
#[derive(Debug)]
pub struct Requests {
    /// By number of the member; the last are the followers'.
    places: Vec<Arc<Semaphore>>,
    of_members: mpsc::Sender<Request>,
    of_followers: mpsc::Sender<Request>,
}

/// The thread's end.
#[derive(Debug)]
pub struct Waiting {
    of_members: mpsc::Receiver<Request>,
    of_followers: mpsc::Receiver<Request>,
}

impl Requests {
    /// Places for `members` other members, and for the followers.
    pub fn new(members: usize) -> (Self, Waiting) {
        // As long as all places together, so that a request with a place always fits.
        let (of_members, members_waiting) = mpsc::channel((members * MEMBER_PLACES).max(1));
        let (of_followers, followers_waiting) = mpsc::channel(FOLLOWER_PLACES);
        let mut places = vec![MEMBER_PLACES; members];
        places.push(FOLLOWER_PLACES);
        let places = places.into_iter().map(|count| Arc::new(Semaphore::new(count))).collect();
        let waiting = Waiting { of_members: members_waiting, of_followers: followers_waiting };
        (Self { places, of_members, of_followers }, waiting)
    }

    /// Has `asked` done for a peer: member `number`, or a follower. False if it has no place left.
    pub(super) fn put(&self, peer: Identity, number: Option<usize>, asked: Asked) -> bool {
        let queue = if number.is_some() { &self.of_members } else { &self.of_followers };
        let places = number.map_or_else(|| self.places.last(), |number| self.places.get(number));
        places
            .and_then(|places| Arc::clone(places).try_acquire_owned().ok())
            .is_some_and(|place| queue.try_send(Request { peer, asked, _place: place }).is_ok())
    }
}

impl Waiting {
    async fn next(&mut self) -> Option<Request> {
        commonware_macros::select! {
            request = self.of_members.recv() => request,
            request = self.of_followers.recv() => request,
        }
    }
}

/// Deals with requests until the loop is gone or the database fails.
pub async fn serve<E, X, B>(
    context: E,
    shared: Arc<Shared>,
    (sender, mut blocker): (X, B),
    mut waiting: Waiting,
) where
    E: Clock,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    let mut answers = Answers::new(sender);
    while let Some(Request { peer, asked, _place }) = waiting.next().await {
        let read = |height, with_list| Stored::read(&shared.records, height, with_list);
        let now_ms = unix_ms(context.current());
        let answered = match asked {
            Asked::Openings(height) => answers.openings(peer, height, now_ms, read),
            Asked::Bundle(bundle) => answers.bundle(peer, &bundle, now_ms),
            Asked::Evidence(evidence) => {
                if !shared.keep_evidence(&evidence) {
                    warn!(target: "blindfold::committee", %peer, "false evidence; blocking the peer");
                    blocker.block(peer);
                }
                Ok(())
            }
        };
        if let Err(reason) = answered {
            error!(target: "blindfold::committee", %reason, "peers are not answered any more");
            return shared.fail(reason.to_string());
        }
    }
}

/// What is stored of an opened height, encoded.
struct Stored {
    openings: Vec<u8>,
    /// What it accessed, if that was wanted, is known and can be sent.
    list: Option<Vec<u8>>,
}

impl Stored {
    fn read(records: &Records, height: u64, with_list: bool) -> Result<Option<Self>, MemberError> {
        let Some(openings) = records.opening_bytes(height)? else { return Ok(None) };
        let list = if with_list { records.access_list_bytes(height)? } else { None };
        Ok(Some(Self { openings, list: list.filter(|list| list.len() <= MAX_HINT_BYTES) }))
    }
}

/// Answers peers, as far as they can be sent anything.
struct Answers<X> {
    sender: X,
    /// Peers whose outbox was full, and until when they are answered nothing.
    full_until_ms: BTreeMap<Identity, u64>,
}

impl<X: Sender<PublicKey = Identity>> Answers<X> {
    const fn new(sender: X) -> Self {
        Self { sender, full_until_ms: BTreeMap::new() }
    }

    /// Sends `peer` what is stored of a height. `read` is asked for it, with or without what it accessed.
    fn openings(
        &mut self,
        peer: Identity,
        height: u64,
        now_ms: u64,
        read: impl FnOnce(u64, bool) -> Result<Option<Stored>, MemberError>,
    ) -> Result<(), MemberError> {
        let to = Recipients::One(peer.clone());
        self.send(peer, now_ms, |sender| {
            let hint = sender.check(to).ok();
            let Some(Stored { openings, list }) = read(height, hint.is_some())? else {
                return Ok(None);
            };
            // Before the openings, so that it is there when they are.
            if let Some((hint, list)) = hint.zip(list) {
                let list = ShareMessage::AccessList { height, list: list.into() };
                hint.send(list.encode(), false);
            }
            Ok(Some(ShareMessage::openings(&openings)))
        })
    }

    /// Sends `peer` our shares.
    fn bundle(
        &mut self,
        peer: Identity,
        bundle: &ShareBundle,
        now_ms: u64,
    ) -> Result<(), MemberError> {
        self.send(peer, now_ms, |_| Ok(Some(ShareMessage::Bundle(bundle.clone()).encode())))
    }

    /// Sends `peer` a message, which is made only if it can be sent. `message` may send others before.
    fn send(
        &mut self,
        peer: Identity,
        now_ms: u64,
        message: impl FnOnce(&mut X) -> Result<Option<Vec<u8>>, MemberError>,
    ) -> Result<(), MemberError> {
        self.full_until_ms.retain(|_, until_ms| *until_ms > now_ms);
        if self.full_until_ms.contains_key(&peer) {
            metrics::request_dropped("outbox");
            return Ok(());
        }
        let mut before = self.sender.clone();
        let passed = self.sender.check(Recipients::One(peer.clone()));
        let Some(passed) = passed.ok().filter(|passed| !passed.recipients().is_empty()) else {
            metrics::request_dropped("quota");
            return Ok(());
        };
        if let Some(message) = message(&mut before)?
            && passed.send(message, false) == Unreliable::new(Feedback::Backoff)
        {
            self.full_until_ms.insert(peer, now_ms.saturating_add(FULL_MS));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_ordering::engine::parse_identity;
    use commonware_p2p::{CheckedSender, LimitedSender};
    use commonware_runtime::IoBufs;
    use parking_lot::Mutex;
    use std::time::SystemTime;

    /// A way to peers with room for so many messages.
    #[derive(Clone, Default)]
    struct Wire(Arc<Mutex<WireState>>);

    #[derive(Default)]
    struct WireState {
        quota: usize,
        outbox_full: bool,
        sent: Vec<Vec<u8>>,
    }

    struct Passed<'a>(&'a Wire);

    impl LimitedSender for Wire {
        type PublicKey = Identity;
        type Checked<'a> = Passed<'a>;

        fn check(&mut self, _: Recipients<Identity>) -> Result<Passed<'_>, SystemTime> {
            let mut state = self.0.lock();
            state.quota = state.quota.checked_sub(1).ok_or(SystemTime::UNIX_EPOCH)?;
            drop(state);
            Ok(Passed(self))
        }
    }

    impl CheckedSender for Passed<'_> {
        type PublicKey = Identity;

        fn recipients(&self) -> Vec<Identity> {
            vec![peer(1)]
        }

        fn send(self, message: impl Into<IoBufs> + Send, _: bool) -> Unreliable<Feedback> {
            let mut state = self.0.0.lock();
            state.sent.push(message.into().coalesce().as_ref().to_vec());
            Unreliable::new(if state.outbox_full { Feedback::Backoff } else { Feedback::Ok })
        }
    }

    fn peer(seed: u8) -> Identity {
        let public = blindfold_committee::setup::identity_public_key(&[seed; 32]);
        parse_identity(&public).expect("a key")
    }

    /// Asks for height 7 at a time; whether anything was read for it.
    fn reads(answers: &mut Answers<Wire>, seed: u8, now_ms: u64) -> bool {
        let mut was_read = false;
        let read = |height, with_list: bool| {
            was_read = true;
            assert_eq!(height, 7);
            let list = with_list.then(|| vec![8; 3]);
            Ok(Some(Stored { openings: vec![9; 5], list }))
        };
        answers.openings(peer(seed), 7, now_ms, read).expect("answered");
        was_read
    }

    #[test]
    fn nothing_is_read_for_whom_nothing_can_be_sent() {
        let wire = Wire::default();
        let mut answers = Answers::new(wire.clone());
        assert!(!reads(&mut answers, 1, 0), "no quota");
        wire.0.lock().quota = 1;
        assert!(reads(&mut answers, 1, 0));
        wire.0.lock().quota = 2;
        assert!(reads(&mut answers, 1, 0));
        let openings = ShareMessage::openings(&[9; 5]);
        let list = ShareMessage::AccessList { height: 7, list: vec![8; 3].into() }.encode();
        assert_eq!(wire.0.lock().sent, [openings.clone(), list, openings], "the hint comes first");
    }

    #[test]
    fn a_full_outbox_is_left_alone_for_a_while() {
        let wire = Wire::default();
        (wire.0.lock().quota, wire.0.lock().outbox_full) = (100, true);
        let mut answers = Answers::new(wire.clone());
        assert!(reads(&mut answers, 1, 0));
        assert!(!reads(&mut answers, 1, FULL_MS - 1));
        assert!(reads(&mut answers, 2, 1), "another one's has room");
        wire.0.lock().outbox_full = false;
        assert!(reads(&mut answers, 1, FULL_MS) && reads(&mut answers, 1, FULL_MS));
    }

    #[test]
    fn each_member_has_its_places_and_followers_share_theirs() {
        let (requests, mut waiting) = Requests::new(2);
        let put = |seed, number| requests.put(peer(seed), number, Asked::Openings(7));
        for at in 0..FOLLOWER_PLACES {
            assert!(put(10 + (at % 2) as u8, None));
        }
        assert!(!put(12, None), "followers share their places");
        for _ in 0..MEMBER_PLACES {
            assert!(put(1, Some(0)));
        }
        assert!(!put(1, Some(0)) && put(2, Some(1)), "one takes nothing from another");
        assert!(!put(3, Some(9)), "there is no such member");
        let first = waiting.of_followers.try_recv().expect("the first");
        assert!(!put(12, None), "it is being dealt with");
        drop(first);
        assert!(put(12, None));
    }
}
