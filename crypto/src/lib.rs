//! blindfold-crypto.
