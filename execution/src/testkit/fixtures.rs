//! Outside data for tests: archives beside the checkout, unpacked into the build folder at first use.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::replay::folder::Disk;

/// This machine's files.
#[derive(Clone, Copy, Debug)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        let entry = |entry: io::Result<std::fs::DirEntry>| {
            let path = entry?.path();
            Ok((path.clone(), path.is_dir()))
        };
        folder.read_dir()?.map(entry).collect()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }
}

/// Folder of the mainnet blocks, if the fixtures are there.
pub fn mainnet_blocks() -> Option<PathBuf> {
    unpacked("mainnet-blocks").map(|folder| folder.join("mainnet-blocks"))
}

/// Folder of the Ethereum state tests, if the fixtures are there.
pub fn state_tests() -> Option<PathBuf> {
    unpacked("eest-v5.4.0-state-tests-cancun-prague").map(|folder| folder.join("state_tests"))
}

/// Unpacks `NAME.tar.xz` and returns the folder with its content; says loudly so if there is none.
///
/// # Panics
///
/// If the archive is there and `tar` cannot unpack it.
pub fn unpacked(name: &str) -> Option<PathBuf> {
    let archive = folder().join(format!("{name}.tar.xz"));
    let Ok(metadata) = archive.metadata() else {
        eprintln!(
            "SKIPPED: {} is missing (BLINDFOLD_FIXTURES names its folder)",
            archive.display()
        );
        return None;
    };
    let cache = build_folder().join("fixtures");
    let target = cache.join(format!("{name}-{}", metadata.len()));
    if target.is_dir() {
        return Some(target);
    }
    // Tests of several processes may do this at the same time: each unpacks for itself, one is first.
    let own = cache.join(format!("{name}-unpacking-{}", std::process::id()));
    std::fs::create_dir_all(&own).expect("the build folder can be written");
    let status = Command::new("tar").arg("xJf").arg(&archive).arg("-C").arg(&own).status();
    assert!(status.is_ok_and(|status| status.success()), "tar xJf {} failed", archive.display());
    if std::fs::rename(&own, &target).is_err() {
        let _ = std::fs::remove_dir_all(&own);
    }
    assert!(target.is_dir(), "{} could not be made", target.display());
    Some(target)
}

fn folder() -> PathBuf {
    match std::env::var_os("BLINDFOLD_FIXTURES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures"),
    }
}

/// Where cargo puts what it builds: the folder that the running program lies in some levels below.
fn build_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    match deps.and_then(|deps| deps.ancestors().nth(2)) {
        Some(target) => target.to_owned(),
        None => std::env::temp_dir().join("blindfold-build"),
    }
}
