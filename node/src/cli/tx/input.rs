//! Reading what the user gives: amounts, keys, transactions signed elsewhere.

use std::{io::Read as _, path::Path};

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::U256;
use blindfold_sdk::SigningKey;
use eyre::{Context as _, ensure};
use zeroize::Zeroizing;

/// Environment variable with the sender's secret key, if no key file is named.
const KEY_VARIABLE: &str = "BLINDFOLD_KEY";
/// Longest key file that is read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1024;
/// Longest transaction that is read from stdin, in hex digits.
const MAX_RAW_CHARS: u64 = 2 * blindfold_wire::MAX_ENVELOPE_BYTES as u64;

/// A signed Ethereum transaction as hex, or from stdin for `-`.
pub(super) fn read_raw(raw: &str) -> eyre::Result<TxEnvelope> {
    let mut text = Zeroizing::new(raw.to_owned());
    if raw == "-" {
        text.clear();
        std::io::stdin()
            .take(MAX_RAW_CHARS)
            .read_to_string(&mut text)
            .wrap_err("cannot read the transaction from stdin")?;
    }
    let digits = text.trim().trim_start_matches("0x");
    let bytes = Zeroizing::new(hex::decode(digits).wrap_err("--raw is not hex")?);
    TxEnvelope::decode_2718_exact(&bytes).wrap_err("--raw is not a signed Ethereum transaction")
}

/// A secret key as 64 hex digits, from a file or else from the environment.
pub(crate) fn read_key(file: Option<&Path>) -> eyre::Result<SigningKey> {
    let text = Zeroizing::new(match file {
        Some(path) => {
            let named = || format!("cannot read the key file {}", path.display());
            let length = std::fs::metadata(path).wrap_err_with(named)?.len();
            ensure!(length <= MAX_KEY_FILE_BYTES, "{} is no key file", path.display());
            std::fs::read_to_string(path).wrap_err_with(named)?
        }
        None => std::env::var(KEY_VARIABLE)
            .map_err(|_| eyre::eyre!("no key: give --key-file, or set {KEY_VARIABLE}"))?,
    });
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), bytes.as_mut_slice())
        .map_err(|_| eyre::eyre!("the key is not 64 hex digits"))?;
    Ok(SigningKey::from_bytes(&bytes)?)
}

/// An amount in wei, or with a unit right after the number, like `0.1ether` or `2gwei`. Never
/// rounds: a fraction of a wei is an error.
pub(crate) fn parse_amount(text: &str) -> Result<U256, String> {
    let wrong = || format!("{text} is not an amount, like 1000, 2gwei or 0.1ether");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let decimals: usize = match unit {
        "" | "wei" => 0,
        "gwei" => 9,
        "ether" | "eth" => 18,
        _ => return Err(format!("unknown unit {unit}: use wei, gwei or ether")),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(wrong()),
        None => (number, ""),
    };
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let Some(zeros) = decimals.checked_sub(fraction.len()) else {
        return Err(format!("{text} has a fraction of a wei"));
    };
    U256::from_str_radix(&format!("{digits}{}", "0".repeat(zeros)), 10).map_err(|_| wrong())
}

/// A fee: an amount that fits 128 bits.
pub(crate) fn parse_fee(text: &str) -> Result<u128, String> {
    parse_amount(text)?.try_into().map_err(|_| "a fee that large does not exist".to_owned())
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{TxEip1559, transaction::SignerRecoverable as _};
    use alloy_eips::eip2718::Encodable2718 as _;

    use super::{super::sign, *};

    #[test]
    fn amounts_have_units() {
        assert_eq!(parse_amount("21").unwrap(), U256::from(21));
        assert_eq!(parse_amount("1.5gwei").unwrap(), U256::from(1_500_000_000u64));
        assert_eq!(parse_amount("0.1ether").unwrap(), U256::from(10u64.pow(17)));
        for wrong in [
            "",
            "-1",
            "1.5",
            "1.",
            ".5gwei",
            "1.0000000001gwei",
            "1lira",
            "gwei",
            "1e3",
            "0x1",
            "1_0",
        ] {
            assert!(parse_amount(wrong).is_err(), "accepted: {wrong}");
        }
        assert!(parse_fee(&U256::MAX.to_string()).is_err());
    }

    #[test]
    fn signed_transactions_recover_to_their_key() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let signed = sign(TxEip1559 { chain_id: 9, nonce: 3, ..Default::default() }, &key);
        assert_eq!(signed.recover_signer().unwrap(), key.address());
        let hex = hex::encode(signed.encoded_2718());
        assert_eq!(read_raw(&hex).unwrap(), signed);
        assert_eq!(read_raw(&format!("0x{hex}\n")).unwrap(), signed);
        assert!(read_raw(&hex[2..]).is_err());
        assert!(read_raw(&format!("{hex}00")).is_err(), "trailing bytes");
    }

    #[test]
    fn keys_come_from_files_with_or_without_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let expected = SigningKey::from_bytes(&[7; 32]).unwrap().address();
        for text in ["07".repeat(32), format!("0x{}\n", "07".repeat(32))] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_key(Some(&path)).unwrap().address(), expected);
        }
        for text in ["07".repeat(31), "00".repeat(32), "x".repeat(64), "0".repeat(4096)] {
            std::fs::write(&path, text).unwrap();
            assert!(read_key(Some(&path)).is_err());
        }
    }
}
