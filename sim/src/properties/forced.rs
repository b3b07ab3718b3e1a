//! P6: what is forced through L1 is executed.

use crate::observation::{MemberView, Observation};
use blindfold_ordering::l1::L1View;
use std::collections::BTreeMap;

/// P6, height by height. Every final height names an L1 block that is not older than its parent's, with that block's
/// base fee; consumes exactly the items that are due there, as many as fit, in the order of the queue; and says where
/// that leaves the queue. What became of each item is what its content calls for.
pub fn p6_due(world: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    let truth: &L1View = &world.l1.truth;
    for (index, member) in world.honest() {
        let (mut cursor, mut l1_block) = (0, 0);
        for (height, view) in &member.heights {
            let mut wrong =
                |what: String| found.push(format!("height {height} at member {index}: {what}"));
            let forced = &view.forced;
            if forced.l1_block < l1_block {
                wrong(format!("L1 block {} follows {l1_block}", forced.l1_block));
            }
            l1_block = forced.l1_block;
            let base_fee = if l1_block == 0 { Some(0) } else { truth.base_fee(l1_block) };
            if base_fee != Some(forced.l1_base_fee) {
                wrong(format!("L1 block {l1_block} has another base fee"));
            }
            let due = world.l1.due(cursor, l1_block);
            if due.iter().copied().ne(&forced.items) {
                let (consumed, due) = (forced.items.len(), due.len());
                wrong(format!(
                    "of {due} items that are due from {cursor} on it consumes {consumed}"
                ));
            }
            cursor += forced.items.len() as u64;
            if forced.cursor != cursor || truth.hash_at(cursor) != Some(forced.hash) {
                wrong("it says another head of the queue".to_owned());
            }
            for (at, verdict) in forced.verdicts.iter().flatten().enumerate() {
                let end = forced.items.get(at).and_then(|it| world.l1.ends.get(it.index as usize));
                if !end.is_some_and(|end| end.is(verdict)) {
                    wrong(format!("a forced item came to {verdict:?} instead of {end:?}"));
                }
            }
        }
    }
    found
}

/// P6, in time. Every item is consumed, at an honest member, by its deadline, if the world lived so long.
pub fn p6_deadline(world: &Observation) -> Vec<String> {
    let mut consumed: BTreeMap<u64, u64> = BTreeMap::new();
    let heights = |member: &MemberView| -> Vec<(u64, u64)> {
        let heights = member.heights.values().map(|view| &view.forced);
        heights.flat_map(|it| it.items.iter().map(|item| (item.index, it.final_ms))).collect()
    };
    for (index, final_ms) in world.honest().flat_map(|(_, member)| heights(member)) {
        let first = consumed.entry(index).or_insert(final_ms);
        *first = final_ms.min(*first);
    }
    let late = |index: u64| {
        let deadline_ms = world.l1.deadline_ms(index)?;
        let consumed_ms = consumed.get(&index).copied();
        (consumed_ms.unwrap_or(world.ended_ms) > deadline_ms).then(|| {
            let when = consumed_ms.map_or("never".to_owned(), |at_ms| format!("at {at_ms} ms"));
            format!("item {index} was due by {deadline_ms} ms and was consumed {when}")
        })
    };
    (0..world.l1.truth.next_index()).filter_map(late).collect()
}
