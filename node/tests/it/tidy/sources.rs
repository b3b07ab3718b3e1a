//! What may stand in a source file.

use std::collections::BTreeMap;

/// No source file is longer, in lines. Ask for a seam from 600 on.
const MAX_LINES: usize = 1_000;

/// What code that only decides must not reach for, and why.
const IMPURE: &[(&str, &str)] = &[
    ("SystemTime::now", "time is an argument"),
    ("Instant::now", "time is an argument"),
    ("std::fs", "files belong to `node`"),
    ("std::net", "sockets belong to `node`"),
    ("std::env", "configuration is decoded once, in `node`"),
    ("std::process", "processes belong to `node`"),
    ("println!", "output belongs to `node`"),
];

/// No file (name to text) is over [`MAX_LINES`].
pub fn stay_short(files: &BTreeMap<String, String>) -> Vec<String> {
    files
        .iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{file} has {lines} lines; the limit is {MAX_LINES}"))
        .collect()
}

/// The one file that may look at a clock: it measures what calls cost, on which no result depends.
const CLOCK: &str = "execution/src/evm/parallel/clock.rs";

/// No file (name to text) reaches for a clock, a disk, a socket or the environment outside tests.
pub fn stay_pure(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in files {
        let for_tests = ["/tests.rs", "/testkit.rs"].iter().any(|end| file.ends_with(end));
        if *file == CLOCK || for_tests || file.contains("/tests/") || file.contains("/testkit/") {
            continue;
        }
        for (number, line) in production_lines(text) {
            for (pattern, because) in IMPURE {
                if line.contains(pattern) {
                    complaints.push(format!("{file}:{number} uses {pattern}: {because}"));
                }
            }
        }
    }
    complaints
}

/// The lines of `text` with their numbers, without comments and without an inline test module, which
/// by our habit is the last thing in a file.
fn production_lines(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines
        .windows(2)
        .position(|pair| {
            pair[0].starts_with("#[cfg(test)]")
                && pair[1].starts_with("mod ")
                && pair[1].ends_with('{')
        })
        .unwrap_or(lines.len());
    lines[..tests]
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.starts_with("//"))
        .map(|(index, line)| (index + 1, *line))
        .collect()
}

fn one(file: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(file.to_owned(), text.to_owned())])
}

#[test]
fn a_long_file_is_noticed() {
    assert_eq!(stay_short(&one("a.rs", &"x\n".repeat(MAX_LINES))), Vec::<String>::new());
    assert_eq!(stay_short(&one("a.rs", &"x\n".repeat(MAX_LINES + 1))).len(), 1);
}

#[test]
fn an_impure_line_is_noticed() {
    for (file, text, expected) in [
        ("wire/src/a.rs", "let now = std::time::Instant::now();", 1),
        ("wire/src/a.rs", "use std::fs;", 1),
        ("wire/src/a.rs", "// never std::fs", 0),
        ("wire/src/tests.rs", "use std::fs;", 0),
        (CLOCK, "let now = std::time::Instant::now();", 0),
        ("execution/src/evm/parallel/stretch.rs", "let now = std::time::Instant::now();", 1),
        ("wire/src/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}", 0),
        ("wire/src/a.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;", 1),
        ("wire/src/a.rs", "use std::env;\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}", 1),
    ] {
        let complaints = stay_pure(&one(file, text));
        assert_eq!(complaints.len(), expected, "{text}: {complaints:?}");
    }
}
