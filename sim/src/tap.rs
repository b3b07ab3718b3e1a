//! Taps on a member's links: they pass everything on unchanged, and tell the observer what is sent.

use crate::observer::Observer;
use blindfold_ordering::engine::channels;
use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{CheckedSender, LimitedSender, Message, Receiver, Recipients};
use commonware_runtime::{IoBuf, IoBufs};
use commonware_utils::channel::mpsc;
use std::{num::NonZeroUsize, sync::Arc, time::SystemTime};

/// Where a member's taps lead.
#[derive(Clone)]
pub struct Wire {
    /// The member.
    pub member: usize,
    /// The channel.
    pub channel: u64,
    /// Who is told.
    pub observer: Arc<Observer>,
    /// Gets every proposed block that the member sends or receives, if the member is mutated.
    pub blocks: Option<mpsc::UnboundedSender<IoBuf>>,
}

impl Wire {
    fn copy_block(&self, message: &IoBuf) {
        if let Some(blocks) = self.blocks.as_ref().filter(|_| self.channel == channels::BLOCKS) {
            let _ = blocks.send(message.clone());
        }
    }
}

/// The sending end of a channel.
#[derive(Clone)]
pub struct TapSender<X> {
    inner: X,
    wire: Wire,
}

impl<X> TapSender<X> {
    /// A tap on `inner`.
    pub const fn new(inner: X, wire: Wire) -> Self {
        Self { inner, wire }
    }
}

impl<X: LimitedSender> LimitedSender for TapSender<X> {
    type PublicKey = X::PublicKey;
    type Checked<'a>
        = TapChecked<'a, X::Checked<'a>>
    where
        Self: 'a;

    fn check(
        &mut self,
        recipients: Recipients<X::PublicKey>,
    ) -> Result<Self::Checked<'_>, SystemTime> {
        Ok(TapChecked { inner: self.inner.check(recipients)?, wire: &self.wire })
    }
}

/// A message that may be sent.
pub struct TapChecked<'a, C> {
    inner: C,
    wire: &'a Wire,
}

impl<C: CheckedSender> CheckedSender for TapChecked<'_, C> {
    type PublicKey = C::PublicKey;

    fn recipients(&self) -> Vec<C::PublicKey> {
        self.inner.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let message = message.into().coalesce();
        self.wire.observer.sent(self.wire.member, self.wire.channel, &message);
        self.wire.copy_block(&message);
        self.inner.send(message, priority)
    }
}

/// The receiving end of a channel.
pub struct TapReceiver<R> {
    inner: R,
    wire: Wire,
}

impl<R> TapReceiver<R> {
    /// A tap on `inner`.
    pub const fn new(inner: R, wire: Wire) -> Self {
        Self { inner, wire }
    }
}

impl<R: std::fmt::Debug> std::fmt::Debug for TapReceiver<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TapReceiver").field(&self.inner).finish()
    }
}

impl<R: Receiver> Receiver for TapReceiver<R> {
    type Error = R::Error;
    type PublicKey = R::PublicKey;

    async fn recv(&mut self) -> Result<Message<R::PublicKey>, R::Error> {
        let (peer, message) = self.inner.recv().await?;
        self.wire.copy_block(&message);
        Ok((peer, message))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}
