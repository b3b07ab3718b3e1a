//! The oracle's events, as the book takes them.

use crate::settlement::{Contracts, SettlementError};
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::Log;
use alloy_sol_types::SolEvent as _;
use blindfold_settlement::bindings::OutputOracle;

/// Something that happened to an output. Times are L1's, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputEvent {
    /// It was proposed.
    Proposed {
        /// Number of its batch.
        index: u64,
        /// The state root.
        state_root: B256,
        /// Who has the bond in it.
        proposer: Address,
        /// When.
        proposed_at_s: u64,
        /// Last second to challenge it.
        deadline_s: u64,
    },
    /// It was challenged.
    Challenged {
        /// Number of its batch.
        index: u64,
        /// By whom.
        challenger: Address,
        /// Last second to prove it.
        deadline_s: u64,
    },
    /// It was proven, or its bond returned: it is final for good.
    Settled {
        /// Number of its batch.
        index: u64,
    },
    /// Nobody proved it: it is gone.
    Rejected {
        /// Number of its batch.
        index: u64,
    },
}

impl OutputEvent {
    /// Number of the batch.
    pub const fn index(&self) -> u64 {
        let (Self::Proposed { index, .. }
        | Self::Challenged { index, .. }
        | Self::Settled { index }
        | Self::Rejected { index }) = self;
        *index
    }

    /// Reads a log of the oracle. Nothing for events that are not about outputs.
    ///
    /// # Errors
    /// If the log has an output's event, and its data is not the event's.
    pub fn read(log: &Log, contracts: &Contracts) -> Result<Option<Self>, SettlementError> {
        let unusable = |_| SettlementError::Unusable("an event of the output oracle");
        let Some(topic) = log.topic0() else { return Ok(None) };
        let log = &log.inner;
        Ok(Some(match *topic {
            OutputOracle::Proposed::SIGNATURE_HASH => {
                let event = OutputOracle::Proposed::decode_log(log).map_err(unusable)?.data;
                Self::Proposed {
                    index: event.index,
                    state_root: event.stateRoot,
                    proposer: event.proposer,
                    proposed_at_s: event.deadline.saturating_sub(contracts.output_window_s),
                    deadline_s: event.deadline,
                }
            }
            OutputOracle::Challenged::SIGNATURE_HASH => {
                let event = OutputOracle::Challenged::decode_log(log).map_err(unusable)?.data;
                let (index, challenger) = (event.index, event.challenger);
                Self::Challenged { index, challenger, deadline_s: event.deadline }
            }
            OutputOracle::Proven::SIGNATURE_HASH => {
                let event = OutputOracle::Proven::decode_log(log).map_err(unusable)?.data;
                Self::Settled { index: event.index }
            }
            OutputOracle::BondReturned::SIGNATURE_HASH => {
                let event = OutputOracle::BondReturned::decode_log(log).map_err(unusable)?.data;
                Self::Settled { index: event.index }
            }
            OutputOracle::Rejected::SIGNATURE_HASH => {
                let event = OutputOracle::Rejected::decode_log(log).map_err(unusable)?.data;
                Self::Rejected { index: event.index }
            }
            _ => return Ok(None),
        }))
    }
}
