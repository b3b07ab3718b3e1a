//! How far a withdrawal has got, by L1's word wherever L1 has one.

use super::Sides;
use crate::settlement::contract_error;
use alloy_primitives::{B256, U256};
use blindfold_sdk::rpc::{SettlementState, WithdrawalDocument};
use blindfold_settlement::{
    bindings::{Bridge, OutputOracle},
    outputs::{Output, OutputStatus},
    withdrawal::Withdrawal,
};
use eyre::{Result, bail};
use serde_json::{Value, json};

/// How far a withdrawal has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its height is in no batch on L1 yet.
    Executed,
    /// Its height is in a batch, and no output covers that yet.
    Posted {
        /// Number of the batch.
        batch: u64,
        /// Whether the batch's L1 block is final; nobody proposes it before.
        is_final: bool,
    },
    /// An output covers it, which becomes final when its window is over.
    Proposed {
        /// Number of the output's batch.
        batch: u64,
        /// Seconds from now, by L1's clock.
        left_s: u64,
    },
    /// The output that covers it is challenged, and final only once it is proven.
    Challenged {
        /// Number of the output's batch.
        batch: u64,
        /// Seconds left to prove it; 0 if it was not proven in time.
        left_s: u64,
    },
    /// It can be claimed.
    Claimable {
        /// Number of the output's batch.
        batch: u64,
        /// Last height of that batch.
        last_height: u64,
        /// The output's state root, by L1.
        state_root: B256,
    },
    /// It was paid out.
    Claimed,
}

impl Stage {
    /// A short name, for machines.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Posted { .. } => "posted",
            Self::Proposed { .. } => "proposed",
            Self::Challenged { .. } => "challenged",
            Self::Claimable { .. } => "claimable",
            Self::Claimed => "claimed",
        }
    }

    /// For people: what it waits for, and how long.
    pub(super) fn describe(&self, window_s: u64) -> String {
        let window = duration(window_s);
        match *self {
            Self::Executed => format!(
                "on L2 only: its height waits to be posted to L1; from then on it takes {window} and the time until \
                 somebody proposes an output"
            ),
            Self::Posted { batch, is_final: false } => format!(
                "in batch {batch}, whose L1 block is not final yet; then an output is proposed, and final after {window}"
            ),
            Self::Posted { batch, is_final: true } => format!(
                "in batch {batch}, which no output covers yet; once one is proposed it takes {window}"
            ),
            Self::Proposed { batch, left_s } => format!(
                "output {batch} covers it and is final in {}; claim it then",
                duration(left_s)
            ),
            Self::Challenged { batch, left_s: 0 } => format!(
                "output {batch}, which covers it, was challenged and not proven: wait for the next output"
            ),
            Self::Challenged { batch, left_s } => format!(
                "output {batch}, which covers it, is challenged: it is final as soon as a member proves it, within {}",
                duration(left_s)
            ),
            Self::Claimable { batch, .. } => format!("can be claimed, against output {batch}"),
            Self::Claimed => "claimed".to_owned(),
        }
    }

    /// Seconds until it can be claimed, if that is known.
    pub(super) const fn left_s(&self) -> Option<u64> {
        match self {
            Self::Proposed { left_s, .. } => Some(*left_s),
            Self::Claimable { .. } => Some(0),
            _ => None,
        }
    }
}

/// Seconds in words, in the two largest units that they fill.
pub(super) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in units {
        if rest >= unit && words.len() < 2 {
            words.push(format!("{} {name}", rest / unit));
            rest %= unit;
        }
    }
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// The withdrawal that a document tells of.
pub(super) const fn withdrawal(document: &WithdrawalDocument) -> Withdrawal {
    Withdrawal {
        index: document.index,
        sender: document.sender,
        to: document.to,
        amount_wei: document.amount_wei,
    }
}

impl Sides {
    /// How far a withdrawal has got. Which output to look at is the node's word; what it is worth is L1's.
    pub(super) fn stage(&self, document: &WithdrawalDocument) -> Result<Stage> {
        self.runtime.block_on(self.ask_stage(document))
    }

    async fn ask_stage(&self, document: &WithdrawalDocument) -> Result<Stage> {
        let provider = self.l1.provider();
        let bridge = Bridge::new(self.contracts.bridge, &provider);
        let hash = withdrawal(document).hash();
        if bridge.spent(hash).call().await.map_err(contract_error)? {
            return Ok(Stage::Claimed);
        }
        let Some(posted) = document.settlement else { return Ok(Stage::Executed) };
        let waiting = Stage::Posted {
            batch: posted.batch,
            is_final: posted.state == SettlementState::Finalized,
        };
        let Some(told) = document.output else { return Ok(waiting) };
        let oracle = OutputOracle::new(self.contracts.oracle, &provider);
        let found = oracle.outputOf(told.batch).call().await.map_err(contract_error)?;
        let status = match found.status {
            1 => OutputStatus::Proposed,
            2 => OutputStatus::Challenged,
            3 => OutputStatus::Settled,
            // L1 took it back, or this L1 node is behind the member's.
            _ => return Ok(waiting),
        };
        let output = Output {
            index: told.batch,
            state_root: found.stateRoot,
            proposer: found.proposer,
            proposed_at_s: 0,
            deadline_s: found.deadline,
            status,
            challenger: found.challenger,
        };
        let now_s = self.l1.heads().await?.latest.timestamp_s;
        let batch = told.batch;
        Ok(match status {
            _ if output.is_final(now_s) => {
                let (last_height, state_root) = (told.last_height, output.state_root);
                Stage::Claimable { batch, last_height, state_root }
            }
            OutputStatus::Challenged => {
                Stage::Challenged { batch, left_s: output.deadline_s.saturating_sub(now_s) }
            }
            _ => {
                // It is final in the first second after its deadline.
                let left_s = output.deadline_s.saturating_add(1).saturating_sub(now_s);
                Stage::Proposed { batch, left_s }
            }
        })
    }

    /// What the node has of a withdrawal.
    pub(super) fn document(&self, index: u64) -> Result<WithdrawalDocument> {
        let found: Option<WithdrawalDocument> =
            self.client.request("sealed_getWithdrawal", [alloy_primitives::U64::from(index)])?;
        match found {
            Some(document) if document.index == index => Ok(document),
            _ => bail!(
                "the node knows no withdrawal {index}: it may be behind, or its number is another; see `blindfold bridge \
                 withdrawals`"
            ),
        }
    }
}

/// A withdrawal and its stage, for machines.
pub(super) fn to_json(document: &WithdrawalDocument, stage: &Stage) -> Value {
    let batch = match stage {
        Stage::Posted { batch, .. }
        | Stage::Proposed { batch, .. }
        | Stage::Challenged { batch, .. }
        | Stage::Claimable { batch, .. } => Some(*batch),
        Stage::Executed | Stage::Claimed => None,
    };
    json!({
        "index": document.index, "sender": document.sender, "to": document.to,
        "amountWei": document.amount_wei, "height": document.height,
        "transactionHash": document.transaction, "stage": stage.name(), "batch": batch,
        "secondsLeft": stage.left_s(),
    })
}

/// What the bridge holds, and what is asked of it.
pub(super) fn check_funds(held: U256, document: &WithdrawalDocument) -> Result<()> {
    if held < document.amount_wei {
        bail!(
            "the bridge on L1 holds {held} wei, less than the {} of withdrawal {}: more was sent to the outbox than ever \
             was deposited (accounts funded by the genesis document are not backed by L1)",
            document.amount_wei,
            document.index
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min 59 s"),
            (3_605, "1 h 5 s"),
            (86_400 * 7 - 1, "6 d 23 h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn every_stage_says_what_to_do() {
        let (batch, left_s) = (3, 90);
        for (stage, words) in [
            (Stage::Executed, "waits to be posted"),
            (Stage::Posted { batch, is_final: false }, "not final yet"),
            (Stage::Posted { batch, is_final: true }, "no output covers"),
            (Stage::Proposed { batch, left_s }, "final in 1 min 30 s"),
            (Stage::Challenged { batch, left_s }, "proves it, within 1 min 30 s"),
            (Stage::Challenged { batch, left_s: 0 }, "wait for the next output"),
        ] {
            let text = stage.describe(7_200);
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(Stage::Proposed { batch, left_s }.left_s(), Some(90));
        assert_eq!(Stage::Executed.left_s(), None);
    }
}
