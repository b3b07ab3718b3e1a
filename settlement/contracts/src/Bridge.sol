// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Params, Withdrawal} from "./Types.sol";
import {IForcedQueue, IOutputOracle} from "./Interfaces.sol";
import {Mpt} from "./lib/Mpt.sol";

/// Ether to L2 and back. A deposit is an item of the forced queue, so the committee cannot leave it out. A
/// withdrawal is proven against a final output: the outbox on L2 burned the wei and kept a record.
contract Bridge {
    /// The predeploy on L2 that records withdrawals.
    address public constant OUTBOX = 0x0000000000000000000000000000000000005E01;
    uint8 private constant KIND_DEPOSIT_BALANCE = 2;
    uint8 private constant KIND_DEPOSIT_ESCROW = 3;

    IForcedQueue private immutable QUEUE;
    IOutputOracle private immutable ORACLE;

    mapping(bytes32 withdrawalHash => bool) public spent;

    event Deposited(uint64 indexed forcedIndex, uint8 kind, address indexed from, address indexed to, uint256 amount);
    event Withdrawn(bytes32 indexed withdrawalHash, address indexed to, uint256 amount);

    error WrongAddress();
    error NothingSent();
    error AlreadySpent();
    error BadProof();
    error TransferFailed();

    constructor(Addresses memory a, Params memory) {
        if (a.bridge != address(this)) revert WrongAddress();
        QUEUE = IForcedQueue(a.queue);
        ORACLE = IOutputOracle(a.oracle);
    }

    /// Credits the attached wei to the balance of `to` on L2.
    function depositToBalance(address to) external payable returns (uint64 forcedIndex) {
        return deposit(KIND_DEPOSIT_BALANCE, to);
    }

    /// Credits the attached wei to the escrow of `to` on L2, which pays for sealed transactions.
    function depositToEscrow(address to) external payable returns (uint64 forcedIndex) {
        return deposit(KIND_DEPOSIT_ESCROW, to);
    }

    /// The hash under which the outbox records a withdrawal.
    function withdrawalHash(Withdrawal calldata w) public pure returns (bytes32) {
        return keccak256(abi.encode(w.index, w.sender, w.to, w.amount));
    }

    /// Pays out a withdrawal that the state after batch `batchIndex` has on record. Anyone may send it.
    function withdraw(
        uint64 batchIndex,
        Withdrawal calldata w,
        bytes[] calldata accountProof,
        bytes[] calldata storageProof
    ) external {
        bytes32 hash = withdrawalHash(w);
        if (spent[hash]) revert AlreadySpent();
        bytes32 stateRoot = ORACLE.finalOutput(batchIndex);
        // [nonce, balance, storage root, code hash]
        bytes[] memory account =
            Mpt.decodeList(Mpt.get(stateRoot, keccak256(abi.encodePacked(OUTBOX)), accountProof));
        if (account.length != 4) revert BadProof();
        bytes memory storageRoot = Mpt.decodeString(account[2]);
        if (storageRoot.length != 32) revert BadProof();
        bytes32 slot = keccak256(abi.encode(hash, uint256(0)));
        bytes memory value = Mpt.get(bytes32(storageRoot), keccak256(abi.encode(slot)), storageProof);
        // rlp(1)
        if (value.length != 1 || value[0] != 0x01) revert BadProof();
        spent[hash] = true;
        emit Withdrawn(hash, w.to, w.amount);
        (bool ok,) = w.to.call{value: w.amount}("");
        if (!ok) revert TransferFailed();
    }

    function deposit(uint8 kind, address to) private returns (uint64 forcedIndex) {
        if (msg.value == 0) revert NothingSent();
        forcedIndex = QUEUE.push(kind, msg.sender, abi.encodePacked(to, msg.value));
        emit Deposited(forcedIndex, kind, msg.sender, to, msg.value);
    }
}
