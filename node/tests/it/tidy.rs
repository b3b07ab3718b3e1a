//! The house rules, as ordinary tests: what may import what, how long a file may get, and that the
//! documents name only what exists.
//!
//! Every rule is a function from plain inputs to complaints, with a test that it can complain. The
//! tests in this file feed the functions the real repository.

mod documents;
mod imports;
mod sources;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, MetadataCommand};
use imports::{Crate, Dependency};

/// The floors of the house, by folder name: a crate may import crates of lower floors only.
///
/// A new crate takes its place here and in the floors table of ARCHITECTURE.md.
const FLOORS: &[(&str, u8)] = &[
    ("crypto", 0),
    ("wire", 1),
    ("mempool", 2),
    ("ordering", 2),
    ("committee", 2),
    ("execution", 2),
    ("settlement", 2),
    ("sdk", 3),
    ("node", 4),
    ("sim", 5),
    ("fuzz", 5),
    ("bench", 5),
];

/// Prefix of every package of the workspace; what follows is the crate's name in the floors table.
const PREFIX: &str = "blindfold-";

/// The floor of the crate `name` (without the prefix).
fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node/ lies in the checkout").to_owned()
}

/// Every crate of the workspace with its direct dependencies, and its folder.
fn workspace() -> Vec<(Crate, PathBuf)> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let dependencies = package
                .dependencies
                .iter()
                .map(|dependency| Dependency {
                    package: dependency.name.clone(),
                    development: dependency.kind == DependencyKind::Development,
                })
                .collect();
            let folder = package.manifest_path.parent().expect("a folder").as_std_path().to_owned();
            (Crate { package: package.name.to_string(), dependencies }, folder)
        })
        .collect()
}

fn crates() -> Vec<Crate> {
    workspace().into_iter().map(|(krate, _)| krate).collect()
}

/// Every file git knows or would add, relative to the root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        // The checkout may belong to another user, as in a container.
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to list the sources");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let mut files: Vec<String> = String::from_utf8(output.stdout)
        .expect("file names are UTF-8")
        .lines()
        .filter(|file| root().join(file).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The contents of every file whose name satisfies `wanted`.
fn contents(wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    files()
        .into_iter()
        .filter(|file| wanted(file))
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).expect("readable UTF-8");
            (file, text)
        })
        .collect()
}

/// Documents a reader meets: those at the root and those in `docs/`.
fn documents() -> BTreeMap<String, String> {
    contents(|file| file.ends_with(".md") && (!file.contains('/') || file.starts_with("docs/")))
}

#[track_caller]
fn tidy(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn imports_point_down() {
    tidy(imports::point_down(&crates()));
}

#[test]
fn heavy_dependencies_stay_on_their_floor() {
    tidy(imports::stay_on_their_floor(&crates()));
}

#[test]
fn source_files_stay_readable() {
    let sources = contents(|file| file.ends_with(".rs"));
    assert!(sources.contains_key("node/tests/it/tidy.rs"), "the listing is incomplete");
    tidy(sources::stay_short(&sources));
}

#[test]
fn decisions_reach_no_clock_disk_or_network() {
    let mut pure = BTreeMap::new();
    for (krate, folder) in workspace() {
        if krate.floor().is_some_and(|floor| floor <= 2) {
            let folder = folder.strip_prefix(root()).expect("inside the checkout");
            let prefix = format!("{}/src/", folder.display());
            pure.extend(contents(|file| file.starts_with(&prefix) && file.ends_with(".rs")));
        }
    }
    assert!(pure.contains_key("crypto/src/lib.rs"), "the listing is incomplete");
    tidy(sources::stay_pure(&pure));
}

#[test]
fn architecture_names_every_crate_with_its_floor() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let packages: Vec<String> = crates().into_iter().map(|krate| krate.package).collect();
    tidy(documents::floors_agree(&documents::floors_table(&text), FLOORS, &packages));
}

#[test]
fn every_crate_has_a_chapter() {
    let names: Vec<String> = crates().iter().map(|krate| krate.name().to_owned()).collect();
    tidy(documents::chapters_exist(&names, &files()));
}

#[test]
fn the_wallet_guide_shows_code_that_is_compiled() {
    let guide = fs::read_to_string(root().join("docs/wallet.md")).expect("docs/wallet.md");
    let library = fs::read_to_string(root().join("sdk/rust/src/lib.rs")).expect("the SDK");
    tidy(documents::snippets_come_from(&guide, &library));
}

#[test]
fn documents_name_only_what_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("Makefile");
    let targets = documents::make_targets(&makefile);
    assert!(targets.contains("devnet") && targets.contains("test"), "{targets:?}");

    let modules: BTreeMap<String, String> = workspace()
        .into_iter()
        .map(|(krate, folder)| {
            let library = fs::read_to_string(folder.join("src/lib.rs")).unwrap_or_default();
            (krate.name().to_owned(), library)
        })
        .collect();

    let mut complaints = Vec::new();
    for (file, text) in documents() {
        complaints.extend(documents::targets_exist(&file, &text, &targets));
        complaints.extend(documents::modules_exist(&file, &text, &modules));
        let folder = Path::new(&file).parent().expect("a relative path").to_owned();
        let exists = |link: &str| root().join(&folder).join(link).exists();
        complaints.extend(documents::links_exist(&file, &text, exists));
    }
    tidy(complaints);
}
