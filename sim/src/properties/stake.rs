//! Stake: who could lose it, and who could not.

use crate::{observation::Observation, scenario::Proof};

/// Stake. Of all that was sent, and of all batches that honest members would post, nothing proves an offence of an
/// honest member; and what an adversary does is provable where the protocol says so, whether or not a member noticed.
pub fn stake(world: &Observation) -> Vec<String> {
    let stake = &world.stake;
    let mut found: Vec<String> = stake
        .proven
        .iter()
        .filter(|(_, member)| world.is_honest(*member))
        .map(|(offence, member)| {
            format!("member {member} is honest and provably guilty: {offence}")
        })
        .collect();
    found.extend(stake.doubted.iter().cloned());
    if let Some(adversary) = world.adversary
        && let Some(Proof::Evidence(offence)) = adversary.kind.proof()
        && world.deeds > 0
        && !stake.proven.contains(&(offence, adversary.member))
    {
        found.push(format!("{adversary}: nothing that was sent proves it ({offence})"));
    }
    found
}
