//! Who could lose its stake: everything that was sent is offered as evidence, and so is every batch that members
//! would post of what they stored.
//!
//! Members keep what they notice; here nothing escapes, also not what was sent before a crash and again, or
//! otherwise, after it. Offences are judged by [`Offence::verify`], which is as strict as the slasher on L1.

use alloy_primitives::{Address, B256, keccak256};
use blindfold_crypto::{Column, check_shares};
use blindfold_node::{
    member::Shared,
    settlement::{drafts, leader_table},
};
use blindfold_settlement::{
    Batch, BatchBuilder, ChainRules, Draft, Finding, Limits, Offence, OffenceKind, Posted, Posting,
    Revealed, Start,
    batch::{CertifiedHeight, PushError},
    find::{Executed, check_rules, find},
};
use blindfold_wire::{
    BadShare, Evidence, Genesis, OrderCommitment, ShareBundle, SignedCommitment, order_proof,
    share_proof,
};
use rand::{Rng as _, RngExt as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

/// Heights of a batch, at most: a world has a few dozen.
const BATCH_HEIGHTS: RangeInclusive<u32> = 1..=8;

/// Everything signed that was sent, each once.
#[derive(Clone, Debug, Default)]
pub struct Signed {
    commitments: BTreeMap<B256, SignedCommitment>,
    bundles: BTreeMap<B256, ShareBundle>,
}

impl Signed {
    /// Keeps a commitment, alone or with its block.
    pub fn commitment(&mut self, signed: SignedCommitment) {
        self.commitments.insert(keccak256(signed.encode()), signed);
    }

    /// Keeps a bundle of shares.
    pub fn bundle(&mut self, bundle: ShareBundle) {
        self.bundles.insert(keccak256(bundle.encode()), bundle);
    }
}

/// What the slasher could be shown.
#[derive(Clone, Debug, Default)]
pub struct Stake {
    /// What can be proven, and against which member.
    pub proven: BTreeSet<(&'static str, usize)>,
    /// What is wrong with a batch that an honest member would post, though nobody could prove it.
    pub doubted: Vec<String>,
    /// Commitments of honest members that were looked at.
    pub commitments: usize,
    /// Bundles of honest members that were looked at.
    pub bundles: usize,
    /// Batches of honest members that were looked at.
    pub batches: usize,
}

/// A member and the heights that it would post.
type History = (usize, Vec<CertifiedHeight>);

/// Offers everything to the slasher. `honest` are those whose batches are looked at.
///
/// # Panics
/// If the genesis document has no valid keys, or a database does not read.
pub fn examine(
    genesis: &Arc<Genesis>,
    signed: &Signed,
    honest: &[(usize, Arc<Shared>)],
    random: &mut StdRng,
) -> Stake {
    let leaders = leader_table(genesis).expect("a valid genesis");
    let chain = ChainRules::new(Arc::clone(genesis), leaders).expect("a valid genesis");
    let histories: Vec<History> =
        honest.iter().map(|(member, shared)| (*member, history(shared))).collect();
    let mut court = Court { chain, stake: Stake::default(), batches: Vec::new() };
    court.commitments(signed, honest);
    court.bundles(signed, &histories);
    court.posts(&histories, random);
    court.stake
}

/// The heights that a member would post, from what it stored.
fn history(shared: &Shared) -> Vec<CertifiedHeight> {
    let read = |height| drafts::opened(shared, height).expect("the database reads");
    let heights = (1..).map_while(read).map(|(opened, signature, _)| CertifiedHeight {
        signed: SignedCommitment { commitment: opened.commitment().clone(), signature },
        opened,
    });
    heights.collect()
}

/// Where evidence is judged.
struct Court {
    chain: ChainRules,
    stake: Stake,
    /// Batches that L1 would have accepted.
    batches: Vec<Batch>,
}

impl Court {
    fn offer(&mut self, offence: impl Into<Offence>) {
        let offence: Offence = offence.into();
        if let Ok(culprit) = offence.verify(&self.chain, &self.batches) {
            let member = self.member(culprit.signer).expect("evidence is against members");
            self.stake.proven.insert((culprit.kind.name(), member));
        }
    }

    fn member(&self, signer: Address) -> Option<usize> {
        let members = &self.chain.genesis.committee.members;
        members.iter().position(|member| member.signer == signer)
    }

    /// Each commitment with the next of its signer, and with all of its view.
    fn commitments(&mut self, signed: &Signed, honest: &[(usize, Arc<Shared>)]) {
        let mut views: BTreeMap<(Address, u64, u64), Vec<&SignedCommitment>> = BTreeMap::new();
        for commitment in signed.commitments.values() {
            let Ok(signer) = commitment.recover_leader() else { continue };
            let OrderCommitment { epoch, view, .. } = commitment.commitment;
            views.entry((signer, epoch, view)).or_default().push(commitment);
            let member = self.member(signer);
            let is_honest = honest.iter().any(|(index, _)| Some(*index) == member);
            self.stake.commitments += usize::from(is_honest);
        }
        let firsts: Vec<&SignedCommitment> =
            views.values().filter_map(|same| same.first().copied()).collect();
        let mut pairs: Vec<_> = firsts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        for same in views.values() {
            for (at, first) in same.iter().enumerate() {
                pairs.extend(same[at..].iter().map(|second| (*first, *second)));
            }
        }
        for (first, second) in pairs {
            let (first, second) = (first.clone(), second.clone());
            self.offer(Evidence::Equivocation { first, second });
        }
    }

    /// Each bundle with all of its member and height, and its shares: those that are wrong, and one of the others.
    fn bundles(&mut self, signed: &Signed, histories: &[History]) {
        let heights: BTreeMap<B256, &CertifiedHeight> = histories
            .iter()
            .flat_map(|(_, heights)| heights)
            .map(|height| (height.opened.certified().digest(), height))
            .collect();
        let mut slots: BTreeMap<(u32, u64), Vec<&ShareBundle>> = BTreeMap::new();
        for bundle in signed.bundles.values() {
            let header = &bundle.header;
            slots.entry((header.member, header.height)).or_default().push(bundle);
            let is_honest = histories.iter().any(|(index, _)| *index == header.member as usize);
            self.stake.bundles += usize::from(is_honest);
            if let Some(height) = heights.get(&header.commitment) {
                self.shares(bundle, height);
            }
        }
        for same in slots.values() {
            for (at, first) in same.iter().enumerate() {
                for second in &same[at..] {
                    let (first, second) = (first.signed_header(), second.signed_header());
                    self.offer(Evidence::DoubleRelease { first, second });
                }
            }
        }
    }

    fn shares(&mut self, bundle: &ShareBundle, height: &CertifiedHeight) {
        let items = height.opened.items();
        let (member, shares) = (bundle.header.member as usize, &bundle.shares);
        if items.is_empty() || shares.len() != items.len() {
            return;
        }
        let points: Vec<_> = items.iter().map(|item| *item.envelope.ephemeral()).collect();
        let wrong = check_shares(&self.chain.public, &points, &[Column { member, shares }]);
        let any = height.opened.height() as usize % items.len();
        let ids: Vec<_> = items.iter().map(|item| item.envelope.id()).collect();
        for position in wrong.into_iter().map(|(_, position)| position).chain([any]) {
            let at = u32::try_from(position).expect("a position");
            self.offer(Evidence::BadShare(Box::new(BadShare {
                bundle: bundle.signed_header(),
                share: shares[position],
                share_proof: share_proof(shares, at).expect("in range"),
                commitment: height.opened.commitment().clone(),
                envelope: items[position].envelope.bytes().to_vec(),
                envelope_proof: order_proof(&ids, at).expect("in range"),
            })));
        }
    }

    /// Members post in turn. Each batch is made a second time by another, as one does that takes over or comes back
    /// and has not heard of the first; both are held against what a third one has, as an auditor would.
    fn posts(&mut self, histories: &[History], random: &mut StdRng) {
        let mut start = Start::of_chain(&self.chain.genesis);
        let mut previous: Option<Batch> = None;
        for index in 1.. {
            let limits =
                Limits { max_heights: random.random_range(BATCH_HEIGHTS), ..Limits::default() };
            // Those who are far enough, beginning with the one whose turn it is.
            let mut able: Vec<(&History, Draft)> = Vec::new();
            let turn = random.next_u64() as usize % histories.len().max(1);
            for history in histories[turn..].iter().chain(&histories[..turn]) {
                match self.draft(history, start.first_height, limits) {
                    Ok(draft) => able.extend(draft.map(|draft| (history, draft))),
                    Err(error) => {
                        let (member, first) = (history.0, start.first_height);
                        let what = format!("member {member} cannot post from {first} on: {error}");
                        self.stake.doubted.push(what);
                    }
                }
            }
            let mut accepted = None;
            for (at, ((poster, _), draft)) in able.iter().enumerate().take(2) {
                let auditor = able[(at + 1) % able.len()].0;
                let header = draft.header(&Posting {
                    index,
                    parent: start.batch,
                    poster: self.chain.genesis.committee.members[*poster].signer,
                    ..Posting::default()
                });
                let posted = (&start, &header, previous.as_ref(), draft);
                if let Err(what) = self.audit(posted, auditor) {
                    self.stake.doubted.push(format!("batch {index} of member {poster}: {what}"));
                }
                self.stake.batches += 1;
                accepted.get_or_insert(header);
            }
            let Some(header) = accepted else { break };
            start = start.after(&header);
            previous = Some(header);
        }
    }

    /// As a member makes a batch; `None` if it has no height there that may end one.
    fn draft(
        &self,
        (_, heights): &History,
        first: u64,
        mut limits: Limits,
    ) -> Result<Option<Draft>, String> {
        let from = heights.iter().position(|height| height.opened.height() == first);
        let heights = &heights[from.unwrap_or(heights.len())..];
        loop {
            let mut builder = BatchBuilder::new(limits);
            let mut is_full = false;
            for height in heights {
                let leader = self.chain.leaders.leader(height.signed.commitment.view);
                match builder.push(&height.opened, height.signed.signature, leader) {
                    Ok(()) => {}
                    Err(PushError::Full) => {
                        is_full = true;
                        break;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
            if builder.last_certified().is_some() {
                return builder.build().map(Some).map_err(|error| error.to_string());
            }
            // Heights that only later ones certify cannot end a batch.
            limits.max_heights += 1;
            if !is_full {
                return Ok(None);
            }
        }
    }

    /// Looks for what can be held against a batch, by what another member has.
    fn audit(
        &mut self,
        (start, header, previous, draft): (&Start, &Batch, Option<&Batch>, &Draft),
        (_, heights): &History,
    ) -> Result<(), String> {
        let (leaf, proof) = draft.last_leaf().ok_or("it has no height")?;
        check_rules(start, header, &draft.last, &leaf, &proof).map_err(|rule| rule.to_string())?;
        let range = header.first_height..=header.last_height;
        let history: Vec<_> =
            heights.iter().filter(|it| range.contains(&it.opened.height())).cloned().collect();
        if history.len() as u64 != header.heights() {
            return Ok(());
        }
        let revealed = Revealed::default();
        let executed = Executed::UNKNOWN;
        let data = Some(draft.data.as_slice());
        let posted = Posted { header, previous, data, revealed: &revealed, executed };
        let findings = find(&self.chain, start, &posted, &history).map_err(|it| it.to_string())?;
        self.batches = vec![header.clone()];
        let mut suspected: Option<OffenceKind> = None;
        for finding in findings {
            match finding {
                Finding::Proven(offence) => self.offer(offence),
                Finding::Ask { suspected: kind, .. } => suspected = Some(kind),
                Finding::Unproven { .. } => suspected = Some(OffenceKind::WrongOpening),
            }
        }
        suspected.map_or(Ok(()), |kind| Err(format!("an auditor suspects {}", kind.name())))
    }
}
