//! What the owner of a pool persists, gossips and reports.

use std::collections::{HashMap, VecDeque};

use blindfold_wire::{B256, Bytes};
use serde::{Deserialize, Serialize};

/// Why an envelope left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Removal {
    /// It was ordered; the finalized block holds it now.
    Ordered {
        /// The height.
        height: u64,
    },
    /// Another envelope was ordered with its payer and nonce.
    Superseded {
        /// That envelope.
        by: B256,
    },
    /// Its payer replaced it with a higher fee.
    Replaced {
        /// The replacement.
        by: B256,
    },
    /// Its expiry height passed.
    Expired {
        /// The last ordered height when it was dropped.
        height: u64,
    },
    /// It made room for one that pays more.
    Evicted,
    /// Its payer's escrow does not cover it any more.
    Unpaid,
    /// Its nonce was used before this pool learned by what.
    Stale,
    /// It was stored, but is not admissible after a restart.
    NotRestored,
}

/// One step of a pool's content, in the order it happened.
///
/// Persist a change before acting on it: an envelope may be acknowledged to its submitter and gossiped
/// only after its [`Insert`](Change::Insert) is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An envelope entered.
    Insert {
        /// Its id.
        id: B256,
        /// Its canonical encoding.
        bytes: Bytes,
    },
    /// An envelope left.
    Remove {
        /// Its id.
        id: B256,
        /// Why.
        reason: Removal,
    },
}

impl Change {
    /// The id of the envelope that entered or left.
    pub fn id(&self) -> B256 {
        match self {
            Self::Insert { id, .. } | Self::Remove { id, .. } => *id,
        }
    }
}

/// The last `capacity` envelopes that left, oldest forgotten first.
#[derive(Debug)]
pub(crate) struct Ended {
    capacity: usize,
    reasons: HashMap<B256, (u64, Removal)>,
    // Entries whose sequence number is not the one in `reasons` are left over and skipped.
    order: VecDeque<(u64, B256)>,
    sequence: u64,
}

impl Ended {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, reasons: HashMap::new(), order: VecDeque::new(), sequence: 0 }
    }

    pub(crate) fn get(&self, id: &B256) -> Option<Removal> {
        self.reasons.get(id).map(|(_, reason)| *reason)
    }

    pub(crate) fn record(&mut self, id: B256, reason: Removal) {
        self.sequence += 1;
        self.reasons.insert(id, (self.sequence, reason));
        self.order.push_back((self.sequence, id));
        while self.order.len() > self.capacity {
            let Some((sequence, oldest)) = self.order.pop_front() else { break };
            if self.reasons.get(&oldest).is_some_and(|(current, _)| *current == sequence) {
                self.reasons.remove(&oldest);
            }
        }
    }

    /// Forgets an envelope that came back.
    pub(crate) fn forget(&mut self, id: &B256) {
        self.reasons.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_forgets_the_oldest() {
        let mut ended = Ended::new(2);
        let id = |byte| B256::repeat_byte(byte);
        ended.record(id(1), Removal::Evicted);
        ended.record(id(2), Removal::Evicted);
        ended.record(id(1), Removal::Stale);
        assert_eq!(
            ended.get(&id(1)),
            Some(Removal::Stale),
            "the newer record survives the older's turn"
        );
        assert_eq!(ended.get(&id(2)), Some(Removal::Evicted));
        ended.record(id(3), Removal::Unpaid);
        assert_eq!(ended.get(&id(2)), None);
        assert_eq!(ended.get(&id(1)), Some(Removal::Stale));
        ended.forget(&id(3));
        assert_eq!(ended.get(&id(3)), None);
        assert!(ended.order.len() <= 2 && ended.reasons.len() <= 2);
    }
}
