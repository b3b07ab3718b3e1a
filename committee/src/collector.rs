//! Collecting share bundles until every height is opened.
//!
//! # Messages and steps
//!
//! ```text
//!  bundle of j for h ──▶ on_bundle ─┬─ h not certified here yet ─▶ kept, bounded per member
//!                                   ├─ other digest than certified ─▶ Uncertified
//!                                   └─ second digest of j for h ────▶ Evidence(DoubleRelease)
//!  certified h + envelopes ─▶ on_certified
//!                                   │ t members' bundles there?
//!                                   ▼
//!                              Decide(job) ── the owner runs it on a worker ──▶ on_decided
//!                                   ▲                                             │
//!                                   └── a wrong share: Evidence(BadShare), that ──┤ all positions decided
//!                                       member's bundle is set aside, wait for    ▼
//!                                       or take others                          Opened
//!  opening set from a peer ─▶ catchup::verify_openings ─▶ on_opened_elsewhere
//! ```
//!
//! # Why n − t silent or lying members never stop a height
//!
//! All honest members release every final height and resend until they hold its opening, so t honest
//! bundles arrive. A wrong share is found by its pairing equation, which sets its member aside, and can
//! only happen n − t times. Nothing a member sends can displace another member's bundle: each has its own
//! place and its own share of the buffer.
//!
//! # Contract
//!
//! [`on_certified`](Collector::on_certified) once per height; every [`Effect::Decide`] is answered by one
//! [`on_decided`](Collector::on_decided). Effects are in no particular order of importance, and none may be
//! dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use blindfold_crypto::{CommitteePublic, Opening};
use blindfold_wire::{
    Address, B256, Certified, OrderCommitment,
    bundle::{self, ShareBundle, SignedBundleHeader},
    evidence::Evidence,
    opened::OpenedBatch,
};

use crate::{
    batch::SealedBatch,
    decide::{Blame, Contribution, DecidedBatch, OpenedChunk, decide_rest},
    evidence,
};

/// How far above the highest certified height bundles are kept.
pub const EARLY_WINDOW_HEIGHTS: u64 = 64;

/// Bytes of shares kept of one member for heights that are not certified here yet.
pub const MAX_EARLY_BYTES_PER_MEMBER: usize = 2 << 20;

/// Most certified heights that wait for their opening at once.
pub const MAX_OPEN_HEIGHTS: usize = 64;

/// How many heights below the highest certified one second releases are still noticed.
pub const RETAINED_HEIGHTS: u64 = 256;

/// What signers a collector expects, and where.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// Chain id.
    pub chain_id: u64,
    /// The settlement contract, part of every signing domain.
    pub settlement: Address,
    /// The committee's keys.
    pub public: CommitteePublic,
    /// The members' signer addresses, in member order.
    pub signers: Vec<Address>,
    /// The lowest height that is not opened yet.
    pub first_height: u64,
}

/// A bundle for something that is not certified at its height.
///
/// An honest member never signs one: it releases for a certified commitment only, and only one can be
/// certified. Counted as *opened before final*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncertifiedRelease {
    /// What the member signed.
    pub signed: SignedBundleHeader,
    /// The digest that is certified at that height.
    pub certified: B256,
}

/// What the owner of a collector has to do.
#[derive(Debug)]
pub enum Effect {
    /// Run the job, on a worker if there is one, and hand its result to [`Collector::on_decided`].
    Decide(DecideJob),
    /// The height is opened: persist it, then execute it.
    Opened(OpenedBatch),
    /// A member can be slashed: persist and gossip the proof.
    Evidence(Box<Evidence>),
    /// A member released for something uncertified: count and report it.
    Uncertified(UncertifiedRelease),
}

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is for another chain or settlement contract.
    #[error("the bundle is for another chain")]
    OtherChain,
    /// There is no such member.
    #[error("the committee has no member {member}")]
    UnknownMember {
        /// The index it names.
        member: u32,
    },
    /// The signature is not the member's, or the shares are not those signed.
    #[error("the bundle is not what its member signed")]
    Forged(#[from] bundle::BundleError),
    /// It has another number of shares than the height has positions.
    #[error("height {height} has {expected} positions, the bundle {got} shares")]
    Count {
        /// The height.
        height: u64,
        /// Positions.
        expected: usize,
        /// Shares.
        got: usize,
    },
    /// The height is too far ahead to keep it.
    #[error("height {height} is above {limit}, the highest kept now")]
    TooEarly {
        /// The bundle's height.
        height: u64,
        /// The highest height kept.
        limit: u64,
    },
    /// The member's room for early bundles is used up.
    #[error("member {member} has too many early bundles")]
    EarlyFull {
        /// The member.
        member: u32,
    },
    /// The height is long opened.
    #[error("height {height} is too old")]
    TooOld {
        /// The bundle's height.
        height: u64,
    },
    /// The member's bundle for this commitment is held already.
    #[error("already held")]
    Duplicate,
}

impl BundleError {
    /// Whether an honest, up-to-date peer would not have forwarded this.
    pub fn peer_at_fault(&self) -> bool {
        match self {
            Self::OtherChain | Self::UnknownMember { .. } | Self::Forged(_) => true,
            // Its member is at fault; a peer that does not hold the commitment cannot know.
            Self::Count { .. } => false,
            Self::TooEarly { .. }
            | Self::EarlyFull { .. }
            | Self::TooOld { .. }
            | Self::Duplicate => false,
        }
    }
}

/// Why a certified height was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertifiedError {
    /// Too many heights wait; open or catch up with the lowest first, then hand this one in again.
    #[error("{MAX_OPEN_HEIGHTS} heights wait for their opening")]
    Backlog,
    /// Another commitment is certified at this height: the committee is broken beyond its fault bound.
    #[error("height {height} is certified with both {first} and {second}")]
    Forked {
        /// The height.
        height: u64,
        /// The digest that came first.
        first: B256,
        /// The digest that came now.
        second: B256,
    },
}

/// The arithmetic of one decision, to be run away from the event loop.
#[derive(Debug)]
pub struct DecideJob {
    public: CommitteePublic,
    batch: SealedBatch,
    decided: Vec<Option<Opening>>,
    bundles: Vec<Arc<ShareBundle>>,
}

impl DecideJob {
    /// The order that is being opened.
    pub fn order(&self) -> &Certified<OrderCommitment> {
        self.batch.certified()
    }

    /// The height.
    pub fn height(&self) -> u64 {
        self.batch.height()
    }

    /// Number of positions to decide.
    pub fn len(&self) -> usize {
        self.decided.iter().filter(|opening| opening.is_none()).count()
    }

    /// The members whose shares it uses, ascending.
    pub fn members(&self) -> impl Iterator<Item = u32> + '_ {
        self.bundles.iter().map(|bundle| bundle.header.member)
    }

    /// Whether nothing is left to decide.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs it on up to `threads` threads.
    pub fn run(self, threads: usize) -> DecidedBatch {
        self.run_in_chunks(threads, |_| {})
    }

    /// As [`run`](Self::run), and hands every chunk of positions to `opened` as soon as it and all chunks
    /// before it are decided: on the caller's thread, while other threads decide the rest. So what comes
    /// after opening can begin with the first position; see [`OpenedChunk`].
    pub fn run_in_chunks(
        self,
        threads: usize,
        mut opened: impl FnMut(OpenedChunk<'_>),
    ) -> DecidedBatch {
        let contributions: Vec<_> = self
            .bundles
            .iter()
            .map(|bundle| Contribution { member: bundle.header.member, shares: &bundle.shares })
            .collect();
        decide_rest(&self.public, &self.batch, self.decided, &contributions, threads, &mut opened)
    }
}

/// What is known of one height.
#[derive(Debug, Default)]
struct Height {
    certified: Option<B256>,
    /// While it is certified and not opened.
    batch: Option<SealedBatch>,
    decided: Vec<Option<Opening>>,
    /// Every member's bundles, at most one per digest and two in all.
    bundles: BTreeMap<u32, Vec<Arc<ShareBundle>>>,
    /// The headers each member signed, by commitment; kept after opening. At most two.
    signed: BTreeMap<u32, Vec<SignedBundleHeader>>,
    /// Members with a wrong share.
    set_aside: BTreeSet<u32>,
    /// A job is out.
    deciding: bool,
    /// Contributors of the last job: the same ones would decide the same again.
    tried: Vec<u32>,
}

/// Collects bundles and certified heights; see the [module](self).
#[derive(Debug)]
pub struct Collector {
    config: CollectorConfig,
    heights: BTreeMap<u64, Height>,
    early_bytes: Vec<usize>,
    highest_certified: u64,
    /// Heights below are opened.
    first_height: u64,
}

impl Collector {
    /// A collector for one committee.
    pub fn new(config: CollectorConfig) -> Self {
        let early_bytes = vec![0; config.signers.len()];
        let first_height = config.first_height;
        let highest_certified = first_height.saturating_sub(1);
        Self { config, heights: BTreeMap::new(), early_bytes, highest_certified, first_height }
    }

    /// Takes a final height with its envelopes.
    ///
    /// # Errors
    ///
    /// See [`CertifiedError`]. A height that is opened or held already is no error and has no effect.
    pub fn on_certified(&mut self, batch: SealedBatch) -> Result<Vec<Effect>, CertifiedError> {
        let (height, digest) = (batch.height(), batch.digest());
        if let Some(first) = self.heights.get(&height).and_then(|known| known.certified) {
            if first != digest {
                return Err(CertifiedError::Forked { height, first, second: digest });
            }
            return Ok(Vec::new());
        }
        if height < self.first_height {
            return Ok(Vec::new());
        }
        if self.heights.values().filter(|known| known.batch.is_some()).count() >= MAX_OPEN_HEIGHTS {
            return Err(CertifiedError::Backlog);
        }
        self.highest_certified = self.highest_certified.max(height);
        let known = self.heights.entry(height).or_default();
        known.certified = Some(digest);
        known.decided = vec![None; batch.len()];
        let mut effects = Vec::new();
        free_early(&mut self.early_bytes, known);
        for bundles in known.bundles.values_mut() {
            bundles.retain(|bundle| {
                bundle.header.commitment == digest && bundle.shares.len() == batch.len()
            });
        }
        for signed in
            known.signed.values().flatten().filter(|signed| signed.header.commitment != digest)
        {
            effects.push(Effect::Uncertified(UncertifiedRelease {
                signed: signed.clone(),
                certified: digest,
            }));
        }
        known.batch = Some(batch);
        effects.extend(self.try_decide(height));
        self.prune();
        Ok(effects)
    }

    /// Takes a member's bundle, from that member or forwarded by another.
    ///
    /// # Errors
    ///
    /// See [`BundleError`]; nothing is kept then.
    pub fn on_bundle(&mut self, bundle: ShareBundle) -> Result<Vec<Effect>, BundleError> {
        let header = &bundle.header;
        let (height, member) = (header.height, header.member);
        if header.chain_id != self.config.chain_id || header.settlement != self.config.settlement {
            return Err(BundleError::OtherChain);
        }
        let seat = usize::try_from(member).ok().filter(|seat| *seat < self.config.signers.len());
        let seat = seat.ok_or(BundleError::UnknownMember { member })?;
        let limit = self.highest_certified.saturating_add(EARLY_WINDOW_HEIGHTS);
        if height > limit {
            return Err(BundleError::TooEarly { height, limit });
        }
        if height < self.lowest_retained() {
            return Err(BundleError::TooOld { height });
        }
        let known = self.heights.get(&height);
        let earlier =
            known.and_then(|known| known.signed.get(&member)).map_or(&[][..], Vec::as_slice);
        // Two are a proof already; a third digest adds nothing.
        if earlier.len() >= 2
            || earlier.iter().any(|signed| signed.header.commitment == header.commitment)
        {
            return Err(BundleError::Duplicate);
        }
        let certified = known.and_then(|known| known.certified);
        let expected = known.and_then(|known| known.batch.as_ref()).map(SealedBatch::len);
        if let (Some(expected), true) = (expected, certified == Some(header.commitment))
            && bundle.shares.len() != expected
        {
            return Err(BundleError::Count { height, expected, got: bundle.shares.len() });
        }
        let cost_bytes = early_cost_bytes(&bundle);
        let early = certified.is_none() && height >= self.first_height;
        if early && self.early_bytes[seat].saturating_add(cost_bytes) > MAX_EARLY_BYTES_PER_MEMBER {
            return Err(BundleError::EarlyFull { member });
        }
        bundle.verify_signature(self.config.signers[seat])?;

        let mut effects = Vec::new();
        let signed = bundle.signed_header();
        if let [first] = earlier {
            effects.push(Effect::Evidence(Box::new(evidence::double_release(
                first.clone(),
                signed.clone(),
            ))));
        }
        if let Some(certified) =
            certified.filter(|certified| *certified != signed.header.commitment)
        {
            effects.push(Effect::Uncertified(UncertifiedRelease {
                signed: signed.clone(),
                certified,
            }));
        }
        let known = self.heights.entry(height).or_default();
        known.signed.entry(member).or_default().push(signed);
        let wanted = match certified {
            None => height >= self.first_height,
            Some(digest) => known.batch.is_some() && digest == bundle.header.commitment,
        };
        if wanted {
            if early {
                self.early_bytes[seat] += cost_bytes;
            }
            known.bundles.entry(member).or_default().push(Arc::new(bundle));
            effects.extend(self.try_decide(height));
        }
        Ok(effects)
    }

    /// Takes the result of a [`DecideJob`].
    pub fn on_decided(&mut self, decided: DecidedBatch) -> Vec<Effect> {
        let height = decided.batch().height();
        let Some(known) = self.heights.get_mut(&height) else { return Vec::new() };
        known.deciding = false;
        // Opened from elsewhere in the meantime.
        let Some(batch) = known.batch.clone() else { return Vec::new() };
        if batch.digest() != decided.batch().digest() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for blame in decided.blamed() {
            // One proof per member and height is enough.
            if known.set_aside.insert(blame.member) {
                effects.extend(bad_share(&self.config.public, known, &batch, *blame));
            }
        }
        match decided.into_opened() {
            Ok(Ok(opened)) => {
                self.close(height);
                effects.push(Effect::Opened(opened));
            }
            // SealedBatch has checked what OpenedBatch checks again.
            Ok(Err(error)) => {
                tracing::error!(target: "blindfold::committee", height, %error, "opened batch refused")
            }
            Err(incomplete) => {
                known.decided = incomplete.openings().to_vec();
                effects.extend(self.try_decide(height));
            }
        }
        effects
    }

    /// Notes that the height was opened with openings verified by
    /// [`verify_openings`](crate::catchup::verify_openings), so that no more shares are needed.
    pub fn on_opened_elsewhere(&mut self, opened: &OpenedBatch) {
        let known = self.heights.entry(opened.height()).or_default();
        if known.certified.is_none() {
            free_early(&mut self.early_bytes, known);
            known.certified = Some(opened.certified().digest());
        }
        self.highest_certified = self.highest_certified.max(opened.height());
        self.close(opened.height());
    }

    /// The heights that are certified but not opened, ascending.
    pub fn open_heights(&self) -> impl Iterator<Item = u64> + '_ {
        self.heights.iter().filter(|(_, known)| known.batch.is_some()).map(|(height, _)| *height)
    }

    /// The members whose bundle for the certified commitment of `height` has not come, ascending: late or
    /// silent.
    pub fn missing_members(&self, height: u64) -> Vec<u32> {
        let Some(known) = self.heights.get(&height) else { return Vec::new() };
        let Some(certified) = known.certified else { return Vec::new() };
        (0u32..)
            .take(self.config.signers.len())
            .filter(|member| {
                let signed = known.signed.get(member).map_or(&[][..], Vec::as_slice);
                !signed.iter().any(|signed| signed.header.commitment == certified)
            })
            .collect()
    }

    /// A job when there are enough usable bundles, more than were tried before.
    fn try_decide(&mut self, height: u64) -> Option<Effect> {
        let known = self.heights.get_mut(&height)?;
        let batch = known.batch.clone()?;
        if known.deciding {
            return None;
        }
        let bundles: Vec<_> = known
            .bundles
            .iter()
            .filter(|(member, _)| !known.set_aside.contains(member))
            .filter_map(|(_, bundles)| bundles.first().cloned())
            .collect();
        // A height that orders nothing needs no share.
        let enough = batch.is_empty() || bundles.len() >= self.config.public.threshold();
        let contributors: Vec<_> = bundles.iter().map(|bundle| bundle.header.member).collect();
        if !enough || (!batch.is_empty() && contributors == known.tried) {
            return None;
        }
        known.deciding = true;
        known.tried = contributors;
        let decided = known.decided.clone();
        Some(Effect::Decide(DecideJob {
            public: self.config.public.clone(),
            batch,
            decided,
            bundles,
        }))
    }

    /// Lets go of everything of a height but the signed headers.
    fn close(&mut self, height: u64) {
        if let Some(known) = self.heights.get_mut(&height) {
            known.batch = None;
            known.decided = Vec::new();
            known.bundles.clear();
            known.set_aside.clear();
        }
        let is_open = |known: &Height| known.certified.is_none() || known.batch.is_some();
        while self.heights.get(&self.first_height).is_some_and(|known| !is_open(known)) {
            self.first_height += 1;
        }
        self.prune();
    }

    fn lowest_retained(&self) -> u64 {
        self.first_height.min(self.highest_certified.saturating_sub(RETAINED_HEIGHTS))
    }

    fn prune(&mut self) {
        let lowest = self.lowest_retained();
        self.heights = self.heights.split_off(&lowest);
    }
}

/// Gives the members back the room that their bundles took while the height was not certified.
fn free_early(early_bytes: &mut [usize], known: &Height) {
    for (member, bundles) in &known.bundles {
        let freed: usize = bundles.iter().map(|bundle| early_cost_bytes(bundle)).sum();
        if let Some(bytes) =
            usize::try_from(*member).ok().and_then(|seat| early_bytes.get_mut(seat))
        {
            *bytes = bytes.saturating_sub(freed);
        }
    }
}

fn early_cost_bytes(bundle: &ShareBundle) -> usize {
    bundle::MAX_BUNDLE_HEADER_BYTES + bundle.shares.len() * bundle::SHARE_BYTES
}

fn bad_share(
    public: &CommitteePublic,
    known: &Height,
    batch: &SealedBatch,
    blame: Blame,
) -> Option<Effect> {
    let bundle = known.bundles.get(&blame.member)?.first()?;
    let evidence = evidence::bad_share(public, batch, bundle, blame.position)?;
    Some(Effect::Evidence(Box::new(evidence)))
}
