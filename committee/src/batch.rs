//! A certified height with its envelopes, still sealed.

use std::sync::Arc;

use blindfold_wire::{B256, Certified, CheckedEnvelope, OrderCommitment, order_root};

/// The envelopes handed in are not those the commitment orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MismatchError {
    /// Another number of them.
    #[error("height {height} orders {expected} envelopes, got {got}")]
    Count {
        /// The height.
        height: u64,
        /// How many it orders.
        expected: usize,
        /// How many there were.
        got: usize,
    },
    /// Other ones, or in another order.
    #[error("the envelopes of height {height} do not hash to its order root")]
    OrderRoot {
        /// The height.
        height: u64,
    },
}

/// A height whose order is final, with exactly the envelopes it orders, in that order.
///
/// Everything in this crate that touches a share or an opening takes one of these, and there is no way to
/// make one without a [`Certified`] commitment. Cheap to clone.
///
/// ```compile_fail,E0308
/// use blindfold_committee::SealedBatch;
/// use blindfold_wire::OrderCommitment;
/// // Not certified, so there is nothing to release.
/// let batch = SealedBatch::new(OrderCommitment::default(), Vec::new());
/// ```
#[derive(Clone, Debug)]
pub struct SealedBatch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certified: Certified<OrderCommitment>,
    digest: B256,
    envelopes: Vec<CheckedEnvelope>,
}

impl SealedBatch {
    /// Joins a certified commitment with its envelopes.
    ///
    /// # Errors
    ///
    /// When `envelopes` are not those of the commitment, in its order. Whoever supplied them is at fault.
    pub fn new(
        certified: Certified<OrderCommitment>,
        envelopes: Vec<CheckedEnvelope>,
    ) -> Result<Self, MismatchError> {
        let commitment = certified.get();
        let height = commitment.height;
        let expected = usize::try_from(commitment.count).unwrap_or(usize::MAX);
        if envelopes.len() != expected {
            return Err(MismatchError::Count { height, expected, got: envelopes.len() });
        }
        let ids: Vec<_> = envelopes.iter().map(CheckedEnvelope::id).collect();
        if order_root(&ids) != commitment.order_root {
            return Err(MismatchError::OrderRoot { height });
        }
        let digest = certified.digest();
        Ok(Self { inner: Arc::new(Inner { certified, digest, envelopes }) })
    }

    /// The commitment and what certifies it.
    pub fn certified(&self) -> &Certified<OrderCommitment> {
        &self.inner.certified
    }

    /// The commitment.
    pub fn commitment(&self) -> &OrderCommitment {
        self.inner.certified.get()
    }

    /// The commitment's digest.
    pub fn digest(&self) -> B256 {
        self.inner.digest
    }

    /// The height.
    pub fn height(&self) -> u64 {
        self.commitment().height
    }

    /// The envelopes in their order.
    pub fn envelopes(&self) -> &[CheckedEnvelope] {
        &self.inner.envelopes
    }

    /// Number of envelopes.
    pub fn len(&self) -> usize {
        self.inner.envelopes.len()
    }

    /// Whether the height orders nothing.
    pub fn is_empty(&self) -> bool {
        self.inner.envelopes.is_empty()
    }
}
