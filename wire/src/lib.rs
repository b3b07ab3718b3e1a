//! blindfold-wire.
