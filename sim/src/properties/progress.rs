//! Liveness and recovery: everything ends, and soon after the faults do.

use crate::{observation::Observation, world::LEADER_TIMEOUT_MS};

/// From the end of all faults to the next final height, at most: two leader time-outs, and a slack for
/// the messages in between.
pub const RECOVERY_MS: u64 = 2 * LEADER_TIMEOUT_MS + 1_000;
/// So much longer with an adversary: where all others are needed, its shares are missed, and a member
/// waits so long before it asks for an opening that it cannot make itself.
pub const PATIENCE_MS: u64 = 1_500;
/// So much longer where a process was away: a member that has just come back may lead several views
/// before it has caught up, and each such view costs a leader time-out.
pub const RETURN_MS: u64 = LEADER_TIMEOUT_MS;

/// Liveness. Every envelope was admitted, and at every member that is up it came to the end that its
/// content calls for, the same everywhere; no member that is up gave up.
pub fn liveness(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for expected in &world.expected {
        if let Err(reason) = &expected.admitted {
            found.push(format!("envelope {} was never admitted: {reason}", expected.id));
        }
    }
    for (index, member) in world.honest().filter(|(_, member)| member.up) {
        if let Some(reason) = &member.failure {
            found.push(format!("member {index} gave up: {reason}"));
        }
        for expected in &world.expected {
            let status = member.statuses.get(&expected.id);
            if !status.is_some_and(|status| expected.content.ends_as(status)) {
                found.push(format!(
                    "envelope {} ({:?}) is {status:?} at member {index}",
                    expected.id, expected.content
                ));
            }
        }
    }
    found
}

/// Recovery. Once every fault of links and processes has stopped, the next height is final at an honest
/// member within [`RECOVERY_MS`], or [`PATIENCE_MS`] later if there is an adversary, or [`RETURN_MS`] later if a
/// process was away.
pub fn recovery(world: &Observation) -> Vec<String> {
    let Some(recovery) = &world.recovery else { return Vec::new() };
    let next_ms = recovery.next_ms.map(|next_ms| next_ms.saturating_sub(recovery.calm_ms));
    let waits_ms =
        [(world.adversary.is_some(), PATIENCE_MS), (world.away.contains(&true), RETURN_MS)];
    let longest_ms = waits_ms.iter().filter(|(applies, _)| *applies).map(|(_, ms)| *ms).max();
    let bound_ms = RECOVERY_MS + longest_ms.unwrap_or(0);
    if next_ms.is_some_and(|next_ms| next_ms <= bound_ms) {
        return Vec::new();
    }
    let took = next_ms.map_or("never final".to_owned(), |ms| format!("final after {ms} ms"));
    let height = recovery.height + 1;
    vec![format!("the faults stopped at {} ms; height {height} was {took}", recovery.calm_ms)]
}
