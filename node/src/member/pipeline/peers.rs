//! What peers say and are told: bundles, questions, openings, access lists, evidence.

use super::{Pipeline, PipelineEvent, WORKER_THREADS, aside::Asked};
use crate::{
    member::{MemberError, hints::Hint, messages::ShareMessage},
    metrics,
};
use blindfold_committee::catchup;
use blindfold_ordering::engine::Identity;
use blindfold_wire::{bundle::ShareBundle, evidence::Evidence};
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, Spawner};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Takes share messages off the network; a peer whose message does not decode is blocked.
pub async fn read_shares<R, B>(mut receiver: R, queue: mpsc::Sender<PipelineEvent>, mut blocker: B)
where
    R: Receiver<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    while let Ok((peer, message)) = receiver.recv().await {
        match ShareMessage::decode(message.as_ref()) {
            Ok(message) => {
                if queue.send(PipelineEvent::Peer(peer, Box::new(message))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(target: "blindfold::committee", %peer, %error, "undecodable share message; blocking the peer");
                blocker.block(peer);
            }
        }
    }
}

impl<E, X, B> Pipeline<E, X, B>
where
    E: Clock + Spawner,
    X: Sender<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity> + Sync,
{
    pub(super) async fn on_message(
        &mut self,
        peer: Identity,
        message: ShareMessage,
    ) -> Result<(), MemberError> {
        match message {
            ShareMessage::Bundle(bundle) => self.on_bundle(bundle, Some(peer)).await,
            ShareMessage::Wanted(height) => {
                self.answer(peer, height);
                Ok(())
            }
            ShareMessage::Openings(set) => {
                let height = set.height;
                // Verifying costs as much as deciding: only what was asked for, of members, one set of a
                // height at a time.
                if let Some(open) = self.open.get(&height)
                    && let Some(number) = self.number(&peer)
                    && self.asking.answered(height, number)
                {
                    let (public, batch, events) =
                        (self.shared.public.clone(), open.batch.clone(), self.events.clone());
                    self.context.child("verify").shared(true).spawn(move |_| async move {
                        let outcome =
                            catchup::verify_openings(&public, &batch, set, WORKER_THREADS);
                        let _ =
                            events.send(PipelineEvent::Verified(peer, height, Box::new(outcome)));
                    });
                }
                Ok(())
            }
            ShareMessage::AccessList { height, list } => {
                // Followed or refuted when the height is executed; wanted of those who can be asked.
                if self.open.contains_key(&height) && self.number(&peer).is_some() {
                    self.shared.hints.keep(height, Hint { peer, bytes: list });
                }
                Ok(())
            }
            ShareMessage::Evidence(evidence) => {
                self.on_evidence(peer, evidence);
                Ok(())
            }
        }
    }

    pub(super) async fn on_bundle(
        &mut self,
        bundle: ShareBundle,
        from: Option<Identity>,
    ) -> Result<(), MemberError> {
        match self.collector.on_bundle(bundle) {
            Ok(effects) => self.perform(effects).await,
            Err(error) => {
                if let Some(peer) = from.filter(|_| error.peer_at_fault()) {
                    warn!(target: "blindfold::committee", %peer, %error, "share bundle refused; blocking the peer");
                    self.blocker.block(peer);
                } else {
                    debug!(target: "blindfold::committee", %error, "share bundle not kept");
                }
                Ok(())
            }
        }
    }

    /// Asks for the openings that are due.
    pub(super) fn ask(&mut self) {
        for (height, number) in self.asking.due(self.now_ms()) {
            let recipient = Recipients::One(self.peers[number].clone());
            self.sender.send(recipient, ShareMessage::Wanted(height).encode(), false);
        }
    }

    /// Answers a peer that misses a height: with its openings, now or once there are some. A member
    /// meanwhile gets our bundle; a follower, which collects none, does not.
    fn answer(&mut self, peer: Identity, height: u64) {
        // What is in neither has no openings stored.
        let asked = if height < self.next_to_execute || self.opened.contains_key(&height) {
            Asked::Openings(height)
        } else {
            let opened_height = self.shared.chain.progress().opened_height;
            self.parked.park(height, opened_height, peer.clone());
            let own = self.open.get(&height).and_then(|open| open.own.as_ref());
            let Some(own) = own.filter(|_| self.number(&peer).is_some()) else { return };
            Asked::Bundle(Arc::clone(own))
        };
        self.request(peer, asked);
    }

    /// Has evidence verified, unless there is enough against that member.
    fn on_evidence(&self, peer: Identity, evidence: Box<Evidence>) {
        if self.shared.has_evidence_room(&evidence) {
            self.request(peer, Asked::Evidence(evidence));
        }
    }

    fn request(&self, peer: Identity, asked: Asked) {
        let number = self.number(&peer);
        if !self.requests.put(peer, number, asked) {
            metrics::request_dropped("busy");
        }
    }

    /// The number of a member among those that are asked.
    pub(super) fn number(&self, peer: &Identity) -> Option<usize> {
        self.peers.iter().position(|member| member == peer)
    }

    /// To all members.
    pub(super) fn tell(&mut self, message: &ShareMessage) {
        self.sender.send(Recipients::Some(self.peers.clone()), message.encode(), true);
    }

    /// To all members and followers.
    pub(super) fn tell_all(&mut self, message: &ShareMessage) {
        self.sender.send(Recipients::All, message.encode(), true);
    }
}
