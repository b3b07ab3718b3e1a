//! From L1 to heights: rebuilds what was ordered from what was posted, and takes nobody's word for it.
//!
//! ```text
//! data ─decode─▶ items ─seal again─▶ envelopes ─▶ ids ─▶ order root ─▶ commitment ─▶ digest ─┐ leader signed it?
//!                  ▲                                                                         ▼
//! header ──────────┴───────────────────────── last digest, certified on L1 ◀── parent of the next height …
//! ```
//!
//! Seed, message, payer and clear fields give the ciphertext, and so the envelope's id; the ids of a height
//! give its order root; that and the fields of the commitment that were posted give its digest, which the
//! next height names as parent. The last digest must be the one whose certificate the inbox verified. So if
//! one byte of anything that was ordered is wrong, the end is wrong; the leaders' signatures tell in which
//! height it went wrong first.

use std::{fmt, sync::Arc};

use alloy_primitives::{Address, B256, Bytes};
use blindfold_crypto::{CommitteePublic, Opening, OpeningError, check_opening, reseal};
use blindfold_wire::{
    AdmissionRules, Block, CheckedEnvelope, Envelope, EnvelopeError, Genesis, GenesisError,
    OrderCommitment, SignatureError, SignedCommitment, VoteCommittee, is_gas_class, order_root,
};

use crate::{
    accumulator::{LeaderTable, OpeningLeaf, Trees},
    batch::Batch,
    codec::{self, CodecError, PostedHeight, PostedItem, PostedOpening},
    evidence::OffenceKind,
};

/// Most threads that one call uses.
pub const MAX_THREADS: usize = 64;

/// What is known of a chain and its committee before anything is read from L1.
#[derive(Clone, Debug)]
pub struct ChainRules {
    /// The genesis document, valid.
    pub genesis: Arc<Genesis>,
    /// What every envelope must fulfil; names the chain.
    pub rules: AdmissionRules,
    /// Keys that the committee opens with.
    pub public: CommitteePublic,
    /// Keys that the committee finalizes with.
    pub votes: VoteCommittee,
    /// Leaders of all views.
    pub leaders: LeaderTable,
}

impl ChainRules {
    /// The rules that a genesis document sets.
    ///
    /// # Errors
    /// If the document's keys are no committee.
    pub fn new(genesis: Arc<Genesis>, leaders: LeaderTable) -> Result<Self, GenesisError> {
        let (rules, public) = (genesis.admission_rules()?, genesis.committee_public()?);
        let votes = genesis
            .vote_committee()
            .map_err(|error| GenesisError::CommitteeKey(error.to_string()))?;
        Ok(Self { genesis, rules, public, votes, leaders })
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.rules.chain_id
    }

    /// The settlement contract: the inbox.
    pub fn settlement(&self) -> Address {
        self.genesis.settlement
    }
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Digest of the commitment below its first height.
    pub digest: B256,
    /// The first height.
    pub first_height: u64,
    /// Hash of the batch before, or of the genesis document.
    pub batch: B256,
}

impl Start {
    /// The first batch begins above the genesis block.
    pub fn of_chain(genesis: &Genesis) -> Self {
        let digest = Block::genesis(genesis).commitment.digest();
        Self { digest, first_height: 1, batch: genesis.hash() }
    }

    /// Any other begins where the one before, which began here, ended. One without heights (forced items
    /// that were posted past the committee) leaves the height where it was.
    pub fn after(&self, batch: &Batch) -> Self {
        let hash = batch.hash();
        match batch.heights() {
            0 => Self { batch: hash, ..*self },
            _ => Self {
                digest: batch.last_commitment,
                first_height: batch.last_height.saturating_add(1),
                batch: hash,
            },
        }
    }
}

/// The queue of forced items on L1, as far as derivation needs it.
pub trait ForcedHashes {
    /// Rolling hash of the first `count` items; `None` if there are fewer, or they are not known yet.
    fn hash_at(&self, count: u64) -> Option<B256>;
}

/// Believes the commitments about the forced queue: the inbox has compared the last one with its own.
pub struct InboxChecked;

impl ForcedHashes for InboxChecked {
    fn hash_at(&self, _count: u64) -> Option<B256> {
        None
    }
}

/// An envelope, rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedItem {
    /// The envelope.
    pub envelope: Envelope,
    /// Its encoding.
    pub bytes: Bytes,
    /// Its id.
    pub id: B256,
    /// Who signed it and pays.
    pub payer: Address,
    /// What it opens to; checked.
    pub opening: Opening,
}

/// A height, rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedHeight {
    /// The commitment with its leader's signature; checked.
    pub signed: SignedCommitment,
    /// Its digest.
    pub digest: B256,
    /// Envelopes and openings by position.
    pub items: Vec<DerivedItem>,
}

/// Why a batch does not lead to the certified order. The fault of its poster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: FaultKind,
}

/// Where a batch is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Everywhere, or nobody can tell.
    Batch,
    /// In the commitment of a height, or in one of its envelopes.
    Height(u64),
    /// In one envelope.
    Position(u64, u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => write!(f, "batch"),
            Self::Height(height) => write!(f, "height {height}"),
            Self::Position(height, position) => write!(f, "height {height}, position {position}"),
        }
    }
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The data is not batch data.
    #[error("data does not decode")]
    Data(#[from] CodecError),
    /// The data is of another chain, epoch or range than the header says.
    #[error("data is of another {0} than the header says")]
    Header(&'static str),
    /// The payer should be the signer of the message, and there is none.
    #[error("message has no signer")]
    NoSigner,
    /// The clear fields or the whole envelope break a rule that everything ordered keeps.
    #[error("envelope is invalid")]
    Envelope(#[from] EnvelopeError),
    /// The message cannot be sealed.
    #[error("message cannot be sealed")]
    Message,
    /// The payer's signature is not over the rebuilt envelope: fields, seed, message or signature are wrong.
    #[error("payer {expected} did not sign the rebuilt envelope, {got:?} did")]
    Payer {
        /// Whom the data names.
        expected: Address,
        /// Whose signature it would be.
        got: Option<Address>,
    },
    /// The opening of an undecryptable envelope is wrong.
    #[error("secret is wrong")]
    Opening(#[from] OpeningError),
    /// The leader of the view did not sign the rebuilt commitment: a field, the order or the signature is
    /// wrong.
    #[error("leader {expected} did not sign the rebuilt commitment, {got:?} did")]
    Leader {
        /// Who leads the view.
        expected: Address,
        /// Whose signature it would be.
        got: Option<Address>,
    },
    /// The hash of the forced queue is another on L1.
    #[error("forced hash is not that of the queue")]
    ForcedHash,
    /// The heights end in another commitment than the certified one.
    #[error("ends in commitment {got}, certified is {expected}")]
    LastCommitment {
        /// The certified digest.
        expected: B256,
        /// The rebuilt one.
        got: B256,
    },
    /// Rebuilt heights and header have another root, count or head.
    #[error("the header's {0} is not that of the data")]
    Root(&'static str),
}

impl FaultKind {
    /// The offence that a reveal on L1 may prove: what to challenge for. Until then it is
    /// [`OffenceKind::Withheld`], for the poster has not published what it stands for.
    pub fn suspected(&self) -> OffenceKind {
        match self {
            Self::Data(_) | Self::Header(_) | Self::LastCommitment { .. } => OffenceKind::Withheld,
            Self::NoSigner | Self::Envelope(_) | Self::Payer { .. } => OffenceKind::Reordering,
            Self::Message | Self::Opening(_) => OffenceKind::WrongOpening,
            Self::Leader { .. } => OffenceKind::ForgedCommitment,
            Self::ForcedHash | Self::Root(_) => OffenceKind::BrokenChain,
        }
    }
}

/// Rebuilds the heights of a batch on up to `threads` threads, and checks them against its header.
///
/// The header is as the inbox emitted it, `start` is where the batch before it ended, and `data` is what
/// `header.data_hash` stands for: that is for the caller to check ([`crate::blobs`]). A batch without heights, the
/// fallback of the forced queue, has no data and gives no heights; of it only its place is checked.
///
/// # Errors
/// The first fault, by height and position.
pub fn derive(
    chain: &ChainRules,
    start: &Start,
    header: &Batch,
    data: &[u8],
    forced: &dyn ForcedHashes,
    threads: usize,
) -> Result<Vec<DerivedHeight>, Fault> {
    let everywhere = |kind| Fault { place: Place::Batch, kind };
    if header.heights() == 0 {
        let place = [
            ("parent", start.batch == header.parent),
            ("first height", start.first_height == header.first_height),
        ];
        let wrong = place.iter().find(|(_, same)| !same);
        return wrong.map_or(Ok(Vec::new()), |(name, _)| Err(everywhere(FaultKind::Header(name))));
    }
    let posted = codec::decode(data).map_err(|error| everywhere(error.into()))?;
    let same = [
        ("chain", posted.chain_id == chain.chain_id()),
        ("epoch", posted.epoch == header.epoch),
        ("parent", start.batch == header.parent),
        ("first height", posted.first_height == header.first_height),
        ("first height", posted.first_height == start.first_height),
        ("number of heights", posted.heights.len() as u64 == header.heights()),
    ];
    if let Some((name, _)) = same.iter().find(|(_, same)| !same) {
        return Err(everywhere(FaultKind::Header(name)));
    }
    let mut heights = Vec::with_capacity(posted.heights.len());
    let mut trees = Trees::new();
    let mut parent = start.digest;
    let items = rebuild_all(chain, header.first_height, &posted.heights, threads)?;
    for ((posted, items), height) in posted.heights.iter().zip(items).zip(header.first_height..) {
        let derived = rebuild_height(chain, header.epoch, height, parent, posted, items)?;
        let commitment = &derived.signed.commitment;
        let queue = forced.hash_at(commitment.forced_cursor);
        if queue.is_some_and(|hash| hash != commitment.forced_hash) {
            return Err(Fault { place: Place::Height(height), kind: FaultKind::ForcedHash });
        }
        let leaves = leaves_of(height, &derived.items);
        trees.push(commitment, &derived.signed.signature, leaves);
        parent = derived.digest;
        heights.push(derived);
    }
    check_end(header, &heights, &trees)?;
    Ok(heights)
}

/// The opening leaves of a rebuilt height.
pub fn leaves_of(height: u64, items: &[DerivedItem]) -> Vec<OpeningLeaf> {
    (0u32..)
        .zip(items)
        .map(|(position, item)| OpeningLeaf::of(height, position, item.id, &item.opening))
        .collect()
}

fn check_end(header: &Batch, heights: &[DerivedHeight], trees: &Trees) -> Result<(), Fault> {
    let everywhere = |kind| Err(Fault { place: Place::Batch, kind });
    let Some(last) = heights.last() else {
        return everywhere(FaultKind::Header("number of heights"));
    };
    if last.digest != header.last_commitment {
        let (expected, got) = (header.last_commitment, last.digest);
        return everywhere(FaultKind::LastCommitment { expected, got });
    }
    let same = [
        ("forced head", last.signed.commitment.forced_cursor == header.forced_head),
        ("number of openings", trees.opening_count() == header.opening_count),
        ("opening root", trees.opening_root() == header.opening_root),
        ("accumulator root", trees.accumulator_root() == header.accumulator_root),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((name, _)) => everywhere(FaultKind::Root(name)),
        None => Ok(()),
    }
}

/// Rebuilds the commitment of a height from its items and what was posted of it, and checks its signature.
fn rebuild_height(
    chain: &ChainRules,
    epoch: u64,
    height: u64,
    parent: B256,
    posted: &PostedHeight,
    items: Vec<DerivedItem>,
) -> Result<DerivedHeight, Fault> {
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let commitment = commitment_of(chain, (epoch, height, parent), posted, order_root(&ids));
    let signed = SignedCommitment { commitment, signature: posted.signature };
    let digest = signed.digest();
    let expected = chain.leaders.leader(posted.view);
    let got = signed.signature.recover(digest).ok();
    if got != Some(expected) {
        let kind = FaultKind::Leader { expected, got };
        return Err(Fault { place: Place::Height(height), kind });
    }
    Ok(DerivedHeight { signed, digest, items })
}

/// The commitment that was posted for `(epoch, height, parent)`, with this order root.
pub fn commitment_of(
    chain: &ChainRules,
    (epoch, height, parent): (u64, u64, B256),
    posted: &PostedHeight,
    order_root: B256,
) -> OrderCommitment {
    OrderCommitment {
        chain_id: chain.chain_id(),
        settlement: chain.settlement(),
        epoch,
        height,
        view: posted.view,
        parent,
        timestamp_ms: posted.timestamp_ms,
        base_fee: posted.base_fee,
        // The codec bounds the items of a height.
        count: u32::try_from(posted.items.len()).unwrap_or(u32::MAX),
        order_root,
        l1_block: posted.l1_block,
        l1_base_fee: posted.l1_base_fee,
        forced_cursor: posted.forced_cursor,
        forced_hash: posted.forced_hash,
        executed_root: posted.executed_root,
    }
}

/// Rebuilds the envelopes of all heights, wherever they stand, on up to `threads` threads.
///
/// # Errors
/// The first fault, by height and position.
pub fn rebuild_all(
    chain: &ChainRules,
    first_height: u64,
    heights: &[PostedHeight],
    threads: usize,
) -> Result<Vec<Vec<DerivedItem>>, Fault> {
    let mut jobs = Vec::new();
    for (height, posted) in (first_height..).zip(heights) {
        jobs.extend((0u32..).zip(&posted.items).map(|(position, item)| (height, position, item)));
    }
    let rebuilt = map(&jobs, threads, |(height, position, item)| {
        rebuild(chain, item)
            .map_err(|kind| Fault { place: Place::Position(*height, *position), kind })
    });
    let mut rebuilt = rebuilt.into_iter();
    heights.iter().map(|posted| rebuilt.by_ref().take(posted.items.len()).collect()).collect()
}

/// Rebuilds one envelope from what was posted of it, and checks what the posted parts say about each other:
/// fields, payer, opening. Whether it is the one that was ordered, its order root will tell.
///
/// # Errors
/// If the parts do not belong together.
pub fn rebuild(chain: &ChainRules, item: &PostedItem) -> Result<DerivedItem, FaultKind> {
    match item {
        PostedItem::Opened(opened) => rebuild_opened(chain, opened),
        PostedItem::Undecryptable { envelope, secret } => {
            let checked = CheckedEnvelope::check(&chain.rules, &envelope.encode())?;
            let opening = Opening::Undecryptable { secret: *secret };
            let sealed = &checked.envelope().ciphertext;
            check_opening(&chain.public, checked.label(), sealed, &opening)?;
            Ok(DerivedItem {
                envelope: checked.envelope().clone(),
                bytes: checked.bytes().clone(),
                id: checked.id(),
                payer: checked.payer(),
                opening,
            })
        }
    }
}

/// The id that a posted item leads to, whether or not its parts belong together.
pub(crate) fn rebuilt_id(chain: &ChainRules, item: &PostedItem) -> Option<B256> {
    match item {
        PostedItem::Opened(opened) => {
            let payer = opened.payer.resolve(&opened.message)?;
            seal_again(chain, opened, payer).ok().map(|envelope| envelope.id())
        }
        PostedItem::Undecryptable { envelope, .. } => Some(envelope.id()),
    }
}

fn seal_again(
    chain: &ChainRules,
    opened: &PostedOpening,
    payer: Address,
) -> Result<Envelope, FaultKind> {
    let PostedOpening { header, signature, seed, message, .. } = opened;
    let ciphertext = reseal(&chain.rules.committee, &header.label(payer), seed, message)
        .map_err(|_| FaultKind::Message)?;
    Ok(Envelope { header: header.clone(), ciphertext, signature: *signature })
}

fn rebuild_opened(chain: &ChainRules, opened: &PostedOpening) -> Result<DerivedItem, FaultKind> {
    let header = &opened.header;
    let rules = &chain.rules;
    if header.chain_id != rules.chain_id {
        let (expected, got) = (rules.chain_id, header.chain_id);
        return Err(EnvelopeError::WrongChain { expected, got }.into());
    }
    if header.key_id != rules.key_id {
        let (expected, got) = (rules.key_id, header.key_id);
        return Err(EnvelopeError::UnknownKey { expected, got }.into());
    }
    if !is_gas_class(header.gas_limit) {
        return Err(EnvelopeError::GasClass(header.gas_limit).into());
    }
    if header.max_priority_fee_per_gas > header.max_fee_per_gas {
        return Err(EnvelopeError::Fees.into());
    }
    let payer = opened.payer.resolve(&opened.message).ok_or(FaultKind::NoSigner)?;
    let envelope = seal_again(chain, opened, payer)?;
    let id = envelope.id();
    match envelope.recover_payer() {
        Ok(got) if got == payer => {}
        Ok(got) => return Err(FaultKind::Payer { expected: payer, got: Some(got) }),
        Err(SignatureError::HighS | SignatureError::Unrecoverable) => {
            return Err(FaultKind::Payer { expected: payer, got: None });
        }
    }
    let opening = Opening::Opened { seed: opened.seed, message: opened.message.to_vec() };
    let bytes = envelope.encode().into();
    Ok(DerivedItem { envelope, bytes, id, payer, opening })
}

/// Calls `f` with every job on up to `threads` threads; results in order, whatever the number of threads.
fn map<J: Sync, T: Send>(jobs: &[J], threads: usize, f: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let threads = threads.clamp(1, MAX_THREADS);
    if threads == 1 || jobs.len() < 2 {
        return jobs.iter().map(f).collect();
    }
    let f = &f;
    std::thread::scope(|scope| {
        let workers: Vec<_> = jobs
            .chunks(jobs.len().div_ceil(threads))
            .map(|chunk| scope.spawn(move || chunk.iter().map(f).collect::<Vec<_>>()))
            .collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<T>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    })
}
