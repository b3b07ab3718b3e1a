//! What the ordering engine asks of this node, and tells it.

use super::{Shared, messages::ShareMessage, pipeline::PipelineEvent, pool};
use alloy_primitives::Address;
use blindfold_committee::journal::Slot;
use blindfold_ordering::{
    application::{ChainHooks, Proposal},
    events::{FinalizedHeight, OrderingReporter, VoteFault},
    l1::L1View,
    validity::Executed,
};
use blindfold_wire::{
    ForcedItem,
    block::{Block, BlockError},
    checked::CheckedEnvelope,
    commitment::SignedCommitment,
    evidence::Evidence,
    signature::Signature65,
};
use std::{
    collections::BTreeSet,
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;
use tracing::{error, warn};

/// [`ChainHooks`] over the shared parts of a node.
#[derive(Clone)]
pub struct Hooks {
    shared: Arc<Shared>,
    /// Version of the candidates last offered.
    offered: Arc<AtomicU64>,
    /// Blocks being voted on, whose shares are computed while the votes travel.
    precompute: mpsc::Sender<Vec<CheckedEnvelope>>,
}

impl Hooks {
    /// Hooks of one engine.
    pub fn new(shared: Arc<Shared>, precompute: mpsc::Sender<Vec<CheckedEnvelope>>) -> Self {
        Self { shared, offered: Arc::default(), precompute }
    }

    fn stored_proposal(&self, epoch: u64, view: u64) -> Result<Option<Block>, super::MemberError> {
        let Some(keys) = &self.shared.keys else { return Ok(None) };
        let Some(signed) = keys.journal.signed(Slot::Commitment { epoch, view })? else {
            return Ok(None);
        };
        self.shared.records.proposal(signed.digest)
    }

    fn sign(&self, proposal: Proposal) -> Result<Option<Block>, super::MemberError> {
        let Some(keys) = &self.shared.keys else { return Ok(None) };
        let (epoch, view) = (proposal.commitment.epoch, proposal.commitment.view);
        if let Some(block) = self.stored_proposal(epoch, view)? {
            return Ok(Some(block));
        }
        let digest = proposal.commitment.digest();
        // The envelopes first: the journal's own write, which is synchronous, makes both durable.
        let signature = keys.signer.sign_digest(digest);
        let Proposal { commitment, envelopes, forced } = proposal;
        let commitment = SignedCommitment { commitment, signature };
        let block = Block { commitment, envelopes, forced };
        self.shared.records.store_proposal(digest, &block)?;
        let signed = keys.journal.sign_once(Slot::Commitment { epoch, view }, digest, || {
            signature.to_bytes().to_vec()
        })?;
        let stored: Option<[u8; 65]> = signed.bytes.try_into().ok();
        match stored.as_ref().map(Signature65::from_bytes) {
            Some(Ok(stored)) if stored == block.commitment.signature => {
                // Nobody shows us our own block again, so here its shares get their head start.
                let _ = self.check_envelopes(&block);
                Ok(Some(block))
            }
            _ => Err(super::MemberError::Missing {
                what: "signature of a proposal",
                height: block.height(),
            }),
        }
    }
}

impl ChainHooks for Hooks {
    async fn executed(&self, height: u64, payers: BTreeSet<Address>) -> Executed {
        self.shared.chain.wait_executed(height).await;
        match self.shared.chain.executed(height, &payers) {
            Ok(executed) => executed,
            Err(reason) => {
                // Without the state there is no verdict: waiting forever lets the view time out, which a
                // false answer would not mend.
                error!(target: "blindfold::ordering", height, %reason, "executed state cannot be read");
                pending().await
            }
        }
    }

    fn candidates(&self) -> Vec<CheckedEnvelope> {
        self.offered.store(self.shared.candidates_version(), Ordering::Release);
        pool::candidates(&self.shared)
    }

    fn new_candidates(&self) -> impl Future<Output = ()> + Send {
        self.shared.wait_candidates(self.offered.load(Ordering::Acquire))
    }

    fn check_envelopes(&self, block: &Block) -> Result<Vec<CheckedEnvelope>, BlockError> {
        let checked = self.shared.checker.check_block(block)?;
        // A full queue costs only the head start.
        let _ = self.precompute.try_send(checked.clone());
        Ok(checked)
    }

    fn check_forced(&self, items: &[ForcedItem]) -> Vec<Option<CheckedEnvelope>> {
        self.shared.checker.check_forced(items)
    }

    fn l1_view(&self) -> Arc<L1View> {
        self.shared.l1.view()
    }

    fn l1_changed(&self, version: u64) -> impl Future<Output = ()> + Send {
        self.shared.l1.changed(version)
    }

    async fn signed_proposal(&self, epoch: u64, view: u64) -> Option<Block> {
        match self.stored_proposal(epoch, view) {
            Ok(block) => block,
            Err(reason) => {
                error!(target: "blindfold::ordering", epoch, view, %reason, "signing journal cannot be read; not proposing");
                pending().await
            }
        }
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Option<Block> {
        let view = proposal.commitment.view;
        match self.sign(proposal) {
            Ok(block) => block,
            Err(reason) => {
                error!(target: "blindfold::ordering", view, %reason, "cannot sign a proposal");
                None
            }
        }
    }
}

/// [`OrderingReporter`] that hands everything to the pipeline.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    pipeline: mpsc::UnboundedSender<PipelineEvent>,
}

impl Reporter {
    /// A reporter into `pipeline`. The queue needs no bound of its own: the engine delivers at most
    /// its maximum of unacknowledged heights.
    pub fn new(shared: Arc<Shared>, pipeline: mpsc::UnboundedSender<PipelineEvent>) -> Self {
        Self { shared, pipeline }
    }
}

impl OrderingReporter for Reporter {
    fn finalized(&self, finalized: FinalizedHeight) {
        let _ = self.pipeline.send(PipelineEvent::Finalized(Box::new(finalized)));
    }

    fn tip(&self, height: u64) {
        self.shared.network_tip.fetch_max(height, Ordering::Relaxed);
    }

    fn first_seen(&self, signed: SignedCommitment) {
        if let Err(reason) = self.shared.records.store_first_seen(&signed) {
            error!(target: "blindfold::ordering", %reason, "first-seen commitment is not stored");
        }
    }

    fn evidence(&self, evidence: Evidence) {
        warn!(target: "blindfold::ordering", "a leader signed two orders for one view");
        if self.shared.keep_evidence(&evidence) {
            let tell = ShareMessage::Evidence(Box::new(evidence));
            let _ = self.pipeline.send(PipelineEvent::Tell(tell));
        }
    }

    fn nullified(&self, epoch: u64, view: u64) {
        tracing::info!(target: "blindfold::ordering", epoch, view, "view ended without a block");
    }

    fn vote_fault(&self, fault: VoteFault) {
        crate::metrics::evidence("vote_fault");
        warn!(target: "blindfold::ordering", member = fault.member, view = fault.view, kind = ?fault.kind,
            "a member cast conflicting engine votes");
        self.shared.vote_faults.lock().entry(fault.member).or_insert(fault);
    }
}
