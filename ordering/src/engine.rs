//! Wires the consensus engine: simplex, marshal, broadcast, backfill and the equivocation watch.
//!
//! ```text
//!                    ┌────────────── simplex (votes, certificates, resolver) ──────────────┐
//!                    │ propose / verify                                       activity     │
//!                    ▼                                                            ▼        │
//!   ChainHooks ◀── Application ◀── Inline ◀──── marshal ◀── blocks (broadcast) , backfill  │
//!   (node)                                        │ blocks in height order                 │
//!                                                 ▼                                        │
//!   OrderingReporter ◀── delivery (+ certificate) ┘     watch ◀── gate, gossip ────────────┘
//! ```
//!
//! One engine serves one epoch: everything epoch-bound (schedule, scheme, simplex partition) comes from
//! [`EngineConfig`], so the hand-over of committees starts a second engine and not a second code path.
//!
//! Everything is generic over the runtime and the p2p traits; the same code runs on tokio over QUIC in
//! the node and on the deterministic runtime over simulated links in tests and in `sim`.

use crate::{
    application::{Application, ChainHooks},
    block::{BlockCodec, LENGTH_PREFIX_BYTES, OrderedBlock},
    events::{self, ActivitySink, FaultSink, OrderingReporter},
    gossip::{self, WatchHandle},
    schedule::{LeaderSchedule, ScheduleElector, ScheduleError},
    screen::Screened,
    validity::LeaderBook,
    watch::Watch,
};
use blindfold_wire::{
    Block, Genesis, GenesisError, SignedCommitment, VoteCommittee, VoteKeyError, engine_namespace,
};
use commonware_broadcast::buffered;
use commonware_codec::DecodeExt as _;
use commonware_consensus::{
    Reporters,
    marshal::{
        self, Start,
        core::Actor,
        resolver::p2p as backfill,
        standard::{Inline, Standard},
        store::{Blocks, Certificates},
    },
    simplex::{
        self,
        config::{Floor, ForwardPolicy, SkipBudget, SkipPolicy},
        scheme::{bls12381_multisig, reporter::AttributableReporter},
    },
    types::{Epoch, FixedEpocher, ViewDelta},
};
use commonware_cryptography::{
    Digested, Digestible as _,
    bls12381::primitives::{
        group::Private,
        variant::{MinSig, Variant},
    },
    certificate::ConstantProvider,
    ed25519, sha256,
};
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage, buffer::paged::CacheRef};
use commonware_utils::{NZU16, NZU64, NZUsize, NonZeroDuration, ordered::BiMap};
use rand_core::CryptoRng;
use std::{num::NonZeroU64, sync::Arc, time::Duration};

/// A participant's key: its TLS and engine identity.
pub type Identity = ed25519::PublicKey;

/// The engine's digest type: a container for the 32 bytes of a commitment's EIP-712 digest.
pub type Digest = sha256::Digest;

/// Attributable BLS12-381 multi-signatures: signatures in G1, keys in G2, ed25519 identities.
pub type OrderingScheme = bls12381_multisig::Scheme<Identity, MinSig>;

/// The marshal's mailbox: reads blocks and certificates by height or digest.
pub type MarshalMailbox = marshal::core::Mailbox<OrderingScheme, Standard<OrderedBlock>>;

/// Channel ids of the p2p network, one stream each, and what they carry.
pub mod channels {
    /// Engine votes. Small, latency-critical.
    pub const VOTES: u64 = 0;
    /// Engine certificates.
    pub const CERTIFICATES: u64 = 1;
    /// Requests for and answers with missing certificates.
    pub const RESOLVER: u64 = 2;
    /// Proposed blocks in full. The only large regular traffic.
    pub const BLOCKS: u64 = 3;
    /// Requests for and answers with missing blocks.
    pub const BACKFILL: u64 = 4;
    /// First-seen signed commitments.
    pub const COMMITMENTS: u64 = 5;
    /// All of them, in order.
    pub const ALL: [u64; 6] = [VOTES, CERTIFICATES, RESOLVER, BLOCKS, BACKFILL, COMMITMENTS];
}

/// Heights of the first epoch: all, until committees change. The engine needs a bound.
pub const SINGLE_EPOCH_HEIGHTS: NonZeroU64 = NZU64!(1 << 40);

/// Messages in each of the engine's mailboxes.
const MAILBOX: usize = 1024;
/// Blocks cached per peer before they are final.
const BROADCAST_CACHE: usize = 32;
/// Finalized heights delivered but not acknowledged, at most. Above `k` plus what is in flight; while
/// catching up it is how many heights one fsync serves.
pub const MAX_PENDING_ACKS: usize = 64;
/// Missing heights fetched at a time. Spread over the peers it stays below what a transport's inbox
/// holds of one peer.
const MAX_REPAIR: usize = 64;
/// Views kept behind the finalized tip.
const VIEW_RETENTION: u64 = 256;
/// Items per section of marshal's temporary archives.
const ITEMS_PER_SECTION: u64 = 256;
/// Buffer for replaying journals, in bytes.
const REPLAY_BUFFER_BYTES: usize = 1 << 20;
/// Buffer for writing journals, in bytes.
const WRITE_BUFFER_BYTES: usize = 1 << 17;
/// Page size of the journals' page cache, in bytes.
const PAGE_BYTES: u16 = 4096;
/// Pages of that cache.
const PAGES: usize = 1024;
/// A peer has this long to answer a request.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a request is tried with another peer.
const FETCH_RETRY: Duration = Duration::from_millis(100);
/// A member stuck in a view repeats its vote to leave it, and the certificate that led into it, so many
/// times per leader timeout. Nothing else gets a network going again whose links or members come back
/// while all wait, so this decides how soon the next height is final then.
const RETRIES_PER_LEADER_TIMEOUT: u32 = 2;
/// A leader silent for this many certification timeouts is skipped early.
const SKIP_CERTIFICATION_TIMEOUTS: u32 = 5;

/// Why an engine cannot be configured. The operator's or the genesis file's fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The genesis document is not valid.
    #[error("genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// A member's identity is not an ed25519 public key.
    #[error("identity of member {0} is not an ed25519 public key")]
    Identity(usize),
    /// A member's vote key is not a valid BLS12-381 G2 point.
    #[error("vote key of member {0} is not a BLS12-381 G2 point")]
    VoteKey(usize),
    /// Identities or vote keys repeat.
    #[error("two members share an identity or a vote key")]
    Duplicate,
    /// Identities are not in ascending order.
    #[error("the committee is not sorted by identity")]
    Unsorted,
    /// Our own identity is not an ed25519 public key.
    #[error("own identity is not an ed25519 public key")]
    OwnIdentity,
    /// The vote secret is not a scalar, or belongs to no member or to another than this identity.
    #[error("the vote secret does not belong to this identity's vote key")]
    VoteSecret,
    /// No leader schedule for this committee.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Timeouts do not fit together.
    #[error(
        "leader timeout must be positive, below the certification timeout, and above the idle interval"
    )]
    Timeouts,
    /// No vote committee can be made from genesis.
    #[error("vote committee: {0}")]
    Votes(#[from] VoteKeyError),
    /// The genesis block does not hold together.
    #[error("genesis block: {0}")]
    GenesisBlock(#[from] crate::block::BlockError),
}

/// Everything an engine is started with besides network, stores and hooks.
#[derive(Clone)]
pub struct EngineConfig {
    /// The genesis: committee, parameters, chain.
    pub genesis: Arc<Genesis>,
    /// Epoch the engine serves.
    pub epoch: u64,
    /// Heights per epoch.
    pub epoch_heights: NonZeroU64,
    /// Our network identity.
    pub identity: Identity,
    /// Scheme with our vote key, or a verifier for a follower: [`scheme`].
    pub scheme: OrderingScheme,
    /// The epoch's leaders.
    pub schedule: LeaderSchedule,
    /// Prefix of the engine's storage partitions. Must not change over restarts, and not be shared.
    pub partition: String,
    /// First-seen commitments that the node kept ([`OrderingReporter::first_seen`]).
    pub first_seen: Vec<SignedCommitment>,
}

impl EngineConfig {
    /// Configuration of the first epoch for the member or follower with this identity. `vote_secret`
    /// is the member's 32-byte big-endian BLS secret; `None` makes a follower.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if genesis or keys do not fit together.
    pub fn first_epoch(
        genesis: Arc<Genesis>,
        identity: &[u8; 32],
        vote_secret: Option<&[u8; 32]>,
        partition: String,
    ) -> Result<Self, ConfigError> {
        // Among others the proofs of possession, without which multi-signatures prove nothing.
        genesis.validate()?;
        let params = &genesis.params;
        if params.leader_timeout_ms == 0
            || params.leader_timeout_ms >= params.certification_timeout_ms
            || params.idle_block_interval_ms >= params.leader_timeout_ms
        {
            return Err(ConfigError::Timeouts);
        }
        let schedule = LeaderSchedule::first(&genesis)?;
        let own = parse_identity(identity).ok_or(ConfigError::OwnIdentity)?;
        let scheme = scheme(&genesis, &own, vote_secret)?;
        Ok(Self {
            genesis,
            epoch: 0,
            epoch_heights: SINGLE_EPOCH_HEIGHTS,
            identity: own,
            scheme,
            schedule,
            partition,
            first_seen: Vec::new(),
        })
    }
}

/// Reads a 32-byte ed25519 public key. `None` if it is none.
pub fn parse_identity(bytes: &[u8; 32]) -> Option<Identity> {
    Identity::decode(bytes::Bytes::copy_from_slice(bytes)).ok()
}

/// Identities of the committee, in committee order.
///
/// # Errors
///
/// [`ConfigError::Identity`].
pub fn identities(genesis: &Genesis) -> Result<Vec<Identity>, ConfigError> {
    genesis
        .committee
        .members
        .iter()
        .enumerate()
        .map(|(index, member)| parse_identity(&member.identity).ok_or(ConfigError::Identity(index)))
        .collect()
}

/// The engine's signing scheme for the committee in `genesis`.
///
/// # Errors
///
/// [`ConfigError`] if keys are malformed, unsorted, repeated, or the secret is not `own`'s.
///
/// # Security
///
/// Validate the genesis before: multi-signatures prove nothing without proofs of possession.
/// [`EngineConfig::first_epoch`] does.
pub fn scheme(
    genesis: &Genesis,
    own: &Identity,
    vote_secret: Option<&[u8; 32]>,
) -> Result<OrderingScheme, ConfigError> {
    let identities = identities(genesis)?;
    if identities.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(ConfigError::Unsorted);
    }
    let own_index = identities.iter().position(|identity| identity == own);
    let mut own_key = None;
    let mut participants = Vec::with_capacity(identities.len());
    for (index, (identity, member)) in
        identities.into_iter().zip(&genesis.committee.members).enumerate()
    {
        let key = <MinSig as Variant>::Public::decode(bytes::Bytes::copy_from_slice(
            member.vote_key.as_ref(),
        ))
        .map_err(|_| ConfigError::VoteKey(index))?;
        if Some(index) == own_index {
            own_key = Some(key);
        }
        participants.push((identity, key));
    }
    let participants: BiMap<_, _> = participants.try_into().map_err(|_| ConfigError::Duplicate)?;
    let namespace = engine_namespace(genesis.hash());
    match vote_secret {
        None => Ok(OrderingScheme::member(&namespace, participants.clone(), own)
            .unwrap_or_else(|| OrderingScheme::verifier(&namespace, participants))),
        Some(secret) => {
            let secret = Private::decode(bytes::Bytes::copy_from_slice(secret))
                .map_err(|_| ConfigError::VoteSecret)?;
            let public = commonware_cryptography::bls12381::primitives::ops::compute_public::<MinSig>(
                &secret,
            );
            if own_key != Some(public) {
                return Err(ConfigError::VoteSecret);
            }
            OrderingScheme::signer(&namespace, participants, secret).ok_or(ConfigError::VoteSecret)
        }
    }
}

/// Largest message the engine sends on any channel, in bytes. The transport must admit it.
pub fn max_message_bytes(genesis: &Genesis) -> usize {
    let members = u32::try_from(genesis.committee.members.len()).unwrap_or(u32::MAX);
    let blocks = marshal::max_payload_size::<Standard<OrderedBlock>, OrderingScheme>(
        members,
        &codec(genesis, None),
    );
    blocks.max(simplex::max_payload_size::<OrderingScheme, Digest>(members))
}

/// How blocks of this chain are decoded.
pub fn codec(genesis: &Genesis, gate: Option<Arc<dyn crate::block::BlockGate>>) -> BlockCodec {
    BlockCodec {
        max_block_bytes: usize::try_from(genesis.params.max_block_bytes)
            .unwrap_or(usize::MAX - LENGTH_PREFIX_BYTES)
            .min(blindfold_wire::block::MAX_BLOCK_BYTES),
        gate,
    }
}

/// The network an engine runs over: one sender and receiver per channel in [`channels`].
pub struct Network<X, R, P, B> {
    /// Channel [`channels::VOTES`].
    pub votes: (X, R),
    /// Channel [`channels::CERTIFICATES`].
    pub certificates: (X, R),
    /// Channel [`channels::RESOLVER`].
    pub resolver: (X, R),
    /// Channel [`channels::BLOCKS`].
    pub blocks: (X, R),
    /// Channel [`channels::BACKFILL`].
    pub backfill: (X, R),
    /// Channel [`channels::COMMITMENTS`].
    pub commitments: (X, R),
    /// Peer sets.
    pub peers: P,
    /// Blocks peers that send garbage.
    pub blocker: B,
}

/// A running engine. Dropping it leaves the tasks running; they end with the runtime or [`Self::abort`].
pub struct EngineHandle {
    /// Reads finalized blocks and certificates.
    pub marshal: MarshalMailbox,
    tasks: Vec<(&'static str, Handle<()>)>,
}

impl EngineHandle {
    /// Stops all tasks at once, as a crash would.
    pub fn abort(&self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }

    /// Waits until any task ends, which none does by itself, and names it.
    pub async fn failed(self) -> &'static str {
        let tasks = self.tasks.into_iter().map(|(name, handle)| {
            Box::pin(async move {
                let _ = handle.await;
                name
            })
        });
        futures::future::select_all(tasks).await.0
    }
}

/// Starts an engine: simplex, marshal and all between. Never returns before stores are replayed.
///
/// `blocks` and `certificates` keep finalized blocks for good; the engine's own journals go to the
/// runtime's storage under [`EngineConfig::partition`].
///
/// # Errors
///
/// [`ConfigError`] if the genesis gives no vote committee.
///
/// # Panics
///
/// The engine library panics when its storage fails or holds another genesis: it cannot go on safely.
pub async fn start<E, X, R, P, B, FB, FC, H, O>(
    context: E,
    config: EngineConfig,
    network: Network<X, R, P, B>,
    (blocks, certificates): (FB, FC),
    hooks: H,
    reporter: O,
) -> Result<EngineHandle, ConfigError>
where
    E: Clock + CryptoRng + Spawner + Storage + Metrics,
    X: Sender<PublicKey = Identity>,
    R: Receiver<PublicKey = Identity>,
    P: Provider<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
    FB: Blocks<Block = Arc<OrderedBlock>>,
    FC: Certificates<BlockDigest = Digest, Commitment = Digest, Scheme = OrderingScheme>,
    H: ChainHooks,
    O: OrderingReporter,
{
    let genesis = &config.genesis;
    let votes = VoteCommittee::from_genesis(genesis)?;
    let leaders = LeaderBook::new(genesis, config.schedule.clone());
    let genesis_block = OrderedBlock::new(Block::genesis(genesis))?;
    let genesis_digest = genesis_block.digest();
    let epocher = FixedEpocher::new(config.epoch_heights);
    let page_cache = CacheRef::new(NZU16!(PAGE_BYTES), NZUsize!(PAGES));

    // Watch and gossip.
    let (watch, observed) = WatchHandle::open();
    let watch_task = context.child("watch").spawn({
        let state = Watch::new(leaders.clone());
        let restored = config.first_seen.clone();
        let (handle, channel) = (watch.clone(), network.commitments);
        let (blocker, reporter) = (network.blocker.clone(), reporter.clone());
        move |_| gossip::run(state, restored, handle, observed, channel, blocker, reporter)
    });

    // Broadcast of proposed blocks; the gate stands where they enter.
    let application = Application::new(genesis, leaders, watch.clone(), hooks);
    let codec = codec(genesis, Some(Arc::new(application.clone())));
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: config.identity.clone(),
            mailbox_size: NZUsize!(MAILBOX),
            deque_size: BROADCAST_CACHE,
            priority: true,
            codec_config: codec.clone(),
            peer_provider: network.peers.clone(),
            strategy: Sequential,
        },
    );
    let (block_sender, block_receiver) = network.blocks;
    let screened = Screened::new(block_receiver, codec.clone(), network.blocker.clone());
    let broadcast_task = broadcast.start((block_sender, screened));

    // Marshal: durable blocks in height order, and backfill.
    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key: config.identity.clone(),
            peer_provider: network.peers,
            blocker: network.blocker.clone(),
            mailbox_size: NZUsize!(MAILBOX),
            fetch_timeout: NonZeroDuration::new_panic(FETCH_TIMEOUT),
            fetch_retry_delay: FETCH_RETRY,
            priority_requests: false,
            priority_responses: false,
        },
        network.backfill,
    );
    let (actor, mailbox, _floor) = Actor::init(
        context.child("marshal"),
        certificates,
        blocks,
        marshal::Config {
            provider: ConstantProvider::<OrderingScheme, Epoch>::new(config.scheme.clone()),
            epocher: epocher.clone(),
            start: Start::Genesis(Digested::precomputed(genesis_block, genesis_digest)),
            partition_prefix: format!("{}-marshal", config.partition),
            mailbox_size: NZUsize!(MAILBOX),
            view_retention: ViewDelta::new(VIEW_RETENTION),
            prunable_items_per_section: NZU64!(ITEMS_PER_SECTION),
            page_cache: page_cache.clone(),
            replay_buffer: NZUsize!(REPLAY_BUFFER_BYTES),
            key_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
            value_write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
            block_codec_config: codec,
            max_repair: NZUsize!(MAX_REPAIR),
            max_pending_acks: NZUsize!(MAX_PENDING_ACKS),
            strategy: Sequential,
        },
    )
    .await;
    let (sink, deliveries) = events::delivery(reporter.clone());
    let delivery_task = context.child("delivery").spawn({
        let (mailbox, reporter) = (mailbox.clone(), reporter.clone());
        let executed_lag = genesis.params.executed_lag;
        let mut peers = identities(genesis)?;
        peers.retain(|peer| *peer != config.identity);
        move |clock| {
            events::run_delivery(clock, mailbox, peers, executed_lag, votes, reporter, deliveries)
        }
    });
    let marshal_task = actor.start(sink, buffer, resolver);

    // Simplex over the application.
    let inline = Inline::new(context.child("inline"), application, mailbox.clone(), epocher);
    let activity = ActivitySink {
        faults: AttributableReporter::new(
            context.child("faults"),
            config.scheme.clone(),
            FaultSink(reporter.clone()),
            Sequential,
            true,
        ),
        reporter,
        watch,
    };
    let leader_timeout = Duration::from_millis(genesis.params.leader_timeout_ms);
    let certification_timeout = Duration::from_millis(genesis.params.certification_timeout_ms);
    let simplex = simplex::Engine::new(
        context.child("simplex"),
        simplex::Config {
            scheme: config.scheme.clone(),
            elector: ScheduleElector::from(config.schedule.clone()),
            blocker: network.blocker,
            automaton: inline.clone(),
            relay: inline.clone(),
            reporter: Reporters::from((inline, activity)),
            // Keeps votes after certification: a late conflicting vote is evidence.
            track_historical_votes: true,
            strategy: Sequential,
            partition: format!("{}-simplex-{}", config.partition, config.epoch),
            mailbox_size: NZUsize!(MAILBOX),
            epoch: Epoch::new(config.epoch),
            floor: Floor::Genesis(genesis_digest),
            replay_buffer: NZUsize!(REPLAY_BUFFER_BYTES),
            write_buffer: NZUsize!(WRITE_BUFFER_BYTES),
            page_cache,
            leader_timeout,
            certification_timeout,
            timeout_retry: leader_timeout / RETRIES_PER_LEADER_TIMEOUT,
            view_retention: ViewDelta::new(VIEW_RETENTION),
            skip: SkipPolicy::Enabled {
                timeout: certification_timeout * SKIP_CERTIFICATION_TIMEOUTS,
                budget: SkipBudget::Participants,
            },
            fetch_timeout: NonZeroDuration::new_panic(FETCH_TIMEOUT),
            fetch_retry_delay: FETCH_RETRY,
            forward: ForwardPolicy::SilentVoters,
        },
    );
    let simplex_task = simplex.start(network.votes, network.certificates, network.resolver);

    Ok(EngineHandle {
        marshal: mailbox,
        tasks: vec![
            ("simplex", simplex_task),
            ("marshal", marshal_task),
            ("delivery", delivery_task),
            ("broadcast", broadcast_task),
            ("watch", watch_task),
        ],
    })
}
