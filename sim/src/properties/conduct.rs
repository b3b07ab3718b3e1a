//! Honesty and capture: who is accused, and who is not.

use crate::{observation::Observation, scenario::Proof};

/// Honesty. All that an honest member holds against anyone verifies from its bytes alone and names the
/// adversary; no honest member cut another one off; without an adversary nobody saw shares of an order that
/// is not final.
pub fn honesty(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    for (index, member) in world.honest() {
        for accusation in &member.accusations {
            let proof = accusation.proof;
            match &accusation.against {
                Ok(accused) if world.is_honest(*accused) => found.push(format!(
                    "member {index} holds proof ({proof:?}) against member {accused}, which is honest"
                )),
                Ok(_) => {}
                Err(reason) => {
                    found.push(format!("member {index} holds a false proof ({proof:?}): {reason}"));
                }
            }
        }
        if world.adversary.is_none() && member.uncertified > 0 {
            found.push(format!("member {index} saw shares of an order that is not final"));
        }
    }
    let honest = |member: &usize| world.is_honest(*member);
    found.extend(
        world
            .blocked
            .iter()
            .filter(|(one, other)| honest(one) && honest(other))
            .map(|(one, other)| format!("member {one} cut off member {other}")),
    );
    found
}

/// Capture. The adversary did what it is here for, and where the protocol says that it is caught, every
/// honest member whose process was up all the time holds the proof.
pub fn capture(world: &Observation) -> Vec<String> {
    let Some(adversary) = world.adversary else { return Vec::new() };
    let mut found = Vec::new();
    if world.deeds == 0 {
        found.push(format!("{adversary}: it never did"));
    }
    let Some(proof) = adversary.kind.proof() else { return found };
    for (index, member) in world.honest() {
        let holds = member.accusations.iter().any(|accusation| {
            accusation.proof == proof && accusation.against == Ok(adversary.member)
        });
        if !holds && !world.away[index] {
            found.push(format!("{adversary}: member {index} holds no proof ({proof:?})"));
        }
        // A double release is one of an order that is not final, too.
        let twice = proof == Proof::Evidence("double_release");
        if twice && member.uncertified == 0 && !world.away[index] {
            found.push(format!("{adversary}: member {index} saw no uncertified release"));
        }
    }
    found
}
