//! revm's view of a block that is executed in order.

use alloy_primitives::{Address, B256, U256};
use revm::bytecode::Bytecode;
use revm::database_interface::{DBErrorMarker, Database};
use revm::state::{AccountInfo, EvmState};

use super::codes::CodeCache;
use crate::state::{Account, Column, Overlay, StoreError};

impl DBErrorMarker for StoreError {}

/// The overlay of a block, with the code it needs.
pub(crate) struct Reader {
    pub(crate) overlay: Overlay,
    pub(crate) codes: CodeCache,
}

impl Database for Reader {
    type Error = StoreError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.overlay.account(address)?.map(account_info))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, StoreError> {
        if let Some(code) = self.codes.get(code_hash) {
            self.overlay.note_code(code_hash);
            return Ok(code);
        }
        let code = analysed(self.overlay.code(code_hash)?)?;
        self.codes.put(code_hash, &code);
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.overlay.storage(address, slot)
    }

    fn block_hash(&mut self, height: u64) -> Result<B256, StoreError> {
        // The interpreter asks for the last 256 heights only.
        Ok(self.overlay.block_hash(height)?.unwrap_or_default())
    }
}

pub(crate) const fn account_info(account: Account) -> AccountInfo {
    AccountInfo {
        balance: account.balance,
        nonce: account.nonce,
        code_hash: account.code_hash,
        account_id: None,
        code: None,
    }
}

pub(crate) fn analysed(code: alloy_primitives::Bytes) -> Result<Bytecode, StoreError> {
    Bytecode::new_raw_checked(code)
        .map_err(|_| StoreError::damaged(Column::Code, "malformed delegation"))
}

/// Takes over what one transaction changed.
pub(crate) fn commit(overlay: &mut Overlay, changes: EvmState) -> Result<(), StoreError> {
    for (address, changed) in changes {
        let fresh = changed.is_created();
        if fresh && changed.is_touched() && !changed.is_selfdestructed() {
            overlay.clear_storage(address)?;
        }
        if fresh {
            // The EVM knows that these are zero and did not ask for them.
            for slot in changed.storage.keys() {
                overlay.note_slot(address, *slot)?;
            }
        }
        if !changed.is_touched() {
            continue;
        }
        // Since Cancun only an account created in the same transaction is destroyed (EIP-6780), and
        // anything else that self-destructs merely sends its balance away; the EVM has seen to that.
        if changed.is_selfdestructed() {
            overlay.destroy(address)?;
            continue;
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
