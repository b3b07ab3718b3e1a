// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

interface IERC20 {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// A constant-product exchange between two tokens: reserve0 * reserve1 never falls in a swap.
/// The fee of 0.3 % of the input stays in the reserves and belongs to the liquidity providers.
contract Exchange {
    uint256 public constant FEE_PER_MILLE = 3;

    address public immutable token0;
    address public immutable token1;

    uint256 private reserve0;
    uint256 private reserve1;
    uint256 public totalShares;
    mapping(address provider => uint256) public sharesOf;

    event LiquidityAdded(address indexed provider, uint256 amount0, uint256 amount1, uint256 shares);
    event LiquidityRemoved(address indexed provider, uint256 amount0, uint256 amount1, uint256 shares);
    event Swap(
        address indexed sender,
        address indexed tokenIn,
        uint256 amountIn,
        uint256 amountOut,
        address indexed to
    );

    error SameToken();
    error UnknownToken();
    error NoLiquidity();
    error InsufficientOutput(uint256 amountOut, uint256 minAmountOut);
    error InsufficientShares();
    error TransferFailed();

    constructor(address token0_, address token1_) {
        if (token0_ == token1_) revert SameToken();
        token0 = token0_;
        token1 = token1_;
    }

    function getReserves() external view returns (uint256, uint256) {
        return (reserve0, reserve1);
    }

    /// What `amountIn` of `tokenIn` would buy now.
    function quote(address tokenIn, uint256 amountIn) public view returns (uint256 amountOut) {
        (uint256 reserveIn, uint256 reserveOut) = _reserves(tokenIn);
        if (reserveIn == 0 || reserveOut == 0) revert NoLiquidity();
        uint256 amountInAfterFee = amountIn * (1000 - FEE_PER_MILLE);
        amountOut = (amountInAfterFee * reserveOut) / (reserveIn * 1000 + amountInAfterFee);
    }

    /// Adds both amounts to the reserves; shares follow the scarcer side.
    function addLiquidity(uint256 amount0, uint256 amount1) external returns (uint256 shares) {
        if (totalShares == 0) {
            shares = _sqrt(amount0 * amount1);
        } else {
            uint256 by0 = (amount0 * totalShares) / reserve0;
            uint256 by1 = (amount1 * totalShares) / reserve1;
            shares = by0 < by1 ? by0 : by1;
        }
        if (shares == 0) revert NoLiquidity();
        totalShares += shares;
        sharesOf[msg.sender] += shares;
        reserve0 += amount0;
        reserve1 += amount1;
        _pull(token0, amount0);
        _pull(token1, amount1);
        emit LiquidityAdded(msg.sender, amount0, amount1, shares);
    }

    /// Burns `shares` for their part of both reserves.
    function removeLiquidity(uint256 shares) external returns (uint256 amount0, uint256 amount1) {
        uint256 held = sharesOf[msg.sender];
        if (shares == 0 || shares > held) revert InsufficientShares();
        amount0 = (shares * reserve0) / totalShares;
        amount1 = (shares * reserve1) / totalShares;
        sharesOf[msg.sender] = held - shares;
        totalShares -= shares;
        reserve0 -= amount0;
        reserve1 -= amount1;
        _push(token0, msg.sender, amount0);
        _push(token1, msg.sender, amount1);
        emit LiquidityRemoved(msg.sender, amount0, amount1, shares);
    }

    /// Sells exactly `amountIn` of `tokenIn` for at least `minAmountOut` of the other token.
    function swap(address tokenIn, uint256 amountIn, uint256 minAmountOut, address to)
        external
        returns (uint256 amountOut)
    {
        amountOut = quote(tokenIn, amountIn);
        if (amountOut < minAmountOut || amountOut == 0) {
            revert InsufficientOutput(amountOut, minAmountOut);
        }
        if (tokenIn == token0) {
            reserve0 += amountIn;
            reserve1 -= amountOut;
            _pull(token0, amountIn);
            _push(token1, to, amountOut);
        } else {
            reserve1 += amountIn;
            reserve0 -= amountOut;
            _pull(token1, amountIn);
            _push(token0, to, amountOut);
        }
        emit Swap(msg.sender, tokenIn, amountIn, amountOut, to);
    }

    function _reserves(address tokenIn) private view returns (uint256, uint256) {
        if (tokenIn == token0) return (reserve0, reserve1);
        if (tokenIn == token1) return (reserve1, reserve0);
        revert UnknownToken();
    }

    function _pull(address token, uint256 amount) private {
        if (!IERC20(token).transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
    }

    function _push(address token, address to, uint256 amount) private {
        if (!IERC20(token).transfer(to, amount)) revert TransferFailed();
    }

    function _sqrt(uint256 x) private pure returns (uint256 y) {
        if (x == 0) return 0;
        y = x;
        uint256 z = (x + 1) / 2;
        while (z < y) {
            y = z;
            z = (x / z + z) / 2;
        }
    }
}
