//! What a leader is offered for its next block.

use std::{cmp::Reverse, collections::BinaryHeap};

use blindfold_wire::{Address, B256, Floor, U256, checked::CheckedEnvelope};

use crate::{account::AccountView, pool::Mempool, queue::Entry};

/// The block that candidates are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTarget {
    /// Its height.
    pub height: u64,
    /// What its envelopes must offer.
    pub floor: Floor,
    /// Most envelopes it may hold.
    pub max_count: usize,
    /// Most bytes its envelopes may have together.
    pub max_bytes: usize,
    /// Most gas its envelopes may reserve together, the sum of their gas classes.
    pub max_gas: u64,
}

/// The lowest unused nonce of one payer, in the race for the next place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    priority_fee: u128,
    id: Reverse<B256>,
    payer: Address,
    nonce: u64,
    budget_wei: U256,
}

impl Mempool {
    /// Chooses a set for a block, best fee first: per payer a run of contiguous nonces from
    /// `accounts.next_nonce` on, unexpired, at or above what the height asks for and covered by the escrow.
    ///
    /// `accounts` are those at the block's *parent*, finalized or not. What an ancestor in flight already
    /// holds is thereby left out, and comes back by itself if that ancestor is abandoned.
    ///
    /// The set is what the order rule can take whole; its sequence here is not the order rule's, which
    /// breaks ties by the parent.
    pub fn candidates(
        &self,
        accounts: &impl AccountView,
        target: &BlockTarget,
    ) -> Vec<CheckedEnvelope> {
        let mut heads: BinaryHeap<Head> = self
            .queues
            .keys()
            .filter_map(|payer| {
                self.head(*payer, accounts.next_nonce(payer), accounts.escrow_wei(payer), target)
            })
            .collect();
        let mut chosen = Vec::new();
        let (mut bytes, mut gas) = (0usize, 0u64);
        while chosen.len() < target.max_count {
            let Some(head) = heads.pop() else { break };
            let Some(entry) = self.entry(&head.payer, head.nonce) else { continue };
            let envelope = &entry.envelope;
            let bytes_after = bytes.saturating_add(envelope.bytes().len());
            let gas_after = gas.saturating_add(envelope.envelope().header.gas_limit);
            if bytes_after > target.max_bytes || gas_after > target.max_gas {
                // A later nonce must not overtake this one, so the payer is done.
                continue;
            }
            (bytes, gas) = (bytes_after, gas_after);
            chosen.push(envelope.clone());
            let budget_wei = head.budget_wei.saturating_sub(entry.max_charge_wei);
            heads.extend(self.head(head.payer, head.nonce.saturating_add(1), budget_wei, target));
        }
        chosen
    }

    fn entry(&self, payer: &Address, nonce: u64) -> Option<&Entry> {
        self.queues.get(payer)?.get(nonce)
    }

    fn head(
        &self,
        payer: Address,
        nonce: u64,
        budget_wei: U256,
        target: &BlockTarget,
    ) -> Option<Head> {
        let entry = self.entry(&payer, nonce)?;
        let priority_fee = entry.priority_fee(&target.floor)?;
        let orderable =
            entry.expiry_height() >= target.height && entry.max_charge_wei <= budget_wei;
        orderable.then_some(Head {
            priority_fee,
            id: Reverse(entry.id()),
            payer,
            nonce,
            budget_wei,
        })
    }
}
