//! The application under the engine: builds a block when it is our turn, and checks others' before
//! our first vote.
//!
//! ```text
//!             engine                      application                     node (ChainHooks)
//!   leader    propose(view, parent) ───▶  stored proposal of this view? ◀── signing journal
//!                                         ancestors above h−k
//!                                         executed(h−k) ........ waits ──▶ execution
//!                                         candidates ◀───────────────────  mempool
//!                                         due forced items ◀─────────────  L1, as far as it is final
//!                                         rule::select
//!             block ◀──────────────────   sign_proposal ... journal first ▶ signing journal
//!
//!   member    verify(view, block) ─────▶  objective rules: no ──▶ false
//!                                         clock, L1, executed(h−k): wait, never false
//!             true / false ◀───────────   order rule, executed root
//! ```

use crate::{
    block::{BlockGate, OrderedBlock, from_digest},
    engine::{Digest, Identity, OrderingScheme},
    gossip::WatchHandle,
    l1::{L1Block, L1View},
    rule::{self, RuleContext, Selection},
    validity::{
        Executed, ForcedCandidates, LeaderBook, Link, Pending, Surroundings, Verdict, bounds,
        candidate, certified_height, next_base_fee, reference_height, replay, validate,
    },
};
use alloy_primitives::{Address, B256, Bytes};
use blindfold_wire::{
    Block, BlockError, ChainParams, CheckedEnvelope, Floor, ForcedItem, ForcedSpan, Genesis,
    OrderCommitment, Prices, SigningKey, order_root,
};
use commonware_consensus::{
    Heightable as _, Viewable as _, marshal::ancestry::Ancestry, simplex::types::Context,
};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_macros::select;
use commonware_runtime::Clock;
use commonware_utils::sync::Mutex;
use futures::StreamExt as _;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::{Future, pending},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::{debug, error, info, warn};

/// Checked ancestors kept in memory. Above `k` and the few blocks in flight.
pub const LINK_CACHE: usize = 256;

/// What the ordering stage needs from the node. Implemented by the node and the simulator.
///
/// Futures may be dropped at any time (the view ended) and must be safe to call again.
pub trait ChainHooks: Clone + Send + Sync + 'static {
    /// Result of executing `height`, with the accounts of `payers` as the envelope ledger of that
    /// height's state has them. **Waits** until the height is executed; resolves at once for genesis.
    fn executed(
        &self,
        height: u64,
        payers: BTreeSet<Address>,
    ) -> impl Future<Output = Executed> + Send;

    /// Envelopes the mempool offers for ordering, in any order. Bound it: a few blocks' worth.
    fn candidates(&self) -> Vec<CheckedEnvelope>;

    /// Resolves when [`Self::candidates`] may offer something new. Lets an idle leader wait.
    fn new_candidates(&self) -> impl Future<Output = ()> + Send;

    /// Checks all envelopes of a block, using what the mempool has checked before.
    ///
    /// # Errors
    ///
    /// [`BlockError`] of the first envelope that is not valid: permanent.
    fn check_envelopes(&self, block: &Block) -> Result<Vec<CheckedEnvelope>, BlockError>;

    /// Checks the envelopes that forced items hold: one verdict for each item, `None` for an item that holds no valid
    /// envelope. The same at every member.
    fn check_forced(&self, items: &[ForcedItem]) -> Vec<Option<CheckedEnvelope>>;

    /// What this member knows of L1 now.
    fn l1_view(&self) -> Arc<L1View>;

    /// Resolves when [`Self::l1_view`] is another than the one with this [`L1View::version`].
    fn l1_changed(&self, version: u64) -> impl Future<Output = ()> + Send;

    /// The block this member already signed for (epoch, view), from the signing journal.
    fn signed_proposal(&self, epoch: u64, view: u64) -> impl Future<Output = Option<Block>> + Send;

    /// Journals (durably, before it returns) and signs a proposal. Returns the block journaled for its
    /// (epoch, view): another than `proposal` if one was signed before a restart. `None` if this member
    /// cannot sign.
    fn sign_proposal(&self, proposal: Proposal) -> impl Future<Output = Option<Block>> + Send;
}

/// A proposal that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The commitment to sign.
    pub commitment: OrderCommitment,
    /// Encoded envelopes in order.
    pub envelopes: Vec<Bytes>,
    /// The forced items that the height consumes.
    pub forced: ForcedSpan,
}

impl Proposal {
    /// The block, signed.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Block {
        let Self { commitment, envelopes, forced } = self;
        Block { commitment: commitment.sign(key), envelopes, forced }
    }
}

/// The application. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Application<H> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    chain_id: u64,
    settlement: Address,
    params: ChainParams,
    leaders: LeaderBook,
    watch: WatchHandle,
    hooks: H,
    links: Mutex<LinkCache>,
}

/// Checked blocks by digest, first in first out.
#[derive(Default)]
struct LinkCache {
    links: HashMap<B256, Link>,
    order: VecDeque<B256>,
}

impl LinkCache {
    fn insert(&mut self, link: Link) {
        let digest = link.digest;
        if self.links.insert(digest, link).is_none() {
            self.order.push_back(digest);
        }
        while self.order.len() > LINK_CACHE {
            if let Some(oldest) = self.order.pop_front() {
                self.links.remove(&oldest);
            }
        }
    }
}

/// Milliseconds since the Unix epoch; zero before it.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl<H: ChainHooks> Application<H> {
    pub(crate) fn new(
        genesis: &Genesis,
        leaders: LeaderBook,
        watch: WatchHandle,
        hooks: H,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                chain_id: genesis.chain_id,
                settlement: genesis.settlement,
                params: genesis.params.clone(),
                leaders,
                watch,
                hooks,
                links: Mutex::default(),
            }),
        }
    }

    /// The block with its envelopes checked. `Err` if they are not valid: permanent.
    fn link(&self, block: &OrderedBlock) -> Result<Link, BlockError> {
        if let Some(link) = self.shared.links.lock().links.get(&block.id()) {
            return Ok(link.clone());
        }
        let link = self.check(block)?;
        self.shared.links.lock().insert(link.clone());
        Ok(link)
    }

    fn check(&self, block: &OrderedBlock) -> Result<Link, BlockError> {
        let hooks = &self.shared.hooks;
        let checked = if block.commitment().height == 0 {
            Vec::new()
        } else {
            hooks.check_envelopes(block.block())?
        };
        let forced = hooks.check_forced(block.block().forced.items());
        Ok(Link::new(block, &checked, &forced, &self.shared.params))
    }

    /// Parent first, then older ancestors down to above `reference`. `None` if the ancestry ends early
    /// or an ancestor is not valid to us.
    async fn ancestors(
        &self,
        ancestry: &mut impl Ancestry<OrderedBlock>,
        reference: u64,
    ) -> Option<Vec<Link>> {
        let mut links = Vec::new();
        loop {
            let block = ancestry.next().await?;
            let height = block.height().get();
            match self.link(block.inner()) {
                Ok(link) => links.push(link),
                Err(reason) => {
                    error!(target: "blindfold::ordering", height, %reason, "an ancestor holds an invalid envelope");
                    return None;
                }
            }
            if height <= reference.saturating_add(1) {
                return Some(links);
            }
        }
    }

    async fn build(
        &self,
        clock: &impl Clock,
        round: &Context<Digest, Identity>,
        mut ancestry: impl Ancestry<OrderedBlock>,
    ) -> Option<OrderedBlock> {
        let shared = &*self.shared;
        let (epoch, view) = (round.round.epoch().get(), round.view().get());
        let parent_digest = from_digest(&round.parent.1);

        // A crash must never look like equivocation: what this view was signed for is all it gets.
        if let Some(block) = shared.hooks.signed_proposal(epoch, view).await {
            return Self::resume(block, parent_digest, view);
        }

        let parent_height = ancestry.peek()?.height().get();
        let height = parent_height.checked_add(1)?;
        let reference = reference_height(&shared.params, height);
        let links = self.ancestors(&mut ancestry, reference).await?;
        let parent = links.first()?;
        let since = above(&links, reference);
        let base_fee = next_base_fee(&shared.params, parent);
        let idle_until =
            clock.current() + Duration::from_millis(shared.params.idle_block_interval_ms);

        let (executed, l1_block, forced, chosen) = loop {
            let l1 = shared.hooks.l1_view();
            let (l1_block, forced) = self.due(&l1, &parent.commitment, unix_ms(clock.current()));
            let offered = shared.hooks.candidates();
            let payers = since
                .iter()
                .flat_map(Link::payers)
                .chain(forced.payers())
                .chain(offered.iter().map(CheckedEnvelope::payer))
                .collect();
            let executed = shared.hooks.executed(reference, payers).await;
            let accounts = replay(&executed.accounts, since);
            let candidates: Vec<_> =
                offered.iter().map(|envelope| candidate(envelope, &shared.params)).collect();
            let prices = Prices { base_fee, l1_base_fee: l1_block.base_fee };
            let context = RuleContext {
                parent: parent_digest,
                height,
                floor: Floor::new(&shared.params, prices),
                accounts: &accounts,
                bounds: bounds(&shared.params, &forced.span),
            };
            let Selection { forced: first, chosen } =
                rule::select(&forced.envelopes, &candidates, &context);
            // An envelope that was forced is the item's data.
            let items = forced.span.items();
            let first = first.into_iter().filter_map(|index| {
                let id = forced.envelopes.get(index)?.as_ref()?.id;
                Some((id, items.get(index)?.data.clone()))
            });
            let then = chosen
                .into_iter()
                .map(|index| (offered[index].id(), offered[index].bytes().clone()));
            let chosen: Vec<(B256, Bytes)> = first.chain(then).collect();
            let idle = chosen.is_empty() && items.is_empty();
            if !idle || clock.current() >= idle_until {
                break (executed, l1_block, forced.span, chosen);
            }
            // Idle: keep a pace, but start at once when there is work.
            select! {
                _ = shared.hooks.new_candidates() => {},
                _ = shared.hooks.l1_changed(l1.version()) => {},
                _ = clock.sleep_until(idle_until) => {},
            }
        };

        let (ids, envelopes): (Vec<B256>, Vec<Bytes>) = chosen.into_iter().unzip();
        let (forced_cursor, forced_hash) = forced.head();
        let commitment = OrderCommitment {
            chain_id: shared.chain_id,
            settlement: shared.settlement,
            epoch,
            height,
            view,
            parent: parent_digest,
            timestamp_ms: unix_ms(clock.current())
                .max(parent.commitment.timestamp_ms.checked_add(1)?),
            base_fee,
            count: u32::try_from(ids.len()).ok()?,
            order_root: order_root(&ids),
            l1_block: l1_block.number,
            l1_base_fee: l1_block.base_fee,
            forced_cursor,
            forced_hash,
            executed_root: match certified_height(&shared.params, height) {
                Some(_) => executed.executed_root,
                None => B256::ZERO,
            },
        };
        let (count, items) = (ids.len(), forced.items().len());
        let proposal = Proposal { commitment, envelopes, forced };
        let block = shared.hooks.sign_proposal(proposal).await?;
        let block = Self::resume(block, parent_digest, view)?;
        debug!(target: "blindfold::ordering", height, view, count, forced = items, "proposing");
        Some(block)
    }

    /// The L1 block to name after `parent`, and the forced items that are due there.
    fn due(
        &self,
        l1: &L1View,
        parent: &OrderCommitment,
        now_ms: u64,
    ) -> (L1Block, ForcedCandidates) {
        let shared = &*self.shared;
        let standing = L1Block { number: parent.l1_block, base_fee: parent.l1_base_fee };
        if shared.settlement.is_zero() {
            return (standing, ForcedCandidates::default());
        }
        let newest = l1.settled(now_ms).filter(|block| block.number > standing.number);
        let named = newest.unwrap_or(standing);
        let due = l1.due(parent.forced_cursor, named.number, &shared.params).unwrap_or_default();
        let items: Vec<ForcedItem> = due.into_iter().cloned().collect();
        let checked = shared.hooks.check_forced(&items);
        let span = ForcedSpan::after(parent, items);
        (named, ForcedCandidates::new(span, &checked, &shared.params))
    }

    /// A journaled block, if it still extends the parent that the engine asks for.
    fn resume(block: Block, parent: B256, view: u64) -> Option<OrderedBlock> {
        if block.parent() != parent {
            info!(target: "blindfold::ordering", view, "another parent was signed for in this view; skipping it");
            return None;
        }
        match OrderedBlock::new(block) {
            Ok(block) => Some(block),
            Err(reason) => {
                error!(target: "blindfold::ordering", view, %reason, "the journaled proposal is damaged");
                None
            }
        }
    }

    async fn judge(
        &self,
        clock: &impl Clock,
        round: &Context<Digest, Identity>,
        mut ancestry: impl Ancestry<OrderedBlock>,
    ) -> bool {
        let shared = &*self.shared;
        let Some(block) = ancestry.next().await else {
            // The engine is shutting down: no verdict, rather than a false one.
            return pending().await;
        };
        let block = block.inner();
        let signed = &block.block().commitment;
        shared.watch.observe(signed.clone());

        let height = block.commitment().height;
        let view = round.view().get();
        let link = match self.link(block) {
            Ok(link) => link,
            Err(reason) => {
                warn!(target: "blindfold::ordering", height, view, %reason, "proposal refused");
                return false;
            }
        };
        let reference = reference_height(&shared.params, height);
        let Some(links) = self.ancestors(&mut ancestry, reference).await else {
            return pending().await;
        };
        let Some(parent) = links.first() else {
            return pending().await;
        };
        let since = above(&links, reference);
        let mut executed = None;
        let mut told = None;
        loop {
            let l1 = shared.hooks.l1_view();
            let around = Surroundings {
                params: &shared.params,
                leaders: &shared.leaders,
                current_view: view,
                parent,
                since,
                executed: executed.as_ref(),
                now_ms: unix_ms(clock.current()),
                l1: &l1,
            };
            match validate(signed, &link, &around) {
                Verdict::Valid => return true,
                Verdict::Invalid(reason) => {
                    warn!(target: "blindfold::ordering", height, view, %reason, "proposal refused");
                    return false;
                }
                Verdict::Pending(Pending::Clock { wait_ms }) => {
                    clock.sleep(Duration::from_millis(wait_ms)).await;
                }
                Verdict::Pending(Pending::L1(wait)) => {
                    if told != Some(wait) {
                        let reason = Pending::L1(wait);
                        info!(target: "blindfold::ordering", height, view, %reason, "proposal waits");
                        told = Some(wait);
                    }
                    shared.hooks.l1_changed(l1.version()).await;
                }
                Verdict::Pending(Pending::Execution { height }) => {
                    let payers = since.iter().flat_map(Link::payers).chain(link.payers()).collect();
                    executed = Some(shared.hooks.executed(height, payers).await);
                }
            }
        }
    }
}

/// The ancestors above the reference height, newest first.
fn above(links: &[Link], reference: u64) -> &[Link] {
    let end =
        links.iter().position(|link| link.commitment.height <= reference).unwrap_or(links.len());
    &links[..end]
}

impl<E: Clock, H: ChainHooks> commonware_consensus::Application<E> for Application<H> {
    type SigningScheme = OrderingScheme;
    type Context = Context<Digest, Identity>;
    type Block = OrderedBlock;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, round): (E, Self::Context),
        ancestry: impl Ancestry<OrderedBlock>,
        (): (),
    ) -> Option<Digested<OrderedBlock>> {
        let block = self.build(&clock, &round, ancestry).await?;
        self.shared.watch.observe(block.block().commitment.clone());
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(
        &mut self,
        (clock, round): (E, Self::Context),
        ancestry: impl Ancestry<OrderedBlock>,
    ) -> bool {
        self.judge(&clock, &round, ancestry).await
    }
}

/// The block gate. Also shows every commitment that arrives to the watch, voted for or not.
impl<H: ChainHooks> BlockGate for Application<H> {
    fn admits(&self, block: &OrderedBlock) -> bool {
        let height = block.commitment().height;
        let signed = &block.block().commitment;
        if let Err(reason) = self.shared.leaders.check(signed) {
            debug!(target: "blindfold::ordering", height, %reason, "block refused");
            return false;
        }
        self.shared.watch.observe(signed.clone());
        // Never answered from the cache: it is keyed by digest, and the signatures of envelopes are
        // not under the digest.
        match self.check(block) {
            Ok(link) => {
                self.shared.links.lock().insert(link);
                true
            }
            Err(reason) => {
                debug!(target: "blindfold::ordering", height, %reason, "block refused");
                false
            }
        }
    }
}
