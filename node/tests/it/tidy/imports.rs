//! What may import what.

use super::{FLOORS, PREFIX, floor};

/// A crate of the workspace.
pub struct Crate {
    /// The package's name.
    pub package: String,
    /// What its manifest asks for, whatever the target.
    pub dependencies: Vec<Dependency>,
}

/// A direct dependency.
pub struct Dependency {
    /// The package's name.
    pub package: String,
    /// Whether only tests see it.
    pub development: bool,
}

impl Crate {
    /// Its name in the floors table.
    pub fn name(&self) -> &str {
        self.package.strip_prefix(PREFIX).unwrap_or(&self.package)
    }

    /// Its floor, if it has one.
    pub fn floor(&self) -> Option<u8> {
        floor(self.name())
    }
}

/// A foreign dependency that only some crates may name.
struct Restriction {
    /// Package names, or prefixes of names when they end in a dash.
    packages: &'static [&'static str],
    /// Whether the crate (name, floor) may have it, given whether it is for tests only.
    allowed: fn(name: &str, floor: u8, development: bool) -> bool,
    because: &'static str,
}

const RESTRICTIONS: &[Restriction] = &[
    Restriction {
        packages: &["tokio", "quinn", "rocksdb"],
        allowed: |_, floor, _| floor >= 4,
        because: "runtime, transport and storage belong to `node`",
    },
    Restriction {
        packages: &["commonware-"],
        allowed: |name, floor, development| {
            (floor >= 2 && name != "sdk") || (name == "wire" && development)
        },
        because: "wallets and auditors verify without the engine (`wire` is tested against it)",
    },
    Restriction {
        packages: &["revm", "revm-"],
        allowed: |name, _, _| name == "execution" || name == "settlement",
        because: "the EVM stays inside `execution`, and inside the embedded L1",
    },
    Restriction {
        packages: &["ethrex-"],
        allowed: |name, _, development| name == "bench" && development,
        because: "the trie is our own; another one is only there to be compared with",
    },
    Restriction {
        packages: &["alloy-consensus", "alloy-eips"],
        allowed: |name, floor, _| name == "execution" || name == "settlement" || floor >= 3,
        because: "nothing before `execution` can parse a plaintext transaction",
    },
    Restriction {
        packages: &["blsttc"],
        allowed: |name, _, development| name == "crypto" || development,
        because: "key material is handled in `crypto` alone",
    },
];

/// Imports between our crates point to a lower floor, tests included.
pub fn point_down(crates: &[Crate]) -> Vec<String> {
    let mut complaints = Vec::new();
    for krate in crates {
        let name = krate.name();
        let Some(own) = krate.floor() else {
            complaints.push(format!("{} has no place in FLOORS", krate.package));
            continue;
        };
        for dependency in &krate.dependencies {
            let Some(other) = dependency.package.strip_prefix(PREFIX) else {
                continue;
            };
            match floor(other) {
                None => complaints.push(format!("{name} imports {other}, which has no floor")),
                Some(below) if below < own => {}
                Some(same) if same == own => {
                    complaints.push(format!("{name} imports its sibling {other} (floor {own})"));
                }
                Some(above) => complaints
                    .push(format!("{name} (floor {own}) imports upward: {other} (floor {above})")),
            }
            if name == "sdk" && floor(other).is_some_and(|below| below > 1) {
                complaints
                    .push(format!("sdk imports {other}, but a wallet stays on floors 0 and 1"));
            }
        }
    }
    for (name, _) in FLOORS {
        if !crates.iter().any(|krate| krate.name() == *name) {
            complaints.push(format!("FLOORS names {name}, which is no crate of the workspace"));
        }
    }
    complaints
}

/// Foreign dependencies appear only where [`RESTRICTIONS`] allow them.
pub fn stay_on_their_floor(crates: &[Crate]) -> Vec<String> {
    let mut complaints = Vec::new();
    for krate in crates {
        let floor = krate.floor().unwrap_or(0);
        for dependency in &krate.dependencies {
            for restriction in RESTRICTIONS {
                let restricted = restriction.packages.iter().any(|package| {
                    dependency.package == *package
                        || (package.ends_with('-') && dependency.package.starts_with(package))
                });
                if restricted && !(restriction.allowed)(krate.name(), floor, dependency.development)
                {
                    complaints.push(format!(
                        "{} depends on {}: {}",
                        krate.name(),
                        dependency.package,
                        restriction.because
                    ));
                }
            }
        }
    }
    complaints
}

/// The whole house without any dependency, so that one can be put in.
fn bare() -> Vec<Crate> {
    FLOORS
        .iter()
        .map(|(name, _)| Crate { package: format!("{PREFIX}{name}"), dependencies: Vec::new() })
        .collect()
}

/// The house in which `name` depends on `package`.
fn with(name: &str, package: &str, development: bool) -> Vec<Crate> {
    let mut crates = bare();
    let krate = crates.iter_mut().find(|krate| krate.name() == name).expect("a crate of ours");
    krate.dependencies.push(Dependency { package: package.to_owned(), development });
    crates
}

#[test]
fn a_wrong_import_is_noticed() {
    assert_eq!(point_down(&bare()), Vec::<String>::new());
    // (importer, imported, for tests only, complaints)
    for (name, package, development, expected) in [
        ("wire", "blindfold-crypto", false, 0),
        ("sim", "blindfold-node", false, 0),
        ("crypto", "blindfold-wire", false, 1),      // upward
        ("crypto", "blindfold-wire", true, 1),       // upward, in tests
        ("ordering", "blindfold-mempool", false, 1), // sideways
        ("ordering", "blindfold-mempool", true, 1),  // sideways, in tests
        ("ordering", "blindfold-ordering", true, 1), // itself
        ("node", "blindfold-utils", false, 1),       // a crate nobody placed
        ("sdk", "blindfold-wire", false, 0),
        ("sdk", "blindfold-mempool", false, 1), // a wallet that drags a stage in
    ] {
        let complaints = point_down(&with(name, package, development));
        assert_eq!(complaints.len(), expected, "{name} -> {package}: {complaints:?}");
    }
}

#[test]
fn a_crate_without_a_floor_and_a_floor_without_a_crate_are_noticed() {
    let mut crates = bare();
    crates.push(Crate { package: "blindfold-common".into(), dependencies: Vec::new() });
    assert_eq!(point_down(&crates).len(), 1);
    crates.retain(|krate| krate.name() != "sim" && krate.name() != "common");
    assert_eq!(point_down(&crates).len(), 1);
}

#[test]
fn a_misplaced_dependency_is_noticed() {
    // (crate, dependency, for tests only, complaints)
    for (name, package, development, expected) in [
        ("node", "tokio", false, 0),
        ("ordering", "tokio", false, 1),
        ("ordering", "tokio", true, 1),
        ("sdk", "quinn", false, 1),
        ("execution", "rocksdb", false, 1),
        ("sdk", "tokio-util", false, 0), // another crate
        ("ordering", "commonware-consensus", false, 0),
        ("wire", "commonware-consensus", true, 0),
        ("wire", "commonware-consensus", false, 1),
        ("crypto", "commonware-cryptography", true, 1),
        ("sdk", "commonware-codec", false, 1),
        ("execution", "revm", false, 0),
        ("settlement", "revm", false, 0),
        ("node", "revm", false, 1),
        ("node", "revm-primitives", false, 1),
        ("execution", "ethrex-trie", true, 1),
        ("bench", "ethrex-trie", true, 0),
        ("bench", "ethrex-trie", false, 1),
        ("mempool", "alloy-consensus", false, 1),
        ("wire", "alloy-consensus", false, 1),
        ("node", "alloy-consensus", false, 0),
        ("committee", "blsttc", false, 1),
        ("committee", "blsttc", true, 0),
    ] {
        let complaints = stay_on_their_floor(&with(name, package, development));
        assert_eq!(complaints.len(), expected, "{name} -> {package}: {complaints:?}");
    }
}
