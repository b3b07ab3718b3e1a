//! Every domain string of the protocol above `crypto`.
//!
//! A hash or signature made for one purpose must never be valid for another. Each purpose has one
//! string here, and no string is a prefix of another, so `keccak256(domain ‖ fixed-width fields)`
//! never collides across purposes. Structures that an L1 contract checks are separated by EIP-712
//! type hashes instead ([`crate::eip712`]), whose `0x19 0x01` prefix no string here shares.

/// Names a committee key: see [`crate::key_id`].
pub const KEY_ID: &[u8] = b"BLINDFOLD-V1/key-id/";
/// The label under which a payload is sealed: see [`crate::EnvelopeHeader::label`].
pub const ENVELOPE_LABEL: &[u8] = b"BLINDFOLD-V1/envelope-label/";
/// What a payer signs: this, followed by the 32-byte envelope id.
pub const ENVELOPE_SIGNATURE: &[u8] = b"BLINDFOLD-V1/envelope-signature/";
/// Leaf of the order tree: position and envelope id.
pub const ORDER_LEAF: &[u8] = b"BLINDFOLD-V1/order-leaf/";
/// Leaf of the opening tree: height, position, envelope id, hash of the opening.
pub const OPENING_LEAF: &[u8] = b"BLINDFOLD-V1/opening-leaf/";
/// Leaf of a bundle's share tree: position and share.
pub const SHARE_LEAF: &[u8] = b"BLINDFOLD-V1/share-leaf/";
/// Inner node of every Merkle tree.
pub const MERKLE_NODE: &[u8] = b"BLINDFOLD-V1/merkle-node/";
/// Root of every Merkle tree: number of leaves and topmost node.
pub const MERKLE_ROOT: &[u8] = b"BLINDFOLD-V1/merkle-root/";
/// State root and opening root of an executed height.
pub const EXECUTED_ROOT: &[u8] = b"BLINDFOLD-V1/executed-root/";
/// The genesis document.
pub const GENESIS: &[u8] = b"BLINDFOLD-V1/genesis/";
/// Proof of possession of a vote key.
pub const VOTE_KEY_POSSESSION: &[u8] = b"BLINDFOLD-V1/vote-key-possession/";
/// Base namespace of the ordering engine; the genesis hash follows it.
pub const ENGINE: &[u8] = b"BLINDFOLD-V1/engine/";
/// Leaf of a batch's accumulator: one height, as posted on L1.
pub const ACCUMULATOR_LEAF: &[u8] = b"BLINDFOLD-V1/accumulator-leaf/";
/// Leaf of a leader schedule: slot and signer.
pub const SCHEDULE_LEAF: &[u8] = b"BLINDFOLD-V1/schedule-leaf/";
/// Expands a 32-byte seed to a signing key ([`crate::SigningKey::random`]).
pub const SIGNING_KEY_SEED: &[u8] = b"BLINDFOLD-V1/signing-key-seed/";

/// An item of the forced queue: index, kind, sender, hash of its data. The contract on L1 computes the same.
pub const FORCED_ITEM: &[u8] = b"BLINDFOLD-V1/forced-item/";
/// Rolling hash of the forced queue: the hash before and the item's. The contract on L1 computes the same.
pub const FORCED_QUEUE: &[u8] = b"BLINDFOLD-V1/forced-queue/";

/// All strings of this module, with their names, for tests and documentation.
pub const ALL: &[(&str, &[u8])] = &[
    ("KEY_ID", KEY_ID),
    ("ENVELOPE_LABEL", ENVELOPE_LABEL),
    ("ENVELOPE_SIGNATURE", ENVELOPE_SIGNATURE),
    ("ORDER_LEAF", ORDER_LEAF),
    ("OPENING_LEAF", OPENING_LEAF),
    ("SHARE_LEAF", SHARE_LEAF),
    ("MERKLE_NODE", MERKLE_NODE),
    ("MERKLE_ROOT", MERKLE_ROOT),
    ("EXECUTED_ROOT", EXECUTED_ROOT),
    ("GENESIS", GENESIS),
    ("VOTE_KEY_POSSESSION", VOTE_KEY_POSSESSION),
    ("ENGINE", ENGINE),
    ("ACCUMULATOR_LEAF", ACCUMULATOR_LEAF),
    ("SCHEDULE_LEAF", SCHEDULE_LEAF),
    ("SIGNING_KEY_SEED", SIGNING_KEY_SEED),
    ("FORCED_ITEM", FORCED_ITEM),
    ("FORCED_QUEUE", FORCED_QUEUE),
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn domains_are_unique_and_prefix_free() {
        for (i, (name, domain)) in ALL.iter().enumerate() {
            assert!(!domain.is_empty(), "{name} is empty");
            assert!(!domain.starts_with(&[0x19, 0x01]), "{name} looks like EIP-712");
            for (j, (other_name, other)) in ALL.iter().enumerate() {
                assert!(i == j || !other.starts_with(domain), "{name} is a prefix of {other_name}");
            }
        }
    }

    #[test]
    fn every_constant_is_listed() {
        let source = include_str!("domain.rs");
        let declared = source
            .lines()
            .filter(|l| l.starts_with("pub const ") && l.contains("&[u8] = b\""))
            .count();
        assert_eq!(declared, ALL.len());
    }
}
