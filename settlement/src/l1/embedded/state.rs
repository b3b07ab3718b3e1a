//! Accounts, code and storage at the head, with what is needed to go back.
//!
//! Only the newest state is kept whole. Every block leaves an [`Undo`]: what each account and slot
//! that it touched held before. A reorg applies undos from the newest down; a call at an older block
//! reads through them.

use std::collections::BTreeMap;

use alloy_primitives::{
    Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256,
    map::{AddressMap, B256Map, U256Map},
};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use revm::{
    Database,
    bytecode::Bytecode,
    state::{AccountInfo, EvmState},
};
use std::convert::Infallible;

/// What an account is without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(super) struct Info {
    pub(super) nonce: u64,
    pub(super) balance: U256,
    pub(super) code_hash: B256,
}

impl Default for Info {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) info: Info,
    pub(super) storage: U256Map<U256>,
}

/// What one account held before a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AccountUndo {
    /// `None` if there was no such account.
    pub(super) info: Option<Info>,
    pub(super) storage: BTreeMap<U256, U256>,
}

/// What a block overwrote.
pub(super) type Undo = BTreeMap<Address, AccountUndo>;

/// The newest state.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) accounts: AddressMap<Account>,
    /// By hash. Code stays when a reorg takes its account away: it may come back.
    pub(super) codes: B256Map<Bytecode>,
}

impl State {
    pub(super) fn info(&self, address: Address) -> Option<Info> {
        self.accounts.get(&address).map(|account| account.info)
    }

    fn slot(&self, address: Address, slot: U256) -> U256 {
        let account = self.accounts.get(&address);
        account.and_then(|account| account.storage.get(&slot)).copied().unwrap_or_default()
    }

    /// Takes over what a transaction changed, noting in `undo` what was there before. The digest of the
    /// changes goes into the header, so that blocks with different results have different hashes.
    pub(super) fn commit(&mut self, changes: EvmState, undo: &mut Undo, digest: &mut Vec<u8>) {
        let mut changes: Vec<_> =
            changes.into_iter().filter(|(_, account)| account.is_touched()).collect();
        changes.sort_unstable_by_key(|(address, _)| *address);
        for (address, changed) in changes {
            let note = undo.entry(address).or_insert_with(|| AccountUndo {
                info: self.accounts.get(&address).map(|account| account.info),
                storage: BTreeMap::new(),
            });
            digest.extend_from_slice(address.as_slice());
            // A destroyed account goes with its storage, and so does one that is left empty
            // (EIP-161). A created one begins without any.
            let gone = changed.is_selfdestructed() || changed.is_empty();
            if (gone || changed.is_created())
                && let Some(account) = self.accounts.get_mut(&address)
            {
                for (slot, value) in account.storage.drain() {
                    note.storage.entry(slot).or_insert(value);
                }
            }
            if gone {
                self.accounts.remove(&address);
                digest.push(0);
                continue;
            }
            if let Some(code) = changed.info.code.filter(|code| !code.is_empty()) {
                self.codes.entry(changed.info.code_hash).or_insert(code);
            }
            let account = self.accounts.entry(address).or_default();
            account.info = Info {
                nonce: changed.info.nonce,
                balance: changed.info.balance,
                code_hash: changed.info.code_hash,
            };
            digest.push(1);
            digest.extend_from_slice(&changed.info.nonce.to_be_bytes());
            digest.extend_from_slice(&changed.info.balance.to_be_bytes::<32>());
            digest.extend_from_slice(changed.info.code_hash.as_slice());
            let mut slots: Vec<_> =
                changed.storage.into_iter().filter(|(_, slot)| slot.is_changed()).collect();
            slots.sort_unstable_by_key(|(slot, _)| *slot);
            for (slot, value) in slots {
                let before = account.storage.get(&slot).copied().unwrap_or_default();
                note.storage.entry(slot).or_insert(before);
                set(&mut account.storage, slot, value.present_value);
                digest.extend_from_slice(&slot.to_be_bytes::<32>());
                digest.extend_from_slice(&value.present_value.to_be_bytes::<32>());
            }
        }
    }

    /// Goes back to the state before the block that left `undo`.
    pub(super) fn roll_back(&mut self, undo: Undo) {
        for (address, before) in undo {
            match before.info {
                None => {
                    self.accounts.remove(&address);
                }
                Some(info) => {
                    let account = self.accounts.entry(address).or_default();
                    account.info = info;
                    for (slot, value) in before.storage {
                        set(&mut account.storage, slot, value);
                    }
                }
            }
        }
    }

    /// Puts an account with a balance in.
    pub(super) fn fund(&mut self, address: Address, balance: U256) {
        self.accounts.entry(address).or_default().info.balance = balance;
    }

    /// Puts code in, under its hash.
    pub(super) fn put_code(&mut self, code: Bytes) {
        // Delegations (EIP-7702) begin with 0xef01 and have a form of their own.
        let hash = keccak256(&code);
        let code =
            Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
        self.codes.insert(hash, code);
    }
}

fn set(storage: &mut U256Map<U256>, slot: U256, value: U256) {
    if value.is_zero() {
        storage.remove(&slot);
    } else {
        storage.insert(slot, value);
    }
}

/// The state at the head, or at an older block through the undos since.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    /// What has been overwritten since, oldest first.
    pub(super) since: Vec<&'a Undo>,
    /// Hashes of the newest blocks, by number.
    pub(super) hash_of: &'a dyn Fn(u64) -> B256,
}

impl View<'_> {
    pub(super) fn info(&self, address: Address) -> Option<Info> {
        let older = self.since.iter().find_map(|undo| undo.get(&address));
        older.map_or_else(|| self.state.info(address), |undo| undo.info)
    }

    pub(super) fn slot(&self, address: Address, slot: U256) -> U256 {
        let older = self.since.iter().find_map(|undo| {
            let undo = undo.get(&address)?;
            undo.storage.get(&slot).copied().or(undo.info.is_none().then_some(U256::ZERO))
        });
        older.unwrap_or_else(|| self.state.slot(address, slot))
    }

    pub(super) fn code(&self, address: Address) -> Bytes {
        let info = self.info(address).unwrap_or_default();
        let code = self.state.codes.get(&info.code_hash);
        code.map(Bytecode::original_bytes).unwrap_or_default()
    }
}

impl Database for View<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.info(address).map(|info| AccountInfo {
            balance: info.balance,
            nonce: info.nonce,
            code_hash: info.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.codes.get(&code_hash).cloned().unwrap_or_default())
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok((self.hash_of)(number))
    }
}
