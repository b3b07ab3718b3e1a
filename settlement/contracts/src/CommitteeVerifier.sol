// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, CommitteeProof, OrderCommitment, Params} from "./Types.sol";
import {ICommitteeRegistry, IProofVerifier} from "./Interfaces.sol";
import {Commitments} from "./lib/Commitments.sol";
import {Finality} from "./lib/Finality.sol";

/// Believes a state root that a quorum of the committee finalized. **This is a vote, not a proof of
/// execution**: a quorum that lies is believed. A validity-proof verifier takes this contract's place in a
/// later deployment.
///
/// The commitment of a height carries the executed root of `executedLag` heights below. So the proof shows
/// the commitment of that height, certified: directly, or through commitments above it, each naming the one
/// below as its parent, of which the last has a certificate of the committee whose height it is. A poster's
/// word is no part of it.
contract CommitteeVerifier is IProofVerifier {
    ICommitteeRegistry private immutable COMMITTEES;
    address private immutable INBOX;
    bytes32 private immutable SEPARATOR;
    uint64 public immutable l2ChainId;
    uint64 public immutable executedLag;

    constructor(Addresses memory a, Params memory p) {
        COMMITTEES = ICommitteeRegistry(a.committees);
        INBOX = a.inbox;
        SEPARATOR = Commitments.domainSeparator(p.l2ChainId, a.inbox);
        l2ChainId = p.l2ChainId;
        executedLag = p.executedLag;
    }

    /// `proof` is the ABI encoding of a `CommitteeProof`.
    function verify(bytes32 batchHash, bytes32 stateRoot, bytes calldata proof) external view returns (bool) {
        return this.verifyProof(batchHash, stateRoot, abi.decode(proof, (CommitteeProof)));
    }

    /// The same with the proof decoded.
    function verifyProof(bytes32 batchHash, bytes32 stateRoot, CommitteeProof calldata proof) external view returns (bool) {
        if (Commitments.batchHash(proof.batch) != batchHash || proof.batch.stateRoot != stateRoot) return false;
        if (proof.chain.length == 0) return false;
        OrderCommitment calldata first = proof.chain[0];
        if (
            first.height != proof.batch.lastHeight + executedLag
                || first.executedRoot != Finality.executedRoot(stateRoot, proof.openingRoot)
        ) return false;
        Finality.Chain memory ours = Finality.Chain({
            committees: COMMITTEES,
            chainId: l2ChainId,
            settlement: INBOX,
            separator: SEPARATOR
        });
        return Finality.isCertified(ours, proof.chain, proof.certificate);
    }
}
