//! One round: settle what was ordered, seal what can go, and say what is to be handed out.
//!
//! Everything here reads the follower and writes the journal; nothing leaves the machine.

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_crypto::padded_len;
use blindfold_sdk::{
    Fees,
    rpc::{HeadDocument, PayerDocument},
};
use blindfold_wire::{
    Prices, SignedCommitment, SkipReason, TxStatus, envelope::EnvelopeHeader, fees,
};

use super::{
    Gateway, State, Trouble,
    hold::{End, Held, Sealed, Slot},
    now_ms,
    store::Record,
};
use crate::rpc::api::{AccountView, NodeApi, ReadError, Readiness, TransactionLocation};

/// Envelopes in flight at most, below the protocol's nonce window.
const MAX_IN_FLIGHT: u64 = 12;
/// Heights after which an envelope that is still not ordered is handed out again.
const RESUBMIT_HEIGHTS: u64 = 20;
/// Percent by which a replacement raises the envelope's fees: what members ask for.
const REPLACEMENT_PERCENT: u32 = 10;
/// The same, when a member holds something dearer than we know of.
const OUTBID_PERCENT: u32 = 25;
/// Bytes of an encoded envelope beside its body, at most.
const ENVELOPE_OVERHEAD_BYTES: usize = 512;
/// How often a read of the newest state follows a head that moves on under it.
const MAX_HEAD_TRIES: u32 = 8;

/// An envelope to hand to a member.
pub(super) struct Submission {
    pub(super) payer_nonce: u64,
    pub(super) id: B256,
    pub(super) bytes: Bytes,
    pub(super) at_height: u64,
}

/// The newest state of an account.
pub(super) fn account(api: &dyn NodeApi, address: Address) -> Result<AccountView, ReadError> {
    let mut tries_left = MAX_HEAD_TRIES;
    loop {
        tries_left -= 1;
        match api.account(api.head().executed_height, address) {
            Err(ReadError::HistoryUnavailable { .. }) if tries_left > 0 => {}
            answer => return answer,
        }
    }
}

impl Gateway {
    /// Settles and seals; returns what to hand out, in the order of the envelope nonces.
    pub(super) fn round(&self) -> Result<Vec<Submission>, Trouble> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let head = self.api.head();
        let payer = self.api.payer(self.wallet.address())?;
        self.settle(state, &head, &payer)?;
        self.prune(state)?;
        if self.api.readiness() == Readiness::Ready {
            self.seal_what_can_go(state, &head, &payer)?;
        }
        if state.journal.is_long() {
            let snapshot = state.hold.snapshot();
            state.journal.rewrite(&snapshot)?;
        }
        self.report(state, &payer);
        let due = |slot: &Slot| {
            !slot.ordered
                && slot
                    .taken_at
                    .is_none_or(|at| at.saturating_add(RESUBMIT_HEIGHTS) <= head.ordered_height)
        };
        let slots = state.hold.slots().iter().filter(|(_, slot)| due(slot));
        let submissions = slots.filter_map(|(payer_nonce, slot)| {
            let sealed = slot.last()?;
            Some(Submission {
                payer_nonce: *payer_nonce,
                id: sealed.id,
                bytes: sealed.bytes.clone(),
                at_height: head.ordered_height,
            })
        });
        Ok(submissions.collect())
    }

    fn settle(
        &self,
        state: &mut State,
        head: &HeadDocument,
        payer: &PayerDocument,
    ) -> Result<(), Trouble> {
        let nonces: Vec<u64> = state.hold.slots().keys().copied().collect();
        for nonce in nonces {
            let Some(slot) = state.hold.slots().get(&nonce) else { continue };
            let records = if nonce < payer.next_nonce {
                match self.fate(slot)? {
                    Fate::Ordered => {
                        if let Some(slot) = state.hold.slot_mut(nonce) {
                            slot.ordered = true;
                        }
                        continue;
                    }
                    Fate::Ended { sealed, end, charge_wei } => {
                        self.close(state, nonce, &sealed, end, charge_wei)
                    }
                    // The index of what a height ordered is written a moment after the height.
                    Fate::Missing => {
                        let since = slot.missing_at.unwrap_or(head.ordered_height);
                        if slot.missing_at.is_none() || head.executed_height <= since {
                            if let Some(slot) = state.hold.slot_mut(nonce) {
                                slot.missing_at = Some(since);
                            }
                            continue;
                        }
                        tracing::warn!(
                            target: "blindfold::gateway", payer_nonce = nonce,
                            "someone else used the payer's nonce; is its key used elsewhere?"
                        );
                        self.free(state, nonce)
                    }
                }
            } else {
                let expiry = slot.envelopes.iter().map(|sealed| sealed.header.expiry_height).max();
                if expiry.is_none_or(|expiry| head.ordered_height < expiry) {
                    continue;
                }
                self.free(state, nonce)
            };
            state.commit(&records)?;
        }
        Ok(())
    }

    /// What became of the envelopes of a nonce that is ordered.
    fn fate(&self, slot: &Slot) -> Result<Fate, Trouble> {
        for sealed in &slot.envelopes {
            let envelope_id = sealed.id;
            let (height, end, used_gas) = match self.api.status(sealed.id)? {
                Some(TxStatus::Ordered { .. } | TxStatus::Opened { .. }) => {
                    return Ok(Fate::Ordered);
                }
                Some(TxStatus::Executed { height, success, tx_index, .. }) => {
                    let used = self.api.block(height)?.and_then(|block| {
                        block.transactions.get(tx_index as usize).map(|executed| executed.gas_used)
                    });
                    let end = End::Executed { height, success, envelope_id: Some(envelope_id) };
                    (height, end, used.unwrap_or_default())
                }
                Some(TxStatus::Skipped { height, reason, .. }) => {
                    // It may have been executed by another way before.
                    let end = match self.api.transaction_location(sealed.hash)? {
                        Some(place) => self.executed_at(place)?,
                        None => End::Skipped { height, reason, envelope_id },
                    };
                    (height, end, 0)
                }
                Some(TxStatus::Undecryptable { height, .. }) => {
                    (height, End::Undecryptable { height, envelope_id }, 0)
                }
                _ => continue,
            };
            let Some(header) = self.api.header(height)? else { return Ok(Fate::Ordered) };
            let Some(l1_base_fee) = self.l1_base_fee(height)? else { return Ok(Fate::Ordered) };
            let base_fee = header.header.base_fee_per_gas.unwrap_or_default().into();
            let prices = Prices { base_fee, l1_base_fee };
            let length = sealed.bytes.len();
            let charge = fees::charge(self.params(), &sealed.header, length, prices, used_gas);
            let charge_wei = charge.wei;
            return Ok(Fate::Ended { sealed: Box::new(sealed.clone()), end, charge_wei });
        }
        Ok(Fate::Missing)
    }

    /// What gas cost on L1 at a height, in wei; `None` if the height is not known yet.
    fn l1_base_fee(&self, height: u64) -> Result<Option<u64>, Trouble> {
        if self.api.genesis().settlement.is_zero() {
            return Ok(Some(0));
        }
        let Some(document) = self.api.commitment_by_height(height)? else { return Ok(None) };
        let signed = SignedCommitment::decode(&document.commitment);
        Ok(signed.ok().map(|signed| signed.commitment.l1_base_fee))
    }

    /// Settles a slot one of whose envelopes came to its end.
    fn close(
        &self,
        state: &State,
        payer_nonce: u64,
        sealed: &Sealed,
        end: End,
        charge_wei: U256,
    ) -> Vec<Record> {
        let mut ledger = *state.hold.ledger();
        ledger.charge(charge_wei, now_ms());
        let mut records = vec![Record::Charged { ledger }, Record::Freed { payer_nonce }];
        if let Some(held) = state.hold.get(&sealed.hash) {
            let again = matches!(end, End::Skipped { reason: SkipReason::NonceTooHigh, .. })
                && held.replaced_by.is_none()
                && held.reseals < self.config.max_reseals;
            if !matches!(end, End::Executed { success: true, .. }) {
                tracing::warn!(target: "blindfold::gateway", hash = %sealed.hash, ?end, again, "not executed with success");
            }
            let hash = sealed.hash;
            records.push(if again {
                Record::Requeued { hash }
            } else {
                Record::Ended { hash, end }
            });
        }
        let slot = state.hold.slots().get(&payer_nonce);
        records.extend(slot.into_iter().flat_map(|slot| replaced(state, slot, Some(sealed.hash))));
        records
    }

    /// Frees a slot none of whose envelopes will ever be ordered.
    fn free(&self, state: &State, payer_nonce: u64) -> Vec<Record> {
        let mut records = vec![Record::Freed { payer_nonce }];
        let Some(slot) = state.hold.slots().get(&payer_nonce) else { return records };
        records.extend(replaced(state, slot, None));
        if let Some(held) = state.hold.newest(&slot.sender, slot.nonce) {
            let hash = held.hash();
            let again = held.reseals < self.config.max_reseals;
            // One that no member ever took costs the transaction nothing.
            let counts = slot.taken_at.is_some();
            tracing::warn!(
                target: "blindfold::gateway", %hash, payer_nonce, again = again || !counts,
                problem = slot.problem, "its envelope was never ordered"
            );
            match (counts, again) {
                (false, _) => {}
                (true, true) => records.push(Record::Requeued { hash }),
                (true, false) => records.push(Record::Ended { hash, end: End::Expired }),
            }
        }
        records
    }

    /// Ends what is in no slot and whose nonce the chain has used.
    fn prune(&self, state: &mut State) -> Result<(), Trouble> {
        let mut records = Vec::new();
        for held in state.hold.in_order() {
            if state.hold.slot_of(&held.sender(), held.nonce()).is_some()
                || account(&*self.api, held.sender())?.nonce <= held.nonce()
            {
                continue;
            }
            let end = match self.api.transaction_location(held.hash())? {
                Some(place) => self.executed_at(place)?,
                None => End::NonceUsed,
            };
            records.push(Record::Ended { hash: held.hash(), end });
        }
        state.commit(&records)
    }

    /// The end of a transaction that somebody else brought.
    fn executed_at(&self, place: TransactionLocation) -> Result<End, Trouble> {
        let block = self.api.block(place.height)?;
        let success = block.is_some_and(|block| {
            let executed = block.transactions.get(place.index as usize);
            executed.is_some_and(|executed| executed.receipt.status.coerce_status())
        });
        Ok(End::Executed { height: place.height, success, envelope_id: None })
    }

    fn seal_what_can_go(
        &self,
        state: &mut State,
        head: &HeadDocument,
        payer: &PayerDocument,
    ) -> Result<(), Trouble> {
        let waiting: Vec<B256> = state
            .hold
            .in_order()
            .into_iter()
            .filter(|held| held.replaced_by.is_none())
            .map(Held::hash)
            .collect();
        // One that is sealed may be what an older arrival waits for.
        loop {
            let mut sealed_any = false;
            for hash in &waiting {
                let step = self.plan(state, hash, head, payer)?;
                let (payer_nonce, fees) = match step {
                    Step::Seal { payer_nonce, fees } => (payer_nonce, fees),
                    Step::Wait(reason) => {
                        if let Some(held) = state.hold.get_mut(hash) {
                            held.waits_for = reason;
                        }
                        continue;
                    }
                };
                let Some(held) = state.hold.get_mut(hash) else { continue };
                held.waits_for = None;
                let sealed = self.wallet.seal_with_nonce(&held.raw, payer_nonce, &fees)?;
                let envelope = Bytes::from(sealed.encode());
                state.commit(&[Record::Sealed { hash: *hash, envelope }])?;
                sealed_any = true;
            }
            if !sealed_any {
                return Ok(());
            }
        }
    }

    /// Whether and how to seal a transaction now.
    fn plan(
        &self,
        state: &State,
        hash: &B256,
        head: &HeadDocument,
        payer: &PayerDocument,
    ) -> Result<Step, Trouble> {
        let wait = |reason: String| Ok(Step::Wait(Some(reason)));
        let hold = &state.hold;
        let Some(held) = hold.get(hash) else { return Ok(Step::Wait(None)) };
        let (sender, nonce) = (held.sender(), held.nonce());
        let slot = hold.slot_of(&sender, nonce);
        let is_last =
            slot.is_some_and(|(_, slot)| slot.last().is_some_and(|last| last.hash == *hash));
        if is_last && slot.is_none_or(|(_, slot)| !slot.outbid) {
            return Ok(Step::Wait(None));
        }
        let cap = held.transaction.signed().max_fee_per_gas();
        let (payer_nonce, fees, before_wei) = match slot {
            Some((payer_nonce, slot)) => {
                if payer_nonce < payer.next_nonce {
                    return wait("the transaction it replaces is ordered already".to_owned());
                }
                let Some(last) = slot.last() else { return Ok(Step::Wait(None)) };
                let percent = if slot.outbid { OUTBID_PERCENT } else { REPLACEMENT_PERCENT };
                let fees = replacing(&last.header, held.transaction.signed().gas_limit(), percent);
                let fees = Fees { expiry_height: Fees::suggest(head, 0).expiry_height, ..fees };
                (payer_nonce, fees, slot.reserved_wei(self.params()))
            }
            None => {
                let next = account(&*self.api, sender)?.nonce;
                let gap = (next..nonce).find(|nonce| hold.slot_of(&sender, *nonce).is_none());
                if let Some(gap) = gap {
                    return wait(format!("nonce {gap} of the same sender comes first"));
                }
                if cap < head.next_base_fee_wei {
                    return wait(format!("base fee {} is above its cap", head.next_base_fee_wei));
                }
                let in_flight = MAX_IN_FLIGHT.min(self.params().nonce_window);
                let payer_nonce = hold.free_nonce(payer.next_nonce);
                if payer_nonce >= payer.next_nonce.saturating_add(in_flight) {
                    return wait(format!("{in_flight} envelopes are in flight"));
                }
                let fees = self.fees(head, held.transaction.signed().gas_limit(), cap);
                (payer_nonce, fees, U256::ZERO)
            }
        };
        let more_wei = self.estimate_wei(&fees, held.raw.len());
        let reserved = hold.reserved_wei(self.params()).saturating_sub(before_wei);
        let needed = reserved.saturating_add(more_wei);
        if let Err(beyond) = self.limits().allow(hold.ledger(), needed, now_ms()) {
            return wait(beyond.to_string());
        }
        if needed > payer.escrow_wei {
            return wait(format!("escrow of the payer {} is too low", payer.address));
        }
        Ok(Step::Seal { payer_nonce, fees })
    }

    /// The offer for a new envelope. It can be ordered only while the base fee is within the inner
    /// transaction's own cap, since it would be skipped, and public, above that; unless posting asks for more than
    /// that cap, which no height would take.
    pub(super) fn fees(&self, head: &HeadDocument, gas_limit: u64, cap_wei: u128) -> Fees {
        let suggested = Fees::suggest(head, gas_limit);
        let max_fee_per_gas = suggested.max_fee_per_gas.min(cap_wei.max(head.least_max_fee_wei));
        let max_priority_fee_per_gas = suggested.max_priority_fee_per_gas.min(max_fee_per_gas);
        Fees { max_fee_per_gas, max_priority_fee_per_gas, ..suggested }
    }

    /// Most that an envelope with this offer can cost, in wei.
    pub(super) fn estimate_wei(&self, fees: &Fees, transaction_bytes: usize) -> U256 {
        let header = EnvelopeHeader {
            chain_id: 0,
            key_id: Default::default(),
            payer_nonce: 0,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            gas_limit: fees.gas_class().unwrap_or(u64::MAX),
            expiry_height: 0,
        };
        let length = padded_len(transaction_bytes).unwrap_or(usize::MAX / 2);
        fees::max_charge(self.params(), &header, length.saturating_add(ENVELOPE_OVERHEAD_BYTES))
    }
}

/// What became of a slot.
enum Fate {
    Ordered,
    Ended { sealed: Box<Sealed>, end: End, charge_wei: U256 },
    Missing,
}

/// What to do with a transaction.
enum Step {
    Seal { payer_nonce: u64, fees: Fees },
    Wait(Option<String>),
}

/// Ends the transactions of a slot that were replaced, `but` one.
fn replaced(state: &State, slot: &Slot, but: Option<B256>) -> Vec<Record> {
    let mut hashes: Vec<B256> = slot.envelopes.iter().map(|sealed| sealed.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.retain(|hash| Some(*hash) != but);
    let ended = hashes.into_iter().filter_map(|hash| {
        let by = state.hold.get(&hash)?.replaced_by?;
        Some(Record::Ended { hash, end: End::Replaced { by } })
    });
    ended.collect()
}

/// The offer that replaces an envelope.
fn replacing(header: &EnvelopeHeader, gas_limit: u64, percent: u32) -> Fees {
    let before = Fees {
        max_fee_per_gas: header.max_fee_per_gas,
        max_priority_fee_per_gas: header.max_priority_fee_per_gas,
        gas_limit,
        expiry_height: header.expiry_height,
    };
    before.bumped(percent)
}
