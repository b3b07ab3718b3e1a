//! The contracts the devnet's wallets trade on, and the calls they make.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall as _;
use blindfold_execution::contracts::{IExchange, IToken};

/// One token in its smallest units: 18 decimals.
pub const TOKEN: u128 = 1_000_000_000_000_000_000;

/// First four bytes of the exchange's `swap`: what a bot looks for in call data.
pub const SWAP_SELECTOR: [u8; 4] = IExchange::swapCall::SELECTOR;

/// Addresses of the two tokens and the exchange between them.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    /// The exchange's token 0.
    pub token_a: Address,
    /// The exchange's token 1.
    pub token_b: Address,
    /// The constant-product exchange.
    pub exchange: Address,
}

impl Market {
    /// Where `deployer`'s first three creations will stand.
    pub fn of_deployer(deployer: Address) -> Self {
        Self {
            token_a: deployer.create(0),
            token_b: deployer.create(1),
            exchange: deployer.create(2),
        }
    }

    /// Call data that sells `amount` of `token_in` at any price, the proceeds to `to`.
    pub fn sell(&self, token_in: Address, amount: U256, to: Address) -> Bytes {
        IExchange::swapCall { tokenIn: token_in, amountIn: amount, minAmountOut: U256::ZERO, to }
            .abi_encode()
            .into()
    }
}

/// Call data of ERC-20 `approve` without limit.
pub fn approve_all(spender: Address) -> Bytes {
    IToken::approveCall { spender, amount: U256::MAX }.abi_encode().into()
}

/// Call data of ERC-20 `transfer`.
pub fn transfer(to: Address, amount: U256) -> Bytes {
    IToken::transferCall { to, amount }.abi_encode().into()
}

/// Call data of ERC-20 `balanceOf`.
pub fn balance_of(owner: Address) -> Bytes {
    IToken::balanceOfCall { owner }.abi_encode().into()
}

/// Call data of `addLiquidity`.
pub fn add_liquidity(amount0: U256, amount1: U256) -> Bytes {
    IExchange::addLiquidityCall { amount0, amount1 }.abi_encode().into()
}

/// Call data of `getReserves`.
pub fn reserves() -> Bytes {
    IExchange::getReservesCall {}.abi_encode().into()
}
