//! A whole node: files, transport, database, stages and servers, started and stopped together.
//!
//! `blindfold node run` and `blindfold gateway` start one; so do tests that make a member faulty.

use crate::{
    config::{NodeConfig, Role},
    identity, journal_mark,
    member::{Channels, Member, Options, api::Api, executor::ExecutorKind, messages},
    metrics::{self, MetricsServer},
    rpc::{NodeApi, RpcServer},
    settlement,
    store::Store,
    transport::{
        ChannelSpec, FollowerUse, Identity, PeerControl, Quota, Receiver, Sender, Transport,
        TransportConfig,
    },
};
use blindfold_committee::secrets::MemberSecrets;
use blindfold_ordering::engine::{self, channels};
use blindfold_wire::genesis::Genesis;
use commonware_p2p::Manager as _;
use commonware_runtime::{Handle, Supervisor as _, tokio as runtime};
use eyre::{Context as _, Result, ensure};
use futures::future::BoxFuture;
use rand::Rng as _;
use std::{io::Read as _, path::Path, sync::Arc};
use tracing::info;
use zeroize::Zeroizing;

/// Largest genesis or secrets file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Prefix of the engine's partitions below the data folder. Never changes.
const ENGINE_PARTITION: &str = "engine";

/// What the files say, checked against each other.
pub struct Loaded {
    /// The configuration.
    pub config: NodeConfig,
    /// The chain.
    pub genesis: Arc<Genesis>,
    /// A member's keys; `None` for a follower.
    pub secrets: Option<MemberSecrets>,
    /// Public ed25519 identity and its seed.
    pub identity: ([u8; 32], Zeroizing<[u8; 32]>),
}

impl Loaded {
    /// Reads `node.toml` at `path` and what it names.
    ///
    /// # Errors
    /// If a file cannot be read, or one does not fit another; the message says what to do.
    pub fn read(path: &Path) -> Result<Self> {
        let config = NodeConfig::read(path)?;
        let document = read_file(&config.genesis).wrap_err(
            "put the chain's genesis document where node.toml says, or make a test chain with \
             `blindfold committee init --dealer`",
        )?;
        let genesis = Genesis::from_json(&document)
            .wrap_err_with(|| format!("genesis {}", config.genesis.display()))?;
        genesis.validate().wrap_err_with(|| format!("genesis {}", config.genesis.display()))?;
        let (secrets, identity) = match config.role {
            Role::Member => {
                let text = Zeroizing::new(read_file(&config.secrets)?);
                let secrets = MemberSecrets::from_text(&text)
                    .wrap_err_with(|| format!("secrets {}", config.secrets.display()))?;
                let seed = secrets.expose_identity(|seed| Zeroizing::new(*seed));
                let public = blindfold_committee::setup::identity_public_key(&seed);
                let member = usize::try_from(secrets.member())
                    .ok()
                    .and_then(|at| genesis.committee.members.get(at));
                ensure!(
                    member.is_some_and(|member| member.identity == public),
                    "the secrets in {} belong to no member of this genesis; take the files of one committee",
                    config.secrets.display()
                );
                (Some(secrets), (public, seed))
            }
            Role::Follower => {
                let seed = identity::read_or_make(&config.data_dir)?;
                let public = blindfold_committee::setup::identity_public_key(&seed);
                ensure!(
                    genesis.committee.members.iter().all(|member| member.identity != public),
                    "the identity in {} is a member's; a follower makes its own: remove the file",
                    config.data_dir.display()
                );
                (None, (public, seed))
            }
        };
        Ok(Self { config, genesis: Arc::new(genesis), secrets, identity })
    }

    /// Leaves the member's keys out: it catches up, executes and serves, and signs nothing.
    pub fn observe(&mut self) {
        self.secrets = None;
    }

    /// Executes with this, whatever the file says.
    pub fn execute_with(&mut self, executor: ExecutorKind) {
        self.config.execution.executor = executor;
    }

    /// What this node is, for people.
    pub fn role(&self) -> String {
        match (&self.secrets, self.config.role) {
            (Some(secrets), _) => {
                format!("member {} of {}", secrets.member(), self.genesis.committee.members.len())
            }
            (None, Role::Member) => "member that signs nothing".to_owned(),
            (None, Role::Follower) => "follower".to_owned(),
        }
    }

    /// Opens the database, and checks that it holds the journal these keys sign with.
    ///
    /// # Errors
    /// If it cannot be opened, or belongs to another chain, or the journal is gone.
    pub fn open_store(&self, fresh_mark: [u8; journal_mark::MARK_BYTES]) -> Result<Store> {
        let folder = self.config.data_dir.join("db");
        let store = Store::open_within(folder, self.genesis.hash().0, &self.config.storage)?;
        if self.secrets.is_some() {
            journal_mark::check(&self.config.secrets, &store, fresh_mark)?;
        }
        Ok(store)
    }
}

fn read_file(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).wrap_err_with(context)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).wrap_err_with(context)?;
    Ok(text)
}

/// The channels of a node over QUIC.
pub type NodeChannels = Channels<Sender, Receiver, PeerControl, PeerControl>;

/// A running node with its servers.
pub struct Running {
    /// Reads from the node and submits to it, without a port in between.
    pub api: Arc<dyn NodeApi>,
    failure: BoxFuture<'static, String>,
    transport: Transport,
    settlement: Option<Handle<()>>,
    rpc: Option<RpcServer>,
    pages: Option<MetricsServer>,
}

impl Running {
    /// Waits until the node cannot go on, and says why. Not to be called again after that.
    pub async fn failed(&mut self) -> String {
        (&mut self.failure).await
    }

    /// Stops the servers, says farewell to the peers. The stages end with the runtime.
    pub async fn stop(self) {
        if let Some(rpc) = self.rpc {
            rpc.stop().await;
        }
        if let Some(pages) = self.pages {
            pages.stop().await;
        }
        if let Some(settlement) = self.settlement {
            settlement.abort();
        }
        self.transport.shutdown().await;
    }
}

/// Starts everything that `loaded` asks for. `seam` may put something between the node and its
/// network, as tests do; the product passes the channels on as they are.
///
/// # Errors
/// If the files do not fit the database, or a port is taken.
pub async fn start(
    mut context: runtime::Context,
    loaded: Loaded,
    seam: impl FnOnce(NodeChannels) -> NodeChannels,
) -> Result<Running> {
    let role = loaded.role();
    let mut fresh_mark = [0; journal_mark::MARK_BYTES];
    context.fill_bytes(&mut fresh_mark);
    let store = loaded.open_store(fresh_mark)?;
    let Loaded { config, genesis, secrets, identity: (public, seed) } = loaded;
    let genesis_hash = genesis.hash();
    let metrics_handle = metrics::install()?;

    let addresses = config
        .network
        .peers
        .iter()
        .map(|peer| {
            let key = engine::parse_identity(&peer.identity).ok_or_else(|| {
                eyre::eyre!(
                    "node.toml: network.peers: {} is no ed25519 key",
                    hex::encode(peer.identity)
                )
            })?;
            Ok((key, peer.address.to_string()))
        })
        .collect::<Result<_>>()?;
    let (transport, ends) = Transport::bind(
        TransportConfig {
            listen: config.network.listen,
            genesis_hash: genesis_hash.0,
            identity: Identity::from_seed(*seed)?,
            addresses,
            max_followers: match config.role {
                Role::Member => config.network.max_followers,
                Role::Follower => 0,
            },
        },
        channel_specs(&genesis),
    )?;
    let mut control = transport.control();
    let members: commonware_utils::ordered::Set<_> = engine::identities(&genesis)?
        .try_into()
        .map_err(|_| eyre::eyre!("genesis: an identity repeats"))?;
    control.track(0, members);
    let [votes, certificates, resolver, blocks, backfill, commitments, envelopes, shares] = ends;
    let channels = seam(Channels {
        engine: engine::Network {
            votes,
            certificates,
            resolver,
            blocks,
            backfill,
            commitments,
            peers: control.clone(),
            blocker: control.clone(),
        },
        envelopes,
        shares,
        blocker: control.clone(),
    });
    let mut checker_secret = [0; 32];
    context.fill_bytes(&mut checker_secret);
    let options = Options {
        mempool: config.mempool.clone(),
        witness_heights: config.storage.witness_heights,
        execution: config.execution.clone(),
        checker_secret,
        engine_partition: ENGINE_PARTITION.to_owned(),
    };
    let member = Member::start(
        context.child("member"),
        Arc::clone(&genesis),
        &public,
        secrets.as_ref(),
        store,
        channels,
        options,
    )
    .await?;
    drop(secrets);
    let settlement = match config.settlement.l1_rpc.is_empty() {
        true => None,
        false => {
            let key = member.shared.keys.as_ref().map(|keys| keys.signer.clone());
            let (shared, settings) = (Arc::clone(&member.shared), config.settlement.clone());
            Some(settlement::start(context.child("settlement"), shared, settings, key))
        }
    };

    let api: Arc<dyn NodeApi> =
        Arc::new(Api::new(Arc::clone(&member.shared), member.pool.clone(), control));
    let failure = Box::pin(member.failed());
    let rpc = match config.rpc.enabled {
        true => Some(RpcServer::start(config.rpc.clone(), Arc::clone(&api)).await?),
        false => None,
    };
    let pages = match config.metrics.enabled {
        true => Some(
            MetricsServer::start(config.metrics.listen, metrics_handle, Arc::clone(&api))
                .await
                .wrap_err_with(|| {
                    format!(
                        "cannot listen on {}; see [metrics] in node.toml",
                        config.metrics.listen
                    )
                })?,
        ),
        false => None,
    };
    info!(target: "blindfold::node", %genesis_hash, chain_id = genesis.chain_id, "running as {role}");
    Ok(Running { api, failure, transport, settlement, rpc, pages })
}

/// Messages of one peer on the channels that carry one request or answer per height.
const CATCH_UP_QUOTA: Quota = Quota { per_second: 512, burst: 1_024 };

/// The channels of the transport: the engine's six, then ours. Priorities keep votes ahead of blocks.
///
/// A follower's engine advances on certificates alone, so it hears those and the blocks, and asks for
/// what it missed. It sees no votes, no first-seen commitments (members tell it the evidence), no
/// gossip and no bundles (it asks for openings); what is submitted to it, it hands to the members.
pub fn channel_specs(genesis: &Genesis) -> [ChannelSpec; 8] {
    use FollowerUse::{Asks, Listens, ListensAndAsks, Nothing};
    let engine_bytes = engine::max_message_bytes(genesis);
    let large = |id, name| ChannelSpec::large(id, name, engine_bytes);
    // Many small messages while somebody catches up: a request and an answer per height.
    let asked_often = |spec| ChannelSpec { quota: CATCH_UP_QUOTA, ..spec };
    [
        ChannelSpec::small(channels::VOTES, "votes").for_followers(Nothing),
        ChannelSpec::small(channels::CERTIFICATES, "certificates").for_followers(Listens),
        large(channels::RESOLVER, "resolver").for_followers(Asks),
        large(channels::BLOCKS, "blocks").for_followers(Listens),
        asked_often(large(channels::BACKFILL, "backfill")).for_followers(Asks),
        ChannelSpec::small(channels::COMMITMENTS, "commitments").for_followers(Nothing),
        ChannelSpec::large(
            messages::ENVELOPE_CHANNEL,
            "envelopes",
            messages::MAX_ENVELOPE_MESSAGE_BYTES,
        )
        .for_followers(Asks),
        asked_often(ChannelSpec::large(
            messages::SHARE_CHANNEL,
            "shares",
            messages::MAX_SHARE_MESSAGE_BYTES,
        ))
        .for_followers(ListensAndAsks),
    ]
}
