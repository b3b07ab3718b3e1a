//! Integration tests of the node and of the repository it is built from.

mod bad_input;
mod bridge;
mod catchup;
mod challenges;
mod fallback;
mod faults;
mod gateway;
#[allow(dead_code)] // shared; some helpers wait for their tests
mod harness;
mod l1;
mod load;
mod machine;
mod network;
mod replay_blocks;
mod settlement;
mod stateless;
mod tidy;
