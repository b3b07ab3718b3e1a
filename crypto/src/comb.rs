//! Fixed-base multiplication by public scalars: a table of window multiples, additions only.

use crate::group::{CurvePoint, Scalar, Subgroup, Sum, to_affine_all};

/// Bits of a window.
const WINDOW_BITS: usize = 8;
/// Windows of a 255-bit scalar. The top window stays below 2⁷ with its carry, so none follows.
const WINDOWS: usize = 32;
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
        let mut sum = Sum::zero();
        let mut carry = 0u16;
        for (byte, row) in scalar.to_le_bytes().iter().zip(self.rows.chunks_exact(ROW)) {
            let digit = u16::from(*byte) + carry;
            let negative = usize::from(digit) > ROW;
            carry = u16::from(negative);
            let magnitude =
                if negative { (1 << WINDOW_BITS) - usize::from(digit) } else { usize::from(digit) };
            if magnitude == 0 {
                continue;
            }
            let Some(multiple) = row.get(magnitude - 1) else { continue };
            sum = if negative {
                sum.add(&multiple.to_sum().negate())
            } else {
                sum.add_affine(multiple)
            };
        }
        debug_assert_eq!(carry, 0, "a canonical scalar leaves no carry");
        sum
    }
}
