//! The pool itself.

use std::collections::{BTreeSet, HashMap};

use blindfold_wire::{Address, B256, Bytes, Floor, checked::CheckedEnvelope};

use crate::{
    account::AccountView,
    change::{Change, Ended, Removal},
    config::{MAX_PENDING_CHANGES, MempoolConfig},
    queue::{Entry, Queue, Score},
    rejection::Rejection,
};

/// An envelope entered; what left for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// The envelope of the same payer and nonce it replaced.
    pub replaced: Option<B256>,
    /// Envelopes of other payers that made room, lowest fee first.
    pub evicted: Vec<B256>,
}

/// An envelope of a finalized block, as the pool needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderedEnvelope {
    /// Its id.
    pub id: B256,
    /// Who pays.
    pub payer: Address,
    /// Its payer nonce.
    pub nonce: u64,
}

impl From<&CheckedEnvelope> for OrderedEnvelope {
    fn from(envelope: &CheckedEnvelope) -> Self {
        Self {
            id: envelope.id(),
            payer: envelope.payer(),
            nonce: envelope.envelope().header.payer_nonce,
        }
    }
}

/// What the pool knows of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolStatus {
    /// It is pooled and every lower nonce of its payer is ordered or pooled.
    Pending,
    /// It is pooled and waits for a lower nonce.
    Gapped,
    /// It left.
    Ended(Removal),
}

/// How the entries of an earlier run were taken back; see [`Mempool::restore`].
#[derive(Debug, Default)]
pub struct Restored {
    /// How many are pooled again.
    pub admitted: usize,
    /// Those no longer admissible, and why.
    pub refused: Vec<(B256, Rejection)>,
}

/// A bounded pool of checked envelopes.
///
/// # Contract
///
/// - Call [`drain_changes`](Self::drain_changes) after every call that takes `&mut self`, and persist what
///   it yields before acting on it.
/// - Heights only grow, and every finalized height is reported once, in order, by
///   [`on_height`](Self::on_height).
/// - [`admit`](Self::admit), [`revalidate`](Self::revalidate) and [`on_height`](Self::on_height) take
///   accounts at the *finalized* tip; [`candidates`](Self::candidates) takes them at the parent of the
///   block to be proposed.
#[derive(Debug)]
pub struct Mempool {
    pub(crate) config: MempoolConfig,
    pub(crate) queues: HashMap<Address, Queue>,
    by_id: HashMap<B256, (Address, u64)>,
    by_expiry: BTreeSet<(u64, B256)>,
    by_score: BTreeSet<(Score, Address)>,
    floor: Floor,
    bytes: usize,
    changes: Vec<Change>,
    ended: Ended,
}

impl Mempool {
    /// An empty pool.
    pub fn new(config: MempoolConfig) -> Self {
        let floor = config.params.initial_base_fee.into();
        let ended = Ended::new(config.max_ended);
        Self {
            config,
            queues: HashMap::new(),
            by_id: HashMap::new(),
            by_expiry: BTreeSet::new(),
            by_score: BTreeSet::new(),
            floor,
            bytes: 0,
            changes: Vec::new(),
            ended,
        }
    }

    /// Admits an envelope: `accounts` at the finalized tip, whose height is `height`.
    ///
    /// # Errors
    ///
    /// See [`Rejection`]; a rejected envelope changes nothing.
    pub fn admit(
        &mut self,
        envelope: CheckedEnvelope,
        accounts: &impl AccountView,
        height: u64,
    ) -> Result<Admission, Rejection> {
        let id = envelope.id();
        let bytes = Bytes::clone(envelope.bytes());
        let admission = self.place(envelope, accounts, height)?;
        self.ended.forget(&id);
        self.changes.push(Change::Insert { id, bytes });
        Ok(admission)
    }

    /// Takes back what an earlier run persisted, in any order. Admitted entries yield no change, since they
    /// are stored already; refused ones yield a removal.
    pub fn restore(
        &mut self,
        stored: impl IntoIterator<Item = CheckedEnvelope>,
        accounts: &impl AccountView,
        height: u64,
    ) -> Restored {
        let mut stored: Vec<_> = stored.into_iter().collect();
        stored.sort_by_key(|envelope| (envelope.payer(), envelope.envelope().header.payer_nonce));
        let mut restored = Restored::default();
        for envelope in stored {
            let id = envelope.id();
            match self.place(envelope, accounts, height) {
                Ok(_) => restored.admitted += 1,
                Err(Rejection::AlreadyKnown { .. }) => {}
                Err(rejection) => {
                    self.changes.push(Change::Remove { id, reason: Removal::NotRestored });
                    self.ended.record(id, Removal::NotRestored);
                    restored.refused.push((id, rejection));
                }
            }
        }
        restored
    }

    /// Reports a finalized height: its envelopes, what the next height asks for, and the accounts after
    /// it. Drops what was ordered, what expired, and what the payers concerned can no longer pay.
    pub fn on_height(
        &mut self,
        height: u64,
        next: impl Into<Floor>,
        ordered: &[OrderedEnvelope],
        accounts: &impl AccountView,
    ) {
        self.on_ordered(height, ordered);
        self.prune_expired(height);
        self.revalidate(ordered.iter().map(|envelope| envelope.payer), accounts);
        self.set_floor(next);
    }

    /// Drops the envelopes of a finalized height, and any other with a nonce that height used up.
    pub fn on_ordered(&mut self, height: u64, ordered: &[OrderedEnvelope]) {
        for envelope in ordered {
            let Some(queue) = self.queues.get_mut(&envelope.payer) else { continue };
            queue.next_nonce = queue.next_nonce.max(envelope.nonce.saturating_add(1));
            let used: Vec<_> = queue
                .iter()
                .map(|entry| (entry.nonce(), entry.id()))
                .take_while(|(nonce, _)| *nonce <= envelope.nonce)
                .collect();
            for (nonce, id) in used {
                let reason = match (id == envelope.id, nonce == envelope.nonce) {
                    (true, _) => Removal::Ordered { height },
                    (false, true) => Removal::Superseded { by: envelope.id },
                    (false, false) => Removal::Stale,
                };
                self.take(envelope.payer, nonce, reason);
            }
            self.reindex(envelope.payer);
        }
    }

    /// Drops every envelope that could not be ordered above `height`, the last ordered height, and returns
    /// their ids.
    pub fn prune_expired(&mut self, height: u64) -> Vec<B256> {
        let mut expired = Vec::new();
        while let Some((expiry_height, id)) = self.by_expiry.first().copied() {
            if expiry_height > height {
                break;
            }
            let Some((payer, nonce)) = self.by_id.get(&id).copied() else {
                self.by_expiry.pop_first();
                continue;
            };
            self.take(payer, nonce, Removal::Expired { height });
            self.reindex(payer);
            expired.push(id);
        }
        expired
    }

    /// Checks the given payers' envelopes against their accounts at the finalized tip: drops used nonces,
    /// and the highest nonces until the escrow covers the rest.
    pub fn revalidate(
        &mut self,
        payers: impl IntoIterator<Item = Address>,
        accounts: &impl AccountView,
    ) {
        for payer in payers {
            let Some(queue) = self.queues.get_mut(&payer) else { continue };
            queue.next_nonce = queue.next_nonce.max(accounts.next_nonce(&payer));
            let escrow_wei = accounts.escrow_wei(&payer);
            while let Some(queue) = self.queues.get(&payer) {
                let stale = queue.iter().next().filter(|entry| entry.nonce() < queue.next_nonce);
                let unpaid = queue.iter().next_back().filter(|_| queue.reserved_wei() > escrow_wei);
                let (nonce, reason) = match (stale, unpaid) {
                    (Some(entry), _) => (entry.nonce(), Removal::Stale),
                    (None, Some(entry)) => (entry.nonce(), Removal::Unpaid),
                    (None, None) => break,
                };
                self.take(payer, nonce, reason);
            }
            self.reindex(payer);
        }
    }

    /// Sets what decides which envelopes are underpriced, and hence go first.
    pub fn set_floor(&mut self, floor: impl Into<Floor>) {
        let floor = floor.into();
        if floor == self.floor {
            return;
        }
        self.floor = floor;
        let payers: Vec<_> = self.queues.keys().copied().collect();
        for payer in payers {
            self.reindex(payer);
        }
    }

    /// Takes the changes since the last call, oldest first.
    pub fn drain_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The pooled envelope with this id.
    pub fn get(&self, id: &B256) -> Option<&CheckedEnvelope> {
        let (payer, nonce) = self.by_id.get(id)?;
        self.queues.get(payer)?.get(*nonce).map(|entry| &entry.envelope)
    }

    /// Whether an envelope with this id is pooled: look here before checking gossiped bytes.
    pub fn contains(&self, id: &B256) -> bool {
        self.by_id.contains_key(id)
    }

    /// What the pool knows of an envelope; `None` when it never saw or has forgotten it.
    pub fn status(&self, id: &B256) -> Option<PoolStatus> {
        let Some((payer, nonce)) = self.by_id.get(id) else {
            return self.ended.get(id).map(PoolStatus::Ended);
        };
        let queue = self.queues.get(payer)?;
        let next_free = self.next_free_nonce(payer, queue.next_nonce);
        Some(if *nonce < next_free { PoolStatus::Pending } else { PoolStatus::Gapped })
    }

    /// The lowest nonce from `next_nonce` on that is not pooled: what a wallet uses next.
    pub fn next_free_nonce(&self, payer: &Address, next_nonce: u64) -> u64 {
        let Some(queue) = self.queues.get(payer) else { return next_nonce };
        let mut nonce = next_nonce;
        while queue.get(nonce).is_some() {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }

    /// The payers with pooled envelopes, in no particular order.
    pub fn payers(&self) -> impl Iterator<Item = Address> + '_ {
        self.queues.keys().copied()
    }

    /// All pooled envelopes, each payer's by nonce.
    pub fn iter(&self) -> impl Iterator<Item = &CheckedEnvelope> {
        self.queues.values().flat_map(|queue| queue.iter().map(|entry| &entry.envelope))
    }

    /// Number of pooled envelopes.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nothing is pooled.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Bytes charged against [`MempoolConfig::max_bytes`].
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Everything of [`admit`](Self::admit) but the `Insert` change.
    fn place(
        &mut self,
        envelope: CheckedEnvelope,
        accounts: &impl AccountView,
        height: u64,
    ) -> Result<Admission, Rejection> {
        if self.changes.len() >= MAX_PENDING_CHANGES {
            return Err(Rejection::Backlog);
        }
        if self.contains(&envelope.id()) {
            return Err(Rejection::AlreadyKnown { id: envelope.id() });
        }
        let payer = envelope.payer();
        let newcomer = Entry::new(&self.config.params, envelope);
        self.check_fee(&newcomer)?;
        self.check_expiry(&newcomer, height)?;

        let empty = Queue::default();
        let queue = self.queues.get(&payer).unwrap_or(&empty);
        let next_nonce = queue.next_nonce.max(accounts.next_nonce(&payer));
        self.check_nonce(newcomer.nonce(), next_nonce)?;
        let replaced = queue.get(newcomer.nonce());
        if let Some(replaced) = replaced {
            self.check_replacement(&newcomer, replaced)?;
        } else if queue.len() >= self.config.max_per_payer {
            return Err(Rejection::PayerFull { max: self.config.max_per_payer });
        }
        let freed_wei = replaced.map(|entry| entry.max_charge_wei).unwrap_or_default();
        let needed_wei =
            queue.reserved_wei().saturating_sub(freed_wei).saturating_add(newcomer.max_charge_wei);
        let escrow_wei = accounts.escrow_wei(&payer);
        if needed_wei > escrow_wei {
            return Err(Rejection::Unpaid { needed_wei, escrow_wei });
        }
        let replaced = replaced.map(Entry::id);
        let victims = self.plan_evictions(payer, &newcomer, next_nonce)?;

        let mut admission = Admission { replaced, evicted: Vec::with_capacity(victims.len()) };
        if replaced.is_some() {
            self.take(payer, newcomer.nonce(), Removal::Replaced { by: newcomer.id() });
        }
        for (owner, nonce) in victims {
            admission.evicted.extend(self.take(owner, nonce, Removal::Evicted));
            self.reindex(owner);
        }
        self.bytes += newcomer.cost_bytes;
        self.by_id.insert(newcomer.id(), (payer, newcomer.nonce()));
        self.by_expiry.insert((newcomer.expiry_height(), newcomer.id()));
        let queue = self.queues.entry(payer).or_default();
        queue.next_nonce = next_nonce;
        queue.insert(newcomer);
        self.reindex(payer);
        debug_assert!(self.bytes <= self.config.max_bytes);
        debug_assert!(self.len() <= self.config.max_envelopes);
        Ok(admission)
    }

    /// Without this a fee of zero would reserve nothing, and so take room in every pool for free.
    fn check_fee(&self, newcomer: &Entry) -> Result<(), Rejection> {
        let max_fee = newcomer.envelope.header().max_fee_per_gas;
        let minimum = self.config.params.min_base_fee;
        if max_fee < minimum { Err(Rejection::Underpriced { max_fee, minimum }) } else { Ok(()) }
    }

    fn check_expiry(&self, newcomer: &Entry, height: u64) -> Result<(), Rejection> {
        let expiry_height = newcomer.expiry_height();
        if expiry_height <= height {
            return Err(Rejection::Expired { expiry_height, height });
        }
        let latest = height.saturating_add(self.config.params.max_expiry_window);
        if expiry_height > latest {
            return Err(Rejection::ExpiryTooFar { expiry_height, latest });
        }
        Ok(())
    }

    fn check_nonce(&self, nonce: u64, next_nonce: u64) -> Result<(), Rejection> {
        if nonce < next_nonce {
            return Err(Rejection::StaleNonce { nonce, next_nonce });
        }
        let limit = next_nonce.saturating_add(self.config.nonce_window);
        if nonce >= limit {
            return Err(Rejection::NonceTooFar { nonce, limit });
        }
        Ok(())
    }

    fn check_replacement(&self, newcomer: &Entry, replaced: &Entry) -> Result<(), Rejection> {
        let percent = self.config.replacement_bump_percent;
        let min_max_fee = bumped(replaced.max_fee(), percent);
        let min_priority_fee = bumped(replaced.max_priority_fee(), percent);
        if newcomer.max_fee() < min_max_fee || newcomer.max_priority_fee() < min_priority_fee {
            return Err(Rejection::ReplacementUnderpriced {
                replaces: replaced.id(),
                min_max_fee,
                min_priority_fee,
            });
        }
        Ok(())
    }

    /// Chooses whom `newcomer` displaces: repeatedly the highest nonce of the payer whose chain is worth
    /// least, so that no hole appears, and only while that is worth less than the newcomer. Never its own
    /// payer's. Changes nothing.
    fn plan_evictions(
        &self,
        payer: Address,
        newcomer: &Entry,
        next_nonce: u64,
    ) -> Result<Vec<(Address, u64)>, Rejection> {
        let mut bytes = self.bytes + newcomer.cost_bytes;
        let mut count = self.len() + 1;
        let mut worth = Queue::starting_at(next_nonce).score_with(newcomer, &self.floor);
        if let Some(queue) = self.queues.get(&payer) {
            worth = queue.score_with(newcomer, &self.floor);
            if let Some(replaced) = queue.get(newcomer.nonce()) {
                bytes -= replaced.cost_bytes;
                count -= 1;
            }
        }
        let mut victims = Vec::new();
        // Payers whose tail is planned away already stand here with what remains of them.
        let mut reduced: BTreeSet<(Score, Address, usize)> = BTreeSet::new();
        let mut untouched = self.by_score.iter().filter(|(_, owner)| *owner != payer).peekable();
        while bytes > self.config.max_bytes || count > self.config.max_envelopes {
            let fresh = untouched.peek().map(|(score, owner)| (*score, *owner, usize::MAX));
            let lowest = match (reduced.first().copied(), fresh) {
                (Some(left), Some(right)) if right < left => right,
                (Some(left), _) => left,
                (None, Some(right)) => right,
                (None, None) => return Err(Rejection::Full),
            };
            let (score, owner, kept) = lowest;
            if score >= worth {
                return Err(Rejection::Full);
            }
            if kept == usize::MAX {
                untouched.next();
            } else {
                reduced.pop_first();
            }
            let Some(queue) = self.queues.get(&owner) else { continue };
            let kept = kept.min(queue.len());
            let Some(victim) = queue.nth(kept.saturating_sub(1)) else { continue };
            victims.push((owner, victim.nonce()));
            bytes -= victim.cost_bytes;
            count -= 1;
            if let Some(score) = queue.score(kept - 1, &self.floor) {
                reduced.insert((score, owner, kept - 1));
            }
        }
        Ok(victims)
    }

    /// Removes one envelope; the caller reindexes its payer.
    fn take(&mut self, payer: Address, nonce: u64, reason: Removal) -> Option<B256> {
        let queue = self.queues.get_mut(&payer)?;
        let entry = queue.remove(nonce)?;
        let id = entry.id();
        self.bytes -= entry.cost_bytes;
        self.by_id.remove(&id);
        self.by_expiry.remove(&(entry.expiry_height(), id));
        self.ended.record(id, reason);
        self.changes.push(Change::Remove { id, reason });
        Some(id)
    }

    /// Brings a payer's place among the eviction candidates up to date, and drops its queue when empty.
    fn reindex(&mut self, payer: Address) {
        let Some(queue) = self.queues.get_mut(&payer) else { return };
        if let Some(score) = queue.indexed.take() {
            self.by_score.remove(&(score, payer));
        }
        match queue.score(queue.len(), &self.floor) {
            None => {
                self.queues.remove(&payer);
            }
            Some(score) => {
                queue.indexed = Some(score);
                self.by_score.insert((score, payer));
            }
        }
    }
}

#[cfg(test)]
impl Mempool {
    /// As if nothing had been drained for long.
    pub(crate) fn fill_changes_for_test(&mut self) {
        let change = Change::Remove { id: B256::ZERO, reason: Removal::Stale };
        self.changes.resize(MAX_PENDING_CHANGES, change);
    }
}

#[cfg(any(test, feature = "testkit"))]
impl Mempool {
    /// Fails unless every index says the same and no bound is exceeded. For tests.
    ///
    /// # Panics
    /// If one does not.
    pub fn assert_consistent(&self) {
        let entries: Vec<_> = self.queues.values().flat_map(Queue::iter).collect();
        assert_eq!(entries.len(), self.by_id.len());
        assert_eq!(entries.len(), self.by_expiry.len());
        assert_eq!(self.bytes, entries.iter().map(|entry| entry.cost_bytes).sum::<usize>());
        assert!(self.bytes <= self.config.max_bytes && entries.len() <= self.config.max_envelopes);
        assert_eq!(self.queues.len(), self.by_score.len());
        for (payer, queue) in &self.queues {
            assert!((1..=self.config.max_per_payer).contains(&queue.len()));
            let score = queue.score(queue.len(), &self.floor);
            assert_eq!(score, queue.indexed);
            assert!(self.by_score.contains(&(score.unwrap(), *payer)));
            let reserved =
                queue.iter().map(|entry| entry.max_charge_wei).sum::<blindfold_wire::U256>();
            assert_eq!(reserved, queue.reserved_wei());
            for entry in queue.iter() {
                assert_eq!(entry.envelope.payer(), *payer);
                assert!(entry.nonce() >= queue.next_nonce);
                assert_eq!(self.by_id.get(&entry.id()), Some(&(*payer, entry.nonce())));
                assert!(self.by_expiry.contains(&(entry.expiry_height(), entry.id())));
                assert!(self.get(&entry.id()).is_some() && self.contains(&entry.id()));
            }
        }
    }
}

/// `fee` plus `percent`, rounded up.
fn bumped(fee: u128, percent: u32) -> u128 {
    let percent = u128::from(percent);
    // Split, so that no intermediate overflows before the result does.
    let whole = (fee / 100).saturating_mul(percent);
    let rest = (fee % 100 * percent).div_ceil(100);
    fee.saturating_add(whole).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::bumped;

    #[test]
    fn bumps_round_up() {
        for (fee, percent, expected) in [
            (0, 10, 0),
            (1, 10, 2),
            (10, 10, 11),
            (11, 10, 13),
            (100, 10, 110),
            (109, 10, 120),
            (5, 0, 5),
        ] {
            assert_eq!(bumped(fee, percent), expected, "{fee} + {percent} %");
        }
        assert_eq!(bumped(u128::MAX, 10), u128::MAX);
    }
}
