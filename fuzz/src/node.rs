//! The codecs of `blindfold-node`, compiled from its own files. They stand on the crates below alone;
//! depending on the whole of `node` would bring RocksDB and QUIC under the fuzzer's instrumentation.

#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../node/src/config/mod.rs"]
pub(crate) mod config;
#[allow(dead_code)]
#[path = "../../node/src/member/messages.rs"]
pub(crate) mod messages;
#[allow(dead_code)]
#[path = "../../node/src/member/rows.rs"]
pub(crate) mod rows;
