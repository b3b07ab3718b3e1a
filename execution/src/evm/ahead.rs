//! Transactions decoded before their height is executed.
//!
//! The positions of a height are opened chunk by chunk. Decoding an inner transaction and recovering its
//! sender needs nothing but its own bytes, and costs more than running a plain transfer: so it starts with
//! the first opened chunk, beside the opening of the rest. Execution itself starts with the whole height.
//!
//! What is decoded is a function of the message, the chain id and the gas class alone, and is looked up by
//! exactly these. So nothing here can change a block: what is missing is decoded when it is needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{B256, keccak256};
use blindfold_wire::SkipReason;

use super::Transaction;

/// Most transactions that wait for their execution: two of the largest blocks. Beyond that all are let go, and
/// decoded when they are executed.
pub const MAX_DECODED_AHEAD: usize = 8_192;

/// Hash of the message, and the gas class of its envelope.
type Key = (B256, u64);

/// Transactions decoded ahead. Clones share them.
#[derive(Clone, Debug)]
pub struct DecodedAhead {
    chain_id: u64,
    decoded: Arc<Mutex<HashMap<Key, Result<Transaction, SkipReason>>>>,
}

impl DecodedAhead {
    /// Nothing yet, for the chain with this id.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        Self { chain_id, decoded: Arc::default() }
    }

    /// Decodes an opened message, recovers its sender, and keeps both until the height is executed.
    pub fn decode(&self, message: &[u8], gas_class: u64) {
        let key = (keccak256(message), gas_class);
        let decoded = Transaction::decode(message, self.chain_id, gas_class);
        let mut waiting = self.lock();
        // All of it is taken by the next few heights; only heights that were opened in another way leave
        // something behind.
        if waiting.len() >= MAX_DECODED_AHEAD {
            waiting.clear();
        }
        waiting.insert(key, decoded);
    }

    /// What [`Transaction::decode`] makes of a message: from before, if it was decoded.
    pub(crate) fn take(&self, message: &[u8], gas_class: u64) -> Result<Transaction, SkipReason> {
        let ahead = match self.is_empty() {
            true => None,
            false => self.lock().remove(&(keccak256(message), gas_class)),
        };
        ahead.unwrap_or_else(|| Transaction::decode(message, self.chain_id, gas_class))
    }

    /// Number of transactions that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Result<Transaction, SkipReason>>> {
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_looked_up_by_all_it_depends_on() {
        let ahead = DecodedAhead::new(1);
        ahead.decode(b"\x05", 1 << 15);
        assert_eq!(ahead.len(), 1);
        // Another class is another question.
        assert_eq!(ahead.take(b"\x05", 1 << 16), Err(SkipReason::UnsupportedType));
        assert_eq!(ahead.len(), 1);
        assert_eq!(ahead.take(b"\x05", 1 << 15), Err(SkipReason::UnsupportedType));
        assert!(ahead.is_empty());
        for number in 0..MAX_DECODED_AHEAD as u64 + 10 {
            ahead.decode(&number.to_be_bytes(), 1 << 15);
            assert!(ahead.len() <= MAX_DECODED_AHEAD);
        }
        assert_eq!(ahead.len(), 10);
    }
}
