//! Eight lanes of AVX-512.

use std::arch::x86_64::{
    __m512i, _mm512_rol_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_ternarylogic_epi64,
    _mm512_xor_si512,
};

use super::lanes::{ROUNDS, lanes};
use super::{B256, BLOCK_BYTES, Messages};

type Word = __m512i;

/// The hash of each message; nothing if this processor lacks the instructions.
pub(super) fn hash(messages: &Messages) -> Option<Vec<B256>> {
    // SAFETY: the processor has the instructions.
    std::arch::is_x86_feature_detected!("avx512f").then(|| unsafe { hash_lanes(messages) })
}

lanes!("avx512f", 8);

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> Word {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(value: u64) -> Word {
    _mm512_set1_epi64(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(lanes: [u64; 8]) -> Word {
    // SAFETY: as many bytes, without padding or invalid values.
    unsafe { std::mem::transmute(lanes) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: Word, b: Word) -> Word {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn parity(a: Word, b: Word, c: Word, d: Word, e: Word) -> Word {
    let abc = _mm512_ternarylogic_epi64::<0x96>(a, b, c);
    _mm512_ternarylogic_epi64::<0x96>(abc, d, e)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const BITS: i32, const REST: i32>(a: Word) -> Word {
    _mm512_rol_epi64::<BITS>(a)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn chi(a: Word, b: Word, c: Word) -> Word {
    // a ⊕ (¬b ∧ c) is the table 0xd2.
    _mm512_ternarylogic_epi64::<0xd2>(a, b, c)
}
