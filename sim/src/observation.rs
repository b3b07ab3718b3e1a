//! What a run leaves behind, as plain data: the observer's log, each member's records, and what an
//! independent replay made of them. The properties judge this and nothing else.

use crate::{
    l1::L1,
    observer::{Log, Proposed},
    scenario::{Adversary, Proof},
    stake::Stake,
    votes,
    wallets::{Content, Submission},
};
use alloy_primitives::B256;
use blindfold_committee::{batch::SealedBatch, catchup};
use blindfold_execution::{
    BlockContext, BlockRecord, Executor as _, ForcedVerdict, SequentialExecutor, genesis_block,
    state::{MemoryStore, ParentState},
};
use blindfold_mempool::{PoolStatus, Removal};
use blindfold_node::member::{Shared, records::Records};
use blindfold_ordering::schedule::LeaderSchedule;
use blindfold_wire::{Block, Evidence, ForcedItem, Genesis, Opening, TxStatus, VoteCommittee};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

/// Weights of the batched proof checks of the replay; unpredictability protects nobody here.
const REPLAY_WEIGHTS: [u8; 32] = [7; 32];

/// The roots of an executed height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Hash of the EVM block.
    pub block_hash: B256,
    /// State root after it.
    pub state_root: B256,
    /// What a commitment k heights above must carry.
    pub executed_root: B256,
}

impl Roots {
    fn of(record: &BlockRecord) -> Self {
        Self {
            block_hash: record.hash,
            state_root: record.state_root(),
            executed_root: record.executed_root,
        }
    }
}

/// A final height as one member has it.
#[derive(Clone, Debug)]
pub struct HeightView {
    /// Digest of its commitment, as recorded.
    pub digest: B256,
    /// The block's own digest, parent, height and ids.
    pub block: Option<(B256, Proposed)>,
    /// The executed root that its commitment carries.
    pub carries: B256,
    /// Whether the stored proof verifies for the recorded digest.
    pub proof: Result<(), String>,
    /// Its openings, once there.
    pub openings: Option<Vec<Opening>>,
    /// Its roots, once executed.
    pub roots: Option<Roots>,
    /// What it says of L1, and which forced items it consumes.
    pub forced: ForcedView,
}

/// What a final height says of L1.
#[derive(Clone, Debug, Default)]
pub struct ForcedView {
    /// The L1 block that it names.
    pub l1_block: u64,
    /// That block's base fee, as it says, in wei per gas.
    pub l1_base_fee: u64,
    /// Head of the queue after it.
    pub cursor: u64,
    /// Rolling hash of the queue after it.
    pub hash: B256,
    /// The items that it consumes.
    pub items: Vec<ForcedItem>,
    /// What became of each, once executed.
    pub verdicts: Option<Vec<ForcedVerdict>>,
    /// When the member held the proof that it is final, in milliseconds from the start.
    pub final_ms: u64,
}

/// An offence that a member holds proof of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// What it proves.
    pub proof: Proof,
    /// The offender, by nothing but the genesis document and the proof's own bytes; or why it proves
    /// nothing.
    pub against: Result<usize, String>,
}

/// How the network got going again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When all faults had stopped, in milliseconds from the start.
    pub calm_ms: u64,
    /// The highest final height of an honest member then.
    pub height: u64,
    /// When a higher one was final at an honest member.
    pub next_ms: Option<u64>,
}

/// What one member has at the end.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Whether it is up at the end.
    pub up: bool,
    /// Its final heights.
    pub heights: BTreeMap<u64, HeightView>,
    /// Status of each submitted envelope.
    pub statuses: BTreeMap<B256, TxStatus>,
    /// Offences that it holds proof of.
    pub accusations: Vec<Accusation>,
    /// Shares it saw released for an order that is not the final one.
    pub uncertified: u64,
    /// Why it cannot go on, if so.
    pub failure: Option<String>,
}

/// An envelope that was handed in, and how it must end.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Envelope id.
    pub id: B256,
    /// What is in it.
    pub content: Content,
    /// Whether a member admitted it, or the last refusal.
    pub admitted: Result<(), String>,
}

/// Everything that the properties judge.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Votes that finalize.
    pub quorum: usize,
    /// Shares that open.
    pub threshold: usize,
    /// Members whose shares an adversary is taken to have from the start.
    pub adversaries: usize,
    /// k: a commitment carries the executed root of k heights below.
    pub executed_lag: u64,
    /// Digest of height 0.
    pub genesis: B256,
    /// The member that does not follow the protocol, if there is one.
    pub adversary: Option<Adversary>,
    /// How often it broke the protocol.
    pub deeds: usize,
    /// By member: whether its process was away for a time.
    pub away: Vec<bool>,
    /// How the network got going after the faults stopped, if they did.
    pub recovery: Option<Recovery>,
    /// L1 as it was.
    pub l1: Arc<L1>,
    /// When the world ended, in milliseconds from the start.
    pub ended_ms: u64,
    /// What went over the network.
    pub log: Log,
    /// The members, by index; `None` for one that never started.
    pub members: Vec<Option<MemberView>>,
    /// Roots of every height, executed anew from genesis; or why that failed.
    pub replay: Result<BTreeMap<u64, Roots>, String>,
    /// What was handed in.
    pub expected: Vec<Expected>,
    /// What the slasher could be shown.
    pub stake: Stake,
    /// Pairs of members of which the first cut the second off.
    pub blocked: Vec<(usize, usize)>,
}

impl Observation {
    /// Whether a member counts as honest.
    pub fn is_honest(&self, member: usize) -> bool {
        self.adversary.is_none_or(|adversary| adversary.member != member)
    }

    /// The honest members that ever started, by index.
    pub fn honest(&self) -> impl Iterator<Item = (usize, &MemberView)> {
        let members = self.members.iter().enumerate();
        members
            .filter_map(|(index, member)| Some((index, member.as_ref()?)))
            .filter(|(index, _)| self.is_honest(*index))
    }
}

/// Everything that a member holds against others, verified as a stranger would: from bytes.
///
/// # Panics
/// If the genesis has no valid keys.
pub fn accusations(genesis: &Genesis, shared: &Shared) -> Vec<Accusation> {
    let public = genesis.committee_public().expect("a valid genesis");
    let evidence = shared.records.evidence().expect("the database reads");
    let mut out: Vec<Accusation> = evidence
        .iter()
        .map(|evidence| Accusation {
            proof: Proof::Evidence(evidence.offence()),
            against: Evidence::decode(&evidence.encode())
                .map_err(|error| error.to_string())
                .and_then(|evidence| {
                    evidence.verify(genesis, &public).map_err(|error| error.to_string())
                })
                .map(|offender| offender.member as usize),
        })
        .collect();
    let faults = shared.vote_faults.lock();
    out.extend(faults.values().map(|fault| Accusation {
        proof: Proof::Votes(fault.kind),
        against: votes::offender(genesis, fault),
    }));
    out
}

/// Status of an envelope as this member's records and mempool have it.
pub fn status(shared: &Shared, id: B256) -> Option<TxStatus> {
    let records = &shared.records;
    if let Some(place) = records.envelope(id).expect("the database reads") {
        let executed = records.executed(place.height).expect("the database reads");
        return Some(
            match executed.as_ref().and_then(|record| record.outcomes.get(place.at as usize)) {
                Some(outcome) => outcome.status(place.height, place.at),
                None => TxStatus::Ordered { height: place.height, position: place.at },
            },
        );
    }
    shared.pool.lock().status(&id).map(|status| match status {
        PoolStatus::Ended(Removal::Expired { height }) => TxStatus::Expired { height },
        PoolStatus::Ended(Removal::Ordered { .. }) | PoolStatus::Pending | PoolStatus::Gapped => {
            TxStatus::Pending
        }
        PoolStatus::Ended(_) => TxStatus::Evicted,
    })
}

impl MemberView {
    /// Reads everything that the member has.
    pub fn read(
        shared: &Shared,
        up: bool,
        submissions: &[Submission],
        accusations: Vec<Accusation>,
    ) -> Self {
        let mut heights = BTreeMap::new();
        for height in 1.. {
            match height_view(&shared.records, height, &shared.votes) {
                Some(view) => heights.insert(height, view),
                None => break,
            };
        }
        let statuses = submissions
            .iter()
            .filter_map(|submission| Some((submission.id, status(shared, submission.id)?)))
            .collect();
        let uncertified = shared.uncertified_releases.load(Ordering::Relaxed);
        Self { up, heights, statuses, accusations, uncertified, failure: shared.failure() }
    }
}

fn height_view(records: &Records, height: u64, votes: &VoteCommittee) -> Option<HeightView> {
    let record = records.height(height).expect("the database reads")?;
    let block = records.block(height).expect("the database reads");
    let proof = match &block {
        None => Err("there is no block".to_owned()),
        Some(block) => match record.certify(block.commitment.commitment.clone(), votes) {
            Ok(certified) if certified.digest() == record.digest => Ok(()),
            Ok(certified) => Err(format!("the proof is for {}", certified.digest())),
            Err(error) => Err(error.to_string()),
        },
    };
    let executed = records.executed(height).expect("the database reads");
    Some(HeightView {
        digest: record.digest,
        carries: block
            .as_ref()
            .map(|block| block.commitment.commitment.executed_root)
            .unwrap_or_default(),
        block: block.as_ref().map(|block| (block.digest(), proposed(block))),
        proof,
        openings: records.openings(height).expect("the database reads").map(|set| set.openings),
        roots: executed.as_ref().map(Roots::of),
        forced: block.map_or_else(ForcedView::default, |block| {
            let commitment = &block.commitment.commitment;
            let verdicts =
                |record: BlockRecord| record.forced.iter().map(|it| it.verdict).collect();
            ForcedView {
                l1_block: commitment.l1_block,
                l1_base_fee: commitment.l1_base_fee,
                cursor: commitment.forced_cursor,
                hash: commitment.forced_hash,
                items: block.forced.items().to_vec(),
                verdicts: executed.map(verdicts),
                final_ms: record.ordered_ms,
            }
        }),
    })
}

fn proposed(block: &Block) -> Proposed {
    // A body that does not fit its commitment has no ids, which P2 notices.
    Proposed {
        height: block.height(),
        parent: block.parent(),
        ids: block.validate_shape().unwrap_or_default(),
    }
}

/// Executes every height anew from genesis, in memory, from nothing but the blocks, proofs and
/// openings in `records`; each is verified as a stranger would.
///
/// # Errors
/// If something does not verify or execute; says what.
pub fn replay(genesis: &Genesis, records: &Records) -> Result<BTreeMap<u64, Roots>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let votes = VoteCommittee::from_genesis(genesis).map_err(|error| text(&error))?;
    let public = genesis.committee_public().map_err(|error| text(&error))?;
    let rules = genesis.admission_rules().map_err(|error| text(&error))?;
    let weights: Vec<u64> = genesis.committee.members.iter().map(|member| member.stake).collect();
    let schedule =
        LeaderSchedule::new(0, genesis.hash(), &weights).map_err(|error| text(&error))?;
    let executor = SequentialExecutor::new(genesis);
    let store = Arc::new(MemoryStore::new());
    let first = genesis_block(genesis).map_err(|error| text(&error))?;
    store.apply(first.writes()).map_err(|error| text(&error))?;
    let mut state = ParentState::open(store.clone()).map_err(|error| text(&error))?;
    let mut roots = BTreeMap::new();
    for height in 1.. {
        let at = |error: &dyn std::fmt::Display| format!("height {height}: {error}");
        let read = (
            records.height(height).map_err(|error| at(&error))?,
            records.block(height).map_err(|error| at(&error))?,
            records.openings(height).map_err(|error| at(&error))?,
        );
        let (Some(record), Some(block), Some(openings)) = read else { break };
        let certified = record
            .certify(block.commitment.commitment.clone(), &votes)
            .map_err(|error| at(&error))?;
        let envelopes =
            block.check_envelopes(&rules, REPLAY_WEIGHTS).map_err(|error| at(&error))?;
        let batch = SealedBatch::new(certified, envelopes).map_err(|error| at(&error))?;
        let opened =
            catchup::verify_openings(&public, &batch, openings, 1).map_err(|error| at(&error))?;
        let leader = schedule.leader(opened.commitment().view);
        let beneficiary = genesis.committee.members[leader].fee_address;
        let executed = executor
            .execute(&state, &opened, &BlockContext { beneficiary, forced: Arc::new(block.forced) })
            .map_err(|error| at(&error))?;
        store.apply(executed.writes()).map_err(|error| at(&error))?;
        state = ParentState::open(store.clone()).map_err(|error| at(&error))?;
        roots.insert(height, Roots::of(&executed.record));
    }
    Ok(roots)
}
