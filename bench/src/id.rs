//! Names of benchmarks: `stage::operation/key=value,key=value`, keys ascending.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// A parsed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// What is measured together: `open`, `primitive`, `baseline`.
    pub stage: String,
    /// The step.
    pub operation: String,
    /// What it is measured at.
    pub parameters: BTreeMap<String, String>,
}

/// A name that does not follow the pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form stage::operation/key=value, keys ascending")]
pub struct IdError(pub String);

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError(text.to_owned());
        let (stage, rest) = text.split_once("::").ok_or_else(error)?;
        let (operation, list) = rest.split_once('/').ok_or_else(error)?;
        let parameters = list
            .split(',')
            .map(|pair| {
                let (key, value) = pair.split_once('=').ok_or_else(error)?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, _>>()?;
        let id = Self { stage: stage.to_owned(), operation: operation.to_owned(), parameters };
        // One name for one benchmark.
        if id.to_string() == text { Ok(id) } else { Err(error()) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters: Vec<_> =
            self.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        write!(f, "{}::{}/{}", self.stage, self.operation, parameters.join(","))
    }
}

impl Id {
    /// A number among the parameters.
    pub fn number(&self, key: &str) -> Option<usize> {
        self.parameters.get(key)?.parse().ok()
    }

    /// Whether this is `open::operation` with exactly these parameters.
    pub fn is_open(&self, operation: &str, keys: &[&str]) -> bool {
        self.stage == "open"
            && self.operation == operation
            && self.parameters.len() == keys.len()
            && keys.iter().all(|key| self.parameters.contains_key(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let id: Id = "open::after_commit/batch=512,threads=2".parse().unwrap();
        assert_eq!((id.stage.as_str(), id.operation.as_str()), ("open", "after_commit"));
        assert_eq!((id.number("batch"), id.number("threads")), (Some(512), Some(2)));
        assert_eq!(id.number("n"), None);
        assert_eq!(id.to_string(), "open::after_commit/batch=512,threads=2");
        assert!(id.is_open("after_commit", &["threads", "batch"]));
        assert!(!id.is_open("after_commit", &["batch"]));
        for wrong in [
            "",
            "open",
            "open::share",
            "open::share/512",
            "open/batch=512",
            "open::share/n=4,batch=1",
        ] {
            assert_eq!(wrong.parse::<Id>(), Err(IdError(wrong.to_owned())));
        }
    }
}
