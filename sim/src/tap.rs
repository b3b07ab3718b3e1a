//! Taps on a member's links: they tell the observer what is sent, and give an adversary and the weather
//! their say.
//!
//! ```text
//!  member ─▶ mischief ─▶ observer ─▶ storm ─▶ link     link ─▶ mischief hears ─▶ member
//! ```

use crate::{adversary::Mischief, observer::Observer, plan::Mutation, storm::Storm};
use blindfold_node::member::messages::{SHARE_CHANNEL, ShareMessage};
use blindfold_ordering::engine::{Identity, channels};
use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{CheckedSender, LimitedSender, Message, Receiver, Recipients, simulated};
use commonware_runtime::{IoBuf, IoBufs, deterministic::Context};
use commonware_utils::{channel::mpsc, sync::Mutex};
use std::{num::NonZeroUsize, sync::Arc, time::SystemTime};

/// The sending end of a channel of the simulated network.
pub type Link = simulated::Sender<Identity, Context>;
/// A way onto the network past a member's mischief.
pub type Outlet = TapSender;

/// Where a member's taps lead.
#[derive(Clone)]
pub struct Wire {
    /// The member.
    pub member: usize,
    /// The channel.
    pub channel: u64,
    /// Who is told.
    pub observer: Arc<Observer>,
    /// Gets every proposed block that the member sends or receives, if the member releases early.
    pub blocks: Option<mpsc::UnboundedSender<IoBuf>>,
    /// The member's mischief, if it is an adversary.
    pub mischief: Option<Arc<Mutex<Mischief>>>,
    /// The weather, if it is bad.
    pub storm: Option<Arc<Storm>>,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
}

impl Wire {
    fn copy_block(&self, message: &IoBuf) {
        if let Some(blocks) = self.blocks.as_ref().filter(|_| self.channel == channels::BLOCKS) {
            let _ = blocks.send(message.clone());
        }
    }

    /// Whether a mutation takes the message away.
    fn is_cut(&self, message: &IoBuf) -> bool {
        let shares =
            || (self.channel == SHARE_CHANNEL).then(|| ShareMessage::decode(message.as_ref()));
        match self.mutation {
            Some(Mutation::NoGossip) => {
                self.channel == channels::COMMITMENTS
                    || matches!(shares(), Some(Ok(ShareMessage::Evidence(_))))
            }
            Some(Mutation::SilentMembers { members }) if self.member < members => {
                matches!(shares(), Some(Ok(ShareMessage::Bundle(_) | ShareMessage::Openings(_))))
            }
            _ => false,
        }
    }
}

/// The sending end of a channel.
#[derive(Clone)]
pub struct TapSender {
    inner: Link,
    wire: Wire,
}

impl TapSender {
    /// A tap on `inner`.
    pub const fn new(inner: Link, wire: Wire) -> Self {
        Self { inner, wire }
    }

    /// A tap beside the member's mischief.
    #[must_use]
    pub fn outlet(&self) -> Outlet {
        Self { inner: self.inner.clone(), wire: Wire { mischief: None, ..self.wire.clone() } }
    }
}

impl LimitedSender for TapSender {
    type PublicKey = Identity;
    type Checked<'a> = TapChecked<'a>;

    fn check(&mut self, recipients: Recipients<Identity>) -> Result<TapChecked<'_>, SystemTime> {
        let link = self.wire.storm.is_some().then(|| self.inner.clone());
        Ok(TapChecked { inner: self.inner.check(recipients)?, link, wire: &self.wire })
    }
}

/// A message that may be sent.
pub struct TapChecked<'a> {
    inner: <Link as LimitedSender>::Checked<'a>,
    link: Option<Link>,
    wire: &'a Wire,
}

impl CheckedSender for TapChecked<'_> {
    type PublicKey = Identity;

    fn recipients(&self) -> Vec<Identity> {
        self.inner.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        const TAKEN: Unreliable<Feedback> = Unreliable::new(Feedback::Ok);
        let message = message.into().coalesce();
        let Wire { member, channel, observer, mischief, storm, .. } = self.wire;
        if let Some(mischief) = mischief
            && !mischief.lock().leaving(*channel, &message, observer.now_ms())
        {
            return TAKEN;
        }
        if self.wire.is_cut(&message) {
            return TAKEN;
        }
        observer.sent(*member, *channel, &message);
        self.wire.copy_block(&message);
        if let (Some(storm), Some(link)) = (storm, &self.link)
            && !storm.passes((*member, *channel), link, &self.inner.recipients(), &message)
        {
            return TAKEN;
        }
        self.inner.send(message, priority)
    }
}

/// The receiving end of a channel.
#[derive(Debug)]
pub struct TapReceiver {
    inner: simulated::Receiver<Identity>,
    wire: WireBox,
}

struct WireBox(Wire);

impl std::fmt::Debug for WireBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "channel {} of member {}", self.0.channel, self.0.member)
    }
}

impl TapReceiver {
    /// A tap on `inner`.
    pub const fn new(inner: simulated::Receiver<Identity>, wire: Wire) -> Self {
        Self { inner, wire: WireBox(wire) }
    }
}

impl Receiver for TapReceiver {
    type Error = <simulated::Receiver<Identity> as Receiver>::Error;
    type PublicKey = Identity;

    async fn recv(&mut self) -> Result<Message<Identity>, Self::Error> {
        let (peer, mut message) = self.inner.recv().await?;
        self.wire.0.copy_block(&message);
        if let Some(mischief) = &self.wire.0.mischief {
            message = mischief.lock().arrived(self.wire.0.channel, message);
        }
        Ok((peer, message))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}
