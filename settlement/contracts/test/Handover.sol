// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import "./World.sol";

/// Committees that hand over.
abstract contract Handover is World {
    /// The members of epoch 0 hand over to themselves as epoch 1, from `firstHeight` on.
    function handOver(uint64 firstHeight) internal {
        GenesisCommittee memory g = abi.decode(genesisCommittee, (GenesisCommittee));
        for (uint256 i = 0; i < g.members.length; ++i) {
            g.members[i].voteKeyPossession = "";
        }
        NextCommittee memory n =
            NextCommittee(g.epoch + 1, firstHeight, g.threshold, g.y, g.y2, g.scheduleRoot, g.members);
        bytes memory message = abi.encodePacked(
            uint8(64), "BLINDFOLD-V1/committee-handover/", p.genesisHash, committees.handoverPayload(n)
        );
        committees.accept(n, Certificate(0, 0, bitmap(quorum()), vote(message, quorum())));
    }
}
