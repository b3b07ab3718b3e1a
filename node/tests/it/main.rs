//! Integration tests of the node and of the repository it is built from.

mod network;
mod tidy;
