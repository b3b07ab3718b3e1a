//! Measures, never assumes, that nothing was opened before its order was final.
//!
//! The input is what members signed (bundle headers) and what was certified, in any order. A bundle
//! that names a digest which is not the certified one of its height was released without a certificate, since
//! only one digest can have one.

use std::collections::BTreeMap;

use blindfold_wire::{B256, bundle::BundleHeader};

/// Most heights kept until both sides are known.
pub const MAX_AUDITED_HEIGHTS: usize = 65_536;

#[derive(Debug, Default)]
struct Height {
    certified: Option<B256>,
    /// (member, digest) of every bundle, once each.
    released: Vec<(u32, B256)>,
}

/// Compares released bundles with certified commitments.
#[derive(Debug, Default)]
pub struct ReleaseAudit {
    heights: BTreeMap<u64, Height>,
    /// Of heights that are no longer kept.
    settled: ReleaseCounts,
}

/// The result of a [`ReleaseAudit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseCounts {
    /// Bundles for the certified commitment of their height.
    pub after_final: u64,
    /// Bundles for another digest than the certified one: released before anything was final.
    pub before_final: u64,
    /// Bundles of heights without a certificate so far. At the end of a run these count as before final.
    pub uncertified: u64,
}

impl ReleaseCounts {
    /// Bundles that no certificate covers.
    pub fn opened_before_final(&self) -> u64 {
        self.before_final + self.uncertified
    }
}

impl ReleaseAudit {
    /// An empty audit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a bundle whose signature was verified. Repetitions count once.
    pub fn on_bundle(&mut self, header: &BundleHeader) {
        let released = &mut self.heights.entry(header.height).or_default().released;
        if !released.contains(&(header.member, header.commitment)) {
            released.push((header.member, header.commitment));
        }
        self.settle();
    }

    /// Notes the certified digest of a height. The first one stands.
    pub fn on_certified(&mut self, height: u64, digest: B256) {
        self.heights.entry(height).or_default().certified.get_or_insert(digest);
        self.settle();
    }

    /// The counts so far.
    pub fn counts(&self) -> ReleaseCounts {
        self.heights.values().fold(self.settled, |mut counts, height| {
            count(&mut counts, height);
            counts
        })
    }

    fn settle(&mut self) {
        while self.heights.len() > MAX_AUDITED_HEIGHTS {
            if let Some((_, height)) = self.heights.pop_first() {
                count(&mut self.settled, &height);
            }
        }
    }
}

fn count(counts: &mut ReleaseCounts, height: &Height) {
    for (_, digest) in &height.released {
        match height.certified {
            None => counts.uncertified += 1,
            Some(certified) if certified == *digest => counts.after_final += 1,
            Some(_) => counts.before_final += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use blindfold_wire::Address;

    use super::*;

    fn header(member: u32, height: u64, digest: u8) -> BundleHeader {
        BundleHeader {
            chain_id: 1,
            settlement: Address::ZERO,
            height,
            commitment: B256::repeat_byte(digest),
            shares_root: B256::ZERO,
            member,
        }
    }

    #[test]
    fn any_order_of_events_counts_alike() {
        let bundles =
            [header(0, 1, 1), header(1, 1, 1), header(2, 1, 9), header(0, 2, 2), header(0, 1, 1)];
        let expected = ReleaseCounts { after_final: 2, before_final: 1, uncertified: 1 };
        for certify_at in 0..=bundles.len() {
            let mut audit = ReleaseAudit::new();
            for (index, bundle) in bundles.iter().enumerate() {
                if index == certify_at {
                    audit.on_certified(1, B256::repeat_byte(1));
                }
                audit.on_bundle(bundle);
            }
            audit.on_certified(1, B256::repeat_byte(1));
            assert_eq!(audit.counts(), expected, "certified before bundle {certify_at}");
            assert_eq!(audit.counts().opened_before_final(), 2);
        }
    }
}
