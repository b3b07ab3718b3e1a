//! Blocks peers that broadcast bytes which are no block, or one that the gate refuses.
//!
//! The library's broadcast drops such bytes and forgets who sent them, so this stands before it. All that
//! the gate looks at (encoding, leader's signature, envelopes) is the same for everybody, and an honest
//! member broadcasts only what passed its own. What breaks a rule of the chain's state passes: that is for
//! verification and evidence.

use crate::{
    block::{BlockCodec, OrderedBlock},
    engine::Identity,
};
use commonware_codec::Decode as _;
use commonware_p2p::{Blocker, Message, Receiver};
use std::{fmt, num::NonZeroUsize};

/// A receiver of blocks that hands on nothing else. Each is decoded twice, here and by the library; the
/// envelopes of the second time come from the node's cache.
pub(crate) struct Screened<R, B> {
    inner: R,
    codec: BlockCodec,
    blocker: B,
}

impl<R, B> Screened<R, B> {
    /// Decodes with `codec`, gate included.
    pub(crate) const fn new(inner: R, codec: BlockCodec, blocker: B) -> Self {
        Self { inner, codec, blocker }
    }
}

impl<R: fmt::Debug, B> fmt::Debug for Screened<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Screened").field(&self.inner).finish()
    }
}

impl<R, B> Receiver for Screened<R, B>
where
    R: Receiver<PublicKey = Identity>,
    B: Blocker<PublicKey = Identity>,
{
    type Error = R::Error;
    type PublicKey = Identity;

    async fn recv(&mut self) -> Result<Message<Identity>, R::Error> {
        loop {
            let (peer, message) = self.inner.recv().await?;
            match OrderedBlock::decode_cfg(message.clone(), &self.codec) {
                Ok(_) => return Ok((peer, message)),
                Err(reason) => {
                    commonware_p2p::block!(self.blocker, peer, %reason, "broadcast is not a block");
                }
            }
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}
