//! blindfold-mempool.
