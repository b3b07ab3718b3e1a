//! Which rules a block runs under.

use revm::primitives::hardfork::SpecId;

/// The hard forks of Ethereum that changed what transactions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "they are their names")]
pub enum Fork {
    Frontier,
    Homestead,
    Tangerine,
    SpuriousDragon,
    Byzantium,
    Petersburg,
    Istanbul,
    Berlin,
    London,
    Paris,
    Shanghai,
    Cancun,
    Prague,
    Osaka,
}

/// Mainnet's forks that a block number starts, newest first.
const BY_NUMBER: [(u64, Fork); 10] = [
    (15_537_394, Fork::Paris),
    (12_965_000, Fork::London),
    (12_244_000, Fork::Berlin),
    (9_069_000, Fork::Istanbul),
    (7_280_000, Fork::Petersburg),
    (4_370_000, Fork::Byzantium),
    (2_675_000, Fork::SpuriousDragon),
    (2_463_000, Fork::Tangerine),
    (1_150_000, Fork::Homestead),
    (0, Fork::Frontier),
];

/// Mainnet's forks that a timestamp starts, newest first.
const BY_TIMESTAMP: [(u64, Fork); 4] = [
    (1_764_798_551, Fork::Osaka),
    (1_746_612_311, Fork::Prague),
    (1_710_338_135, Fork::Cancun),
    (1_681_338_455, Fork::Shanghai),
];

/// How mainnet's blob parameters changed after Cancun, newest first: from which timestamp, and the
/// update fraction of the blob base fee (EIP-7892).
const BLOB_UPDATE_FRACTIONS: [(u64, u64); 4] = [
    (1_767_747_671, 11_684_671),
    (1_765_290_071, 8_346_193),
    (1_746_612_311, Fork::Prague.blob_update_fraction()),
    (0, Fork::Cancun.blob_update_fraction()),
];

impl Fork {
    /// Every fork, oldest first.
    pub const ALL: [Self; 14] = [
        Self::Frontier,
        Self::Homestead,
        Self::Tangerine,
        Self::SpuriousDragon,
        Self::Byzantium,
        Self::Petersburg,
        Self::Istanbul,
        Self::Berlin,
        Self::London,
        Self::Paris,
        Self::Shanghai,
        Self::Cancun,
        Self::Prague,
        Self::Osaka,
    ];

    /// The fork that governs a block of Ethereum's mainnet.
    #[must_use]
    pub fn of_mainnet(number: u64, timestamp_s: u64) -> Self {
        let started = |at: u64, forks: &[(u64, Self)]| {
            forks.iter().find(|(start, _)| at >= *start).map(|(_, fork)| *fork)
        };
        match started(number, &BY_NUMBER) {
            Some(Self::Paris) => started(timestamp_s, &BY_TIMESTAMP).unwrap_or(Self::Paris),
            fork => fork.unwrap_or(Self::Frontier),
        }
    }

    /// The update fraction of mainnet's blob base fee at a time.
    #[must_use]
    pub fn mainnet_blob_update_fraction(timestamp_s: u64) -> u64 {
        BLOB_UPDATE_FRACTIONS
            .iter()
            .find(|(start, _)| timestamp_s >= *start)
            .map_or(Self::Cancun.blob_update_fraction(), |(_, fraction)| *fraction)
    }

    /// The fork of this name, as test fixtures, clients and the `spec` of a block manifest spell it;
    /// neither case nor separators matter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain: String =
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        Some(match plain.as_str() {
            "frontier" | "frontierthawing" => Self::Frontier,
            "homestead" | "dao" | "daofork" => Self::Homestead,
            "tangerine" | "tangerinewhistle" | "eip150" => Self::Tangerine,
            "spuriousdragon" | "eip158" | "eip161" => Self::SpuriousDragon,
            "byzantium" => Self::Byzantium,
            // Mainnet never ran Constantinople's own rules: Petersburg came with the same block.
            "petersburg" | "constantinoplefix" | "constantinoplepetersburg" => Self::Petersburg,
            "istanbul" | "muirglacier" => Self::Istanbul,
            "berlin" => Self::Berlin,
            "london" | "arrowglacier" | "grayglacier" => Self::London,
            "paris" | "merge" => Self::Paris,
            "shanghai" => Self::Shanghai,
            "cancun" => Self::Cancun,
            "prague" => Self::Prague,
            "osaka" => Self::Osaka,
            _ => return None,
        })
    }

    /// Its name, as [`Self::from_name`] reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frontier => "Frontier",
            Self::Homestead => "Homestead",
            Self::Tangerine => "Tangerine",
            Self::SpuriousDragon => "SpuriousDragon",
            Self::Byzantium => "Byzantium",
            Self::Petersburg => "Petersburg",
            Self::Istanbul => "Istanbul",
            Self::Berlin => "Berlin",
            Self::London => "London",
            Self::Paris => "Paris",
            Self::Shanghai => "Shanghai",
            Self::Cancun => "Cancun",
            Self::Prague => "Prague",
            Self::Osaka => "Osaka",
        }
    }

    /// Whether receipts hold a status rather than a state root (EIP-658): from here on the receipts
    /// root can be computed without the states in between.
    #[must_use]
    pub fn has_receipt_status(self) -> bool {
        self >= Self::Byzantium
    }

    /// The update fraction of the blob base fee that the fork started with.
    #[must_use]
    pub const fn blob_update_fraction(self) -> u64 {
        match self {
            Self::Prague | Self::Osaka => 5_007_716,
            _ => 3_338_477,
        }
    }

    pub(crate) const fn spec(self) -> SpecId {
        match self {
            Self::Frontier => SpecId::FRONTIER,
            Self::Homestead => SpecId::HOMESTEAD,
            Self::Tangerine => SpecId::TANGERINE,
            Self::SpuriousDragon => SpecId::SPURIOUS_DRAGON,
            Self::Byzantium => SpecId::BYZANTIUM,
            Self::Petersburg => SpecId::PETERSBURG,
            Self::Istanbul => SpecId::ISTANBUL,
            Self::Berlin => SpecId::BERLIN,
            Self::London => SpecId::LONDON,
            Self::Paris => SpecId::MERGE,
            Self::Shanghai => SpecId::SHANGHAI,
            Self::Cancun => SpecId::CANCUN,
            Self::Prague => SpecId::PRAGUE,
            Self::Osaka => SpecId::OSAKA,
        }
    }
}

impl std::fmt::Display for Fork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_start_where_mainnet_started_them() {
        for (number, timestamp_s, fork) in [
            (0, 0, Fork::Frontier),
            (1_149_999, 1_457_981_342, Fork::Frontier),
            (1_150_000, 1_457_981_393, Fork::Homestead),
            (2_462_999, 1_476_796_747, Fork::Homestead),
            (2_463_000, 1_476_796_771, Fork::Tangerine),
            (2_675_000, 1_479_831_344, Fork::SpuriousDragon),
            (4_369_999, 1_508_131_303, Fork::SpuriousDragon),
            (4_370_000, 1_508_131_331, Fork::Byzantium),
            (7_279_999, 1_551_383_501, Fork::Byzantium),
            (7_280_000, 1_551_383_524, Fork::Petersburg),
            (9_069_000, 1_575_764_709, Fork::Istanbul),
            (12_244_000, 1_618_481_223, Fork::Berlin),
            (12_965_000, 1_628_166_822, Fork::London),
            (15_537_393, 1_663_224_162, Fork::London),
            (15_537_394, 1_663_224_179, Fork::Paris),
            (17_034_869, 1_681_338_443, Fork::Paris),
            (17_034_870, 1_681_338_479, Fork::Shanghai),
            (19_426_587, 1_710_338_135, Fork::Cancun),
            (22_431_084, 1_746_612_311, Fork::Prague),
            (23_935_694, 1_764_798_551, Fork::Osaka),
        ] {
            assert_eq!(Fork::of_mainnet(number, timestamp_s), fork, "block {number}");
        }
        assert_eq!(Fork::mainnet_blob_update_fraction(1_710_338_135), 3_338_477);
        assert_eq!(Fork::mainnet_blob_update_fraction(1_764_798_551), 5_007_716);
        assert_eq!(Fork::mainnet_blob_update_fraction(1_767_747_671), 11_684_671);
    }

    #[test]
    fn names_lead_back() {
        for fork in Fork::ALL {
            assert_eq!(Fork::from_name(fork.name()), Some(fork));
            assert_eq!(Fork::from_name(&fork.name().to_uppercase()), Some(fork));
        }
        assert!(Fork::ALL.is_sorted());
        assert_eq!(Fork::from_name("SPURIOUS_DRAGON"), Some(Fork::SpuriousDragon));
        assert_eq!(Fork::from_name("MERGE"), Some(Fork::Paris));
        assert_eq!(Fork::from_name("Constantinople"), None);
        assert_eq!(Fork::from_name(""), None);
    }
}
