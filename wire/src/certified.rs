//! The one type that says "this order is final".

use std::sync::Arc;

use alloy_primitives::B256;

use crate::{
    certificate::{CertificateError, FinalizationCertificate, VoteCommittee},
    commitment::OrderCommitment,
};

/// Why a value is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finality {
    /// A quorum finalized it directly.
    Certificate(Arc<FinalizationCertificate>),
    /// A certified child with this digest names it as parent.
    Child(B256),
}

/// A value that a quorum of the committee has finalized, with what proves it.
///
/// Only [`Certified::by_certificate`] and [`Certified::by_child`] make one; each verifies first. A
/// member releases decryption shares for nothing else.
///
/// ```compile_fail,E0451
/// use blindfold_wire::{Certified, OrderCommitment};
/// let forged = Certified { value: OrderCommitment::default(), digest: Default::default(), finality: todo!() };
/// ```
///
/// ```compile_fail,E0277
/// use blindfold_wire::{Certified, OrderCommitment};
/// let forged: Certified<OrderCommitment> = OrderCommitment::default().into();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified<T> {
    value: T,
    digest: B256,
    finality: Finality,
}

impl<T> Certified<T> {
    /// The final value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// Its digest.
    pub fn digest(&self) -> B256 {
        self.digest
    }

    /// What proves that it is final.
    pub fn finality(&self) -> &Finality {
        &self.finality
    }

    /// The certificate, if it was finalized directly.
    pub fn certificate(&self) -> Option<&FinalizationCertificate> {
        match &self.finality {
            Finality::Certificate(certificate) => Some(certificate),
            Finality::Child(_) => None,
        }
    }
}

impl Certified<OrderCommitment> {
    /// Certifies `commitment` by its own finalization certificate.
    ///
    /// # Errors
    /// If the certificate is for another digest or epoch, or does not verify.
    pub fn by_certificate(
        commitment: impl Into<OrderCommitment>,
        certificate: &FinalizationCertificate,
        committee: &VoteCommittee,
    ) -> Result<Self, CertificateError> {
        let value = commitment.into();
        let digest = value.digest();
        if certificate.payload != digest || certificate.epoch != value.epoch {
            return Err(CertificateError::OtherCommitment);
        }
        certificate.verify(committee)?;
        Ok(Self { value, digest, finality: Finality::Certificate(Arc::new(certificate.clone())) })
    }

    /// Certifies `commitment` by a certified child: the engine finalizes ancestors implicitly.
    ///
    /// # Errors
    /// If the child's parent is another digest, or its height is not the next one.
    pub fn by_child(
        commitment: impl Into<OrderCommitment>,
        child: &Self,
    ) -> Result<Self, CertificateError> {
        let value = commitment.into();
        let digest = value.digest();
        if child.value.parent != digest || value.height.checked_add(1) != Some(child.value.height) {
            return Err(CertificateError::NotAChild);
        }
        Ok(Self { value, digest, finality: Finality::Child(child.digest) })
    }
}
