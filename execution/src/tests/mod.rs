//! Blocks executed end to end, from sealed envelopes to roots and receipts.
//!
//! Every block of every test is checked against the flat tables: the state root is recomputed
//! from scratch, and no wei appears or disappears but what the base fee burns. And every block is
//! executed again from its witness alone, and along its access list: see [`stateless`].

mod charges;
mod contracts;
mod forced;
mod harness;
mod skips;
mod stateless;
