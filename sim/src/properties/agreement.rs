//! P2 and P5: one order, and the same bytes from it.

use crate::{
    observation::{HeightView, Observation},
    observer::{Proposed, Said},
};
use alloy_primitives::B256;
use std::collections::{BTreeMap, BTreeSet};

/// The first `Some` that any member has of each height, to compare all with.
fn reference<'a, T>(
    world: &'a Observation,
    get: impl Fn(&'a HeightView) -> Option<T>,
) -> BTreeMap<u64, (usize, T)> {
    let mut out = BTreeMap::new();
    for (index, member) in world.honest() {
        for (height, view) in &member.heights {
            if let Some(value) = get(view) {
                out.entry(*height).or_insert((index, value));
            }
        }
    }
    out
}

/// Compares what members have of each height, where they have it.
fn agree<'a, T: PartialEq>(
    world: &'a Observation,
    what: &str,
    get: impl Fn(&'a HeightView) -> Option<T> + Copy,
    found: &mut Vec<String>,
) {
    let reference = reference(world, get);
    for (index, member) in world.honest() {
        for (height, view) in &member.heights {
            if let (Some(value), Some((other, expected))) = (get(view), reference.get(height))
                && value != *expected
            {
                found.push(format!(
                    "height {height}: members {other} and {index} differ in the {what}"
                ));
            }
        }
    }
}

/// P2. All members that finalized a height have the same digest, with a proof that verifies and a
/// body that fits it; heights chain; no envelope has two positions; openings are the same. On the
/// network, no two blocks of one height gathered a quorum of finalize votes.
pub fn p2(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    agree(world, "digest", |view| Some(view.digest), &mut found);
    agree(world, "order", |view| view.block.as_ref().map(|(_, block)| &block.ids), &mut found);
    agree(world, "openings", |view| view.openings.as_ref(), &mut found);
    for (index, member) in world.honest() {
        let mut parent = world.genesis;
        let mut positions: BTreeMap<B256, u64> = BTreeMap::new();
        for (height, view) in &member.heights {
            let mut wrong =
                |what: String| found.push(format!("height {height} at member {index}: {what}"));
            if let Err(reason) = &view.proof {
                wrong(reason.clone());
            }
            match &view.block {
                Some((digest, block)) => {
                    if *digest != view.digest || block.height != *height {
                        wrong("the block is another one than certified".to_owned());
                    }
                    if block.parent != parent {
                        wrong("it does not follow the height below".to_owned());
                    }
                    for id in &block.ids {
                        if let Some(before) = positions.insert(*id, *height) {
                            wrong(format!("envelope {id} was ordered at height {before} already"));
                        }
                    }
                }
                None => wrong("there is no block".to_owned()),
            }
            parent = view.digest;
        }
    }
    found.extend(two_quorums(world));
    found
}

fn two_quorums(world: &Observation) -> Vec<String> {
    let mut votes: BTreeMap<B256, BTreeSet<usize>> = BTreeMap::new();
    for event in &world.log.events {
        if let Said::Finalize { digest } = event.said {
            votes.entry(digest).or_default().insert(event.member);
        }
    }
    let mut finals: BTreeMap<u64, B256> = BTreeMap::new();
    let mut found = Vec::new();
    for (digest, _) in votes.iter().filter(|(_, voters)| voters.len() >= world.quorum) {
        let Some(Proposed { height, .. }) = world.log.blocks.get(digest) else { continue };
        if let Some(other) = finals.insert(*height, *digest) {
            found.push(format!(
                "height {height}: both {other} and {digest} have a quorum of finalize votes"
            ));
        }
    }
    found
}

/// P5. All members have the same state root, block hash and executed root at each height; executing
/// all heights anew from genesis gives the same; and commitments carry these very roots, k heights
/// later.
pub fn p5(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    agree(world, "roots", |view| view.roots.as_ref(), &mut found);
    let roots = match &world.replay {
        Ok(roots) => roots,
        Err(reason) => {
            found.push(format!("the replay stops: {reason}"));
            return found;
        }
    };
    for (index, member) in world.honest() {
        for (height, view) in &member.heights {
            match (&view.roots, roots.get(height)) {
                (Some(mine), Some(replayed)) if mine != replayed => {
                    found.push(format!(
                        "height {height}: member {index} has other roots than the replay"
                    ));
                }
                (Some(_), None) => found.push(format!(
                    "height {height}: member {index} executed what nobody can replay"
                )),
                _ => {}
            }
            let below = height.checked_sub(world.executed_lag).filter(|below| *below > 0);
            if let Some(replayed) = below.and_then(|below| roots.get(&below))
                && replayed.executed_root != view.carries
            {
                found.push(format!("height {height}: its commitment carries another executed root than the replay's"));
            }
        }
    }
    found
}
