//! Fixed-base multiplication: tables of window multiples, additions only. [`Comb`] is for public scalars,
//! [`SecretComb`] for secret ones.

use std::hint::black_box;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

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

/// Bits of a window for secret scalars: small, for all of a row is read.
const SECRET_BITS: usize = 5;
/// Windows below the highest, whose digit is always one.
const SECRET_WINDOWS: usize = 51;
/// Odd multiples 1, 3 … 31.
const SECRET_ROW: usize = 1 << (SECRET_BITS - 1);

/// Odd multiples of one base: 51 rows of 16 affine points, 77 KiB.
pub(crate) struct SecretComb {
    rows: Vec<CurvePoint>,
    /// 2²⁵⁵ times the base.
    top: CurvePoint,
    /// The base and its double, both negated.
    corrections: [CurvePoint; 2],
}

impl SecretComb {
    pub(crate) fn new(base: &Subgroup) -> Self {
        let mut sums = Vec::with_capacity(SECRET_WINDOWS * SECRET_ROW + 3);
        let mut step = base.point().to_sum();
        for _ in 0..SECRET_WINDOWS {
            let (mut multiple, twice) = (step, step.double());
            sums.push(multiple);
            for _ in 1..SECRET_ROW {
                multiple = multiple.add(&twice);
                sums.push(multiple);
            }
            // The last multiple is 31 times the step.
            step = multiple.add(&step);
        }
        let base = base.point().to_sum();
        sums.extend([step, base.negate(), base.double().negate()]);
        let mut rows = to_affine_all(&sums);
        let mut last = || rows.pop().unwrap_or_default();
        let (twice, once, top) = (last(), last(), last());
        Self { rows, top, corrections: [once, twice] }
    }

    /// scalar · base in constant time: 52 additions, in which every row is read. The recoding is that of
    /// [`crate::secret`].
    pub(crate) fn mul_secret(&self, scalar: &Scalar) -> Sum {
        let scalar = Zeroizing::new(scalar.to_le_bytes());
        let odd = black_box(scalar[0] & 1);
        // The scalar made odd by adding one or two; a byte more, for windows are read by two.
        let mut bytes = Zeroizing::new([0u8; 33]);
        let mut carry = u16::from(1 + odd);
        for (byte, scalar) in bytes.iter_mut().zip(scalar.iter()) {
            carry += u16::from(*scalar);
            *byte = carry as u8;
            carry >>= 8;
        }
        let mut sum = self.top.to_sum();
        let mut chosen = CurvePoint::default();
        for (window, row) in self.rows.chunks_exact(SECRET_ROW).enumerate() {
            let (byte, bit) = (window * SECRET_BITS / 8, window * SECRET_BITS % 8);
            let bits = u16::from_le_bytes([bytes[byte], bytes[byte + 1]]) >> bit;
            choose(&mut chosen, row, (bits as i8 & 62 | 1) - 32);
            sum = sum.add_affine(&chosen);
        }
        let [mut correction, twice] = self.corrections;
        correction.assign_if(&twice, Choice::from(odd));
        sum = sum.add_affine(&correction);
        chosen.wipe();
        correction.wipe();
        sum
    }
}

/// The multiple that an odd digit stands for; reads the whole row.
fn choose(chosen: &mut CurvePoint, row: &[CurvePoint], digit: i8) {
    let digit = OddDigit::new(digit);
    for (place, multiple) in (0u8..).zip(row) {
        chosen.assign_if(multiple, place.ct_eq(&digit.place));
    }
    chosen.assign_if(&chosen.negate(), digit.negative);
}

/// A secret odd digit: where its multiple stands among 1, 3, 5 …, and whether it is negated.
pub(crate) struct OddDigit {
    pub(crate) place: u8,
    pub(crate) negative: Choice,
}

impl OddDigit {
    pub(crate) fn new(digit: i8) -> Self {
        // All ones for a negative digit.
        let sign = digit >> 7;
        let magnitude = ((digit ^ sign) - sign) as u8;
        Self { place: magnitude >> 1, negative: Choice::from(black_box(sign as u8 & 1)) }
    }
}
