//! What a batch says about its heights: two trees, whose roots L1 keeps and whose leaves prove offences.
//!
//! The **accumulator** has one leaf for each height: its certified digest, its order root, and where its
//! openings begin. The **opening tree** has one leaf for each opening of the batch, by height and position.
//! Trees are those of [`blindfold_wire::merkle`].

use alloy_primitives::{Address, B256, keccak256};
use blindfold_crypto::Opening;
use blindfold_wire::{MerkleProof, OrderCommitment, Signature65, domain, merkle, opening_hash};

/// keccak256 of a domain and parts of fixed width.
pub(crate) fn hash(domain: &[u8], parts: &[&[u8]]) -> B256 {
    let mut input = domain.to_vec();
    for part in parts {
        input.extend_from_slice(part);
    }
    keccak256(input)
}

/// One height of a batch, as a leaf of its accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccumulatorLeaf {
    /// The height.
    pub height: u64,
    /// Digest of its commitment.
    pub digest: B256,
    /// The commitment's order root.
    pub order_root: B256,
    /// Index of its first opening among the openings of the batch.
    pub offset: u32,
    /// [`signature_hash`] of its leader's signature.
    pub signature_hash: B256,
}

impl AccumulatorLeaf {
    /// The leaf of `commitment`, whose openings begin at `offset`.
    pub fn of(commitment: &OrderCommitment, signature: &Signature65, offset: u32) -> Self {
        Self {
            height: commitment.height,
            digest: commitment.digest(),
            order_root: commitment.order_root,
            offset,
            signature_hash: signature_hash(signature),
        }
    }

    /// keccak256(domain ‖ height, 8 bytes ‖ digest ‖ order root ‖ offset, 4 bytes ‖ signature hash).
    pub fn hash(&self) -> B256 {
        hash(
            domain::ACCUMULATOR_LEAF,
            &[
                &self.height.to_be_bytes(),
                self.digest.as_slice(),
                self.order_root.as_slice(),
                &self.offset.to_be_bytes(),
                self.signature_hash.as_slice(),
            ],
        )
    }
}

/// keccak256 of a signature's 65 bytes r ‖ s ‖ v.
pub fn signature_hash(signature: &Signature65) -> B256 {
    keccak256(signature.to_bytes())
}

/// One opening of a batch, as a leaf of its opening tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpeningLeaf {
    /// The height.
    pub height: u64,
    /// Position in the height.
    pub position: u32,
    /// Id of the envelope.
    pub id: B256,
    /// keccak256 of the encoded opening.
    pub opening_hash: B256,
}

impl OpeningLeaf {
    /// The leaf of an opening.
    pub fn of(height: u64, position: u32, id: B256, opening: &Opening) -> Self {
        Self { height, position, id, opening_hash: opening_hash(opening) }
    }

    /// As [`blindfold_wire::opening_leaf`].
    pub fn hash(&self) -> B256 {
        hash(
            domain::OPENING_LEAF,
            &[
                &self.height.to_be_bytes(),
                &self.position.to_be_bytes(),
                self.id.as_slice(),
                self.opening_hash.as_slice(),
            ],
        )
    }
}

/// The two trees of a batch, with all leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trees {
    heights: Vec<AccumulatorLeaf>,
    openings: Vec<OpeningLeaf>,
}

impl Trees {
    /// Trees without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trees with any leaves, belonging together or not.
    pub fn from_leaves(heights: Vec<AccumulatorLeaf>, openings: Vec<OpeningLeaf>) -> Self {
        Self { heights, openings }
    }

    /// Adds a height and its openings.
    pub fn push(
        &mut self,
        commitment: &OrderCommitment,
        signature: &Signature65,
        openings: impl IntoIterator<Item = OpeningLeaf>,
    ) {
        // Batches are bounded far below 2^32 openings.
        let offset = u32::try_from(self.openings.len()).unwrap_or(u32::MAX);
        self.heights.push(AccumulatorLeaf::of(commitment, signature, offset));
        self.openings.extend(openings);
    }

    /// Leaves of the accumulator, by height.
    pub fn heights(&self) -> &[AccumulatorLeaf] {
        &self.heights
    }

    /// Leaves of the opening tree.
    pub fn openings(&self) -> &[OpeningLeaf] {
        &self.openings
    }

    /// Number of openings.
    pub fn opening_count(&self) -> u32 {
        u32::try_from(self.openings.len()).unwrap_or(u32::MAX)
    }

    /// Root of the accumulator.
    pub fn accumulator_root(&self) -> B256 {
        merkle::root(&self.height_hashes())
    }

    /// Root of the opening tree.
    pub fn opening_root(&self) -> B256 {
        merkle::root(&self.opening_hashes())
    }

    /// The leaf of the `index`-th height with its proof.
    pub fn prove_height(&self, index: u32) -> Option<(AccumulatorLeaf, MerkleProof)> {
        let leaf = *self.heights.get(index as usize)?;
        Some((leaf, merkle::prove(&self.height_hashes(), index)?))
    }

    /// The leaf of the `index`-th opening with its proof.
    pub fn prove_opening(&self, index: u32) -> Option<(OpeningLeaf, MerkleProof)> {
        let leaf = *self.openings.get(index as usize)?;
        Some((leaf, merkle::prove(&self.opening_hashes(), index)?))
    }

    /// The topmost node of the opening tree; the root covers it and the number of openings.
    pub fn opening_top(&self) -> B256 {
        merkle::top(&self.opening_hashes())
    }

    fn height_hashes(&self) -> Vec<B256> {
        self.heights.iter().map(AccumulatorLeaf::hash).collect()
    }

    fn opening_hashes(&self) -> Vec<B256> {
        self.openings.iter().map(OpeningLeaf::hash).collect()
    }
}

/// The leaders of one epoch: view v is led by the signer of slot v modulo their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderTable {
    signers: Vec<Address>,
}

impl LeaderTable {
    /// Takes the signers of all slots; `None` if there is none or they are 2^32 or more.
    pub fn new(signers: Vec<Address>) -> Option<Self> {
        let fits = !signers.is_empty() && u32::try_from(signers.len()).is_ok();
        fits.then_some(Self { signers })
    }

    /// The signers, by slot.
    pub fn signers(&self) -> &[Address] {
        &self.signers
    }

    /// The slot of a view.
    pub fn slot(&self, view: u64) -> u32 {
        // The remainder is below the number of slots, which fits.
        u32::try_from(view % self.signers.len() as u64).unwrap_or_default()
    }

    /// Who leads a view.
    pub fn leader(&self, view: u64) -> Address {
        self.signers[self.slot(view) as usize]
    }

    /// `scheduleRoot` of the committee registry: the root over [`schedule_leaf`]s.
    pub fn root(&self) -> B256 {
        merkle::root(&self.hashes())
    }

    /// The leader of a view with the proof under [`Self::root`].
    pub fn prove(&self, view: u64) -> Option<(Address, MerkleProof)> {
        Some((self.leader(view), merkle::prove(&self.hashes(), self.slot(view))?))
    }

    fn hashes(&self) -> Vec<B256> {
        (0u32..).zip(&self.signers).map(|(slot, signer)| schedule_leaf(slot, *signer)).collect()
    }
}

/// keccak256(domain ‖ slot, 4 bytes ‖ signer, 20 bytes).
pub fn schedule_leaf(slot: u32, signer: Address) -> B256 {
    hash(domain::SCHEDULE_LEAF, &[&slot.to_be_bytes(), signer.as_slice()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_wire::opening_leaf;

    #[test]
    fn opening_leaves_are_those_of_the_certified_root() {
        let opening = Opening::Opened { seed: [1; 32], message: vec![2; 3] };
        let leaf = OpeningLeaf::of(7, 9, B256::repeat_byte(4), &opening);
        assert_eq!(leaf.hash(), opening_leaf(7, 9, B256::repeat_byte(4), &opening));
    }

    #[test]
    fn accumulator_and_schedule_leaves_are_what_the_contracts_hash() {
        let leaf = AccumulatorLeaf {
            height: 1,
            digest: B256::repeat_byte(2),
            order_root: B256::repeat_byte(3),
            offset: 4,
            signature_hash: B256::repeat_byte(5),
        };
        let mut packed = b"BLINDFOLD-V1/accumulator-leaf/".to_vec();
        packed.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        packed.extend([2; 32]);
        packed.extend([3; 32]);
        packed.extend([0, 0, 0, 4]);
        packed.extend([5; 32]);
        assert_eq!(leaf.hash(), keccak256(packed));

        let mut packed = b"BLINDFOLD-V1/schedule-leaf/".to_vec();
        packed.extend([0, 0, 0, 2]);
        packed.extend([6; 20]);
        assert_eq!(schedule_leaf(2, Address::repeat_byte(6)), keccak256(packed));
    }

    #[test]
    fn leaders_rotate_and_are_proved() {
        let table = LeaderTable::new((1..=5).map(Address::repeat_byte).collect()).unwrap();
        for view in [0, 4, 5, 7, u64::MAX] {
            let (leader, proof) = table.prove(view).unwrap();
            assert_eq!(leader, Address::repeat_byte((view % 5) as u8 + 1));
            assert_eq!(u64::from(proof.index), view % 5);
            assert!(proof.verify(table.root(), schedule_leaf(proof.index, leader)));
        }
        assert_eq!(LeaderTable::new(Vec::new()), None);
        // A slot is part of its leaf.
        let twice = LeaderTable::new(vec![Address::repeat_byte(1); 2]).unwrap();
        let (leader, proof) = twice.prove(0).unwrap();
        assert!(!proof.verify(twice.root(), schedule_leaf(1, leader)));
    }
}
