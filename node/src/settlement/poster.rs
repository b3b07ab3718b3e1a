//! Posts batches: the effects around `settlement::poster`, which decides.
//!
//! One transaction at a time. It is stored, with fsync, before it is sent; after a restart it is found, looked for
//! on L1, and sent again or given up by the same rules as without the restart. The account's nonce, the inbox's
//! chain of hashes and this one row are all the state there is.

use super::{
    Contracts, SettlementError, contract_error,
    outputs::{Errand, Outputs},
    rows::PendingRow,
    transport,
};
use crate::{
    config::SettlementConfig,
    member::{MemberError, Shared},
    metrics,
    store::{Durability, Family, Store},
};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip4844, TxEip4844WithSidecar};
use alloy_eips::{BlockNumberOrTag, eip2718::Encodable2718 as _};
use alloy_network::TxSignerSync as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_provider::Provider as _;
use alloy_sol_types::SolCall as _;
use blindfold_settlement::{
    batch::{BatchBuilder, Draft, Limits, PushError},
    bindings::BatchInbox,
    blobs,
    l1::{L1Signer, SendFault, SharedL1, fault},
    poster::{Bid, Carriage, Fate, Policy, Prices, Rotation, Sent, Step, View, step},
    posting,
};
use blindfold_wire::{OpenedBatch, SigningKey};
use commonware_runtime::Clock;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, error, info, warn};

/// Key of the one row of [`Family::Posting`].
const PENDING: &[u8] = b"pending";
/// Gas of a call of `postBatch` beside its data, about: the pairing, the proof, the storage.
const CALL_GAS: u64 = 450_000;
/// Gas that is never asked for: the cap of a transaction (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 16_777_216;
/// Gas of a plain transfer, with room.
const CANCEL_GAS: u64 = 30_000;
/// Tip where the node suggests none, in wei per gas.
const LEAST_TIP: u128 = 1;
/// How often it is looked at whether a repayment is worth claiming, in seconds.
const CLAIM_EVERY_S: u64 = 60;
/// Heights that are looked at for one batch, at most.
const MAX_HEIGHTS_AT_ONCE: u64 = 2_048;

/// The poster's own state.
pub struct Poster {
    shared: Arc<Shared>,
    store: Store,
    l1: SharedL1,
    contracts: Contracts,
    signer: L1Signer,
    key: SigningKey,
    seat: u32,
    policy: Policy,
    limits: Limits,
    blobs: bool,
    claim_above_wei: U256,
    poll: Duration,
    /// The lowest height that is ready and not posted, and since when it is known to be.
    waiting: Option<(u64, u64)>,
    /// When it is next looked at whether a repayment is worth claiming, in seconds.
    claim_at_s: u64,
    /// What is to be done about outputs; `None` if this member leaves them to others.
    outputs: Option<Outputs>,
    /// Posts another order than the certified one.
    #[cfg(feature = "demo")]
    reorder: bool,
}

/// What the inbox says of its chain.
struct Head {
    batches: u64,
    last_height: u64,
    hash: B256,
}

impl Poster {
    /// A poster that pays with `key`, the member's own.
    pub fn new(
        shared: Arc<Shared>,
        l1: SharedL1,
        contracts: Contracts,
        key: SigningKey,
        config: &SettlementConfig,
    ) -> Self {
        let members = u32::try_from(shared.genesis.committee.members.len()).unwrap_or(u32::MAX);
        let outputs = config.outputs.then(|| {
            Outputs::new(Arc::clone(&shared), Arc::clone(&l1), contracts, key.address(), config)
        });
        Self {
            store: shared.records.store().clone(),
            seat: u32::try_from(shared.seat()).unwrap_or(u32::MAX),
            policy: Policy {
                rotation: Rotation { members, takeover_s: config.takeover_s },
                interval_s: config.interval_s,
                full_heights: config.full_heights,
                bump_after_s: config.bump_after_s,
                max_fee_cap: config.max_fee_wei.into(),
            },
            limits: Limits { max_heights: config.max_heights, ..Limits::default() },
            blobs: config.blobs,
            claim_above_wei: U256::from(config.claim_above_wei),
            poll: Duration::from_millis(config.poll_ms),
            signer: L1Signer::new(key.clone()),
            key,
            waiting: None,
            claim_at_s: 0,
            outputs,
            #[cfg(feature = "demo")]
            reorder: config.reorder,
            shared,
            l1,
            contracts,
        }
    }

    /// Posts until the node ends.
    pub async fn run<E: Clock>(mut self, clock: E) {
        loop {
            if let Err(reason) = self.turn(super::unix_ms(&clock) / 1_000).await {
                metrics::settlement_failure("poster");
                warn!(target: "blindfold::settlement", %reason, "nothing was posted; trying again");
            }
            clock.sleep(self.poll).await;
        }
    }

    /// One look, and what it asks for.
    async fn turn(&mut self, now_s: u64) -> Result<(), SettlementError> {
        let pending = self.pending()?;
        let head = self.head().await?;
        let prices = self.prices().await?;
        let address = self.key.address();
        let provider = self.l1.provider();
        let nonce = provider.get_transaction_count(address).await.map_err(transport)?;
        let executed = self.shared.chain.progress().executed_height;
        let view = View {
            batches: head.batches,
            parent: head.hash,
            ready_heights: executed.saturating_sub(head.last_height),
            waited_s: self.waited(head.last_height.saturating_add(1), executed, now_s),
            nonce,
            now_s,
        };
        let fate = match &pending {
            Some(pending) => Some(self.fate(pending).await?),
            None => None,
        };
        let sent = pending.as_ref().map(|pending| &pending.sent).zip(fate);
        match step(self.seat, &self.policy, &view, &prices, sent) {
            // The account's next nonce is free: nothing of it waits for a block.
            Step::Wait | Step::Keep if fate != Some(Fate::Open) => {
                self.run_errands(nonce, &prices, now_s).await?;
            }
            Step::Wait | Step::Keep => {}
            Step::Build => self.build(&head, &prices, nonce, now_s).await?,
            Step::Resend => {
                if let Some(pending) = pending {
                    let resent =
                        PendingRow { sent: Sent { sent_s: now_s, ..pending.sent }, ..pending };
                    self.send(resent).await?;
                }
            }
            Step::Bump(bid) => {
                if let Some(pending) = pending {
                    info!(target: "blindfold::settlement", nonce, max_fee = bid.max_fee, "offering more for a batch");
                    metrics::posting("bumped");
                    let sent = Sent { bid, sent_s: now_s, ..pending.sent };
                    self.send(PendingRow { sent, ..pending }).await?;
                }
            }
            Step::Cancel(bid) => {
                if let Some(pending) = pending {
                    info!(target: "blindfold::settlement", nonce, "another batch came first; taking ours back");
                    metrics::posting("cancelled");
                    self.send(cancelled(pending, bid, address, now_s)).await?;
                }
            }
            Step::Drop => {
                if fate == Some(Fate::Reverted) {
                    metrics::posting("reverted");
                    warn!(target: "blindfold::settlement", "L1 reverted what was sent; looking anew");
                }
                self.forget()?;
            }
        }
        Ok(())
    }

    /// How long the height has been ready, in seconds.
    fn waited(&mut self, height: u64, executed: u64, now_s: u64) -> u64 {
        if executed < height {
            self.waiting = None;
            return 0;
        }
        let since = match self.waiting {
            Some((known, since)) if known == height => since,
            _ => now_s,
        };
        self.waiting = Some((height, since));
        now_s.saturating_sub(since)
    }

    async fn head(&self) -> Result<Head, SettlementError> {
        let inbox = BatchInbox::new(self.contracts.inbox, self.l1.provider());
        let head = inbox.head().call().await.map_err(contract_error)?;
        Ok(Head { batches: head.count, last_height: head.lastHeight, hash: head.hash })
    }

    async fn prices(&self) -> Result<Prices, SettlementError> {
        /// Of what others pay, the tip that half of the gas is above.
        const MEDIAN: [f64; 1] = [50.0];
        let provider = self.l1.provider();
        let history = provider
            .get_fee_history(4, BlockNumberOrTag::Latest, &MEDIAN)
            .await
            .map_err(transport)?;
        let base_fee = history
            .base_fee_per_gas
            .last()
            .copied()
            .ok_or(SettlementError::Unusable("a fee history without fees"))?;
        let tips =
            history.reward.unwrap_or_default().into_iter().filter_map(|tips| tips.first().copied());
        Ok(Prices {
            base_fee,
            blob_base_fee: history.base_fee_per_blob_gas.last().copied().unwrap_or(1).max(1),
            tip: tips.max().unwrap_or_default().max(LEAST_TIP),
        })
    }

    /// What became of a transaction, in any of its forms.
    async fn fate(&self, pending: &PendingRow) -> Result<Fate, SettlementError> {
        let provider = self.l1.provider();
        for hash in pending.hashes.iter().rev() {
            let Some(receipt) = provider.get_transaction_receipt(*hash).await.map_err(transport)?
            else {
                continue;
            };
            let Some(block) = receipt.block_number else { continue };
            if !receipt.status() {
                return Ok(Fate::Reverted);
            }
            let finalized = self.l1.heads().await?.finalized.number;
            return Ok(Fate::Included { is_final: block <= finalized });
        }
        Ok(Fate::Open)
    }

    async fn build(
        &self,
        head: &Head,
        prices: &Prices,
        nonce: u64,
        now_s: u64,
    ) -> Result<(), SettlementError> {
        let first = head.last_height.saturating_add(1);
        let (shared, limits) = (Arc::clone(&self.shared), self.limits);
        #[cfg(feature = "demo")]
        let reorder = self.reorder;
        // Envelopes are checked and compressed: off the runtime's threads.
        let built = tokio::task::spawn_blocking(move || {
            let built = draft(&shared, limits, first);
            #[cfg(feature = "demo")]
            let built =
                if reorder { built.map(|draft| draft.map(Built::reordered)) } else { built };
            built
        })
        .await;
        let Ok(built) = built else {
            return Err(SettlementError::Unusable("nothing: a worker died"));
        };
        let Some(Built { draft, state_root, .. }) = built? else { return Ok(()) };
        let carriage = Carriage::cheaper(
            &draft.data,
            CALL_GAS,
            self.blobs.then(|| blobs::count(draft.data.len())),
            prices,
        );
        let (data, blob_data) = match carriage {
            Carriage::Calldata => (Bytes::from(draft.data.clone()), Bytes::new()),
            Carriage::Blobs(_) => (Bytes::new(), Bytes::from(draft.data.clone())),
        };
        let call = posting::call(&draft, head.hash, state_root, data)?;
        let call = Bytes::from(call.abi_encode());
        let gas_limit = gas_limit(&call);
        let row = PendingRow {
            sent: Sent {
                nonce,
                parent: head.hash,
                bid: Bid::first(prices),
                blobs: !blob_data.is_empty(),
                cancels: false,
                sent_s: now_s,
            },
            to: self.contracts.inbox,
            value: U256::ZERO,
            call,
            blob_data,
            gas_limit,
            hashes: Vec::new(),
        };
        info!(target: "blindfold::settlement", batch = head.batches + 1, first, last = draft.last.height,
            openings = draft.trees.opening_count(), bytes = draft.data.len(), ?carriage, "posting a batch");
        metrics::posting("built");
        metrics::posted_bytes(draft.data.len(), draft.trees.opening_count());
        self.send(row).await
    }

    /// What there is to do beside posting, the most urgent first and one at a time.
    async fn run_errands(
        &mut self,
        nonce: u64,
        prices: &Prices,
        now_s: u64,
    ) -> Result<(), SettlementError> {
        if let Some(outputs) = &mut self.outputs
            && let Some(errand) = outputs.next(now_s, prices).await?
        {
            return self.send_errand(errand, nonce, prices, now_s).await;
        }
        if now_s >= self.claim_at_s {
            self.claim_at_s = now_s.saturating_add(CLAIM_EVERY_S);
            self.claim(nonce, prices, now_s).await?;
        }
        Ok(())
    }

    /// Sends a call that depends on no batch.
    async fn send_errand(
        &self,
        errand: Errand,
        nonce: u64,
        prices: &Prices,
        now_s: u64,
    ) -> Result<(), SettlementError> {
        let Errand { name, to, call, value, gas_limit } = errand;
        debug!(target: "blindfold::settlement", name, nonce, "sending");
        let sent = Sent {
            nonce,
            parent: B256::ZERO,
            bid: Bid::first(prices),
            blobs: false,
            // No batch that comes in between makes it worthless.
            cancels: true,
            sent_s: now_s,
        };
        let blob_data = Bytes::new();
        self.send(PendingRow { sent, to, value, call, blob_data, gas_limit, hashes: Vec::new() })
            .await
    }

    /// Turns what posting has cost into a repayment on L2, once it is worth a transaction.
    async fn claim(&self, nonce: u64, prices: &Prices, now_s: u64) -> Result<(), SettlementError> {
        let inbox = BatchInbox::new(self.contracts.inbox, self.l1.provider());
        let credit = inbox.credit(self.key.address()).call().await.map_err(contract_error)?;
        if credit.is_zero() || credit < self.claim_above_wei {
            return Ok(());
        }
        debug!(target: "blindfold::settlement", %credit, "claiming what posting has cost");
        let errand = Errand {
            name: "claim",
            to: self.contracts.inbox,
            call: BatchInbox::claimPostingCall {}.abi_encode().into(),
            value: U256::ZERO,
            gas_limit: 300_000,
        };
        self.send_errand(errand, nonce, prices, now_s).await
    }

    /// Signs, stores with fsync, and only then sends.
    async fn send(&self, mut row: PendingRow) -> Result<(), SettlementError> {
        let (signer, chain_id) = (self.signer.clone(), self.l1.chain_id());
        let (signing, started) = (row.clone(), Instant::now());
        // Commitments to blobs take a good part of a second.
        let signed = tokio::task::spawn_blocking(move || sign(&signer, chain_id, &signing)).await;
        let Ok(signed) = signed else {
            return Err(SettlementError::Unusable("nothing: a worker died"));
        };
        let (hash, raw) = signed?;
        row.sent.sent_s = row.sent.sent_s.saturating_add(started.elapsed().as_secs());
        if !row.hashes.contains(&hash) {
            row.hashes.push(hash);
        }
        self.store
            .write(
                vec![(Family::Posting, PENDING.to_vec(), Some(row.encode()))],
                Durability::Synced,
            )
            .map_err(MemberError::from)?;
        let Err(error) = self.l1.provider().send_raw_transaction(&raw).await else {
            metrics::posting("sent");
            return Ok(());
        };
        match fault(&error) {
            SendFault::Known => Ok(()),
            // Seen at the next look: in a block, used by another, or lost.
            SendFault::NonceTooLow | SendFault::Underpriced | SendFault::Unreachable => {
                debug!(target: "blindfold::settlement", %error, "L1 did not take the transaction now");
                Ok(())
            }
            SendFault::Funds => {
                error!(target: "blindfold::settlement", account = %self.key.address(), "the poster's account on L1 is empty: fund it");
                metrics::posting("unfunded");
                if !row.value.is_zero() {
                    // A bond that cannot be paid must not hold up batches.
                    self.forget()?;
                }
                Err(transport(error))
            }
            SendFault::FeeTooLow | SendFault::Reverted(_) | SendFault::Other(_) => {
                // It may never be taken. Built anew, with what L1 says by then.
                self.forget()?;
                Err(transport(error))
            }
        }
    }

    fn pending(&self) -> Result<Option<PendingRow>, MemberError> {
        match self.store.get(Family::Posting, PENDING)? {
            Some(bytes) => {
                PendingRow::decode(&bytes).map(Some).ok_or(MemberError::Damaged("pending batch"))
            }
            None => Ok(None),
        }
    }

    fn forget(&self) -> Result<(), MemberError> {
        let write = vec![(Family::Posting, PENDING.to_vec(), None)];
        Ok(self.store.write(write, Durability::Synced)?)
    }
}

/// A batch that is ready, and the state root after its last height.
struct Built {
    draft: Draft,
    state_root: B256,
    #[cfg(feature = "demo")]
    heights: Vec<(OpenedBatch, blindfold_wire::Signature65)>,
}

#[cfg(feature = "demo")]
impl Built {
    fn reordered(self) -> Self {
        match super::misposting::reordered(&self.draft, &self.heights) {
            Some(draft) => Self { draft, ..self },
            None => self,
        }
    }
}

/// A batch of the heights from `first` on. Nothing if none of them has a certificate of its own yet.
fn draft(shared: &Shared, limits: Limits, first: u64) -> Result<Option<Built>, SettlementError> {
    let executed = shared.chain.progress().executed_height;
    let mut builder = BatchBuilder::new(limits);
    #[cfg(feature = "demo")]
    let mut heights = Vec::new();
    for height in first..=executed.min(first.saturating_add(MAX_HEIGHTS_AT_ONCE)) {
        let Some((opened, signature, leader)) = opened(shared, height)? else { break };
        match builder.push(&opened, signature, leader) {
            Ok(()) => {
                #[cfg(feature = "demo")]
                heights.push((opened, signature));
            }
            Err(PushError::Full | PushError::Epoch { .. }) => break,
            Err(source) => return Err(SettlementError::Height { height, source }),
        }
    }
    if builder.last_certified().is_none() {
        return Ok(None);
    }
    let draft = builder.build()?;
    let missing = MemberError::Missing { what: "executed block", height: draft.last.height };
    let record = shared.records.executed(draft.last.height)?.ok_or(missing)?;
    Ok(Some(Built {
        draft,
        state_root: record.state_root(),
        #[cfg(feature = "demo")]
        heights,
    }))
}

/// A height as it was opened, with its leader's signature and address.
fn opened(
    shared: &Shared,
    height: u64,
) -> Result<Option<(OpenedBatch, blindfold_wire::Signature65, Address)>, MemberError> {
    let (records, votes) = (&shared.records, &shared.votes);
    let (Some(record), Some(block), Some(openings)) =
        (records.height(height)?, records.block(height)?, records.openings(height)?)
    else {
        return Ok(None);
    };
    let commitment = block.commitment.commitment.clone();
    let leader = shared.leader_of(&commitment);
    let leader = shared.genesis.committee.members.get(leader).map(|member| member.signer);
    let certified =
        record.certify(commitment, votes).map_err(|_| MemberError::Damaged("height record"))?;
    let envelopes = shared.checker.check_block(&block)?;
    let items = envelopes.into_iter().zip(openings.openings).collect();
    let opened = OpenedBatch::new(certified, items)
        .map_err(|_| MemberError::Damaged("openings of a height"))?;
    Ok(Some((opened, block.commitment.signature, leader.unwrap_or_default())))
}

/// The same nonce for nothing.
fn cancelled(pending: PendingRow, bid: Bid, own: Address, now_s: u64) -> PendingRow {
    // Of a transaction with blobs nodes take no replacement without: a byte in a blob has to stay.
    let blob_data = match pending.sent.blobs {
        true => Bytes::from_static(&[0]),
        false => Bytes::new(),
    };
    PendingRow {
        sent: Sent { bid, cancels: true, sent_s: now_s, ..pending.sent },
        to: own,
        value: U256::ZERO,
        call: Bytes::new(),
        blob_data,
        gas_limit: CANCEL_GAS,
        hashes: pending.hashes,
    }
}

/// Gas that a call of `postBatch` may use: what it takes, its data at the floor price, and half as much again.
fn gas_limit(call: &[u8]) -> u64 {
    let bytes = u64::try_from(call.len()).unwrap_or(u64::MAX);
    let used = CALL_GAS.saturating_add(bytes.saturating_mul(40));
    used.saturating_add(used / 2).min(MAX_TRANSACTION_GAS)
}

/// The signed transaction in the form that the network takes, and its hash.
fn sign(
    signer: &L1Signer,
    chain_id: u64,
    row: &PendingRow,
) -> Result<(B256, Bytes), SettlementError> {
    let bid = row.sent.bid;
    let unsigned = |_| SettlementError::Unusable("nothing: the key does not sign");
    if row.blob_data.is_empty() {
        let mut tx = TxEip1559 {
            chain_id,
            nonce: row.sent.nonce,
            gas_limit: row.gas_limit,
            max_fee_per_gas: bid.max_fee,
            max_priority_fee_per_gas: bid.max_priority_fee,
            to: TxKind::Call(row.to),
            value: row.value,
            access_list: Default::default(),
            input: row.call.clone(),
        };
        let signature = signer.sign_transaction_sync(&mut tx).map_err(unsigned)?;
        let signed = tx.into_signed(signature);
        Ok((*signed.hash(), signed.encoded_2718().into()))
    } else {
        let sidecar = blobs::sidecar(blobs::pack(&row.blob_data)?)?;
        let mut tx = TxEip4844 {
            chain_id,
            nonce: row.sent.nonce,
            gas_limit: row.gas_limit,
            max_fee_per_gas: bid.max_fee,
            max_priority_fee_per_gas: bid.max_priority_fee,
            to: row.to,
            value: row.value,
            access_list: Default::default(),
            blob_versioned_hashes: sidecar.versioned_hashes().collect(),
            max_fee_per_blob_gas: bid.max_blob_fee,
            input: row.call.clone(),
        };
        let signature = signer.sign_transaction_sync(&mut tx).map_err(unsigned)?;
        let signed = TxEip4844WithSidecar { tx, sidecar }.into_signed(signature);
        Ok((*signed.hash(), signed.encoded_2718().into()))
    }
}
