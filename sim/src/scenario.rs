//! What may go wrong in a world: faults of processes and links, and members that break the protocol.

pub use blindfold_ordering::events::VoteFaultKind;
use std::fmt;

/// What happens to members and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A member never starts.
    Down {
        /// Which.
        member: usize,
    },
    /// All tasks of a member end at once, and it stays away.
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
    /// All members crash at once and start again together.
    RestartAll {
        /// When they crash, in milliseconds from the start.
        at_ms: u64,
        /// When they start again, in milliseconds from the start.
        back_ms: u64,
    },
    /// A member, or two, cannot be reached by the others, nor reach them.
    Partition {
        /// Which.
        member: usize,
        /// The one on its side, if any.
        with: Option<usize>,
        /// When it begins, in milliseconds from the start.
        at_ms: u64,
        /// When it ends, in milliseconds from the start.
        heal_ms: u64,
    },
}

impl Fault {
    /// The member it happens to, if it is one.
    pub fn member(&self) -> Option<usize> {
        match self {
            Self::None | Self::RestartAll { .. } => None,
            Self::Down { member }
            | Self::Crash { member, .. }
            | Self::Restart { member, .. }
            | Self::Partition { member, .. } => Some(*member),
        }
    }

    /// Whether a member stays away for good.
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Down { .. } | Self::Crash { .. })
    }

    /// Whether a member's process is away for a time, or for good.
    pub fn takes_down(&self, member: usize) -> bool {
        match self {
            Self::None | Self::Partition { .. } => false,
            Self::RestartAll { .. } => true,
            Self::Down { .. } | Self::Crash { .. } | Self::Restart { .. } => {
                self.member() == Some(member)
            }
        }
    }
}

/// A member that breaks the protocol: at most f of them, which is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adversary {
    /// Which.
    pub member: usize,
    /// How.
    pub kind: AdversaryKind,
}

/// How a member breaks the protocol. Otherwise it runs the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdversaryKind {
    /// As leader it signs two commitments for one view, and sends both to all, with a vote for each.
    EquivocatesToAll,
    /// As leader it signs two commitments for one view, and shows some members one and the rest the
    /// other, with the votes that go with it.
    EquivocatesSplit,
    /// It casts two votes that exclude each other.
    VotesTwice(VoteFaultKind),
    /// It sends its shares of every block it sees proposed, at once.
    ReleasesEarly,
    /// As leader it keeps its block to itself and sends shares for it; later it sends shares for the
    /// block that becomes final at that height.
    ReleasesTwice,
    /// The shares it signs and the openings it serves are wrong.
    GarbageShares,
    /// It sends neither shares nor openings.
    SilentShares,
    /// It sends what others sent again, in its own name.
    ReplaysOthers,
    /// As leader it leaves out due forced items and whatever one payer hands in.
    Censors,
}

/// What an adversary must be caught with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Evidence of this offence, by its name in `wire`.
    Evidence(&'static str),
    /// A pair of votes that exclude each other.
    Votes(VoteFaultKind),
}

impl AdversaryKind {
    /// Every kind, as the command line names it.
    pub const ALL: [(&'static str, Self); 11] = [
        ("equivocates-to-all", Self::EquivocatesToAll),
        ("equivocates-split", Self::EquivocatesSplit),
        ("notarizes-twice", Self::VotesTwice(VoteFaultKind::ConflictingNotarize)),
        ("finalizes-twice", Self::VotesTwice(VoteFaultKind::ConflictingFinalize)),
        ("nullifies-and-finalizes", Self::VotesTwice(VoteFaultKind::NullifyFinalize)),
        ("releases-early", Self::ReleasesEarly),
        ("releases-twice", Self::ReleasesTwice),
        ("garbage-shares", Self::GarbageShares),
        ("silent-shares", Self::SilentShares),
        ("replays-others", Self::ReplaysOthers),
        ("censors", Self::Censors),
    ];

    /// What the protocol promises to catch it with; `None` where it promises that nothing comes of it.
    pub fn proof(self) -> Option<Proof> {
        match self {
            Self::EquivocatesToAll | Self::EquivocatesSplit => {
                Some(Proof::Evidence("equivocation"))
            }
            Self::ReleasesTwice => Some(Proof::Evidence("double_release")),
            Self::GarbageShares => Some(Proof::Evidence("bad_share")),
            Self::VotesTwice(kind) => Some(Proof::Votes(kind)),
            Self::ReleasesEarly | Self::SilentShares | Self::ReplaysOthers | Self::Censors => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("all members up"),
            Self::Down { member } => write!(f, "member {member} down"),
            Self::Crash { member, at_ms } => write!(f, "member {member} crashes at {at_ms} ms"),
            Self::Restart { member, at_ms, back_ms } => {
                write!(f, "member {member} crashes at {at_ms} ms and is back at {back_ms} ms")
            }
            Self::RestartAll { at_ms, back_ms } => {
                write!(f, "all members crash at {at_ms} ms and are back at {back_ms} ms")
            }
            Self::Partition { member, with, at_ms, heal_ms } => {
                write!(f, "member {member}")?;
                if let Some(with) = with {
                    write!(f, " and member {with}")?;
                }
                write!(f, " cut off from {at_ms} ms to {heal_ms} ms")
            }
        }
    }
}

impl fmt::Display for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member;
        match self.kind {
            AdversaryKind::EquivocatesToAll => write!(f, "member {member} shows all two orders"),
            AdversaryKind::EquivocatesSplit => {
                write!(f, "member {member} shows some another order than the rest")
            }
            AdversaryKind::VotesTwice(kind) => write!(f, "member {member} votes twice ({kind:?})"),
            AdversaryKind::ReleasesEarly => {
                write!(f, "member {member} releases before the certificate")
            }
            AdversaryKind::ReleasesTwice => {
                write!(f, "member {member} releases two blocks of one height")
            }
            AdversaryKind::GarbageShares => write!(f, "member {member} sends garbage shares"),
            AdversaryKind::SilentShares => write!(f, "member {member} keeps its shares"),
            AdversaryKind::ReplaysOthers => {
                write!(f, "member {member} replays what others sent")
            }
            AdversaryKind::Censors => {
                write!(f, "member {member} leaves out forced items and one payer")
            }
        }
    }
}
