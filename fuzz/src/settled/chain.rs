//! The chain that batches are of: certified heights, the batch that posts them as it should be, and evidence
//! against a member that posts and signs what it must not.

use blindfold_crypto::testkit::add_small_order;
use blindfold_settlement::{
    AccumulatorLeaf, Batch, ChainRules, Draft, Offence, OpeningLeaf, Posting, Start, Trees,
    accumulator::signature_hash,
    batch,
    evidence::{
        BatchLeaf, BrokenCount, BrokenFirst, BrokenLeaf, BrokenLink, DisownedOpening, ExecutedRoot,
        ForgedCommitment, Reordering, WrongOpening,
    },
    testkit::{Kind, TestHistory},
};
use blindfold_wire::{
    Address, B256, BadShare, BundleHeader, Evidence, Opening, OrderCommitment, Share,
    SignedBundleHeader, merkle, opening_hash, order_proof, share_proof, shares_root,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// The member that posts as it should.
const HONEST: usize = 1;
/// The member that all evidence is against.
const CULPRIT: usize = 3;

/// Index of the batch that is as it should be.
const HONEST_BATCH: u64 = 1;
/// Index of the first of the others, one for each form of evidence about batches.
const OTHER_BATCHES: u64 = 2;

/// Heights with envelopes that open and one that does not, one without any, and their batch.
pub(super) struct Chain {
    pub(super) history: TestHistory,
    pub(super) rules: ChainRules,
    pub(super) start: Start,
    pub(super) draft: Draft,
    /// The header of the honest batch.
    pub(super) header: Batch,
    /// State roots by height.
    pub(super) state_roots: BTreeMap<u64, B256>,
}

pub(super) static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let history = TestHistory::with_heights(
        5,
        &[
            &[Kind::TokenTransfer, Kind::Undecryptable, Kind::EtherTransfer],
            &[],
            &[Kind::Relayed, Kind::Raw],
            &[Kind::Swap],
        ],
    );
    let genesis = Arc::new(history.committee.genesis.clone());
    let start = Start::of_chain(&genesis);
    let rules = ChainRules::new(genesis, history.leaders.clone()).expect("a valid document");
    let draft = history.draft(0..history.heights.len());
    let poster = history.committee.members[HONEST].signer.address();
    let header = draft.header(&Posting {
        index: HONEST_BATCH,
        parent: start.batch,
        state_root: B256::repeat_byte(7),
        poster,
        ..Posting::default()
    });
    let state_roots = (1..=4).map(|height| (height, history.state_root(height))).collect();
    Chain { history, rules, start, draft, header, state_roots }
});

impl Chain {
    /// Whose stake every piece of evidence in [`EVIDENCE`] is after.
    pub(super) fn culprit(&self) -> Address {
        self.history.committee.members[CULPRIT].signer.address()
    }

    /// The commitment of a height, by index.
    pub(super) fn commitment(&self, index: usize) -> &OrderCommitment {
        &self.history.heights[index].signed.commitment
    }

    /// Leaves of the honest batch.
    pub(super) fn leaves(&self) -> (Vec<AccumulatorLeaf>, Vec<OpeningLeaf>) {
        let trees = &self.draft.trees;
        (trees.heights().to_vec(), trees.openings().to_vec())
    }

    /// A batch with other leaves, by the culprit.
    fn misposted(&self, index: u64, change: impl FnOnce(&mut Leaves, &mut Batch)) -> Misposted {
        let (heights, openings) = self.leaves();
        let mut leaves = Leaves { heights, openings };
        let mut batch = Batch { index, poster: self.culprit(), ..self.header.clone() };
        change(&mut leaves, &mut batch);
        let trees = Trees::from_leaves(leaves.heights, leaves.openings);
        batch.accumulator_root = trees.accumulator_root();
        batch.opening_root = trees.opening_root();
        Misposted { batch, trees }
    }
}

struct Leaves {
    heights: Vec<AccumulatorLeaf>,
    openings: Vec<OpeningLeaf>,
}

struct Misposted {
    batch: Batch,
    trees: Trees,
}

impl Misposted {
    fn at(&self, index: u32) -> BatchLeaf {
        let (leaf, proof) = self.trees.prove_height(index).expect("in range");
        BatchLeaf { leaf, proof }
    }

    fn link(&self, lower: u32, commitment: &OrderCommitment) -> Box<BrokenLink> {
        Box::new(BrokenLink {
            batch: self.batch.clone(),
            lower: self.at(lower),
            upper: self.at(lower + 1),
            commitment: commitment.clone(),
        })
    }
}

/// Evidence of every form, all true and against the culprit, with the batches that L1 accepted: the honest one,
/// and those that the evidence is about.
pub(super) static EVIDENCE: LazyLock<(Vec<Offence>, Vec<Batch>)> = LazyLock::new(|| {
    let chain = &*CHAIN;
    let mut evidence: Vec<Offence> = signed(chain).into_iter().map(Offence::from).collect();
    let mut batches = vec![chain.header.clone()];
    for (index, form) in (OTHER_BATCHES..).zip(FORMS) {
        let (posted, offence) = form(chain, index);
        batches.push(posted.batch);
        evidence.push(offence);
    }
    for offence in &evidence {
        let culprit = offence.verify(&chain.rules, &batches).expect("true evidence");
        assert_eq!(culprit.signer, chain.culprit());
    }
    (evidence, batches)
});

/// Makes a batch and what it proves.
type Form = fn(&Chain, u64) -> (Misposted, Offence);

const FORMS: [Form; 9] = [
    reordering,
    broken_leaf,
    broken_parent,
    broken_offset,
    broken_first,
    broken_count,
    forged_commitment,
    wrong_opening,
    disowned_opening,
];

fn reordering(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let posted = chain.misposted(index, |leaves, _| {
        leaves.openings.swap(0, 2);
        (leaves.openings[0].position, leaves.openings[2].position) = (0, 2);
    });
    let (first, opening_proof) = posted.trees.prove_opening(0).expect("in range");
    let items = chain.history.heights[0].opened.items();
    let ids: Vec<_> = items.iter().map(|item| item.envelope.id()).collect();
    let offence = Offence::Reordering(Box::new(Reordering {
        batch: posted.batch.clone(),
        at: posted.at(0),
        commitment: chain.commitment(0).clone(),
        posted: first,
        opening_proof,
        ordered_id: ids[0],
        order_proof: order_proof(&ids, 0).expect("in range"),
    }));
    (posted, offence)
}

fn broken_leaf(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let posted = chain.misposted(index, |leaves, _| leaves.heights[1].height += 1);
    let offence = Offence::BrokenLeaf(Box::new(BrokenLeaf {
        batch: posted.batch.clone(),
        at: posted.at(1),
        commitment: chain.commitment(1).clone(),
    }));
    (posted, offence)
}

fn broken_parent(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let change = |leaves: &mut Leaves, _: &mut Batch| leaves.heights[0].digest = B256::ZERO;
    let posted = chain.misposted(index, change);
    let offence = Offence::BrokenParent(posted.link(0, chain.commitment(1)));
    (posted, offence)
}

fn broken_offset(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let posted = chain.misposted(index, |leaves, _| leaves.heights[1].offset += 1);
    let offence = Offence::BrokenOffset(posted.link(0, chain.commitment(0)));
    (posted, offence)
}

fn broken_first(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let previous = Batch { last_commitment: B256::repeat_byte(9), ..Batch::default() };
    let posted = chain.misposted(index, |_, batch| batch.parent = previous.hash());
    let offence = Offence::BrokenFirst(Box::new(BrokenFirst {
        batch: posted.batch.clone(),
        previous,
        at: posted.at(0),
        commitment: chain.commitment(0).clone(),
    }));
    (posted, offence)
}

fn broken_count(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let posted = chain.misposted(index, |_, batch| batch.opening_count += 1);
    let offence = Offence::BrokenCount(Box::new(BrokenCount {
        batch: posted.batch.clone(),
        count: posted.trees.opening_count(),
        top: posted.trees.opening_top(),
    }));
    (posted, offence)
}

fn forged_commitment(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let commitment = chain.commitment(2);
    let (leader, schedule_proof) = chain.rules.leaders.prove(commitment.view).expect("a slot");
    let members = &chain.history.committee.members;
    let other = members.iter().find(|member| member.signer.address() != leader).expect("four");
    let signature = other.signer.sign_digest(commitment.digest());
    let hash = signature_hash(&signature);
    let posted = chain.misposted(index, |leaves, _| leaves.heights[2].signature_hash = hash);
    let offence = Offence::ForgedCommitment(Box::new(ForgedCommitment {
        batch: posted.batch.clone(),
        at: posted.at(2),
        commitment: commitment.clone(),
        signature,
        leader,
        schedule_proof,
    }));
    (posted, offence)
}

fn wrong_opening(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let item = &chain.history.heights[0].opened.items()[0];
    let tale = Opening::Opened { seed: [3; 32], message: b"tale".to_vec() };
    let leaf = OpeningLeaf::of(1, 0, item.envelope.id(), &tale);
    let posted = chain.misposted(index, |leaves, _| leaves.openings[0] = leaf);
    let (_, opening_proof) = posted.trees.prove_opening(0).expect("in range");
    let offence = Offence::WrongOpening(Box::new(WrongOpening {
        batch: posted.batch.clone(),
        height: 1,
        position: 0,
        opening_proof,
        envelope: item.envelope.bytes().to_vec(),
        opening: tale,
    }));
    (posted, offence)
}

/// Called undecryptable, with the right secret: L1 sees nothing wrong, but the third height carries the first one's
/// executed root.
fn disowned_opening(chain: &Chain, index: u64) -> (Misposted, Offence) {
    let opened = &chain.history.heights[0].opened;
    let item = &opened.items()[0];
    let secret = chain.history.secret(&item.envelope);
    let tale = Opening::Undecryptable { secret };
    let leaf = OpeningLeaf::of(1, 0, item.envelope.id(), &tale);
    let posted = chain.misposted(index, |leaves, _| leaves.openings[0] = leaf);
    let (leaf, posted_proof) = posted.trees.prove_opening(0).expect("in range");
    let certified: Vec<_> = batch::opening_leaves(opened).iter().map(OpeningLeaf::hash).collect();
    let above = chain.history.heights[2..].iter().map(|height| height.opened.certified());
    let root = chain.history.state_root(1);
    let offence = Offence::DisownedOpening(Box::new(DisownedOpening {
        batch: posted.batch.clone(),
        posted: leaf,
        posted_proof,
        certified_hash: opening_hash(&item.opening),
        certified_proof: merkle::prove(&certified, 0).expect("in range"),
        executed: ExecutedRoot::new(root, opened.opening_root(), above).expect("two heights up"),
    }));
    (posted, offence)
}

/// What the culprit signs as leader and as member.
fn signed(chain: &Chain) -> [Evidence; 3] {
    let member = &chain.history.committee.members[CULPRIT];
    let first = chain.commitment(0).clone();
    let second = OrderCommitment { timestamp_ms: first.timestamp_ms + 1, ..first.clone() };
    let opened = &chain.history.heights[0].opened;
    let items = opened.items();
    let share = |index: usize| member.decryption.share(items[index].envelope.ephemeral());
    let mut shares: Vec<Share> = (0..items.len()).map(share).collect();
    shares[2] = add_small_order(&shares[2], 3);
    let bundle = |commitment: B256| {
        let header = BundleHeader {
            chain_id: first.chain_id,
            settlement: first.settlement,
            height: opened.height(),
            commitment,
            shares_root: shares_root(&shares),
            member: CULPRIT as u32,
        };
        SignedBundleHeader { signature: member.signer.sign_digest(header.digest()), header }
    };
    let ids: Vec<_> = items.iter().map(|item| item.envelope.id()).collect();
    let bad = BadShare {
        bundle: bundle(first.digest()),
        share: shares[2],
        share_proof: share_proof(&shares, 2).expect("in range"),
        commitment: first.clone(),
        envelope: items[2].envelope.bytes().to_vec(),
        envelope_proof: order_proof(&ids, 2).expect("in range"),
    };
    [
        Evidence::DoubleRelease { first: bundle(first.digest()), second: bundle(second.digest()) },
        Evidence::Equivocation {
            first: first.sign(&member.signer),
            second: second.sign(&member.signer),
        },
        Evidence::BadShare(Box::new(bad)),
    ]
}
