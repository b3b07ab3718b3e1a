//! Evidence as it is stored and sent: RLP `[form, …]`, forms 0 to 9 in the order of [`Offence`].

use alloy_primitives::B256;
use blindfold_crypto::MAX_MESSAGE_BYTES;
use blindfold_wire::{
    DecodeError, Evidence, FinalizationCertificate, MAX_ENVELOPE_BYTES, MerkleProof,
    OrderCommitment, Signature65,
    certificate::MAX_CERTIFICATE_BYTES,
    codec::{ListReader, ListWriter, bounded},
    decode_opening, encode_opening,
};

use super::{
    BatchLeaf, BrokenCount, BrokenFirst, BrokenLeaf, BrokenLink, DisownedOpening, ExecutedRoot,
    ForgedCommitment, MAX_CHAIN, MAX_OFFENCE_BYTES, Offence, Reordering, WrongOpening,
};
use crate::{
    accumulator::{AccumulatorLeaf, OpeningLeaf},
    batch::Batch,
};

const SIGNED: u8 = 0;
const REORDERING: u8 = 1;
const BROKEN_LEAF: u8 = 2;
const BROKEN_PARENT: u8 = 3;
const BROKEN_OFFSET: u8 = 4;
const BROKEN_FIRST: u8 = 5;
const BROKEN_COUNT: u8 = 6;
const FORGED_COMMITMENT: u8 = 7;
const WRONG_OPENING: u8 = 8;
const DISOWNED_OPENING: u8 = 9;

impl Offence {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = ListWriter::new();
        match self {
            Self::Signed(evidence) => {
                list.int(SIGNED).bytes(&evidence.encode());
            }
            Self::Reordering(e) => {
                list.int(REORDERING).raw(&encode_batch(&e.batch));
                write_leaf(&mut list, &e.at);
                list.raw(&e.commitment.encode())
                    .raw(&encode_opening_leaf(&e.posted))
                    .raw(&e.opening_proof.encode())
                    .bytes(e.ordered_id.as_slice())
                    .raw(&e.order_proof.encode());
            }
            Self::BrokenLeaf(e) => {
                list.int(BROKEN_LEAF).raw(&encode_batch(&e.batch));
                write_leaf(&mut list, &e.at);
                list.raw(&e.commitment.encode());
            }
            Self::BrokenParent(e) => write_link(list.int(BROKEN_PARENT), e),
            Self::BrokenOffset(e) => write_link(list.int(BROKEN_OFFSET), e),
            Self::BrokenFirst(e) => {
                list.int(BROKEN_FIRST).raw(&encode_batch(&e.batch)).raw(&encode_batch(&e.previous));
                write_leaf(&mut list, &e.at);
                list.raw(&e.commitment.encode());
            }
            Self::BrokenCount(e) => {
                list.int(BROKEN_COUNT)
                    .raw(&encode_batch(&e.batch))
                    .int(e.count)
                    .bytes(e.top.as_slice());
            }
            Self::ForgedCommitment(e) => {
                list.int(FORGED_COMMITMENT).raw(&encode_batch(&e.batch));
                write_leaf(&mut list, &e.at);
                list.raw(&e.commitment.encode())
                    .bytes(&e.signature.to_bytes())
                    .bytes(e.leader.as_slice())
                    .raw(&e.schedule_proof.encode());
            }
            Self::WrongOpening(e) => {
                list.int(WRONG_OPENING)
                    .raw(&encode_batch(&e.batch))
                    .int(e.height)
                    .int(e.position)
                    .raw(&e.opening_proof.encode())
                    .bytes(&e.envelope)
                    .bytes(&encode_opening(&e.opening));
            }
            Self::DisownedOpening(e) => {
                list.int(DISOWNED_OPENING)
                    .raw(&encode_batch(&e.batch))
                    .raw(&encode_opening_leaf(&e.posted))
                    .raw(&e.posted_proof.encode())
                    .bytes(e.certified_hash.as_slice())
                    .raw(&e.certified_proof.encode())
                    .raw(&encode_executed(&e.executed));
            }
        }
        list.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// If they are anything else, or over [`MAX_OFFENCE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        bounded(bytes, "offence", MAX_OFFENCE_BYTES)?;
        let mut list = ListReader::exact(bytes, "offence")?;
        let offence = match list.get::<u8>("form")? {
            SIGNED => {
                let evidence = list.bytes("evidence", MAX_OFFENCE_BYTES)?;
                Self::Signed(Box::new(Evidence::decode(evidence)?))
            }
            REORDERING => Self::Reordering(Box::new(Reordering {
                batch: read_batch(&mut list)?,
                at: read_leaf(&mut list)?,
                commitment: OrderCommitment::decode(list.raw("commitment")?)?,
                posted: read_opening_leaf(&mut list)?,
                opening_proof: MerkleProof::decode(list.raw("opening_proof")?)?,
                ordered_id: word(&mut list, "ordered_id")?,
                order_proof: MerkleProof::decode(list.raw("order_proof")?)?,
            })),
            BROKEN_LEAF => Self::BrokenLeaf(Box::new(BrokenLeaf {
                batch: read_batch(&mut list)?,
                at: read_leaf(&mut list)?,
                commitment: OrderCommitment::decode(list.raw("commitment")?)?,
            })),
            BROKEN_PARENT => Self::BrokenParent(Box::new(read_link(&mut list)?)),
            BROKEN_OFFSET => Self::BrokenOffset(Box::new(read_link(&mut list)?)),
            BROKEN_FIRST => Self::BrokenFirst(Box::new(BrokenFirst {
                batch: read_batch(&mut list)?,
                previous: read_batch(&mut list)?,
                at: read_leaf(&mut list)?,
                commitment: OrderCommitment::decode(list.raw("commitment")?)?,
            })),
            BROKEN_COUNT => Self::BrokenCount(Box::new(BrokenCount {
                batch: read_batch(&mut list)?,
                count: list.get("count")?,
                top: word(&mut list, "top")?,
            })),
            FORGED_COMMITMENT => Self::ForgedCommitment(Box::new(ForgedCommitment {
                batch: read_batch(&mut list)?,
                at: read_leaf(&mut list)?,
                commitment: OrderCommitment::decode(list.raw("commitment")?)?,
                signature: Signature65::from_bytes(&list.get("signature")?)?,
                leader: list.get::<[u8; 20]>("leader")?.into(),
                schedule_proof: MerkleProof::decode(list.raw("schedule_proof")?)?,
            })),
            WRONG_OPENING => Self::WrongOpening(Box::new(WrongOpening {
                batch: read_batch(&mut list)?,
                height: list.get("height")?,
                position: list.get("position")?,
                opening_proof: MerkleProof::decode(list.raw("opening_proof")?)?,
                envelope: list.bytes("envelope", MAX_ENVELOPE_BYTES)?.to_vec(),
                opening: decode_opening(list.bytes("opening", MAX_MESSAGE_BYTES + 64)?)?,
            })),
            DISOWNED_OPENING => Self::DisownedOpening(Box::new(DisownedOpening {
                batch: read_batch(&mut list)?,
                posted: read_opening_leaf(&mut list)?,
                posted_proof: MerkleProof::decode(list.raw("posted_proof")?)?,
                certified_hash: word(&mut list, "certified_hash")?,
                certified_proof: MerkleProof::decode(list.raw("certified_proof")?)?,
                executed: read_executed(&mut list)?,
            })),
            form => return Err(DecodeError::UnknownType(form)),
        };
        list.finish()?;
        Ok(offence)
    }
}

fn word(list: &mut ListReader<'_>, field: &'static str) -> Result<B256, DecodeError> {
    list.get::<[u8; 32]>(field).map(B256::from)
}

fn encode_batch(batch: &Batch) -> Vec<u8> {
    ListWriter::new()
        .int(batch.index)
        .bytes(batch.parent.as_slice())
        .int(batch.epoch)
        .int(batch.first_height)
        .int(batch.last_height)
        .bytes(batch.last_commitment.as_slice())
        .bytes(batch.accumulator_root.as_slice())
        .bytes(batch.opening_root.as_slice())
        .int(batch.opening_count)
        .bytes(batch.state_root.as_slice())
        .int(batch.forced_head)
        .bytes(batch.data_hash.as_slice())
        .bytes(batch.poster.as_slice())
        .int(batch.l1_block)
        .int(batch.posted_at)
        .finish()
}

fn read_batch(list: &mut ListReader<'_>) -> Result<Batch, DecodeError> {
    let mut list = list.list("batch")?;
    let batch = Batch {
        index: list.get("index")?,
        parent: word(&mut list, "parent")?,
        epoch: list.get("epoch")?,
        first_height: list.get("first_height")?,
        last_height: list.get("last_height")?,
        last_commitment: word(&mut list, "last_commitment")?,
        accumulator_root: word(&mut list, "accumulator_root")?,
        opening_root: word(&mut list, "opening_root")?,
        opening_count: list.get("opening_count")?,
        state_root: word(&mut list, "state_root")?,
        forced_head: list.get("forced_head")?,
        data_hash: word(&mut list, "data_hash")?,
        poster: list.get::<[u8; 20]>("poster")?.into(),
        l1_block: list.get("l1_block")?,
        posted_at: list.get("posted_at")?,
    };
    list.finish()?;
    Ok(batch)
}

fn write_leaf(list: &mut ListWriter, at: &BatchLeaf) {
    let leaf = ListWriter::new()
        .int(at.leaf.height)
        .bytes(at.leaf.digest.as_slice())
        .bytes(at.leaf.order_root.as_slice())
        .int(at.leaf.offset)
        .bytes(at.leaf.signature_hash.as_slice())
        .finish();
    list.raw(&leaf).raw(&at.proof.encode());
}

fn read_leaf(list: &mut ListReader<'_>) -> Result<BatchLeaf, DecodeError> {
    let mut fields = list.list("leaf")?;
    let leaf = AccumulatorLeaf {
        height: fields.get("height")?,
        digest: word(&mut fields, "digest")?,
        order_root: word(&mut fields, "order_root")?,
        offset: fields.get("offset")?,
        signature_hash: word(&mut fields, "signature_hash")?,
    };
    fields.finish()?;
    Ok(BatchLeaf { leaf, proof: MerkleProof::decode(list.raw("leaf_proof")?)? })
}

fn encode_opening_leaf(leaf: &OpeningLeaf) -> Vec<u8> {
    ListWriter::new()
        .int(leaf.height)
        .int(leaf.position)
        .bytes(leaf.id.as_slice())
        .bytes(leaf.opening_hash.as_slice())
        .finish()
}

fn read_opening_leaf(list: &mut ListReader<'_>) -> Result<OpeningLeaf, DecodeError> {
    let mut fields = list.list("opening_leaf")?;
    let leaf = OpeningLeaf {
        height: fields.get("height")?,
        position: fields.get("position")?,
        id: word(&mut fields, "id")?,
        opening_hash: word(&mut fields, "opening_hash")?,
    };
    fields.finish()?;
    Ok(leaf)
}

/// `[state_root, opening_root, [commitment…], members, certificate]`, the certificate as the engine has it.
fn encode_executed(executed: &ExecutedRoot) -> Vec<u8> {
    let mut chain = ListWriter::new();
    for commitment in &executed.chain {
        chain.raw(&commitment.encode());
    }
    ListWriter::new()
        .bytes(executed.state_root.as_slice())
        .bytes(executed.opening_root.as_slice())
        .raw(&chain.finish())
        .int(executed.certificate.members)
        .bytes(&executed.certificate.encode_engine())
        .finish()
}

fn read_executed(list: &mut ListReader<'_>) -> Result<ExecutedRoot, DecodeError> {
    let mut fields = list.list("executed")?;
    let state_root = word(&mut fields, "state_root")?;
    let opening_root = word(&mut fields, "opening_root")?;
    let chain = fields
        .list("chain")?
        .items("chain", MAX_CHAIN, |items| OrderCommitment::decode(items.raw("commitment")?))?;
    let members: u16 = fields.get("members")?;
    let certificate = fields.bytes("certificate", MAX_CERTIFICATE_BYTES)?;
    let certificate = FinalizationCertificate::decode_engine(certificate, members.into())?;
    fields.finish()?;
    Ok(ExecutedRoot { state_root, opening_root, chain, certificate })
}

fn write_link(list: &mut ListWriter, link: &BrokenLink) {
    list.raw(&encode_batch(&link.batch));
    write_leaf(list, &link.lower);
    write_leaf(list, &link.upper);
    list.raw(&link.commitment.encode());
}

fn read_link(list: &mut ListReader<'_>) -> Result<BrokenLink, DecodeError> {
    Ok(BrokenLink {
        batch: read_batch(list)?,
        lower: read_leaf(list)?,
        upper: read_leaf(list)?,
        commitment: OrderCommitment::decode(list.raw("commitment")?)?,
    })
}
