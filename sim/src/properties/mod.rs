//! The properties, as functions from an observation to violations. `docs/sim.md` states them in words.

mod agreement;
mod conduct;
mod forced;
mod progress;
mod secrecy;
mod stake;

pub use agreement::{p2, p5};
pub use conduct::{capture, honesty};
pub use forced::{p6_deadline, p6_due};
pub use progress::{PATIENCE_MS, RECOVERY_MS, RETURN_MS, liveness, recovery};
pub use secrecy::{p1_ground, p1_secrecy};
pub use stake::stake;

use crate::observation::Observation;
use std::fmt;

/// A property that every world must keep. P1, P2, P5 and P6 are those of the protocol's §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Nobody can read an envelope before its position is final.
    P1,
    /// A readable batch has exactly one possible order.
    P2,
    /// Every honest node derives the same bytes from the same order.
    P5,
    /// A due forced item is executed.
    P6,
    /// Every envelope comes to the end that its content calls for, at every honest member that is up.
    Liveness,
    /// The next height is final soon after the faults stop.
    Recovery,
    /// No honest member is accused or cut off by another, whatever the network loses, whoever crashes and
    /// whoever lies.
    Honesty,
    /// Whoever breaks the protocol in a way that it promises to catch is caught.
    Capture,
    /// Nothing that honest members send or would post can take their stake.
    Stake,
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
    let properties: [(Property, Check); 11] = [
        (Property::P1, p1_secrecy),
        (Property::P1, p1_ground),
        (Property::P2, p2),
        (Property::P5, p5),
        (Property::P6, p6_due),
        (Property::P6, p6_deadline),
        (Property::Liveness, liveness),
        (Property::Recovery, recovery),
        (Property::Honesty, honesty),
        (Property::Capture, capture),
        (Property::Stake, stake),
    ];
    properties
        .into_iter()
        .flat_map(|(property, check)| {
            check(world).into_iter().map(move |detail| Violation { property, detail })
        })
        .collect()
}
