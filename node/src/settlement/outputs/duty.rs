//! What this member has to do about outputs, as calls for the poster to send.
//!
//! Nothing is remembered but judgements, which are computed again after a restart. A call is tried on L1 before it
//! is offered: what would revert, because somebody else was faster or L1 went back, costs nothing.

use super::OutputRow;
use crate::{
    config::SettlementConfig,
    member::{MemberError, Shared},
    metrics,
    settlement::{Contracts, SettlementError, contract_error, transport},
};
use alloy_network::TransactionBuilder as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall as _;
use blindfold_settlement::{
    batch::Batch,
    bindings::OutputOracle,
    l1::{BlockRef, SendFault, SharedL1, fault},
    outputs::{Candidate, Duty, Judgement, Output, OutputPolicy, committee_proof, duties},
    poster::{Bid, Prices, Rotation},
};
use std::{collections::BTreeMap, sync::Arc};
use tracing::{debug, error, info, warn};

/// L1 blocks that the watcher may be behind the newest: what has happened since is found by trying a call.
const MAX_BLOCKS_BEHIND: u64 = 8;
/// Batches that are looked at for one with a right root, from the newest back. Posters that lie about roots are few.
const MAX_CANDIDATES: usize = 64;
/// How often it is looked at whether the oracle owes anything, in seconds, if no output ends meanwhile: what a reorg
/// brought or took is not left there.
const OWED_EVERY_S: u64 = 300;
/// Gas that a bond must leave the account the means for: it posts, too.
const RESERVED_GAS: u64 = 10_000_000;
/// Gas that is never asked for: the cap of a transaction (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 16_777_216;

/// A call that depends on no batch, for the poster to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// Contract.
    pub to: Address,
    /// What it is called with.
    pub call: Bytes,
    /// Wei that go along.
    pub value: U256,
    /// Most gas it may use.
    pub gas_limit: u64,
}

/// Outputs that were not settled at the last look, by batch, with what was thought of them and of which root: a reorg
/// can bring another batch with the same number.
#[derive(Debug, Default)]
struct Judgements(BTreeMap<u64, (B256, Judgement)>);

impl Judgements {
    /// What was thought of an output. All but the unknown stays as it is.
    fn of(&self, output: &Output) -> Option<Judgement> {
        match self.0.get(&output.index) {
            Some((_, Judgement::Unknown)) | None => None,
            Some((root, judgement)) => (*root == output.state_root).then_some(*judgement),
        }
    }

    fn note(&mut self, output: &Output, judgement: Judgement) {
        self.0.insert(output.index, (output.state_root, judgement));
    }

    /// Forgets those that are not among `rows` any more. Says whether there were any.
    fn keep(&mut self, rows: &[OutputRow]) -> bool {
        let before = self.0.len();
        self.0.retain(|index, _| rows.iter().any(|row| row.output.index == *index));
        self.0.len() < before
    }
}

/// This member's part in outputs.
pub struct Outputs {
    shared: Arc<Shared>,
    l1: SharedL1,
    contracts: Contracts,
    own: Address,
    seat: u32,
    policy: OutputPolicy,
    judged: Judgements,
    /// When it is next looked at what the oracle owes.
    owed_at_s: u64,
    /// Whether the log says already that there is too little for a bond.
    is_poor: bool,
}

impl Outputs {
    /// Of the member that `shared` is, with its account `own` on L1.
    pub fn new(
        shared: Arc<Shared>,
        l1: SharedL1,
        contracts: Contracts,
        own: Address,
        config: &SettlementConfig,
    ) -> Self {
        let members = u32::try_from(shared.genesis.committee.members.len()).unwrap_or(u32::MAX);
        Self {
            seat: u32::try_from(shared.seat()).unwrap_or(u32::MAX),
            policy: OutputPolicy {
                rotation: Rotation { members, takeover_s: config.takeover_s },
                interval_s: config.output_interval_s,
                output_window_s: contracts.output_window_s,
                prove_window_s: contracts.prove_window_s,
            },
            judged: Judgements::default(),
            owed_at_s: 0,
            is_poor: false,
            shared,
            l1,
            contracts,
            own,
        }
    }

    /// The most urgent thing to do, if there is any. `now_s` is this machine's clock, `nonce` the account's next one.
    ///
    /// # Errors
    /// If L1 does not answer, or the database fails.
    pub async fn next(
        &mut self,
        now_s: u64,
        nonce: u64,
        prices: &Prices,
    ) -> Result<Option<Errand>, SettlementError> {
        let newest = self.l1.heads().await?.latest;
        if !self.is_abreast(newest, nonce).await? {
            return Ok(None);
        }
        let outputs = self.judged_outputs()?;
        let last = self.last_standing()?;
        let candidate = self.candidate(last.as_ref())?;
        let duties = duties(
            self.seat,
            self.own,
            &self.policy,
            newest.timestamp_s,
            &outputs,
            candidate.as_ref(),
            last.map(|row| row.output.proposed_at_s),
        );
        for duty in duties {
            let Some((call, value)) = self.call(duty)? else { continue };
            let Some(errand) = self.errand(duty.name(), call, value, prices).await? else {
                continue;
            };
            info!(target: "blindfold::settlement", batch = duty.index(), duty = duty.name(), "an output");
            // Whatever it is, the oracle may owe something after it.
            self.owed_at_s = 0;
            return Ok(Some(errand));
        }
        self.collect(now_s, prices).await
    }

    /// Whether the watcher has read all that this account did: what is in a block that it has not read must not be
    /// done twice.
    async fn is_abreast(&self, newest: BlockRef, nonce: u64) -> Result<bool, SettlementError> {
        let Some(seen) = self.shared.outputs.seen() else { return Ok(false) };
        if seen == newest {
            return Ok(true);
        }
        if seen.number.saturating_add(MAX_BLOCKS_BEHIND) < newest.number {
            return Ok(false);
        }
        let then = self.l1.provider().get_transaction_count(self.own).hash(seen.hash).await;
        match then {
            Ok(then) => Ok(then == nonce),
            Err(error) if fault(&error) == SendFault::Unreachable => Err(transport(error)),
            // L1 went back behind that block.
            Err(_) => Ok(false),
        }
    }

    /// Outputs that are not settled, with what this member thinks of them.
    fn judged_outputs(&mut self) -> Result<Vec<(Output, Judgement)>, MemberError> {
        let rows = self.shared.outputs.unsettled();
        if self.judged.keep(&rows) {
            // An output ended, whoever ended it: its bonds are owed to somebody.
            self.owed_at_s = 0;
        }
        rows.into_iter()
            .map(|row| {
                if let Some(judgement) = self.judged.of(&row.output) {
                    return Ok((row.output, judgement));
                }
                let judgement = self.judge(row.last_height, row.output.state_root)?;
                if judgement == Judgement::Wrong {
                    let Output { index, proposer, .. } = row.output;
                    warn!(target: "blindfold::settlement", batch = index, %proposer,
                        "an output has another state root than this node computed and a quorum certified");
                    metrics::output("wrong");
                }
                self.judged.note(&row.output, judgement);
                Ok((row.output, judgement))
            })
            .collect()
    }

    /// The newest output that is not wrong.
    fn last_standing(&self) -> Result<Option<OutputRow>, MemberError> {
        for row in self.shared.outputs.newest()? {
            let judgement = match self.judged.of(&row.output) {
                Some(judgement) => judgement,
                None => self.judge(row.last_height, row.output.state_root)?,
            };
            if judgement != Judgement::Wrong {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Compares a state root with the one that this node has computed. It says nothing before a quorum has certified
    /// that one, `executed_lag` heights up: then the root is beyond doubt, and can be proven.
    fn judge(&self, height: u64, state_root: B256) -> Result<Judgement, MemberError> {
        let above = height.saturating_add(self.shared.genesis.params.executed_lag);
        if self.shared.chain.progress().executed_height < above {
            return Ok(Judgement::Unknown);
        }
        let record = self.shared.records.executed(height)?;
        let record = record.ok_or(MemberError::Missing { what: "executed block", height })?;
        let right = record.state_root() == state_root;
        Ok(if right { Judgement::Right } else { Judgement::Wrong })
    }

    /// The batch to propose, if withdrawals wait above the `last` output that is not wrong.
    fn candidate(&self, last: Option<&OutputRow>) -> Result<Option<Candidate>, MemberError> {
        let covered = last.map_or(0, |row| row.last_height);
        let Some(height) = self.shared.outbox.first_above(covered)? else { return Ok(None) };
        let book = &self.shared.book;
        let Some(waiting) = book.of_height(height)?.filter(|posted| posted.is_final) else {
            return Ok(None);
        };
        let waiting = waiting.row.batch;
        let (_, Some(newest)) = book.newest()? else { return Ok(None) };
        let newest = newest.batch.index;
        for index in (waiting.index..=newest).rev().take(MAX_CANDIDATES) {
            let Some(posted) = book.of_index(index)?.filter(|posted| posted.is_final) else {
                continue;
            };
            let batch = posted.row.batch;
            if self.judge(batch.last_height, batch.state_root)? == Judgement::Right {
                return Ok(Some(Candidate {
                    batch: index,
                    waiting: waiting.index,
                    waiting_since_s: waiting.posted_at,
                }));
            }
        }
        Ok(None)
    }

    /// The call of a duty, and the wei that go along. Nothing if the batch is not there any more.
    fn call(&self, duty: Duty) -> Result<Option<(Bytes, U256)>, SettlementError> {
        let bond = self.contracts.output_bond_wei;
        let batch = |index| -> Result<Option<Batch>, MemberError> {
            Ok(self.shared.book.of_index(index)?.map(|posted| posted.row.batch))
        };
        Ok(match duty {
            Duty::Propose(index) => batch(index)?.map(|batch| {
                let call = OutputOracle::proposeCall { b: (&batch).into() };
                (call.abi_encode().into(), bond)
            }),
            Duty::Prove(index) => match batch(index)? {
                Some(batch) => self.proof(&batch)?.map(|proof| {
                    let call = OutputOracle::proveCall { index, proof };
                    (call.abi_encode().into(), U256::ZERO)
                }),
                None => None,
            },
            Duty::Challenge(index) => {
                Some((OutputOracle::challengeCall { index }.abi_encode().into(), bond))
            }
            Duty::Reject(index) => {
                Some((OutputOracle::rejectCall { index }.abi_encode().into(), U256::ZERO))
            }
            Duty::ReturnBond(index) => {
                Some((OutputOracle::returnBondCall { index }.abi_encode().into(), U256::ZERO))
            }
        })
    }

    /// The committee's proof of the state after a batch: the certified commitment `executed_lag` heights up.
    fn proof(&self, batch: &Batch) -> Result<Option<Bytes>, SettlementError> {
        let records = &self.shared.records;
        let height = batch.last_height.saturating_add(self.shared.genesis.params.executed_lag);
        let (Some(executed), Some(block), Some(record)) =
            (records.executed(batch.last_height)?, records.block(height)?, records.height(height)?)
        else {
            return Ok(None);
        };
        let mut chain = vec![block.commitment.commitment];
        chain.extend(record.proof.descendants);
        let proof =
            committee_proof(batch, executed.opening_root, &chain, &record.proof.certificate);
        // The certificate was verified before it was stored.
        Ok(Some(proof.map_err(|_| MemberError::Damaged("height record"))?))
    }

    /// Takes out what the oracle owes.
    async fn collect(
        &mut self,
        now_s: u64,
        prices: &Prices,
    ) -> Result<Option<Errand>, SettlementError> {
        if now_s < self.owed_at_s {
            return Ok(None);
        }
        let oracle = OutputOracle::new(self.contracts.oracle, self.l1.provider());
        let owed = oracle.owed(self.own).call().await.map_err(contract_error)?;
        self.owed_at_s = now_s.saturating_add(OWED_EVERY_S);
        if owed.is_zero() {
            return Ok(None);
        }
        let call = OutputOracle::withdrawCall {}.abi_encode().into();
        self.errand("withdraw", call, U256::ZERO, prices).await
    }

    /// A call that L1 says it would take now; nothing if it would not.
    async fn errand(
        &mut self,
        name: &'static str,
        call: Bytes,
        value: U256,
        prices: &Prices,
    ) -> Result<Option<Errand>, SettlementError> {
        let to = self.contracts.oracle;
        if !value.is_zero() && !self.affords(value, prices).await? {
            return Ok(None);
        }
        let request = TransactionRequest::default()
            .with_from(self.own)
            .with_to(to)
            .with_value(value)
            .with_input(call.clone());
        match self.l1.provider().estimate_gas(request).await {
            Ok(gas) => {
                let gas_limit = gas.saturating_add(gas / 2).min(MAX_TRANSACTION_GAS);
                metrics::output(name);
                Ok(Some(Errand { name, to, call, value, gas_limit }))
            }
            Err(error) => match fault(&error) {
                SendFault::Unreachable => Err(transport(error)),
                _ => {
                    debug!(target: "blindfold::settlement", duty = name, %error, "L1 would not take it now");
                    metrics::output("refused");
                    Ok(None)
                }
            },
        }
    }

    /// Whether the account can do without these wei and go on posting.
    async fn affords(&mut self, value: U256, prices: &Prices) -> Result<bool, SettlementError> {
        let provider = self.l1.provider();
        let balance = provider.get_balance(self.own).await.map_err(transport)?;
        let reserve =
            U256::from(Bid::first(prices).max_fee).saturating_mul(U256::from(RESERVED_GAS));
        let needed = value.saturating_add(reserve);
        let poor = balance < needed;
        if poor && !self.is_poor {
            error!(target: "blindfold::settlement", account = %self.own, %balance, %needed,
                "too little on L1 for the bond of an output: fund the account");
            metrics::output("unfunded");
        }
        self.is_poor = poor;
        Ok(!poor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindfold_settlement::outputs::OutputStatus;

    fn row(index: u64, root: u8) -> OutputRow {
        let output = Output {
            index,
            state_root: B256::repeat_byte(root),
            proposer: Address::ZERO,
            proposed_at_s: 0,
            deadline_s: 9,
            status: OutputStatus::Proposed,
            challenger: Address::ZERO,
        };
        OutputRow { output, last_height: 10 * index }
    }

    #[test]
    fn a_judgement_is_of_one_root_and_kept_while_its_output_is_open() {
        let mut judged = Judgements::default();
        let [right, unknown] = [row(1, 7), row(2, 7)];
        assert_eq!(judged.of(&right.output), None);
        judged.note(&right.output, Judgement::Right);
        judged.note(&unknown.output, Judgement::Unknown);
        assert_eq!(judged.of(&right.output), Some(Judgement::Right));
        assert_eq!(judged.of(&unknown.output), None, "it is judged anew");
        // A reorg between two looks: another batch 1, with another root.
        let other = row(1, 8);
        assert_eq!(judged.of(&other.output), None);
        assert!(!judged.keep(&[other, unknown]), "no output ended");
        judged.note(&other.output, Judgement::Wrong);
        assert_eq!(judged.of(&other.output), Some(Judgement::Wrong));
        assert_eq!(judged.of(&right.output), None);
        assert!(judged.keep(&[unknown]));
        assert_eq!(judged.of(&other.output), None);
    }
}
