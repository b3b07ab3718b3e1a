//! Challenges on L1 that nobody has answered, as far as this node has looked.
//!
//! Nothing of it is stored. What is final is read once by each process, beginning one challenge window before the
//! newest final block that it knows; what is newer is read again at each look, because a reorg may take it away.
//! So after a crash, or on another machine, the same challenges are open.

use blindfold_settlement::reveal::{Asked, OpenChallenge};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use tracing::error;

/// Challenges that are kept. Each costs its challenger a bond, so this is a lot of money.
const MAX_OPEN: usize = 65_536;

/// What L1 says about a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeEvent {
    /// Somebody asked.
    Asked(OpenChallenge),
    /// It was answered, or cost the poster its stake.
    Ended(Asked),
}

/// The open challenges.
#[derive(Debug, Default)]
pub struct Challenges {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Deadlines of what is open as of the newest final block, in seconds of L1's time.
    settled: BTreeMap<Asked, u64>,
    /// What newer blocks say, in their order.
    newer: Vec<ChallengeEvent>,
}

impl Challenges {
    /// Takes over what final blocks say, in their order. Saying it again does no harm.
    pub fn settle(&self, events: &[ChallengeEvent]) {
        apply(&mut self.known.write().settled, events);
    }

    /// Replaces what is known of blocks that are not final. `final_s` is the time of the newest final block, in
    /// seconds: a challenge whose deadline is before it can never be answered.
    pub fn see(&self, events: Vec<ChallengeEvent>, final_s: u64) {
        let mut known = self.known.write();
        known.settled.retain(|_, deadline_s| *deadline_s >= final_s);
        known.newer = events;
        known.newer.truncate(MAX_OPEN);
    }

    /// What is open in the newest block that was looked at.
    pub fn open(&self) -> Vec<OpenChallenge> {
        let known = self.known.read();
        let mut open = known.settled.clone();
        apply(&mut open, &known.newer);
        open.into_iter().map(|(asked, deadline_s)| OpenChallenge { asked, deadline_s }).collect()
    }
}

fn apply(open: &mut BTreeMap<Asked, u64>, events: &[ChallengeEvent]) {
    for event in events {
        match event {
            ChallengeEvent::Asked(OpenChallenge { asked, deadline_s }) => {
                if open.len() >= MAX_OPEN && !open.contains_key(asked) {
                    error!(target: "blindfold::settlement", ?asked, "more challenges than are kept; this one is not");
                    continue;
                }
                open.insert(*asked, *deadline_s);
            }
            ChallengeEvent::Ended(asked) => {
                open.remove(asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(height: u64) -> Asked {
        Asked { batch: 1, height, position: 0 }
    }

    fn ask(height: u64, deadline_s: u64) -> ChallengeEvent {
        ChallengeEvent::Asked(OpenChallenge { asked: asked(height), deadline_s })
    }

    fn heights(challenges: &Challenges) -> Vec<u64> {
        challenges.open().iter().map(|challenge| challenge.asked.height).collect()
    }

    #[test]
    fn what_is_not_final_comes_and_goes() {
        let challenges = Challenges::default();
        challenges.settle(&[ask(1, 50), ask(2, 50), ChallengeEvent::Ended(asked(2))]);
        assert_eq!(heights(&challenges), [1]);
        challenges.see(vec![ask(3, 90), ChallengeEvent::Ended(asked(1))], 10);
        assert_eq!(heights(&challenges), [3]);
        // A reorg takes back the answer of the one and the question of the other.
        challenges.see(Vec::new(), 10);
        assert_eq!(heights(&challenges), [1]);
        // The same blocks read twice, as after a failure between.
        challenges.settle(&[ask(1, 50), ask(4, 70)]);
        challenges.settle(&[ask(1, 50), ask(4, 70)]);
        assert_eq!(heights(&challenges), [1, 4]);
        challenges.see(Vec::new(), 50);
        assert_eq!(heights(&challenges), [1, 4], "the deadline itself is in time");
        challenges.see(Vec::new(), 51);
        assert_eq!(heights(&challenges), [4]);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let challenges = Challenges::default();
        let many: Vec<_> = (0..MAX_OPEN as u64 + 9).map(|height| ask(height, 50)).collect();
        challenges.settle(&many);
        assert_eq!(challenges.open().len(), MAX_OPEN);
        challenges.settle(&[ask(0, 60), ChallengeEvent::Ended(asked(1)), ask(MAX_OPEN as u64, 50)]);
        let open = challenges.open();
        assert_eq!((open.len(), open[0].deadline_s), (MAX_OPEN, 60));
        assert_eq!(open.last().map(|challenge| challenge.asked.height), Some(MAX_OPEN as u64));
    }
}
