//! Notices that a member's signing journal is gone.
//!
//! A member that forgot what it signed signs something else for the same slot sooner or later, and that is
//! evidence against it. So database and secrets are tied: the first start writes a random mark into the
//! database and beside the secrets file. Secrets that were used with another database than the one that is
//! there refuse to run, whether the data folder was emptied, exchanged or restored from another machine.
//!
//! An *old copy* of the right data folder has the right mark and is not noticed: never run one.

use crate::store::{Store, StoreError};
use eyre::{Context as _, Result, bail};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// Bytes of a mark.
pub const MARK_BYTES: usize = 16;

/// The file beside the secrets: their name with `.journal` after it.
pub fn mark_path(secrets: &Path) -> PathBuf {
    let mut name = secrets.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

/// Checks that `store` holds the journal that the secrets in the file `secrets` signed with; both are
/// marked with `fresh`, random bytes, if neither was used before.
///
/// # Errors
/// If the journal is not there, which says what to do, or a mark cannot be read or written.
pub fn check(secrets: &Path, store: &Store, fresh: [u8; MARK_BYTES]) -> Result<()> {
    let path = mark_path(secrets);
    let beside = match fs::read_to_string(&path) {
        Ok(text) => Some(text.trim_end().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).wrap_err_with(|| format!("cannot read {}", path.display()));
        }
    };
    let inside = store.journal_mark()?;
    match (beside, inside) {
        (Some(beside), Some(inside)) if beside == hex::encode(&inside) => Ok(()),
        (Some(_), _) => bail!(
            "the keys in {} have signed with a journal that is not in {}: without it this member could \
             contradict itself, which costs its stake. Bring its own data folder back. If that is lost, run \
             `blindfold node run --observe` to catch up without signing, wait until the committee is far past \
             everything this member may have signed (an hour is plenty), then remove {} and restart",
            secrets.display(),
            store.path().display(),
            path.display()
        ),
        (None, inside) => {
            let mark = match inside {
                Some(inside) => inside,
                None => {
                    // First inside: a crash between the two writes leaves what the next start completes.
                    store.set_journal_mark(fresh)?;
                    fresh.to_vec()
                }
            };
            write_new(&path, &hex::encode(mark)).wrap_err_with(|| {
                format!(
                    "cannot write {}; the folder of the secrets must be writable",
                    path.display()
                )
            })
        }
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

impl Store {
    /// What [`check`] wrote here.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn journal_mark(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.meta(KEY_JOURNAL_MARK)
    }

    fn set_journal_mark(&self, mark: [u8; MARK_BYTES]) -> Result<(), StoreError> {
        self.set_meta(KEY_JOURNAL_MARK, &mark)
    }
}

const KEY_JOURNAL_MARK: &[u8] = b"journal_mark";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_gone_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let secrets = folder.path().join("secrets.toml");
        let open = |name: &str| Store::open(folder.path().join(name), [1; 32]).expect("open");
        let first = open("first");
        check(&secrets, &first, [1; MARK_BYTES]).expect("the first start");
        check(&secrets, &first, [2; MARK_BYTES]).expect("a restart");

        let empty = open("empty");
        let refused = check(&secrets, &empty, [3; MARK_BYTES]).expect_err("an emptied folder");
        assert!(refused.to_string().contains("--observe"), "{refused}");
        let other_secrets = folder.path().join("other.toml");
        let other = open("other");
        check(&other_secrets, &other, [4; MARK_BYTES]).expect("another member");
        assert!(check(&secrets, &other, [5; MARK_BYTES]).is_err(), "another member's folder");

        fs::remove_file(mark_path(&secrets)).expect("the operator's decision");
        check(&secrets, &empty, [6; MARK_BYTES]).expect("begins anew");
        assert!(
            check(&secrets, &first, [7; MARK_BYTES]).is_err(),
            "the old one is no longer its own"
        );
    }

    #[test]
    fn a_crash_between_the_marks_is_completed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let secrets = folder.path().join("secrets.toml");
        let store = Store::open(folder.path().join("db"), [1; 32]).expect("open");
        store.set_journal_mark([9; MARK_BYTES]).expect("written");
        check(&secrets, &store, [1; MARK_BYTES]).expect("completed");
        assert_eq!(fs::read_to_string(mark_path(&secrets)).expect("there").trim(), "09".repeat(16));
    }
}
