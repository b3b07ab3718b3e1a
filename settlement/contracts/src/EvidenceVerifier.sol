// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, OrderCommitment, Params} from "./Types.sol";
import {IBatchInbox, ICommitteeRegistry} from "./Interfaces.sol";
import {Commitments} from "./lib/Commitments.sol";

/// What both contracts that check evidence need: the slasher itself for what signers signed, and the poster
/// verifier for what posters posted. (One contract for both would be over EIP-170's 24,576 bytes.)
abstract contract EvidenceVerifier {
    ICommitteeRegistry internal immutable COMMITTEES;
    IBatchInbox internal immutable INBOX;
    bytes32 internal immutable SEPARATOR;
    uint64 public immutable l2ChainId;

    error TooLate();
    error Unlinked();
    error NoFault();

    constructor(Addresses memory a, Params memory p) {
        COMMITTEES = ICommitteeRegistry(a.committees);
        INBOX = IBatchInbox(a.inbox);
        SEPARATOR = Commitments.domainSeparator(p.l2ChainId, a.inbox);
        l2ChainId = p.l2ChainId;
    }

    /// The call data is the one encoding of what was decoded from it: no byte of it may be another. Only
    /// evidence with `bytes` in it has more than one.
    function requireCanonical(bytes memory encoded) internal pure {
        if (keccak256(encoded) != keccak256(msg.data[4:])) revert Unlinked();
    }

    function digestOf(OrderCommitment calldata commitment) internal view returns (bytes32) {
        if (commitment.chainId != l2ChainId || commitment.settlement != address(INBOX)) {
            revert Commitments.ForeignChain();
        }
        return Commitments.digest(commitment, SEPARATOR);
    }
}
