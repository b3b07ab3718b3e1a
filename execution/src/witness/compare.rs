//! Finding what differs between two executions.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, B256, U64, U256, keccak256};
use serde::Serialize;
use serde_json::Value;

use super::file::{
    ClaimedBlock, ClaimedForced, ClaimedForcedStatus, ClaimedOutcome, ClaimedReceipt, ClaimedStatus,
};
use super::report::{Difference, Location, MAX_DIFFERENCES};

/// What a location holds when nothing changed there.
const UNCHANGED: &str = "unchanged";

/// All differences between a claim and an execution: that of the first forced item or the lowest position first, those
/// of the whole block last. At one place what it left in the state comes before what it reported.
pub(super) fn differences(claimed: &ClaimedBlock, computed: &ClaimedBlock) -> Vec<Difference> {
    let mut found = Found { items: computed.forced.len(), found: Vec::new() };
    let positions = claimed.outcomes.len().max(computed.outcomes.len());
    found.states(&claimed.access_list, &computed.access_list);
    for item in 0..claimed.forced.len().max(computed.forced.len()) {
        let at = Some(Place::Item(item));
        let (claimed_at, computed_at) = (claimed.forced.get(item), computed.forced.get(item));
        let receipt = |block, at: Option<&ClaimedForced>| {
            let executed = at.filter(|at| at.status == ClaimedForcedStatus::Executed);
            receipt_at(block, executed?.transaction_index)
        };
        found.receipts(at, receipt(claimed, claimed_at), receipt(computed, computed_at));
        found.fields(at, claimed_at, computed_at, |field| Location::Forced { field });
    }
    for position in 0..positions {
        let at = Some(Place::Position(position));
        let (claimed_at, computed_at) =
            (claimed.outcomes.get(position), computed.outcomes.get(position));
        found.receipts(
            at,
            claimed_at.and_then(|outcome| receipt_of(claimed, outcome)),
            computed_at.and_then(|outcome| receipt_of(computed, outcome)),
        );
        found.fields(at, claimed_at, computed_at, |field| Location::Outcome { field });
    }
    let count = |block: &ClaimedBlock| Value::from(block.receipts.len());
    found.value(None, &count(claimed), &count(computed), || Location::Receipt {
        field: "count".to_owned(),
    });
    found.fields(None, Some(&claimed.header), Some(&computed.header), |field| Location::Header {
        field,
    });
    for (field, claimed, computed) in [
        ("openingRoot", claimed.opening_root, computed.opening_root),
        ("executedRoot", claimed.executed_root, computed.executed_root),
    ] {
        let (claimed, computed) =
            (Value::from(claimed.to_string()), Value::from(computed.to_string()));
        found.value(None, &claimed, &computed, || Location::Root { field });
    }
    found.finish(|place| match place {
        Place::Item(item) => computed.forced.get(item)?.transaction_hash,
        Place::Position(position) => computed.outcomes.get(position)?.transaction_hash,
    })
}

/// Where in the block something shows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// At a forced item.
    Item(usize),
    /// At a position.
    Position(usize),
}

fn receipt_of<'a>(block: &'a ClaimedBlock, outcome: &ClaimedOutcome) -> Option<&'a ClaimedReceipt> {
    if outcome.status != ClaimedStatus::Executed {
        return None;
    }
    receipt_at(block, outcome.transaction_index)
}

fn receipt_at(block: &ClaimedBlock, index: Option<U64>) -> Option<&ClaimedReceipt> {
    block.receipts.get(usize::try_from(index?.to::<u64>()).ok()?)
}

/// What differences are sorted by: whether they are of the whole block, place, rank within it.
type Rank = (bool, Option<Place>, u8);

/// Differences with what they are sorted by.
struct Found {
    /// Forced items of the block.
    items: usize,
    found: Vec<(Rank, Difference)>,
}

impl Found {
    fn push(
        &mut self,
        place: Option<Place>,
        location: Location,
        claimed: String,
        computed: String,
    ) {
        let rank = match location {
            Location::Order { .. } => 0,
            Location::Account { field: "access", .. } => 6,
            Location::Account { .. } | Location::Slot { .. } => 1,
            Location::Receipt { .. } => 2,
            Location::Outcome { .. } | Location::Forced { .. } => 3,
            Location::Header { .. } => 4,
            Location::Root { .. } => 5,
        };
        let (item, position) = match place {
            Some(Place::Item(item)) => (Some(item), None),
            Some(Place::Position(position)) => (None, Some(position)),
            None => (None, None),
        };
        let difference =
            Difference { position, item, transaction_hash: None, location, claimed, computed };
        self.found.push(((place.is_none(), place, rank), difference));
    }

    fn value(
        &mut self,
        place: Option<Place>,
        claimed: &Value,
        computed: &Value,
        location: impl FnOnce() -> Location,
    ) {
        if claimed != computed {
            self.push(place, location(), text(claimed), text(computed));
        }
    }

    /// Compares two values field by field, under the names they have in JSON.
    fn fields<T: Serialize>(
        &mut self,
        place: Option<Place>,
        claimed: Option<&T>,
        computed: Option<&T>,
        location: impl Fn(String) -> Location,
    ) {
        let object = |side: Option<&T>| match side.map(serde_json::to_value) {
            Some(Ok(Value::Object(fields))) => fields,
            _ => serde_json::Map::new(),
        };
        let (claimed, computed) = (object(claimed), object(computed));
        let names: BTreeSet<&String> = claimed.keys().chain(computed.keys()).collect();
        for name in names {
            let side = |fields: &serde_json::Map<String, Value>| {
                fields.get(name).cloned().unwrap_or(Value::Null)
            };
            let (claimed, computed) = (side(&claimed), side(&computed));
            if claimed != computed {
                let (field, claimed, computed) = innermost(name.clone(), &claimed, &computed);
                self.push(place, location(field), text(claimed), text(computed));
            }
        }
    }

    fn receipts(
        &mut self,
        place: Option<Place>,
        claimed: Option<&ClaimedReceipt>,
        computed: Option<&ClaimedReceipt>,
    ) {
        // Whether there is one is the outcome's affair.
        if claimed.is_some() && computed.is_some() {
            self.fields(place, claimed, computed, |field| Location::Receipt { field });
        }
    }

    /// Compares what the positions left behind: for each place the first position at which it differs.
    fn states(&mut self, claimed: &[AccountChanges], computed: &[AccountChanges]) {
        let by_address = |list: &[AccountChanges]| -> BTreeMap<Address, AccountChanges> {
            list.iter().map(|account| (account.address, account.clone())).collect()
        };
        let (claimed, computed) = (by_address(claimed), by_address(computed));
        let addresses: BTreeSet<Address> = claimed.keys().chain(computed.keys()).copied().collect();
        for address in addresses {
            let (claimed, computed) = (claimed.get(&address), computed.get(&address));
            let before = self.found.len();
            for (field, read) in FIELDS {
                let side = |account: Option<&AccountChanges>| account.map(read).unwrap_or_default();
                self.changes(&side(claimed), &side(computed), || Location::Account {
                    address,
                    field,
                });
            }
            let side = |account: Option<&AccountChanges>| account.map(slots).unwrap_or_default();
            let (claimed_slots, computed_slots) = (side(claimed), side(computed));
            let all: BTreeSet<&U256> = claimed_slots.keys().chain(computed_slots.keys()).collect();
            for slot in all {
                let side =
                    |slots: &BTreeMap<U256, Changes>| slots.get(slot).cloned().unwrap_or_default();
                self.changes(&side(&claimed_slots), &side(&computed_slots), || Location::Slot {
                    address,
                    slot: *slot,
                });
            }
            if self.found.len() == before && claimed != computed {
                let side = |account: Option<&AccountChanges>| match account {
                    Some(account) => format!("read, slots {:?}", account.storage_reads),
                    None => "not accessed".to_owned(),
                };
                let location = Location::Account { address, field: "access" };
                self.push(None, location, side(claimed), side(computed));
            }
        }
    }

    /// Compares the values of one place by position.
    fn changes(
        &mut self,
        claimed: &Changes,
        computed: &Changes,
        location: impl FnOnce() -> Location,
    ) {
        let indices: BTreeSet<&u64> = claimed.keys().chain(computed.keys()).collect();
        let first = indices.into_iter().find(|index| claimed.get(index) != computed.get(index));
        if let Some(index) = first {
            let side = |changes: &Changes| {
                changes.get(index).cloned().unwrap_or_else(|| UNCHANGED.to_owned())
            };
            let place = usize::try_from(index.saturating_sub(1)).ok().map(|step| {
                match step.checked_sub(self.items) {
                    None => Place::Item(step),
                    Some(position) => Place::Position(position),
                }
            });
            self.push(place, location(), side(claimed), side(computed));
        }
    }

    fn finish(mut self, transaction: impl Fn(Place) -> Option<B256>) -> Vec<Difference> {
        self.found.sort_by_key(|(key, _)| *key);
        self.found
            .into_iter()
            .take(MAX_DIFFERENCES)
            .map(|((_, place, _), difference)| Difference {
                transaction_hash: place.and_then(&transaction),
                ..difference
            })
            .collect()
    }
}

/// Values of one place by index.
type Changes = BTreeMap<u64, String>;

/// A field of accounts, and how to read its changes.
type Field = (&'static str, fn(&AccountChanges) -> Changes);

const FIELDS: [Field; 3] = [
    ("balance", |account| {
        let changes = account.balance_changes.iter();
        changes.map(|at| (at.block_access_index.get(), format!("{:#x}", at.post_balance))).collect()
    }),
    ("nonce", |account| {
        let changes = account.nonce_changes.iter();
        changes.map(|at| (at.block_access_index.get(), format!("{:#x}", at.new_nonce))).collect()
    }),
    ("code", |account| {
        let changes = account.code_changes.iter();
        changes.map(|at| (at.block_access_index.get(), code_text(&at.new_code))).collect()
    }),
];

fn slots(account: &AccountChanges) -> BTreeMap<U256, Changes> {
    account
        .storage_changes
        .iter()
        .map(|slot| {
            let changes = slot.changes.iter();
            let changes = changes
                .map(|change| (change.block_access_index.get(), format!("{:#x}", change.new_value)))
                .collect();
            (slot.slot, changes)
        })
        .collect()
}

/// Follows two values that differ down to the first place where they do: `logs[2].data`.
fn innermost<'a>(
    path: String,
    claimed: &'a Value,
    computed: &'a Value,
) -> (String, &'a Value, &'a Value) {
    match (claimed, computed) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pair = a.iter().zip(b).enumerate().find(|(_, (a, b))| a != b);
            if let Some((index, (a, b))) = pair {
                return innermost(format!("{path}[{index}]"), a, b);
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            let pair = a
                .iter()
                .find_map(|(name, a)| Some((name, a, b.get(name)?)).filter(|(_, a, b)| a != b));
            if let Some((name, a, b)) = pair {
                return innermost(format!("{path}.{name}"), a, b);
            }
        }
        _ => {}
    }
    (path, claimed, computed)
}

fn code_text(code: &[u8]) -> String {
    format!("{} bytes with hash {}", code.len(), keccak256(code))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
