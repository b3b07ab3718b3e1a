//! Members whose shares are wrong, missing, or for two blocks of one height.

use super::{DEEDS_MAX, Mischief, Vote, eager};
use alloy_primitives::B256;
use blindfold_crypto::Share;
use blindfold_node::member::messages::{SHARE_CHANNEL, ShareMessage};
use blindfold_ordering::engine::channels;
use blindfold_wire::{Opening, ShareBundle};
use commonware_codec::DecodeExt as _;
use commonware_consensus::Viewable as _;
use commonware_p2p::Recipients;
use commonware_runtime::IoBuf;
use std::collections::{BTreeMap, BTreeSet};

/// What it did before.
#[derive(Default)]
pub(super) struct Memory {
    /// Heights and blocks that it released and never showed.
    kept: BTreeMap<u64, B256>,
    /// Heights of which it released a second block.
    twice: BTreeSet<u64>,
    /// Views in which it kept its block.
    views: BTreeSet<u64>,
    /// A right share, of an earlier height.
    stale: Option<Share>,
}

impl Mischief {
    /// Keeps its own block and releases its shares, so that the view ends without it.
    pub(super) fn release_twice(&mut self, channel: u64, message: &IoBuf) -> bool {
        if let Some(block) = self.own_block(channel, message) {
            let view = block.commitment().view;
            if self.shares.views.contains(&view) {
                return false;
            }
            let bundle = eager::bundle(&block, &self.decryption, &self.signer, self.member as u32);
            let Some(bundle) = bundle.filter(|_| self.shares.kept.len() < DEEDS_MAX) else {
                return true;
            };
            self.shares.views.insert(view);
            self.shares.kept.insert(bundle.header.height, bundle.header.commitment);
            let message = ShareMessage::Bundle(bundle).encode();
            self.send(SHARE_CHANNEL, Recipients::All, message);
            return false;
        }
        match channel {
            channels::VOTES => match Vote::decode(message.clone()) {
                // A vote would tell the others what to ask for.
                Ok(Vote::Notarize(vote)) => !self.shares.views.contains(&vote.view().get()),
                _ => true,
            },
            SHARE_CHANNEL => {
                if let Ok(ShareMessage::Bundle(bundle)) = ShareMessage::decode(message.as_ref()) {
                    let kept = self.shares.kept.get(&bundle.header.height);
                    if kept.is_some_and(|kept| *kept != bundle.header.commitment)
                        && self.shares.twice.insert(bundle.header.height)
                    {
                        self.deeds += 1;
                    }
                }
                true
            }
            _ => true,
        }
    }

    /// Signs wrong shares: now no points at all, now right ones of another height. Serves wrong openings and access lists.
    pub(super) fn garble(&mut self, channel: u64, message: &IoBuf) -> bool {
        if channel != SHARE_CHANNEL {
            return true;
        }
        let garbled = match ShareMessage::decode(message.as_ref()) {
            Ok(ShareMessage::Bundle(bundle)) => {
                let stale = self.shares.stale;
                self.shares.stale = bundle.shares.first().copied();
                let height = bundle.header.height;
                let wrong = stale.filter(|_| height.is_multiple_of(2)).unwrap_or(Share([0x5a; 96]));
                ShareMessage::Bundle(ShareBundle::sign(
                    bundle.header.chain_id,
                    bundle.header.settlement,
                    height,
                    bundle.header.commitment,
                    bundle.header.member,
                    vec![wrong; bundle.shares.len()],
                    &self.signer,
                ))
            }
            Ok(ShareMessage::Openings(mut set)) => {
                for opening in &mut set.openings {
                    if let Opening::Opened { seed, .. } = opening {
                        seed[0] ^= 1;
                    }
                }
                ShareMessage::Openings(set)
            }
            Ok(ShareMessage::AccessList { height, list }) => {
                let mut list = list.to_vec();
                if let Some(last) = list.last_mut() {
                    *last ^= 1;
                }
                ShareMessage::AccessList { height, list: list.into() }
            }
            _ => return true,
        };
        self.deeds += 1;
        self.send(channel, Recipients::All, garbled.encode());
        false
    }

    /// Sends neither shares nor openings.
    pub(super) fn keep_shares(&mut self, channel: u64, message: &IoBuf) -> bool {
        let keeps = channel == SHARE_CHANNEL
            && matches!(
                ShareMessage::decode(message.as_ref()),
                Ok(ShareMessage::Bundle(_) | ShareMessage::Openings(_))
            );
        self.deeds += usize::from(keeps);
        !keeps
    }
}
