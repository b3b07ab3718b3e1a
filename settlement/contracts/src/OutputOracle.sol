// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Batch, Params} from "./Types.sol";
import {IBatchInbox, IOutputOracle, IProofVerifier} from "./Interfaces.sol";
import {CommitteeVerifier} from "./CommitteeVerifier.sol";
import {Commitments} from "./lib/Commitments.sol";

/// State roots of batches as withdrawals may rely on them: proposed with a bond, final after a window unless
/// challenged, and then final only if somebody proves them in time. What a proof is decides the verifier,
/// which is fixed at deployment; the one that comes with this contract trusts a quorum of the committee.
contract OutputOracle is IOutputOracle {
    enum Status {
        None,
        Proposed,
        Challenged,
        Proven
    }

    struct Output {
        bytes32 stateRoot;
        address proposer;
        /// When the present window ends.
        uint64 deadline;
        Status status;
        address challenger;
    }

    IBatchInbox private immutable INBOX;
    IProofVerifier public immutable verifier;
    uint64 public immutable outputWindow;
    uint64 public immutable proveWindow;
    uint256 public immutable outputBond;

    mapping(uint64 index => Output) private outputs;
    /// Bonds to be withdrawn, in wei.
    mapping(address account => uint256) public owed;

    event Proposed(uint64 indexed index, bytes32 stateRoot, address proposer, uint64 deadline);
    event Challenged(uint64 indexed index, address challenger, uint64 deadline);
    event Proven(uint64 indexed index, address prover);
    event Rejected(uint64 indexed index, address challenger);
    event BondReturned(uint64 indexed index, address proposer);
    event Withdrawn(address indexed account, uint256 amount);

    error WrongAddress();
    error BadParams();
    error UnknownBatch();
    error NoState();
    error WrongBond();
    error WrongStatus();
    error TooLate();
    error TooEarly();
    error BadProof();
    error NotFinal();
    error NothingToClaim();
    error TransferFailed();

    constructor(Addresses memory a, Params memory p) {
        if (a.oracle != address(this)) revert WrongAddress();
        if (p.outputWindow == 0 || p.proveWindow == 0) revert BadParams();
        INBOX = IBatchInbox(a.inbox);
        verifier = new CommitteeVerifier(a, p);
        outputWindow = p.outputWindow;
        proveWindow = p.proveWindow;
        outputBond = p.outputBond;
    }

    function outputOf(uint64 index) external view returns (Output memory) {
        return outputs[index];
    }

    /// The state root after batch `index`; reverts unless it is final.
    function finalOutput(uint64 index) external view returns (bytes32 stateRoot) {
        Output storage output = outputs[index];
        if (!isFinal(output)) revert NotFinal();
        return output.stateRoot;
    }

    /// Proposes the state root that the batch names, for the bond. Anyone may; whoever proposes a wrong one
    /// loses the bond to its challenger.
    function propose(Batch calldata b) external payable {
        if (b.index == 0 || INBOX.batchHash(b.index) != Commitments.batchHash(b)) revert UnknownBatch();
        if (b.stateRoot == 0) revert NoState();
        if (msg.value != outputBond) revert WrongBond();
        Output storage output = outputs[b.index];
        if (output.status != Status.None) revert WrongStatus();
        uint64 deadline = uint64(block.timestamp) + outputWindow;
        output.stateRoot = b.stateRoot;
        output.proposer = msg.sender;
        output.deadline = deadline;
        output.status = Status.Proposed;
        emit Proposed(b.index, b.stateRoot, msg.sender, deadline);
    }

    /// Demands a proof, for the same bond.
    function challenge(uint64 index) external payable {
        Output storage output = outputs[index];
        if (output.status != Status.Proposed) revert WrongStatus();
        if (block.timestamp > output.deadline) revert TooLate();
        if (msg.value != outputBond) revert WrongBond();
        uint64 deadline = uint64(block.timestamp) + proveWindow;
        output.deadline = deadline;
        output.status = Status.Challenged;
        output.challenger = msg.sender;
        emit Challenged(index, msg.sender, deadline);
    }

    /// Proves a challenged output, which is final at once. The proposer gets its bond back, whoever proved
    /// it the challenger's.
    function prove(uint64 index, bytes calldata proof) external {
        Output storage output = outputs[index];
        if (output.status != Status.Challenged) revert WrongStatus();
        if (block.timestamp > output.deadline) revert TooLate();
        output.status = Status.Proven;
        if (!verifier.verify(INBOX.batchHash(index), output.stateRoot, proof)) revert BadProof();
        owed[output.proposer] += outputBond;
        owed[msg.sender] += outputBond;
        emit Proven(index, msg.sender);
    }

    /// Ends a challenge that nobody answered in time: both bonds are the challenger's, and the output can be
    /// proposed anew.
    function reject(uint64 index) external {
        Output storage output = outputs[index];
        if (output.status != Status.Challenged) revert WrongStatus();
        if (block.timestamp <= output.deadline) revert TooEarly();
        address challenger = output.challenger;
        delete outputs[index];
        owed[challenger] += 2 * outputBond;
        emit Rejected(index, challenger);
    }

    /// Gives the bond of an output that nobody challenged back to its proposer.
    function returnBond(uint64 index) external {
        Output storage output = outputs[index];
        if (output.status != Status.Proposed) revert WrongStatus();
        if (block.timestamp <= output.deadline) revert TooEarly();
        output.status = Status.Proven;
        owed[output.proposer] += outputBond;
        emit BondReturned(index, output.proposer);
    }

    /// Pays out bonds.
    function withdraw() external returns (uint256 amount) {
        amount = owed[msg.sender];
        if (amount == 0) revert NothingToClaim();
        owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        (bool ok,) = msg.sender.call{value: amount}("");
        if (!ok) revert TransferFailed();
    }

    function isFinal(Output storage output) private view returns (bool) {
        if (output.status == Status.Proven) return true;
        return output.status == Status.Proposed && block.timestamp > output.deadline;
    }
}
