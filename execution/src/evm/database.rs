//! revm's view of the block overlay.

use alloy_primitives::{Address, B256, U256};
use revm::bytecode::Bytecode;
use revm::database_interface::{DBErrorMarker, Database};
use revm::state::{AccountInfo, EvmState};

use crate::state::{Account, Column, Overlay, StoreError};

impl DBErrorMarker for StoreError {}

impl Database for Overlay {
    type Error = StoreError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, StoreError> {
        Bytecode::new_raw_checked(self.code(code_hash)?)
            .map_err(|_| StoreError::damaged(Column::Code, "malformed delegation"))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        Self::storage(self, address, slot)
    }

    fn block_hash(&mut self, height: u64) -> Result<B256, StoreError> {
        // The interpreter asks for the last 256 heights only.
        Ok(self.parent().block_hash(height)?.unwrap_or_default())
    }
}

/// Takes over what one transaction changed.
pub(crate) fn commit(overlay: &mut Overlay, changes: EvmState) -> Result<(), StoreError> {
    for (address, changed) in changes {
        if !changed.is_touched() {
            continue;
        }
        // Since Cancun only an account created in the same transaction is destroyed (EIP-6780);
        // anything else that self-destructs merely sends its balance away.
        if changed.is_selfdestructed() {
            overlay.destroy(address)?;
            continue;
        }
        if changed.is_created() {
            overlay.clear_storage(address)?;
        }
        let info = &changed.info;
        let known_code = overlay.account(address)?.unwrap_or_default().code_hash;
        let code_hash = match &info.code {
            Some(code) if info.code_hash != known_code => overlay.set_code(code.original_bytes()),
            _ => info.code_hash,
        };
        overlay.set_account(
            address,
            Account { nonce: info.nonce, balance: info.balance, code_hash },
        )?;
        for (slot, value) in &changed.storage {
            if value.is_changed() {
                overlay.set_storage(address, *slot, value.present_value)?;
            }
        }
    }
    Ok(())
}
