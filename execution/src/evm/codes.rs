//! Analysed code, kept across blocks: finding the jump destinations of a contract costs more than most calls
//! of it.

use std::sync::{Arc, PoisonError, RwLock};

use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use revm::bytecode::Bytecode;

/// Most bytes of code that are kept. Beyond that all are let go.
const MAX_CACHED_CODE_BYTES: usize = 64 << 20;

/// Analysed code by hash. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct CodeCache(Arc<RwLock<Codes>>);

#[derive(Default)]
struct Codes {
    by_hash: B256Map<Bytecode>,
    size_bytes: usize,
}

impl CodeCache {
    pub(crate) fn get(&self, hash: B256) -> Option<Bytecode> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_hash.get(&hash).cloned()
    }

    pub(crate) fn put(&self, hash: B256, code: &Bytecode) {
        let mut codes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if codes.size_bytes >= MAX_CACHED_CODE_BYTES {
            *codes = Codes::default();
        }
        if codes.by_hash.insert(hash, code.clone()).is_none() {
            codes.size_bytes += code.len();
        }
    }
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CodeCache").field("codes", &codes.by_hash.len()).finish_non_exhaustive()
    }
}
