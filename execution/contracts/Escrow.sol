// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Escrow predeploy: what payers set aside for the fees of their sealed transactions.
///
/// The execution engine reads and writes this contract's storage directly: before an envelope is
/// opened it takes the envelope's fee from `balance`, then from `pending`, and moves `nextNonce`
/// past the envelope. The layout below is therefore part of the protocol:
///
///   slot 0  mapping(address => Account); the account of `p` starts at keccak256(p ++ uint256(0))
///           +0 balance       wei that may pay for envelopes ordered from now on
///           +1 nextNonce     the next envelope nonce of this payer
///           +2 pending       wei on the way out; still pays for what was ordered before
///           +3 unlockHeight  first block in which `pending` may leave
///   slot 1  withdrawDelayBlocks  more than the lag between ordering and execution
///   slot 2  genesisHash          commits to every chain parameter
contract Escrow {
    struct Account {
        uint256 balance;
        uint256 nextNonce;
        uint256 pending;
        uint256 unlockHeight;
    }

    mapping(address payer => Account) private accounts;
    uint256 private withdrawDelayBlocks;
    bytes32 private genesisHash;

    event Deposited(address indexed payer, address indexed from, uint256 amountWei);
    event WithdrawalRequested(address indexed payer, uint256 amountWei, uint256 unlockHeight);
    event Withdrawn(address indexed payer, address indexed to, uint256 amountWei);

    error InsufficientBalance(uint256 availableWei, uint256 requestedWei);
    error NothingToWithdraw();
    error StillLocked(uint256 unlockHeight);
    error TransferFailed();

    receive() external payable {
        _deposit(msg.sender);
    }

    /// Adds the attached wei to the balance of `payer`. Anyone may pay for anyone.
    function deposit(address payer) external payable {
        _deposit(payer);
    }

    /// Takes `amountWei` out of the caller's balance and starts (or restarts) the delay for all
    /// that the caller has pending.
    function requestWithdrawal(uint256 amountWei) external {
        Account storage account = accounts[msg.sender];
        uint256 balance = account.balance;
        if (amountWei > balance) revert InsufficientBalance(balance, amountWei);
        uint256 unlockHeight = block.number + withdrawDelayBlocks;
        account.balance = balance - amountWei;
        account.pending += amountWei;
        account.unlockHeight = unlockHeight;
        emit WithdrawalRequested(msg.sender, amountWei, unlockHeight);
    }

    /// Pays out what the caller has pending, once its delay has passed.
    function withdraw(address payable to) external {
        Account storage account = accounts[msg.sender];
        uint256 amountWei = account.pending;
        if (amountWei == 0) revert NothingToWithdraw();
        if (block.number < account.unlockHeight) revert StillLocked(account.unlockHeight);
        account.pending = 0;
        emit Withdrawn(msg.sender, to, amountWei);
        (bool ok, ) = to.call{value: amountWei}("");
        if (!ok) revert TransferFailed();
    }

    function balanceOf(address payer) external view returns (uint256) {
        return accounts[payer].balance;
    }

    function nonceOf(address payer) external view returns (uint256) {
        return accounts[payer].nextNonce;
    }

    function pendingOf(address payer) external view returns (uint256 amountWei, uint256 unlockHeight) {
        Account storage account = accounts[payer];
        return (account.pending, account.unlockHeight);
    }

    function parameters() external view returns (uint256 withdrawDelay, bytes32 genesis) {
        return (withdrawDelayBlocks, genesisHash);
    }

    function _deposit(address payer) private {
        accounts[payer].balance += msg.value;
        emit Deposited(payer, msg.sender, msg.value);
    }
}
