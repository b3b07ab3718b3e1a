//! Blocks without the state: executed again from their witnesses, and along their access lists.

mod files;
mod mixes;

use std::num::NonZeroUsize;

use super::harness::*;
use crate::bal::{BalExecutor, BlockAccessList, HintUse};
use crate::witness::{ClaimedForced, ClaimedOutcome};
use crate::witness::{ExecutionWitness, WitnessState, build_witness, execute_on};
use crate::{ExecutedBlock, ExecutionParent};

/// The witness of a block that is not written yet.
pub(super) fn witness_of(net: &Net, block: &ExecutedBlock) -> ExecutionWitness {
    let header = |height| net.headers.get(usize::try_from(height).ok()?).cloned();
    let state_root = block.record.state_root();
    build_witness(&net.state, &block.access, &block.diff, state_root, header).expect("witness")
}

/// What holds for every block: its witness suffices to come to the same block, and so does its access list,
/// on any number of threads.
pub(super) fn check(net: &Net, items: &[Item], block: &ExecutedBlock) {
    let (batch, context) = net.next_batch(items);
    let indices = context.forced.items().len() + items.len();

    let witness = witness_of(net, block);
    assert_eq!(ExecutionWitness::decode(&witness.encode()).as_ref(), Ok(&witness));
    let state = WitnessState::new(&witness).expect("canonical");
    let again = execute_on(net.genesis(), state, &batch, &context).expect("the witness suffices");
    assert_eq!(again.header, block.record.header);
    assert_eq!(again.executed_root, block.record.executed_root);
    let outcomes: Vec<_> = block.record.outcomes.iter().map(ClaimedOutcome::from).collect();
    let forced: Vec<_> = block.record.forced.iter().map(ClaimedForced::from).collect();
    assert_eq!((again.outcomes, again.forced), (outcomes, forced));

    let list = BlockAccessList::of(&block.access);
    let encoded = list.encode();
    assert_eq!(BlockAccessList::decode(&encoded, indices).as_ref(), Ok(&list));
    assert_eq!(again.access_list, list.accounts(), "access list from the witness");
    let parent = ExecutionParent::of(&net.state);
    for threads in 1..=3 {
        let threads = NonZeroUsize::new(threads).expect("positive");
        let executor = BalExecutor::new(net.genesis(), threads);
        for executor in [executor.clone(), executor.forced()] {
            let (along, used) = executor
                .execute_along(&net.executor, &parent, &batch, &context, &encoded)
                .expect("executes");
            assert_eq!(used, HintUse::Followed);
            assert_eq!(&along.seal(&net.state).expect("next"), block, "along the access list");
        }
    }
}
