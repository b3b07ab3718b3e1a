//! Blocks of one kind of transaction each, for benchmarks and tests, with the contracts of this repository.
//!
//! | workload | what every transaction does |
//! |---|---|
//! | `transfers` | pays another account that is there already; senders differ |
//! | `erc20` | moves tokens between two holders of its own, all of one token |
//! | `erc20_hot` | the same between any two of fifty holders |
//! | `swaps` | through a router: takes tokens of its sender and swaps them in a pool of its own |
//! | `swap_one_pool` | the same in one pool for all |
//! | `mainnet-<number>` | is a block of Ethereum's mainnet, if the fixtures are there |

use std::collections::HashMap;
use std::sync::Arc;

use alloy_consensus::TxType;
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::SolCall;

use super::fixtures::{self, LocalDisk};
use crate::contracts::{IExchange, IToken, exchange_creation_code, token_creation_code};
use crate::replay::folder::BlockFolder;
use crate::replay::{Engine, Fork, MemoryState, ReplayBlock, ReplayTransaction, replay};
use crate::state::{Account, StateView};

/// Names of the constructed workloads.
pub const CONSTRUCTED: [&str; 5] = ["transfers", "erc20", "erc20_hot", "swaps", "swap_one_pool"];

/// Wei that every account begins with.
const ENDOWMENT_WEI: u128 = 10u128.pow(21);

/// Holders of the hot token.
const HOT_HOLDERS: usize = 50;

/// Makes calls in turn: for each, 20 bytes of the target, 2 bytes of the length of the input, the input. What
/// fails, fails as a whole.
///
/// ```text
/// 00 PUSH0                                                   [at]
/// 01 JUMPDEST DUP1 CALLDATASIZE GT PUSH1 0a JUMPI STOP STOP
/// 0a JUMPDEST DUP1 CALLDATALOAD PUSH1 60 SHR                 [at target]
/// 10 DUP2 PUSH1 14 ADD CALLDATALOAD PUSH1 f0 SHR             [at target length]
/// 18 DUP1 DUP4 PUSH1 16 ADD PUSH0 CALLDATACOPY
/// 1f PUSH0 PUSH0 DUP3 PUSH0 PUSH0 DUP7 GAS CALL PUSH1 2e JUMPI PUSH0 PUSH0 REVERT STOP
/// 2e JUMPDEST SWAP1 POP ADD PUSH1 16 ADD PUSH1 01 JUMP
/// ```
pub const CALLER_CODE: [u8; 56] = alloy_primitives::hex!(
    "5f5b803611600a5700005b803560601c81601401 3560f01c8083601601 5f375f5f825f5f865af1602e575f5ffd00"
    "5b905001601601600156"
);

/// A block and the state it runs on.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called in benchmarks.
    pub name: String,
    /// The block.
    pub block: ReplayBlock,
    /// The state before it.
    pub state: MemoryState,
}

impl Workload {
    /// The workload of this name in the size that is measured; nothing if there is none, or its fixture is
    /// missing.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "transfers" => Self::transfers(10_000),
            "erc20" => Self::erc20(5_000),
            "erc20_hot" => Self::erc20_hot(5_000),
            "swaps" => Self::swaps(1_000),
            "swap_one_pool" => Self::swap_one_pool(1_000),
            _ => Self::mainnet(name.strip_prefix("mainnet-")?.parse().ok()?)?,
        })
    }

    /// Payments between existing accounts.
    pub fn transfers(count: usize) -> Self {
        let mut world = World::new();
        let mut block = world.block();
        for index in 0..count {
            let target = account(0, pick(index, count));
            world.endow(account(0, index));
            let tx = world.call(account(0, index), target, Bytes::new(), 21_000);
            block.transactions.push(ReplayTransaction { value_wei: U256::from(1_000), ..tx });
        }
        world.finish("transfers", block)
    }

    /// Token transfers between disjoint pairs of holders.
    pub fn erc20(count: usize) -> Self {
        let mut world = World::new();
        let holders: Vec<_> = (0..2 * count).map(|index| account(0, index)).collect();
        let token = world.token(&holders);
        let mut block = world.block();
        for (from, to) in holders.iter().zip(&holders[count..]) {
            let call = IToken::transferCall { to: *to, amount: U256::from(7) };
            block.transactions.push(world.call(*from, token, call.abi_encode().into(), 100_000));
        }
        world.finish("erc20", block)
    }

    /// Token transfers between a few holders.
    pub fn erc20_hot(count: usize) -> Self {
        let mut world = World::new();
        let holders: Vec<_> = (0..HOT_HOLDERS).map(|index| account(0, index)).collect();
        let token = world.token(&holders);
        let mut block = world.block();
        for index in 0..count {
            let from = holders[index % HOT_HOLDERS];
            let to = holders[pick(index, HOT_HOLDERS)];
            let call = IToken::transferCall { to, amount: U256::from(7) };
            block.transactions.push(world.call(from, token, call.abi_encode().into(), 100_000));
        }
        world.finish("erc20_hot", block)
    }

    /// Swaps in a pool for each.
    pub fn swaps(count: usize) -> Self {
        Self::swap("swaps", count, count)
    }

    /// Swaps in one pool.
    pub fn swap_one_pool(count: usize) -> Self {
        Self::swap("swap_one_pool", count, 1)
    }

    fn swap(name: &str, count: usize, pools: usize) -> Self {
        let mut world = World::new();
        let router = world.caller(account(1, 0));
        let traders: Vec<_> = (0..count).map(|index| account(0, index)).collect();
        let pools: Vec<_> = (0..pools)
            .map(|pool| {
                let own: Vec<_> = traders.iter().skip(pool).step_by(pools).copied().collect();
                world.pool(&own, router)
            })
            .collect();
        let mut block = world.block();
        for (index, trader) in traders.iter().enumerate() {
            let (token, exchange) = pools[index % pools.len()];
            let amount = U256::from(1_000_000 + index);
            let take = IToken::transferFromCall { from: *trader, to: router, amount };
            let swap = IExchange::swapCall {
                tokenIn: token,
                amountIn: amount,
                minAmountOut: U256::ZERO,
                to: *trader,
            };
            let input = calls(&[(token, take.abi_encode()), (exchange, swap.abi_encode())]);
            block.transactions.push(world.call(*trader, router, input, 300_000));
        }
        world.finish(name, block)
    }

    /// A block of mainnet from the fixtures.
    pub fn mainnet(number: u64) -> Option<Self> {
        let folder = fixtures::mainnet_blocks()?;
        let folder = BlockFolder::open(&folder, &LocalDisk).expect("a folder of blocks");
        let found = folder.load(number).expect("a whole block")?;
        let name = format!("mainnet-{number}");
        Some(Self { name, block: found.block, state: found.pre_state })
    }
}

/// Numbers of the mainnet blocks among the fixtures.
pub fn mainnet_numbers() -> Vec<u64> {
    let folder = fixtures::mainnet_blocks();
    folder.map_or_else(Vec::new, |folder| {
        BlockFolder::open(&folder, &LocalDisk).expect("a folder of blocks").numbers().collect()
    })
}

/// The input of a [`CALLER_CODE`] contract.
pub fn calls(calls: &[(Address, Vec<u8>)]) -> Bytes {
    let mut input = Vec::new();
    for (target, call) in calls {
        input.extend_from_slice(target.as_slice());
        input.extend_from_slice(&u16::try_from(call.len()).expect("short").to_be_bytes());
        input.extend_from_slice(call);
    }
    input.into()
}

/// An address of some group.
pub fn account(group: u8, index: usize) -> Address {
    let mut preimage = [group; 9];
    preimage[..8].copy_from_slice(&(index as u64).to_be_bytes());
    Address::from_word(keccak256(preimage))
}

/// Some number below `limit`, always the same for the same index.
fn pick(index: usize, limit: usize) -> usize {
    let hash = keccak256((index as u64).to_be_bytes());
    u64::from_be_bytes(std::array::from_fn(|at| hash[at])) as usize % limit
}

/// A state in the making, by transactions.
struct World {
    state: MemoryState,
    nonces: HashMap<Address, u64>,
    waiting: Vec<ReplayTransaction>,
    engine: Engine,
    pools: usize,
}

impl World {
    fn new() -> Self {
        Self {
            state: MemoryState::new(),
            nonces: HashMap::new(),
            waiting: Vec::new(),
            engine: Engine::sequential(),
            pools: 0,
        }
    }

    /// A block with room for anything.
    fn block(&self) -> ReplayBlock {
        ReplayBlock {
            beneficiary: account(2, 0),
            gas_limit: u64::MAX / 2,
            base_fee_wei: 7,
            excess_blob_gas: Some(0),
            ..ReplayBlock::empty(Fork::Osaka)
        }
    }

    fn endow(&mut self, address: Address) {
        let balance = U256::from(ENDOWMENT_WEI);
        if self.state.account(address).is_ok_and(|account| account.is_none()) {
            self.state.set_account(address, Account { balance, ..Account::default() });
        }
    }

    fn transaction(&mut self, sender: Address, to: TxKind, gas_limit: u64) -> ReplayTransaction {
        let nonce = self.nonces.entry(sender).or_default();
        let transaction = ReplayTransaction {
            tx_type: TxType::Eip1559,
            chain_id: Some(1),
            max_fee_per_gas_wei: 1_000,
            max_priority_fee_per_gas_wei: Some(3),
            ..ReplayTransaction::legacy(sender, *nonce, to, gas_limit)
        };
        *nonce += 1;
        transaction
    }

    fn call(
        &mut self,
        sender: Address,
        to: Address,
        input: Bytes,
        gas_limit: u64,
    ) -> ReplayTransaction {
        let transaction = self.transaction(sender, TxKind::Call(to), gas_limit);
        ReplayTransaction { input, ..transaction }
    }

    /// Has a call made before the workload begins.
    fn prepare(&mut self, sender: Address, to: Address, call: impl SolCall) {
        self.endow(sender);
        let transaction = self.call(sender, to, call.abi_encode().into(), 1_000_000);
        self.waiting.push(transaction);
    }

    fn deploy(&mut self, deployer: Address, input: Bytes) -> Address {
        self.endow(deployer);
        let transaction = self.transaction(deployer, TxKind::Create, 5_000_000);
        let address = deployer.create(transaction.nonce);
        self.waiting.push(ReplayTransaction { input, ..transaction });
        address
    }

    fn caller(&mut self, address: Address) -> Address {
        self.state.set_contract(address, U256::ZERO, 1, Bytes::from_static(&CALLER_CODE));
        address
    }

    /// A token of which all of these have some.
    fn token(&mut self, holders: &[Address]) -> Address {
        let deployer = account(3, self.pools);
        self.pools += 1;
        let supply = U256::from(10u128.pow(30));
        let token = self.deploy(deployer, token_creation_code("Token", "T", supply));
        for to in holders {
            self.endow(*to);
            let amount = U256::from(10u128.pow(18));
            self.prepare(deployer, token, IToken::transferCall { to: *to, amount });
        }
        token
    }

    /// A pool between two tokens of its own; these have the first of them, and let the router take it.
    fn pool(&mut self, traders: &[Address], router: Address) -> (Address, Address) {
        let (provider, all) = (account(4, self.pools), U256::MAX);
        let tokens = [self.token(traders), self.token(&[])];
        let exchange = self.deploy(provider, exchange_creation_code(tokens[0], tokens[1]));
        let amount = U256::from(10u128.pow(24));
        for (token, deployer) in tokens.into_iter().zip([self.pools - 2, self.pools - 1]) {
            self.prepare(
                account(3, deployer),
                token,
                IToken::transferCall { to: provider, amount },
            );
            self.prepare(provider, token, IToken::approveCall { spender: exchange, amount: all });
        }
        let liquidity = IExchange::addLiquidityCall { amount0: amount, amount1: amount };
        self.prepare(provider, exchange, liquidity);
        for trader in traders {
            let approve = IToken::approveCall { spender: router, amount: all };
            self.prepare(*trader, tokens[0], approve);
        }
        let approve = IToken::approveCall { spender: exchange, amount: all };
        let input = calls(&[(tokens[0], approve.abi_encode())]);
        let approve = self.call(provider, router, input, 1_000_000);
        self.waiting.push(approve);
        (tokens[0], exchange)
    }

    /// Runs what was to be prepared.
    ///
    /// # Panics
    ///
    /// If any of it fails.
    fn finish(mut self, name: &str, mut block: ReplayBlock) -> Workload {
        let transactions = std::mem::take(&mut self.waiting);
        let count = transactions.len();
        let setup = ReplayBlock { transactions, ..self.block() };
        let view: Arc<dyn StateView> = Arc::new(self.state.clone());
        let outcome = replay(&setup, &view, &self.engine).expect("a whole state");
        assert_eq!((outcome.skipped.as_slice(), outcome.receipts.len()), (&[][..], count));
        assert!(outcome.receipts.iter().all(|receipt| receipt.success), "the preparation failed");
        self.state.apply(&outcome.diff);
        block.number += 1;
        block.timestamp_s += 1;
        Workload { name: name.to_owned(), block, state: self.state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transaction_of_a_workload_succeeds() {
        for (workload, gas) in [
            (Workload::transfers(50), 21_000..=21_000),
            (Workload::erc20(50), 30_000..=40_000),
            (Workload::erc20_hot(60), 26_000..=40_000),
            (Workload::swaps(50), 95_000..=125_000),
            (Workload::swap_one_pool(50), 75_000..=125_000),
        ] {
            let view: Arc<dyn StateView> = Arc::new(workload.state);
            let outcome = replay(&workload.block, &view, &Engine::sequential()).unwrap();
            assert_eq!(outcome.skipped, []);
            for receipt in &outcome.receipts {
                assert!(receipt.success, "{}", workload.name);
                assert!(gas.contains(&receipt.gas_used), "{}: {}", workload.name, receipt.gas_used);
            }
            for threads in [1, 2, 4] {
                let forced = replay(&workload.block, &view, &Engine::forced(threads, 1)).unwrap();
                assert_eq!(forced.first_difference(&outcome), None, "{}", workload.name);
            }
        }
    }
}
