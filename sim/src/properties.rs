//! The properties, as functions from an observation to violations. `docs/sim.md` states them in words.

use crate::{
    observation::{HeightView, MemberView, Observation},
    observer::{Proposed, Said},
};
use alloy_primitives::B256;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A property that every world must keep. P1, P2 and P5 are those of the protocol's §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Nobody can read an envelope before its position is final.
    P1,
    /// A readable batch has exactly one possible order.
    P2,
    /// Every honest node derives the same bytes from the same order.
    P5,
    /// Every envelope comes to the end that its content calls for, at every member that is up.
    Liveness,
    /// No honest member is accused or cut off, whatever the network loses and whoever crashes.
    Honesty,
}

/// A property that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// Where and how.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.detail)
    }
}

/// A check: from what was observed to what is wrong.
type Check = fn(&Observation) -> Vec<String>;

/// Checks all properties.
pub fn check(world: &Observation) -> Vec<Violation> {
    let properties: [(Property, Check); 6] = [
        (Property::P1, p1_secrecy),
        (Property::P1, p1_ground),
        (Property::P2, p2),
        (Property::P5, p5),
        (Property::Liveness, liveness),
        (Property::Honesty, honesty),
    ];
    properties
        .into_iter()
        .flat_map(|(property, check)| {
            check(world).into_iter().map(move |detail| Violation { property, detail })
        })
        .collect()
}

/// P1 as an outsider sees it. Whenever the shares of an envelope that have left their members,
/// together with those of the adversaries, suffice to open it, a quorum has cast its finalize votes
/// for a block that fixes the envelope's position, or for a descendant of such a block.
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
            Said::Shares { digest, .. } => (digest, false),
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

/// P1 at the source. Every bundle and every set of openings that a member sends names a digest for
/// which its own database held a proof at that moment, and the proof verifies.
pub fn p1_ground(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for event in &world.log.events {
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

fn members(world: &Observation) -> impl Iterator<Item = (usize, &MemberView)> {
    world.members.iter().enumerate().filter_map(|(index, member)| Some((index, member.as_ref()?)))
}

/// The first `Some` that any member has of each height, to compare all with.
fn reference<'a, T>(
    world: &'a Observation,
    get: impl Fn(&'a HeightView) -> Option<T>,
) -> BTreeMap<u64, (usize, T)> {
    let mut out = BTreeMap::new();
    for (index, member) in members(world) {
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
    for (index, member) in members(world) {
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
    for (index, member) in members(world) {
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
    for (index, member) in members(world) {
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

/// Liveness. Every envelope was admitted, and at every member that is up it came to the end that its
/// content calls for, the same everywhere; no member that is up gave up.
pub fn liveness(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for expected in &world.expected {
        if let Err(reason) = &expected.admitted {
            found.push(format!("envelope {} was never admitted: {reason}", expected.id));
        }
    }
    for (index, member) in members(world).filter(|(_, member)| member.up) {
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

/// Honesty. No member holds evidence, and none cut another off: all of them follow the protocol.
pub fn honesty(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for (index, member) in members(world).filter(|(_, member)| member.evidence > 0) {
        found.push(format!("member {index} holds {} proofs of offences", member.evidence));
    }
    found.extend(
        world.blocked.iter().map(|(one, other)| format!("member {one} cut off member {other}")),
    );
    found
}
