//! Runs a world: four members of the product over simulated links, on a deterministic runtime.

mod members;
mod observe;
mod setup;

pub use setup::{LEADER_TIMEOUT_MS, genesis};

use crate::{
    adversary::Mischief,
    l1::L1,
    observation::{MemberView, Observation, Recovery, status},
    observer::Observer,
    plan::{AdversaryKind, Fault, MEMBERS, Mutation, Plan},
    properties::{self, Violation},
    storm::Storm,
    wallets::Submission,
};
use blindfold_committee::secrets::MemberSecrets;
use blindfold_node::{
    member::{Member, Shared},
    store::Store,
};
use blindfold_ordering::engine::Identity;
use blindfold_wire::Genesis;
use commonware_p2p::simulated::{Link, Oracle};
use commonware_runtime::{Clock as _, Runner as _, deterministic};
use commonware_utils::{Probability, sync::Mutex};
use deterministic::Context;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Everything must have come to its end by then, in milliseconds of simulated time.
pub const DEADLINE_MS: u64 = 60_000;
/// The same for a mutation that stops the network, and so would run all the time.
const STOPPED_DEADLINE_MS: u64 = 15_000;
/// The same for a mutation under which forced items wait in vain: past the deadline of some.
const FORCED_DEADLINE_MS: u64 = 16_500;
/// How often the world looks around.
const TICK: Duration = Duration::from_millis(20);

/// A world that ran.
#[derive(Debug)]
pub struct Outcome {
    /// What it was.
    pub plan: Plan,
    /// What it left behind.
    pub observation: Observation,
    /// Which properties it broke.
    pub violations: Vec<Violation>,
    /// Hash over every event of the runtime, in order: equal for equal runs.
    pub fingerprint: String,
    /// How long it took, in milliseconds of simulated time.
    pub simulated_ms: u64,
}

impl Outcome {
    /// The highest final height of any member.
    pub fn heights(&self) -> u64 {
        let heights = |member: &Option<MemberView>| {
            member.as_ref().and_then(|m| m.heights.keys().next_back().copied())
        };
        self.observation.members.iter().filter_map(heights).max().unwrap_or(0)
    }
}

/// Runs a world to its end and judges it. The same plan gives the same outcome.
///
/// # Panics
/// If the world cannot be set up, or a member panics.
pub fn run(plan: &Plan) -> Outcome {
    // Twice the deadline is out of reach, unless the runtime itself is stuck.
    let config = deterministic::Config::new()
        .with_seed(plan.seed)
        .with_timeout(Some(Duration::from_millis(2 * DEADLINE_MS)));
    deterministic::Runner::new(config).start(|context| async move {
        let mut world = World::new(&context, plan).await;
        world.live().await;
        let simulated_ms = world.now_ms();
        let observation = world.observe().await;
        let violations = properties::check(&observation);
        let fingerprint = context.auditor().state();
        Outcome { plan: plan.clone(), observation, violations, fingerprint, simulated_ms }
    })
}

/// Something that happens to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Crash(usize),
    Start(usize),
    /// Links between these members and the others are cut.
    Cut([bool; MEMBERS]),
    /// All faults have stopped.
    Calm,
}

struct World<'a> {
    plan: &'a Plan,
    context: &'a Context,
    genesis: Arc<Genesis>,
    secrets: Vec<MemberSecrets>,
    identities: Vec<Identity>,
    oracle: Oracle<Identity, Context>,
    /// One-way delay from each member to each, in milliseconds.
    delays: [[u64; MEMBERS]; MEMBERS],
    loss_percent: u8,
    storm: Option<Arc<Storm>>,
    mischief: Option<Arc<Mutex<Mischief>>>,
    l1: Arc<L1>,
    /// Outlives the databases in it.
    _folder: TempDir,
    stores: Vec<Store>,
    observer: Arc<Observer>,
    members: Vec<Option<Member>>,
    /// What the members shared last, also those that crashed.
    shared: Vec<Option<Arc<Shared>>>,
    starts: usize,
    submissions: Vec<Submission>,
    /// Member that admitted each submission, or the last refusal.
    admitted: Vec<Result<usize, String>>,
    recovery: Option<Recovery>,
}

impl World<'_> {
    fn now_ms(&self) -> u64 {
        let since = self.context.current().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// What is to happen, by time.
    fn turns(&self) -> VecDeque<(u64, Turn)> {
        let mut turns = Vec::new();
        let recovers = self.plan.mutation != Some(Mutation::NoRecovery);
        for member in 0..MEMBERS {
            match self.plan.fault {
                Fault::Crash { member: crashed, at_ms } if crashed == member => {
                    turns.push((at_ms, Turn::Crash(member)));
                }
                Fault::Restart { at_ms, back_ms, .. } | Fault::RestartAll { at_ms, back_ms }
                    if self.plan.fault.takes_down(member) =>
                {
                    turns.push((at_ms, Turn::Crash(member)));
                    if recovers {
                        turns.push((back_ms, Turn::Start(member)));
                    }
                }
                _ => {}
            }
        }
        if let Fault::Partition { member, with, at_ms, .. } = self.plan.fault {
            let mut apart = [false; MEMBERS];
            apart[member] = true;
            if let Some(with) = with {
                apart[with] = true;
            }
            turns.push((at_ms, Turn::Cut(apart)));
        }
        turns.extend(self.plan.calm_ms().map(|at_ms| (at_ms, Turn::Calm)));
        turns.sort_by_key(|(at_ms, _)| *at_ms);
        turns.into()
    }

    async fn take(&mut self, turn: Turn, due: &mut VecDeque<usize>) {
        match turn {
            Turn::Crash(member) => {
                self.crash(member);
                // A wallet whose member is gone turns to another: its envelope may be lost with it.
                due.extend(
                    (0..self.admitted.len()).filter(|index| self.admitted[*index] == Ok(member)),
                );
            }
            Turn::Start(member) => self.start(member).await,
            Turn::Cut(apart) => self.link_all(|from, to| apart[from] == apart[to]).await,
            Turn::Calm => {
                self.loss_percent = 0;
                if self.plan.mutation != Some(Mutation::NoRecovery) {
                    self.link_all(|_, _| true).await;
                }
                let height = self.highest();
                let calm_ms = self.now_ms();
                self.recovery = Some(Recovery { calm_ms, height, next_ms: None });
            }
        }
    }

    /// Links all pairs for which `linked` holds, and no others, as the plan has it and loss is now.
    async fn link_all(&self, linked: impl Fn(usize, usize) -> bool) {
        for (from, one) in self.identities.iter().enumerate() {
            for (to, other) in self.identities.iter().enumerate().filter(|(to, _)| *to != from) {
                // Not linked before the start, nor while cut off.
                let _ = self.oracle.remove_link(one.clone(), other.clone()).await;
                if !linked(from, to) {
                    continue;
                }
                let link = Link {
                    latency: Duration::from_millis(self.delays[from][to]),
                    jitter: Duration::from_millis(self.plan.jitter_ms),
                    success_rate: Probability::new(100 - u64::from(self.loss_percent), 100)
                        .expect("a probability"),
                };
                self.oracle.add_link(one.clone(), other.clone(), link).await.expect("known peers");
            }
        }
    }

    /// Lives until everything has come to its end, or the deadline.
    async fn live(&mut self) {
        let down = match self.plan.fault {
            Fault::Down { member } => Some(member),
            _ => None,
        };
        for member in (0..MEMBERS).filter(|member| Some(*member) != down) {
            self.start(member).await;
        }
        let mut turns = self.turns();
        let mut due: VecDeque<usize> = (0..self.submissions.len()).collect();
        let deadline_ms = match self.plan.mutation {
            Some(Mutation::SilentMembers { .. } | Mutation::NoRecovery | Mutation::NoGossip) => {
                STOPPED_DEADLINE_MS
            }
            Some(Mutation::BlindMembers) => FORCED_DEADLINE_MS,
            _ => DEADLINE_MS,
        };
        while self.now_ms() < deadline_ms {
            let now_ms = self.now_ms();
            while let Some((_, turn)) = turns.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
                self.take(turn, &mut due).await;
            }
            self.tell_of_l1(now_ms);
            for _ in 0..due.len() {
                let Some(index) = due.pop_front() else { break };
                if self.submissions[index].at_ms > now_ms || !self.submit(index).await {
                    due.push_back(index);
                }
            }
            // Time has passed since, where members were started or spoken to.
            let (height, looked_ms) = (self.highest(), self.now_ms());
            if let Some(recovery) = &mut self.recovery
                && height > recovery.height
            {
                recovery.next_ms.get_or_insert(looked_ms);
            }
            let recovered = self.recovery.as_ref().is_none_or(|it| it.next_ms.is_some());
            let settled = turns.is_empty() && due.is_empty() && recovered;
            if settled && self.all_ended() && self.all_consumed() && self.caught() {
                return;
            }
            self.context.sleep(TICK).await;
        }
    }

    /// Tells the members that are up what became final on L1.
    fn tell_of_l1(&self, now_ms: u64) {
        let censors = |member| {
            self.plan.adversary.is_some_and(|adversary| {
                adversary.member == member && adversary.kind == AdversaryKind::Censors
            })
        };
        for (index, member) in self.members.iter().enumerate() {
            let Some(member) = member else { continue };
            let blind = censors(index) || self.plan.mutation == Some(Mutation::BlindMembers);
            let l1 = &member.shared.l1;
            if let Some(news) = self.l1.news(index, &l1.view(), now_ms, blind) {
                l1.update(&news, now_ms).expect("blocks in order, with their items");
            }
        }
    }

    /// Whether the forced items that are waited for are consumed, and what consumed them executed.
    fn all_consumed(&self) -> bool {
        self.honest().all(|(_, shared)| {
            let executed = shared.chain.progress().executed_height;
            let block = shared.records.block(executed).expect("the database reads");
            let cursor = block.map_or(0, |block| block.commitment.commitment.forced_cursor);
            cursor >= self.l1.awaited
        })
    }

    /// What honest members that are up share.
    fn honest(&self) -> impl Iterator<Item = (usize, &Arc<Shared>)> {
        let up = self.members.iter().enumerate();
        up.filter_map(|(index, member)| Some((index, &member.as_ref()?.shared)))
            .filter(|(index, _)| self.plan.is_honest(*index))
    }

    /// The highest final height that an honest member has, up or not.
    fn highest(&self) -> u64 {
        let shared = self.shared.iter().enumerate();
        shared
            .filter(|(index, _)| self.plan.is_honest(*index))
            .filter_map(|(_, shared)| Some(shared.as_ref()?.chain.progress().ordered_height))
            .max()
            .unwrap_or(0)
    }

    fn all_ended(&self) -> bool {
        self.honest().all(|(_, shared)| {
            self.submissions.iter().all(|submission| {
                status(shared, submission.id).is_some_and(|status| status.is_terminal())
            })
        })
    }
}
