//! Answers the RPC's questions from what the node's tasks share.

use super::{
    Shared, bridge,
    documents::{block_view, failed, statuses},
    pool::PoolRequest,
    tip,
};
use crate::{
    rpc::{
        api::{
            AccountView, BlockView, CallOutcome, CallRequest, HeaderView, NodeApi, NodeEvent,
            ReadError, Readiness, SubmitError, TransactionLocation,
        },
        reasons,
    },
    transport::PeerControl,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_execution::{
    bal::BlockAccessList,
    escrow::EscrowView,
    state::StateError,
    witness::{ExecutionWitness, ReplayFile, ReplayParts},
};
use blindfold_mempool::AccountView as _;
use blindfold_sdk::rpc::{
    CommitmentDocument, EvidenceDocument, HeadDocument, HeightDocument, OpeningDocument,
    PayerDocument, PendingDocument, SettlementDocument, SettlementHeadDocument, WithdrawalDocument,
};
use blindfold_wire::{Evidence, SignedReceipt, TxStatus, genesis::Genesis};
use futures::future::BoxFuture;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::{broadcast, mpsc, oneshot};

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
        self.shared.opening_document(height, position).map_err(failed)
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
        let account = tip::read(&self.shared.chain, height, |state| {
            Ok(state.account(address).map_err(StateError::from)?)
        })?;
        Ok(account.map_or_else(AccountView::default, |account| AccountView {
            balance: account.balance,
            nonce: account.nonce,
        }))
    }

    fn code(&self, height: u64, address: Address) -> Result<Bytes, ReadError> {
        tip::read(&self.shared.chain, height, |state| {
            Ok(state.code_at(address).map_err(StateError::from)?)
        })
    }

    fn storage(&self, height: u64, address: Address, slot: B256) -> Result<B256, ReadError> {
        let slot = U256::from_be_bytes(slot.0);
        let value = tip::read(&self.shared.chain, height, |state| {
            Ok(state.storage(address, slot).map_err(StateError::from)?)
        })?;
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
        tip::call(&self.shared, height, request)
    }

    fn estimate_gas(
        &self,
        height: u64,
        request: CallRequest,
    ) -> Result<Result<u64, CallOutcome>, ReadError> {
        tip::estimate_gas(&self.shared, height, request)
    }

    fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.shared.events.subscribe()
    }
}
