//! Block access lists (EIP-7928): what every position of a block accessed, and what it left behind.
//!
//! A list has the types, the encoding and the JSON of EIP-7928. One thing differs. There, indices count
//! transactions; here they count **positions** of the order, because envelopes whose content was skipped or
//! does not open are charged too, and so change the state without being transactions:
//!
//! | index | is |
//! |---|---|
//! | 0 | before everything; nothing happens there |
//! | i + 1 | the i-th forced item of the height, counted from 0 |
//! | f + p + 1 | position p: charge, transaction if it ran, settlement, seen together; f is the number of forced items |
//!
//! Nothing comes after the last position, so the largest index is the number of forced items and positions.
//!
//! The list of a block is not part of its header, so a list that somebody serves is a hint and no more.
//! [`BalExecutor`] uses it as one: every forced item and position runs against the parent state and the values
//! that the list gives for those before it, on any number of threads, without speculation. If the accesses of
//! that run make up the very list that was given, the values were those of an execution in order, by induction
//! over the indices; if not, the list is wrong, and the block is executed in the ordinary way.

mod build;
mod index;
mod list;
mod replay;

pub use list::{AccessListError, BlockAccessList, MAX_ACCESS_LIST_BYTES};
pub use replay::{BalExecutor, HintFault, HintUse};
