// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What tests of L1 back ends call. Compiled by scripts/contracts.sh's solc with the settings of the
/// contracts; the output is Probe.json beside this file.
contract Probe {
    error Refused(uint256 code, address who);

    event Noted(uint256 indexed key, address indexed who, bytes data);

    mapping(uint256 => uint256) public noted;
    bytes32 public firstBlob;
    uint256 public blobCount;
    uint256 public lastBlock;

    constructor(uint256 first) {
        noted[0] = first;
    }

    function note(uint256 key, bytes calldata data) external payable {
        noted[key] = uint256(keccak256(data));
        emit Noted(key, msg.sender, data);
    }

    function refuse(uint256 code) external view {
        revert Refused(code, msg.sender);
    }

    function refuseInWords() external pure {
        revert("no such thing");
    }

    function takeBlobs() external {
        firstBlob = blobhash(0);
        uint256 count;
        while (blobhash(count) != 0) count++;
        blobCount = count;
    }

    function burn(uint256 rounds) external {
        uint256 sum;
        for (uint256 i; i < rounds; i++) sum = uint256(keccak256(abi.encode(sum, i)));
        noted[1] = sum;
    }

    function fees() external view returns (uint256 baseFee, uint256 blobFee, uint256 chain) {
        return (block.basefee, block.blobbasefee, block.chainid);
    }

    function hashOf(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    /// Calls a precompile with at most so much gas; measures what it took, call included.
    function precompile(address at, uint256 gasLimit, bytes calldata input)
        external
        view
        returns (bool ok, bytes memory output, uint256 gasUsed)
    {
        uint256 before = gasleft();
        (ok, output) = at.staticcall{gas: gasLimit}(input);
        gasUsed = before - gasleft();
    }
}
