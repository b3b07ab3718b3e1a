//! Answers about L1: where a height is posted, which withdrawals there are, and what proves them.

use super::{MemberError, Shared, documents::failed};
use crate::{
    rpc::api::ReadError,
    settlement::{book::Posted, outbox::WithdrawalRow, outputs::OutputRow, rows::PostedRow},
};
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;
use blindfold_execution::{
    escrow::OUTBOX_ADDRESS,
    state::{AccountProof, StorageProof},
};
use blindfold_sdk::rpc::{
    OutputDocument, OutputState, SettlementDocument, SettlementState, WithdrawalDocument,
};
use blindfold_settlement::outputs::OutputStatus;

/// See [`NodeApi::settlement`](crate::rpc::NodeApi::settlement).
pub(super) fn settlement(
    shared: &Shared,
    height: u64,
) -> Result<Option<SettlementDocument>, ReadError> {
    let posted = shared.book.of_height(height).map_err(failed)?;
    Ok(posted.map(|Posted { row: PostedRow { batch, transaction }, is_final }| {
        SettlementDocument {
            state: if is_final { SettlementState::Finalized } else { SettlementState::Posted },
            batch: batch.index,
            first_height: batch.first_height,
            last_height: batch.last_height,
            l1_transaction: transaction,
            l1_block: batch.l1_block,
            poster: batch.poster,
        }
    }))
}

/// See [`NodeApi::withdrawal`](crate::rpc::NodeApi::withdrawal).
pub(super) fn withdrawal(
    shared: &Shared,
    index: u64,
) -> Result<Option<WithdrawalDocument>, ReadError> {
    let row = shared.outbox.withdrawal(index).map_err(failed)?;
    row.map(|row| document(shared, row)).transpose()
}

/// See [`NodeApi::withdrawals`](crate::rpc::NodeApi::withdrawals).
pub(super) fn withdrawals(
    shared: &Shared,
    sender: Address,
    first: u64,
    limit: usize,
) -> Result<Vec<WithdrawalDocument>, ReadError> {
    let rows = shared.outbox.sent_by(sender, first, limit).map_err(failed)?;
    rows.into_iter().map(|row| document(shared, row)).collect()
}

/// A withdrawal with what L1 has of its height.
fn document(shared: &Shared, row: WithdrawalRow) -> Result<WithdrawalDocument, ReadError> {
    let settlement = settlement(shared, row.height)?;
    let now_s = shared.outputs.seen().map_or(0, |newest| newest.timestamp_s);
    let output = match settlement {
        Some(posted) => {
            let covering =
                shared.outputs.covering(posted.batch, now_s, |row| may_be_right(shared, row));
            covering.map_err(failed)?
        }
        None => None,
    };
    Ok(WithdrawalDocument {
        index: row.withdrawal.index,
        sender: row.withdrawal.sender,
        to: row.withdrawal.to,
        amount_wei: row.withdrawal.amount_wei,
        height: row.height,
        transaction: row.transaction,
        settlement,
        output: output.map(|OutputRow { output, last_height }| OutputDocument {
            state: match output.status {
                _ if output.is_final(now_s) => OutputState::Final,
                OutputStatus::Challenged => OutputState::Challenged,
                OutputStatus::Proposed | OutputStatus::Settled => OutputState::Proposed,
            },
            batch: output.index,
            last_height,
            state_root: output.state_root,
            deadline_s: output.deadline_s,
            proposer: output.proposer,
        }),
    })
}

/// Whether an output's root is the one that this node computed, or it has not got so far. What it can prove fits no
/// other root, so to name such an output would keep those who ask from one that pays.
fn may_be_right(shared: &Shared, row: &OutputRow) -> Result<bool, MemberError> {
    let executed = shared.records.executed(row.last_height)?;
    Ok(executed.is_none_or(|record| record.state_root() == row.output.state_root))
}

/// See [`NodeApi::proof`](crate::rpc::NodeApi::proof).
pub(super) fn proof(
    shared: &Shared,
    height: u64,
    address: Address,
    slots: &[B256],
) -> Result<EIP1186AccountProofResponse, ReadError> {
    let numbers: Vec<U256> = slots.iter().map(|slot| U256::from_be_bytes(slot.0)).collect();
    let newest = shared.chain.progress().executed_height;
    let kept = match address == OUTBOX_ADDRESS && height != newest {
        true => shared.outbox.proof(height, slots).map_err(failed)?,
        false => None,
    };
    if let Some(kept) = kept {
        return Ok(response(kept));
    }
    shared.chain.read(|state| {
        let newest = state.tip().height;
        if height != newest {
            let (requested, oldest) = (height, newest);
            return Err(ReadError::HistoryUnavailable { requested, oldest, newest });
        }
        state.proof(address, &numbers).map(response).map_err(failed)
    })
}

fn response(proof: AccountProof) -> EIP1186AccountProofResponse {
    let slot = |StorageProof { slot, value, nodes }| EIP1186StorageProof {
        key: JsonStorageKey::Number(slot),
        value,
        proof: nodes,
    };
    EIP1186AccountProofResponse {
        address: proof.address,
        balance: proof.account.balance,
        code_hash: proof.account.code_hash,
        nonce: proof.account.nonce,
        storage_hash: proof.storage_root,
        account_proof: proof.nodes,
        storage_proof: proof.storage.into_iter().map(slot).collect(),
    }
}
