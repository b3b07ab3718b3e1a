//! An auditor that knows the genesis document and what is on L1, and nothing else.
//!
//! Batch data does not say in which order a height was certified, only in which it was posted. But the order is a
//! function of public figures ([the rule](blindfold_ordering::rule)), all of which are posted; so the auditor puts
//! the envelopes of each height in order again, and knows that it found the certified order when the chain of
//! digests ends at the one whose certificate L1 verified.

use crate::settlement::{leader_table, read::ReadBatch};
use alloy_primitives::{B256, U256};
use blindfold_ordering::{
    rule::{self, Account, Accounts, Bounds, RuleContext},
    validity::candidate,
};
use blindfold_settlement::{
    batch::{Batch, CertifiedHeight},
    codec::{self, PostedHeight},
    derive::{ChainRules, DerivedItem, Start, commitment_of, rebuild_all},
    evidence::Offence,
    find::{Executed, Finding, Posted, Revealed, find},
};
use blindfold_wire::{
    Certified, CheckedEnvelope, FinalizationCertificate, Genesis, OpenedBatch, OrderCommitment,
    SignedCommitment, VoteCommittee,
    fees::{Floor, Prices},
    order_root,
};
use eyre::{OptionExt as _, Result, ensure, eyre};
use std::sync::Arc;

/// Threads that seal again.
const THREADS: usize = 2;
/// What was ordered fitted, so there is nothing to leave out.
const NO_BOUNDS: Bounds =
    Bounds { max_count: usize::MAX, max_bytes: usize::MAX, max_gas: u64::MAX };

/// What the auditor knows of the chain before it looks.
pub(super) struct Auditor {
    pub(super) chain: ChainRules,
    votes: VoteCommittee,
    start: Start,
    batches: Vec<Batch>,
}

impl Auditor {
    pub(super) fn new(genesis: &Genesis) -> Result<Self> {
        Ok(Self {
            chain: ChainRules::new(Arc::new(genesis.clone()), leader_table(genesis)?)?,
            votes: genesis.vote_committee()?,
            start: Start::of_chain(genesis),
            batches: Vec::new(),
        })
    }

    /// The batches that were looked at, oldest first.
    pub(super) fn batches(&self) -> &Vec<Batch> {
        &self.batches
    }

    /// Looks at the next batch; returns what can be proven of it.
    pub(super) fn look(&mut self, read: &ReadBatch) -> Result<Vec<Offence>> {
        let history = self.history(read)?;
        let revealed = Revealed::default();
        let posted = Posted {
            header: &read.header,
            previous: self.batches.last(),
            data: Some(&read.data),
            revealed: &revealed,
            executed: Executed::UNKNOWN,
        };
        let findings = find(&self.chain, &self.start, &posted, &history)?;
        self.start = self.start.after(&read.header);
        self.batches.push(read.header.clone());
        Ok(findings
            .into_iter()
            .filter_map(|finding| match finding {
                Finding::Proven(offence) => Some(offence),
                Finding::Ask { .. } | Finding::Unproven { .. } => None,
            })
            .collect())
    }

    /// The certified heights of a batch, from what was posted of them in whatever order.
    fn history(&self, read: &ReadBatch) -> Result<Vec<CertifiedHeight>> {
        let Some(certificate) = &read.certificate else { return Ok(Vec::new()) };
        let data = codec::decode(&read.data)?;
        let items = rebuild_all(&self.chain, data.first_height, &data.heights, THREADS)?;
        let mut parent = self.start.digest;
        let mut heights = Vec::new();
        for ((posted, items), height) in data.heights.iter().zip(items).zip(data.first_height..) {
            let (commitment, items) = self.in_order((data.epoch, height, parent), posted, items)?;
            parent = commitment.digest();
            heights.push((SignedCommitment { commitment, signature: posted.signature }, items));
        }
        ensure!(
            parent == read.header.last_commitment,
            "the posted heights do not lead to the certified commitment in any order that the rule gives"
        );
        self.certify(heights, certificate)
    }

    /// Puts the envelopes of a height in the order of the rule.
    fn in_order(
        &self,
        place: (u64, u64, B256),
        posted: &PostedHeight,
        items: Vec<DerivedItem>,
    ) -> Result<(OrderCommitment, Vec<(CheckedEnvelope, DerivedItem)>)> {
        let params = &self.chain.genesis.params;
        let checked = items
            .into_iter()
            .map(|item| Ok((CheckedEnvelope::check(&self.chain.rules, &item.bytes)?, item)))
            .collect::<Result<Vec<_>>>()?;
        let candidates: Vec<_> =
            checked.iter().map(|(envelope, _)| candidate(envelope, params)).collect();
        // They were ordered, so their nonces continue their payers' and somebody could pay for them.
        let mut accounts = Accounts::new();
        for candidate in &candidates {
            let first = Account { next_nonce: candidate.nonce, budget: U256::MAX };
            let account = accounts.entry(candidate.payer).or_insert(first);
            account.next_nonce = account.next_nonce.min(candidate.nonce);
        }
        let (_, height, parent) = place;
        let prices = Prices { base_fee: posted.base_fee, l1_base_fee: posted.l1_base_fee };
        let context = RuleContext {
            parent,
            height,
            floor: Floor::new(params, prices),
            accounts: &accounts,
            bounds: NO_BOUNDS,
        };
        // Nothing is forced in a demonstration; forced envelopes would stand in front.
        let order = rule::select(&[], &candidates, &context).chosen;
        ensure!(
            order.len() == checked.len(),
            "height {height} holds what cannot have been ordered"
        );
        let mut checked: Vec<_> = checked.into_iter().map(Some).collect();
        let items = order
            .into_iter()
            .map(|index| checked.get_mut(index).and_then(Option::take).ok_or_eyre("an index twice"))
            .collect::<Result<Vec<_>>>()?;
        let ids: Vec<_> = items.iter().map(|(envelope, _)| envelope.id()).collect();
        Ok((commitment_of(&self.chain, place, posted, order_root(&ids)), items))
    }

    /// From the last height, whose certificate L1 has, down by parents.
    fn certify(
        &self,
        heights: Vec<(SignedCommitment, Vec<(CheckedEnvelope, DerivedItem)>)>,
        certificate: &FinalizationCertificate,
    ) -> Result<Vec<CertifiedHeight>> {
        let mut child: Option<Certified<OrderCommitment>> = None;
        let mut certified = Vec::with_capacity(heights.len());
        for (signed, items) in heights.into_iter().rev() {
            let commitment = signed.commitment.clone();
            let proven = match &child {
                None => Certified::by_certificate(commitment, certificate, &self.votes),
                Some(child) => Certified::by_child(commitment, child),
            };
            let proven = proven.map_err(|error| eyre!("not certified: {error}"))?;
            child = Some(proven.clone());
            let items =
                items.into_iter().map(|(envelope, item)| (envelope, item.opening)).collect();
            certified.push(CertifiedHeight { signed, opened: OpenedBatch::new(proven, items)? });
        }
        certified.reverse();
        Ok(certified)
    }
}
