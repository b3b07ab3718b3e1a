// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Outbox predeploy: ether on its way to L1. What is sent here stays here for ever, which burns it on this
/// side; the record is what the bridge on L1 pays out against, so the layout is part of the protocol:
///
///   slot 0  mapping(bytes32 => uint256); 1 at keccak256(hash ++ uint256(0)) for every withdrawal, its hash
///           being keccak256(abi.encode(index, sender, to, amountWei))
///   slot 1  nextIndex
contract Outbox {
    mapping(bytes32 withdrawalHash => uint256) private records;
    uint256 private nextIndex;

    event Recorded(uint256 indexed index, address indexed sender, address indexed to, uint256 amountWei);

    error NothingSent();

    /// Records a withdrawal of the attached wei to `to` on L1.
    function withdraw(address to) external payable returns (uint256 index) {
        if (msg.value == 0) revert NothingSent();
        index = nextIndex;
        nextIndex = index + 1;
        records[keccak256(abi.encode(index, msg.sender, to, msg.value))] = 1;
        emit Recorded(index, msg.sender, to, msg.value);
    }

    function isRecorded(bytes32 withdrawalHash) external view returns (bool) {
        return records[withdrawalHash] == 1;
    }

    function count() external view returns (uint256) {
        return nextIndex;
    }
}
