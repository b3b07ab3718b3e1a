//! Parameters of settlement.

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

use super::DeployError;

/// Parameters of settlement that are not in the genesis document. Fixed at deployment.
///
/// Windows in seconds of L1 time, delays in L1 blocks, amounts in wei.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L1Params {
    /// L1 blocks after which members must order a forced item.
    pub forced_delay_blocks: u64,
    /// L1 blocks after which no batch is accepted without it; more than the delay.
    pub forced_deadline_blocks: u64,
    /// L1 blocks after which anyone may post it; more than the deadline.
    pub forced_fallback_blocks: u64,
    /// Time to reveal what was challenged.
    pub challenge_window_s: u64,
    /// Time after posting in which evidence counts; shorter than blobs are kept.
    pub evidence_window_s: u64,
    /// Time between the request and the payment of stake; more than both windows together.
    pub exit_delay_s: u64,
    /// Time to challenge an output.
    pub output_window_s: u64,
    /// Time to prove a challenged output.
    pub prove_window_s: u64,
    /// L1 blocks between commit and reveal of a report; at least one.
    pub reveal_delay_blocks: u64,
    /// Least stake of a poster.
    pub min_stake_wei: U256,
    /// Most a reporter gets.
    pub reward_cap_wei: U256,
    /// Bond of a challenge to reveal.
    pub challenge_bond_wei: U256,
    /// Bond of an output, and of a challenge to one.
    pub output_bond_wei: U256,
    /// Fee of a forced item.
    pub forced_fee_wei: U256,
}

impl Default for L1Params {
    /// For a chain that matters: days where people must be able to react.
    fn default() -> Self {
        const DAY: u64 = 86_400;
        let milli_ether = |amount: u64| U256::from(amount) * U256::from(1_000_000_000_000_000u64);
        Self {
            forced_delay_blocks: 50,
            forced_deadline_blocks: 600,
            forced_fallback_blocks: 7_200,
            challenge_window_s: DAY,
            // Blobs are kept for 18 days.
            evidence_window_s: 14 * DAY,
            exit_delay_s: 21 * DAY,
            output_window_s: 7 * DAY,
            prove_window_s: DAY,
            reveal_delay_blocks: 2,
            min_stake_wei: milli_ether(32_000),
            reward_cap_wei: milli_ether(4_000),
            challenge_bond_wei: milli_ether(100),
            output_bond_wei: milli_ether(1_000),
            forced_fee_wei: milli_ether(1),
        }
    }
}

impl L1Params {
    /// For a development network, where minutes are long.
    #[must_use]
    pub fn development() -> Self {
        Self {
            forced_delay_blocks: 2,
            forced_deadline_blocks: 30,
            forced_fallback_blocks: 120,
            challenge_window_s: 120,
            evidence_window_s: 3_600,
            exit_delay_s: 7_200,
            output_window_s: 60,
            prove_window_s: 120,
            reveal_delay_blocks: 1,
            ..Self::default()
        }
    }

    /// Checks what the constructors check, so that a mistake costs no gas.
    ///
    /// # Errors
    /// [`DeployError::Params`] with the name of the parameter.
    pub fn validate(&self) -> Result<(), DeployError> {
        let check = |ok: bool, name, reason| {
            if ok { Ok(()) } else { Err(DeployError::Params { name, reason }) }
        };
        check(
            self.forced_delay_blocks < self.forced_deadline_blocks,
            "forcedDeadlineBlocks",
            "must be more than forcedDelayBlocks",
        )?;
        check(
            self.forced_deadline_blocks < self.forced_fallback_blocks,
            "forcedFallbackBlocks",
            "must be more than forcedDeadlineBlocks",
        )?;
        check(self.challenge_window_s > 0, "challengeWindowS", "must not be zero")?;
        check(self.evidence_window_s > 0, "evidenceWindowS", "must not be zero")?;
        check(
            self.challenge_window_s
                .checked_add(self.evidence_window_s)
                .is_some_and(|both| self.exit_delay_s > both),
            "exitDelayS",
            "must be more than challengeWindowS and evidenceWindowS together",
        )?;
        check(self.output_window_s > 0, "outputWindowS", "must not be zero")?;
        check(self.prove_window_s > 0, "proveWindowS", "must not be zero")?;
        check(self.reveal_delay_blocks > 0, "revealDelayBlocks", "must not be zero")
    }
}
