// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Addresses, Params} from "./Types.sol";
import {IStakeVault} from "./Interfaces.sol";

/// Stake of operators, keyed by their signer address. Anyone may fund a signer; what was put in leaves again
/// only after the exit delay, and can be slashed until it has left.
///
/// A slash takes everything at once: own, delegated and exiting stake. The signer is dead afterwards (no
/// deposit, no exit, no second slash), so evidence cannot be used twice.
///
/// Conservation: balance = stake of live signers + burned but not yet moved + rewards not yet withdrawn.
contract StakeVault is IStakeVault {
    /// Where burned wei go.
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;

    struct Stake {
        /// Of a dead signer: wei to be burned.
        uint120 active;
        uint120 exiting;
        bool slashed;
    }

    struct Position {
        uint96 active;
        uint96 exiting;
        uint64 readyAt;
    }

    address private immutable SLASHER;
    address private immutable INBOX;
    uint64 public immutable exitDelay;
    uint256 public immutable rewardCap;
    uint256 public immutable minStake;

    mapping(address signer => Stake) private stakes;
    mapping(address signer => mapping(address depositor => Position)) private positions;
    /// Rewards that were earned and not withdrawn, in wei.
    mapping(address reporter => uint256) public owed;

    event Deposited(address indexed signer, address indexed depositor, uint256 amount);
    event ExitRequested(address indexed signer, address indexed depositor, uint256 amount, uint64 readyAt);
    event Claimed(address indexed signer, address indexed depositor, uint256 amount);
    event Taken(address indexed signer, address indexed reporter, uint256 taken, uint256 reward);
    event Burned(address indexed signer, uint256 amount);
    event Withdrawn(address indexed reporter, uint256 amount);

    error WrongAddress();
    error BadParams();
    error NotAllowed();
    error NothingSent();
    error TooMuch();
    error SignerSlashed();
    error NothingToClaim();
    error StillLocked(uint64 readyAt);
    error TransferFailed();

    constructor(Addresses memory a, Params memory p) {
        if (a.vault != address(this)) revert WrongAddress();
        if (p.exitDelay <= uint256(p.challengeWindow) + p.evidenceWindow) revert BadParams();
        SLASHER = a.slasher;
        INBOX = a.inbox;
        exitDelay = p.exitDelay;
        rewardCap = p.rewardCap;
        minStake = p.minStake;
    }

    /// Stake that counts for `signer`, in wei: what is neither exiting nor slashed.
    function stakeOf(address signer) external view returns (uint256) {
        Stake storage stake = stakes[signer];
        return stake.slashed ? 0 : stake.active;
    }

    /// What a slash would take, in wei: exiting stake too.
    function slashableOf(address signer) external view returns (uint256) {
        Stake storage stake = stakes[signer];
        return stake.slashed ? 0 : uint256(stake.active) + stake.exiting;
    }

    function isSlashed(address signer) external view returns (bool) {
        return stakes[signer].slashed;
    }

    /// What a slash left to be burned, in wei.
    function burnableOf(address signer) external view returns (uint256) {
        Stake storage stake = stakes[signer];
        return stake.slashed ? stake.active : 0;
    }

    function positionOf(address signer, address depositor)
        external
        view
        returns (uint256 active, uint256 exiting, uint64 readyAt)
    {
        Position storage position = positions[signer][depositor];
        return (position.active, position.exiting, position.readyAt);
    }

    /// Puts the attached wei behind `signer`; they stay the caller's.
    function deposit(address signer) external payable {
        if (msg.value == 0) revert NothingSent();
        if (msg.value > type(uint96).max) revert TooMuch();
        Stake storage stake = stakes[signer];
        if (stake.slashed) revert SignerSlashed();
        stake.active += uint120(msg.value);
        positions[signer][msg.sender].active += uint96(msg.value);
        emit Deposited(signer, msg.sender, msg.value);
    }

    /// Starts (or restarts, for all that is exiting) the delay of `amount` of the caller's wei behind
    /// `signer`. They stop counting as stake now.
    function requestExit(address signer, uint256 amount) external {
        Stake storage stake = stakes[signer];
        if (stake.slashed) revert SignerSlashed();
        Position storage position = positions[signer][msg.sender];
        if (amount == 0 || amount > position.active) revert TooMuch();
        uint64 readyAt = uint64(block.timestamp) + exitDelay;
        position.active -= uint96(amount);
        position.exiting += uint96(amount);
        position.readyAt = readyAt;
        stake.active -= uint120(amount);
        stake.exiting += uint120(amount);
        emit ExitRequested(signer, msg.sender, amount, readyAt);
    }

    /// Pays out what the caller has exiting behind `signer`, after the delay.
    function claim(address signer) external returns (uint256 amount) {
        Stake storage stake = stakes[signer];
        if (stake.slashed) revert SignerSlashed();
        Position storage position = positions[signer][msg.sender];
        amount = position.exiting;
        if (amount == 0) revert NothingToClaim();
        if (block.timestamp < position.readyAt) revert StillLocked(position.readyAt);
        position.exiting = 0;
        stake.exiting -= uint120(amount);
        emit Claimed(signer, msg.sender, amount);
        pay(msg.sender, amount);
    }

    /// Takes all stake of `signer`: an eighth, at most the cap, for `reporter`, the rest to be burned.
    function slash(address signer, address reporter) external returns (uint256 taken, uint256 reward) {
        if (msg.sender != SLASHER) revert NotAllowed();
        if (stakes[signer].slashed) revert SignerSlashed();
        return take(signer, reporter);
    }

    /// As `slash`, for the inbox's challenges; takes nothing where nothing is left, so that a challenge
    /// can always be settled.
    function seize(address signer, address reporter) external returns (uint256 taken, uint256 reward) {
        if (msg.sender != INBOX) revert NotAllowed();
        if (stakes[signer].slashed) return (0, 0);
        return take(signer, reporter);
    }

    /// Moves what a slash left to be burned out of reach. Anyone may.
    function burn(address signer) external returns (uint256 amount) {
        Stake storage stake = stakes[signer];
        if (!stake.slashed || stake.active == 0) revert NothingToClaim();
        amount = stake.active;
        stake.active = 0;
        emit Burned(signer, amount);
        pay(BURN, amount);
    }

    /// Pays the caller's rewards to the caller.
    function withdraw() external returns (uint256 amount) {
        amount = owed[msg.sender];
        if (amount == 0) revert NothingToClaim();
        owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        pay(msg.sender, amount);
    }

    /// Burning is left to `burn`, which costs the reporter nothing and fits into the slot written anyway.
    function take(address signer, address reporter) private returns (uint256 taken, uint256 reward) {
        Stake storage stake = stakes[signer];
        taken = uint256(stake.active) + stake.exiting;
        reward = taken / 8;
        if (reward > rewardCap) reward = rewardCap;
        stakes[signer] = Stake({active: uint120(taken - reward), exiting: 0, slashed: true});
        if (reward != 0) owed[reporter] += reward;
        emit Taken(signer, reporter, taken, reward);
    }

    function pay(address to, uint256 amount) private {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed();
    }
}
