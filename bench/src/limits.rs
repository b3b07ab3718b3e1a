//! What a step could cost at best on this machine: formulas over primitives measured in the same run.
//!
//! Two limits. The one *by operations* adds up curve operations at the price that `blst` takes for each alone:
//! who calls `blst` and batches what can be batched gets there and no further. The one *by products* counts
//! products of the base field in the algorithms used here, where operations of many positions share their
//! inversions; below it only another algorithm gets. Hashing is in both; copying, allocating, comparing and
//! table look-ups are free. `docs/bench.md` lists the formulas.

use crate::{
    id::Id,
    interpolation::{Operations, combination},
    results::Results,
};

/// Members of the committee that figures without `n=` are for.
pub const MEMBERS: usize = 16;
/// Bytes of a message in figures without `bytes=`.
pub const MESSAGE_BYTES: usize = 256;

/// Sums with random coefficients −1, 0, 1 that tell the order of many points: 3⁻⁸¹ < 2⁻¹²⁸.
const ORDER_SUMS: f64 = 81.0;
/// The same for shares, where a miss costs no more than a blame: 3⁻⁴¹ < 2⁻⁶⁴.
const SHARE_ORDER_SUMS: f64 = 41.0;
/// Points whose combinations are tabulated for these sums, and additions that make such a table.
const ORDER_BLOCK: (f64, f64) = (3.0, 10.0);
/// Fixed-base multiplications of a re-seal: u, u̅, w, w̅ and r·Y.
const RESEAL_POINTS: f64 = 5.0;
/// Additions of one fixed-base multiplication by a secret: digits of five bits, none zero, and a correction.
const SECRET_FIXED_BASE_ADDITIONS: f64 = 53.0;
/// Products of adding an affine point to a projective one: a wallet has no many lanes to share inversions.
const MIXED_ADDITION_PRODUCTS: f64 = 11.0;
/// Additions of one fixed-base multiplication: a table with rows of eight bits.
const FIXED_BASE_ADDITIONS: f64 = 32.0;
/// A secret scalar in halves, digits of four bits, none zero: additions with the table of multiples, doublings.
const SECRET_MUL: Operations = Operations { additions: 67.0 + 7.0, doublings: 128.0 + 1.0 };
/// Bytes of the messages of stage `settle`: signed transfers of a token.
pub const TRANSFER_BYTES: usize = 180;
/// Bytes in the hashes of a sealing that do not depend on the message: seed, scalars, mask, key, challenge.
const SMALL_HASHES_BYTES: usize = 1_500;
/// Bytes that hashing is measured with.
const HASH_BYTES: usize = 300;

/// Shares needed of `members` members.
pub fn threshold(members: usize) -> usize {
    members - (members - 1) / 3
}

/// The members whose shares open: spread over the committee, as those who answer first are. Neighbours would
/// be a special case, for their interpolation has integer coefficients.
pub fn quorum(members: usize) -> Vec<usize> {
    let threshold = threshold(members);
    (0..threshold).map(|index| (2 * index + 1) * members / (2 * threshold)).collect()
}

/// The limits of one iteration, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// By the prices of `blst`'s operations.
    pub by_operations_ns: Option<f64>,
    /// By products of the base field.
    pub by_products_ns: Option<f64>,
}

/// The limits of a benchmark of stage `open` or `settle`; none without a formula, or when a primitive was not
/// measured.
pub fn limits(id: &Id, results: &Results) -> Limits {
    match id.stage.as_str() {
        "open" => {}
        "settle" => return limits_of_settling(id, results),
        _ => return Limits::default(),
    }
    let threads = id.number("threads").unwrap_or(1) as f64;
    let costs = Costs {
        results,
        batch: id.number("batch").unwrap_or(1),
        members: id.number("n").unwrap_or(MEMBERS),
        message_bytes: id.number("bytes").unwrap_or(MESSAGE_BYTES),
    };
    Limits {
        by_operations_ns: costs.by_operations(&id.operation).map(|ns| ns / threads),
        by_products_ns: costs.by_products(&id.operation).map(|ns| ns / threads),
    }
}

/// What deriving cannot do without: sealing every message again, and recovering the signer of each message and of
/// each envelope, and a leader for each height.
fn limits_of_settling(id: &Id, results: &Results) -> Limits {
    let items = results.measured.get(&id.to_string()).map(|measured| measured.items);
    let (Some(items), Some(heights), "derive") = (items, id.number("heights"), &*id.operation)
    else {
        return Limits::default();
    };
    let batch = usize::try_from(items).unwrap_or(usize::MAX);
    let costs = Costs { results, batch, members: MEMBERS, message_bytes: TRANSFER_BYTES };
    let signatures = Costs { batch: 2 * batch + heights, ..costs }.payer_recovery();
    Limits {
        by_operations_ns: costs.reseal().zip(signatures).map(|(a, b)| a + b),
        by_products_ns: costs.reseal_by_products().zip(signatures).map(|(a, b)| a + b),
    }
}

#[derive(Clone, Copy)]
struct Costs<'a> {
    results: &'a Results,
    batch: usize,
    members: usize,
    message_bytes: usize,
}

impl Costs<'_> {
    fn by_operations(&self, operation: &str) -> Option<f64> {
        match operation {
            "seal" => self.seal(),
            "payer_recovery" => self.payer_recovery(),
            "admission" => self.admission(),
            "share" => Some(self.for_each(self.primitive("g1_mul/bits=255")?)),
            "combine" => self.combine(),
            "open" | "reseal" => self.reseal(),
            "after_commit" => Some(self.combine()? + self.reseal()?),
            "blame" => self.blame(),
            "total" => self.sum(Self::by_operations),
            _ => None,
        }
    }

    fn by_products(&self, operation: &str) -> Option<f64> {
        match operation {
            "seal" => self.seal_by_products(),
            "payer_recovery" => self.payer_recovery(),
            "admission" => self.admission_by_products(),
            "share" => Some(self.for_each(self.products(SECRET_MUL)?)),
            "combine" => self.combine_by_products(),
            "open" | "reseal" => self.reseal_by_products(),
            "after_commit" => Some(self.combine_by_products()? + self.reseal_by_products()?),
            "blame" => self.blame_by_products(),
            "total" => self.sum(Self::by_products),
            _ => None,
        }
    }

    /// The whole path.
    fn sum(&self, of: impl Fn(&Self, &str) -> Option<f64>) -> Option<f64> {
        ["admission", "share", "after_commit"].iter().map(|step| of(self, step)).sum()
    }

    fn primitive(&self, id: &str) -> Option<f64> {
        self.results.each_ns(&format!("primitive::{id}"))
    }

    fn for_each(&self, ns: f64) -> f64 {
        ns * self.batch as f64
    }

    /// A multi-scalar multiplication, at the price for each point of the largest measured one that is not
    /// larger; of the smallest when all are larger.
    fn msm(&self, points: usize, bits: usize) -> Option<f64> {
        let sizes = [11, 512, 1024, 5632];
        let measured = |size: &usize| {
            let ns = self.primitive(&format!("g1_msm/bits={bits},points={size}"))?;
            Some(ns / *size as f64)
        };
        let fitting: Vec<_> = sizes.iter().filter(|size| **size <= points).collect();
        let each = fitting.into_iter().rev().find_map(measured);
        Some(each.or_else(|| sizes.iter().find_map(measured))? * points as f64)
    }

    fn hash(&self, bytes: usize) -> Option<f64> {
        let ns = self.primitive(&format!("keccak/bytes={HASH_BYTES}"))?;
        Some(ns * bytes as f64 / HASH_BYTES as f64)
    }

    /// Hashes of a sealing: the padded message, the body, and the small ones.
    fn seal_hashes(&self) -> Option<f64> {
        self.hash(2 * self.padded_bytes() + SMALL_HASHES_BYTES)
    }

    fn padded_bytes(&self) -> usize {
        blindfold_crypto::padded_len(self.message_bytes).unwrap_or(self.message_bytes)
    }

    /// 5·mul + hashes.
    fn seal(&self) -> Option<f64> {
        let ns = RESEAL_POINTS * self.primitive("g1_mul/bits=255")? + self.seal_hashes()?;
        Some(self.for_each(ns))
    }

    /// 5·53 mixed additions + hashes.
    fn seal_by_products(&self) -> Option<f64> {
        let products = RESEAL_POINTS * SECRET_FIXED_BASE_ADDITIONS * MIXED_ADDITION_PRODUCTS;
        let points = products * self.primitive("fp_mul/products=1000")?;
        Some(self.for_each(points + self.seal_hashes()?))
    }

    /// B·(4·decompress + subgroup + hash of body and points) + msm(2B, 255) + msm(2B, 128); for few, one by
    /// one, 2·(fixed-base + 128-bit mul) instead of the msm.
    fn admission(&self) -> Option<f64> {
        let points = self.decoding()? + self.for_each(self.primitive("g1_subgroup/points=1")?);
        let one =
            self.primitive("g1_fixed_base_mul/bits=255")? + self.primitive("g1_mul/bits=128")?;
        let sums = self.msm(2 * self.batch, 255)? + self.msm(2 * self.batch, 128)?;
        Some(points + sums.min(self.for_each(2.0 * one)))
    }

    /// The same with orders checked by random sums, and one sum of 6B terms of 128 bits: u and u̅ have
    /// weights of 255 bits, in halves.
    fn admission_by_products(&self) -> Option<f64> {
        let sum = self.products(bucket_sum(6.0 * self.batch as f64))?;
        let one = self.for_each(self.primitive("g1_fixed_base_mul/bits=255")?)
            + self.for_each(self.primitive("g1_mul/bits=128")?);
        Some(self.decoding()? + self.orders(self.batch as f64, ORDER_SUMS)? + sum.min(2.0 * one))
    }

    fn decoding(&self) -> Option<f64> {
        let decode = 4.0 * self.primitive("g1_decompress/points=1")?;
        Some(self.for_each(decode + self.hash(self.padded_bytes() + 300)?))
    }

    /// Whether points have prime order, by random sums or one by one.
    fn orders(&self, points: f64, sums: f64) -> Option<f64> {
        let check = self.primitive("g1_subgroup/points=1")?;
        let (block, table) = ORDER_BLOCK;
        let additions = points * (sums + table) / block;
        let by_sums = self.products(Operations { additions, doublings: 0.0 })? + sums * check;
        Some(by_sums.min(points * check))
    }

    fn products(&self, operations: Operations) -> Option<f64> {
        Some(operations.field_products() * self.primitive("fp_mul/products=1000")?)
    }

    /// B·(recovery + hash).
    fn payer_recovery(&self) -> Option<f64> {
        Some(self.for_each(self.primitive("secp256k1_recover/signatures=1")? + self.hash(200)?))
    }

    fn threshold(&self) -> usize {
        threshold(self.members)
    }

    /// Decoding `count` uncompressed shares of each position.
    fn decode_shares(&self, count: usize) -> Option<f64> {
        Some(self.for_each(count as f64 * self.primitive("g1_decode_raw/points=1")?))
    }

    /// B·(t·decode + msm(t, 255)).
    fn combine(&self) -> Option<f64> {
        let sum = self.msm(self.threshold(), 255)?;
        Some(self.decode_shares(self.threshold())? + self.for_each(sum))
    }

    /// B·(t·decode + combination by integers).
    fn combine_by_products(&self) -> Option<f64> {
        let sum = self.products(combination(&quorum(self.members)))?;
        Some(self.decode_shares(self.threshold())? + self.for_each(sum))
    }

    /// B·(5·fixed-base + hashes).
    fn reseal(&self) -> Option<f64> {
        let points = RESEAL_POINTS * self.primitive("g1_fixed_base_mul/bits=255")?;
        Some(self.for_each(points + self.seal_hashes()?))
    }

    /// B·(5·32 additions + hashes).
    fn reseal_by_products(&self) -> Option<f64> {
        let additions = RESEAL_POINTS * FIXED_BASE_ADDITIONS;
        let points = self.products(Operations { additions, doublings: 0.0 })?;
        Some(self.for_each(points + self.seal_hashes()?))
    }

    /// t·B·decode + (t + 1)·msm(B, 128) + one equation.
    fn blame(&self) -> Option<f64> {
        let sums = (self.threshold() + 1) as f64 * self.msm(self.batch, 128)?;
        Some(self.decode_shares(self.threshold())? + sums + self.equation()?)
    }

    /// The same with bucket sums of affine additions, and orders checked by random sums.
    fn blame_by_products(&self) -> Option<f64> {
        let members = self.threshold();
        let sums = (members + 1) as f64 * self.products(bucket_sum(self.batch as f64))?;
        let orders = self.orders((members * self.batch) as f64, SHARE_ORDER_SUMS)?;
        Some(self.decode_shares(members)? + sums + orders + self.equation()?)
    }

    /// A weighted sum of t keys, two Miller loops and a final exponentiation.
    fn equation(&self) -> Option<f64> {
        let keys = self.threshold() as f64 * self.primitive("g2_mul/bits=128")?;
        let pairing = 2.0 * self.primitive("miller_loop/pairs=1")?
            + self.primitive("final_exponentiation/pairs=1")?;
        Some(keys + pairing)
    }
}

/// A sum of `terms` points with weights of 128 bits, by buckets of signed digits: for the best width w,
/// ⌈129 / w⌉ windows, each with an addition for each point and two for each of the 2^(w−1) buckets.
fn bucket_sum(terms: f64) -> Operations {
    let additions = (4usize..=12)
        .map(|width| 129usize.div_ceil(width) as f64 * (terms + (2 << (width - 1)) as f64))
        .fold(f64::INFINITY, f64::min);
    Operations { additions, doublings: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Measured;

    fn results() -> Results {
        let mut results = Results::default();
        for (id, median_ns, items) in [
            ("primitive::g1_mul/bits=255", 100.0, 1),
            ("primitive::g1_mul/bits=128", 70.0, 1),
            ("primitive::g1_fixed_base_mul/bits=255", 20.0, 1),
            ("primitive::g1_decompress/points=1", 10.0, 1),
            ("primitive::g1_subgroup/points=1", 30.0, 1),
            ("primitive::g1_decode_raw/points=1", 2.0, 1),
            ("primitive::g1_msm/bits=255,points=11", 440.0, 1),
            ("primitive::g1_msm/bits=255,points=512", 5120.0, 1),
            ("primitive::g1_msm/bits=128,points=512", 2560.0, 1),
            ("primitive::g2_mul/bits=128", 150.0, 1),
            ("primitive::miller_loop/pairs=1", 200.0, 1),
            ("primitive::final_exponentiation/pairs=1", 300.0, 1),
            ("primitive::keccak/bytes=300", 0.0, 1),
            ("primitive::fp_mul/products=1000", 1000.0, 1000),
            ("primitive::secp256k1_recover/signatures=1", 25.0, 1),
            ("settle::derive/heights=2", 6_100.0, 20),
        ] {
            let measured =
                Measured { id: id.parse().unwrap(), median_ns, deviation_ns: 0.0, items };
            results.measured.insert(id.to_owned(), measured);
        }
        results
    }

    fn limit(id: &str) -> Limits {
        limits(&id.parse().unwrap(), &results())
    }

    fn by_operations(id: &str) -> f64 {
        limit(id).by_operations_ns.unwrap()
    }

    fn by_products(id: &str) -> f64 {
        limit(id).by_products_ns.unwrap()
    }

    #[test]
    fn prices_add_up() {
        for (id, expected) in [
            ("open::seal/bytes=256", 500.0),
            ("open::share/batch=512", 51_200.0),
            ("open::share/batch=10,n=4", 1_000.0),
            ("open::payer_recovery/batch=4", 100.0),
            // Points 40 + 30; one by one 2·(20 + 70), which is less than sums of 2 points at 40 and 5.
            ("open::admission/batch=1", 70.0 + 90.0),
            // In a batch 2·512 points at 10 and at 5 each.
            ("open::admission/batch=512", 512.0 * 70.0 + 1024.0 * 15.0),
            ("open::reseal/batch=2", 200.0),
            // t = 3 of 4: decoding, and a sum of three at 40.
            ("open::combine/batch=1,n=4", 6.0 + 120.0),
            ("open::blame/batch=512,n=4", 3072.0 + 4.0 * 2560.0 + 3.0 * 150.0 + 700.0),
            // 20 envelopes of 2 heights: five points and two signatures of each, and one for each height.
            ("settle::derive/heights=2", 20.0 * 100.0 + 42.0 * 25.0),
        ] {
            assert_eq!(by_operations(id), expected, "{id}");
        }
    }

    #[test]
    fn products_add_up() {
        for (id, expected) in [
            ("open::share/batch=2", 2.0 * (6.0 * 74.0 + 7.0 * 129.0)),
            ("open::combine/batch=1,n=4", 6.0 + combination(&[0, 2, 3]).field_products()),
            ("open::reseal/batch=2", 2.0 * 960.0),
            ("open::seal/bytes=256", 265.0 * 11.0),
        ] {
            assert_eq!(by_products(id), expected, "{id}");
        }
        assert_eq!(limit("open::undecryptable/batch=1").by_products_ns, None);
        // 512 points: 91 additions for each three, or 30 for a check of each.
        let admission = by_products("open::admission/batch=512");
        let sum = bucket_sum(3072.0).field_products().min(512.0 * 180.0);
        assert_eq!(admission, 512.0 * 40.0 + (512.0f64 * 30.0).min(512.0 * 182.0 + 2430.0) + sum);
        assert_eq!(bucket_sum(1.0).additions, 33.0 * 17.0);
    }

    #[test]
    fn the_whole_is_the_sum_of_its_parts() {
        for limit in [by_operations, by_products] {
            let parts = ["admission", "share", "after_commit"]
                .map(|part| limit(&format!("open::{part}/batch=512")));
            let whole = parts.iter().sum::<f64>();
            assert_eq!(limit("open::total/batch=512"), whole);
            assert_eq!(limit("open::total/batch=512,threads=2"), whole / 2.0);
        }
    }

    #[test]
    fn nothing_is_invented() {
        let none = Limits::default();
        assert_eq!(limit("open::unheard_of/batch=1"), none);
        assert_eq!(limit("baseline::share/batch=1"), none);
        assert_eq!(limit("settle::encode/heights=2"), none);
        assert_eq!(limit("settle::derive/heights=3"), none, "not measured");
        for operation in ["seal", "admission", "share", "combine", "blame", "total"] {
            let id = format!("open::{operation}/batch=512").parse().unwrap();
            assert_eq!(limits(&id, &Results::default()), none, "{operation}");
        }
    }

    #[test]
    fn thresholds_are_quorums() {
        assert_eq!(quorum(4), [0, 2, 3]);
        assert_eq!(quorum(16), [0, 2, 3, 5, 6, 8, 9, 10, 12, 13, 15]);
        assert_eq!([4, 7, 16, 32, 64].map(threshold), [3, 5, 11, 22, 43]);
    }
}
