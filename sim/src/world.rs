//! Runs a world: four members of the product over simulated links, on a deterministic runtime.

use crate::{
    eager,
    observation::{Expected, MemberView, Observation, replay, status},
    observer::Observer,
    plan::{Fault, MEMBERS, Mutation, Plan, WALLETS},
    properties::{self, Violation},
    tap::{TapReceiver, TapSender, Wire},
    wallets::{self, Submission},
};
use alloy_primitives::{Address, U256};
use blindfold_committee::{secrets::MemberSecrets, setup::deal_committee};
use blindfold_node::{
    member::{
        Channels, Member, Options, Shared,
        messages::{
            ENVELOPE_CHANNEL, MAX_ENVELOPE_MESSAGE_BYTES, MAX_SHARE_MESSAGE_BYTES, SHARE_CHANNEL,
        },
        pool::PoolRequest,
        records::Records,
    },
    rpc::api::SubmitError,
    store::Store,
};
use blindfold_ordering::engine::{self, Identity, Network, channels};
use blindfold_wire::{Block, ChainParams, Genesis, GenesisAccount, max_faults, quorum};
use commonware_p2p::simulated::{self, Config, Link, Oracle};
use commonware_runtime::{
    Clock as _, Quota, Runner as _, Spawner as _, Supervisor as _, deterministic,
};
use commonware_utils::{
    NZU32, NZUsize, Probability,
    channel::{mpsc, oneshot},
};
use deterministic::Context;
use rand::RngExt as _;
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Everything must have come to its end by then, in milliseconds of simulated time.
pub const DEADLINE_MS: u64 = 60_000;
/// How often the world looks around.
const TICK: Duration = Duration::from_millis(20);
/// A member answers a submission within this, or the wallet goes elsewhere.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages per second on one link: never the limit. Buffers are allocated for as many.
const LINK_QUOTA: Quota = Quota::per_second(NZU32!(4_096));
/// Memory-backed folder of Linux, where a synchronous write costs nothing.
const MEMORY_FOLDER: &str = "/dev/shm";

type Sender = TapSender<simulated::Sender<Identity, Context>>;
type Receiver = TapReceiver<simulated::Receiver<Identity>>;

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

/// The chain of a plan: short timeouts, a small lag, and wallets with funds and escrow.
///
/// # Panics
/// Never: a dealt committee makes a valid genesis.
pub fn genesis(plan: &Plan) -> (Genesis, Vec<MemberSecrets>) {
    let dealt = deal_committee(&[100; MEMBERS], plan.bytes(1)).expect("a possible committee");
    let ether = U256::from(10u64.pow(18));
    let mut wallets: Vec<Address> =
        (0..WALLETS).map(|wallet| wallets::key(plan, wallet).address()).collect();
    wallets.sort_unstable();
    let account = |address: &Address| GenesisAccount {
        address: *address,
        balance: ether,
        nonce: 0,
        code: Default::default(),
        storage: BTreeMap::new(),
    };
    let genesis = Genesis {
        chain_id: 5_318_008,
        settlement: Address::ZERO,
        // Where the simulated clock starts.
        timestamp_ms: 0,
        activation: 0,
        params: ChainParams {
            executed_lag: 4,
            leader_timeout_ms: 700,
            certification_timeout_ms: 1_000,
            idle_block_interval_ms: 250,
            ..ChainParams::default()
        },
        committee: dealt.info,
        alloc: wallets.iter().map(account).collect(),
        escrow: wallets.iter().map(|address| (*address, ether)).collect(),
    };
    genesis.validate().expect("a valid genesis");
    (genesis, dealt.secrets)
}

struct World<'a> {
    plan: &'a Plan,
    context: &'a Context,
    genesis: Arc<Genesis>,
    secrets: Vec<MemberSecrets>,
    identities: Vec<Identity>,
    oracle: Oracle<Identity, Context>,
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
}

impl<'a> World<'a> {
    async fn new(context: &'a Context, plan: &'a Plan) -> Self {
        let (genesis, secrets) = genesis(plan);
        let genesis = Arc::new(genesis);
        let identities = engine::identities(&genesis).expect("dealt identities");
        let max_bytes = engine::max_message_bytes(&genesis)
            .max(MAX_ENVELOPE_MESSAGE_BYTES)
            .max(MAX_SHARE_MESSAGE_BYTES);
        let (network, oracle) = simulated::Network::new_with_peers(
            context.child("network"),
            Config {
                max_size: u32::try_from(max_bytes).expect("far below 4 GiB"),
                max_peers_per_set: NZUsize!(MEMBERS),
                disconnect_on_block: true,
                tracked_peer_sets: NZUsize!(1),
            },
            identities.clone(),
        )
        .await;
        network.start();
        let mut random = plan.random(3);
        for from in &identities {
            for to in identities.iter().filter(|to| *to != from) {
                // Each direction of each pair has a delay of its own.
                let percent = random.random_range(50..=200);
                let link = Link {
                    latency: Duration::from_millis(plan.latency_ms * percent / 100),
                    jitter: Duration::from_millis(plan.jitter_ms),
                    success_rate: Probability::new(100 - u64::from(plan.loss_percent), 100)
                        .expect("a probability"),
                };
                oracle.add_link(from.clone(), to.clone(), link).await.expect("known peers");
            }
        }
        let folder = folder();
        let stores: Vec<Store> = (0..MEMBERS)
            .map(|member| {
                Store::open(folder.path().join(member.to_string()), genesis.hash().0)
                    .expect("a fresh folder")
            })
            .collect();
        let records = stores.iter().map(|store| Records::new(store.clone(), MEMBERS)).collect();
        let submissions = wallets::submissions(plan, &genesis);
        Self {
            plan,
            context,
            observer: Arc::new(Observer::new(context.child("observer"), &genesis, records)),
            genesis,
            secrets,
            identities,
            oracle,
            _folder: folder,
            stores,
            members: (0..MEMBERS).map(|_| None).collect(),
            shared: vec![None; MEMBERS],
            starts: 0,
            admitted: vec![Err("never handed in".to_owned()); submissions.len()],
            submissions,
        }
    }

    fn now_ms(&self) -> u64 {
        let since = self.context.current().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Starts a member, or starts it again over what it stored.
    async fn start(&mut self, member: usize) {
        self.starts += 1;
        let context = self
            .context
            .child("member")
            .with_attribute("index", member)
            .with_attribute("start", self.starts);
        let control = self.oracle.control(self.identities[member].clone());
        let eager = matches!(self.plan.mutation, Some(Mutation::EagerRelease { members }) if member < members);
        let (blocks, proposed) = mpsc::unbounded_channel();
        let mut taps: BTreeMap<u64, (Sender, Receiver)> = BTreeMap::new();
        for channel in channels::ALL.into_iter().chain([ENVELOPE_CHANNEL, SHARE_CHANNEL]) {
            let (sender, receiver) =
                control.register(channel, LINK_QUOTA).await.expect("a known peer");
            let wire = Wire {
                member,
                channel,
                observer: Arc::clone(&self.observer),
                blocks: eager.then(|| blocks.clone()),
            };
            taps.insert(
                channel,
                (TapSender::new(sender, wire.clone()), TapReceiver::new(receiver, wire)),
            );
        }
        let mut take = |channel: u64| taps.remove(&channel).expect("registered above");
        let shares = take(SHARE_CHANNEL);
        if eager {
            let (secrets, codec) =
                (self.secrets[member].clone(), engine::codec(&self.genesis, None));
            let sender = shares.0.clone();
            context.child("eager").spawn(move |_| eager::run(secrets, codec, proposed, sender));
        }
        let channels = Channels {
            engine: Network {
                votes: take(channels::VOTES),
                certificates: take(channels::CERTIFICATES),
                resolver: take(channels::RESOLVER),
                blocks: take(channels::BLOCKS),
                backfill: take(channels::BACKFILL),
                commitments: take(channels::COMMITMENTS),
                peers: self.oracle.manager(),
                blocker: control.clone(),
            },
            envelopes: take(ENVELOPE_CHANNEL),
            shares,
            blocker: control,
        };
        let options = Options {
            mempool: Default::default(),
            checker_secret: self.plan.bytes(2),
            engine_partition: format!("engine-{member}"),
        };
        let started = Member::start(
            context.child("node"),
            Arc::clone(&self.genesis),
            &self.genesis.committee.members[member].identity,
            Some(&self.secrets[member]),
            self.stores[member].clone(),
            channels,
            options,
        )
        .await
        .expect("a member of this chain");
        self.shared[member] = Some(Arc::clone(&started.shared));
        self.members[member] = Some(started);
    }

    fn crash(&mut self, member: usize) {
        if let Some(running) = self.members[member].take() {
            running.abort();
        }
    }

    /// Lives until every envelope has come to its end at every member that is up, or the deadline.
    async fn live(&mut self) {
        let mut crash = None;
        let mut restart = None;
        let mut down = None;
        match self.plan.fault {
            Fault::None => {}
            Fault::Down { member } => down = Some(member),
            Fault::Crash { member, at_ms } => crash = Some((member, at_ms)),
            Fault::Restart { member, at_ms, back_ms } => {
                crash = Some((member, at_ms));
                restart = Some((member, back_ms));
            }
        }
        for member in (0..MEMBERS).filter(|member| Some(*member) != down) {
            self.start(member).await;
        }
        let mut due: VecDeque<usize> = (0..self.submissions.len()).collect();
        while self.now_ms() < DEADLINE_MS {
            let now_ms = self.now_ms();
            if let Some((member, _)) = crash.take_if(|(_, at_ms)| *at_ms <= now_ms) {
                self.crash(member);
                // A wallet whose member is gone turns to another: its envelope may be lost with it.
                due.extend(
                    (0..self.admitted.len()).filter(|index| self.admitted[*index] == Ok(member)),
                );
            }
            if let Some((member, _)) = restart.take_if(|(_, back_ms)| *back_ms <= now_ms) {
                self.start(member).await;
            }
            for _ in 0..due.len() {
                let Some(index) = due.pop_front() else { break };
                if self.submissions[index].at_ms > now_ms || !self.submit(index).await {
                    due.push_back(index);
                }
            }
            if crash.is_none() && restart.is_none() && due.is_empty() && self.all_ended() {
                return;
            }
            self.context.sleep(TICK).await;
        }
    }

    /// Hands an envelope in at the next member that is up. Whether it is admitted, or was before.
    async fn submit(&mut self, index: usize) -> bool {
        let submission = &self.submissions[index];
        let up = (0..MEMBERS).map(|step| (submission.member + step) % MEMBERS);
        let Some((member, pool)) = up
            .filter_map(|member| Some((member, self.members[member].as_ref()?.pool.clone())))
            .next()
        else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        let request = PoolRequest::Submit { bytes: submission.bytes.clone(), reply };
        let refused = match pool.try_send(request) {
            Err(error) => error.to_string(),
            Ok(()) => match self.context.timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(
                    Ok(_)
                    | Err(SubmitError::Refused { reason: "already_known" | "stale_nonce", .. }),
                )) => {
                    self.admitted[index] = Ok(member);
                    return true;
                }
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_)) => "the member went away".to_owned(),
                Err(_) => "no answer".to_owned(),
            },
        };
        self.admitted[index] = Err(refused);
        false
    }

    fn all_ended(&self) -> bool {
        let up = self.members.iter().flatten();
        up.map(|member| &member.shared).all(|shared| {
            self.submissions.iter().all(|submission| {
                status(shared, submission.id).is_some_and(|status| status.is_terminal())
            })
        })
    }

    async fn observe(&self) -> Observation {
        let views: Vec<Option<MemberView>> = self
            .shared
            .iter()
            .zip(&self.members)
            .map(|(shared, running)| {
                shared
                    .as_ref()
                    .map(|shared| MemberView::read(shared, running.is_some(), &self.submissions))
            })
            .collect();
        let executed = |index: &usize| {
            self.shared[*index].as_ref().map(|shared| shared.chain.progress().executed_height)
        };
        let furthest = (0..MEMBERS).max_by_key(executed).unwrap_or(0);
        let index_of =
            |identity: &Identity| self.identities.iter().position(|other| other == identity);
        let blocked = self.oracle.blocked().await.expect("the network runs");
        Observation {
            quorum: quorum(MEMBERS),
            threshold: self.genesis.committee.threshold as usize,
            adversaries: max_faults(MEMBERS),
            executed_lag: self.genesis.params.executed_lag,
            genesis: Block::genesis(&self.genesis).digest(),
            log: self.observer.log(),
            members: views,
            replay: replay(&self.genesis, &Records::new(self.stores[furthest].clone(), MEMBERS)),
            expected: self
                .submissions
                .iter()
                .zip(&self.admitted)
                .map(|(submission, admitted)| Expected {
                    id: submission.id,
                    content: submission.content,
                    admitted: admitted.clone().map(|_| ()),
                })
                .collect(),
            blocked: blocked
                .iter()
                .filter_map(|(one, other)| Some((index_of(one)?, index_of(other)?)))
                .collect(),
        }
    }
}

fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("blindfold-sim-");
    let memory = Path::new(MEMORY_FOLDER);
    // Where it is missing or full, the disk does as well.
    let folder = if memory.is_dir() {
        builder.tempdir_in(memory).or_else(|_| builder.tempdir())
    } else {
        builder.tempdir()
    };
    folder.expect("a folder for temporary files")
}
