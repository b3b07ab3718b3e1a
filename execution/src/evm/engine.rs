//! What runs the positions of a block: in order, or in parallel. All engines give the same results.

use std::sync::Arc;

use blindfold_wire::ChainParams;

use super::{BlockFacts, CodeCache, InOrder, Job, JobResult};
use crate::access::AccessRecord;
use crate::executor::ExecutionError;
use crate::state::{Overlay, StateDiff};

/// A block to run: rules, state and positions.
pub(crate) struct Run {
    pub(crate) params: Arc<ChainParams>,
    pub(crate) facts: BlockFacts,
    /// The state before the first position.
    pub(crate) overlay: Overlay,
    pub(crate) jobs: Vec<Job>,
}

/// What a block came to.
pub(crate) struct Finished {
    /// One for each position.
    pub(crate) results: Vec<JobResult>,
    pub(crate) diff: StateDiff,
    /// If the overlay was told to record it.
    pub(crate) access: Option<AccessRecord>,
}

/// Runs positions.
pub(crate) trait Engine: Send + Sync {
    fn run(&self, run: Run) -> Result<Finished, ExecutionError>;
}

/// One position after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequential {
    pub(crate) codes: CodeCache,
}

impl Engine for Sequential {
    fn run(&self, run: Run) -> Result<Finished, ExecutionError> {
        let Run { params, facts, overlay, jobs } = run;
        let mut in_order = InOrder::new(&params, &facts, overlay, self.codes.clone(), 0);
        let results = jobs.iter().map(|job| in_order.job(job)).collect::<Result<_, _>>()?;
        let (diff, access) = in_order.into_parts().0.finish();
        Ok(Finished { results, diff, access })
    }
}
