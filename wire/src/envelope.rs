//! The sealed transaction (envelope), EIP-2718 type `0x5e`.
//!
//! `0x5e ‖ rlp([chain_id, key_id, payer_nonce, max_fee_per_gas, max_priority_fee_per_gas, gas_limit,
//! expiry_height, u, u_bar, w, w_bar, z, wrapped_seed, body, y_parity, r, s])`
//!
//! Integers are RLP integers; `key_id` is a string of 8 bytes, points of 48, `z`, `wrapped_seed`,
//! `r` and `s` of 32 bytes each; `body` is as long as the padded payload and its tag.
//!
//! # Deviation from ordinary Ethereum transactions
//! `r` and `s` are fixed 32-byte strings, not integers, so that the length of an envelope does not
//! depend on its signature. The signature signs the envelope id, which leaves the signature out.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, keccak256};
use blindfold_crypto::{Ciphertext, Label, MAX_PADDED_BYTES, TAG_BYTES, is_padded_len};

use crate::{
    codec::{DecodeError, ListReader, ListWriter, bounded},
    domain,
    merkle::hash,
    signature::{Signature65, SignatureError, SigningKey},
};

/// EIP-2718 type byte of an envelope.
pub const ENVELOPE_TYPE: u8 = 0x5e;

/// Largest encoded envelope, in bytes: the largest body and every other field at its longest.
pub const MAX_ENVELOPE_BYTES: usize = 66_048;

/// Smallest gas class: 2^15.
pub const MIN_GAS_CLASS: u64 = 1 << 15;

/// Largest gas class: 2^24, Ethereum's limit for one transaction (EIP-7825).
pub const MAX_GAS_CLASS: u64 = 1 << 24;

/// Names a committee key; constant across resharing of the same key.
pub type KeyId = FixedBytes<8>;

/// A wallet's word for [`Envelope`].
pub type SealedTransaction = Envelope;

/// The first 8 bytes of keccak256(domain ‖ chain id, 8 bytes ‖ compressed Y ‖ activation height,
/// 8 bytes), integers big-endian.
pub fn key_id(chain_id: u64, y: &[u8; 48], activation: u64) -> KeyId {
    let digest = hash(domain::KEY_ID, &[&chain_id.to_be_bytes(), y, &activation.to_be_bytes()]);
    KeyId::from_slice(&digest[..8])
}

/// The smallest gas class that holds `gas`; `None` if there is none.
pub fn gas_class(gas: u64) -> Option<u64> {
    let class = gas.max(MIN_GAS_CLASS).checked_next_power_of_two()?;
    (class <= MAX_GAS_CLASS).then_some(class)
}

/// Whether `gas` is one of the published classes: a power of two from 2^15 to 2^24.
pub fn is_gas_class(gas: u64) -> bool {
    gas.is_power_of_two() && (MIN_GAS_CLASS..=MAX_GAS_CLASS).contains(&gas)
}

/// Whether `length` is that of a body: 16 + 256·2^k, with the padded payload at most 64 KiB.
pub fn is_body_len(length: usize) -> bool {
    length.checked_sub(TAG_BYTES).is_some_and(is_padded_len)
}

/// The clear fields of an envelope: what everyone may know before it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeHeader {
    /// Chain the envelope is for.
    pub chain_id: u64,
    /// Committee key it is sealed to.
    pub key_id: KeyId,
    /// The payer's envelope nonce; advances when the envelope is ordered.
    pub payer_nonce: u64,
    /// Most the payer gives per unit of gas, in wei.
    pub max_fee_per_gas: u128,
    /// Most of it that goes to the leader, in wei.
    pub max_priority_fee_per_gas: u128,
    /// Reserved gas: one of the published classes.
    pub gas_limit: u64,
    /// Last height at which it may be ordered.
    pub expiry_height: u64,
}

impl EnvelopeHeader {
    /// The label that binds a ciphertext to these fields and to `payer`:
    /// keccak256(domain ‖ chain_id ‖ key_id ‖ payer ‖ payer_nonce ‖ max_fee_per_gas ‖
    /// max_priority_fee_per_gas ‖ gas_limit ‖ expiry_height), integers big-endian, fees 16 bytes
    /// and the others 8.
    pub fn label(&self, payer: Address) -> Label {
        let digest = hash(
            domain::ENVELOPE_LABEL,
            &[
                &self.chain_id.to_be_bytes(),
                self.key_id.as_slice(),
                payer.as_slice(),
                &self.payer_nonce.to_be_bytes(),
                &self.max_fee_per_gas.to_be_bytes(),
                &self.max_priority_fee_per_gas.to_be_bytes(),
                &self.gas_limit.to_be_bytes(),
                &self.expiry_height.to_be_bytes(),
            ],
        );
        Label(digest.0)
    }

    /// min(max_priority, max_fee − base_fee) in wei; `None` if max_fee is below `base_fee`.
    pub fn effective_priority_fee(&self, base_fee: u128) -> Option<u128> {
        let room = self.max_fee_per_gas.checked_sub(base_fee)?;
        Some(room.min(self.max_priority_fee_per_gas))
    }

    fn write(&self, list: &mut ListWriter) {
        list.int(self.chain_id)
            .bytes(self.key_id.as_slice())
            .int(self.payer_nonce)
            .int(self.max_fee_per_gas)
            .int(self.max_priority_fee_per_gas)
            .int(self.gas_limit)
            .int(self.expiry_height);
    }

    fn read(list: &mut ListReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain_id: list.get("chain_id")?,
            key_id: list.get::<[u8; 8]>("key_id")?.into(),
            payer_nonce: list.get("payer_nonce")?,
            max_fee_per_gas: list.get("max_fee_per_gas")?,
            max_priority_fee_per_gas: list.get("max_priority_fee_per_gas")?,
            gas_limit: list.get("gas_limit")?,
            expiry_height: list.get("expiry_height")?,
        })
    }
}

/// A sealed transaction as it travels. Nothing about it has been checked but its encoding;
/// [`crate::CheckedEnvelope`] is the checked form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The clear fields.
    pub header: EnvelopeHeader,
    /// The sealed payload with its proof.
    pub ciphertext: Ciphertext,
    /// The payer's signature over [`Envelope::signing_digest`].
    pub signature: Signature65,
}

impl Envelope {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = self.unsigned_fields(&self.ciphertext.body);
        list.int(self.signature.y_parity).bytes(&self.signature.r).bytes(&self.signature.s);
        typed(list)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything but the canonical encoding of an envelope, or over
    /// [`MAX_ENVELOPE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "envelope", MAX_ENVELOPE_BYTES)?;
        let Some((&ENVELOPE_TYPE, rlp)) = bytes.split_first() else {
            return Err(DecodeError::UnknownType(bytes[0]));
        };
        let mut list = ListReader::exact(rlp, "envelope")?;
        let header = EnvelopeHeader::read(&mut list)?;
        let ciphertext = Ciphertext {
            u: list.get("u")?,
            u_bar: list.get("u_bar")?,
            w: list.get("w")?,
            w_bar: list.get("w_bar")?,
            z: list.get("z")?,
            wrapped_seed: list.get("wrapped_seed")?,
            body: list.bytes("body", TAG_BYTES + MAX_PADDED_BYTES)?.to_vec(),
        };
        let signature =
            Signature65 { y_parity: list.get("y_parity")?, r: list.get("r")?, s: list.get("s")? };
        list.finish()?;
        Ok(Self { header, ciphertext, signature })
    }

    /// keccak256(type ‖ rlp(the fields before `y_parity`, with keccak256(body) in place of the
    /// body)). The signature cannot change it, and a contract can check it in constant cost.
    pub fn id(&self) -> B256 {
        keccak256(self.id_preimage())
    }

    /// What [`Envelope::id`] is the hash of; what a contract is shown of an envelope.
    pub fn id_preimage(&self) -> Vec<u8> {
        typed(self.unsigned_fields(keccak256(&self.ciphertext.body).as_slice()))
    }

    /// What the payer signs: keccak256(domain ‖ [`Envelope::id`]).
    pub fn signing_digest(&self) -> B256 {
        signing_digest(self.id())
    }

    /// The address whose key signed the envelope.
    ///
    /// # Errors
    /// If the signature is malleable or recovers to no key.
    pub fn recover_payer(&self) -> Result<Address, SignatureError> {
        self.signature.recover(self.signing_digest())
    }

    /// Length of [`Envelope::encode`], in bytes.
    pub fn size_bytes(&self) -> usize {
        self.encode().len()
    }

    fn unsigned_fields(&self, body: &[u8]) -> ListWriter {
        let mut list = ListWriter::new();
        self.header.write(&mut list);
        let c = &self.ciphertext;
        list.bytes(&c.u)
            .bytes(&c.u_bar)
            .bytes(&c.w)
            .bytes(&c.w_bar)
            .bytes(&c.z)
            .bytes(&c.wrapped_seed)
            .bytes(body);
        list
    }
}

/// Signs an envelope whose ciphertext was sealed under `header.label(key.address())`.
///
/// With any other label the envelope is well signed, but no one accepts it.
pub fn sign_envelope(header: EnvelopeHeader, ciphertext: Ciphertext, key: &SigningKey) -> Envelope {
    let mut envelope = Envelope { header, ciphertext, signature: Signature65::ZERO };
    envelope.signature = key.sign_digest(envelope.signing_digest());
    envelope
}

pub(crate) fn signing_digest(id: B256) -> B256 {
    hash(domain::ENVELOPE_SIGNATURE, &[id.as_slice()])
}

fn typed(list: ListWriter) -> Vec<u8> {
    let rlp = list.finish();
    let mut out = Vec::with_capacity(rlp.len() + 1);
    out.push(ENVELOPE_TYPE);
    out.extend_from_slice(&rlp);
    out
}

impl From<&Envelope> for Bytes {
    fn from(envelope: &Envelope) -> Self {
        envelope.encode().into()
    }
}
