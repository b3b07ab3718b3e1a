//! A member's signed word that it has seen an envelope. It promises no position.

use alloy_primitives::{Address, B256};

use crate::{
    codec::{DecodeError, ListReader, ListWriter, bounded},
    eip712,
    signature::{Signature65, SignatureError, SigningKey},
};

/// Upper bound of an encoded receipt with its signature, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 256;

/// What a member says about an envelope it admitted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdmissionReceipt {
    /// Chain id of the L2.
    pub chain_id: u64,
    /// Settlement contract on L1; zero while there is none.
    pub settlement: Address,
    /// The admitted envelope.
    pub envelope_id: B256,
    /// Index of the member.
    pub member: u32,
    /// The member's last final height when it admitted the envelope.
    pub height_seen: u64,
}

impl AdmissionReceipt {
    /// The EIP-712 digest that the member signs.
    pub fn digest(&self) -> B256 {
        let value = eip712::sol::AdmissionReceipt {
            chainId: self.chain_id,
            settlement: self.settlement,
            envelopeId: self.envelope_id,
            member: self.member,
            heightSeen: self.height_seen,
        };
        eip712::signing_hash(self.chain_id, self.settlement, &value)
    }

    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedReceipt {
        let signature = key.sign_digest(self.digest());
        SignedReceipt { receipt: self, signature }
    }
}

/// A receipt with its member's signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedReceipt {
    /// What was signed.
    pub receipt: AdmissionReceipt,
    /// Over [`AdmissionReceipt::digest`].
    pub signature: Signature65,
}

impl SignedReceipt {
    /// The address that signed it.
    ///
    /// # Errors
    /// If the signature is malleable or recovers to no key.
    pub fn recover_signer(&self) -> Result<Address, SignatureError> {
        self.signature.recover(self.receipt.digest())
    }

    /// RLP `[chain_id, settlement, envelope_id, member, height_seen, signature]`.
    pub fn encode(&self) -> Vec<u8> {
        ListWriter::new()
            .int(self.receipt.chain_id)
            .bytes(self.receipt.settlement.as_slice())
            .bytes(self.receipt.envelope_id.as_slice())
            .int(self.receipt.member)
            .int(self.receipt.height_seen)
            .bytes(&self.signature.to_bytes())
            .finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "receipt", MAX_RECEIPT_BYTES)?;
        let mut list = ListReader::exact(bytes, "receipt")?;
        let receipt = AdmissionReceipt {
            chain_id: list.get("chain_id")?,
            settlement: list.get::<[u8; 20]>("settlement")?.into(),
            envelope_id: list.get::<[u8; 32]>("envelope_id")?.into(),
            member: list.get("member")?,
            height_seen: list.get("height_seen")?,
        };
        let signature = Signature65::from_bytes(&list.get("signature")?)?;
        list.finish()?;
        Ok(Self { receipt, signature })
    }
}
