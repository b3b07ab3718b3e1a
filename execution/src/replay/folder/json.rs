//! JSON with the place of everything in it, so that a file that is wrong can be told where.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Map, Value};

use super::FolderError;

/// A value in a file, and the way to it.
pub(crate) struct Node<'a> {
    file: &'a Path,
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    /// The whole of a file.
    pub(crate) const fn root(file: &'a Path, value: &'a Value) -> Self {
        Self { file, path: String::new(), value }
    }

    /// The error that this value is wrong.
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> FolderError {
        let field = if self.path.is_empty() { "(all of it)".into() } else { self.path.clone() };
        FolderError::Field { file: self.file.to_owned(), field, problem: problem.into() }
    }

    fn child(&self, name: &str, value: &'a Value) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path if name.starts_with('[') => format!("{path}{name}"),
            path => format!("{path}.{name}"),
        };
        Self { file: self.file, path, value }
    }

    fn object(&self) -> Result<&'a Map<String, Value>, FolderError> {
        self.value.as_object().ok_or_else(|| self.wrong("is not an object"))
    }

    /// A field that may be absent or null.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<Self>, FolderError> {
        let value = self.object()?.get(name).filter(|value| !value.is_null());
        Ok(value.map(|value| self.child(name, value)))
    }

    /// A field that has to be there.
    pub(crate) fn field(&self, name: &str) -> Result<Self, FolderError> {
        self.optional(name)?.ok_or_else(|| self.child(name, self.value).wrong("is missing"))
    }

    /// All fields, in the file's order of keys.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = (&'a str, Self)>, FolderError> {
        let object = self.object()?;
        Ok(object.iter().map(|(name, value)| (name.as_str(), self.child(name, value))))
    }

    /// All elements.
    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, FolderError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("is not a list"))?;
        Ok(items.iter().enumerate().map(|(at, value)| self.child(&format!("[{at}]"), value)))
    }

    pub(crate) fn text(&self) -> Result<&'a str, FolderError> {
        self.value.as_str().ok_or_else(|| self.wrong("is not a string"))
    }

    /// A number: hexadecimal text with 0x, or a plain JSON integer.
    pub(crate) fn u256(&self) -> Result<U256, FolderError> {
        if let Some(number) = self.value.as_u64() {
            return Ok(U256::from(number));
        }
        let digits = self.text()?.strip_prefix("0x").filter(|digits| !digits.is_empty());
        digits
            .and_then(|digits| U256::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.wrong("is not a number of at most 256 bits"))
    }

    pub(crate) fn u64(&self) -> Result<u64, FolderError> {
        self.u256()?.try_into().map_err(|_| self.wrong("does not fit 64 bits"))
    }

    pub(crate) fn u128(&self) -> Result<u128, FolderError> {
        self.u256()?.try_into().map_err(|_| self.wrong("does not fit 128 bits"))
    }

    pub(crate) fn bytes(&self) -> Result<Bytes, FolderError> {
        self.text()?.parse().map_err(|_| self.wrong("is not hexadecimal"))
    }

    pub(crate) fn hash(&self) -> Result<B256, FolderError> {
        self.text()?.parse().map_err(|_| self.wrong("is not 32 bytes of hexadecimal"))
    }

    pub(crate) fn address(&self) -> Result<Address, FolderError> {
        self.text()?.parse().map_err(|_| self.wrong("is not an address"))
    }

    /// This value's own name as an address.
    pub(crate) fn name_as_address(&self, name: &str) -> Result<Address, FolderError> {
        name.parse().map_err(|_| self.wrong("is not named by an address"))
    }

    /// This value's own name as a hash.
    pub(crate) fn name_as_hash(&self, name: &str) -> Result<B256, FolderError> {
        name.parse().map_err(|_| self.wrong("is not named by a hash"))
    }

    /// This value's own name as a number, hexadecimal.
    pub(crate) fn name_as_u256(&self, name: &str) -> Result<U256, FolderError> {
        name.strip_prefix("0x")
            .and_then(|digits| U256::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.wrong("is not named by a hexadecimal number"))
    }

    /// This value's own name as a number, decimal or hexadecimal.
    pub(crate) fn name_as_u64(&self, name: &str) -> Result<u64, FolderError> {
        let number = match name.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => name.parse().ok(),
        };
        number.ok_or_else(|| self.wrong("is not named by a number"))
    }
}
