//! blindfold-ordering.
