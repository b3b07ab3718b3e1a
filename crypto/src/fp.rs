//! The base field of BLS12-381 on `blst`: what [`crate::lanes`] computes with.

use std::mem::MaybeUninit;

use blst::*;

/// An element of the base field, in `blst`'s Montgomery form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fp(pub(crate) blst_fp);

/// Defines a binary operation by the function of `blst` that performs it.
macro_rules! binary {
    ($name:ident, $function:ident) => {
        pub(crate) fn $name(&self, other: &Self) -> Self {
            let mut out = MaybeUninit::<blst_fp>::uninit();
            // SAFETY: three pointers to field elements; the first is written in full.
            unsafe {
                $function(out.as_mut_ptr(), &self.0, &other.0);
                Self(out.assume_init())
            }
        }
    };
}

impl Fp {
    binary!(add, blst_fp_add);
    binary!(sub, blst_fp_sub);
    binary!(mul, blst_fp_mul);

    pub(crate) fn one() -> Self {
        let mut out = blst_fp::default();
        // SAFETY: six limbs in, a field element out.
        unsafe { blst_fp_from_uint64(&mut out, [1, 0, 0, 0, 0, 0].as_ptr()) };
        Self(out)
    }

    pub(crate) fn square(&self) -> Self {
        let mut out = MaybeUninit::<blst_fp>::uninit();
        // SAFETY: two pointers to field elements; the first is written in full.
        unsafe {
            blst_fp_sqr(out.as_mut_ptr(), &self.0);
            Self(out.assume_init())
        }
    }

    pub(crate) fn triple(&self) -> Self {
        let mut out = MaybeUninit::<blst_fp>::uninit();
        // SAFETY: two pointers to field elements; the first is written in full.
        unsafe {
            blst_fp_mul_by_3(out.as_mut_ptr(), &self.0);
            Self(out.assume_init())
        }
    }

    pub(crate) fn negate(&self) -> Self {
        let mut out = MaybeUninit::<blst_fp>::uninit();
        // SAFETY: two pointers to field elements; the first is written in full.
        unsafe {
            blst_fp_cneg(out.as_mut_ptr(), &self.0, true);
            Self(out.assume_init())
        }
    }

    /// Multiplicative inverse; zero for zero.
    pub(crate) fn inverse(&self) -> Self {
        let mut out = blst_fp::default();
        // SAFETY: two pointers to field elements.
        unsafe { blst_fp_eucl_inverse(&mut out, &self.0) };
        Self(out)
    }

    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.0.l.iter().fold(0, |sum, limb| sum | limb) == 0
    }
}
