//! What `node.toml` says of the gateway, where `node`'s configuration looks for it; see [`crate::node`].

#[allow(dead_code, missing_docs)]
#[path = "../../node/src/gateway/config.rs"]
pub(crate) mod config;
