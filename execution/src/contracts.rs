//! The contracts of this repository: code and typed calls.
//!
//! Sources and compiler output lie in `contracts/` beside this crate; `contracts/build.cjs` says
//! how to rebuild them. The escrow is part of the protocol and placed at genesis. The token and
//! the exchange are ordinary contracts that development networks deploy.

use alloy_primitives::{Bytes, hex};
use alloy_sol_types::{SolValue, sol};

/// Decodes compiler output at compile time, so that a damaged file cannot build.
macro_rules! code {
    ($path:literal) => {{
        const HEX: &[u8] = include_bytes!(concat!("../contracts/out/", $path));
        const CODE: [u8; HEX.len() / 2] = match hex::const_decode_to_array(HEX) {
            Ok(code) => code,
            Err(_) => panic!("compiler output is not hexadecimal"),
        };
        Bytes::from_static(&CODE)
    }};
}

sol! {
    /// Calls and events of the escrow predeploy.
    #[derive(Debug, PartialEq, Eq)]
    interface IEscrow {
        event Deposited(address indexed payer, address indexed from, uint256 amountWei);
        event WithdrawalRequested(address indexed payer, uint256 amountWei, uint256 unlockHeight);
        event Withdrawn(address indexed payer, address indexed to, uint256 amountWei);
        error InsufficientBalance(uint256 availableWei, uint256 requestedWei);
        error NothingToWithdraw();
        error StillLocked(uint256 unlockHeight);
        error TransferFailed();
        function deposit(address payer) external payable;
        function requestWithdrawal(uint256 amountWei) external;
        function withdraw(address to) external;
        function balanceOf(address payer) external view returns (uint256);
        function nonceOf(address payer) external view returns (uint256);
        function pendingOf(address payer) external view returns (uint256 amountWei, uint256 unlockHeight);
        function parameters() external view returns (uint256 withdrawDelay, bytes32 genesis);
    }

    /// Calls and events of the outbox predeploy.
    #[derive(Debug, PartialEq, Eq)]
    interface IOutbox {
        event Recorded(uint256 indexed index, address indexed sender, address indexed to, uint256 amountWei);
        error NothingSent();
        function withdraw(address to) external payable returns (uint256 index);
        function isRecorded(bytes32 withdrawalHash) external view returns (bool);
        function count() external view returns (uint256);
    }

    /// Calls and events of the token.
    #[derive(Debug, PartialEq, Eq)]
    interface IToken {
        event Transfer(address indexed from, address indexed to, uint256 amount);
        event Approval(address indexed owner, address indexed spender, uint256 amount);
        error InsufficientBalance(uint256 available, uint256 required);
        error InsufficientAllowance(uint256 available, uint256 required);
        function name() external view returns (string);
        function symbol() external view returns (string);
        function decimals() external view returns (uint8);
        function totalSupply() external view returns (uint256);
        function balanceOf(address owner) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
        function transfer(address to, uint256 amount) external returns (bool);
        function transferFrom(address from, address to, uint256 amount) external returns (bool);
    }

    /// Calls and events of the exchange.
    #[derive(Debug, PartialEq, Eq)]
    interface IExchange {
        event LiquidityAdded(address indexed provider, uint256 amount0, uint256 amount1, uint256 shares);
        event LiquidityRemoved(address indexed provider, uint256 amount0, uint256 amount1, uint256 shares);
        event Swap(address indexed sender, address indexed tokenIn, uint256 amountIn, uint256 amountOut, address indexed to);
        error SameToken();
        error UnknownToken();
        error NoLiquidity();
        error InsufficientOutput(uint256 amountOut, uint256 minAmountOut);
        error InsufficientShares();
        error TransferFailed();
        function token0() external view returns (address);
        function token1() external view returns (address);
        function totalShares() external view returns (uint256);
        function sharesOf(address provider) external view returns (uint256);
        function getReserves() external view returns (uint256 reserve0, uint256 reserve1);
        function quote(address tokenIn, uint256 amountIn) external view returns (uint256 amountOut);
        function addLiquidity(uint256 amount0, uint256 amount1) external returns (uint256 shares);
        function removeLiquidity(uint256 shares) external returns (uint256 amount0, uint256 amount1);
        function swap(address tokenIn, uint256 amountIn, uint256 minAmountOut, address to) external returns (uint256 amountOut);
    }
}

/// Runtime code of the escrow predeploy.
#[must_use]
pub fn escrow_runtime_code() -> Bytes {
    code!("Escrow.runtime.hex")
}

/// Runtime code of the outbox predeploy.
#[must_use]
pub fn outbox_runtime_code() -> Bytes {
    code!("Outbox.runtime.hex")
}

/// Creation code of a token whose whole `supply`, in units of 10^-18, goes to its deployer.
#[must_use]
pub fn token_creation_code(name: &str, symbol: &str, supply: alloy_primitives::U256) -> Bytes {
    let mut code = code!("Token.creation.hex").to_vec();
    code.extend((name.to_owned(), symbol.to_owned(), supply).abi_encode_params());
    code.into()
}

/// Creation code of an exchange between two tokens.
#[must_use]
pub fn exchange_creation_code(
    token0: alloy_primitives::Address,
    token1: alloy_primitives::Address,
) -> Bytes {
    let mut code = code!("Exchange.creation.hex").to_vec();
    code.extend((token0, token1).abi_encode_params());
    code.into()
}

/// Interface of the escrow, JSON.
pub const ESCROW_ABI: &str = include_str!("../contracts/out/Escrow.abi.json");
/// Interface of the outbox, JSON.
pub const OUTBOX_ABI: &str = include_str!("../contracts/out/Outbox.abi.json");
/// Interface of the token, JSON.
pub const TOKEN_ABI: &str = include_str!("../contracts/out/Token.abi.json");
/// Interface of the exchange, JSON.
pub const EXCHANGE_ABI: &str = include_str!("../contracts/out/Exchange.abi.json");
