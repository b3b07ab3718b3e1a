//! Memory of several versions must be keyed by the whole location.

use alloy_primitives::{Address, Bytes, TxKind, U256, hex};

use super::Engines;
use crate::replay::{Fork, MemoryState, ReplayBlock, ReplayTransaction};
use crate::state::Account;

/// `slot₀ ← slot₁ + n` for two slots and a number in the input.
const COPY: &[u8] = &hex!("602035 54 604035 01 600035 55 00");

/// A third limb that makes a widely used hash of the slot forget all others.
const LIMB: u64 = 0x1319_8a2e_0370_7344;

/// In an engine that keys its memory by 64 bits of that hash alone, slots of one contract with this limb are one
/// slot: a transaction reads 5 where there is nothing, and pays other gas.
#[test]
fn slots_with_one_hash_are_different_slots() {
    let contract = Address::repeat_byte(0xc0);
    // Limbs in either order.
    for limbs in [|a, b, c| [a, b, LIMB, c], |a, b, c| [a, LIMB, b, c]] {
        let slot = |number: u64| U256::from_limbs(limbs(number, 7 * number, number * number));
        let mut state = MemoryState::new();
        state.set_contract(contract, U256::ZERO, 1, Bytes::from_static(COPY));
        let mut block = ReplayBlock::empty(Fork::Osaka);
        for index in 0..32u64 {
            let sender = Address::left_padding_from(&(1_000 + index).to_be_bytes());
            let balance = U256::from(10u64.pow(18));
            state.set_account(sender, Account { balance, ..Account::default() });
            // Even ones write a slot of their own; odd ones read one that nobody writes.
            let (to, from, add) = match index % 2 {
                0 => (slot(index + 1), slot(1_000 + index), 5),
                _ => (slot(index + 1), slot(2_000 + index), 1),
            };
            let input = [to, from, U256::from(add)].map(|word| word.to_be_bytes::<32>()).concat();
            block.transactions.push(ReplayTransaction {
                input: input.into(),
                ..ReplayTransaction::legacy(sender, 0, TxKind::Call(contract), 100_000)
            });
        }
        let engines = Engines::new();
        for _ in 0..5 {
            let outcome = engines.agree("slots", &block, &state);
            let storage = &outcome.diff.accounts[&contract].storage;
            assert_eq!(storage.len(), 32);
            for index in 0..32u64 {
                let expected = if index % 2 == 0 { 5 } else { 1 };
                assert_eq!(storage[&slot(index + 1)], U256::from(expected));
            }
            let gas: Vec<_> = outcome.receipts.iter().map(|receipt| receipt.gas_used).collect();
            assert!(gas.iter().all(|used| used.abs_diff(gas[0]) < 200), "{gas:?}");
        }
    }
}
