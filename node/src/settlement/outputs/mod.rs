//! Outputs in the node: followed on L1, proposed, defended, and challenged where they are wrong.
//!
//! ```text
//!   L1 ── events ──▶ watcher ──▶ book of outputs ──▶ duties ──▶ errand ──▶ poster ──▶ L1
//!                                                       ▲
//!                      roots that this node has computed
//! ```
//!
//! | part | does |
//! |---|---|
//! | [`book`] | what L1 has: final rows in the database, newer ones read again at each look |
//! | [`duty`] | what this member has to do about it, as a call that the poster sends |
//!
//! What is decided without L1 at hand is decided in `settlement::outputs`.

pub mod book;
pub mod duty;
pub mod events;

pub use self::{
    book::{OutputBook, OutputRow},
    duty::{Errand, Outputs},
    events::OutputEvent,
};
