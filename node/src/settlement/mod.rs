//! The node's part in settlement: follows L1, and posts batches when it is this member's turn.
//!
//! | task | does | owns |
//! |---|---|---|
//! | [`watcher`] | reads L1: batches, challenges, outputs, forced items, base fees | nothing but its place |
//! | [`poster`] | answers challenges; builds batches of executed heights and gets them onto L1; does what [`outputs`] asks for | one transaction at a time |
//!
//! What is decided without L1 at hand is decided in `settlement::poster` and `settlement::reveal`; here are the
//! effects. A member without
//! an L1 in its configuration orders, opens and executes all the same, but posts nothing, and cannot judge
//! proposals that name an L1 block it has not seen.

mod answers;
pub mod book;
pub mod challenges;
pub mod drafts;
#[cfg(feature = "demo")]
mod misposting;
pub mod outbox;
pub mod outputs;
pub mod poster;
pub mod read;
pub mod rows;
mod sending;
pub mod watcher;

use crate::{
    config::SettlementConfig,
    l1::http::{self, HttpOptions},
    member::{MemberError, Shared, l1::L1UpdateError},
};
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use alloy_transport::TransportError;
use blindfold_ordering::schedule::{LeaderSchedule, ScheduleError};
use blindfold_settlement::{
    accumulator::LeaderTable,
    batch::{BuildError, PushError},
    bindings::{BatchInbox, OutputOracle},
    blobs::BlobError,
    derive::Fault,
    l1::{L1, L1Error, SharedL1},
    posting::CallError,
    reveal::RevealError,
};
use blindfold_wire::{Genesis, GenesisError, SigningKey};
use challenges::Challenges;
use commonware_runtime::{Clock, Handle, Spawner};
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

/// Why settlement does not get on. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// L1 gives no answer, or not a usable one.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// L1 answered something that cannot be: its fault, or the wrong node.
    #[error("L1 answered with {0}")]
    Unusable(&'static str),
    /// There is no inbox at the address that the genesis document names.
    #[error("no settlement contract at {0}: deploy it first, or check the L1 in node.toml")]
    NoContract(Address),
    /// The inbox on L1 is another chain's.
    #[error("the settlement contract at {0} is of another chain")]
    OtherChain(Address),
    /// What L1 called final is not any more.
    #[error("L1 said that block {known} is final, and now says {got}; is this another L1?")]
    FinalityBroken {
        /// The highest block known as final.
        known: u64,
        /// What it says now.
        got: u64,
    },
    /// What L1 says does not go with what it said before, or cannot be stored.
    #[error("L1 contradicts itself: {0}")]
    View(#[from] L1UpdateError),
    /// The node's own records fail.
    #[error(transparent)]
    Records(#[from] MemberError),
    /// A height cannot be posted.
    #[error("height {height}: {source}")]
    Height {
        /// The height.
        height: u64,
        /// Why.
        source: PushError,
    },
    /// No batch can be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No call can be made of a batch.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Data does not go into blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A challenge cannot be answered.
    #[error(transparent)]
    Reveal(#[from] RevealError),
    /// The data of a batch is not what was certified: its poster's fault.
    #[error("the batch's data: {0}")]
    Data(#[from] Fault),
    /// The genesis document has no leaders, or no keys.
    #[error("genesis document: {0}")]
    Leaders(#[from] ScheduleError),
    /// As above.
    #[error("genesis document: {0}")]
    Genesis(#[from] GenesisError),
    /// The inbox would refuse a call, so it is not sent.
    #[error("the inbox would refuse it: {0}")]
    WouldRevert(L1Error),
}

pub(crate) fn transport(error: TransportError) -> SettlementError {
    SettlementError::L1(error.into())
}

/// Milliseconds since the Unix epoch; zero before it.
fn unix_ms(clock: &impl Clock) -> u64 {
    let since = clock.current().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who leads which view, by signer, as the registry on L1 has it.
///
/// # Errors
/// If the genesis document has no members, or too many.
pub fn leader_table(genesis: &Genesis) -> Result<LeaderTable, ScheduleError> {
    let schedule = LeaderSchedule::first(genesis)?;
    let members = &genesis.committee.members;
    let signer = |view: usize| {
        let leader = schedule.leader(view as u64);
        members.get(leader).map(|member| member.signer).unwrap_or_default()
    };
    LeaderTable::new((0..schedule.slots()).map(signer).collect()).ok_or(ScheduleError::NoMembers)
}

/// The contracts of a chain that a node speaks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    /// The inbox: what the genesis document calls the settlement contract.
    pub inbox: Address,
    /// The forced queue, as the inbox names it.
    pub queue: Address,
    /// Time to answer a challenge, in seconds.
    pub challenge_window_s: u64,
    /// The output oracle.
    pub oracle: Address,
    /// The bridge.
    pub bridge: Address,
    /// Time to challenge an output, in seconds.
    pub output_window_s: u64,
    /// Time to prove a challenged output, in seconds.
    pub prove_window_s: u64,
    /// Bond of an output, and of a challenge to one, in wei.
    pub output_bond_wei: U256,
}

impl Contracts {
    /// Asks the inbox that the genesis document names for the others, and for its chain.
    ///
    /// # Errors
    /// If it is not there, or is another chain's.
    pub async fn find(l1: &dyn L1, genesis: &Genesis) -> Result<Self, SettlementError> {
        let inbox = genesis.settlement;
        let provider = l1.provider();
        if provider.get_code_at(inbox).await.map_err(transport)?.is_empty() {
            return Err(SettlementError::NoContract(inbox));
        }
        let contract = BatchInbox::new(inbox, provider);
        let hash = contract.genesisHash().call().await.map_err(contract_error)?;
        let chain_id = contract.l2ChainId().call().await.map_err(contract_error)?;
        if hash != genesis.hash() || chain_id != genesis.chain_id {
            return Err(SettlementError::OtherChain(inbox));
        }
        let all = contract.contracts().call().await.map_err(contract_error)?;
        let oracle = OutputOracle::new(all.oracle, l1.provider());
        Ok(Self {
            inbox,
            queue: all.queue,
            challenge_window_s: contract.challengeWindow().call().await.map_err(contract_error)?,
            oracle: all.oracle,
            bridge: all.bridge,
            output_window_s: oracle.outputWindow().call().await.map_err(contract_error)?,
            prove_window_s: oracle.proveWindow().call().await.map_err(contract_error)?,
            output_bond_wei: oracle.outputBond().call().await.map_err(contract_error)?,
        })
    }
}

/// Connects to the L1 that a configuration names.
///
/// # Errors
/// If the URL is none, the node does not answer, or is of another chain.
pub async fn connect(config: &SettlementConfig) -> Result<SharedL1, L1Error> {
    let options = HttpOptions {
        chain_id: (config.l1_chain_id != 0).then_some(config.l1_chain_id),
        beacon_url: (!config.beacon_api.is_empty()).then(|| config.beacon_api.clone()),
        ..HttpOptions::default()
    };
    Ok(Arc::new(http::connect(&config.l1_rpc, &options).await?))
}

async fn find(
    shared: &Shared,
    config: &SettlementConfig,
) -> Result<(SharedL1, Contracts), SettlementError> {
    let l1 = connect(config).await?;
    let contracts = Contracts::find(l1.as_ref(), &shared.genesis).await?;
    Ok((l1, contracts))
}

pub(crate) fn contract_error(error: alloy_contract::Error) -> SettlementError {
    match error {
        alloy_contract::Error::TransportError(error) => transport(error),
        _ => SettlementError::Unusable("an answer that is not the contract's"),
    }
}

/// Starts following L1, and, if this is a member, answering challenges, and posting if it is told to. Until L1 answers and the contracts are
/// found it asks for them again and again: an L1 that is away stops nothing else.
pub fn start<E: Clock + Spawner>(
    context: E,
    shared: Arc<Shared>,
    config: SettlementConfig,
    key: Option<SigningKey>,
) -> Handle<()> {
    context.spawn(move |context| async move {
        let poll = Duration::from_millis(config.poll_ms);
        let (l1, contracts) = loop {
            match find(&shared, &config).await {
                Ok(found) => break found,
                Err(reason) => {
                    tracing::warn!(target: "blindfold::settlement", %reason, "settlement waits for L1");
                    context.sleep(poll.max(Duration::from_secs(1))).await;
                }
            }
        };
        if let Some(banner) = l1.kind().banner() {
            tracing::warn!(target: "blindfold::settlement", "{banner}");
        }
        let challenges = Arc::new(Challenges::default());
        let watcher = watcher::Watcher::new(
            Arc::clone(&shared),
            Arc::clone(&l1),
            contracts,
            Arc::clone(&challenges),
            config.from_block,
            poll,
        );
        let following = watcher.run(context.child("watcher"));
        match key {
            Some(key) => {
                let poster =
                    poster::Poster::new(shared, l1, contracts, challenges, key, &config);
                futures::join!(following, poster.run(context.child("poster")));
            }
            None => following.await,
        }
    })
}
