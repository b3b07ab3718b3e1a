//! Makes the table of a run of the benchmarks, and the snapshot of it in the documents.
//!
//! ```text
//! blindfold-bench table FOLDER [LOAD]    FOLDER/criterion → FOLDER/bench.json, bench.md, *.svg
//! blindfold-bench snapshot FOLDER        FOLDER/bench.json → docs/performance.md, docs/performance-*.svg
//! ```
//!
//! Both run from the root of the checkout; `make bench` and `make bench-snapshot` call them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use blindfold_bench::{
    machine::Machine,
    markdown, plot,
    report::Report,
    results::{Results, ResultsError},
};

/// The document with the snapshot.
const DOCUMENT: &str = "docs/performance.md";

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usage: blindfold-bench table FOLDER [LOAD-AT-START] | snapshot FOLDER")]
    Usage,
    #[error("no figures: {0}")]
    Results(#[from] ResultsError),
    #[error("no figures under {0}: the filter matched no benchmark")]
    Empty(PathBuf),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{path} is not a report: {error}")]
    Json { path: PathBuf, error: serde_json::Error },
    #[error("{DOCUMENT} lacks the marks of the snapshot")]
    Marks,
    #[error("the report is of a quick or filtered run, which is nothing to put into the documents")]
    NotWhole,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["table", folder] => table(Path::new(folder), "unknown"),
        ["table", folder, load] => table(Path::new(folder), load),
        ["snapshot", folder] => snapshot(Path::new(folder)),
        _ => Err(Error::Usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blindfold-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads what criterion left, writes the table in all forms, and prints it.
fn table(folder: &Path, load_at_start: &str) -> Result<(), Error> {
    let figures = folder.join("criterion");
    let results = Results::read(&figures)?;
    if results.measured.is_empty() {
        return Err(Error::Empty(figures));
    }
    let quick = blindfold_bench::clock::quick();
    let report = Report::new(Machine::here(Path::new("."), load_at_start), quick, &results);
    let text = markdown::markdown(&report);
    let path = folder.join("bench.json");
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::Json { path: path.clone(), error })?;
    write(&path, &json)?;
    write(&folder.join("bench.md"), &text)?;
    for (name, svg) in plots(&report) {
        write(&folder.join(name), &svg)?;
    }
    println!("{text}\nwritten: {} and bench.md beside it", path.display());
    Ok(())
}

/// Puts the table of the last run into the documents: of opening if it is whole, and of execution.
fn snapshot(folder: &Path) -> Result<(), Error> {
    let path = folder.join("bench.json");
    let report: Report = serde_json::from_str(&read(&path)?)
        .map_err(|error| Error::Json { path: path.clone(), error })?;
    let whole = ["open::total/batch=512", "primitive::g1_mul/bits=255"]
        .iter()
        .all(|id| report.rows.iter().any(|row| row.id == *id));
    let execution = markdown::execution(&report);
    if report.quick || !(whole || execution.is_some()) {
        return Err(Error::NotWhole);
    }
    let document = Path::new(DOCUMENT);
    let mut text = read(document)?;
    if whole {
        let snapshot = markdown::without_execution(&report);
        text =
            markdown::replace_snapshot(&text, markdown::SNAPSHOT, &snapshot).ok_or(Error::Marks)?;
    }
    if let Some(execution) = execution {
        text = markdown::replace_snapshot(&text, markdown::EXECUTION, &execution)
            .ok_or(Error::Marks)?;
    }
    write(document, &text)?;
    for (name, svg) in plots(&report) {
        write(&Path::new("docs").join(format!("performance-{name}")), &svg)?;
    }
    println!("written: {DOCUMENT} and its plots");
    Ok(())
}

fn plots(report: &Report) -> impl Iterator<Item = (&'static str, String)> {
    [
        ("by-batch.svg", plot::by_batch(report)),
        ("by-members.svg", plot::by_members(report)),
        ("execution.svg", plot::by_workload(report)),
    ]
    .into_iter()
    .filter_map(|(name, svg)| Some((name, svg?)))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::File { path: path.to_owned(), error })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::File { path: path.to_owned(), error })
}
