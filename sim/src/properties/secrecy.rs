//! P1: nobody can read an envelope before its position is final.

use crate::{observation::Observation, observer::Said};
use alloy_primitives::B256;
use std::collections::{BTreeMap, BTreeSet};

/// P1 as an outsider sees it. Whenever the shares of an envelope that have left their members,
/// together with those of the adversaries, suffice to open it, a quorum has cast its finalize votes
/// for a block that fixes the envelope's position, or for a descendant of such a block. Shares of a member
/// that is known for an adversary are among the adversaries' already.
pub fn p1_secrecy(world: &Observation) -> Vec<String> {
    let mut votes: BTreeMap<B256, BTreeSet<usize>> = BTreeMap::new();
    let mut fixed: BTreeSet<B256> = BTreeSet::new();
    let mut finals: BTreeSet<B256> = BTreeSet::new();
    let mut sharers: BTreeMap<B256, BTreeSet<usize>> = BTreeMap::new();
    let mut exposed: BTreeSet<B256> = BTreeSet::new();
    let needed = world.threshold.saturating_sub(world.adversaries);
    let blocks = &world.log.blocks;
    let mut found = Vec::new();
    for event in &world.log.events {
        let (digest, open) = match &event.said {
            Said::Finalize { digest } => {
                let voters = votes.entry(*digest).or_default();
                voters.insert(event.member);
                let mut next = (voters.len() >= world.quorum).then_some(*digest);
                // A final block makes its ancestors final.
                while let Some(digest) = next.filter(|digest| finals.insert(*digest)) {
                    let block = blocks.get(&digest);
                    fixed.extend(block.iter().flat_map(|block| &block.ids));
                    next = block.map(|block| block.parent);
                }
                continue;
            }
            Said::Shares { .. } if !world.is_honest(event.member) => continue,
            Said::Shares { digest, .. } => (digest, false),
            Said::Openings { .. } if !world.is_honest(event.member) => continue,
            Said::Openings { digest, .. } => (digest, true),
            Said::Nonsense(_) => continue,
        };
        let Some(block) = blocks.get(digest) else {
            found.push(format!(
                "member {} released shares of {digest}, which nobody proposed",
                event.member
            ));
            continue;
        };
        for id in &block.ids {
            let sharers = sharers.entry(*id).or_default();
            sharers.insert(event.member);
            if (open || sharers.len() >= needed) && !fixed.contains(id) && exposed.insert(*id) {
                found.push(format!(
                    "at {} ms envelope {id} of height {} could be opened before its position was final",
                    event.at_ms, block.height
                ));
            }
        }
    }
    found
}

/// P1 at the source. Every bundle and every set of openings that an honest member sends names a digest for
/// which its own database held a proof at that moment, and the proof verifies.
pub fn p1_ground(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for event in world.log.events.iter().filter(|event| world.is_honest(event.member)) {
        let (member, at_ms) = (event.member, event.at_ms);
        match &event.said {
            Said::Shares { height, ground: Err(reason), .. } => {
                found.push(format!(
                    "at {at_ms} ms member {member} released shares of height {height}: {reason}"
                ));
            }
            Said::Openings { height, ground: Err(reason), .. } => {
                found.push(format!(
                    "at {at_ms} ms member {member} sent openings of height {height}: {reason}"
                ));
            }
            Said::Nonsense(reason) => {
                found.push(format!("at {at_ms} ms member {member} sent nonsense: {reason}"))
            }
            _ => {}
        }
    }
    found
}
