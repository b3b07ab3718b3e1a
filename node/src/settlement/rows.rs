//! Rows of the settlement's families.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Decodable as _, Encodable as _, RlpDecodable, RlpEncodable};
use blindfold_settlement::{
    batch::Batch,
    poster::{Bid, Purpose, Sent},
};

/// A batch and the L1 transaction that posted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedRow {
    /// The batch, as its event says it.
    pub batch: Batch,
    /// Hash of the transaction.
    pub transaction: B256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredBatch {
    index: u64,
    parent: B256,
    epoch: u64,
    first_height: u64,
    last_height: u64,
    last_commitment: B256,
    accumulator_root: B256,
    opening_root: B256,
    opening_count: u32,
    state_root: B256,
    forced_head: u64,
    data_hash: B256,
    poster: Address,
    l1_block: u64,
    posted_at: u64,
    transaction: B256,
}

impl PostedRow {
    /// The stored form: RLP of the batch's fields and the transaction's hash.
    pub fn encode(&self) -> Vec<u8> {
        let batch = &self.batch;
        let mut out = Vec::new();
        StoredBatch {
            index: batch.index,
            parent: batch.parent,
            epoch: batch.epoch,
            first_height: batch.first_height,
            last_height: batch.last_height,
            last_commitment: batch.last_commitment,
            accumulator_root: batch.accumulator_root,
            opening_root: batch.opening_root,
            opening_count: batch.opening_count,
            state_root: batch.state_root,
            forced_head: batch.forced_head,
            data_hash: batch.data_hash,
            poster: batch.poster,
            l1_block: batch.l1_block,
            posted_at: batch.posted_at,
            transaction: self.transaction,
        }
        .encode(&mut out);
        out
    }

    /// Reads the stored form; nothing if it is damaged.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let row = StoredBatch::decode(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        Some(Self {
            batch: Batch {
                index: row.index,
                parent: row.parent,
                epoch: row.epoch,
                first_height: row.first_height,
                last_height: row.last_height,
                last_commitment: row.last_commitment,
                accumulator_root: row.accumulator_root,
                opening_root: row.opening_root,
                opening_count: row.opening_count,
                state_root: row.state_root,
                forced_head: row.forced_head,
                data_hash: row.data_hash,
                poster: row.poster,
                l1_block: row.l1_block,
                posted_at: row.posted_at,
            },
            transaction: row.transaction,
        })
    }
}

/// A transaction of the poster that was sent, or is about to be: stored before it is sent, so that a restart finds
/// it and never sends another beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// What decisions need of it.
    pub sent: Sent,
    /// Contract it calls.
    pub to: Address,
    /// Wei that go along.
    pub value: U256,
    /// What it calls it with.
    pub call: Bytes,
    /// Data that goes into blobs; empty if there are none.
    pub blob_data: Bytes,
    /// Most gas it may use.
    pub gas_limit: u64,
    /// Hashes of all forms it was sent in, oldest first.
    pub hashes: Vec<B256>,
}

/// Numbers of what a transaction is for.
const BATCH: u8 = 0;
const STANDING: u8 = 1;
const ANSWER: u8 = 2;

#[derive(RlpEncodable, RlpDecodable)]
struct StoredPending {
    nonce: u64,
    /// Hash of the parent of a batch, or id of an answered challenge.
    about: B256,
    max_fee: u128,
    max_priority_fee: u128,
    max_blob_fee: u128,
    purpose: u8,
    sent_s: u64,
    to: Address,
    value: U256,
    call: Bytes,
    blob_data: Bytes,
    gas_limit: u64,
    hashes: Vec<B256>,
}

impl PendingRow {
    /// The stored form: RLP.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (purpose, about) = match self.sent.purpose {
            Purpose::Batch { parent } => (BATCH, parent),
            Purpose::Standing => (STANDING, B256::ZERO),
            Purpose::Answer { challenge } => (ANSWER, challenge),
        };
        StoredPending {
            nonce: self.sent.nonce,
            about,
            max_fee: self.sent.bid.max_fee,
            max_priority_fee: self.sent.bid.max_priority_fee,
            max_blob_fee: self.sent.bid.max_blob_fee,
            purpose,
            sent_s: self.sent.sent_s,
            to: self.to,
            value: self.value,
            call: self.call.clone(),
            blob_data: self.blob_data.clone(),
            gas_limit: self.gas_limit,
            hashes: self.hashes.clone(),
        }
        .encode(&mut out);
        out
    }

    /// Reads the stored form; nothing if it is damaged.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let row = StoredPending::decode(&mut bytes).ok().filter(|_| bytes.is_empty())?;
        let purpose = match row.purpose {
            BATCH => Purpose::Batch { parent: row.about },
            STANDING => Purpose::Standing,
            ANSWER => Purpose::Answer { challenge: row.about },
            _ => return None,
        };
        Some(Self {
            sent: Sent {
                nonce: row.nonce,
                purpose,
                bid: Bid {
                    max_fee: row.max_fee,
                    max_priority_fee: row.max_priority_fee,
                    max_blob_fee: row.max_blob_fee,
                },
                blobs: !row.blob_data.is_empty(),
                sent_s: row.sent_s,
            },
            to: row.to,
            value: row.value,
            call: row.call,
            blob_data: row.blob_data,
            gas_limit: row.gas_limit,
            hashes: row.hashes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written_and_damage_is_noticed() {
        let batch = Batch {
            index: 3,
            first_height: 7,
            last_height: 9,
            opening_count: 5,
            ..Batch::default()
        };
        let row = PostedRow { batch, transaction: B256::repeat_byte(4) };
        let bytes = row.encode();
        assert_eq!(PostedRow::decode(&bytes), Some(row));
        assert_eq!(PostedRow::decode(&bytes[..bytes.len() - 1]), None);

        let about = B256::repeat_byte(1);
        let mut pending = PendingRow {
            sent: Sent {
                nonce: 5,
                purpose: Purpose::Standing,
                bid: Bid { max_fee: 1 << 70, max_priority_fee: 2, max_blob_fee: 3 },
                blobs: true,
                sent_s: 9,
            },
            to: Address::repeat_byte(2),
            value: U256::from(6),
            call: vec![1, 2].into(),
            blob_data: vec![0].into(),
            gas_limit: 7,
            hashes: vec![B256::ZERO, B256::repeat_byte(8)],
        };
        for purpose in [
            Purpose::Standing,
            Purpose::Batch { parent: about },
            Purpose::Answer { challenge: about },
        ] {
            pending.sent.purpose = purpose;
            let bytes = pending.encode();
            assert_eq!(PendingRow::decode(&bytes), Some(pending.clone()));
            assert_eq!(PendingRow::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
