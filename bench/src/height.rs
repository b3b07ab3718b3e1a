//! A height to open: a committee, sealed messages, and everyone's shares.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use blindfold_crypto::{
    Ciphertext, Column, CommitteePublic, EphemeralPoint, Label, Seed, Share,
    dealer::{self, Dealt},
    seal,
};

/// A committee with sealed messages of its own.
pub struct Height {
    /// The keys.
    pub dealt: Dealt,
    /// Their public side.
    pub public: CommitteePublic,
    /// What is sealed.
    pub sealed: Vec<(Label, Ciphertext)>,
}

/// 32 bytes that differ for every index and purpose.
pub fn bytes(purpose: u8, index: usize) -> [u8; 32] {
    let mut bytes = [purpose; 32];
    bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

impl Height {
    /// `count` messages of `message_bytes` bytes for `members` members, of which n − f are needed.
    ///
    /// # Panics
    /// If nothing can be dealt for so many members.
    pub fn new(members: usize, count: usize, message_bytes: usize) -> Self {
        let threshold = crate::limits::threshold(members);
        let dealt = dealer::deal(members, threshold, [7; 32]).expect("a committee");
        let public = dealt.public().expect("consistent keys");
        let sealed = (0..count)
            .map(|index| {
                let (label, seed) = (Label(bytes(1, index)), Seed::from_bytes(bytes(2, index)));
                let message: Vec<u8> =
                    bytes(3, index).into_iter().cycle().take(message_bytes).collect();
                let sealed = seal(public.key(), &label, &seed, &message).expect("short enough");
                (label, sealed)
            })
            .collect();
        Self { dealt, public, sealed }
    }

    /// As [`Height::new`], made once for each shape: benchmarks that are not asked for cost nothing.
    ///
    /// # Panics
    /// As [`Height::new`].
    pub fn cached(members: usize, count: usize, message_bytes: usize) -> &'static Self {
        static MADE: LazyLock<Mutex<HashMap<[usize; 3], &Height>>> = LazyLock::new(Mutex::default);
        let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        made.entry([members, count, message_bytes])
            .or_insert_with(|| Box::leak(Box::new(Self::new(members, count, message_bytes))))
    }

    /// What is sealed, as a check of many takes it.
    pub fn statements(&self) -> Vec<(Label, &Ciphertext)> {
        self.sealed.iter().map(|(label, sealed)| (*label, sealed)).collect()
    }

    /// What is sealed, by reference.
    pub fn items(&self) -> Vec<(&Label, &Ciphertext)> {
        self.sealed.iter().map(|(label, sealed)| (label, sealed)).collect()
    }

    /// The points u.
    ///
    /// # Panics
    /// Never: what was sealed here has valid points.
    pub fn ephemeral(&self) -> Vec<EphemeralPoint> {
        let points = self.sealed.iter().map(|(_, sealed)| EphemeralPoint::from_bytes(&sealed.u));
        points.collect::<Result<_, _>>().expect("valid points")
    }

    /// The shares of a quorum.
    ///
    /// # Panics
    /// Never: what was sealed here has valid points.
    pub fn shares(&self) -> Vec<(usize, Vec<Share>)> {
        let points = self.ephemeral();
        let shares = |member: usize| (member, self.dealt.keys[member].shares(&points));
        crate::limits::quorum(self.public.members()).into_iter().map(shares).collect()
    }
}

/// Shares as columns.
pub fn columns(shares: &[(usize, Vec<Share>)]) -> Vec<Column<'_>> {
    shares.iter().map(|(member, shares)| Column { member: *member, shares }).collect()
}
