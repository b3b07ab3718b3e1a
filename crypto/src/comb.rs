//! Fixed-base multiplication by public scalars: a table of window multiples, additions only.

use crate::group::{CurvePoint, Scalar, Subgroup, Sum, to_affine_all};

/// Bits of a window.
const WINDOW_BITS: usize = 8;
/// Windows of a 255-bit scalar. The top window stays below 2⁷ with its carry, so none follows.
pub(crate) const WINDOWS: usize = 32;
/// Signed digits use the multiples 1..=2⁷ of a window's base.
const ROW: usize = 1 << (WINDOW_BITS - 1);

/// Multiples of one base: 32 rows of 128 affine points, 384 KiB.
pub(crate) struct Comb {
    rows: Vec<CurvePoint>,
}

impl Comb {
    pub(crate) fn new(base: &Subgroup) -> Self {
        let mut sums = Vec::with_capacity(WINDOWS * ROW);
        let mut step = base.point().to_sum();
        for _ in 0..WINDOWS {
            let mut multiple = step;
            sums.push(multiple);
            for _ in 1..ROW {
                multiple = multiple.add(&step);
                sums.push(multiple);
            }
            // The last multiple is 2⁷ times the step; the next row starts at 2⁸.
            step = multiple.double();
        }
        Self { rows: to_affine_all(&sums) }
    }

    /// scalar · base, about 32 additions. Time and memory access depend on the scalar: public
    /// scalars only.
    pub(crate) fn mul_public(&self, scalar: &Scalar) -> Sum {
        let digits = Digits::of(scalar);
        (0..WINDOWS)
            .filter_map(|window| self.multiple(window, &digits))
            .fold(Sum::zero(), |sum, multiple| sum.add_affine(&multiple))
    }

    /// What a window's digit adds to the product.
    pub(crate) fn multiple(&self, window: usize, digits: &Digits) -> Option<CurvePoint> {
        let digit = digits.0[window];
        let magnitude = usize::from(digit.unsigned_abs());
        let multiple = self.rows.get(window * ROW + magnitude.checked_sub(1)?)?;
        Some(if digit < 0 { multiple.negate() } else { *multiple })
    }
}

/// A public scalar in signed digits of [`WINDOW_BITS`] bits, from −127 to 128, lowest first.
#[derive(Clone, Copy)]
pub(crate) struct Digits([i16; WINDOWS]);

impl Digits {
    pub(crate) fn of(scalar: &Scalar) -> Self {
        let mut carry = 0;
        let digits = scalar.to_le_bytes().map(|byte| {
            let digit = i16::from(byte) + carry;
            carry = i16::from(digit > ROW as i16);
            digit - (carry << WINDOW_BITS)
        });
        debug_assert_eq!(carry, 0, "a canonical scalar leaves no carry");
        Self(digits)
    }
}
