//! blindfold-execution.
