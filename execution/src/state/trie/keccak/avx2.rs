//! Four lanes of AVX2.

use std::arch::x86_64::{
    __m256i, _mm256_andnot_si256, _mm256_or_si256, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
};

use super::lanes::{ROUNDS, lanes};
use super::{B256, BLOCK_BYTES, Messages};

type Word = __m256i;

/// The hash of each message; nothing if this processor lacks the instructions.
pub(super) fn hash(messages: &Messages) -> Option<Vec<B256>> {
    // SAFETY: the processor has the instructions.
    std::arch::is_x86_feature_detected!("avx2").then(|| unsafe { hash_lanes(messages) })
}

lanes!("avx2", 4);

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> Word {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(value: u64) -> Word {
    _mm256_set1_epi64x(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: [u64; 4]) -> Word {
    // SAFETY: as many bytes, without padding or invalid values.
    unsafe { std::mem::transmute(lanes) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: Word, b: Word) -> Word {
    _mm256_xor_si256(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn parity(a: Word, b: Word, c: Word, d: Word, e: Word) -> Word {
    xor(xor(xor(a, b), xor(c, d)), e)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const BITS: i32, const REST: i32>(a: Word) -> Word {
    _mm256_or_si256(_mm256_slli_epi64::<BITS>(a), _mm256_srli_epi64::<REST>(a))
}

#[inline]
#[target_feature(enable = "avx2")]
fn chi(a: Word, b: Word, c: Word) -> Word {
    xor(a, _mm256_andnot_si256(b, c))
}
