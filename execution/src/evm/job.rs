//! One position of a block: what is charged, what is run, and what became of it.

use alloy_primitives::{Address, Log, U256};
use revm::context::TxEnv;

use blindfold_wire::envelope::EnvelopeHeader;
use blindfold_wire::{ChainParams, Prices, SkipReason, fees};

/// What to do at one position.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) body: Body,
    /// What the envelope costs; none where there is no envelope.
    pub(crate) charge: Option<Charge>,
}

/// What an envelope held.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Nothing that opens.
    Nothing,
    /// Nothing that can run, for a reason that no state can change.
    Skip(SkipReason),
    Run(Box<TxEnv>),
}

/// What an envelope costs, and whom.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) payer: Address,
    pub(crate) next_nonce: u64,
    header: EnvelopeHeader,
    size_bytes: usize,
    prices: Prices,
}

impl Charge {
    pub(crate) const fn new(
        payer: Address,
        header: EnvelopeHeader,
        size_bytes: usize,
        prices: Prices,
    ) -> Self {
        let next_nonce = header.payer_nonce.saturating_add(1);
        Self { payer, next_nonce, header, size_bytes, prices }
    }

    /// What is due if the transaction used so much gas.
    pub(crate) fn due(&self, params: &ChainParams, used_gas: u64) -> fees::Charge {
        fees::charge(params, &self.header, self.size_bytes, self.prices, used_gas)
    }
}

/// What became of one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobResult {
    pub(crate) ran: Ran,
    /// What the envelope cost, in wei.
    pub(crate) charge_wei: U256,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Nothing,
    Skipped(SkipReason),
    Executed {
        success: bool,
        gas_used: u64,
        /// None if it failed: they are undone with everything else it did.
        logs: Vec<Log>,
    },
}

impl Ran {
    pub(crate) const fn gas_used(&self) -> u64 {
        match self {
            Self::Executed { gas_used, .. } => *gas_used,
            Self::Nothing | Self::Skipped(_) => 0,
        }
    }
}
