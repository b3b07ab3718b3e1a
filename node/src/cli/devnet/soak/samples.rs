//! What the system says of a member's process: memory, open files, threads, and bytes on disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One look at one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since the soak began.
    pub at_ms: u64,
    /// The member.
    pub member: usize,
    /// How often it was started before.
    pub life: u32,
    /// Milliseconds since this life began.
    pub age_ms: u64,
    /// Memory in RAM, in bytes.
    pub rss_bytes: u64,
    /// Of that, what is no file: heap and stacks, in bytes.
    pub anon_bytes: u64,
    /// Open files of the database.
    pub table_files: u64,
    /// Open files of the engine's journal: one for each view that it keeps.
    pub journal_files: u64,
    /// All other open files: sockets, pipes, logs.
    pub other_files: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of the database without its log.
    pub database_bytes: u64,
    /// Bytes of the database's write-ahead log.
    pub log_bytes: u64,
    /// Bytes of the engine's journal.
    pub engine_bytes: u64,
    /// Executed height; zero while it does not answer.
    pub height: u64,
}

impl Sample {
    /// The names of [`Self::csv`]'s columns.
    pub const CSV_HEAD: &str = "at_ms,member,life,age_ms,rss_bytes,anon_bytes,table_files,journal_files,other_files,\
                                threads,database_bytes,log_bytes,engine_bytes,height";

    /// One line of the table.
    pub fn csv(&self) -> String {
        [
            self.at_ms,
            self.member as u64,
            u64::from(self.life),
            self.age_ms,
            self.rss_bytes,
            self.anon_bytes,
            self.table_files,
            self.journal_files,
            self.other_files,
            self.threads,
            self.database_bytes,
            self.log_bytes,
            self.engine_bytes,
            self.height,
        ]
        .map(|number| number.to_string())
        .join(",")
    }

    /// All open files.
    pub fn open_files(&self) -> u64 {
        self.table_files + self.journal_files + self.other_files
    }

    /// All bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.database_bytes + self.log_bytes + self.engine_bytes
    }

    /// Fills in what `/proc` says of process `id`.
    ///
    /// # Errors
    /// If the process is gone, or this is no Linux.
    pub fn read_process(&mut self, id: u32) -> io::Result<()> {
        let process = PathBuf::from(format!("/proc/{id}"));
        let status = fs::read_to_string(process.join("status"))?;
        let kib = |name| field(&status, name).map_or(0, |kib| kib * 1_024);
        (self.rss_bytes, self.anon_bytes) = (kib("VmRSS:"), kib("RssAnon:"));
        self.threads = field(&status, "Threads:").unwrap_or_default();
        for file in fs::read_dir(process.join("fd"))? {
            // One may be closed between listing and looking.
            match fs::read_link(file?.path()) {
                Ok(target) if target.extension().is_some_and(|kind| kind == "sst") => {
                    self.table_files += 1;
                }
                Ok(target) if target.components().any(|part| part.as_os_str() == "engine") => {
                    self.journal_files += 1;
                }
                Ok(_) => self.other_files += 1,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Fills in the bytes of a member's data folder.
    pub fn read_disk(&mut self, data: &Path) {
        let database = data.join("db");
        let is_log = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
        let all = bytes_below(&database, &|_| true);
        self.log_bytes = bytes_below(&database, &is_log);
        self.database_bytes = all.saturating_sub(self.log_bytes);
        self.engine_bytes = bytes_below(&data.join("engine"), &|_| true);
    }
}

/// The number after `name` in `/proc/<pid>/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Bytes of the files below `folder` that `wanted` takes. Files come and go meanwhile: what is gone
/// counts nothing.
fn bytes_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path(), wanted),
            Ok(found) if wanted(&entry.path()) => found.len(),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let mut sample = Sample::default();
        sample.read_process(std::process::id()).expect("Linux");
        assert!(sample.anon_bytes > 0 && sample.rss_bytes >= sample.anon_bytes);
        assert!(sample.threads >= 1 && sample.other_files >= 3);
        assert_eq!(sample.csv().split(',').count(), Sample::CSV_HEAD.split(',').count());
    }

    #[test]
    fn bytes_are_told_apart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (database, engine) = (folder.path().join("db"), folder.path().join("engine/votes"));
        for path in [&database, &engine] {
            fs::create_dir_all(path).expect("created");
        }
        fs::write(database.join("000001.sst"), [0; 100]).expect("written");
        fs::write(database.join("000002.log"), [0; 10]).expect("written");
        fs::write(engine.join("1"), [0; 7]).expect("written");
        let mut sample = Sample::default();
        sample.read_disk(folder.path());
        assert_eq!((sample.database_bytes, sample.log_bytes, sample.engine_bytes), (100, 10, 7));
        assert_eq!(sample.disk_bytes(), 117);
    }
}
