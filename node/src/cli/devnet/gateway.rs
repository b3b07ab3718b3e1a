//! The devnet's gateway, and an account for whoever wants to try a wallet of their own.

use super::rng::Choices;
use crate::{config::NodeConfig, gateway::payer};
use blindfold_sdk::{HttpTransport, SigningKey, ask, rpc::HeadDocument};
use eyre::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Secret key that the gateway pays with.
fn payer_secret(seed: u64) -> [u8; 32] {
    Choices::new(seed, "gateway").bytes()
}

/// Secret key of the account that everyone may use.
fn guest_secret(seed: u64) -> [u8; 32] {
    Choices::new(seed, "guest").bytes()
}

/// The key that the gateway pays with.
pub fn payer(seed: u64) -> Result<SigningKey> {
    Ok(SigningKey::from_bytes(&payer_secret(seed))?)
}

/// The key of the account that everyone may use.
pub fn guest(seed: u64) -> Result<SigningKey> {
    Ok(SigningKey::from_bytes(&guest_secret(seed))?)
}

/// Makes a gateway of the follower whose configuration is at `path`; it submits to all members.
pub fn configure(path: &Path, members: &[PathBuf], seed: u64) -> Result<()> {
    let text = std::fs::read_to_string(path)
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let mut config = NodeConfig::parse(&text)?;
    for member in members {
        config.gateway.submit.push(format!("http://{}", NodeConfig::read(member)?.rpc.listen));
    }
    std::fs::write(path, config.to_toml()?)
        .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    payer::write_key(&path.with_file_name(&config.gateway.payer_key), &payer_secret(seed))
}

/// Whether the gateway at `url` has executed what the chain began with.
pub fn follows(url: &str) -> Result<bool> {
    let head = ask::<HeadDocument>(&HttpTransport::new(url)?, "sealed_getHead", [(); 0]);
    Ok(head.is_ok_and(|head| head.executed_height >= 1))
}

/// Says where to point a wallet, and with which key.
pub fn print(url: &str, seed: u64) {
    eprintln!("gateway: {url} for any Ethereum wallet, chain id {}", super::CHAIN_ID);
    eprintln!("  an account with ether in it: 0x{}", hex::encode(guest_secret(seed)));
}
