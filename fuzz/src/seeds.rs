//! Seeds: what the fuzzer starts from. Some are made here, so that a target has good inputs without
//! anything else; the others are the rows and files of a devnet that ran.

mod made;
mod traffic;

use std::{collections::BTreeSet, fs, io, path::Path};

pub use made::made;
pub use traffic::from_devnet;

/// Seeds taken for one target, at most.
const MAX_SEEDS: usize = 96;
/// Longest seed, in bytes.
const MAX_SEED_BYTES: usize = 256 << 10;

/// Seeds by target, each once.
#[derive(Default)]
pub struct Seeds {
    seeds: BTreeSet<(&'static str, Vec<u8>)>,
}

impl Seeds {
    /// Takes a seed for the target called `name`, unless there are enough or it is too long.
    ///
    /// # Panics
    /// If there is no such target.
    pub fn add(&mut self, name: &'static str, seed: impl Into<Vec<u8>>) {
        assert!(crate::target(name).is_some(), "no target {name}");
        let seed = seed.into();
        if seed.len() <= MAX_SEED_BYTES && self.of(name).count() < MAX_SEEDS {
            self.seeds.insert((name, seed));
        }
    }

    /// The seeds of one target.
    pub fn of(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.seeds
            .range((name, Vec::new())..)
            .take_while(move |(of, _)| *of == name)
            .map(|(_, seed)| seed.as_slice())
    }

    /// Writes each seed to `folder/<target>/<hash>`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(&self, folder: &Path) -> io::Result<usize> {
        for (name, seed) in &self.seeds {
            let folder = folder.join(name);
            fs::create_dir_all(&folder)?;
            let hash = alloy_primitives::keccak256(seed);
            fs::write(folder.join(hex::encode(&hash[..12])), seed)?;
        }
        Ok(self.seeds.len())
    }
}
