//! Executes some of the heights again, in another way: in order, on nothing but the height's witness, away from
//! the hot path. A block that comes out different is an error of this program or of this machine, and raises the
//! alarm `blindfold_execution_mismatches_total`.
//!
//! Members begin at different heights, so that together they look at more than each alone.

use crate::metrics;
use alloy_primitives::Bytes;
use blindfold_execution::{
    BlockContext, BlockRecord,
    witness::{self, ClaimedForced, ClaimedOutcome, ExecutionWitness, WitnessState},
};
use blindfold_wire::{genesis::Genesis, opened::OpenedBatch};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tracing::error;

/// Chooses the heights that are executed again.
pub struct Rechecks {
    /// One height in this many; 0 for none.
    one_in: u64,
    /// Which of them.
    offset: u64,
    /// One at a time: what comes meanwhile is left out.
    busy: Arc<AtomicBool>,
}

impl Rechecks {
    /// One height in `one_in`, 0 for none; each member, by its `seat`, others.
    pub fn new(one_in: u64, seat: usize) -> Self {
        Self { one_in, offset: seat as u64, busy: Arc::default() }
    }

    /// Whether a height is one of those, and nothing else is being executed again.
    pub fn wants(&self, height: u64) -> bool {
        self.one_in > 0
            && height % self.one_in == self.offset % self.one_in
            && !self.busy.load(Ordering::Relaxed)
    }

    /// Takes a height on. What it returns executes it; `None` if another is under way.
    pub fn take(&self, recheck: Recheck) -> Option<impl FnOnce(&Genesis) + Send + 'static> {
        if self.busy.swap(true, Ordering::Relaxed) {
            return None;
        }
        let busy = Arc::clone(&self.busy);
        Some(move |genesis: &Genesis| {
            recheck.run(genesis);
            busy.store(false, Ordering::Relaxed);
        })
    }
}

/// An executed height, and what it takes to execute it again.
pub struct Recheck {
    /// The block.
    pub record: Arc<BlockRecord>,
    /// What it was made of.
    pub batch: OpenedBatch,
    /// Whom its charges went to.
    pub context: BlockContext,
    /// The encoded witness.
    pub witness: Bytes,
}

impl Recheck {
    fn run(&self, genesis: &Genesis) {
        match self.difference(genesis) {
            None => metrics::recheck("equal"),
            Some(what) => {
                metrics::recheck("different");
                metrics::mismatch();
                error!(target: "blindfold::execution", height = self.record.height(), %what, "executed again, a height comes out different");
            }
        }
    }

    /// What comes out different.
    fn difference(&self, genesis: &Genesis) -> Option<String> {
        let again = ExecutionWitness::decode(&self.witness)
            .and_then(|witness| WitnessState::new(&witness))
            .map_err(|error| error.to_string())
            .and_then(|state| {
                witness::execute_on(genesis, state, &self.batch, &self.context)
                    .map_err(|error| error.to_string())
            });
        let again = match again {
            Ok(again) => again,
            Err(error) => return Some(error),
        };
        let record = &self.record;
        let outcomes = record.outcomes.iter().map(ClaimedOutcome::from);
        if let Some(at) = outcomes.zip(&again.outcomes).position(|(ours, again)| ours != *again) {
            return Some(format!("outcome of position {at}"));
        }
        let forced = record.forced.iter().map(ClaimedForced::from);
        if let Some(at) = forced.zip(&again.forced).position(|(ours, again)| ours != *again) {
            return Some(format!("outcome of forced item {at}"));
        }
        if again.header != record.header {
            let (ours, again) = (&record.header, &again.header);
            return Some(format!(
                "state root {} and {}, receipts root {} and {}, gas {} and {}",
                ours.state_root,
                again.state_root,
                ours.receipts_root,
                again.receipts_root,
                ours.gas_used,
                again.gas_used
            ));
        }
        (again.executed_root != record.executed_root).then(|| "executed root".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use blindfold_execution::{
        ExecutedBlock, Executor as _, SequentialExecutor, genesis_block,
        state::{MemoryStore, ParentState, StateStore},
        witness::build_witness,
    };
    use blindfold_wire::testkit::TestCommittee;

    /// An executed height, with its witness.
    fn executed() -> (TestCommittee, ExecutedBlock, Recheck) {
        let committee = TestCommittee::new(1, 1);
        let genesis = genesis_block(&committee.genesis).unwrap();
        let store = Arc::new(MemoryStore::new());
        store.apply(genesis.writes()).unwrap();
        let state = ParentState::open(store as Arc<dyn StateStore>).unwrap();
        let batch = OpenedBatch::new(committee.certify_order(&[]), Vec::new()).unwrap();
        let context = BlockContext::without_forced(Address::repeat_byte(7));
        let executor = SequentialExecutor::new(&committee.genesis);
        let block = executor.execute(&state, &batch, &context).unwrap();
        let header = |height| (height == 0).then(|| genesis.record.header.clone());
        let root = block.record.state_root();
        let witness = build_witness(&state, &block.access, &block.diff, root, header).unwrap();
        let record = Arc::clone(&block.record);
        let recheck = Recheck { record, batch, context, witness: witness.encode().into() };
        (committee, block, recheck)
    }

    #[test]
    fn a_wrong_block_is_found() {
        let (committee, block, mut recheck) = executed();
        assert_eq!(recheck.difference(&committee.genesis), None);
        let mut wrong = (*block.record).clone();
        wrong.header.gas_used += 1;
        recheck.record = Arc::new(wrong);
        assert!(recheck.difference(&committee.genesis).unwrap().contains("gas 1 and 0"));
        recheck.record = Arc::clone(&block.record);
        recheck.context.beneficiary = Address::ZERO;
        assert!(recheck.difference(&committee.genesis).is_some());
        recheck.witness = Bytes::from_static(b"none");
        assert!(recheck.difference(&committee.genesis).is_some());
    }

    #[test]
    fn one_at_a_time_of_the_chosen_heights() {
        let (committee, _, recheck) = executed();
        let rechecks = Rechecks::new(4, 5);
        assert!((0..8).map(|height| rechecks.wants(height)).eq([1, 5].iter().fold(
            [false; 8],
            |mut wanted, at| {
                wanted[*at] = true;
                wanted
            }
        )));
        assert!(!Rechecks::new(0, 0).wants(0));
        let run = rechecks.take(recheck).unwrap();
        assert!(!rechecks.wants(5), "one is under way");
        run(&committee.genesis);
        assert!(rechecks.wants(5));
    }
}
