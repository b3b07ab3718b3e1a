//! A network that delivers late, twice, and again long after.
//!
//! Links keep the order of what is put on them, so all of it happens before: a copy, or the message
//! itself, waits a while and is put on its link then, behind what was sent in between. Old messages come
//! back too, also those of a member's life before a crash. Only between the same two members: TLS lets
//! nobody replay what another sent.

use crate::tap::Link;
use blindfold_ordering::engine::Identity;
use commonware_p2p::{Recipients, Sender as _};
use commonware_runtime::{
    Clock as _, IoBuf, Spawner as _, Supervisor as _, deterministic::Context,
};
use commonware_utils::sync::Mutex;
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, UNIX_EPOCH},
};

/// Messages kept of each member and channel.
const KEPT: usize = 32;
/// Of a hundred messages so many are delivered late.
const LATE_PERCENT: u32 = 10;
/// Of a hundred messages so many are delivered twice.
const TWICE_PERCENT: u32 = 10;
/// With so many of a hundred messages an old one comes along.
const OLD_PERCENT: u32 = 10;
/// How late a message may be, in milliseconds.
const LATE_MS: u64 = 300;
/// How late its copy may be, in milliseconds.
const COPY_MS: u64 = 1_500;

/// Messages of one member on one channel, with those they were for.
type Kept = VecDeque<(Vec<Identity>, IoBuf)>;

struct State {
    random: StdRng,
    /// By member and channel.
    kept: BTreeMap<(usize, u64), Kept>,
}

/// The network's moods.
pub struct Storm {
    context: Context,
    until_ms: u64,
    state: Mutex<State>,
}

impl Storm {
    /// A storm that ends `until_ms` after the start.
    pub fn new(context: Context, random: StdRng, until_ms: u64) -> Self {
        Self { context, until_ms, state: Mutex::new(State { random, kept: BTreeMap::new() }) }
    }

    /// A message is put on its links. Whether it is delivered in its turn.
    pub fn passes(
        &self,
        (member, channel): (usize, u64),
        link: &Link,
        to: &[Identity],
        message: &IoBuf,
    ) -> bool {
        let since = self.context.current().duration_since(UNIX_EPOCH).unwrap_or_default();
        if since >= Duration::from_millis(self.until_ms) {
            return true;
        }
        let mut state = self.state.lock();
        let State { random, kept } = &mut *state;
        let kept = kept.entry((member, channel)).or_default();
        if !kept.is_empty() && random.random_range(0..100) < OLD_PERCENT {
            let at = random.random_range(0..kept.len());
            let (to, message) = kept[at].clone();
            self.deliver_later(link, to, message, random.random_range(0..LATE_MS));
        }
        if kept.len() == KEPT {
            let at = random.random_range(0..KEPT);
            kept.remove(at);
        }
        kept.push_back((to.to_vec(), message.clone()));
        if random.random_range(0..100) < TWICE_PERCENT {
            let wait_ms = random.random_range(0..COPY_MS);
            self.deliver_later(link, to.to_vec(), message.clone(), wait_ms);
        }
        let late = random.random_range(0..100) < LATE_PERCENT;
        if late {
            let wait_ms = random.random_range(0..LATE_MS);
            self.deliver_later(link, to.to_vec(), message.clone(), wait_ms);
        }
        !late
    }

    fn deliver_later(&self, link: &Link, to: Vec<Identity>, message: IoBuf, wait_ms: u64) {
        let mut link = link.clone();
        self.context.child("late").spawn(move |context| async move {
            context.sleep(Duration::from_millis(wait_ms)).await;
            link.send(Recipients::Some(to), message, true);
        });
    }
}
