//! Random blocks, and everything that can be wrong with their witnesses and access lists.

use std::num::NonZeroUsize;

use alloy_consensus::{SignableTransaction, TxEip7702, TxEnvelope};
use alloy_eip7928::{AccountChanges, BalanceChange, BlockAccessIndex};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_sol_types::SolCall;
use blindfold_wire::{ForcedKind, GenesisAccount, OpenedBatch, Opening};
use proptest::prelude::*;

use super::witness_of;
use crate::bal::{BalExecutor, BlockAccessList, HintUse};
use crate::contracts::IEscrow;
use crate::escrow::ESCROW_ADDRESS;
use crate::tests::harness::*;
use crate::witness::{
    ClaimedBlock, ExecutionWitness, ReplayError, WitnessFault, WitnessState, execute_on,
};
use crate::{BlockContext, ExecutedBlock, ExecutionParent};

/// Writes the second word of its input to the slot that the first names. Full of slots from the start.
pub(super) const STORE: Address = Address::repeat_byte(0xc1);
/// Writes the hash of the block so many back as its input says.
const HASHES: Address = Address::repeat_byte(0xc2);
/// Creates, with CREATE2, a contract that writes a slot and destroys itself.
const FLEETING: Address = Address::repeat_byte(0xc3);

/// Something that an envelope holds.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Wei to one of a few accounts that do not exist at first, or to a sender.
    Pay(u8, u64),
    Deposit(u8),
    Withdrawal,
    /// Sets a slot, or clears it.
    Store(u8, u8),
    Create(u8),
    Fleeting,
    Hash(u8),
    /// The sender delegates to [`STORE`], or to nothing.
    Delegate(bool),
    /// To the sender itself, which may be delegated.
    CallSelf(u8, u8),
    Stale,
    Garbage,
    Undecryptable,
    /// As [`Op::Store`], forced through L1.
    ForcedStore(u8, u8),
    /// A deposit to a balance, or to an escrow.
    ForcedDeposit(u8, bool),
    /// A poster is repaid, so many gwei.
    Reimbursement(u64),
    /// A forced item of this kind that is none.
    Rubbish(u8),
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<u8>(), 0u64..2_000).prop_map(|(to, ether)| Op::Pay(to % 6, ether)),
        1 => (1u8..=4).prop_map(Op::Deposit),
        1 => Just(Op::Withdrawal),
        5 => (0u8..24, 0u8..3).prop_map(|(slot, value)| Op::Store(slot, value)),
        1 => any::<u8>().prop_map(Op::Create),
        1 => Just(Op::Fleeting),
        1 => (0u8..4).prop_map(Op::Hash),
        1 => any::<bool>().prop_map(Op::Delegate),
        1 => (0u8..4, 0u8..3).prop_map(|(slot, value)| Op::CallSelf(slot, value)),
        1 => Just(Op::Stale),
        1 => Just(Op::Garbage),
        1 => Just(Op::Undecryptable),
        1 => (0u8..24, 0u8..3).prop_map(|(slot, value)| Op::ForcedStore(slot, value)),
        1 => (1u8..=6, any::<bool>()).prop_map(|(to, escrow)| Op::ForcedDeposit(to, escrow)),
        1 => (0u64..100_000).prop_map(Op::Reimbursement),
        1 => (0u8..7).prop_map(Op::Rubbish),
    ]
}

pub(super) fn net() -> Net {
    let mut net = Net::with(|genesis| {
        // The envelope's leader is whoever signs the commitment; its fees go where the harness looks.
        genesis.committee.members[0].fee_address = BENEFICIARY;
        let mut contract = |address, code: &[u8]| {
            genesis.alloc.push(GenesisAccount {
                address,
                balance: U256::ZERO,
                nonce: 1,
                code: Bytes::copy_from_slice(code),
                storage: (0u8..16)
                    .map(|slot| (B256::with_last_byte(slot), B256::with_last_byte(9)))
                    .collect(),
            });
        };
        // SSTORE(calldata[0], calldata[32])
        contract(STORE, &hex!("6020355f355500"));
        // SSTORE(0, BLOCKHASH(number - calldata[0]))
        contract(HASHES, &hex!("5f35430340 5f55 00"));
        // MSTORE(0, 600760015533ff) CREATE2(0, 25, 7, 0): SSTORE(1, 7) SELFDESTRUCT(caller)
        contract(FLEETING, &hex!("66600760015533ff5f525f600760195ff500"));
    });
    // Posting is dearer than what bytes cost without it.
    net.l1_base_fee = 4 * GWEI as u64;
    net
}

fn words(words: [u64; 2]) -> Vec<u8> {
    words.iter().flat_map(|word| U256::from(*word).to_be_bytes::<32>()).collect()
}

/// Puts a forced operation into the queue. False if it is none.
fn force(net: &mut Net, who: u8, op: &Op, nonces: &mut [u64; 5]) -> bool {
    use alloy_eips::eip2718::Encodable2718;
    match op {
        Op::ForcedStore(slot, value) => {
            let nonce = &mut nonces[usize::from(who)];
            let data = words([u64::from(*slot), u64::from(*value)]);
            let tx = Tx::new(net, *nonce, STORE).data(data).sign(&key(who));
            *nonce += 1;
            net.force(ForcedKind::Plain as u8, tx.encoded_2718());
        }
        Op::ForcedDeposit(to, escrow) => {
            let kind = if *escrow { ForcedKind::EscrowDeposit } else { ForcedKind::Deposit };
            net.credit(kind, key(*to).address(), ETHER);
        }
        Op::Reimbursement(gwei) => {
            let wei = U256::from(*gwei) * U256::from(GWEI);
            net.credit(ForcedKind::Reimbursement, SINK, wei);
        }
        Op::Rubbish(kind) => net.force(*kind, vec![*kind; 9]),
        _ => return false,
    }
    true
}

/// Seals an operation of the sender with this key; `nonces` are the senders' next ones.
fn seal(net: &mut Net, who: u8, op: &Op, nonces: &mut [u64; 5]) -> Item {
    let nonce = &mut nonces[usize::from(who)];
    let used = *nonce;
    *nonce += 1;
    let call = |to: Address, data: Vec<u8>| Tx::new(net, used, to).data(data);
    let tx = match op {
        Op::Pay(to, ether) => {
            let to = match to {
                0 => key(1).address(),
                1 => BENEFICIARY,
                to => Address::repeat_byte(*to),
            };
            call(to, Vec::new()).value(ETHER * U256::from(*ether))
        }
        Op::Deposit(payer) => {
            let deposit = IEscrow::depositCall { payer: key(*payer).address() };
            call(ESCROW_ADDRESS, deposit.abi_encode()).value(ETHER)
        }
        Op::Withdrawal => {
            let request = IEscrow::requestWithdrawalCall { amountWei: U256::from(1_000) };
            call(ESCROW_ADDRESS, request.abi_encode())
        }
        Op::Store(slot, value) => call(STORE, words([u64::from(*slot), u64::from(*value)])),
        Op::Create(value) => {
            // SSTORE(0, value), and a byte of code.
            let init = [&[0x60, *value][..], &hex!("5f555f5f5360015ff3")].concat();
            Tx::new(net, used, TxKind::Create).data(init)
        }
        Op::Fleeting => call(FLEETING, Vec::new()),
        Op::Hash(back) => call(HASHES, words([u64::from(*back), 0])),
        Op::Delegate(on) => return seal_delegation(net, who, used, *on, nonce),
        Op::CallSelf(slot, value) => {
            call(key(who).address(), words([u64::from(*slot), u64::from(*value)]))
        }
        Op::Stale => {
            *nonce -= 1;
            Tx::new(net, used + 7, SINK)
        }
        Op::Garbage => {
            *nonce -= 1;
            return net.seal(who, 40_000, b"no transaction");
        }
        // Those that are forced are in the queue.
        _ => {
            *nonce -= 1;
            let mut item = net.seal(who, 40_000, b"lost");
            item.opening = Opening::Undecryptable { secret: [1; 48] };
            return item;
        }
    };
    let tx = tx.sign(&key(who));
    net.seal_tx(who, &tx)
}

fn seal_delegation(net: &mut Net, who: u8, used: u64, on: bool, nonce: &mut u64) -> Item {
    let owner = key(who);
    let chain_id = net.genesis().chain_id;
    let address = if on { STORE } else { Address::ZERO };
    // The transaction moves the nonce first.
    let authorization = Authorization { chain_id: U256::from(chain_id), address, nonce: used + 1 };
    let signature = sign(&owner, authorization.signature_hash());
    *nonce += 1;
    let tx = TxEip7702 {
        chain_id,
        nonce: used,
        gas_limit: 120_000,
        max_fee_per_gas: 5 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: SINK,
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let signature = sign(&owner, tx.signature_hash());
    net.seal_tx(who, &TxEnvelope::from(tx.into_signed(signature)))
}

pub(super) fn seal_all(net: &mut Net, ops: &[(u8, Op)]) -> Vec<Item> {
    let mut nonces = [0, 1, 2, 3, 4].map(|index| match index {
        0 => 0,
        index => net.nonce(key(index).address()),
    });
    // What is forced runs first, so its nonces do.
    let sealed: Vec<_> =
        ops.iter().filter(|(who, op)| !force(net, *who, op, &mut nonces)).collect();
    sealed.into_iter().map(|(who, op)| seal(net, *who, op, &mut nonces)).collect()
}

/// A block that is executed and not yet written.
struct Fresh {
    net: Net,
    batch: OpenedBatch,
    context: BlockContext,
    block: ExecutedBlock,
    witness: ExecutionWitness,
    right: ClaimedBlock,
}

impl Fresh {
    fn new(first: &[(u8, Op)], second: &[(u8, Op)]) -> Self {
        let mut net = net();
        let items = seal_all(&mut net, first);
        net.run(items);
        let items = seal_all(&mut net, second);
        let (_, block) = net.execute(&items);
        let (batch, context) = net.next_batch(&items);
        let witness = witness_of(&net, &block);
        let state = WitnessState::new(&witness).expect("canonical");
        let right = execute_on(net.genesis(), state, &batch, &context).expect("suffices");
        assert_eq!(right.header, block.record.header);
        Self { net, batch, context, block, witness, right }
    }

    fn on(&self, witness: &ExecutionWitness) -> Result<ClaimedBlock, ReplayError> {
        let state = WitnessState::new(witness).expect("canonical");
        execute_on(self.net.genesis(), state, &self.batch, &self.context)
    }

    /// Executes along a hint, which must not matter; whether it was right.
    fn along(&self, hint: &[u8]) -> bool {
        let threads = NonZeroUsize::new(2).expect("positive");
        let executor = BalExecutor::new(self.net.genesis(), threads);
        let parent = ExecutionParent::of(&self.net.state);
        let used = [executor.clone(), executor.forced()].map(|executor| {
            let (block, used) = executor
                .execute_along(&self.net.executor, &parent, &self.batch, &self.context, hint)
                .expect("a hint is no error");
            assert_eq!(block.seal(&self.net.state).expect("next"), self.block, "{used:?}");
            used
        });
        assert_eq!(used[0], used[1], "judged differently");
        used[0] == HintUse::Followed
    }
}

fn ops() -> impl Strategy<Value = Vec<(u8, Op)>> {
    prop::collection::vec((1u8..=4, op()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Every block is executed again from its witness and along its access list by the harness.
    #[test]
    fn every_mix_has_a_witness_and_an_access_list(
        heights in prop::collection::vec(ops(), 1..4),
    ) {
        let mut net = net();
        for height in heights {
            let items = seal_all(&mut net, &height);
            net.run(items);
        }
    }

    #[test]
    fn a_witness_without_anything_it_needs_is_noticed(first in ops(), second in ops()) {
        let fresh = Fresh::new(&first, &second);
        for at in 0..fresh.witness.state.len() {
            let mut less = fresh.witness.clone();
            less.state.remove(at);
            let fault = fresh.on(&less).expect_err("a node is needed");
            let lacks = matches!(fault, ReplayError::Witness(WitnessFault::LacksNode { .. }));
            prop_assert!(lacks, "{}", fault);
        }
        for at in 0..fresh.witness.codes.len() {
            let mut less = fresh.witness.clone();
            let code = less.codes.remove(at);
            match fresh.on(&less) {
                Err(ReplayError::Witness(WitnessFault::LacksCode { .. })) => {}
                Err(fault) => prop_assert!(false, "{}", fault),
                // Somebody had this code before, and somebody else is given the same in the block.
                Ok(computed) => {
                    prop_assert!(fresh.block.diff.codes.contains_key(&keccak256(code)));
                    prop_assert_eq!(&computed, &fresh.right);
                }
            }
        }
        if fresh.witness.headers.len() > 1 {
            let mut less = fresh.witness.clone();
            less.headers.remove(0);
            let fault = fresh.on(&less).expect_err("a header is needed");
            let lacks = matches!(fault, ReplayError::Witness(WitnessFault::LacksHeader { .. }));
            prop_assert!(lacks, "{}", fault);
        }
        // Without preimages it is as good.
        let less = ExecutionWitness { keys: Vec::new(), ..fresh.witness.clone() };
        prop_assert_eq!(fresh.on(&less).expect("suffices").header, fresh.right.header.clone());
    }

    #[test]
    fn a_witness_with_a_byte_changed_is_refused_or_harmless(
        first in ops(),
        second in ops(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 60),
    ) {
        let fresh = Fresh::new(&first, &second);
        let encoded = fresh.witness.encode();
        for (at, change) in flips {
            let mut bytes = encoded.clone();
            bytes[at.index(encoded.len())] ^= change;
            let Ok(witness) = ExecutionWitness::decode(&bytes) else { continue };
            prop_assert_ne!(&witness, &fresh.witness);
            let Ok(computed) = fresh.on(&witness) else { continue };
            // Another parent is another block, and says so; anything else leads to this one.
            if computed.header.parent_hash == fresh.right.header.parent_hash {
                prop_assert_eq!(&computed, &fresh.right);
            } else {
                prop_assert_ne!(&computed, &fresh.right);
            }
        }
    }

    #[test]
    fn a_wrong_access_list_changes_nothing(
        first in ops(),
        second in ops(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 12),
        which in any::<prop::sample::Index>(),
    ) {
        let fresh = Fresh::new(&first, &second);
        let list = BlockAccessList::of(&fresh.block.access);
        let encoded = list.encode();
        prop_assert!(fresh.along(&encoded));
        prop_assert!(!fresh.along(&[]));
        for (at, change) in flips {
            let mut bytes = encoded.to_vec();
            bytes[at.index(encoded.len())] ^= change;
            prop_assert!(!fresh.along(&bytes));
        }
        // A block of nothing but rubbish has an empty list.
        for change in MUTATIONS.iter().filter(|_| !list.accounts().is_empty()) {
            let mut accounts = list.accounts().to_vec();
            let at = which.index(accounts.len());
            change(&mut accounts, at);
            let indices = fresh.context.forced.items().len() + fresh.batch.items().len();
            if let Ok(mutated) = BlockAccessList::new(accounts, indices) {
                prop_assert_eq!(fresh.along(&mutated.encode()), mutated == list);
            }
        }
    }
}

/// Ways in which a list can be wrong and yet canonical.
const MUTATIONS: [fn(&mut Vec<AccountChanges>, usize); 6] = [
    |accounts, at| drop(accounts.remove(at)),
    |accounts, at| {
        accounts[at].balance_changes.retain(|change| change.block_access_index.get() != 1);
        accounts[at]
            .balance_changes
            .insert(0, BalanceChange::new(BlockAccessIndex::new(1), U256::from(77)));
    },
    |accounts, at| accounts[at].nonce_changes.iter_mut().for_each(|nonce| nonce.new_nonce += 1),
    |accounts, at| {
        let slots = accounts[at].storage_changes.iter_mut().flat_map(|slot| &mut slot.changes);
        slots.for_each(|change| change.new_value ^= U256::from(1));
    },
    |accounts, at| {
        let account = &mut accounts[at];
        account.storage_reads.push(U256::MAX);
    },
    |accounts, at| {
        for code in &mut accounts[at].code_changes {
            code.new_code = hex!("ef0100").into();
        }
    },
];
