//! blindfold-committee.
