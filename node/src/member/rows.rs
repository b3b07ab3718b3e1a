//! The rows of a node's own families and their encodings.
//!
//! Nothing here knows the database or anything else of `node`: the fuzzer compiles this file by itself.

use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};
use blindfold_ordering::events;
use blindfold_wire::{
    CertificateError, Certified, FinalizationCertificate, OrderCommitment, SignedBundleHeader,
    VoteCommittee,
};

/// Why a height is final, in a form that anybody can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalProof {
    /// Certificate of the height itself, or of the last of `descendants`.
    pub certificate: FinalizationCertificate,
    /// Commitments from the next height up to the certified one.
    pub descendants: Vec<OrderCommitment>,
}

/// What a node keeps of a final height beside its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeightRecord {
    /// Digest of the commitment.
    pub digest: B256,
    /// What this node held when it released its shares.
    pub proof: FinalProof,
    /// What this member signed for the height; `None` for a follower and for an empty height.
    pub released: Option<SignedBundleHeader>,
    /// When the height became final here, in milliseconds since the Unix epoch.
    pub ordered_ms: u64,
    /// When its openings were stored here; zero before.
    pub opened_ms: u64,
    /// When it was executed here; zero before.
    pub executed_ms: u64,
}

#[derive(RlpEncodable, RlpDecodable)]
struct HeightRow {
    digest: B256,
    certificate: Bytes,
    descendants: Vec<Bytes>,
    released: Bytes,
    ordered_ms: u64,
    opened_ms: u64,
    executed_ms: u64,
}

impl HeightRecord {
    /// The stored form: RLP of the fields, what is encoded elsewhere as strings.
    pub fn encode(&self) -> Vec<u8> {
        let row = HeightRow {
            digest: self.digest,
            certificate: self.proof.certificate.encode_engine().into(),
            descendants: self.proof.descendants.iter().map(|link| link.encode().into()).collect(),
            released: self
                .released
                .as_ref()
                .map(|header| header.encode().into())
                .unwrap_or_default(),
            ordered_ms: self.ordered_ms,
            opened_ms: self.opened_ms,
            executed_ms: self.executed_ms,
        };
        let mut out = Vec::new();
        row.encode(&mut out);
        out
    }

    /// Reads the stored form, for a committee of `members`; nothing if it is damaged.
    pub fn decode(mut bytes: &[u8], members: usize) -> Option<Self> {
        let row = HeightRow::decode(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        if row.descendants.len() > events::MAX_DESCENDANTS {
            return None;
        }
        let descendants: Option<Vec<_>> =
            row.descendants.iter().map(|link| OrderCommitment::decode(link).ok()).collect();
        let released = match row.released.is_empty() {
            true => None,
            false => Some(SignedBundleHeader::decode(&row.released).ok()?),
        };
        Some(Self {
            digest: row.digest,
            proof: FinalProof {
                certificate: FinalizationCertificate::decode_engine(&row.certificate, members)
                    .ok()?,
                descendants: descendants?,
            },
            released,
            ordered_ms: row.ordered_ms,
            opened_ms: row.opened_ms,
            executed_ms: row.executed_ms,
        })
    }

    /// Makes the certified commitment from the stored proof, verifying it again.
    ///
    /// # Errors
    /// If the proof does not hold.
    pub fn certify(
        &self,
        commitment: OrderCommitment,
        votes: &VoteCommittee,
    ) -> Result<Certified<OrderCommitment>, CertificateError> {
        events::certify(commitment, &self.proof.descendants, &self.proof.certificate, votes)
    }
}

/// Place of something in the chain: a height, and a position or index within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Height.
    pub height: u64,
    /// Position or index, from 0.
    pub at: u32,
}

impl Place {
    /// The stored form: height, 8 bytes, and position, 4 bytes, big-endian.
    pub fn encode(self) -> Vec<u8> {
        [&self.height.to_be_bytes()[..], &self.at.to_be_bytes()].concat()
    }

    /// Reads the stored form; nothing if it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (height, at) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            height: u64::from_be_bytes(*height),
            at: u32::from_be_bytes(at.try_into().ok()?),
        })
    }
}

/// Reads a height as indexes keep it: eight bytes, big-endian.
pub fn decode_height(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
