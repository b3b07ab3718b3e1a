//! A member that sends what others sent, in its own name.

use super::Mischief;
use blindfold_ordering::engine::channels;
use commonware_p2p::Recipients;
use commonware_runtime::IoBuf;
use rand::RngExt as _;
use std::collections::VecDeque;

/// Messages kept.
const KEPT: usize = 64;
/// For so long it leaves others' votes alone, in milliseconds: they cost it its peers.
const VOTES_AFTER_MS: u64 = 2_500;

/// What it received.
#[derive(Default)]
pub(super) struct Memory(VecDeque<(u64, IoBuf)>);

impl Mischief {
    pub(super) fn remember(&mut self, channel: u64, message: &IoBuf) {
        if self.replayer.0.len() == KEPT {
            // Not the oldest each time, so that some stay for long.
            let at = self.random.random_range(0..KEPT);
            self.replayer.0.remove(at);
        }
        self.replayer.0.push_back((channel, message.clone()));
    }

    /// Sends one of the messages it kept, on the channel that it came from.
    pub(super) fn replay(&mut self, at_ms: u64) {
        if self.replayer.0.is_empty() || self.random.random_range(0..4) > 0 {
            return;
        }
        let at = self.random.random_range(0..self.replayer.0.len());
        let (channel, message) = self.replayer.0[at].clone();
        if channel == channels::VOTES && at_ms < VOTES_AFTER_MS {
            return;
        }
        self.deeds += 1;
        self.send(channel, Recipients::All, message);
    }
}
