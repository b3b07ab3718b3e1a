//! `net_*` and `web3_*`.

use alloy_primitives::{B256, Bytes, U64, keccak256};
use jsonrpsee::{RpcModule, core::RegisterMethodError};

use super::{
    CLIENT_VERSION,
    server::{Context, read},
};

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "net_version", |context, _| Ok(context.api.genesis().chain_id.to_string()))?;
    read(module, "net_listening", |_, _| Ok(true))?;
    read(module, "net_peerCount", |context, _| Ok(U64::from(context.api.peer_count())))?;
    read(module, "web3_clientVersion", |_, _| Ok(CLIENT_VERSION))?;
    read(module, "web3_sha3", |_, params| -> Result<B256, _> {
        Ok(keccak256(params.sequence().next::<Bytes>()?))
    })
}
