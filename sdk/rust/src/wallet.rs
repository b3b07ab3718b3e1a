//! Sealing.

use blindfold_crypto::{Seed, seal};
use blindfold_wire::{
    Address,
    envelope::{EnvelopeHeader, SealedTransaction, sign_envelope},
    signature::SigningKey,
};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::{Committee, Fees, FeesError};

/// A payer: the key that signs envelopes, the committee to seal to, and the next nonce.
///
/// # Order of calls
/// 1. [`Client::sync`](crate::Client::sync) once (or [`Self::set_next_nonce`]), since a new wallet
///    starts at nonce 0.
/// 2. [`Self::seal`] as often as needed; each takes the next nonce.
/// 3. After a refused submission, sync again: its nonce is still free, and later ones would wait
///    for it in vain.
///
/// # Security
/// The signing key is erased on drop. The randomness of each seal comes from the operating system
/// and is used once.
#[derive(Debug)]
pub struct Wallet {
    key: SigningKey,
    committee: Committee,
    next_nonce: Mutex<u64>,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The offer makes no sense.
    #[error(transparent)]
    Fees(#[from] FeesError),
    /// The transaction is empty.
    #[error("there is no transaction to seal")]
    Empty,
    /// The transaction does not fit.
    #[error("cannot seal: {0}")]
    Seal(#[from] blindfold_crypto::SealError),
    /// The operating system gave no randomness. Never seal with less.
    #[error("no randomness from the operating system: {0}")]
    Randomness(getrandom::Error),
    /// All nonces are used.
    #[error("the payer's nonces are exhausted")]
    NoncesExhausted,
}

impl Wallet {
    /// A wallet that pays with `key` and seals to `committee`, at nonce 0.
    pub fn new(key: SigningKey, committee: Committee) -> Self {
        Self { key, committee, next_nonce: Mutex::new(0) }
    }

    /// Address of the payer.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// The committee it seals to.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Envelope nonce that the next [`Self::seal`] takes.
    pub fn next_nonce(&self) -> u64 {
        *self.next_nonce.lock()
    }

    /// Sets the envelope nonce that the next [`Self::seal`] takes.
    pub fn set_next_nonce(&self, nonce: u64) {
        *self.next_nonce.lock() = nonce;
    }

    /// Seals a signed Ethereum transaction (its EIP-2718 bytes) under the next nonce.
    ///
    /// The sender of the transaction may be the payer or anyone else.
    ///
    /// # Errors
    /// See [`SealError`]; the nonce is then not used up.
    ///
    /// # Example
    /// ```
    /// # use blindfold_sdk::{Committee, Fees, SealError, SealedTransaction, SigningKey, Wallet};
    /// /// Seals one transaction, offering up to 2 gwei per unit of gas.
    /// fn seal(committee: Committee, key: SigningKey, signed: &[u8]) -> Result<SealedTransaction, SealError> {
    ///     let fees = Fees {
    ///         max_fee_per_gas: 2_000_000_000,
    ///         max_priority_fee_per_gas: 1_000_000,
    ///         gas_limit: 21_000,
    ///         expiry_height: 1_000,
    ///     };
    ///     Wallet::new(key, committee).seal(signed, &fees)
    /// }
    /// ```
    pub fn seal(&self, transaction: &[u8], fees: &Fees) -> Result<SealedTransaction, SealError> {
        // Held throughout, so that two threads never take one nonce.
        let mut next = self.next_nonce.lock();
        let after = next.checked_add(1).ok_or(SealError::NoncesExhausted)?;
        let sealed = self.seal_with_nonce(transaction, *next, fees)?;
        *next = after;
        Ok(sealed)
    }

    /// Seals under a given nonce: with [`Fees::bumped`] fees, to replace a pending envelope.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_with_nonce(
        &self,
        transaction: &[u8],
        nonce: u64,
        fees: &Fees,
    ) -> Result<SealedTransaction, SealError> {
        if transaction.is_empty() {
            return Err(SealError::Empty);
        }
        let header = EnvelopeHeader {
            chain_id: self.committee.chain_id(),
            key_id: self.committee.key_id(),
            payer_nonce: nonce,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            gas_limit: fees.gas_class()?,
            expiry_height: fees.expiry_height,
        };
        let label = header.label(self.address());
        let ciphertext = seal(self.committee.key(), &label, &fresh_seed()?, transaction)?;
        Ok(sign_envelope(header, ciphertext, &self.key))
    }
}

/// 32 bytes from the operating system, for one seal.
fn fresh_seed() -> Result<Seed, SealError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(SealError::Randomness)?;
    Ok(Seed::from_bytes(*bytes))
}
