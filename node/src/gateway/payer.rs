//! The key that pays for envelopes, and what it may spend.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use alloy_primitives::{Address, U256};
use blindfold_sdk::SigningKey;
use eyre::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest key file that is read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1_024;
/// Length of a day in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Makes a key, writes it to a new file that only this user may read, and returns its address.
///
/// # Errors
/// If the file exists, or cannot be written.
pub fn create_key(path: &Path) -> Result<Address> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::Rng::fill_bytes(&mut rand::rng(), seed.as_mut_slice());
    let key = SigningKey::from_bytes(&seed)?;
    write_key(path, &seed)?;
    Ok(key.address())
}

/// Writes a key to a new file that only this user may read.
///
/// # Errors
/// If the file exists, or cannot be written.
pub fn write_key(path: &Path, secret: &[u8; 32]) -> Result<()> {
    let context = || format!("cannot write {}: keys are never overwritten", path.display());
    let text = Zeroizing::new(hex::encode(secret));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .wrap_err_with(context)?;
    file.write_all(text.as_bytes()).wrap_err_with(context)?;
    file.sync_all().wrap_err_with(context)
}

/// Reads the payer's key.
///
/// # Errors
/// If there is none, others may read it, or it is no key.
pub fn read_key(path: &Path) -> Result<SigningKey> {
    let context = || {
        format!(
            "cannot read the payer's key {}; `blindfold gateway init` makes one",
            path.display()
        )
    };
    let file = fs::File::open(path).wrap_err_with(context)?;
    let mode = file.metadata().wrap_err_with(context)?.permissions().mode();
    ensure!(mode & 0o077 == 0, "others may read the payer's key: chmod 600 {}", path.display());
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).wrap_err_with(context)?;
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), bytes.as_mut_slice())
        .map_err(|_| eyre::eyre!("{} does not hold 64 hex digits", path.display()))?;
    Ok(SigningKey::from_bytes(&bytes)?)
}

/// What was charged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// By all envelopes, in wei.
    pub total_wei: U256,
    /// Days since the Unix epoch of the figure below.
    pub day: u64,
    /// By the envelopes that were settled on that day, in wei.
    pub day_wei: U256,
}

impl Ledger {
    /// Books a charge.
    pub fn charge(&mut self, wei: U256, now_ms: u64) {
        let day = now_ms / DAY_MS;
        if day > self.day {
            (self.day, self.day_wei) = (day, U256::ZERO);
        }
        self.day_wei = self.day_wei.saturating_add(wei);
        self.total_wei = self.total_wei.saturating_add(wei);
    }

    /// What the day at `now_ms` has been charged, in wei.
    pub fn today_wei(&self, now_ms: u64) -> U256 {
        if now_ms / DAY_MS > self.day { U256::ZERO } else { self.day_wei }
    }
}

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In one day, in wei.
    pub day_wei: U256,
    /// In all, in wei.
    pub total_wei: U256,
}

/// Which limit is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// The day's.
    #[error(
        "the gateway's spending limit of {limit_wei} wei a day is reached; see max_day_wei in [gateway]"
    )]
    Day {
        /// The limit.
        limit_wei: U256,
    },
    /// The one for all time.
    #[error(
        "the gateway's spending limit of {limit_wei} wei in total is reached; see max_total_wei in [gateway]"
    )]
    Total {
        /// The limit.
        limit_wei: U256,
    },
}

impl Limits {
    /// Whether `more_wei` may be risked on top of what was charged.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub fn allow(&self, ledger: &Ledger, more_wei: U256, now_ms: u64) -> Result<(), Beyond> {
        if ledger.total_wei.saturating_add(more_wei) > self.total_wei {
            return Err(Beyond::Total { limit_wei: self.total_wei });
        }
        if ledger.today_wei(now_ms).saturating_add(more_wei) > self.day_wei {
            return Err(Beyond::Day { limit_wei: self.day_wei });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_this_user_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payer.key");
        let address = create_key(&path).unwrap();
        assert_eq!(read_key(&path).unwrap().address(), address);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create_key(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_new_day_starts_at_nothing_and_the_total_goes_on() {
        let limits = Limits { day_wei: U256::from(10), total_wei: U256::from(15) };
        let mut ledger = Ledger::default();
        ledger.charge(U256::from(9), 5 * DAY_MS);
        let one = U256::ONE;
        assert_eq!(limits.allow(&ledger, one, 5 * DAY_MS), Ok(()));
        assert!(matches!(
            limits.allow(&ledger, U256::from(2), 6 * DAY_MS - 1),
            Err(Beyond::Day { .. })
        ));
        assert_eq!(limits.allow(&ledger, U256::from(2), 6 * DAY_MS), Ok(()));
        assert!(matches!(
            limits.allow(&ledger, U256::from(7), 6 * DAY_MS),
            Err(Beyond::Total { .. })
        ));
        ledger.charge(one, 6 * DAY_MS);
        assert_eq!((ledger.today_wei(6 * DAY_MS), ledger.total_wei), (one, U256::from(10)));
    }
}
