//! The database as other crates want to see it.

use blindfold_committee::{JournalStore, StoreError as JournalError};
use blindfold_execution::state::{
    Column as StateColumn, StateStore, StoreError as StateStoreError,
};

use super::{Durability, Family, Store};

impl StateStore for Store {
    fn get(&self, column: StateColumn, key: &[u8]) -> Result<Option<Vec<u8>>, StateStoreError> {
        Self::get(self, Family::State(column), key)
            .map_err(|error| StateStoreError::Backend(error.to_string()))
    }

    fn get_many(
        &self,
        column: StateColumn,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StateStoreError> {
        Self::get_many(self, Family::State(column), keys)
            .map_err(|error| StateStoreError::Backend(error.to_string()))
    }
}

impl JournalStore for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        Self::get(self, Family::Journal, key).map_err(JournalError::new)
    }

    fn put_synced(&self, key: &[u8], value: &[u8]) -> Result<(), JournalError> {
        let write = (Family::Journal, key.to_vec(), Some(value.to_vec()));
        self.write(vec![write], Durability::Synced).map_err(JournalError::new)
    }
}
