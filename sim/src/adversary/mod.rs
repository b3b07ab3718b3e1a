//! Members that break the protocol on purpose.
//!
//! An adversary runs the product, and [`Mischief`] sits between it and its own links: it sees each
//! message leave and arrive, holds the member's keys, and may keep a message, change it, or send
//! others. What it sends passes the observer like everything else.
//!
//! | module | breaks |
//! |---|---|
//! | `leader` | one order per view |
//! | `votes` | one vote per view |
//! | `shares` | shares: right ones, once, for a final order |
//! | `replayer` | saying what one has to say |
//! | `censor` | bringing what is due |
//! | `eager` | release after the certificate; also used on members that count as honest |

mod censor;
pub mod eager;
mod leader;
mod replayer;
mod shares;
mod votes;

use crate::{
    l1::L1,
    plan::{Adversary, AdversaryKind, Plan},
    tap::Outlet,
    wallets,
};
use alloy_primitives::Address;
use blindfold_committee::secrets::MemberSecrets;
use blindfold_crypto::DecryptionKey;
use blindfold_ordering::{
    block::{BlockCodec, OrderedBlock},
    engine::{self, Digest, Identity, OrderingScheme, channels},
    schedule::LeaderSchedule,
};
use blindfold_wire::{Genesis, SigningKey};
use commonware_codec::Decode as _;
use commonware_p2p::{Recipients, Sender as _};
use commonware_runtime::IoBuf;
use rand::rngs::StdRng;
use std::{collections::BTreeMap, sync::Arc};

/// Turns at misbehaving that an adversary takes, at most: enough to be caught on a lossy network, and few
/// enough that the rest of the world happens too.
const DEEDS_MAX: usize = 4;

/// What is between an adversary and its links.
pub struct Mischief {
    kind: AdversaryKind,
    member: usize,
    signer: SigningKey,
    decryption: DecryptionKey,
    scheme: OrderingScheme,
    schedule: LeaderSchedule,
    codec: BlockCodec,
    /// The other members.
    others: Vec<Identity>,
    /// Ways past this mischief, by channel.
    outlets: BTreeMap<u64, Outlet>,
    random: StdRng,
    l1: Arc<L1>,
    /// The payer that a censor leaves out.
    censored: Address,
    deeds: usize,
    leader: leader::Turns,
    shares: shares::Memory,
    replayer: replayer::Memory,
}

impl Mischief {
    /// The mischief of a plan's adversary.
    ///
    /// # Panics
    /// If genesis and secrets do not fit together.
    pub fn new(
        plan: &Plan,
        adversary: Adversary,
        genesis: &Genesis,
        secrets: &MemberSecrets,
        l1: Arc<L1>,
    ) -> Self {
        let identities = engine::identities(genesis).expect("dealt identities");
        let own = &identities[adversary.member];
        let scheme = secrets
            .expose_vote(|vote| engine::scheme(genesis, own, Some(vote)))
            .expect("a dealt vote key");
        let weights: Vec<u64> =
            genesis.committee.members.iter().map(|member| member.stake).collect();
        let others = identities.iter().filter(|identity| *identity != own).cloned().collect();
        Self {
            kind: adversary.kind,
            member: adversary.member,
            signer: secrets.signing_key().expect("a dealt key"),
            decryption: secrets.decryption_key().expect("a dealt key"),
            scheme,
            schedule: LeaderSchedule::new(0, genesis.hash(), &weights).expect("a schedule"),
            codec: engine::codec(genesis, None),
            others,
            outlets: BTreeMap::new(),
            random: plan.random(5),
            l1,
            censored: wallets::key(plan, 0).address(),
            deeds: 0,
            leader: leader::Turns::default(),
            shares: shares::Memory::default(),
            replayer: replayer::Memory::default(),
        }
    }

    /// Connects it to the links of a member that starts, or starts again.
    pub fn connect(&mut self, outlets: BTreeMap<u64, Outlet>) {
        self.outlets = outlets;
    }

    /// How often it broke the protocol.
    pub fn deeds(&self) -> usize {
        self.deeds
    }

    /// A message is about to leave. Whether it may, unchanged.
    pub fn leaving(&mut self, channel: u64, message: &IoBuf, at_ms: u64) -> bool {
        match self.kind {
            AdversaryKind::EquivocatesToAll | AdversaryKind::EquivocatesSplit => {
                self.equivocate(channel, message)
            }
            AdversaryKind::VotesTwice(kind) => self.vote_twice(kind, channel, message),
            AdversaryKind::ReleasesTwice => self.release_twice(channel, message),
            AdversaryKind::GarbageShares => self.garble(channel, message),
            AdversaryKind::SilentShares => self.keep_shares(channel, message),
            AdversaryKind::ReplaysOthers => {
                self.replay(at_ms);
                true
            }
            AdversaryKind::Censors => self.leave_out(channel, message),
            // A task of its own does that: `eager`.
            AdversaryKind::ReleasesEarly => true,
        }
    }

    /// A message has arrived. What the member gets to see of it.
    pub fn arrived(&mut self, channel: u64, message: IoBuf) -> IoBuf {
        match self.kind {
            AdversaryKind::ReplaysOthers => self.remember(channel, &message),
            AdversaryKind::Censors => {
                return self.without_censored(channel, &message).unwrap_or(message);
            }
            _ => {}
        }
        message
    }

    /// Notes a share bundle that a task of this member sends past it.
    pub fn released_early(&mut self) {
        self.deeds += 1;
    }

    fn send(&mut self, channel: u64, to: Recipients<Identity>, message: impl Into<IoBuf>) {
        if let Some(outlet) = self.outlets.get_mut(&channel) {
            outlet.send(to, message.into(), true);
        }
    }

    fn leads(&self, view: u64) -> bool {
        self.schedule.leader(view) == self.member
    }

    /// A block that this member proposes, if the message is one.
    fn own_block(&self, channel: u64, message: &IoBuf) -> Option<OrderedBlock> {
        if channel != channels::BLOCKS {
            return None;
        }
        let block = OrderedBlock::decode_cfg(message.clone(), &self.codec).ok()?;
        self.leads(block.commitment().view).then_some(block)
    }
}

/// A vote of the engine.
type Vote = commonware_consensus::simplex::types::Vote<OrderingScheme, Digest>;
