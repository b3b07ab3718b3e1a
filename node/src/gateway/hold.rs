//! What the gateway holds: signed transactions, and the envelope nonces it sealed them under.
//!
//! Changes only by [`Record`]s, live and on restart alike, so that a restart finds what was there.
//!
//! - A **transaction** is known by its hash; the newest of a sender and nonce is the one to send.
//! - A **slot** is one envelope nonce of the payer. It belongs to one sender and nonce, and holds
//!   every envelope that was made for it; the last one is handed out. Any of them may be ordered.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_execution::Transaction;
use blindfold_wire::{
    SkipReason,
    envelope::{EnvelopeHeader, SealedTransaction},
    fees::max_charge,
    genesis::ChainParams,
};
use serde::{Deserialize, Serialize};

use super::{payer::Ledger, store::Record};

/// Ended transactions whose end is remembered.
const MAX_ENDED: usize = 1_024;

/// A signed transaction on its way.
pub struct Held {
    /// The transaction.
    pub transaction: Transaction,
    /// Its bytes as they came.
    pub raw: Bytes,
    /// When it came, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    /// How often it was sealed anew.
    pub reseals: u32,
    /// The transaction that takes its place, if its envelope is not ordered before.
    pub replaced_by: Option<B256>,
    /// Why it is not sealed yet.
    pub waits_for: Option<String>,
    arrival: u64,
}

// The plaintext goes into no log.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("hash", &self.hash()).finish_non_exhaustive()
    }
}

impl Held {
    /// Its hash.
    pub fn hash(&self) -> B256 {
        self.transaction.hash()
    }

    /// Who signed it.
    pub fn sender(&self) -> Address {
        self.transaction.sender()
    }

    /// Its nonce.
    pub fn nonce(&self) -> u64 {
        self.transaction.signed().nonce()
    }

    /// Most that it takes from its sender, in wei.
    pub fn cost_wei(&self) -> U256 {
        cost_wei(&self.transaction)
    }
}

/// Most that a transaction takes from its sender, in wei.
pub fn cost_wei(transaction: &Transaction) -> U256 {
    let signed = transaction.signed();
    let gas = U256::from(signed.gas_limit()).saturating_mul(U256::from(signed.max_fee_per_gas()));
    gas.saturating_add(signed.value())
}

/// An envelope that may have left.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its id.
    pub id: B256,
    /// Hash of what is in it.
    pub hash: B256,
    /// Its clear fields.
    pub header: EnvelopeHeader,
    /// Its encoding.
    pub bytes: Bytes,
}

/// One envelope nonce.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Sender of the inner transactions.
    pub sender: Address,
    /// Their nonce.
    pub nonce: u64,
    /// What was sealed under it, oldest first; never empty.
    pub envelopes: Vec<Sealed>,
    /// Height at which a member last took the last envelope; not kept across restarts.
    pub taken_at: Option<u64>,
    /// Height of the chain when the nonce was found used by none of the envelopes.
    pub missing_at: Option<u64>,
    /// Whether one of the envelopes is ordered.
    pub ordered: bool,
    /// What members said last, if they did not take it.
    pub problem: Option<String>,
    /// Whether a member holds something dearer under this nonce.
    pub outbid: bool,
}

impl Slot {
    /// The envelope to hand out.
    pub fn last(&self) -> Option<&Sealed> {
        self.envelopes.last()
    }

    /// Most that the slot can cost, in wei.
    pub fn reserved_wei(&self, params: &ChainParams) -> U256 {
        self.envelopes
            .iter()
            .map(|sealed| max_charge(params, &sealed.header, sealed.bytes.len()))
            .max()
            .unwrap_or_default()
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum End {
    /// Executed.
    Executed {
        /// Height.
        #[serde(with = "alloy_serde::quantity")]
        height: u64,
        /// `false` if it reverted.
        success: bool,
        /// The envelope, unless someone else brought the transaction.
        envelope_id: Option<B256>,
    },
    /// Opened, so public, but not executable.
    Skipped {
        /// Height.
        #[serde(with = "alloy_serde::quantity")]
        height: u64,
        /// Why.
        reason: SkipReason,
        /// The envelope.
        envelope_id: B256,
    },
    /// The envelope held nothing that opens.
    Undecryptable {
        /// Height.
        #[serde(with = "alloy_serde::quantity")]
        height: u64,
        /// The envelope.
        envelope_id: B256,
    },
    /// Another transaction of the same sender and nonce took its place; this one stayed sealed.
    Replaced {
        /// Hash of the other.
        by: B256,
    },
    /// The sender's nonce was used by a transaction that did not come through here.
    NonceUsed,
    /// It was not ordered in time, as often as it may be sealed.
    Expired,
    /// No member takes it.
    Refused {
        /// What they say.
        reason: String,
    },
}

/// Why a record cannot be applied: the journal was changed by someone.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's journal contradicts itself: {0}")]
pub struct Contradiction(String);

/// Everything held.
#[derive(Debug, Default)]
pub struct Hold {
    chain_id: u64,
    transactions: HashMap<B256, Held>,
    newest: HashMap<Address, BTreeMap<u64, B256>>,
    slots: BTreeMap<u64, Slot>,
    ended: HashMap<B256, End>,
    ended_order: VecDeque<B256>,
    ledger: Ledger,
    arrivals: u64,
}

impl Hold {
    /// Nothing, on this chain.
    pub fn new(chain_id: u64) -> Self {
        Self { chain_id, ..Self::default() }
    }

    /// Applies a record.
    ///
    /// # Errors
    /// If it does not fit what came before.
    pub fn apply(&mut self, record: &Record) -> Result<(), Contradiction> {
        let bad = |text: &str| Err(Contradiction(text.to_owned()));
        match record {
            Record::Gateway { .. } => return bad("a second first line"),
            Record::Held { transaction, received_ms, reseals } => {
                let decoded = Transaction::decode(transaction, self.chain_id, u64::MAX)
                    .map_err(|reason| Contradiction(format!("a transaction: {reason}")))?;
                self.insert(decoded, transaction, *received_ms, *reseals);
            }
            Record::Sealed { hash, envelope } => {
                let Some(held) = self.transactions.get(hash) else {
                    return bad("an envelope of nothing");
                };
                let (sender, nonce) = (held.sender(), held.nonce());
                let decoded = SealedTransaction::decode(envelope)
                    .map_err(|error| Contradiction(format!("an envelope: {error}")))?;
                let slot = self.slots.entry(decoded.header.payer_nonce).or_insert(Slot {
                    sender,
                    nonce,
                    envelopes: Vec::new(),
                    taken_at: None,
                    missing_at: None,
                    ordered: false,
                    problem: None,
                    outbid: false,
                });
                if (slot.sender, slot.nonce) != (sender, nonce) {
                    return bad("two transactions under one envelope nonce");
                }
                (slot.taken_at, slot.problem, slot.outbid) = (None, None, false);
                slot.envelopes.push(Sealed {
                    id: decoded.id(),
                    hash: *hash,
                    header: decoded.header,
                    bytes: envelope.clone(),
                });
            }
            Record::Freed { payer_nonce } => {
                self.slots.remove(payer_nonce);
            }
            Record::Charged { ledger } => self.ledger = *ledger,
            Record::Requeued { hash } => {
                if let Some(held) = self.transactions.get_mut(hash) {
                    held.reseals = held.reseals.saturating_add(1);
                }
            }
            Record::Ended { hash, end } => self.end(*hash, end.clone()),
        }
        Ok(())
    }

    fn insert(&mut self, transaction: Transaction, raw: &Bytes, received_ms: u64, reseals: u32) {
        let (hash, sender) = (transaction.hash(), transaction.sender());
        let nonce = transaction.signed().nonce();
        let before = self.newest.entry(sender).or_default().insert(nonce, hash);
        if let Some(before) = before.filter(|before| *before != hash)
            && let Some(before) = self.transactions.get_mut(&before)
        {
            before.replaced_by = Some(hash);
        }
        self.arrivals += 1;
        self.ended.remove(&hash);
        let held = Held {
            transaction,
            raw: raw.clone(),
            received_ms,
            reseals,
            replaced_by: None,
            waits_for: None,
            arrival: self.arrivals,
        };
        self.transactions.insert(hash, held);
    }

    fn end(&mut self, hash: B256, end: End) {
        if let Some(held) = self.transactions.remove(&hash)
            && let Some(nonces) = self.newest.get_mut(&held.sender())
        {
            if nonces.get(&held.nonce()) == Some(&hash) {
                nonces.remove(&held.nonce());
            }
            if nonces.is_empty() {
                self.newest.remove(&held.sender());
            }
        }
        if self.ended.insert(hash, end).is_none() {
            self.ended_order.push_back(hash);
        }
        while self.ended_order.len() > MAX_ENDED {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// Records that make the same hold.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Charged { ledger: self.ledger }];
        records.extend(self.ended_order.iter().filter_map(|hash| {
            let end = self.ended.get(hash)?.clone();
            Some(Record::Ended { hash: *hash, end })
        }));
        records.extend(self.in_order().into_iter().map(|held| Record::Held {
            transaction: held.raw.clone(),
            received_ms: held.received_ms,
            reseals: held.reseals,
        }));
        let sealed = self.slots.values().flat_map(|slot| &slot.envelopes);
        records.extend(
            sealed
                .filter(|sealed| self.transactions.contains_key(&sealed.hash))
                .map(|sealed| Record::Sealed { hash: sealed.hash, envelope: sealed.bytes.clone() }),
        );
        records
    }

    /// All transactions, oldest first.
    pub fn in_order(&self) -> Vec<&Held> {
        let mut all: Vec<_> = self.transactions.values().collect();
        all.sort_by_key(|held| held.arrival);
        all
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// A held transaction.
    pub fn get(&self, hash: &B256) -> Option<&Held> {
        self.transactions.get(hash)
    }

    /// A held transaction, to note why it waits.
    pub fn get_mut(&mut self, hash: &B256) -> Option<&mut Held> {
        self.transactions.get_mut(hash)
    }

    /// How a transaction ended.
    pub fn end_of(&self, hash: &B256) -> Option<&End> {
        self.ended.get(hash)
    }

    /// A sender's newest transaction of each nonce.
    pub fn of_sender(&self, sender: &Address) -> impl Iterator<Item = (u64, &Held)> {
        let nonces = self.newest.get(sender).into_iter().flatten();
        nonces.filter_map(|(nonce, hash)| Some((*nonce, self.transactions.get(hash)?)))
    }

    /// The newest transaction of a sender and nonce.
    pub fn newest(&self, sender: &Address, nonce: u64) -> Option<&Held> {
        self.transactions.get(self.newest.get(sender)?.get(&nonce)?)
    }

    /// The first nonce from `from` on that nothing is held for.
    pub fn next_nonce(&self, sender: &Address, from: u64) -> u64 {
        let Some(nonces) = self.newest.get(sender) else { return from };
        let mut next = from;
        while nonces.contains_key(&next) {
            next = next.saturating_add(1);
        }
        next
    }

    /// The slots, by envelope nonce.
    pub fn slots(&self) -> &BTreeMap<u64, Slot> {
        &self.slots
    }

    /// A slot, to note what members say.
    pub fn slot_mut(&mut self, payer_nonce: u64) -> Option<&mut Slot> {
        self.slots.get_mut(&payer_nonce)
    }

    /// The slot of a sender and nonce.
    pub fn slot_of(&self, sender: &Address, nonce: u64) -> Option<(u64, &Slot)> {
        let found =
            self.slots.iter().find(|(_, slot)| (slot.sender, slot.nonce) == (*sender, nonce));
        found.map(|(payer_nonce, slot)| (*payer_nonce, slot))
    }

    /// The newest envelope of a transaction, with its slot.
    pub fn envelope_of(&self, hash: &B256) -> Option<(u64, &Slot, &Sealed)> {
        self.slots.iter().find_map(|(nonce, slot)| {
            let sealed = slot.envelopes.iter().rev().find(|sealed| sealed.hash == *hash)?;
            Some((*nonce, slot, sealed))
        })
    }

    /// The first envelope nonce from `next` on that is free.
    pub fn free_nonce(&self, next: u64) -> u64 {
        (next..).find(|nonce| !self.slots.contains_key(nonce)).unwrap_or(u64::MAX)
    }

    /// Most that all slots can cost, in wei.
    pub fn reserved_wei(&self, params: &ChainParams) -> U256 {
        self.slots
            .values()
            .fold(U256::ZERO, |sum, slot| sum.saturating_add(slot.reserved_wei(params)))
    }

    /// What was charged.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
