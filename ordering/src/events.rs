//! What the engine tells the node: finalized heights, first-seen commitments, evidence, faults.
//!
//! Finalized heights come in height order and at least once; a height is delivered again after a
//! restart until its [`Ack`] is done. They come with what is needed to trust them: the engine
//! finalizes ancestors implicitly, so a height may have no certificate of its own, and then a chain of
//! child commitments leads from a certified descendant down to it.

use crate::{
    block::{OrderedBlock, from_digest, to_digest},
    engine::{Digest, Identity, OrderingScheme},
};
use blindfold_wire::{
    CertificateError, Certified, Evidence, FinalizationCertificate, OrderCommitment,
    SignedCommitment, VoteCommittee,
};
use commonware_actor::Feedback;
use commonware_codec::Encode as _;
use commonware_consensus::{
    Block as _, Epochable as _, Heightable as _, Reporter, Viewable as _,
    marshal::{Identifier, Update, core::Mailbox, standard::Standard},
    simplex::types::{Activity, Attributable as _},
    types::Height,
};
use commonware_cryptography::Digested;
use commonware_runtime::Clock;
use commonware_utils::{
    Acknowledgement as _, acknowledgement::Exact, channel::mpsc, vec::NonEmptyVec,
};
use futures::{StreamExt as _, stream};
use std::{pin::pin, sync::Arc, time::Duration};
use tracing::{debug, error};

/// How long to wait before looking again for a certificate that is not stored yet.
const PROOF_RETRY: Duration = Duration::from_millis(10);

/// Commitments between a height and the certificate that proves it, above which (and above the lag between
/// ordering and execution) certificates in between are asked for. A leader proposes a height only when it
/// has executed the one that lies the lag below, which takes a proof, so that the network always holds a
/// certificate within the lag. A member that was away fetches part of what it missed from the top
/// down by parent links, and then holds none for all those heights.
const SOUGHT_LINKS: usize = 16;

/// How often certificates are asked for before a longer proof is taken.
const SEEK_ROUNDS: usize = 20;

/// How long the answers to such a request are waited for.
const SEEK_WAIT: Duration = Duration::from_millis(250);

/// How often it is looked whether an answer is there.
const SEEK_POLL: Duration = Duration::from_millis(10);

/// Heights whose proofs are looked for at a time. Marshal answers between two batches of what it fetches;
/// one question at a time would get one answer per batch.
const PROVING: usize = 32;

/// Commitments between a height and the certificate that proves it, at most: more than any lag between
/// ordering and execution, and what the node can keep of one height.
pub const MAX_DESCENDANTS: usize = 1_024;

/// Receives the engine's events. Implemented by the node and the simulator.
///
/// The calls come from engine tasks: return at once, never block.
pub trait OrderingReporter: Clone + Send + Sync + 'static {
    /// A height is final and its block durable. Call [`Ack::done`] once it need not be delivered again.
    fn finalized(&self, finalized: FinalizedHeight);

    /// A finalization certificate of `height`, verified, is the highest this node has seen: the heights up
    /// to it will be delivered. Above what is delivered while the node catches up.
    fn tip(&self, _height: u64) {}

    /// First commitment seen signed for its (epoch, view). Keep it, and give it back in
    /// `EngineConfig::first_seen` after a restart, so that a restart loses no evidence.
    fn first_seen(&self, signed: SignedCommitment);

    /// A leader signed two commitments for one view.
    fn evidence(&self, evidence: Evidence);

    /// A view ended without a block.
    fn nullified(&self, epoch: u64, view: u64);

    /// A member cast two conflicting engine votes. Verified.
    fn vote_fault(&self, fault: VoteFault);
}

/// Kind of conflict between two engine votes of one member in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteFaultKind {
    /// Two first votes for different blocks.
    ConflictingNotarize,
    /// Two second votes for different blocks.
    ConflictingFinalize,
    /// A vote to skip and a vote to finalize.
    NullifyFinalize,
}

/// Two conflicting engine votes of one member. Attributable; verified before it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteFault {
    /// What conflicts.
    pub kind: VoteFaultKind,
    /// Index of the member in the committee.
    pub member: usize,
    /// Epoch of the votes.
    pub epoch: u64,
    /// View of the votes.
    pub view: u64,
    /// The engine's encoding of both votes.
    pub proof: Vec<u8>,
}

/// Acknowledgement of a delivered height.
///
/// Dropping it without [`Ack::done`] stops the engine's delivery: a height must not get lost silently.
#[derive(Debug)]
#[must_use = "an acknowledgement that is dropped stops the delivery of heights"]
pub struct Ack(Exact);

impl Ack {
    /// The height need not be delivered again.
    pub fn done(self) {
        self.0.acknowledge();
    }
}

/// A final height with its proof.
#[derive(Debug)]
pub struct FinalizedHeight {
    /// The block.
    pub block: Arc<OrderedBlock>,
    /// Its commitment, certified.
    pub certified: Certified<OrderCommitment>,
    /// Finalization certificate of this height, or of the last of `descendants`.
    pub certificate: FinalizationCertificate,
    /// Commitments from the next height up to the certified one; empty if this height has its own
    /// certificate. With `certificate` it proves the height to anybody.
    pub descendants: Vec<OrderCommitment>,
    /// To be done by the receiver.
    pub ack: Ack,
}

/// Makes the certified commitment of a height from a certificate and the chain below it.
///
/// # Errors
///
/// The certificate's error if it does not hold or a link is missing.
pub fn certify(
    commitment: OrderCommitment,
    descendants: &[OrderCommitment],
    certificate: &FinalizationCertificate,
    votes: &VoteCommittee,
) -> Result<Certified<OrderCommitment>, CertificateError> {
    let Some((tip, between)) = descendants.split_last() else {
        return Certified::by_certificate(commitment, certificate, votes);
    };
    let mut child = Certified::by_certificate(tip.clone(), certificate, votes)?;
    for link in between.iter().rev() {
        child = Certified::by_child(link.clone(), &child)?;
    }
    Certified::by_child(commitment, &child)
}

type BlockDelivery = (Digested<OrderedBlock>, Exact);

/// Marshal's reporter: hands blocks to [`run_delivery`].
#[derive(Clone)]
pub(crate) struct DeliverySink<R> {
    blocks: mpsc::UnboundedSender<BlockDelivery>,
    reporter: R,
}

/// Opens the way from marshal to [`run_delivery`]. Bounded by marshal's `MAX_PENDING_ACKS`: it sends
/// no more until earlier blocks are acknowledged.
pub(crate) fn delivery<R: OrderingReporter>(
    reporter: R,
) -> (DeliverySink<R>, mpsc::UnboundedReceiver<BlockDelivery>) {
    let (blocks, receiver) = mpsc::unbounded_channel();
    (DeliverySink { blocks, reporter }, receiver)
}

impl<R: OrderingReporter> Reporter for DeliverySink<R> {
    type Activity = Update<OrderedBlock>;

    fn report(&mut self, update: Self::Activity) -> Feedback {
        match update {
            Update::Block(block, ack) => match self.blocks.send((block, ack)) {
                Ok(()) => Feedback::Ok,
                Err(_) => Feedback::Closed,
            },
            Update::Tip(_, height, _) => {
                self.reporter.tip(height.get());
                Feedback::Ok
            }
        }
    }
}

/// Loop: attaches the proof to each delivered block and reports it. `peers` are asked for certificates.
pub(crate) async fn run_delivery<C: Clock, R: OrderingReporter>(
    clock: C,
    marshal: Mailbox<OrderingScheme, Standard<OrderedBlock>>,
    peers: Vec<Identity>,
    executed_lag: u64,
    votes: VoteCommittee,
    reporter: R,
    blocks: mpsc::UnboundedReceiver<BlockDelivery>,
) {
    let lag = usize::try_from(executed_lag).unwrap_or(MAX_DESCENDANTS);
    let sought = lag.clamp(SOUGHT_LINKS, MAX_DESCENDANTS);
    let prover = Prover { clock, marshal, peers, members: votes.members(), sought };
    let prover = &prover;
    let delivered = stream::unfold(blocks, |mut blocks| async move {
        blocks.recv().await.map(|delivery| (delivery, blocks))
    });
    let proven = delivered.map(|(block, ack): BlockDelivery| async move {
        // Genesis is final by definition.
        let proof = match block.height().get() {
            0 => None,
            _ => Some(prover.prove(&block).await),
        };
        (block, ack, proof)
    });
    let mut proven = pin!(proven.buffered(PROVING));
    while let Some((block, ack, proof)) = proven.next().await {
        let height = block.height().get();
        let Some((certificate, descendants)) = proof else {
            ack.acknowledge();
            continue;
        };
        let commitment = block.inner().commitment().clone();
        match certify(commitment, &descendants, &certificate, &votes) {
            Ok(certified) => reporter.finalized(FinalizedHeight {
                block: block.inner_shared(),
                certified,
                certificate,
                descendants,
                ack: Ack(ack),
            }),
            Err(reason) => {
                // The engine verified it under the same keys: our two verifiers disagree, or the
                // store is damaged. Going on would release shares on an unproven order.
                error!(target: "blindfold::ordering", height, %reason, "finalized height does not certify; delivery stops");
                return;
            }
        }
    }
}

/// Finds proofs of finality in marshal's stores.
struct Prover<C> {
    clock: C,
    marshal: Mailbox<OrderingScheme, Standard<OrderedBlock>>,
    peers: Vec<Identity>,
    members: usize,
    /// Links above which certificates are asked for.
    sought: usize,
}

impl<C: Clock> Prover<C> {
    /// The lowest stored certificate at or above the block, and the commitments between.
    async fn prove(
        &self,
        block: &Digested<OrderedBlock>,
    ) -> (FinalizationCertificate, Vec<OrderCommitment>) {
        let mut rounds = 0;
        loop {
            let most = if rounds < SEEK_ROUNDS { self.sought } else { MAX_DESCENDANTS };
            match self.walk(block, most).await {
                Walk::Proof(certificate, descendants) => return (certificate, descendants),
                // Reported before the certificate is readable: start over a moment later.
                Walk::NotYet => {
                    debug!(target: "blindfold::ordering", height = %block.height(), "waiting for a certificate");
                    self.clock.sleep(PROOF_RETRY).await;
                }
                Walk::TooLong => {
                    self.seek(block.height());
                    rounds += 1;
                    self.await_certificate(block.height()).await;
                }
            }
        }
    }

    /// Looks at the block's height and at up to `most` above.
    async fn walk(&self, block: &Digested<OrderedBlock>, most: usize) -> Walk {
        let mut descendants: Vec<OrderCommitment> = Vec::new();
        let mut height = block.height();
        let mut digest = block.inner().id();
        loop {
            if let Some(finalization) = self.marshal.get_finalization(height).await
                && finalization.proposal.payload == to_digest(digest)
            {
                match FinalizationCertificate::decode_engine(&finalization.encode(), self.members) {
                    Ok(certificate) => return Walk::Proof(certificate, descendants),
                    Err(reason) => {
                        error!(target: "blindfold::ordering", %height, %reason, "stored certificate does not decode");
                    }
                }
            }
            if descendants.len() == most {
                return Walk::TooLong;
            }
            let next = height.next();
            match self.marshal.get_block(Identifier::<Digest>::Height(next)).await {
                Some(child) if from_digest(&child.parent()) == digest => {
                    descendants.push(child.inner().commitment().clone());
                    digest = child.inner().id();
                    height = next;
                }
                _ => return Walk::NotYet,
            }
        }
    }

    /// Resolves when one of the certificates that were asked for is there, or nobody had any.
    async fn await_certificate(&self, from: Height) {
        for _ in 0..SEEK_WAIT.as_millis() / SEEK_POLL.as_millis() {
            self.clock.sleep(SEEK_POLL).await;
            for height in (from.get()..).take(self.sought + 1) {
                if self.marshal.get_finalization(Height::new(height)).await.is_some() {
                    return;
                }
            }
        }
    }

    /// Asks all members for the certificates of the block's height and those above it.
    fn seek(&self, from: Height) {
        let Ok(peers) = NonEmptyVec::try_from(self.peers.clone()) else { return };
        debug!(target: "blindfold::ordering", %from, "asking for certificates");
        let heights = (from.get()..).take(self.sought + 1);
        heights.for_each(|height| self.marshal.hint_finalized(Height::new(height), peers.clone()));
    }
}

/// What a search for a proof met.
enum Walk {
    Proof(FinalizationCertificate, Vec<OrderCommitment>),
    /// The chain ends before a certificate.
    NotYet,
    /// No certificate among as many heights as were looked at.
    TooLong,
}

/// Receives verified vote conflicts.
#[derive(Clone)]
pub(crate) struct FaultSink<R>(pub(crate) R);

impl<R: OrderingReporter> Reporter for FaultSink<R> {
    type Activity = Activity<OrderingScheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let fault = match &activity {
            Activity::ConflictingNotarize(fault) => {
                Some((VoteFaultKind::ConflictingNotarize, fault.signer(), fault.encode()))
            }
            Activity::ConflictingFinalize(fault) => {
                Some((VoteFaultKind::ConflictingFinalize, fault.signer(), fault.encode()))
            }
            Activity::NullifyFinalize(fault) => {
                Some((VoteFaultKind::NullifyFinalize, fault.signer(), fault.encode()))
            }
            _ => None,
        };
        if let Some((kind, member, proof)) = fault {
            self.0.vote_fault(VoteFault {
                kind,
                member: usize::from(member),
                epoch: activity.epoch().get(),
                view: activity.view().get(),
                proof: proof.to_vec(),
            });
        }
        Feedback::Ok
    }
}

/// The engine's second reporter, beside marshal: passes on what the node wants to know. Votes are not
/// verified here unless they conflict.
#[derive(Clone)]
pub(crate) struct ActivitySink<R, F> {
    pub(crate) reporter: R,
    pub(crate) faults: F,
    pub(crate) watch: crate::gossip::WatchHandle,
}

impl<R, F> Reporter for ActivitySink<R, F>
where
    R: OrderingReporter,
    F: Reporter<Activity = Activity<OrderingScheme, Digest>>,
{
    type Activity = Activity<OrderingScheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match activity {
            Activity::Nullification(nullification) => {
                self.reporter.nullified(nullification.epoch().get(), nullification.view().get());
                Feedback::Ok
            }
            Activity::Finalization(finalization) => {
                self.watch.advance(finalization.view().get());
                Feedback::Ok
            }
            conflict @ (Activity::ConflictingNotarize(_)
            | Activity::ConflictingFinalize(_)
            | Activity::NullifyFinalize(_)) => self.faults.report(conflict),
            _ => Feedback::Ok,
        }
    }
}
