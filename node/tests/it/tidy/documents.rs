//! What the documents may name.

use std::collections::{BTreeMap, BTreeSet};

/// Crate and floor pairs of the floors table: rows `| 2 | `mempool` `ordering` | .. |`.
pub fn floors_table(architecture: &str) -> Vec<(String, u8)> {
    let mut floors = Vec::new();
    for line in architecture.lines() {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        let (Some(floor), Some(crates)) = (cells.next(), cells.next()) else {
            continue;
        };
        let Ok(floor) = floor.parse::<u8>() else {
            continue;
        };
        floors.extend(spans(crates).into_iter().map(|name| (name.to_owned(), floor)));
    }
    floors
}

/// The table in the document, the law of the tests and the workspace say the same.
pub fn floors_agree(
    table: &[(String, u8)],
    law: &[(&str, u8)],
    packages: &[String],
) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, floor) in law {
        let rows: Vec<u8> = table.iter().filter(|(n, _)| n == name).map(|(_, f)| *f).collect();
        if rows != [*floor] {
            complaints.push(format!("ARCHITECTURE.md puts {name} on floors {rows:?}, not {floor}"));
        }
    }
    for (name, _) in table {
        if !packages.contains(&format!("{}{name}", super::PREFIX)) {
            complaints.push(format!("ARCHITECTURE.md names {name}, which is no crate"));
        }
    }
    for package in packages {
        if !table.iter().any(|(name, _)| *package == format!("{}{name}", super::PREFIX)) {
            complaints.push(format!("ARCHITECTURE.md has no floor for {package}"));
        }
    }
    complaints
}

/// Every crate has its chapter `docs/<crate>.md`.
pub fn chapters_exist(crates: &[String], files: &[String]) -> Vec<String> {
    crates
        .iter()
        .map(|name| format!("docs/{name}.md"))
        .filter(|chapter| !files.contains(chapter))
        .map(|chapter| format!("{chapter} is missing"))
        .collect()
}

/// The targets that a Makefile defines.
pub fn make_targets(makefile: &str) -> BTreeSet<String> {
    makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .map(str::to_owned)
        .collect()
}

/// Every `make x` in the code of a document is a target.
pub fn targets_exist(file: &str, text: &str, targets: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for code in code(text) {
        let Some(rest) = code.trim_start().strip_prefix("make ") else {
            continue;
        };
        let word = rest.split_whitespace().next().unwrap_or_default();
        let named = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if named && !word.is_empty() && !targets.contains(word) {
            complaints.push(format!("{file} names `make {word}`, which is no target"));
        }
    }
    complaints
}

/// Every `crate::module` in the code of a document is a public module. `libraries` maps a crate's
/// name to the text of its `lib.rs`.
pub fn modules_exist(file: &str, text: &str, libraries: &BTreeMap<String, String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for code in code(text) {
        let mut parts = code.trim().split("::");
        let (Some(krate), Some(module)) = (parts.next(), parts.next()) else {
            continue;
        };
        let krate = krate.strip_prefix("blindfold_").unwrap_or(krate);
        let Some(library) = libraries.get(krate) else {
            continue;
        };
        let is_module = module.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let declared = [format!("pub mod {module};"), format!("pub mod {module} {{")];
        if is_module && !library.lines().any(|line| declared.contains(&line.trim().to_owned())) {
            complaints.push(format!("{file} names `{krate}::{module}`, which is no public module"));
        }
    }
    complaints
}

/// Every relative link of a document leads somewhere.
pub fn links_exist(file: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for line in prose(text) {
        for piece in line.split("](").skip(1) {
            let link = piece.split([')', '#', ' ']).next().unwrap_or_default();
            let external = link.is_empty() || link.contains("://") || link.starts_with("mailto:");
            if !external && !exists(link) {
                complaints.push(format!("{file} links to {link}, which does not exist"));
            }
        }
    }
    complaints
}

/// Every line of a document's Rust blocks stands in an example of `library`, where it is compiled.
pub fn snippets_come_from(document: &str, library: &str) -> Vec<String> {
    let compiled: BTreeSet<&str> = library
        .lines()
        .filter_map(|line| line.trim().strip_prefix("//!").or(line.trim().strip_prefix("///")))
        .map(str::trim)
        .collect();
    let mut complaints = Vec::new();
    let mut in_rust = false;
    for line in document.lines().map(str::trim) {
        if line.starts_with("```") {
            in_rust = line == "```rust";
        } else if in_rust && !line.is_empty() && !compiled.contains(line) {
            complaints.push(format!("no compiled example contains: {line}"));
        }
    }
    complaints
}

/// The lines of a document outside fenced blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines
}

/// The code of a document: inline spans, and the lines of fenced blocks.
fn code(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut code = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            code.extend(spans(line));
        }
    }
    code
}

/// The inline code spans of a line.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

const TABLE: &str = "\
| floor | crates | |
|---|---|---|
| 1 | `b` `c` | x |
| 0 | `a` | y |";

#[test]
fn a_wrong_floors_table_is_noticed() {
    let law = [("a", 0), ("b", 1), ("c", 1)];
    let packages = ["blindfold-a", "blindfold-b", "blindfold-c"].map(String::from);
    let table = floors_table(TABLE);
    assert_eq!(table.len(), 3);
    assert_eq!(floors_agree(&table, &law, &packages), Vec::<String>::new());

    for (from, to, expected) in [
        ("| 0 | `a`", "| 1 | `a`", 1),     // another floor
        ("`b` `c`", "`b` `c` `d`", 1),     // no such crate
        ("`b` `c`", "`b`", 2),             // one left out: by the law, and by the workspace
        ("| 0 | `a`", "| 0 | `a` `b`", 1), // twice
    ] {
        let changed = TABLE.replace(from, to);
        assert_ne!(changed, TABLE);
        let complaints = floors_agree(&floors_table(&changed), &law, &packages);
        assert_eq!(complaints.len(), expected, "{changed}: {complaints:?}");
    }
}

#[test]
fn a_missing_chapter_is_noticed() {
    let crates = ["wire".to_owned()];
    assert_eq!(chapters_exist(&crates, &["docs/wire.md".to_owned()]), Vec::<String>::new());
    assert_eq!(chapters_exist(&crates, &["docs/wires.md".to_owned()]).len(), 1);
}

#[test]
fn a_target_that_does_not_exist_is_noticed() {
    let targets =
        make_targets("SHELL := bash\n.PHONY: test\ntest: ## tests\n\t@true\nfmt-check:\n");
    assert_eq!(targets, BTreeSet::from(["test".to_owned(), "fmt-check".to_owned()]));
    for (text, expected) in [
        ("Run `make test` or `make fmt-check`, then make yourself coffee.", 0),
        ("Run `make coffee`.", 1),
        ("```\nmake test SEED=1\nmake coffee # now\n```", 1),
        ("`make` lists them", 0),
        ("`make sure=1`", 0),
    ] {
        assert_eq!(targets_exist("README.md", text, &targets).len(), expected, "{text}");
    }
}

#[test]
fn a_module_that_does_not_exist_is_noticed() {
    let libraries =
        BTreeMap::from([("wire".to_owned(), "pub mod domain;\nmod secret;\n".to_owned())]);
    for (text, expected) in [
        ("see `wire::domain` and `blindfold_wire::domain::all`", 0),
        ("see `wire::secret`", 1),
        ("see `wire::Envelope`, a type at the root", 0),
        ("see `std::fs`", 0),
        ("see `wire::gone`", 1),
    ] {
        assert_eq!(modules_exist("README.md", text, &libraries).len(), expected, "{text}");
    }
}

#[test]
fn a_dead_link_is_noticed() {
    let exists = |link: &str| link == "docs/wire.md";
    for (text, expected) in [
        ("[a](docs/wire.md) [b](docs/wire.md#formats) [c](https://example.org/x) [d](#here)", 0),
        ("[a](docs/gone.md)", 1),
        ("```\nlet x = f[0](gone);\n```", 0),
    ] {
        assert_eq!(links_exist("README.md", text, exists).len(), expected, "{text}");
    }
}

#[test]
fn a_snippet_that_is_not_compiled_is_noticed() {
    let library = "//! ```\n//! let a = seal();\n//! ```\nlet b = hidden();\n";
    for (text, expected) in [
        ("```rust\nlet a = seal();\n```", 0),
        ("```rust\nlet a = steal();\n```", 1),
        ("```rust\nlet b = hidden();\n```", 1),
        ("```\nmake test\n```", 0),
    ] {
        assert_eq!(snippets_come_from(text, library).len(), expected, "{text}");
    }
}
