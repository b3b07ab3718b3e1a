//! The inner transaction: what was sealed.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Transaction as _, TxEnvelope, TxType};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, TxKind};
use revm::context::TxEnv;
use revm::context_interface::either::Either;

use blindfold_wire::SkipReason;

/// A signed Ethereum transaction with its sender.
///
/// Nothing before execution can name this type: up to here a transaction is a ciphertext, or the
/// bytes that came out of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    signed: TxEnvelope,
    sender: Address,
}

impl Transaction {
    /// Decodes what an envelope held: a legacy, EIP-2930, EIP-1559 or EIP-7702 transaction in its
    /// EIP-2718 encoding, for this chain, with a low-s signature.
    ///
    /// The checks run in a fixed order, so that all nodes find the same reason: type, encoding,
    /// chain, gas class, signature.
    ///
    /// # Errors
    ///
    /// The reason to skip it. EIP-4844 transactions are refused, and so are legacy transactions
    /// without a chain id (before EIP-155): they could be replayed here from any other chain.
    pub fn decode(message: &[u8], chain_id: u64, gas_class: u64) -> Result<Self, SkipReason> {
        match message.first() {
            None => return Err(SkipReason::Undecodable),
            // Types are below 0xc0, where the RLP list of a legacy transaction begins.
            Some(1 | 2 | 4 | 0xc0..) => {}
            Some(0x80..) => return Err(SkipReason::Undecodable),
            Some(_) => return Err(SkipReason::UnsupportedType),
        }
        let signed = TxEnvelope::decode_2718_exact(message).map_err(|_| SkipReason::Undecodable)?;
        // The hash of a transaction must not depend on how somebody chose to encode it.
        if signed.encoded_2718() != message {
            return Err(SkipReason::Undecodable);
        }
        if signed.chain_id() != Some(chain_id) {
            return Err(SkipReason::WrongChain);
        }
        if signed.gas_limit() > gas_class {
            return Err(SkipReason::GasAboveClass);
        }
        let sender = signed.recover_signer().map_err(|_| SkipReason::BadSignature)?;
        Ok(Self { signed, sender })
    }

    /// Puts a transaction and its known sender together, as read back from storage.
    pub(crate) const fn from_parts(signed: TxEnvelope, sender: Address) -> Self {
        Self { signed, sender }
    }

    /// The signed transaction.
    #[must_use]
    pub const fn signed(&self) -> &TxEnvelope {
        &self.signed
    }

    /// Who signed it.
    #[must_use]
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        *self.signed.tx_hash()
    }

    /// Its EIP-2718 type.
    #[must_use]
    pub const fn tx_type(&self) -> TxType {
        match &self.signed {
            TxEnvelope::Legacy(_) => TxType::Legacy,
            TxEnvelope::Eip2930(_) => TxType::Eip2930,
            TxEnvelope::Eip1559(_) => TxType::Eip1559,
            TxEnvelope::Eip4844(_) => TxType::Eip4844,
            TxEnvelope::Eip7702(_) => TxType::Eip7702,
        }
    }

    /// Its EIP-2718 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.signed.encoded_2718()
    }

    /// Wei per gas that it pays under a base fee.
    #[must_use]
    pub fn effective_gas_price(&self, base_fee_wei: u64) -> u128 {
        self.signed.effective_gas_price(Some(base_fee_wei))
    }

    /// The address of the contract it creates, if it is a creation.
    #[must_use]
    pub fn created_address(&self) -> Option<Address> {
        self.signed.is_create().then(|| self.sender.create(self.signed.nonce()))
    }

    pub(crate) fn tx_env(&self) -> TxEnv {
        let tx = &self.signed;
        TxEnv {
            tx_type: self.tx_type() as u8,
            caller: self.sender,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.to().map_or(TxKind::Create, TxKind::Call),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: tx
                .authorization_list()
                .unwrap_or_default()
                .iter()
                .cloned()
                .map(Either::Left)
                .collect(),
        }
    }
}
