//! Tests across modules; small ones stand beside what they test.

mod certificates;
mod envelopes;
mod evidence;
mod formats;
mod frozen;
mod genesis;
mod settlement_vectors;

use std::sync::LazyLock;

use crate::{SigningKey, testkit::TestCommittee};

/// Four members: f = 1, q = 3.
static FOUR: LazyLock<TestCommittee> = LazyLock::new(|| TestCommittee::new(4, 1));

fn payer(number: u64) -> SigningKey {
    SigningKey::random(crate::testkit::derive(number, "payer", 0))
}
