//! Members over simulated links, with the real engine and a stub of the node.

use blindfold_ordering::{
    application::{ChainHooks, Proposal},
    engine::{self, EngineConfig, EngineHandle, Identity, Network, channels},
    events::{FinalizedHeight, OrderingReporter, VoteFault},
    l1::{L1Update, L1View},
    rule::{Account, Accounts},
    store::{MemoryBlocks, MemoryCertificates},
    validity::Executed,
};
use blindfold_wire::{
    Address, AdmissionRules, B256, Block, BlockError, CheckedEnvelope, Evidence, ForcedItem,
    Genesis, OrderCommitment, SignedCommitment, SigningKey, U256, forced::check_sealed, keccak256,
    testkit::TestCommittee,
};
use commonware_consensus::{
    marshal::store::{Blocks as _, Certificates as _},
    types::Height,
};
use commonware_cryptography::{Digestible as _, Signer as _, ed25519::PrivateKey};
use commonware_p2p::{
    Receiver, Sender,
    simulated::{self, Link, Oracle},
};
use commonware_runtime::{Clock as _, Quota, Supervisor as _, deterministic::Context};
use commonware_storage::archive::Identifier;
use commonware_utils::{
    NZU32, NZUsize, probability,
    sync::{Mutex, Notify},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub const LAG: u64 = 2;

/// What a member remembers of a finalized height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub digest: B256,
    pub parent: B256,
    pub view: u64,
    pub envelopes: Vec<(B256, Address)>,
    pub commitment: OrderCommitment,
    pub forced: Vec<ForcedItem>,
}

/// The node under one member: mempool, execution, journal and log, all in memory. Survives restarts.
#[derive(Clone)]
pub struct Stub(pub Arc<Inner>);

pub struct Inner {
    rules: AdmissionRules,
    signer: SigningKey,
    pub pool: Mutex<Vec<CheckedEnvelope>>,
    pub journal: Mutex<HashMap<(u64, u64), Block>>,
    pub heights: Mutex<BTreeMap<u64, Seen>>,
    pub deliveries: Mutex<Vec<u64>>,
    pub without_own_certificate: Mutex<Vec<u64>>,
    /// Most descendants that the proof of one height needed.
    pub longest_proof: Mutex<usize>,
    pub evidence: Mutex<Vec<Evidence>>,
    pub first_seen: Mutex<Vec<SignedCommitment>>,
    pub nullified: Mutex<Vec<u64>>,
    pub vote_faults: Mutex<Vec<VoteFault>>,
    pub execution_paused: AtomicBool,
    /// The next proposal is journaled, and then the member hangs.
    pub hang_after_signing: AtomicBool,
    pub l1: Mutex<Arc<L1View>>,
    changed: Notify,
}

impl Stub {
    fn new(genesis: &Genesis, signer: SigningKey) -> Self {
        Self(Arc::new(Inner {
            rules: genesis.admission_rules().unwrap(),
            signer,
            pool: Mutex::default(),
            journal: Mutex::default(),
            heights: Mutex::default(),
            deliveries: Mutex::default(),
            without_own_certificate: Mutex::default(),
            longest_proof: Mutex::default(),
            evidence: Mutex::default(),
            first_seen: Mutex::default(),
            nullified: Mutex::default(),
            vote_faults: Mutex::default(),
            execution_paused: AtomicBool::new(false),
            hang_after_signing: AtomicBool::new(false),
            l1: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    pub fn height(&self) -> u64 {
        self.0.heights.lock().keys().next_back().copied().unwrap_or(0)
    }

    pub fn pause_execution(&self, paused: bool) {
        self.0.execution_paused.store(paused, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Tells what became final on L1.
    pub fn follow_l1(&self, update: &L1Update, now_ms: u64) {
        let mut l1 = self.0.l1.lock();
        Arc::make_mut(&mut l1).update(update, now_ms).expect("updates follow each other");
        drop(l1);
        self.0.changed.notify_waiters();
    }

    pub fn offer(&self, envelopes: &[CheckedEnvelope]) {
        self.0.pool.lock().extend_from_slice(envelopes);
        self.0.changed.notify_waiters();
    }

    fn try_execute(&self, height: u64, payers: &BTreeSet<Address>) -> Option<Executed> {
        if height > 0 && self.0.execution_paused.load(Ordering::SeqCst) {
            return None;
        }
        let heights = self.0.heights.lock();
        let digest = if height == 0 { B256::ZERO } else { heights.get(&height)?.digest };
        let mut accounts: Accounts = payers
            .iter()
            .map(|payer| (*payer, Account { next_nonce: 0, budget: U256::MAX }))
            .collect();
        for seen in heights.range(..=height).map(|(_, seen)| seen) {
            for (_, payer) in &seen.envelopes {
                if let Some(account) = accounts.get_mut(payer) {
                    account.next_nonce += 1;
                }
            }
        }
        let executed_root = keccak256([&height.to_be_bytes()[..], digest.as_slice()].concat());
        Some(Executed { executed_root, accounts })
    }
}

impl ChainHooks for Stub {
    async fn executed(&self, height: u64, payers: BTreeSet<Address>) -> Executed {
        loop {
            let changed = self.0.changed.notified();
            if let Some(executed) = self.try_execute(height, &payers) {
                return executed;
            }
            changed.await;
        }
    }

    fn candidates(&self) -> Vec<CheckedEnvelope> {
        self.0.pool.lock().clone()
    }

    async fn new_candidates(&self) {
        self.0.changed.notified().await;
    }

    fn check_envelopes(&self, block: &Block) -> Result<Vec<CheckedEnvelope>, BlockError> {
        block.check_envelopes(&self.0.rules, [7; 32])
    }

    fn check_forced(&self, items: &[ForcedItem]) -> Vec<Option<CheckedEnvelope>> {
        check_sealed(items, &self.0.rules, [7; 32])
    }

    fn l1_view(&self) -> Arc<L1View> {
        self.0.l1.lock().clone()
    }

    async fn l1_changed(&self, version: u64) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.l1.lock().version() != version {
                return;
            }
            changed.await;
        }
    }

    async fn signed_proposal(&self, epoch: u64, view: u64) -> Option<Block> {
        self.0.journal.lock().get(&(epoch, view)).cloned()
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Option<Block> {
        let slot = (proposal.commitment.epoch, proposal.commitment.view);
        let block = self
            .0
            .journal
            .lock()
            .entry(slot)
            .or_insert_with(|| proposal.sign(&self.0.signer))
            .clone();
        if self.0.hang_after_signing.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Some(block)
    }
}

impl OrderingReporter for Stub {
    fn finalized(&self, finalized: FinalizedHeight) {
        let commitment = finalized.certified.get();
        assert_eq!(finalized.certified.digest(), finalized.block.id());
        let checked = self.check_envelopes(finalized.block.block()).expect("finalized are valid");
        let seen = Seen {
            digest: finalized.certified.digest(),
            parent: commitment.parent,
            view: commitment.view,
            envelopes: checked.iter().map(|e| (e.id(), e.payer())).collect(),
            commitment: commitment.clone(),
            forced: finalized.block.block().forced.items().to_vec(),
        };
        let height = commitment.height;
        if !finalized.descendants.is_empty() {
            self.0.without_own_certificate.lock().push(height);
        }
        let mut longest = self.0.longest_proof.lock();
        *longest = finalized.descendants.len().max(*longest);
        drop(longest);
        self.0.deliveries.lock().push(height);
        if let Some(before) = self.0.heights.lock().insert(height, seen.clone()) {
            assert_eq!(before, seen, "a height is delivered again unchanged");
        }
        self.0.changed.notify_waiters();
        finalized.ack.done();
    }

    fn first_seen(&self, signed: SignedCommitment) {
        self.0.first_seen.lock().push(signed);
    }

    fn evidence(&self, evidence: Evidence) {
        self.0.evidence.lock().push(evidence);
    }

    fn nullified(&self, _epoch: u64, view: u64) {
        self.0.nullified.lock().push(view);
    }

    fn vote_fault(&self, fault: VoteFault) {
        self.0.vote_faults.lock().push(fault);
    }
}

/// A committee over simulated links.
pub struct World {
    pub committee: TestCommittee,
    pub genesis: Arc<Genesis>,
    pub identities: Vec<Identity>,
    pub stubs: Vec<Stub>,
    stores: Vec<(MemoryBlocks, MemoryCertificates)>,
    pub oracle: Oracle<Identity, Context>,
    starts: usize,
    /// Whether first-seen commitments reach other members.
    pub gossip: bool,
}

impl World {
    pub async fn new(context: &Context, members: usize, latency_ms: u64) -> Self {
        Self::with(context, members, latency_ms, |_| {}).await
    }

    pub async fn with(
        context: &Context,
        members: usize,
        latency_ms: u64,
        adjust: impl FnOnce(&mut Genesis),
    ) -> Self {
        let mut identities: Vec<_> =
            (0..members as u64).map(|seed| PrivateKey::from_seed(seed).public_key()).collect();
        identities.sort();
        let committee = TestCommittee::with(members, 11, |genesis| {
            for (member, identity) in genesis.committee.members.iter_mut().zip(&identities) {
                member.identity.copy_from_slice(identity.as_ref());
            }
            genesis.timestamp_ms = 0;
            genesis.params.executed_lag = LAG;
            genesis.params.leader_timeout_ms = 1_000;
            genesis.params.certification_timeout_ms = 1_500;
            genesis.params.idle_block_interval_ms = 100;
            adjust(genesis);
        });
        committee.genesis.validate().expect("a valid genesis");
        let genesis = Arc::new(committee.genesis.clone());
        let (network, oracle) = simulated::Network::new_with_peers(
            context.child("network"),
            simulated::Config {
                max_size: u32::try_from(engine::max_message_bytes(&genesis)).unwrap(),
                max_peers_per_set: NZUsize!(16),
                disconnect_on_block: false,
                tracked_peer_sets: NZUsize!(1),
            },
            identities.clone(),
        )
        .await;
        network.start();
        for a in &identities {
            for b in &identities {
                if a != b {
                    let link = Link {
                        latency: Duration::from_millis(latency_ms),
                        jitter: Duration::from_millis(1),
                        success_rate: probability!(1.0),
                    };
                    oracle.add_link(a.clone(), b.clone(), link).await.unwrap();
                }
            }
        }
        let stubs =
            (0..members).map(|index| Stub::new(&genesis, signer(&committee, index))).collect();
        let stores = (0..members).map(|_| Default::default()).collect();
        Self { committee, genesis, identities, stubs, stores, oracle, starts: 0, gossip: true }
    }

    pub fn config(&self, member: usize, partition: String) -> EngineConfig {
        let identity: [u8; 32] = self.identities[member].as_ref().try_into().unwrap();
        let secret = &self.committee.members[member].vote_secret;
        let mut config =
            EngineConfig::first_epoch(self.genesis.clone(), &identity, Some(secret), partition)
                .unwrap();
        config.first_seen = self.stubs[member].0.first_seen.lock().clone();
        config
    }

    pub async fn channels(&self, member: usize) -> Vec<(SimSender, SimReceiver)> {
        let control = self.oracle.control(self.identities[member].clone());
        let mut out = Vec::new();
        for mut channel in channels::ALL {
            if channel == channels::COMMITMENTS && !self.gossip {
                // A channel of one's own: nobody listens to it.
                channel = 100 + member as u64;
            }
            out.push(control.register(channel, Quota::per_second(NZU32!(100_000))).await.unwrap());
        }
        out
    }

    /// Starts a member's engine, or starts it again over what it had stored.
    pub async fn start(&mut self, context: &Context, member: usize) -> EngineHandle {
        let channels = self.channels(member).await;
        self.start_with(
            context,
            member,
            format!("member-{member}"),
            channels,
            self.stubs[member].clone(),
            self.stores[member].clone(),
        )
        .await
    }

    pub async fn start_with<X, R>(
        &mut self,
        context: &Context,
        member: usize,
        partition: String,
        channels: Vec<(X, R)>,
        stub: Stub,
        stores: (MemoryBlocks, MemoryCertificates),
    ) -> EngineHandle
    where
        X: Sender<PublicKey = Identity>,
        R: Receiver<PublicKey = Identity>,
    {
        self.starts += 1;
        let [votes, certificates, resolver, blocks, backfill, commitments] =
            <[(X, R); 6]>::try_from(channels).ok().expect("six channels");
        let network = Network {
            votes,
            certificates,
            resolver,
            blocks,
            backfill,
            commitments,
            peers: self.oracle.manager(),
            blocker: self.oracle.control(self.identities[member].clone()),
        };
        let context = context
            .child("member")
            .with_attribute("index", member)
            .with_attribute("start", self.starts);
        let config = self.config(member, partition);
        engine::start(context, config, network, stores, stub.clone(), stub).await.unwrap()
    }

    /// Gives a member all final blocks of another, and the newest certificate only.
    pub async fn give_blocks(&mut self, from: usize, to: usize) {
        let (blocks, certificates) = self.stores[from].clone();
        let newest = certificates.last_index().expect("a certificate").get();
        for height in 1..=newest {
            let Some(block) = blocks.block(height) else { continue };
            let store = self.stores[to].0.clone();
            self.stores[to].0 = store.put(block.digest(), &block).await.unwrap();
        }
        let certificate = certificates.get(Identifier::Index(newest)).await.unwrap().unwrap();
        let digest = certificate.proposal.payload;
        let store = self.stores[to].1.clone();
        self.stores[to].1 = store.put(Height::new(newest), digest, &certificate).await.unwrap();
    }

    /// A second node of the same member, with nothing in common but the keys.
    pub fn twin(&self, member: usize) -> Stub {
        Stub::new(&self.genesis, signer(&self.committee, member))
    }

    /// Sealed envelopes of two payers, `each` of them.
    pub fn envelopes(&self, each: u64) -> Vec<CheckedEnvelope> {
        let mut out = Vec::new();
        for payer in 0..2u8 {
            let key = SigningKey::random([payer + 1; 32]);
            for nonce in 0..each {
                let mut header = self.committee.header(nonce);
                header.max_priority_fee_per_gas += u128::from(nonce % 3);
                out.push(self.committee.envelope(&key, header, &[payer, nonce as u8]));
            }
        }
        out
    }

    /// Waits until these members finalized `height`.
    pub async fn reach(&self, context: &Context, members: &[usize], height: u64) {
        for _ in 0..6_000 {
            if members.iter().all(|member| self.stubs[*member].height() >= height) {
                return;
            }
            context.sleep(Duration::from_millis(20)).await;
        }
        let heights: Vec<_> = self.stubs.iter().map(Stub::height).collect();
        panic!("height {height} was not reached by {members:?}: {heights:?}");
    }

    /// Asserts that these members agree on every height, that heights chain, and that no envelope was
    /// ordered twice. Returns the longest chain.
    pub fn agreed(&self, members: &[usize]) -> BTreeMap<u64, Seen> {
        let mut longest: BTreeMap<u64, Seen> = BTreeMap::new();
        for member in members {
            let heights = self.stubs[*member].0.heights.lock().clone();
            for (height, seen) in &heights {
                if let Some(other) = longest.get(height) {
                    assert_eq!(seen, other, "members disagree on height {height}");
                }
            }
            longest.extend(heights);
        }
        let mut ordered = BTreeSet::new();
        let mut parent = Block::genesis(&self.genesis).digest();
        for (index, (height, seen)) in longest.iter().enumerate() {
            assert_eq!(*height, index as u64 + 1, "heights have no holes");
            assert_eq!(seen.parent, parent, "height {height} extends the one below");
            parent = seen.digest;
            for (id, _) in &seen.envelopes {
                assert!(ordered.insert(*id), "an envelope was ordered twice");
            }
        }
        longest
    }
}

pub type SimSender = simulated::Sender<Identity, Context>;
pub type SimReceiver = simulated::Receiver<Identity>;

fn signer(committee: &TestCommittee, member: usize) -> SigningKey {
    committee.members[member].signer.expose(SigningKey::from_bytes).expect("a valid key")
}
