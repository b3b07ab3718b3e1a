//! blindfold-sim.
