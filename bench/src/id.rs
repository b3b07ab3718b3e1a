//! Names of benchmarks: `stage::operation/key=value,key=value`, keys ascending; for execution
//! `stage::operation/workload` or `stage::operation/key=value/workload`.

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
    /// What is executed.
    pub workload: Option<String>,
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
        let (operation, rest) = rest.split_once('/').ok_or_else(error)?;
        let (list, workload) = match rest.rsplit_once('/') {
            Some((list, workload)) => (list, Some(workload)),
            None if rest.contains('=') => (rest, None),
            None => ("", Some(rest)),
        };
        if workload.is_some_and(|workload| workload.is_empty() || workload.contains('=')) {
            return Err(error());
        }
        // Only the stage with workloads has them.
        if workload.is_some() != (stage == "execute") {
            return Err(error());
        }
        let parameters = list
            .split(',')
            .filter(|pair| !pair.is_empty() || workload.is_none())
            .map(|pair| {
                let (key, value) = pair.split_once('=').ok_or_else(error)?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, _>>()?;
        let id = Self {
            stage: stage.to_owned(),
            operation: operation.to_owned(),
            parameters,
            workload: workload.map(str::to_owned),
        };
        // One name for one benchmark.
        if id.to_string() == text { Ok(id) } else { Err(error()) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters: Vec<_> =
            self.parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let parts = [parameters.join(","), self.workload.clone().unwrap_or_default()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, "{}::{}/{}", self.stage, self.operation, parts.join("/"))
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
        let id: Id = "execute::parallel/threads=2/mainnet-7279999".parse().unwrap();
        assert_eq!(
            (id.number("threads"), id.workload.as_deref()),
            (Some(2), Some("mainnet-7279999"))
        );
        assert_eq!(id.to_string(), "execute::parallel/threads=2/mainnet-7279999");
        let id: Id = "execute::sequential/erc20".parse().unwrap();
        assert_eq!(
            (id.to_string().as_str(), id.parameters.len()),
            ("execute::sequential/erc20", 0)
        );
        for wrong in [
            "execute::sequential/threads=2",
            "execute::parallel/threads=2/",
            "open::share/batch=1/erc20",
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
