//! How long the network took to go on, by its own record.
//!
//! A busy machine is no fault of the network, so nothing here asserts a short time. What was measured
//! is printed, and appended to the file that [`REPORT_VARIABLE`] names.

use super::{Network, invariants, now_ms};
use blindfold_sdk::rpc::HeightDocument;
use std::{io::Write as _, time::Duration};

/// Names the file that measured recoveries are appended to.
pub const REPORT_VARIABLE: &str = "BLINDFOLD_FAULT_REPORT";

/// A moment, and how far the network had got.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub at_ms: u64,
    pub height: u64,
}

impl Network {
    /// This moment, as seen at `members`.
    pub fn mark(&self, members: &[usize]) -> Mark {
        let ordered = members.iter().map(|member| self.head(*member).ordered_height);
        let height = ordered.max().unwrap_or(0);
        Mark { at_ms: now_ms(), height }
    }

    /// Time from `mark` until the next height was final at one of `members`.
    pub fn until_next_height(&self, mark: Mark, members: &[usize]) -> Duration {
        let first_ms = members
            .iter()
            .map(|member| self.first_after(*member, mark, |known| known.ordered_ms >= mark.at_ms))
            .min();
        Duration::from_millis(first_ms.expect("a member").saturating_sub(mark.at_ms))
    }

    /// Time from `mark` until `member` held a height final that was proposed after it.
    pub fn until_in_step(&self, mark: Mark, member: usize) -> Duration {
        let fresh = |known: &HeightDocument| known.proposed_ms >= mark.at_ms;
        let first_ms = self.first_after(member, mark, fresh);
        Duration::from_millis(first_ms.saturating_sub(mark.at_ms))
    }

    /// What it costs that `leader` is away: the time between the last height before and the first height
    /// after the next view that it would have led, as `member` saw them.
    pub fn gap_around_a_view_of(&self, leader: usize, member: usize, mark: Mark) -> Duration {
        let place = |height| {
            let known = self.until("a height is final", || self.try_height(member, height));
            (invariants::commitment(&known).view, known.ordered_ms)
        };
        // One height on, in case that of the mark was proposed by the member itself when it died.
        let (view, _) = place(mark.height + 1);
        let turn = self.schedule().next_turn(leader, view).expect("a member");
        let mut height = mark.height + 1;
        let mut before_ms = place(height).1;
        loop {
            height += 1;
            let (view, ordered_ms) = place(height);
            if view > turn {
                return Duration::from_millis(ordered_ms.saturating_sub(before_ms));
            }
            before_ms = ordered_ms;
        }
    }

    /// When `member` held the first height above `mark` final that is as `wanted`.
    fn first_after(
        &self,
        member: usize,
        mark: Mark,
        wanted: impl Fn(&HeightDocument) -> bool,
    ) -> u64 {
        let mut height = mark.height + 1;
        self.until("the next height is final", || {
            while let Some(known) = self.try_height(member, height) {
                if wanted(&known) {
                    return Some(known.ordered_ms);
                }
                height += 1;
            }
            None
        })
    }

    /// Prints a measured recovery, and adds it to the report if there is one.
    pub fn report(&self, what: &str, took: Duration) {
        let timeouts = took.as_secs_f64() / self.leader_timeout().as_secs_f64();
        let line = format!(
            "RECOVERY {what}: {timeouts:.2} leader time-outs ({:.2} s)",
            took.as_secs_f64()
        );
        eprintln!("{line}");
        let Some(path) = std::env::var_os(REPORT_VARIABLE) else { return };
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    pub fn try_height(&self, member: usize, height: u64) -> Option<HeightDocument> {
        let params = [format!("0x{height:x}")];
        self.clients[member].request::<Option<_>>("sealed_getHeight", params).ok().flatten()
    }

    /// What `member` keeps of a height; `None` if it has not got there.
    pub fn height(&self, member: usize, height: u64) -> Option<HeightDocument> {
        self.until("a member answers", || {
            let params = [format!("0x{height:x}")];
            self.clients[member].request::<Option<_>>("sealed_getHeight", params).ok()
        })
    }
}
