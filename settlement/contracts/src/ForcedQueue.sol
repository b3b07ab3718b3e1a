// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Params} from "./Types.sol";
import {IForcedQueue} from "./Interfaces.sol";

/// Transactions that the committee has to order whether it likes them or not, deposits and repayments of
/// posters, in one queue. A batch names the queue's head and rolling hash after its last height.
///
///   item    keccak256("BLINDFOLD-V1/forced-item/" ‖ index u64 ‖ kind u8 ‖ sender ‖ keccak256(data))
///   rolling hashAt(0) = 0, hashAt(i + 1) = keccak256("BLINDFOLD-V1/forced-queue/" ‖ hashAt(i) ‖ item i)
contract ForcedQueue is IForcedQueue {
    uint8 public constant KIND_SEALED = 0;
    uint8 public constant KIND_PLAIN = 1;
    uint8 public constant KIND_DEPOSIT_BALANCE = 2;
    uint8 public constant KIND_DEPOSIT_ESCROW = 3;
    uint8 public constant KIND_POSTING = 4;
    /// Beyond this the floor price of calldata (EIP-7623) makes a blob the better place.
    uint256 public constant MAX_BYTES = 2048;

    address private immutable BRIDGE;
    address private immutable INBOX;
    /// Wei that forcing costs at least. What is paid stays here for ever: it is burned.
    uint256 public immutable forcedFee;

    uint64 public length;
    mapping(uint64 index => bytes32) private hashes;
    /// L1 blocks of four items each, lowest first.
    mapping(uint64 index => uint256) private blocks;

    event Forced(uint64 indexed index, uint8 kind, address sender, bytes data);

    error WrongAddress();
    error WrongKind();
    error WrongLength();
    error FeeTooLow();
    error NotAllowed();
    error OutOfRange();

    constructor(Addresses memory a, Params memory p) {
        if (a.queue != address(this)) revert WrongAddress();
        BRIDGE = a.bridge;
        INBOX = a.inbox;
        forcedFee = p.forcedFee;
    }

    /// Forces a sealed envelope (kind 0) or a signed L2 transaction (kind 1), at most 2,048 bytes, for the
    /// fee. Whether it is valid is seen on L2, where an invalid one is consumed without effect.
    function force(uint8 kind, bytes calldata data) external payable returns (uint64 index) {
        if (kind > KIND_PLAIN) revert WrongKind();
        if (data.length == 0 || data.length > MAX_BYTES) revert WrongLength();
        if (msg.value < forcedFee) revert FeeTooLow();
        return append(kind, msg.sender, data);
    }

    /// Deposits (kinds 2 and 3) from the bridge, repayments (kind 4) from the inbox.
    function push(uint8 kind, address sender, bytes calldata data) external returns (uint64 index) {
        if (kind == KIND_DEPOSIT_BALANCE || kind == KIND_DEPOSIT_ESCROW) {
            if (msg.sender != BRIDGE) revert NotAllowed();
        } else if (kind == KIND_POSTING) {
            if (msg.sender != INBOX) revert NotAllowed();
        } else {
            revert WrongKind();
        }
        return append(kind, sender, data);
    }

    /// The rolling hash over the first `index` items.
    function hashAt(uint64 index) external view returns (bytes32) {
        if (index > length) revert OutOfRange();
        return index == 0 ? bytes32(0) : hashes[index - 1];
    }

    /// The L1 block in which the item came.
    function blockOf(uint64 index) public view returns (uint64) {
        if (index >= length) revert OutOfRange();
        return uint64(blocks[index / 4] >> (64 * (index % 4)));
    }

    /// Whether the item exists and has been here for `delay` blocks at `blockNumber`.
    function isDue(uint64 index, uint256 blockNumber, uint64 delay) public view returns (bool) {
        return index < length && uint256(blockOf(index)) + delay <= blockNumber;
    }

    /// How many items have been here for `delay` blocks at `blockNumber`: items below are due.
    function dueBy(uint256 blockNumber, uint64 delay) external view returns (uint64) {
        uint64 low = 0;
        uint64 high = length;
        while (low < high) {
            uint64 middle = low + (high - low) / 2;
            if (isDue(middle, blockNumber, delay)) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    function append(uint8 kind, address sender, bytes calldata data) private returns (uint64 index) {
        index = length;
        bytes32 item =
            keccak256(abi.encodePacked("BLINDFOLD-V1/forced-item/", index, kind, sender, keccak256(data)));
        bytes32 before = index == 0 ? bytes32(0) : hashes[index - 1];
        hashes[index] = keccak256(abi.encodePacked("BLINDFOLD-V1/forced-queue/", before, item));
        blocks[index / 4] |= uint256(uint64(block.number)) << (64 * (index % 4));
        length = index + 1;
        emit Forced(index, kind, sender, data);
    }
}
