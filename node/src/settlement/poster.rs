//! Answers challenges and posts batches: the effects around `settlement::poster`, which decides.
//!
//! One transaction at a time. It is stored, with fsync, before it is sent; after a restart it is found, looked for
//! on L1, and sent again or given up by the same rules as without the restart. The account's nonce, the inbox's
//! chain of hashes and this one row are all the state there is.

use super::{
    Contracts, SettlementError,
    challenges::Challenges,
    contract_error,
    drafts::{Built, consuming, draft},
    outputs::{Errand, Outputs},
    rows::PendingRow,
    sending::{CALL_GAS, SealedBlobs, cancelled, gas_limit, sign},
    transport,
};
use crate::{
    config::SettlementConfig,
    member::{MemberError, Shared},
    metrics,
    store::{Durability, Family, Store},
};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{B256, Bytes, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall as _;
use blindfold_settlement::{
    batch::Limits,
    bindings::{BatchInbox, ForcedQueue},
    blobs,
    l1::{L1Signer, SendFault, SharedL1, fault},
    poster::{Bid, Carriage, Fate, Policy, Prices, Purpose, Rotation, Sent, Step, View, step},
    posting::{self, ForcedRule},
    reveal::Turns,
};
use blindfold_wire::{FinalizationCertificate, OrderCommitment, SigningKey};
use commonware_runtime::Clock;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, error, info, warn};

mod answering;

/// Key of the one row of [`Family::Posting`].
const PENDING: &[u8] = b"pending";
/// Tip where the node suggests none, in wei per gas.
const LEAST_TIP: u128 = 1;
/// How often it is looked at whether a repayment is worth claiming, in seconds.
const CLAIM_EVERY_S: u64 = 60;
/// L1 blocks within which a batch should be in one: what is due until then had better be in it.
const MAX_INCLUSION_BLOCKS: u64 = 25;
/// Gas of a call that moves what the inbox owes.
const CLAIM_GAS: u64 = 300_000;

/// The poster's own state.
pub struct Poster {
    shared: Arc<Shared>,
    store: Store,
    l1: SharedL1,
    contracts: Contracts,
    challenges: Arc<Challenges>,
    turns: Turns,
    /// Challenges that could not be answered, by id, and when to try again, in seconds.
    later: BTreeMap<B256, u64>,
    /// Open challenges of this member's batches when it last looked.
    against_us: usize,
    signer: L1Signer,
    sealed: SealedBlobs,
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

/// What a transaction begins with: prices, the account's next nonce, and now, in seconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Moment {
    prices: Prices,
    nonce: u64,
    now_s: u64,
}

/// What the inbox says of its chain.
struct Head {
    batches: u64,
    last_height: u64,
    forced: u64,
    hash: B256,
}

impl Poster {
    /// A poster that pays with `key`, the member's own.
    pub fn new(
        shared: Arc<Shared>,
        l1: SharedL1,
        contracts: Contracts,
        challenges: Arc<Challenges>,
        key: SigningKey,
        config: &SettlementConfig,
    ) -> Self {
        let members = u32::try_from(shared.genesis.committee.members.len()).unwrap_or(u32::MAX);
        let seat = u32::try_from(shared.seat()).unwrap_or(u32::MAX);
        let outputs = config.outputs.then(|| {
            Outputs::new(Arc::clone(&shared), Arc::clone(&l1), contracts, key.address(), config)
        });
        Self {
            store: shared.records.store().clone(),
            seat,
            turns: Turns {
                seat,
                members,
                window_s: contracts.challenge_window_s,
                for_others: config.answer_for_others,
            },
            challenges,
            later: BTreeMap::new(),
            against_us: 0,
            policy: Policy {
                rotation: Rotation { members, takeover_s: config.takeover_s },
                interval_s: config.interval_s,
                full_heights: config.full_heights,
                bump_after_s: config.bump_after_s,
                max_fee_cap: config.max_fee_wei.into(),
                answer_fee_cap: config.max_answer_fee_wei.into(),
                posts: config.post,
            },
            limits: Limits { max_heights: config.max_heights, ..Limits::default() },
            blobs: config.blobs,
            claim_above_wei: U256::from(config.claim_above_wei),
            poll: Duration::from_millis(config.poll_ms),
            signer: L1Signer::new(key.clone()),
            sealed: SealedBlobs::default(),
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
                warn!(target: "blindfold::settlement", %reason, "nothing was sent to L1; trying again");
            }
            clock.sleep(self.poll).await;
        }
    }

    /// One look, and what it asks for.
    async fn turn(&mut self, now_s: u64) -> Result<(), SettlementError> {
        let pending = self.pending()?;
        let wanted = self.wanted(now_s).await?;
        let idle = !self.policy.posts && self.outputs.is_none();
        if pending.is_none() && wanted.is_none() && idle {
            return Ok(());
        }
        let answered_is_open = match pending.as_ref().map(|pending| pending.sent.purpose) {
            Some(Purpose::Answer { challenge }) => self.is_open(challenge).await?,
            _ => false,
        };
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
            answer: wanted.as_ref().map(|wanted| wanted.challenge.asked.id()),
            answered_is_open,
            nonce,
            now_s,
        };
        let moment = Moment { prices, nonce, now_s };
        let fate = match &pending {
            Some(pending) => Some(self.fate(pending).await?),
            None => None,
        };
        let sent = pending.as_ref().map(|pending| &pending.sent).zip(fate);
        match step(self.seat, &self.policy, &view, &prices, sent) {
            // The account's next nonce is free: nothing of it waits for a block.
            Step::Wait | Step::Keep if fate != Some(Fate::Open) => {
                self.run_errands(moment).await?;
            }
            Step::Wait | Step::Keep => {}
            Step::Build => self.build(&head, moment).await?,
            Step::Answer => {
                if let Some(wanted) = wanted {
                    self.answer(&wanted, moment).await;
                }
            }
            Step::Resend => {
                if let Some(pending) = pending {
                    let resent =
                        PendingRow { sent: Sent { sent_s: now_s, ..pending.sent }, ..pending };
                    self.send(resent).await?;
                }
            }
            Step::Bump(bid) => {
                if let Some(pending) = pending {
                    info!(target: "blindfold::settlement", nonce, max_fee = bid.max_fee,
                        purpose = ?pending.sent.purpose, "offering more for a transaction");
                    metrics::posting("bumped");
                    let sent = Sent { bid, sent_s: now_s, ..pending.sent };
                    self.send(PendingRow { sent, ..pending }).await?;
                }
            }
            Step::Cancel(bid) => {
                if let Some(pending) = pending {
                    info!(target: "blindfold::settlement", nonce, purpose = ?pending.sent.purpose,
                        "another came first, or something else is more urgent; taking a transaction back");
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
        Ok(Head {
            batches: head.count,
            last_height: head.lastHeight,
            forced: head.forcedHead,
            hash: head.hash,
        })
    }

    /// What the inbox asks about forced items of a batch that L1 takes within the next blocks.
    async fn forced_rule(&self, head: &Head) -> Result<ForcedRule, SettlementError> {
        let provider = self.l1.provider();
        let params = &self.shared.genesis.params;
        let (delay, deadline) = (params.forced_delay_blocks, params.forced_deadline_blocks);
        let ahead = (deadline.saturating_sub(delay) / 4).min(MAX_INCLUSION_BLOCKS);
        let by = provider.get_block_number().await.map_err(transport)?.saturating_add(ahead);
        let queue = ForcedQueue::new(self.contracts.queue, &provider);
        let due = queue.dueBy(U256::from(by), deadline).call().await.map_err(contract_error)?;
        let inbox = BatchInbox::new(self.contracts.inbox, &provider);
        let shown = inbox.shown().call().await.map_err(contract_error)?;
        Ok(ForcedRule {
            last_height: head.last_height,
            head: head.forced,
            due,
            shown_height: shown.height,
            shown_cursor: shown.forcedCursor,
        })
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

    async fn build(&self, head: &Head, moment: Moment) -> Result<(), SettlementError> {
        let first = head.last_height.saturating_add(1);
        let rule = self.forced_rule(head).await?;
        let consuming = match rule.is_shown() {
            true => None,
            false => {
                let (shared, needed) = (Arc::clone(&self.shared), rule.needed());
                let found = tokio::task::spawn_blocking(move || consuming(&shared, first, needed));
                let Ok(found) = found.await else {
                    return Err(SettlementError::Unusable("nothing: a worker died"));
                };
                let found = found?;
                if found.is_none() {
                    debug!(target: "blindfold::settlement", needed, "no batch counts before forced items are ordered");
                    metrics::posting("waits");
                    return Ok(());
                }
                found
            }
        };
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
        if !rule.takes(draft.last.height, draft.last.forced_cursor) {
            let Some((later, certificate)) = consuming else { return Ok(()) };
            return self.show(head, &rule, &later, &certificate, moment).await;
        }
        let carriage = Carriage::cheaper(
            &draft.data,
            CALL_GAS,
            self.blobs.then(|| blobs::count(draft.data.len())),
            &moment.prices,
        );
        let (data, blob_data) = match carriage {
            Carriage::Calldata => (Bytes::from(draft.data.clone()), Bytes::new()),
            Carriage::Blobs(_) => (Bytes::new(), Bytes::from(draft.data.clone())),
        };
        let call = posting::call(&draft, head.hash, state_root, data)?;
        let row = self.calling(call.abi_encode(), Purpose::Batch { parent: head.hash }, moment);
        let sent = Sent { blobs: !blob_data.is_empty(), ..row.sent };
        let row = PendingRow { sent, blob_data, ..row };
        info!(target: "blindfold::settlement", batch = head.batches + 1, first, last = draft.last.height,
            openings = draft.trees.opening_count(), bytes = draft.data.len(), ?carriage, "posting a batch");
        metrics::posting("built");
        metrics::posted_bytes(draft.data.len(), draft.trees.opening_count());
        self.send(row).await
    }

    /// What there is to do beside posting, the most urgent first and one at a time.
    async fn run_errands(&mut self, moment: Moment) -> Result<(), SettlementError> {
        let Moment { prices, nonce, now_s } = moment;
        if let Some(outputs) = &mut self.outputs
            && let Some(errand) = outputs.next(now_s, nonce, &prices).await?
        {
            return self.send_errand(errand, moment).await;
        }
        if now_s >= self.claim_at_s {
            self.claim_at_s = now_s.saturating_add(CLAIM_EVERY_S);
            self.claim(moment).await?;
        }
        Ok(())
    }

    /// Sends a call that depends on no batch.
    async fn send_errand(&self, errand: Errand, moment: Moment) -> Result<(), SettlementError> {
        let Errand { name, to, call, value, gas_limit } = errand;
        debug!(target: "blindfold::settlement", name, nonce = moment.nonce, "sending");
        let row = self.calling(call.into(), Purpose::Standing, moment);
        self.send(PendingRow { to, value, gas_limit, ..row }).await
    }

    /// Shows the inbox where the committee has ordered what is due, because one batch does not reach that far.
    async fn show(
        &self,
        head: &Head,
        rule: &ForcedRule,
        later: &OrderCommitment,
        certificate: &FinalizationCertificate,
        moment: Moment,
    ) -> Result<(), SettlementError> {
        let (height, cursor) = (later.height, later.forced_cursor);
        if !rule.can_show(height, cursor) {
            warn!(target: "blindfold::settlement", height, posted = head.last_height,
                "forced items were ordered too far above the posted heights for the inbox to take any");
            return Ok(());
        }
        let call = posting::show(later, certificate)?.abi_encode();
        // Worthless once another batch comes: it may reach farther.
        let row = self.calling(call, Purpose::Batch { parent: head.hash }, moment);
        self.dry_run(&row).await?;
        info!(target: "blindfold::settlement", height, cursor, "showing where forced items were ordered");
        metrics::posting("shown");
        self.send(row).await
    }

    /// A call of the inbox, not sent yet.
    fn calling(&self, call: Vec<u8>, purpose: Purpose, moment: Moment) -> PendingRow {
        let Moment { prices, nonce, now_s } = moment;
        let bid = Bid::first(&prices);
        PendingRow {
            sent: Sent { nonce, purpose, bid, blobs: false, sent_s: now_s },
            to: self.contracts.inbox,
            value: U256::ZERO,
            gas_limit: gas_limit(&call),
            call: call.into(),
            blob_data: Bytes::new(),
            hashes: Vec::new(),
        }
    }

    /// Calls without sending. A refusal costs nothing here, and gas there.
    async fn dry_run(&self, row: &PendingRow) -> Result<(), SettlementError> {
        let request = TransactionRequest::default()
            .from(self.key.address())
            .to(row.to)
            .input(row.call.clone().into());
        let answer = self.l1.provider().call(request).await;
        answer.map(drop).map_err(|refusal| SettlementError::WouldRevert(refusal.into()))
    }

    /// Turns what posting has cost into a repayment on L2, and takes the bonds of answered challenges, once it is worth
    /// a transaction.
    async fn claim(&self, moment: Moment) -> Result<(), SettlementError> {
        let inbox = BatchInbox::new(self.contracts.inbox, self.l1.provider());
        let worth_it = |wei: U256| !wei.is_zero() && wei >= self.claim_above_wei;
        let credit = inbox.credit(self.key.address()).call().await.map_err(contract_error)?;
        let call = if worth_it(credit) {
            debug!(target: "blindfold::settlement", %credit, "claiming what posting has cost");
            BatchInbox::claimPostingCall {}.abi_encode()
        } else {
            let bonds = inbox.owed(self.key.address()).call().await.map_err(contract_error)?;
            if !worth_it(bonds) {
                return Ok(());
            }
            debug!(target: "blindfold::settlement", %bonds, "taking the bonds of answered challenges");
            BatchInbox::withdrawCall {}.abi_encode()
        };
        let row = self.calling(call, Purpose::Standing, moment);
        self.send(PendingRow { gas_limit: CLAIM_GAS, ..row }).await
    }

    /// Signs, stores with fsync, and only then sends.
    async fn send(&self, mut row: PendingRow) -> Result<(), SettlementError> {
        let (signer, chain_id) = (self.signer.clone(), self.l1.chain_id());
        let (signing, sealed, started) = (row.clone(), self.sealed.clone(), Instant::now());
        // Commitments to blobs take a good part of a second.
        let signed =
            tokio::task::spawn_blocking(move || sign(&signer, chain_id, &signing, &sealed)).await;
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
