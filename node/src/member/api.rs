//! Answers the RPC's questions from what the node's tasks share.

use super::{MemberError, Shared, bridge, pool::PoolRequest, records::HeightRecord};
use crate::{
    rpc::{
        api::{
            AccountView, BlockView, CallOutcome, CallRequest, ExecutedTransaction, HeaderView,
            NodeApi, NodeEvent, ReadError, Readiness, SubmitError, TransactionLocation,
        },
        reasons,
    },
    transport::PeerControl,
};
use alloy_consensus::Receipt;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_execution::{
    BlockRecord, CallError, CallSettings, ForcedVerdict, Verdict,
    bal::BlockAccessList,
    call,
    escrow::EscrowView,
    estimate_gas,
    state::{ParentState, StateError},
    witness::{ExecutionWitness, ReplayFile, ReplayParts},
};
use blindfold_mempool::{AccountView as _, PoolStatus, Removal};
use blindfold_sdk::rpc::{
    CommitmentDocument, EvidenceDocument, ForcedDocument, ForcedStatus, HeadDocument,
    HeightDocument, OpeningDocument, PayerDocument, PendingDocument, SettlementDocument,
    SettlementHeadDocument, WithdrawalDocument,
};
use blindfold_wire::{
    Evidence, ForcedItem, ForcedSpan, Opening, SignedReceipt, TxStatus, encode_opening,
    genesis::Genesis,
};
use futures::future::BoxFuture;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Times a call is begun anew because the chain moved on under it.
const CALL_RETRIES: usize = 5;

/// [`NodeApi`] over a running node.
pub struct Api {
    shared: Arc<Shared>,
    pool: mpsc::Sender<PoolRequest>,
    peers: PeerControl,
}

impl Api {
    /// An API of the node that `shared` and `pool` belong to.
    pub fn new(shared: Arc<Shared>, pool: mpsc::Sender<PoolRequest>, peers: PeerControl) -> Self {
        Self { shared, pool, peers }
    }

    /// Reads the state if `height` is the executed tip.
    fn at<T>(
        &self,
        height: u64,
        read: impl FnOnce(&ParentState) -> Result<T, MemberError>,
    ) -> Result<T, ReadError> {
        self.shared.chain.read(|state| {
            let newest = state.tip().height;
            if height != newest {
                return Err(ReadError::HistoryUnavailable {
                    requested: height,
                    oldest: newest,
                    newest,
                });
            }
            read(state).map_err(failed)
        })
    }

    /// Runs something long on the state of `height`, again if the chain moves on meanwhile and the
    /// caller asked for the tip.
    fn long<T>(
        &self,
        height: u64,
        run: impl Fn(&ParentState) -> Result<T, CallError>,
    ) -> Result<Result<T, CallError>, ReadError> {
        let mut state = self.shared.chain.state();
        let asked_for_tip = height == state.tip().height;
        for _ in 0..CALL_RETRIES {
            let newest = state.tip().height;
            // A tip named a moment ago may be one behind by now; the newest state answers as well.
            if !asked_for_tip && height.saturating_add(1) < newest || height > newest {
                return Err(ReadError::HistoryUnavailable {
                    requested: height,
                    oldest: newest,
                    newest,
                });
            }
            match run(&state) {
                Err(CallError::State(StateError::Moved { .. })) => {
                    state = self.shared.chain.state()
                }
                answer => return Ok(answer),
            }
        }
        Err(ReadError::Unavailable(
            "the chain moves faster than the call runs; try again".to_owned(),
        ))
    }

    fn settings(&self, request: &CallRequest) -> CallSettings {
        CallSettings::new(&self.shared.genesis, request.gas_limit)
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> ReadError {
    ReadError::Store(error.to_string())
}

fn execution_request(call: CallRequest) -> blindfold_execution::CallRequest {
    blindfold_execution::CallRequest {
        from: call.from,
        to: call.to,
        value: call.value,
        data: call.input,
        gas: Some(call.gas_limit),
        max_fee_per_gas: (call.gas_price_wei > 0).then_some(call.gas_price_wei),
        access_list: call.access_list,
        authorization_list: call.authorization_list,
        ..blindfold_execution::CallRequest::default()
    }
}

fn call_outcome(error: CallError) -> Result<CallOutcome, ReadError> {
    match error {
        CallError::Reverted { data, .. } => Ok(CallOutcome::Reverted(data)),
        error @ (CallError::Halted { .. } | CallError::Invalid(_) | CallError::GasCap { .. }) => {
            Ok(CallOutcome::Halted(error.to_string()))
        }
        error @ (CallError::State(_) | CallError::Evm(_)) => Err(failed(error)),
    }
}

/// An executed block as the RPC serves it.
pub(super) fn block_view(record: &BlockRecord) -> BlockView {
    let transactions = record
        .transactions
        .iter()
        .zip(&record.receipts)
        .map(|(transaction, receipt)| ExecutedTransaction {
            transaction: transaction.signed().clone(),
            sender: transaction.sender(),
            receipt: Receipt {
                status: receipt.success.into(),
                cumulative_gas_used: receipt.cumulative_gas_used,
                logs: receipt.logs.clone(),
            },
            gas_used: receipt.gas_used,
        })
        .collect();
    BlockView { hash: record.hash, header: record.header.clone(), transactions }
}

/// Every envelope of a block with its final status.
pub(super) fn statuses(record: &BlockRecord) -> impl Iterator<Item = (B256, TxStatus)> + '_ {
    (0u32..)
        .zip(&record.outcomes)
        .map(|(position, outcome)| (outcome.envelope_id, outcome.status(record.height(), position)))
}

/// The forced items of a height, and what became of them once it is executed.
fn forced_documents(forced: &ForcedSpan, executed: Option<&BlockRecord>) -> Vec<ForcedDocument> {
    let document = |(at, item): (usize, &ForcedItem)| {
        let outcome = executed.and_then(|executed| executed.forced.get(at));
        ForcedDocument {
            index: item.index,
            kind: item.kind().map_or_else(|| item.kind.to_string(), |kind| kind.name().to_owned()),
            sender: item.sender,
            data: item.data.clone(),
            outcome: outcome.map(|outcome| forced_status(&outcome.verdict)),
        }
    };
    forced.items().iter().enumerate().map(document).collect()
}

fn forced_status(verdict: &ForcedVerdict) -> ForcedStatus {
    match *verdict {
        ForcedVerdict::Ordered { position } => ForcedStatus::Ordered { position },
        ForcedVerdict::Executed { transaction_index, transaction_hash, success } => {
            ForcedStatus::Executed {
                tx_hash: transaction_hash,
                tx_index: transaction_index,
                success,
            }
        }
        ForcedVerdict::Credited { to, wei } => ForcedStatus::Credited { to, wei },
        ForcedVerdict::Skipped { reason, transaction_hash } => {
            ForcedStatus::Skipped { reason, tx_hash: transaction_hash }
        }
    }
}

/// How many envelopes of a block ended how.
pub(super) fn counts(record: &BlockRecord) -> [(&'static str, u64); 3] {
    let count = |wanted: fn(&Verdict) -> bool| {
        record.outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count() as u64
    };
    [
        ("executed", count(|verdict| matches!(verdict, Verdict::Executed { .. }))),
        ("skipped", count(|verdict| matches!(verdict, Verdict::Skipped { .. }))),
        ("undecryptable", count(|verdict| matches!(verdict, Verdict::Undecryptable))),
    ]
}

impl Shared {
    /// Status of an envelope.
    fn envelope_status(&self, id: B256) -> Result<Option<TxStatus>, MemberError> {
        if let Some(place) = self.records.envelope(id)? {
            let (height, position) = (place.height, place.at);
            if let Some(record) = self.records.executed(height)? {
                let outcome = record.outcomes.get(position as usize);
                return Ok(outcome.map(|outcome| outcome.status(height, position)));
            }
            let opened = self.records.openings(height)?;
            let opening = opened.as_ref().and_then(|set| set.openings.get(position as usize));
            return Ok(Some(match opening {
                Some(Opening::Undecryptable { .. }) => TxStatus::Undecryptable { height, position },
                Some(Opening::Opened { .. }) => TxStatus::Opened { height, position },
                None => TxStatus::Ordered { height, position },
            }));
        }
        let pool = self.pool.lock();
        Ok(pool.status(&id).map(|status| match status {
            PoolStatus::Pending | PoolStatus::Gapped => TxStatus::Pending,
            PoolStatus::Ended(Removal::Replaced { by } | Removal::Superseded { by }) => {
                TxStatus::Replaced { by }
            }
            PoolStatus::Ended(Removal::Expired { height }) => TxStatus::Expired { height },
            PoolStatus::Ended(
                Removal::Evicted | Removal::Unpaid | Removal::Stale | Removal::NotRestored,
            ) => TxStatus::Evicted,
            // Its index is written with the height; between the two it is still on its way.
            PoolStatus::Ended(Removal::Ordered { .. }) => TxStatus::Pending,
        }))
    }

    fn commitment_document(&self, height: u64) -> Result<Option<CommitmentDocument>, MemberError> {
        let (Some(record), Some(block)) =
            (self.records.height(height)?, self.records.block(height)?)
        else {
            return Ok(None);
        };
        let commitment = &block.commitment.commitment;
        let leader = self.leader_of(commitment);
        let own = record.proof.descendants.is_empty();
        Ok(Some(CommitmentDocument {
            height,
            digest: record.digest,
            leader: u32::try_from(leader).unwrap_or(u32::MAX),
            leader_address: self
                .genesis
                .committee
                .members
                .get(leader)
                .map(|member| member.signer)
                .unwrap_or_default(),
            commitment: block.commitment.encode().into(),
            envelope_ids: block.validate_shape()?,
            certificate: own.then(|| record.proof.certificate.encode_engine().into()),
            certified_by: record
                .proof
                .descendants
                .first()
                .map(blindfold_wire::OrderCommitment::digest),
        }))
    }

    fn height_document(&self, height: u64) -> Result<Option<HeightDocument>, MemberError> {
        let (Some(record), Some(block)) =
            (self.records.height(height)?, self.records.block(height)?)
        else {
            return Ok(None);
        };
        let executed = self.records.executed(height)?;
        let [executed_count, skipped, undecryptable] =
            executed.as_ref().map(counts).unwrap_or_default();
        let narrow = |(_, count): (&str, u64)| u32::try_from(count).unwrap_or(u32::MAX);
        let HeightRecord { digest, proof, released, ordered_ms, opened_ms, executed_ms } = record;
        let commitment = block.commitment.commitment;
        Ok(Some(HeightDocument {
            height,
            digest,
            leader: u32::try_from(self.leader_of(&commitment)).unwrap_or(u32::MAX),
            count: commitment.count,
            proposed_ms: commitment.timestamp_ms,
            ordered_ms,
            opened_ms,
            executed_ms,
            commitment: commitment.encode().into(),
            certificate: proof.certificate.encode_engine().into(),
            descendants: proof.descendants.iter().map(|link| link.encode().into()).collect(),
            released: released.map(|header| header.encode().into()),
            l1_block: commitment.l1_block,
            l1_base_fee_wei: commitment.l1_base_fee,
            forced: forced_documents(&block.forced, executed.as_ref()),
            state_root: executed.map(|executed| executed.state_root()),
            executed: narrow(executed_count),
            skipped: narrow(skipped),
            undecryptable: narrow(undecryptable),
        }))
    }
}

impl NodeApi for Api {
    fn genesis(&self) -> Arc<Genesis> {
        Arc::clone(&self.shared.genesis)
    }

    fn head(&self) -> HeadDocument {
        let progress = self.shared.chain.progress();
        let executed_hash = self.shared.chain.read(|state| state.tip().block_hash);
        HeadDocument {
            ordered_height: progress.ordered_height,
            opened_height: progress.opened_height,
            executed_height: progress.executed_height,
            executed_hash,
            next_base_fee_wei: progress.next.base_fee,
            least_max_fee_wei: progress.floor(&self.shared.genesis.params).least_max_fee,
            l1_base_fee_wei: progress.next.l1_base_fee,
            suggested_priority_fee_wei: (progress.next.base_fee / 10).max(1),
            uncertified_releases: self.shared.uncertified_releases.load(Ordering::Relaxed),
        }
    }

    fn readiness(&self) -> Readiness {
        if let Some(reason) = self.shared.failure() {
            return Readiness::NotReady(reason);
        }
        let members = self.shared.genesis.committee.members.len();
        let quorum = blindfold_wire::quorum(members);
        // A follower needs no quorum: what it is told by one member proves itself.
        let reached = self.peers.connected_members().len();
        let (reached, quorum) = match self.shared.keys {
            Some(_) => (reached + 1, quorum),
            None => (reached, 1),
        };
        if reached < quorum {
            return Readiness::NotReady(format!(
                "{reached} of {members} members reached, a quorum is {quorum}"
            ));
        }
        let executed_height = self.shared.chain.progress().executed_height;
        let highest = self.shared.highest_known();
        if highest.saturating_sub(executed_height) > super::lag::BEHIND_HEIGHTS {
            return Readiness::Syncing {
                started_at: self.shared.started_at,
                current: executed_height,
                highest,
            };
        }
        Readiness::Ready
    }

    fn peer_count(&self) -> usize {
        self.peers.connected().len()
    }

    fn submit(&self, envelope: Bytes) -> BoxFuture<'_, Result<SignedReceipt, SubmitError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let unavailable = |reason, message: &str| SubmitError::Unavailable {
                reason,
                message: message.to_owned(),
            };
            let busy = |_| unavailable(reasons::BUSY, "the mempool is busy; try again");
            self.pool.try_send(PoolRequest::Submit { bytes: envelope, reply }).map_err(busy)?;
            let stopping = |_| unavailable(reasons::STOPPING, "the node is stopping");
            answer.await.map_err(stopping)?
        })
    }

    fn status(&self, id: B256) -> Result<Option<TxStatus>, ReadError> {
        if let Some(status) = self.shared.envelope_status(id).map_err(failed)? {
            return Ok(Some(status));
        }
        let Some(place) = self.shared.records.transaction(id).map_err(failed)? else {
            return Ok(None);
        };
        let record = self.shared.records.executed(place.height).map_err(failed)?;
        Ok(record.and_then(|record| {
            statuses(&record).map(|(_, status)| status).find(
                |status| matches!(status, TxStatus::Executed { tx_hash, .. } if *tx_hash == id),
            )
        }))
    }

    fn settlement(&self, height: u64) -> Result<Option<SettlementDocument>, ReadError> {
        bridge::settlement(&self.shared, height)
    }

    fn settlement_head(&self) -> Result<SettlementHeadDocument, ReadError> {
        let (newest, settled) = self.shared.book.newest().map_err(failed)?;
        Ok(SettlementHeadDocument {
            batches: newest.as_ref().map_or(0, |row| row.batch.index),
            posted_height: newest.map_or(0, |row| row.batch.last_height),
            finalized_height: settled.map_or(0, |row| row.batch.last_height),
            l1_final_block: self.shared.l1.view().finalized().map(|block| block.number),
        })
    }

    fn withdrawal(&self, index: u64) -> Result<Option<WithdrawalDocument>, ReadError> {
        bridge::withdrawal(&self.shared, index)
    }

    fn withdrawals(
        &self,
        sender: Address,
        first: u64,
        limit: usize,
    ) -> Result<Vec<WithdrawalDocument>, ReadError> {
        bridge::withdrawals(&self.shared, sender, first, limit)
    }

    fn payer(&self, payer: Address) -> Result<PayerDocument, ReadError> {
        let accounts = self.shared.chain.accounts([payer]).map_err(failed)?;
        let next_nonce = accounts.next_nonce(&payer);
        let pending_nonce = self.shared.pool.lock().next_free_nonce(&payer, next_nonce);
        let (escrow_wei, executed_height) = self.shared.chain.read(|state| {
            let height = state.tip().height;
            let account = EscrowView::at(state, height)
                .and_then(|view| view.account(payer))
                .map_err(failed)?;
            Ok::<_, ReadError>((account.balance, height))
        })?;
        Ok(PayerDocument { address: payer, next_nonce, pending_nonce, escrow_wei, executed_height })
    }

    fn pending(&self, limit: usize) -> Vec<PendingDocument> {
        let pool = self.shared.pool.lock();
        pool.iter()
            .take(limit)
            .map(|envelope| PendingDocument {
                envelope_id: envelope.id(),
                payer: envelope.payer(),
                envelope: envelope.bytes().clone(),
            })
            .collect()
    }

    fn height_record(&self, height: u64) -> Result<Option<HeightDocument>, ReadError> {
        self.shared.height_document(height).map_err(failed)
    }

    fn evidence(&self) -> Result<Vec<EvidenceDocument>, ReadError> {
        let found = self.shared.records.evidence().map_err(failed)?;
        let document = |evidence: &Evidence| EvidenceDocument {
            id: evidence.id(),
            offence: evidence.offence().to_owned(),
            evidence: evidence.encode().into(),
        };
        Ok(found.iter().map(document).collect())
    }

    fn commitment_by_height(&self, height: u64) -> Result<Option<CommitmentDocument>, ReadError> {
        self.shared.commitment_document(height).map_err(failed)
    }

    fn commitment_by_digest(&self, digest: B256) -> Result<Option<CommitmentDocument>, ReadError> {
        match self.shared.records.height_of_digest(digest).map_err(failed)? {
            Some(height) => self.commitment_by_height(height),
            None => Ok(None),
        }
    }

    fn opening(&self, height: u64, position: u32) -> Result<Option<OpeningDocument>, ReadError> {
        let records = &self.shared.records;
        let (Some(set), Some(block)) =
            (records.openings(height).map_err(failed)?, records.block(height).map_err(failed)?)
        else {
            return Ok(None);
        };
        let ids = block.validate_shape().map_err(failed)?;
        let at = position as usize;
        let (Some(opening), Some(envelope), Some(envelope_id)) =
            (set.openings.get(at), block.envelopes.get(at), ids.get(at))
        else {
            return Ok(None);
        };
        Ok(Some(OpeningDocument {
            height,
            position,
            envelope_id: *envelope_id,
            envelope: envelope.clone(),
            decryptable: matches!(opening, Opening::Opened { .. }),
            opening: encode_opening(opening).into(),
        }))
    }

    fn header(&self, height: u64) -> Result<Option<HeaderView>, ReadError> {
        let record = self.shared.records.executed(height).map_err(failed)?;
        Ok(record.map(|record| HeaderView { hash: record.hash, header: record.header }))
    }

    fn block(&self, height: u64) -> Result<Option<Arc<BlockView>>, ReadError> {
        let record = self.shared.records.executed(height).map_err(failed)?;
        Ok(record.map(|record| Arc::new(block_view(&record))))
    }

    fn height_of(&self, block_hash: B256) -> Result<Option<u64>, ReadError> {
        self.shared.records.height_of_block(block_hash).map_err(failed)
    }

    fn transaction_location(&self, hash: B256) -> Result<Option<TransactionLocation>, ReadError> {
        let place = self.shared.records.transaction(hash).map_err(failed)?;
        Ok(place.map(|place| TransactionLocation { height: place.height, index: place.at }))
    }

    fn account(&self, height: u64, address: Address) -> Result<AccountView, ReadError> {
        let account =
            self.at(height, |state| Ok(state.account(address).map_err(StateError::from)?))?;
        Ok(account.map_or_else(AccountView::default, |account| AccountView {
            balance: account.balance,
            nonce: account.nonce,
        }))
    }

    fn code(&self, height: u64, address: Address) -> Result<Bytes, ReadError> {
        self.at(height, |state| Ok(state.code_at(address).map_err(StateError::from)?))
    }

    fn storage(&self, height: u64, address: Address, slot: B256) -> Result<B256, ReadError> {
        let slot = U256::from_be_bytes(slot.0);
        let value =
            self.at(height, |state| Ok(state.storage(address, slot).map_err(StateError::from)?))?;
        Ok(B256::from(value))
    }

    fn proof(
        &self,
        height: u64,
        address: Address,
        slots: &[B256],
    ) -> Result<EIP1186AccountProofResponse, ReadError> {
        bridge::proof(&self.shared, height, address, slots)
    }

    fn witness(&self, height: u64) -> Result<Option<ExecutionWitness>, ReadError> {
        let heights = self.shared.witnesses.heights();
        if heights == 0 {
            let how = "this node keeps no witnesses; see [storage] witness_heights in node.toml";
            return Err(ReadError::Unavailable(how.to_owned()));
        }
        let newest = self.shared.chain.progress().executed_height;
        match self.shared.records.witness(height).map_err(failed)? {
            Some(witness) => Ok(Some(witness)),
            None if height > newest => Ok(None),
            None => Err(ReadError::HistoryUnavailable {
                requested: height,
                oldest: newest.saturating_add(1).saturating_sub(heights).max(1),
                newest,
            }),
        }
    }

    fn access_list(&self, height: u64) -> Result<Option<BlockAccessList>, ReadError> {
        self.shared.records.access_list(height).map_err(failed)
    }

    fn replay_file(&self, height: u64) -> Result<Option<ReplayFile>, ReadError> {
        let Some(witness) = self.witness(height)? else { return Ok(None) };
        let records = &self.shared.records;
        let (Some(block), Some(known), Some(set), Some(record), Some(access_list)) = (
            records.block(height).map_err(failed)?,
            records.height(height).map_err(failed)?,
            records.openings(height).map_err(failed)?,
            records.executed(height).map_err(failed)?,
            records.access_list(height).map_err(failed)?,
        ) else {
            return Ok(None);
        };
        ReplayFile::new(&ReplayParts {
            genesis: &self.shared.genesis,
            block: &block,
            certificate: &known.proof.certificate,
            descendants: &known.proof.descendants,
            openings: &set.openings,
            record: &record,
            access_list: &access_list,
            witness: &witness,
        })
        .map(Some)
        .map_err(failed)
    }

    fn call(&self, height: u64, request: CallRequest) -> Result<CallOutcome, ReadError> {
        let settings = self.settings(&request);
        let request = execution_request(request);
        match self.long(height, |state| call(state, &settings, &request))? {
            Ok(outcome) => Ok(CallOutcome::Returned(outcome.output)),
            Err(error) => call_outcome(error),
        }
    }

    fn estimate_gas(
        &self,
        height: u64,
        request: CallRequest,
    ) -> Result<Result<u64, CallOutcome>, ReadError> {
        let settings = self.settings(&request);
        let request = execution_request(request);
        match self.long(height, |state| estimate_gas(state, &settings, &request))? {
            Ok(gas) => Ok(Ok(gas)),
            Err(error) => call_outcome(error).map(Err),
        }
    }

    fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.shared.events.subscribe()
    }
}
