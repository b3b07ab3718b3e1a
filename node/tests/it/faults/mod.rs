//! What breaks in practice, done to real member processes under load.
//!
//! Each test does one thing to a network, takes it back, and then asks the same of it: nothing that was
//! ordered is lost, no two members differ, nobody signed twice, and the network went on. How fast it
//! did is reported, in leader time-outs, and not asserted: see `harness::recovery`.

mod faulty;
mod processes;
mod shares;
