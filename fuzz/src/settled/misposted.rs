//! An auditor against a poster that may write any leaves and publish any data: what it is told to ask for, the poster
//! shows, as far as L1 takes what it shows.

use super::chain::{CHAIN, Chain};
use crate::input::Input;
use blindfold_settlement::{
    AccumulatorLeaf, Batch, Challenge, Finding, Offence, OpeningLeaf, Posted, PostedItem, Revealed,
    Trees,
    accumulator::signature_hash,
    codec,
    evidence::BatchLeaf,
    find,
    find::{Executed, check_rules},
};
use blindfold_wire::{Opening, OrderCommitment, Signature65, order_root};
use std::collections::BTreeSet;

/// Changes to leaves, at most.
const CHANGES: usize = 3;

/// A batch that somebody posted, and what it knows beside its leaves.
struct Poster {
    batch: Batch,
    trees: Trees,
    data: Option<Vec<u8>>,
    /// Signatures with commitments, by index of the height.
    signatures: Vec<Signature65>,
    /// Commitments that it can show.
    commitments: Vec<OrderCommitment>,
    /// Openings that it can show.
    openings: Vec<Opening>,
}

/// Whatever leaves and data a poster that L1 accepts has: what is found is true and against it; nothing is found
/// only where nothing is wrong; nothing is asked for twice, so the auditor comes to an end.
pub(crate) fn misposted(data: &[u8]) -> bool {
    let chain = &*CHAIN;
    let Some(poster) = Poster::new(chain, &mut Input::new(data)) else { return false };
    let batches = vec![poster.batch.clone()];
    let mut revealed = Revealed::default();
    let mut asked = BTreeSet::new();
    loop {
        let posted = Posted {
            header: &poster.batch,
            previous: None,
            data: poster.data.as_deref(),
            revealed: &revealed,
            executed: Executed { state_roots: &chain.state_roots, above: &[] },
        };
        let history = &chain.history.heights;
        let findings = find(&chain.rules, &chain.start, &posted, history).expect("these heights");
        for finding in &findings {
            let Finding::Proven(offence) = finding else { continue };
            let culprit = offence.verify(&chain.rules, &batches).expect("true evidence");
            assert_eq!(culprit.signer, poster.batch.poster);
            assert_eq!(Offence::decode(&offence.encode()).as_ref(), Ok(offence));
            assert!(offence.to_call(&chain.rules).is_ok(), "evidence that L1 cannot be told");
        }
        if findings.is_empty() {
            // Another signature of the right leader over the same commitment is as good.
            assert_eq!(poster.batch.opening_root, chain.header.opening_root, "nothing found");
            let as_good = poster.trees.heights().iter().zip(chain.draft.trees.heights());
            let as_good = as_good.map(|(one, other)| AccumulatorLeaf {
                signature_hash: other.signature_hash,
                ..*one
            });
            assert!(as_good.eq(chain.draft.trees.heights().iter().copied()), "nothing found");
            return true;
        }
        let asks = findings.iter().find_map(|finding| match finding {
            Finding::Ask { challenge, .. } => Some(challenge),
            Finding::Proven(_) | Finding::Unproven { .. } => None,
        });
        let Some(challenge) = asks else { return true };
        assert!(asked.insert((challenge.height, challenge.position)), "asked twice: {challenge:?}");
        // Nothing shown is an offence, too.
        if poster.show(chain, challenge, &mut revealed).is_none() {
            return true;
        }
    }
}

impl Poster {
    /// What the input makes of the honest batch; `None` if L1 does not accept it.
    fn new(chain: &Chain, input: &mut Input<'_>) -> Option<Self> {
        let (heights, openings) = chain.leaves();
        let items = chain.history.heights.iter().flat_map(|height| height.opened.items());
        let mut poster = Self {
            batch: chain.header.clone(),
            trees: Trees::new(),
            data: Some(chain.draft.data.clone()),
            signatures: chain.history.heights.iter().map(|it| it.signed.signature).collect(),
            commitments: (0..heights.len()).map(|at| chain.commitment(at).clone()).collect(),
            openings: items.map(|item| item.opening.clone()).collect(),
        };
        let mut leaves = (heights, openings);
        poster.choose_data(input);
        for _ in 0..input.below(CHANGES + 1) {
            poster.change(chain, input, &mut leaves);
        }
        poster.trees = Trees::from_leaves(leaves.0, leaves.1);
        // The number that the last leaf wants, or that the tree has.
        if input.u8() & 1 == 1 {
            poster.batch.opening_count = poster.trees.opening_count();
        }
        poster.batch.accumulator_root = poster.trees.accumulator_root();
        poster.batch.opening_root = poster.trees.opening_root();
        let last = chain.commitment(chain.history.heights.len() - 1);
        let index = poster.trees.heights().len().checked_sub(1)?;
        let (leaf, proof) = poster.trees.prove_height(u32::try_from(index).ok()?)?;
        check_rules(&chain.start, &poster.batch, last, &leaf, &proof).ok()?;
        Some(poster)
    }

    /// The right data, none, or data with something changed.
    fn choose_data(&mut self, input: &mut Input<'_>) {
        let Some(data) = self.data.take().filter(|_| input.below(4) != 3) else { return };
        let kind = input.below(6);
        if kind < 2 {
            self.data = Some(data);
            return;
        }
        let mut batch = codec::decode(&data).expect("honest data");
        let heights = batch.heights.len();
        let height = &mut batch.heights[input.below(heights)];
        let at = input.below(height.items.len().max(1));
        match (kind, height.items.get_mut(at)) {
            (2, _) => height.timestamp_ms ^= u64::from(input.u8()),
            (3, Some(_)) => height.items.swap(0, at),
            (4, Some(_)) => drop(height.items.remove(at)),
            (5, Some(PostedItem::Opened(opened))) => opened.seed[0] ^= input.u8(),
            _ => height.signature.s[31] ^= input.u8(),
        }
        // A poster that is caught garbling may have written the leaves for it as well.
        self.signatures.extend(batch.heights.iter().map(|height| height.signature));
        self.data = codec::encode(&batch).ok();
    }

    /// One change to a leaf, or to their number.
    fn change(
        &mut self,
        chain: &Chain,
        input: &mut Input<'_>,
        (heights, openings): &mut (Vec<AccumulatorLeaf>, Vec<OpeningLeaf>),
    ) {
        if heights.is_empty() || openings.is_empty() {
            return;
        }
        let kind = input.below(13);
        let (at, other) = (input.below(openings.len()), input.below(openings.len()));
        let (up, height) = (input.below(heights.len()), input.below(heights.len()));
        let (leaf, number) = (&mut heights[up], input.u8());
        match kind {
            0 => openings.swap(at, other),
            1 => {
                // With the places that they have now.
                let (one, two) = (openings[at], openings[other]);
                openings[at] = OpeningLeaf { id: two.id, opening_hash: two.opening_hash, ..one };
                openings[other] = OpeningLeaf { id: one.id, opening_hash: one.opening_hash, ..two };
            }
            2 => openings[at].position = number.into(),
            3 => openings[at].height = number.into(),
            4 => openings[at].id = openings[other].id,
            5 => {
                let opening = match number & 1 {
                    0 => Opening::Undecryptable { secret: input.array() },
                    _ => Opening::Opened { seed: input.array(), message: vec![number] },
                };
                let OpeningLeaf { height, position, id, .. } = openings[at];
                openings[at] = OpeningLeaf::of(height, position, id, &opening);
                self.openings.push(opening);
            }
            6 => drop(openings.remove(at)),
            7 => openings.insert(at, openings[other]),
            8 => leaf.offset = leaf.offset.wrapping_add_signed(i32::from(number as i8)),
            9 => leaf.height = number.into(),
            10 => {
                let ids: Vec<_> = openings.iter().take(number.into()).map(|leaf| leaf.id).collect();
                leaf.order_root = order_root(&ids);
            }
            11 => {
                // A commitment that nobody certified, or that of another height.
                let mut commitment = chain.commitment(height % chain.history.heights.len()).clone();
                commitment.timestamp_ms ^= u64::from(number);
                leaf.digest = commitment.digest();
                self.commitments.push(commitment);
            }
            _ => {
                let members = &chain.history.committee.members;
                let signature = members[other % members.len()].signer.sign_digest(leaf.digest);
                leaf.signature_hash = signature_hash(&signature);
                self.signatures.push(signature);
            }
        }
    }

    /// Shows what was asked for, if it can, and if L1 takes it.
    fn show(&self, chain: &Chain, asked: &Challenge, revealed: &mut Revealed) -> Option<()> {
        let number = self.batch.index_of(asked.height)?;
        let (leaf, proof) = self.trees.prove_height(number)?;
        if leaf.height != asked.height {
            return None;
        }
        let known = |commitment: &&OrderCommitment| commitment.digest() == leaf.digest;
        let commitment = self.commitments.iter().find(known);
        let signed = |signature: &&Signature65| signature_hash(signature) == leaf.signature_hash;
        let signature = self.signatures.iter().find(signed);
        let there = |position| commitment.is_none_or(|commitment| position < commitment.count);
        let Some(position) = asked.position.filter(|position| there(*position)) else {
            commitment?;
            revealed.heights.insert(number, (BatchLeaf { leaf, proof }, *signature?));
            return Some(());
        };
        let index = leaf.offset.checked_add(position)?;
        let (opening_leaf, proof) = self.trees.prove_opening(index)?;
        let shown = self.openings.iter().find(|opening| {
            OpeningLeaf::of(asked.height, position, opening_leaf.id, opening) == opening_leaf
        })?;
        // Its envelope must be one.
        let mut items = chain.history.heights.iter().flat_map(|height| height.opened.items());
        items.find(|item| item.envelope.id() == opening_leaf.id)?;
        revealed.openings.insert(index, (opening_leaf, proof, shown.clone()));
        Some(())
    }
}

/// Seeds: the honest batch, and each kind of change alone, with and without data.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0; 8]];
    for data in [&[0u8, 0][..], &[3]] {
        for kind in 0..13 {
            seeds.push([data, &[1, kind, 1, 2, 1, 3, 1, 1]].concat());
            seeds.push([data, &[1, kind, 0, 4, 2, 1, 0, 0]].concat());
        }
    }
    for kind in 2..6 {
        seeds.push(vec![0, kind, 0, 1, 5, 0, 0]);
        seeds.push(vec![0, kind, 2, 1, 5, 1, 12, 0, 1, 2, 3]);
    }
    seeds
}
