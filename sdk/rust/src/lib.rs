//! blindfold-sdk.
