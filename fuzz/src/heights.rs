//! A whole height at once: the verdicts of the positions alone.

use crate::{
    input::Input,
    opened,
    world::{ENVELOPES, PUBLIC, sealed},
};
use blindfold_crypto::{
    Column, Opening, Share, Verdict, decide, decide_all, testkit::add_small_order,
};
use std::sync::LazyLock;

/// Positions of a height, at most.
const POSITIONS: usize = 4;
/// Columns shown, at most: one more than there are members.
const COLUMNS: usize = 5;
/// Changes to shares, at most.
const CHANGES: usize = 4;

/// The right opening and shares of each of [`ENVELOPES`].
static RIGHT: LazyLock<Vec<(&Opening, &[Share])>> = LazyLock::new(|| opened::right().collect());

/// Columns of members in any order, some doubled, foreign or cut short, with some shares changed: what is
/// decided together is what is decided position by position, blame included.
pub(crate) fn height(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let positions: Vec<usize> =
        (0..1 + input.below(POSITIONS)).map(|_| input.below(ENVELOPES.len())).collect();
    let members = PUBLIC.members();
    let mut columns: Vec<(usize, Vec<Share>)> = (0..input.below(COLUMNS + 1))
        .map(|_| {
            // One more than there are: a member that does not exist.
            let member = input.below(members + 1);
            let own = positions.iter().map(|at| RIGHT[*at].1[member % members]);
            (member, own.collect())
        })
        .collect();
    for _ in 0..input.below(CHANGES + 1) {
        if columns.is_empty() {
            break;
        }
        let column = input.below(columns.len());
        change(&mut input, &positions, &mut columns[column].1);
    }

    let items: Vec<_> = positions.iter().map(|at| sealed(&ENVELOPES[*at])).collect();
    let items: Vec<_> = items.iter().map(|(label, sealed)| (label, *sealed)).collect();
    let shown: Vec<Column<'_>> =
        columns.iter().map(|(member, shares)| Column { member: *member, shares }).collect();
    let together = decide_all(&PUBLIC, &items, &shown);

    columns.retain(|(_, shares)| shares.len() == positions.len());
    let alone: Vec<Verdict> = items
        .iter()
        .enumerate()
        .map(|(at, (label, sealed))| {
            let shares: Vec<_> =
                columns.iter().map(|(member, shares)| (*member, shares[at])).collect();
            decide(&PUBLIC, label, sealed, &shares)
        })
        .collect();
    assert_eq!(together, alone);
    for (verdict, at) in together.iter().zip(&positions) {
        let (truth, _) = RIGHT[*at];
        assert!(verdict.opening.as_ref().is_none_or(|opening| opening == truth), "not the truth");
    }
    together.iter().all(|verdict| verdict.opening.is_some())
}

/// One share of a column, or its length.
fn change(input: &mut Input<'_>, positions: &[usize], shares: &mut Vec<Share>) {
    let kind = input.below(8);
    let Some(last) = shares.len().checked_sub(1) else { return };
    let at = input.below(last + 1);
    let share = &mut shares[at];
    match kind {
        0 => *share = Share(input.array()),
        1 => share.0[input.below(96)] ^= input.u8().max(1),
        // Of another member, or of another envelope.
        2 => *share = RIGHT[positions[at]].1[input.below(PUBLIC.members())],
        3 => *share = RIGHT[input.below(RIGHT.len())].1[input.below(PUBLIC.members())],
        4 => *share = add_small_order(share, [3, 11, 33, 0][input.below(4)]),
        5 => {
            let other = input.below(last + 1);
            shares.swap(at, other);
        }
        6 => drop(shares.pop()),
        _ => shares.push(Share(input.array())),
    }
}
