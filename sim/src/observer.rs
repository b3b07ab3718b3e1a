//! A neutral observer of the network: sees every message as it leaves its sender.
//!
//! The members do not know of it. It keeps what the properties need: finalize votes, proposed blocks,
//! share bundles and openings, in the order in which they were sent. Of a bundle and of openings it
//! also notes whether the sender's own database held, at that moment, a proof that verifies.

use crate::stake::Signed;
use alloy_primitives::{Address, B256};
use blindfold_node::member::{
    messages::{SHARE_CHANNEL, ShareMessage},
    records::Records,
};
use blindfold_ordering::{
    block::{BlockCodec, OrderedBlock, from_digest},
    engine::{self, Digest, OrderingScheme, channels},
};
use blindfold_wire::{Genesis, ShareBundle, SignedCommitment, VoteCommittee};
use commonware_codec::{Decode as _, DecodeExt as _};
use commonware_consensus::simplex::types::Vote;
use commonware_runtime::{Clock as _, IoBuf, deterministic::Context};
use commonware_utils::sync::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::UNIX_EPOCH,
};

/// Whether a sender held a verified proof that what it opened was final; if not, why.
pub type Ground = Result<(), String>;

/// Something that a member said.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sent, in milliseconds of simulated time.
    pub at_ms: u64,
    /// Who sent it.
    pub member: usize,
    /// What it was.
    pub said: Said,
}

/// What a member said.
#[derive(Clone, Debug)]
pub enum Said {
    /// A vote to finalize.
    Finalize {
        /// Digest voted for.
        digest: B256,
    },
    /// Decryption shares of all envelopes of a block.
    Shares {
        /// Height they are for.
        height: u64,
        /// Commitment they are for.
        digest: B256,
        /// Proof of finality that the sender held.
        ground: Ground,
    },
    /// The openings of a block.
    Openings {
        /// Height they are for.
        height: u64,
        /// Commitment they are for.
        digest: B256,
        /// Proof of finality that the sender held.
        ground: Ground,
    },
    /// Something that does not decode, or a bundle that its sender did not sign.
    Nonsense(String),
}

/// A block that was proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its height.
    pub height: u64,
    /// Digest of the block below.
    pub parent: B256,
    /// Envelope ids in order.
    pub ids: Vec<B256>,
}

/// What the observer saw.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In the order in which they were sent.
    pub events: Vec<Event>,
    /// Every block that was sent, by digest.
    pub blocks: BTreeMap<B256, Proposed>,
}

/// Watches a network.
pub struct Observer {
    clock: Context,
    votes: VoteCommittee,
    codec: BlockCodec,
    signers: Vec<Address>,
    records: Vec<Records>,
    log: Mutex<Log>,
    signed: Mutex<Signed>,
    /// (member, digest) pairs whose proof was verified before.
    proven: Mutex<BTreeSet<(usize, B256)>>,
}

impl Observer {
    /// An observer of the chain of `genesis` that may look into the members' databases.
    ///
    /// # Panics
    /// If the genesis has no valid vote keys.
    pub fn new(clock: Context, genesis: &Genesis, records: Vec<Records>) -> Self {
        Self {
            clock,
            votes: VoteCommittee::from_genesis(genesis).expect("a valid genesis"),
            codec: engine::codec(genesis, None),
            signers: genesis.committee.members.iter().map(|member| member.signer).collect(),
            records,
            log: Mutex::default(),
            signed: Mutex::default(),
            proven: Mutex::default(),
        }
    }

    /// What was seen so far.
    pub fn log(&self) -> Log {
        self.log.lock().clone()
    }

    /// Everything signed that was sent so far.
    pub fn signed(&self) -> Signed {
        self.signed.lock().clone()
    }

    /// Milliseconds of simulated time.
    pub fn now_ms(&self) -> u64 {
        let since = self.clock.current().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Notes a message as it is sent.
    pub fn sent(&self, member: usize, channel: u64, message: &IoBuf) {
        let said = match channel {
            channels::VOTES => self.vote(message),
            channels::BLOCKS => self.block(message),
            channels::COMMITMENTS => {
                // Gossip, also of others' commitments; what does not decode accuses nobody.
                if let Ok(signed) = SignedCommitment::decode(message.as_ref()) {
                    self.signed.lock().commitment(signed);
                }
                None
            }
            SHARE_CHANNEL => self.share_message(member, message.as_ref()),
            _ => None,
        };
        if let Some(said) = said {
            let at_ms = self.now_ms();
            self.log.lock().events.push(Event { at_ms, member, said });
        }
    }

    fn vote(&self, message: &IoBuf) -> Option<Said> {
        match Vote::<OrderingScheme, Digest>::decode(message.clone()) {
            Ok(Vote::Finalize(vote)) => {
                Some(Said::Finalize { digest: from_digest(&vote.proposal.payload) })
            }
            Ok(_) => None,
            Err(error) => Some(Said::Nonsense(format!("vote: {error}"))),
        }
    }

    fn block(&self, message: &IoBuf) -> Option<Said> {
        match OrderedBlock::decode_cfg(message.clone(), &self.codec) {
            Ok(block) => {
                let ids = block.block().validate_shape().unwrap_or_default();
                let (height, parent) = (block.commitment().height, block.commitment().parent);
                self.signed.lock().commitment(block.block().commitment.clone());
                self.log.lock().blocks.insert(block.id(), Proposed { height, parent, ids });
                None
            }
            Err(error) => Some(Said::Nonsense(format!("block: {error}"))),
        }
    }

    fn share_message(&self, member: usize, message: &[u8]) -> Option<Said> {
        match ShareMessage::decode(message) {
            Ok(ShareMessage::Bundle(bundle)) => Some(self.bundle(member, &bundle)),
            Ok(ShareMessage::Openings(set)) => {
                let (height, digest) = (set.height, set.commitment);
                Some(Said::Openings { height, digest, ground: self.ground(member, height, digest) })
            }
            Ok(
                ShareMessage::Wanted(_)
                | ShareMessage::AccessList { .. }
                | ShareMessage::Evidence(_),
            ) => None,
            Err(error) => Some(Said::Nonsense(format!("share message: {error}"))),
        }
    }

    fn bundle(&self, member: usize, bundle: &ShareBundle) -> Said {
        let (height, digest) = (bundle.header.height, bundle.header.commitment);
        if bundle.header.member as usize != member {
            return Said::Nonsense(format!("a bundle of member {}", bundle.header.member));
        }
        match bundle.verify_signature(self.signers[member]) {
            Ok(()) => {
                self.signed.lock().bundle(bundle.clone());
                Said::Shares { height, digest, ground: self.ground(member, height, digest) }
            }
            Err(error) => Said::Nonsense(error.to_string()),
        }
    }

    /// Whether the member's database holds a proof that this digest is final, verified here and now.
    fn ground(&self, member: usize, height: u64, digest: B256) -> Ground {
        if self.proven.lock().contains(&(member, digest)) {
            return Ok(());
        }
        let records = &self.records[member];
        let block = records.block(height).map_err(|error| error.to_string())?;
        let record = records.height(height).map_err(|error| error.to_string())?;
        let (Some(block), Some(record)) = (block, record) else {
            return Err("it held no final block of the height".to_owned());
        };
        let certified = record
            .certify(block.commitment.commitment, &self.votes)
            .map_err(|error| format!("its proof does not verify: {error}"))?;
        if certified.digest() != digest {
            return Err(format!("its proof is for {}", certified.digest()));
        }
        self.proven.lock().insert((member, digest));
        Ok(())
    }
}
