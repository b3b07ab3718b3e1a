//! A poster that posts another order than the certified one. Compiled into demonstrations only.

use blindfold_settlement::{
    accumulator::Trees,
    batch::{Draft, opening_leaves},
    codec,
};
use blindfold_wire::{OpenedBatch, Signature65};

/// The draft with the first two envelopes of one height in each other's place, wherever a height has two, and
/// roots that go with it: everything that L1 checks is right. `None` if no height has two.
pub(super) fn reordered(draft: &Draft, heights: &[(OpenedBatch, Signature65)]) -> Option<Draft> {
    let mut data = codec::decode(&draft.data).ok()?;
    let at = data.heights.iter().position(|height| height.items.len() >= 2)?;
    data.heights.get_mut(at)?.items.swap(0, 1);
    let mut trees = Trees::new();
    for (index, (opened, signature)) in heights.iter().take(data.heights.len()).enumerate() {
        let mut leaves = opening_leaves(opened);
        if index == at {
            leaves.swap(0, 1);
            for (position, leaf) in (0u32..).zip(leaves.iter_mut()) {
                leaf.position = position;
            }
        }
        trees.push(opened.commitment(), signature, leaves);
    }
    Some(Draft { trees, data: codec::encode(&data).ok()?, ..draft.clone() })
}
