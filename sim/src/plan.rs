//! What a world is like: everything that is chosen, and all of it by the seed.

pub use crate::scenario::{Adversary, AdversaryKind, Fault, VoteFaultKind};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use std::fmt;

/// Members of a simulated committee: n = 3f + 1 with f = 1.
pub const MEMBERS: usize = 4;
/// Wallets that seal.
pub const WALLETS: usize = 4;
/// Envelopes of each wallet; below the protocol's nonce window.
pub const ENVELOPES_PER_WALLET: usize = 6;
/// Envelopes are submitted within this many milliseconds from the start.
pub const SUBMIT_WINDOW_MS: u64 = 3_500;
/// As many consecutive seeds see every scenario.
pub const SCENARIOS: u64 = 20;
/// A hostile network turns friendly this long after the start, in milliseconds.
const STORM_MS: u64 = 4_000;

/// A deliberate break of the protocol, or of the checks, that a property must notice. Exists in the
/// simulator only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The first `members` members sign and send their shares of every block they see proposed,
    /// without waiting for a certificate. The properties take them for honest.
    EagerRelease {
        /// How many.
        members: usize,
    },
    /// The properties are not told who the adversary is: it is judged as if it were honest.
    HiddenAdversary,
    /// Neither first-seen commitments nor evidence reach any member.
    NoGossip,
    /// The first `members` members keep their shares, more than the protocol endures.
    SilentMembers {
        /// How many.
        members: usize,
    },
    /// What was cut or crashed never comes back, though the plan says so.
    NoRecovery,
    /// No member hears of forced items, so none checks that a proposal brings those that are due.
    BlindMembers,
}

/// A world before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed that all the rest follows from, unless it is overridden.
    pub seed: u64,
    /// One-way delay of links, in milliseconds; each link's own mean is between half and twice as much.
    pub latency_ms: u64,
    /// Standard deviation of the delay of each message, in milliseconds.
    pub jitter_ms: u64,
    /// Messages lost, in percent, until [`Self::calm_ms`].
    pub loss_percent: u8,
    /// Whether the network delivers messages late, twice and again long after, until [`Self::calm_ms`].
    pub storm: bool,
    /// What happens to members and links.
    pub fault: Fault,
    /// A member that breaks the protocol.
    pub adversary: Option<Adversary>,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
}

impl Plan {
    /// The world of a seed. [`SCENARIOS`] consecutive seeds see every fault and every adversary, three
    /// times as many see each under every rate of loss.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let latency_ms = random.random_range(5..=60);
        let jitter_ms = random.random_range(0..=latency_ms / 2);
        let member = random.random_range(0..MEMBERS);
        let other = (member + random.random_range(1..MEMBERS)) % MEMBERS;
        let at_ms = random.random_range(300..3_000);
        let back_ms = at_ms + random.random_range(200..2_500);
        let restart = Fault::Restart { member, at_ms, back_ms };
        let restart_all = Fault::RestartAll { at_ms, back_ms };
        let apart =
            |with: Option<usize>| Fault::Partition { member, with, at_ms, heal_ms: back_ms };
        let evil = |kind| Some(Adversary { member: other, kind });
        let vote = |kind| evil(AdversaryKind::VotesTwice(kind));
        use AdversaryKind::*;
        let (fault, storm, adversary) = match seed % SCENARIOS {
            // Two that share a place: an honest world, and one without faults but a censor.
            0 if (seed / SCENARIOS).is_multiple_of(2) => (Fault::None, false, None),
            0 => (Fault::None, false, evil(Censors)),
            1 => (Fault::Down { member }, false, None),
            2 => (Fault::Crash { member, at_ms }, false, None),
            3 => (restart, false, None),
            4 => (restart_all, false, None),
            5 => (apart(None), false, None),
            6 => (apart(Some(other)), false, None),
            7 => (Fault::None, true, None),
            8 => (restart, true, None),
            9 => (Fault::None, false, evil(EquivocatesToAll)),
            10 => (restart, false, evil(EquivocatesToAll)),
            11 => (Fault::None, false, evil(EquivocatesSplit)),
            12 => (restart, true, evil(EquivocatesSplit)),
            13 => (Fault::None, false, vote(VoteFaultKind::ConflictingNotarize)),
            14 => (restart_all, false, vote(VoteFaultKind::ConflictingFinalize)),
            15 => (Fault::None, true, vote(VoteFaultKind::NullifyFinalize)),
            16 => (restart, false, evil(ReleasesEarly)),
            17 => (Fault::None, false, evil(ReleasesTwice)),
            18 => (apart(None), false, evil(GarbageShares)),
            // Two that share a place: what they do is little.
            _ if (seed / SCENARIOS).is_multiple_of(2) => (Fault::None, true, evil(ReplaysOthers)),
            _ => (restart, false, evil(SilentShares)),
        };
        Self {
            seed,
            latency_ms,
            jitter_ms,
            loss_percent: [0, 2, 5][(seed % 3) as usize],
            storm,
            fault,
            adversary,
            mutation: None,
        }
    }

    /// The same world with something broken on purpose.
    #[must_use]
    pub fn with_mutation(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
    }

    /// The same world with another adversary. A fault that would need the adversary's help to survive
    /// is left out.
    #[must_use]
    pub fn with_adversary(self, kind: AdversaryKind) -> Self {
        let member = self.fault.member().map_or(0, |member| (member + 1) % MEMBERS);
        let fault = if self.fault.lasts() { Fault::None } else { self.fault };
        Self { adversary: Some(Adversary { member, kind }), fault, ..self }
    }

    /// When all faults of links and processes have stopped, in milliseconds from the start: members are
    /// back, links are whole, nothing is lost or repeated any more. `None` where a fault lasts, or
    /// there is none but loss, which then goes on.
    pub fn calm_ms(&self) -> Option<u64> {
        let storm = self.storm.then_some(STORM_MS);
        match self.fault {
            Fault::Down { .. } | Fault::Crash { .. } => None,
            Fault::None => storm,
            Fault::Restart { back_ms, .. }
            | Fault::RestartAll { back_ms, .. }
            | Fault::Partition { heal_ms: back_ms, .. } => storm.max(Some(back_ms)),
        }
    }

    /// Whether a member follows the protocol.
    pub fn is_honest(&self, member: usize) -> bool {
        self.adversary.is_none_or(|adversary| adversary.member != member)
    }

    /// 32 bytes for one purpose.
    pub fn bytes(&self, purpose: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.random(purpose).fill_bytes(&mut bytes);
        bytes
    }

    /// A generator for one purpose.
    pub fn random(&self, purpose: u64) -> StdRng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&purpose.to_be_bytes());
        seed[16..28].copy_from_slice(b"blindfoldsim");
        StdRng::from_seed(seed)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: links {}±{} ms, {} % lost, {}",
            self.seed, self.latency_ms, self.jitter_ms, self.loss_percent, self.fault
        )?;
        if self.storm {
            f.write_str(", messages late, twice and replayed")?;
        }
        if let Some(adversary) = &self.adversary {
            write!(f, ", {adversary}")?;
        }
        match self.mutation {
            None => Ok(()),
            Some(Mutation::EagerRelease { members }) => {
                write!(f, "; MUTATION: {members} members release before the certificate")
            }
            Some(mutation) => write!(f, "; MUTATION: {mutation:?}"),
        }
    }
}
