//! blindfold-node.
