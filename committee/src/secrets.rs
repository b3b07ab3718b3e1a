//! The secrets of one member, and the text they are kept in.
//!
//! # Format
//!
//! One `name = hex` line each, 32 bytes, lower case, in this order, after a version line:
//!
//! ```text
//! blindfold-member-secrets = 1
//! member = 0
//! identity = …64 hex digits…
//! vote = …
//! signer = …
//! decryption = …
//! ```
//!
//! # Security
//!
//! The text is not encrypted. Keep the file readable by its owner only. Encrypted keystores come with the
//! distributed key ceremony.

use std::fmt;

use blindfold_crypto::DecryptionKey;
use blindfold_wire::signature::SigningKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const VERSION_NAME: &str = "blindfold-member-secrets";
const VERSION: &str = "1";
const NAMES: [&str; 4] = ["identity", "vote", "signer", "decryption"];

/// Everything a member must keep secret. Zeroized when dropped; `Debug` shows the index only.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MemberSecrets {
    #[zeroize(skip)]
    member: u32,
    identity: [u8; 32],
    vote: [u8; 32],
    signer: [u8; 32],
    decryption: [u8; 32],
}

impl fmt::Debug for MemberSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberSecrets").field("member", &self.member).finish_non_exhaustive()
    }
}

/// Why a text is not a member's secrets. Never says what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Another format, or a later version.
    #[error(
        "not a member's secrets of version {VERSION}; was the file written by another version?"
    )]
    Version,
    /// A line is missing, out of order, or malformed.
    #[error("the line of `{name}` is missing or malformed")]
    Line {
        /// The line's name.
        name: &'static str,
    },
    /// There is more text than there should be.
    #[error("unexpected text after the last line")]
    Trailing,
    /// A secret is out of its group's range.
    #[error("the {name} secret is out of range")]
    Range {
        /// Which.
        name: &'static str,
    },
}

impl MemberSecrets {
    /// Joins a member's secrets: an ed25519 seed, a BLS12-381 scalar (big-endian), a secp256k1 scalar
    /// (big-endian) and a share of the decryption key (BLS12-381 scalar, big-endian).
    ///
    /// # Errors
    ///
    /// When the signer or the decryption share is out of range. The vote scalar is checked by whoever builds
    /// a key from it; every ed25519 seed is valid.
    pub fn new(
        member: u32,
        identity: [u8; 32],
        vote: [u8; 32],
        signer: [u8; 32],
        decryption: [u8; 32],
    ) -> Result<Self, SecretsError> {
        let secrets = Self { member, identity, vote, signer, decryption };
        secrets.signing_key()?;
        secrets.decryption_key()?;
        Ok(secrets)
    }

    /// The member's index in the committee.
    pub fn member(&self) -> u32 {
        self.member
    }

    /// Lends the ed25519 seed of the identity key, 32 bytes.
    pub fn expose_identity<R>(&self, f: impl FnOnce(&[u8; 32]) -> R) -> R {
        f(&self.identity)
    }

    /// Lends the BLS12-381 scalar of the vote key, 32 bytes, big-endian.
    pub fn expose_vote<R>(&self, f: impl FnOnce(&[u8; 32]) -> R) -> R {
        f(&self.vote)
    }

    /// The secp256k1 key that signs commitments, bundles and receipts.
    ///
    /// # Errors
    ///
    /// When the scalar is out of range, which the constructors rule out.
    pub fn signing_key(&self) -> Result<SigningKey, SecretsError> {
        SigningKey::from_bytes(&self.signer).map_err(|_| SecretsError::Range { name: "signer" })
    }

    /// The share of the decryption key. Hand it to a [`Releaser`](crate::release::Releaser) and nothing else.
    ///
    /// # Errors
    ///
    /// When the scalar is out of range, which the constructors rule out.
    pub fn decryption_key(&self) -> Result<DecryptionKey, SecretsError> {
        DecryptionKey::from_bytes(&self.decryption)
            .map_err(|_| SecretsError::Range { name: "decryption" })
    }

    /// The text of a secrets file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let secrets = [&self.identity, &self.vote, &self.signer, &self.decryption];
        // Reserved in full, so that no partial copy is left behind by a reallocation.
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str(&format!("{VERSION_NAME} = {VERSION}\nmember = {}\n", self.member));
        for (name, secret) in NAMES.iter().zip(secrets) {
            text.push_str(name);
            text.push_str(" = ");
            for byte in secret {
                for nibble in [byte >> 4, byte & 0xf] {
                    text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote; empty lines and lines starting with `#` are skipped.
    ///
    /// # Errors
    ///
    /// See [`SecretsError`].
    pub fn from_text(text: &str) -> Result<Self, SecretsError> {
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut value = |name: &'static str| {
            let (found, value) = lines.next()?.split_once('=')?;
            (found.trim() == name).then(|| value.trim())
        };
        if value(VERSION_NAME) != Some(VERSION) {
            return Err(SecretsError::Version);
        }
        let member =
            value("member").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let member = member
            .and_then(|digits| digits.parse().ok())
            .ok_or(SecretsError::Line { name: "member" })?;
        let mut secrets = Zeroizing::new([[0u8; 32]; 4]);
        for (name, secret) in NAMES.into_iter().zip(secrets.iter_mut()) {
            value(name)
                .and_then(|digits| alloy_primitives::hex::decode_to_slice(digits, secret).ok())
                .ok_or(SecretsError::Line { name })?;
        }
        if lines.next().is_some() {
            return Err(SecretsError::Trailing);
        }
        let [identity, vote, signer, decryption] = *secrets;
        Self::new(member, identity, vote, signer, decryption)
    }
}
