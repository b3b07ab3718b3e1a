//! The genesis document: what is refused, and what its hash covers.

use super::FOUR;
use crate::{testkit::TestCommittee, *};

#[test]
fn committees_of_every_small_size_are_valid() {
    for n in 1..=7 {
        assert_eq!(TestCommittee::new(n, 2).genesis.validate(), Ok(()), "{n} members");
    }
}

#[test]
fn with_settlement_every_height_must_fit_a_batch() {
    let mut genesis = FOUR.genesis.clone();
    genesis.settlement = Address::repeat_byte(1);
    genesis.params = genesis.params.settled();
    assert_eq!(genesis.validate(), Ok(()));
    genesis.params.max_block_bytes += 1;
    assert!(genesis.validate().is_err());
}

#[test]
fn inconsistent_documents_are_refused() {
    type Change = fn(&mut Genesis);
    let cases: &[(&str, Change)] = &[
        ("no member", |g| g.committee.members.clear()),
        ("order", |g| g.committee.members.swap(0, 1)),
        ("duplicate", |g| g.committee.members[1] = g.committee.members[0].clone()),
        ("shared vote key", |g| {
            g.committee.members[1].vote_key = g.committee.members[0].vote_key;
            g.committee.members[1].vote_key_pop = g.committee.members[0].vote_key_pop;
        }),
        ("shared signer", |g| g.committee.members[1].signer = g.committee.members[0].signer),
        ("stake", |g| g.committee.members[2].stake = 0),
        ("possession", |g| {
            g.committee.members[2].vote_key_pop = g.committee.members[1].vote_key_pop
        }),
        ("a block that fits no batch", |g| g.settlement = Address::repeat_byte(1)),
        ("low threshold", |g| g.committee.threshold = 2),
        ("high threshold", |g| g.committee.threshold = 4),
        ("y", |g| g.committee.y = TestCommittee::new(4, 9).genesis.committee.y),
        ("y2", |g| g.committee.y2 = TestCommittee::new(4, 9).genesis.committee.y2),
        ("verification key", |g| {
            g.committee.members[0].verification_key = g.committee.members[1].verification_key;
        }),
        ("alloc order", |g| {
            let account = |byte| GenesisAccount {
                address: Address::repeat_byte(byte),
                balance: U256::ZERO,
                nonce: 0,
                code: Bytes::new(),
                storage: Default::default(),
            };
            g.alloc = vec![account(2), account(1)];
        }),
        ("escrow twice", |g| {
            g.escrow = vec![(Address::ZERO, U256::ONE), (Address::ZERO, U256::ONE)]
        }),
        ("lag", |g| g.params.executed_lag = 0),
        ("block bytes", |g| g.params.max_block_bytes = MAX_BLOCK_BYTES as u64 + 1),
        ("block count", |g| g.params.max_block_count = 0),
        ("block gas", |g| g.params.block_gas_limit = MAX_GAS_CLASS - 1),
        ("gas target", |g| g.params.gas_target = g.params.block_gas_limit + 1),
        ("idle pace", |g| g.params.idle_block_interval_ms = g.params.leader_timeout_ms),
        ("timeouts", |g| g.params.certification_timeout_ms = g.params.leader_timeout_ms - 1),
    ];
    assert_eq!(FOUR.genesis.validate(), Ok(()));
    for (name, change) in cases {
        let mut genesis = FOUR.genesis.clone();
        change(&mut genesis);
        assert!(genesis.validate().is_err(), "{name} was accepted");
        assert_ne!(genesis.hash(), FOUR.genesis.hash(), "{name} is not in the hash");
    }
}

#[test]
fn json_is_readable_and_strict() {
    let json = FOUR.genesis.to_json();
    assert_eq!(Genesis::from_json(&json), Ok(FOUR.genesis.clone()));
    for expected in
        ["\"chainId\": 5318008", "\"initialBaseFee\": \"1000000000\"", "\"voteKeyPop\": \"0x"]
    {
        assert!(json.contains(expected), "{expected}");
    }
    let unknown = json.replacen("\"chainId\"", "\"surprise\": 1, \"chainId\"", 1);
    assert!(matches!(Genesis::from_json(&unknown), Err(GenesisError::Json(_))));
}

#[test]
fn storage_slots_must_ascend() {
    let mut genesis = FOUR.genesis.clone();
    let slots = [(B256::with_last_byte(1), B256::ZERO), (B256::with_last_byte(2), B256::ZERO)];
    genesis.alloc = vec![GenesisAccount {
        address: Address::ZERO,
        balance: U256::MAX,
        nonce: 1,
        code: vec![1].into(),
        storage: slots.into(),
    }];
    let mut bytes = genesis.encode();
    assert_eq!(Genesis::decode(&bytes), Ok(genesis));
    // Swap the two slots in place: every length stays right, the order does not.
    let find = |bytes: &[u8], slot: B256| {
        bytes.windows(32).position(|w| w == slot.as_slice()).expect("present")
    };
    let (a, b) = (find(&bytes, slots[0].0), find(&bytes, slots[1].0));
    bytes[a + 31] = 2;
    bytes[b + 31] = 1;
    assert!(matches!(Genesis::decode(&bytes), Err(DecodeError::Invalid { field: "storage", .. })));
}

#[test]
fn the_genesis_block_is_bound_to_the_document() {
    let block = Block::genesis(&FOUR.genesis);
    assert_eq!(block.height(), 0);
    assert_eq!(block.parent(), FOUR.genesis.hash());
    assert_eq!(block.validate_shape(), Ok(vec![]));
    assert_eq!(Block::decode(&block.encode()), Ok(block.clone()));
    assert!(block.commitment.recover_leader().is_err());
    let mut other = FOUR.genesis.clone();
    other.timestamp_ms += 1;
    assert_ne!(Block::genesis(&other).digest(), block.digest());
    assert_ne!(engine_namespace(other.hash()), engine_namespace(FOUR.genesis.hash()));
}

#[test]
fn key_ids_depend_on_chain_key_and_activation() {
    let y = FOUR.genesis.committee.y;
    let id = key_id(1, &y, 0);
    assert_eq!(id, key_id(1, &y, 0));
    assert_ne!(id, key_id(2, &y, 0));
    assert_ne!(id, key_id(1, &y, 1));
    assert_ne!(id, key_id(1, &[0; 48], 0));
}
