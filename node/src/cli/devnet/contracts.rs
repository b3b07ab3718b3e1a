//! The contracts the devnet's wallets trade on, and the calls they make.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall as _, sol};

sol! {
    function approve(address spender, uint256 amount) external returns (bool);
    function transfer(address to, uint256 amount) external returns (bool);
    function balanceOf(address owner) external view returns (uint256);
    function addLiquidity(uint256 amount0, uint256 amount1) external returns (uint256 shares);
    function swap(address tokenIn, uint256 amountIn, uint256 minAmountOut, address to) external returns (uint256 amountOut);
    function getReserves() external view returns (uint256 reserve0, uint256 reserve1);
}

/// One token, 18 decimals.
pub const TOKEN_WEI: u128 = 1_000_000_000_000_000_000;

/// Addresses of the two tokens and the exchange between them.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    /// Token A, the exchange's token 0.
    pub token_a: Address,
    /// Token B, the exchange's token 1.
    pub token_b: Address,
    /// The constant-product exchange.
    pub exchange: Address,
}

impl Market {
    /// Where `deployer`'s first three creations will stand.
    pub fn of_deployer(deployer: Address) -> Self {
        Self { token_a: deployer.create(0), token_b: deployer.create(1), exchange: deployer.create(2) }
    }

    /// Call data that sells `amount_wei` of `token_in` at any price, the proceeds to `to`.
    pub fn sell(&self, token_in: Address, amount_wei: U256, to: Address) -> Bytes {
        swapCall { tokenIn: token_in, amountIn: amount_wei, minAmountOut: U256::ZERO, to }.abi_encode().into()
    }
}

/// Call data of ERC-20 `approve` without limit.
pub fn approve_all(spender: Address) -> Bytes {
    approveCall { spender, amount: U256::MAX }.abi_encode().into()
}

/// Call data of ERC-20 `transfer`.
pub fn transfer(to: Address, amount_wei: U256) -> Bytes {
    transferCall { to, amount: amount_wei }.abi_encode().into()
}

/// Call data of ERC-20 `balanceOf`.
pub fn balance_of(owner: Address) -> Bytes {
    balanceOfCall { owner }.abi_encode().into()
}

/// Call data of `addLiquidity`.
pub fn add_liquidity(amount0_wei: U256, amount1_wei: U256) -> Bytes {
    addLiquidityCall { amount0: amount0_wei, amount1: amount1_wei }.abi_encode().into()
}

/// Call data of `getReserves`.
pub fn reserves() -> Bytes {
    getReservesCall {}.abi_encode().into()
}

/// First four bytes of the exchange's `swap`: what a bot looks for in call data.
pub const SWAP_SELECTOR: [u8; 4] = swapCall::SELECTOR;
