//! The network identity of a follower: an ed25519 seed in its data folder, made at the first start.
//!
//! A member's identity is one of its secrets and named in the genesis document; a follower's is nobody
//! else's business, and a lost one costs nothing but the blocks and bans it had collected.

use eyre::{Context as _, Result, bail};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};
use zeroize::Zeroizing;

/// Name of the file below the data folder: 64 hex digits and a line feed.
pub const FILE_NAME: &str = "identity.key";

/// The seed in `data_dir`; made, readable for this user only, if there is none.
///
/// # Errors
/// If the file cannot be read or written, or does not hold a seed.
pub fn read_or_make(data_dir: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let path = data_dir.join(FILE_NAME);
    let mut seed = Zeroizing::new([0; 32]);
    let mut text = Zeroizing::new(String::new());
    match fs::File::open(&path) {
        Ok(file) => {
            // One byte more than a good file has shows that it is none.
            let read = file.take(66).read_to_string(&mut text);
            read.wrap_err_with(|| format!("cannot read {}", path.display()))?;
            if hex::decode_to_slice(text.trim_end(), seed.as_mut_slice()).is_err() {
                bail!(
                    "{} holds no 64 hex digits; remove it to have a new one made",
                    path.display()
                );
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            rand::Rng::fill_bytes(&mut rand::rng(), seed.as_mut_slice());
            text.push_str(&Zeroizing::new(hex::encode(seed.as_slice())));
            text.push('\n');
            write_new(data_dir, &path, text.as_bytes())
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
        }
        Err(error) => {
            return Err(error).wrap_err_with(|| format!("cannot read {}", path.display()));
        }
    }
    Ok(seed)
}

fn write_new(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let data = folder.path().join("data");
        let first = read_or_make(&data).expect("made");
        assert_eq!(first, read_or_make(&data).expect("read"));
        let path = data.join(FILE_NAME);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).expect("removed");
        assert_ne!(first, read_or_make(&data).expect("made anew"));
    }

    #[test]
    fn a_damaged_identity_is_not_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join(FILE_NAME), "abcd").expect("written");
        assert!(read_or_make(folder.path()).is_err());
        fs::write(folder.path().join(FILE_NAME), "ab".repeat(33)).expect("written");
        assert!(read_or_make(folder.path()).is_err());
    }
}
