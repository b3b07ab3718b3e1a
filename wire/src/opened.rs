//! A certified height with all its openings: the input of execution.

use alloy_primitives::B256;
use blindfold_crypto::Opening;

use crate::{
    certified::Certified,
    checked::CheckedEnvelope,
    commitment::{OrderCommitment, opening_root, order_root},
    opening::encode_opening_set,
};

/// Why envelopes and openings do not make up a certified height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenedBatchError {
    /// The number of envelopes is not the commitment's count.
    #[error("{got} envelopes, the commitment says {expected}")]
    Count {
        /// The commitment's count.
        expected: u32,
        /// Envelopes given.
        got: usize,
    },
    /// The envelopes are others, or in another order, than the commitment's root says.
    #[error("the envelopes' order root is not the commitment's")]
    OrderRoot,
}

/// An ordered envelope with its opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedEnvelope {
    /// The envelope.
    pub envelope: CheckedEnvelope,
    /// What it held, or the proof that it holds nothing.
    pub opening: Opening,
}

/// A certified height, its envelopes in order and the opening of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBatch {
    certified: Certified<OrderCommitment>,
    items: Vec<OpenedEnvelope>,
}

impl OpenedBatch {
    /// Joins a certified order with its opened envelopes. The openings must have been decided or
    /// verified (`blindfold_crypto::decide`, `check_opening`); the order is checked here.
    ///
    /// # Errors
    /// If the envelopes are not exactly those the commitment orders, in that order.
    pub fn new(
        certified: Certified<OrderCommitment>,
        items: Vec<(CheckedEnvelope, Opening)>,
    ) -> Result<Self, OpenedBatchError> {
        let expected = certified.get().count;
        if usize::try_from(expected) != Ok(items.len()) {
            return Err(OpenedBatchError::Count { expected, got: items.len() });
        }
        let ids: Vec<_> = items.iter().map(|(envelope, _)| envelope.id()).collect();
        if order_root(&ids) != certified.get().order_root {
            return Err(OpenedBatchError::OrderRoot);
        }
        let items = items
            .into_iter()
            .map(|(envelope, opening)| OpenedEnvelope { envelope, opening })
            .collect();
        Ok(Self { certified, items })
    }

    /// The certified order.
    pub fn certified(&self) -> &Certified<OrderCommitment> {
        &self.certified
    }

    /// The order commitment.
    pub fn commitment(&self) -> &OrderCommitment {
        self.certified.get()
    }

    /// Opened envelopes by position.
    pub fn items(&self) -> &[OpenedEnvelope] {
        &self.items
    }

    /// The height.
    pub fn height(&self) -> u64 {
        self.certified.get().height
    }

    /// The canonical bytes of the height's [`OpeningSet`](crate::OpeningSet), without a copy of the openings.
    pub fn encode_opening_set(&self) -> Vec<u8> {
        let openings = self.items.iter().map(|item| &item.opening);
        encode_opening_set(self.height(), self.certified.digest(), openings)
    }

    /// Merkle root over the openings.
    pub fn opening_root(&self) -> B256 {
        let openings: Vec<_> =
            self.items.iter().map(|item| (item.envelope.id(), &item.opening)).collect();
        opening_root(self.height(), &openings)
    }
}
