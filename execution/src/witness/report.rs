//! What a replay found.

use std::fmt;

use alloy_primitives::{Address, B256, U256};
use serde::Serialize;

/// Differences that a report lists, at most. The first one matters; more of them help to see why.
pub const MAX_DIFFERENCES: usize = 32;

/// Where claim and execution differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Location {
    /// The order itself: commitment, certificate, or an envelope that is not the one that was ordered.
    Order {
        /// What of it.
        field: String,
    },
    /// A field of an account after the position.
    Account {
        /// The account.
        address: Address,
        /// `balance`, `nonce`, `code`, or `access` if only one of the two accessed it.
        field: &'static str,
    },
    /// A storage slot after the position.
    Slot {
        /// The account.
        address: Address,
        /// The slot.
        slot: U256,
    },
    /// A field of the transaction's receipt.
    Receipt {
        /// The field, as in the file.
        field: String,
    },
    /// A field of the forced item's outcome.
    Forced {
        /// The field, as in the file.
        field: String,
    },
    /// A field of the position's outcome.
    Outcome {
        /// The field, as in the file.
        field: String,
    },
    /// A field of the block's header.
    Header {
        /// The field, as in the file.
        field: String,
    },
    /// A root beside the header.
    Root {
        /// `openingRoot` or `executedRoot`.
        field: &'static str,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { field } => write!(f, "order: {field}"),
            Self::Account { address, field } => write!(f, "{field} of {address}"),
            Self::Slot { address, slot } => write!(f, "slot {slot:#x} of {address}"),
            Self::Receipt { field } => write!(f, "receipt: {field}"),
            Self::Forced { field } => write!(f, "forced item: {field}"),
            Self::Outcome { field } => write!(f, "outcome: {field}"),
            Self::Header { field } => write!(f, "header: {field}"),
            Self::Root { field } => f.write_str(field),
        }
    }
}

/// One difference between what is claimed and what execution gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The position it first shows at; none if it is of a forced item or the whole block.
    pub position: Option<usize>,
    /// The forced item of the height it first shows at, counted from 0; none if it is of none.
    pub item: Option<usize>,
    /// Hash of the transaction there, if it is one.
    pub transaction_hash: Option<B256>,
    /// Where.
    pub location: Location,
    /// What is claimed.
    pub claimed: String,
    /// What execution gives.
    pub computed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = self.item {
            write!(f, "forced item {item}, ")?;
        }
        if let Some(position) = self.position {
            write!(f, "position {position}, ")?;
        }
        if let Some(hash) = self.transaction_hash {
            write!(f, "transaction {hash}, ")?;
        }
        write!(f, "{}: claimed {}, computed {}", self.location, self.claimed, self.computed)
    }
}

/// The outcome of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayReport {
    /// Whether everything is as claimed.
    pub ok: bool,
    /// The height.
    pub height: u64,
    /// Hash of the claimed header.
    pub block_hash: B256,
    /// Hash of the genesis document by which it was judged.
    pub genesis_hash: B256,
    /// State root that the execution gave; none if it did not come to that.
    pub state_root: Option<B256>,
    /// Forced items consumed.
    pub forced: usize,
    /// Positions executed.
    pub executed: usize,
    /// Positions skipped.
    pub skipped: usize,
    /// Positions that do not open.
    pub undecryptable: usize,
    /// Gas used.
    pub gas_used: u64,
    /// What differs, that of the lowest position first, forced items before them; at most [`MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
}

impl ReplayReport {
    /// The first difference, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<&Difference> {
        self.differences.first()
    }
}
