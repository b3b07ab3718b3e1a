//! A node for the server's tests: a few maps, and switches for failure.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use alloy_consensus::{Header, Receipt, TxEip1559, TxEnvelope};
use alloy_primitives::{Address, B256, Bloom, Bytes, LogData, TxKind, U256, address, b256};
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_execution::{
    bal::BlockAccessList,
    witness::{ExecutionWitness, ReplayFile},
};
use blindfold_sdk::{
    SigningKey,
    rpc::{
        CommitmentDocument, EvidenceDocument, HeadDocument, HeightDocument, OpeningDocument,
        PayerDocument, PendingDocument, SettlementDocument, SettlementHeadDocument,
        WithdrawalDocument,
    },
};
use blindfold_wire::{
    AdmissionReceipt, CheckedEnvelope, Genesis, SignedReceipt, TxStatus, testkit::TestCommittee,
};
use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{api::*, reasons};

/// Events that a subscriber may lag behind in tests.
pub(crate) const EVENT_CAPACITY: usize = 8;
/// Where the double's transactions go and its logs come from.
pub(crate) const EXCHANGE: Address = address!("00000000000000000000000000000000000000e1");
/// First topic of the double's logs.
pub(crate) const SWAP: B256 =
    b256!("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");

/// Withdrawals of the exchange.
pub(crate) const WITHDRAWALS: u64 = 1_000;

/// Bytes of each of the double's pending envelopes, of which it has any number.
pub(crate) const PENDING_BYTES: usize = 10_000;

pub(crate) struct TestNode {
    pub(crate) committee: TestCommittee,
    pub(crate) blocks: Mutex<BTreeMap<u64, Arc<BlockView>>>,
    pub(crate) statuses: Mutex<BTreeMap<B256, TxStatus>>,
    pub(crate) settlements: Mutex<BTreeMap<u64, SettlementDocument>>,
    pub(crate) readiness: Mutex<Readiness>,
    pub(crate) events: broadcast::Sender<NodeEvent>,
    /// Envelopes admitted.
    pub(crate) admitted: Mutex<Vec<B256>>,
    /// What `call` and `estimate_gas` answer with.
    pub(crate) outcome: Mutex<CallOutcome>,
    pub(crate) last_call: Mutex<Option<CallRequest>>,
    /// Submissions seen, valid or not.
    pub(crate) submissions: AtomicUsize,
    /// How many more reads of accounts find that the chain has moved on.
    pub(crate) restless: AtomicUsize,
}

impl TestNode {
    /// A node with `heights` executed heights above genesis; height h has h transactions.
    pub(crate) fn new(heights: u64) -> Arc<Self> {
        let node = Self {
            committee: TestCommittee::new(4, 7),
            blocks: Mutex::default(),
            statuses: Mutex::default(),
            settlements: Mutex::default(),
            readiness: Mutex::new(Readiness::Ready),
            events: broadcast::channel(EVENT_CAPACITY).0,
            admitted: Mutex::default(),
            outcome: Mutex::new(CallOutcome::Returned(Bytes::from_static(&[1, 2]))),
            last_call: Mutex::default(),
            submissions: AtomicUsize::new(0),
            restless: AtomicUsize::new(0),
        };
        for height in 0..=heights {
            node.blocks.lock().insert(height, Arc::new(block(height)));
        }
        Arc::new(node)
    }

    /// Adds the next height and tells subscribers.
    pub(crate) fn grow(&self) -> Arc<BlockView> {
        let mut blocks = self.blocks.lock();
        let height = blocks.len() as u64;
        let view = Arc::new(block(height));
        blocks.insert(height, Arc::clone(&view));
        let _ = self.events.send(NodeEvent::Executed(Arc::clone(&view)));
        view
    }

    /// Sets a status and tells subscribers.
    pub(crate) fn set_status(&self, envelope_id: B256, status: TxStatus) {
        self.statuses.lock().insert(envelope_id, status.clone());
        let _ = self.events.send(NodeEvent::Status { envelope_id, status });
    }
}

/// Height h: h transactions with one log each, to the exchange.
fn block(height: u64) -> BlockView {
    let key = SigningKey::from_bytes(&[0x31; 32]).unwrap();
    let transactions: Vec<ExecutedTransaction> =
        (0..height).map(|index| transaction(&key, height, index)).collect();
    let mut logs_bloom = Bloom::ZERO;
    for executed in &transactions {
        executed.receipt.logs.iter().for_each(|log| logs_bloom.accrue_log(log));
    }
    let header = Header {
        number: height,
        gas_limit: 60_000_000,
        gas_used: 21_000 * height,
        timestamp: 1_700_000_000 + height,
        base_fee_per_gas: Some(1_000 + height),
        withdrawals_root: Some(alloy_consensus::constants::EMPTY_WITHDRAWALS),
        logs_bloom,
        ..Default::default()
    };
    BlockView { hash: header.hash_slow(), header, transactions }
}

fn transaction(key: &SigningKey, height: u64, index: u64) -> ExecutedTransaction {
    let unsigned = TxEip1559 {
        chain_id: 1,
        nonce: height * 100 + index,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000,
        max_priority_fee_per_gas: u128::from(index + 1),
        to: TxKind::Call(EXCHANGE),
        value: U256::from(index),
        ..Default::default()
    };
    let transaction: TxEnvelope = crate::cli::tx::sign(unsigned, key);
    let topics = vec![SWAP, B256::from(U256::from(index))];
    let log = alloy_primitives::Log {
        address: EXCHANGE,
        data: LogData::new_unchecked(topics, Bytes::from(vec![index as u8])),
    };
    let receipt =
        Receipt { status: true.into(), cumulative_gas_used: 21_000 * (index + 1), logs: vec![log] };
    ExecutedTransaction { transaction, sender: key.address(), receipt, gas_used: 21_000 }
}

impl NodeApi for TestNode {
    fn genesis(&self) -> Arc<Genesis> {
        Arc::new(self.committee.genesis.clone())
    }

    fn head(&self) -> HeadDocument {
        let (height, view) = self
            .blocks
            .lock()
            .last_key_value()
            .map(|(height, view)| (*height, view.clone()))
            .unwrap();
        HeadDocument {
            ordered_height: height + 2,
            opened_height: height + 1,
            executed_height: height,
            executed_hash: view.hash,
            next_base_fee_wei: 2_000,
            least_max_fee_wei: 2_000,
            l1_base_fee_wei: 0,
            suggested_priority_fee_wei: 7,
            uncertified_releases: 0,
        }
    }

    fn readiness(&self) -> Readiness {
        self.readiness.lock().clone()
    }

    fn peer_count(&self) -> usize {
        3
    }

    fn submit(&self, envelope: Bytes) -> BoxFuture<'_, Result<SignedReceipt, SubmitError>> {
        async move {
            self.submissions.fetch_add(1, Ordering::SeqCst);
            let rules = self.committee.genesis.admission_rules().unwrap();
            let checked = CheckedEnvelope::check(&rules, &envelope).map_err(|error| {
                SubmitError::Invalid { reason: error.reason(), message: reasons::describe(&error) }
            })?;
            if self.admitted.lock().contains(&checked.id()) {
                let message = "already here".to_owned();
                return Err(SubmitError::Refused { reason: "already_known", message });
            }
            self.admitted.lock().push(checked.id());
            self.set_status(checked.id(), TxStatus::Pending);
            let receipt = AdmissionReceipt {
                chain_id: self.committee.genesis.chain_id,
                settlement: self.committee.genesis.settlement,
                envelope_id: checked.id(),
                member: 2,
                height_seen: 5,
            };
            Ok(receipt.sign(&self.committee.members[2].signer))
        }
        .boxed()
    }

    fn status(&self, id: B256) -> Result<Option<TxStatus>, ReadError> {
        Ok(self.statuses.lock().get(&id).cloned())
    }

    fn settlement(&self, height: u64) -> Result<Option<SettlementDocument>, ReadError> {
        Ok(self.settlements.lock().get(&height).copied())
    }

    fn settlement_head(&self) -> Result<SettlementHeadDocument, ReadError> {
        let settlements = self.settlements.lock();
        let last = settlements.last_key_value().map(|(_, document)| *document);
        Ok(SettlementHeadDocument {
            batches: last.map_or(0, |document| document.batch),
            posted_height: last.map_or(0, |document| document.last_height),
            finalized_height: 0,
            l1_final_block: last.map(|document| document.l1_block),
        })
    }

    fn withdrawal(&self, index: u64) -> Result<Option<WithdrawalDocument>, ReadError> {
        Ok((index < WITHDRAWALS).then(|| WithdrawalDocument {
            index,
            sender: EXCHANGE,
            to: EXCHANGE,
            amount_wei: U256::from(index),
            height: index,
            transaction: SWAP,
            settlement: None,
            output: None,
        }))
    }

    fn withdrawals(
        &self,
        sender: Address,
        first: u64,
        limit: usize,
    ) -> Result<Vec<WithdrawalDocument>, ReadError> {
        let own = if sender == EXCHANGE { WITHDRAWALS } else { 0 };
        let found = (first..own).take(limit);
        found.map(|index| self.withdrawal(index).map(Option::unwrap)).collect()
    }

    fn payer(&self, address: Address) -> Result<PayerDocument, ReadError> {
        let pending = self.admitted.lock().len() as u64;
        Ok(PayerDocument {
            address,
            next_nonce: 0,
            pending_nonce: pending,
            escrow_wei: U256::from(10).pow(U256::from(18)),
            executed_height: self.head().executed_height,
        })
    }

    fn pending(&self, limit: usize) -> Vec<PendingDocument> {
        let entry = PendingDocument {
            envelope_id: SWAP,
            payer: EXCHANGE,
            envelope: Bytes::from(vec![0; PENDING_BYTES]),
        };
        vec![entry; limit]
    }

    fn height_record(&self, _height: u64) -> Result<Option<HeightDocument>, ReadError> {
        Ok(None)
    }

    fn evidence(&self) -> Result<Vec<EvidenceDocument>, ReadError> {
        let evidence = Bytes::from_static(&[1, 2, 3]);
        let id = alloy_primitives::keccak256(&evidence);
        Ok(vec![EvidenceDocument { id, offence: "equivocation".to_owned(), evidence }])
    }

    fn commitment_by_height(&self, height: u64) -> Result<Option<CommitmentDocument>, ReadError> {
        Ok((height == 1).then(|| CommitmentDocument {
            height,
            digest: SWAP,
            leader: 0,
            leader_address: EXCHANGE,
            commitment: Bytes::new(),
            envelope_ids: Vec::new(),
            certificate: None,
            certified_by: Some(B256::ZERO),
        }))
    }

    fn commitment_by_digest(&self, digest: B256) -> Result<Option<CommitmentDocument>, ReadError> {
        if digest == SWAP { self.commitment_by_height(1) } else { Ok(None) }
    }

    fn opening(&self, height: u64, position: u32) -> Result<Option<OpeningDocument>, ReadError> {
        Ok((height == 1 && position == 0).then(|| OpeningDocument {
            height,
            position,
            envelope_id: SWAP,
            envelope: Bytes::new(),
            decryptable: true,
            opening: Bytes::new(),
        }))
    }

    fn header(&self, height: u64) -> Result<Option<HeaderView>, ReadError> {
        let block = self.block(height)?;
        Ok(block.map(|view| HeaderView { hash: view.hash, header: view.header.clone() }))
    }

    fn block(&self, height: u64) -> Result<Option<Arc<BlockView>>, ReadError> {
        Ok(self.blocks.lock().get(&height).cloned())
    }

    fn height_of(&self, block_hash: B256) -> Result<Option<u64>, ReadError> {
        Ok(self
            .blocks
            .lock()
            .values()
            .find(|view| view.hash == block_hash)
            .map(|view| view.header.number))
    }

    fn transaction_location(&self, hash: B256) -> Result<Option<TransactionLocation>, ReadError> {
        for (height, view) in self.blocks.lock().iter() {
            let found = view.transactions.iter().position(|one| *one.transaction.tx_hash() == hash);
            if let Some(index) = found {
                return Ok(Some(TransactionLocation { height: *height, index: index as u32 }));
            }
        }
        Ok(None)
    }

    fn account(&self, height: u64, _: Address) -> Result<AccountView, ReadError> {
        let left = self.restless.load(Ordering::SeqCst);
        if left > 0 {
            self.restless.store(left - 1, Ordering::SeqCst);
            (0..3).for_each(|_| drop(self.grow()));
        }
        let newest = self.head().executed_height;
        if height + 2 < newest {
            let oldest = newest - 2;
            return Err(ReadError::HistoryUnavailable { requested: height, oldest, newest });
        }
        Ok(AccountView { balance: U256::from(1_000 + height), nonce: height })
    }

    fn code(&self, _: u64, address: Address) -> Result<Bytes, ReadError> {
        Ok(if address == EXCHANGE { Bytes::from_static(&[0x60]) } else { Bytes::new() })
    }

    fn storage(&self, _: u64, _: Address, slot: B256) -> Result<B256, ReadError> {
        Ok(slot)
    }

    fn witness(&self, _: u64) -> Result<Option<ExecutionWitness>, ReadError> {
        Ok(None)
    }

    fn access_list(&self, _: u64) -> Result<Option<BlockAccessList>, ReadError> {
        Ok(None)
    }

    fn replay_file(&self, _: u64) -> Result<Option<ReplayFile>, ReadError> {
        Ok(None)
    }

    fn proof(
        &self,
        _: u64,
        address: Address,
        slots: &[B256],
    ) -> Result<EIP1186AccountProofResponse, ReadError> {
        let storage_proof = slots
            .iter()
            .map(|slot| alloy_rpc_types_eth::EIP1186StorageProof {
                key: (*slot).into(),
                ..Default::default()
            })
            .collect();
        Ok(EIP1186AccountProofResponse { address, storage_proof, ..Default::default() })
    }

    fn call(&self, _: u64, call: CallRequest) -> Result<CallOutcome, ReadError> {
        *self.last_call.lock() = Some(call);
        Ok(self.outcome.lock().clone())
    }

    fn estimate_gas(
        &self,
        _: u64,
        call: CallRequest,
    ) -> Result<Result<u64, CallOutcome>, ReadError> {
        *self.last_call.lock() = Some(call);
        Ok(match self.outcome.lock().clone() {
            CallOutcome::Returned(_) => Ok(21_000),
            failed => Err(failed),
        })
    }

    fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }
}
