//! A failure of storage that lies outside this crate.

use std::error::Error;

/// A store could not read, or could not promise to keep.
#[derive(Debug, thiserror::Error)]
#[error("storage failed")]
pub struct StoreError(#[source] Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps a store's own error, or a message.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}
