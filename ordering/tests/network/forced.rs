//! Forced items through the whole engine: members that see L1 at different times, and one that sees no items.

use super::{harness::World, run};
use blindfold_ordering::l1::{L1Block, L1Update, QueuedItem};
use blindfold_wire::{Address, ForcedItem, SigningKey, forced::roll};
use commonware_runtime::{Clock as _, deterministic::Context};
use std::time::Duration;

const DELAY: u64 = 2;

async fn world(context: &Context) -> World {
    World::with(context, 4, 20, |genesis| {
        genesis.settlement = Address::repeat_byte(0x5e);
        genesis.params = genesis.params.clone().settled();
        genesis.params.forced_delay_blocks = DELAY;
        genesis.params.max_l1_lag_blocks = 16;
    })
    .await
}

fn block(number: u64, items: Vec<ForcedItem>) -> L1Update {
    let items = items.into_iter().map(|item| QueuedItem { item, block: number }).collect();
    L1Update { blocks: vec![L1Block { number, base_fee: 1_000 + number }], items }
}

fn item(index: u64, kind: u8, data: Vec<u8>) -> ForcedItem {
    ForcedItem { index, kind, sender: Address::repeat_byte(9), data: data.into() }
}

/// An L1 block every 500 ms, known to each member at another time; a queue with a sealed envelope that no mempool
/// has, a transaction, a deposit, and rubbish. `blind` members hear of no items.
fn forced(seed: u64, blind: &'static [usize]) {
    run(seed, |context| async move {
        let mut world = world(&context).await;
        let envelopes = world.envelopes(2);
        let payer = SigningKey::random([9; 32]);
        let sealed = world.committee.envelope(&payer, world.committee.header(0), b"forced");
        let queue = [
            item(0, 0, vec![0x5e, 1, 2]),
            item(1, 0, sealed.bytes().to_vec()),
            item(2, 1, vec![2, 3]),
            item(3, 2, vec![0; 52]),
            item(4, 9, vec![]),
        ];
        let mut handles = Vec::new();
        for member in 0..4 {
            world.stubs[member].offer(&envelopes);
            handles.push(world.start(&context, member).await);
        }
        for number in 1..=20u64 {
            let items = match number {
                4 => queue[..2].to_vec(),
                6 => queue[2..].to_vec(),
                _ => Vec::new(),
            };
            for (member, stub) in world.stubs.iter().enumerate() {
                let seen = if blind.contains(&member) { Vec::new() } else { items.clone() };
                let now_ms = context.current().duration_since(std::time::UNIX_EPOCH).unwrap();
                stub.follow_l1(&block(number, seen), now_ms.as_millis() as u64);
                context.sleep(Duration::from_millis(125)).await;
            }
        }
        context.sleep(Duration::from_secs(4)).await;
        let chain = world.agreed(&[0, 1, 2, 3]);
        let last = &chain.values().next_back().unwrap().commitment;
        assert!(last.l1_block >= 19, "L1 is followed: {}", last.l1_block);

        let (mut hash, mut consumed) = (Default::default(), Vec::new());
        for seen in chain.values() {
            let commitment = &seen.commitment;
            for item in &seen.forced {
                hash = roll(hash, item.hash());
                let due = if item.index < 2 { 4 } else { 6 } + DELAY;
                assert!(commitment.l1_block >= due, "none comes before it is due");
                consumed.push(item.clone());
            }
            assert_eq!(commitment.forced_cursor, consumed.len() as u64);
            assert_eq!(commitment.forced_hash, hash);
            assert!(
                commitment.l1_block == 0 || commitment.l1_base_fee == 1_000 + commitment.l1_block
            );
            let due = [(4, 2), (6, 5)]
                .iter()
                .rev()
                .find(|(block, _)| block + DELAY <= commitment.l1_block);
            assert_eq!(consumed.len(), due.map_or(0, |(_, count)| *count), "none is skipped");
            if seen.forced.iter().any(|item| item.index == 1) {
                assert_eq!(
                    seen.envelopes[0],
                    (sealed.id(), payer.address()),
                    "the forced one comes first"
                );
            }
        }
        assert_eq!(consumed, queue);
        let ordered: usize = chain.values().map(|seen| seen.envelopes.len()).sum();
        assert_eq!(ordered, envelopes.len() + 1);
    });
}

#[test]
fn forced_items_are_ordered_when_they_are_due() {
    forced(21, &[]);
}

/// The one that is blind proposes blocks that leave items out. Nobody votes for them.
#[test]
fn a_member_that_leaves_items_out_loses_its_views() {
    forced(22, &[3]);
}
