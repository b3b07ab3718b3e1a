//! What the tasks of a node share.

use super::{
    MemberError, Options,
    cache::Checker,
    chain::Chain,
    hints::Hints,
    l1::{L1Store, L1UpdateError},
    recheck::Rechecks,
    records::Records,
    witness::Witnesses,
};
use crate::{
    metrics,
    rpc::api::NodeEvent,
    settlement::{book::Book, outbox::Outbox, outputs::OutputBook},
    store::Store,
};
use blindfold_committee::{
    journal::SigningJournal,
    release::{MemberSeat, Releaser},
    secrets::MemberSecrets,
};
use blindfold_crypto::CommitteePublic;
use blindfold_execution::{
    Executor,
    bal::BalExecutor,
    genesis_block,
    state::{ParentState, StateError, StateStore},
};
use blindfold_mempool::{Mempool, MempoolConfig};
use blindfold_ordering::{events::VoteFault, l1::L1Update, schedule::LeaderSchedule};
use blindfold_wire::{
    AdmissionRules, Block, CheckedEnvelope, Evidence, ForcedSpan, OrderCommitment, SigningKey,
    VoteCommittee, genesis::Genesis, key_id,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{broadcast, watch};
use tracing::{error, warn};

/// Events kept for a slow subscriber before it loses the oldest.
const EVENT_BUFFER: usize = 1_024;
/// Proofs kept against one member in a run. One costs it its stake; it could sign any number of them.
const MAX_EVIDENCE_PER_MEMBER: usize = 64;

/// A member's keys at work.
pub struct Keys {
    /// Index in the committee.
    pub member: u32,
    /// Signs commitments, bundles, receipts.
    pub signer: SigningKey,
    /// Signs each slot at most once.
    pub journal: Arc<SigningJournal<Store>>,
    /// Releases shares.
    pub releaser: Arc<Releaser<Store>>,
}

/// What the tasks of a node share.
pub struct Shared {
    /// The genesis document, validated.
    pub genesis: Arc<Genesis>,
    /// Committee keys for shares and openings.
    pub public: CommitteePublic,
    /// Committee keys for certificates.
    pub votes: VoteCommittee,
    /// A member's keys; `None` for a follower.
    pub keys: Option<Keys>,
    /// Checks envelopes.
    pub checker: Arc<Checker>,
    /// Executes heights.
    pub executor: Arc<dyn Executor>,
    /// How far the node has got.
    pub chain: Chain,
    /// The database as the node's tasks use it.
    pub records: Records,
    /// What is known of L1.
    pub l1: L1Store,
    /// Access lists of heights to come, as peers gave them.
    pub hints: Hints,
    /// Executes along them.
    pub along: BalExecutor,
    /// Chooses the heights that are executed again.
    pub rechecks: Rechecks,
    /// Makes the witnesses of executed heights.
    pub witnesses: Witnesses,
    /// Batches on L1.
    pub book: Book,
    /// Outputs on L1.
    pub outputs: OutputBook,
    /// Withdrawals, and what proves them.
    pub outbox: Outbox,
    /// The mempool.
    pub pool: Mutex<Mempool>,
    /// What subscribers hear.
    pub events: broadcast::Sender<NodeEvent>,
    /// Bundles of other members for an order that is not the final one.
    pub uncertified_releases: AtomicU64,
    /// The first pair of conflicting engine votes of each member, by its index; verified.
    pub vote_faults: Mutex<BTreeMap<usize, VoteFault>>,
    /// The highest height of which a certificate was seen: where the network is at least.
    pub network_tip: AtomicU64,
    /// Executed height when this process started.
    pub started_at: u64,
    /// Proofs kept in this run, by offender.
    evidence_kept: Mutex<BTreeMap<u32, usize>>,
    /// Forced items of final heights that are not executed yet.
    forced: Mutex<BTreeMap<u64, Arc<ForcedSpan>>>,
    candidates: watch::Sender<u64>,
    failure: watch::Sender<Option<String>>,
    schedule: OnceLock<LeaderSchedule>,
}

impl Shared {
    /// Opens the chain in `store`, writing genesis if it is empty.
    pub(super) fn open(
        genesis: Arc<Genesis>,
        secrets: Option<&MemberSecrets>,
        store: &Store,
        options: &Options,
    ) -> Result<Self, MemberError> {
        let committee = &genesis.committee;
        let wrong = |what: &dyn std::fmt::Display| MemberError::Keys(format!("genesis: {what}"));
        let public = genesis.committee_public().map_err(|reason| wrong(&reason))?;
        let votes = VoteCommittee::from_genesis(&genesis).map_err(|reason| wrong(&reason))?;
        let rules = AdmissionRules {
            chain_id: genesis.chain_id,
            committee: public.key().clone(),
            key_id: key_id(genesis.chain_id, &committee.y, genesis.activation),
        };
        let records = Records::new(store.clone(), committee.members.len());
        let state_store: Arc<dyn StateStore> = Arc::new(store.clone());
        let state = match ParentState::open(Arc::clone(&state_store)) {
            Ok(state) => state,
            Err(StateError::Empty) => {
                records.store_genesis(&genesis_block(&genesis)?)?;
                ParentState::open(state_store)?
            }
            Err(error) => return Err(error.into()),
        };
        let keys = secrets.map(|secrets| Keys::open(&genesis, secrets, store)).transpose()?;
        let seat = keys.as_ref().map_or(0, |keys| keys.member as usize);
        let bounds = &options.mempool;
        let pool = Mempool::new(MempoolConfig {
            max_bytes: bounds.max_bytes,
            max_envelopes: bounds.max_envelopes,
            max_per_payer: bounds.max_per_payer,
            replacement_bump_percent: bounds.replacement_bump_percent,
            ..MempoolConfig::new(genesis.params.clone())
        });
        let started_at = state.tip().height;
        let (executor, along) = super::executor::executors(
            &genesis,
            options.execution.executor,
            options.execution.threads,
        );
        records.drop_witnesses(started_at, options.witness_heights)?;
        let tip = match started_at {
            0 => Block::genesis(&genesis),
            height => {
                records.block(height)?.ok_or(MemberError::Missing { what: "block", height })?
            }
        };
        let tip = tip.commitment.commitment;
        let l1 = L1Store::open(store, (tip.forced_cursor, tip.forced_hash))?;
        let chain = Chain::new(genesis.params.clone(), records.clone(), state);
        chain.set_l1_base_fee(tip.l1_base_fee);
        Ok(Self {
            network_tip: AtomicU64::new(started_at),
            started_at,
            public,
            votes,
            keys,
            checker: Arc::new(Checker::new(rules, options.checker_secret)),
            executor,
            chain,
            records,
            l1,
            hints: Hints::default(),
            along,
            rechecks: Rechecks::new(options.execution.recheck_one_in, seat),
            witnesses: Witnesses::new(options.witness_heights),
            book: Book::new(store.clone()),
            outputs: OutputBook::open(store.clone())?,
            outbox: Outbox::new(store.clone(), !genesis.settlement.is_zero()),
            pool: Mutex::new(pool),
            events: broadcast::channel(EVENT_BUFFER).0,
            uncertified_releases: AtomicU64::new(0),
            vote_faults: Mutex::default(),
            evidence_kept: Mutex::default(),
            forced: Mutex::default(),
            candidates: watch::channel(0).0,
            failure: watch::channel(None).0,
            schedule: OnceLock::new(),
            genesis,
        })
    }

    pub(super) fn set_schedule(&self, schedule: LeaderSchedule) {
        let _ = self.schedule.set(schedule);
    }

    /// Index of the member that led a commitment's view.
    pub fn leader_of(&self, commitment: &OrderCommitment) -> usize {
        self.schedule.get().map_or(0, |schedule| schedule.leader(commitment.view))
    }

    /// Takes over what became final on L1: blocks in order, without gaps, each with all its forced items. `now_ms` is
    /// this node's clock.
    ///
    /// # Errors
    /// [`L1UpdateError`]; nothing of it was taken.
    pub fn update_l1(&self, update: &L1Update, now_ms: u64) -> Result<(), L1UpdateError> {
        self.l1.update(update, now_ms)
    }

    /// Keeps the forced items of a final height until it is executed.
    pub(super) fn keep_forced(&self, block: &Block) {
        if !block.forced.items().is_empty() {
            self.forced.lock().insert(block.height(), Arc::new(block.forced.clone()));
        }
    }

    /// The forced items of a final height.
    pub(super) fn forced_of(
        &self,
        commitment: &OrderCommitment,
    ) -> Result<Arc<ForcedSpan>, MemberError> {
        let height = commitment.height;
        if commitment.forced_cursor == 0 {
            return Ok(Arc::default());
        }
        if let Some(span) = self.forced.lock().get(&height) {
            return Ok(Arc::clone(span));
        }
        let block = self.records.block(height)?;
        let block = block.ok_or(MemberError::Missing { what: "block", height })?;
        Ok(Arc::new(block.forced))
    }

    /// Notes that a height was executed: what it consumed of the forced queue is needed no more.
    pub(super) fn forced_executed(&self, commitment: &OrderCommitment) {
        let mut forced = self.forced.lock();
        *forced = forced.split_off(&commitment.height.saturating_add(1));
        drop(forced);
        if let Err(reason) = self.l1.forget_consumed(commitment.forced_cursor) {
            // They are forgotten with the next height, or at the next start.
            warn!(target: "blindfold::node", %reason, "consumed forced items are kept on");
        }
    }

    /// Index of this member; 0 for a follower.
    pub fn seat(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.member as usize)
    }

    /// The highest height that the network is known to have ordered.
    pub fn highest_known(&self) -> u64 {
        let ordered_height = self.chain.progress().ordered_height;
        ordered_height.max(self.network_tip.load(Ordering::Relaxed))
    }

    /// Whether the committee has a height behind it: a certified commitment names the root of k heights
    /// below, so a quorum has executed, and therefore opened, everything up to there.
    pub(super) fn is_behind(&self, height: u64) -> bool {
        let tip = self.network_tip.load(Ordering::Relaxed);
        height.saturating_add(self.genesis.params.executed_lag) <= tip
    }

    /// Computes shares ahead of the certificate. They stay inside the releaser.
    pub(super) fn precompute(&self, envelopes: &[CheckedEnvelope]) {
        if let Some(keys) = &self.keys {
            keys.releaser.precompute(envelopes, 1);
        }
    }

    /// Tells a waiting leader that there may be something new.
    pub(super) fn candidates_changed(&self) {
        self.candidates.send_modify(|version| *version += 1);
    }

    pub(super) fn candidates_version(&self) -> u64 {
        *self.candidates.borrow()
    }

    /// Resolves once the candidates are newer than `version`.
    pub(super) fn wait_candidates(&self, version: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut candidates = self.candidates.subscribe();
        async move {
            // Ends only with the node.
            let _ = candidates.wait_for(|current| *current > version).await;
        }
    }

    /// Whether there is room for evidence against whom it accuses. Costs next to nothing.
    pub(super) fn has_evidence_room(&self, evidence: &Evidence) -> bool {
        let kept = self.evidence_kept.lock();
        let kept = |member| kept.get(&member).copied().unwrap_or_default();
        evidence.accused().is_none_or(|member| kept(member) < MAX_EVIDENCE_PER_MEMBER)
    }

    /// Verifies evidence and keeps it for good. `false` if it proves no offence of this committee; what there is
    /// no room for is not looked at.
    pub(super) fn keep_evidence(&self, evidence: &Evidence) -> bool {
        if !self.has_evidence_room(evidence) {
            return true;
        }
        let id = evidence.id();
        if self.records.holds_evidence(id).unwrap_or(false) {
            return true;
        }
        let Ok(offender) = evidence.verify(&self.genesis, &self.public) else { return false };
        {
            let mut kept = self.evidence_kept.lock();
            let kept = kept.entry(offender.member).or_default();
            if *kept >= MAX_EVIDENCE_PER_MEMBER {
                return true;
            }
            *kept += 1;
        }
        metrics::evidence(evidence.offence());
        if let Err(reason) = self.records.store_evidence(evidence) {
            error!(target: "blindfold::node", %reason, "evidence is not stored");
        }
        true
    }

    /// Says that the node cannot go on. The first reason counts.
    pub(super) fn fail(&self, reason: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(reason);
            first
        });
    }

    /// Why the node cannot go on, if so.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Resolves once the node cannot go on.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

impl Keys {
    fn open(
        genesis: &Genesis,
        secrets: &MemberSecrets,
        store: &Store,
    ) -> Result<Self, MemberError> {
        let wrong = |what: &str| MemberError::Keys(format!("the secrets file: {what}"));
        let info = usize::try_from(secrets.member())
            .ok()
            .and_then(|member| genesis.committee.members.get(member))
            .ok_or_else(|| wrong("the genesis has no member with its index"))?;
        let signer = secrets.signing_key().map_err(|reason| wrong(&reason.to_string()))?;
        if signer.address() != info.signer {
            return Err(wrong("its signing key is not the one in the genesis"));
        }
        let key = secrets.decryption_key().map_err(|reason| wrong(&reason.to_string()))?;
        if key.verification_key() != info.verification_key {
            return Err(wrong("its decryption share is not the one in the genesis"));
        }
        let journal = Arc::new(SigningJournal::new(store.clone()));
        let seat = MemberSeat {
            chain_id: genesis.chain_id,
            settlement: genesis.settlement,
            member: secrets.member(),
        };
        let releaser = Arc::new(Releaser::new(seat, key, signer.clone(), Arc::clone(&journal)));
        Ok(Self { member: secrets.member(), signer, journal, releaser })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use blindfold_wire::{
        bundle::{BundleHeader, SignedBundleHeader},
        testkit::TestCommittee,
    };

    #[test]
    fn evidence_is_verified_only_where_there_is_room_for_it() {
        let committee = TestCommittee::new(4, 3);
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(folder.path(), [1; 32]).expect("open");
        let options = Options {
            mempool: Default::default(),
            witness_heights: 0,
            execution: Default::default(),
            checker_secret: [1; 32],
            engine_partition: String::new(),
        };
        let genesis = Arc::new(committee.genesis.clone());
        let shared = Shared::open(Arc::clone(&genesis), None, &store, &options).expect("a chain");
        let signed = |member: u32, signer: usize, height: u64, commitment: u8| {
            let header = BundleHeader {
                chain_id: genesis.chain_id,
                settlement: genesis.settlement,
                height,
                commitment: B256::repeat_byte(commitment),
                shares_root: B256::ZERO,
                member,
            };
            let signature = committee.members[signer].signer.sign_digest(header.digest());
            SignedBundleHeader { header, signature }
        };
        let evidence = |member, signer, height| Evidence::DoubleRelease {
            first: signed(member, signer, height, 1),
            second: signed(member, signer, height, 2),
        };
        let count = |shared: &Shared| shared.records.evidence().expect("read").len();

        assert!(!shared.keep_evidence(&evidence(1, 2, 1)), "signed by another");
        for height in 1..=MAX_EVIDENCE_PER_MEMBER as u64 {
            assert!(shared.has_evidence_room(&evidence(1, 1, height)));
            assert!(shared.keep_evidence(&evidence(1, 1, height)));
        }
        assert!(shared.keep_evidence(&evidence(1, 1, 1)), "known");
        assert!(!shared.has_evidence_room(&evidence(1, 1, 1_000)));
        assert!(shared.keep_evidence(&evidence(1, 2, 1_000)), "not looked at");
        assert_eq!(count(&shared), MAX_EVIDENCE_PER_MEMBER);
        assert!(!shared.keep_evidence(&evidence(2, 3, 1)), "another one has room");
        assert!(shared.keep_evidence(&evidence(2, 2, 1)));
        assert_eq!(count(&shared), MAX_EVIDENCE_PER_MEMBER + 1);
    }
}
