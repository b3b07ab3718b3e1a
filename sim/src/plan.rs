//! What a world is like: everything that is chosen, and all of it by the seed.

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

/// What happens to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It never starts.
    Down {
        /// Which.
        member: usize,
    },
    /// All its tasks end at once, and it stays away.
    Crash {
        /// Which.
        member: usize,
        /// When, in milliseconds from the start.
        at_ms: u64,
    },
    /// As [`Fault::Crash`], and it starts again from its database and its engine's journal.
    Restart {
        /// Which.
        member: usize,
        /// When it crashes, in milliseconds from the start.
        at_ms: u64,
        /// When it starts again, in milliseconds from the start.
        back_ms: u64,
    },
}

impl Fault {
    /// The member it happens to.
    pub fn member(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Down { member } | Self::Crash { member, .. } | Self::Restart { member, .. } => {
                Some(*member)
            }
        }
    }
}

/// A deliberate break of the protocol that a property must notice. Exists in the simulator only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The first `members` members sign and send their shares of every block they see proposed,
    /// without waiting for a certificate.
    EagerRelease {
        /// How many.
        members: usize,
    },
}

/// A world before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed that all the rest follows from, but [`Self::mutation`].
    pub seed: u64,
    /// One-way delay of links, in milliseconds; each link's own mean is between half and twice as much.
    pub latency_ms: u64,
    /// Standard deviation of the delay of each message, in milliseconds.
    pub jitter_ms: u64,
    /// Messages lost, in percent.
    pub loss_percent: u8,
    /// What happens to one member.
    pub fault: Fault,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
}

impl Plan {
    /// The world of a seed. Twelve consecutive seeds see each fault under each rate of loss.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let latency_ms = random.random_range(5..=60);
        let member = random.random_range(0..MEMBERS);
        let at_ms = random.random_range(300..3_000);
        let back_ms = at_ms + random.random_range(200..2_500);
        Self {
            seed,
            latency_ms,
            jitter_ms: random.random_range(0..=latency_ms / 2),
            loss_percent: [0, 2, 5][(seed / 4 % 3) as usize],
            fault: match seed % 4 {
                0 => Fault::None,
                1 => Fault::Down { member },
                2 => Fault::Crash { member, at_ms },
                _ => Fault::Restart { member, at_ms, back_ms },
            },
            mutation: None,
        }
    }

    /// The same world with something broken on purpose.
    #[must_use]
    pub fn with_mutation(self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self }
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
            "seed {}: links {}±{} ms, {} % lost, ",
            self.seed, self.latency_ms, self.jitter_ms, self.loss_percent
        )?;
        match self.fault {
            Fault::None => f.write_str("all members up"),
            Fault::Down { member } => write!(f, "member {member} down"),
            Fault::Crash { member, at_ms } => write!(f, "member {member} crashes at {at_ms} ms"),
            Fault::Restart { member, at_ms, back_ms } => {
                write!(f, "member {member} crashes at {at_ms} ms and is back at {back_ms} ms")
            }
        }?;
        match self.mutation {
            None => Ok(()),
            Some(Mutation::EagerRelease { members }) => {
                write!(f, "; MUTATION: {members} members release before the certificate")
            }
        }
    }
}
