//! `[gateway]` in `node.toml`.

use std::path::PathBuf;

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

/// One ether, in wei.
const ETHER_WEI: u128 = 1_000_000_000_000_000_000;

/// What the gateway holds, pays and whom it hands envelopes to. Where it listens, and for whom, is
/// `[rpc]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// JSON-RPC of members that take the envelopes; tried in turn.
    pub submit: Vec<String>,
    /// File with the key that pays for the envelopes.
    pub payer_key: PathBuf,
    /// Most that the envelopes of one day (UTC) may cost, in wei.
    #[serde(with = "wei")]
    pub max_day_wei: U256,
    /// Most that all envelopes may cost, in wei.
    #[serde(with = "wei")]
    pub max_total_wei: U256,
    /// Alarm when the payer's escrow falls below this, in wei.
    #[serde(with = "wei")]
    pub alarm_below_wei: U256,
    /// Transactions that are held at a time.
    pub max_held: usize,
    /// Transactions of one sender that are held at a time.
    pub max_held_per_sender: usize,
    /// How often a transaction is sealed anew after its envelope was lost or expired.
    pub max_reseals: u32,
    /// How long `eth_sendRawTransactionSync` waits if the wallet does not say.
    pub sync_timeout_ms: u64,
    /// How long a wallet may make it wait.
    pub max_sync_timeout_ms: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            submit: Vec::new(),
            payer_key: "payer.key".into(),
            max_day_wei: U256::from(ETHER_WEI),
            max_total_wei: U256::from(100 * ETHER_WEI),
            alarm_below_wei: U256::from(ETHER_WEI / 10),
            max_held: 1_024,
            max_held_per_sender: 64,
            max_reseals: 1,
            sync_timeout_ms: 2_000,
            max_sync_timeout_ms: 60_000,
        }
    }
}

/// Wei as a decimal string: TOML's integers are too short.
mod wei {
    use alloy_primitives::U256;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(wei: &U256, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&wei.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<U256, D::Error> {
        let text = String::deserialize(from)?;
        U256::from_str_radix(&text, 10)
            .map_err(|_| D::Error::custom(format!("{text:?} is no decimal number of wei")))
    }
}
