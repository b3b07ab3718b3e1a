//! Keccak-f[1600] over the lanes of a vector register, for whatever registers there are.
//!
//! [`lanes!`] writes the code out for one kind of register, because a function with a target feature is only inlined
//! into one that has it, too.

/// Round constants: FIPS 202, algorithm 5.
pub(super) const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Writes `hash_lanes(&Messages) -> Vec<B256>` for a register with so many lanes of 64 bits. In scope are its type
/// `Word` and functions over it, all with the same target feature: `zero()`, `splat(u64)`, `xor(a, b)`,
/// `parity(a, b, c, d, e)`, `rotate::<BITS, REST>(a)` with `BITS + REST = 64`, `chi(a, b, c)` = a ⊕ (¬b ∧ c), and
/// `load([u64; LANES])`.
macro_rules! lanes {
    ($feature:literal, $lanes:literal) => {
        /// Messages with as many blocks go together.
        #[target_feature(enable = $feature)]
        fn hash_lanes(messages: &Messages) -> Vec<B256> {
            let blocks = |number: usize| messages.places[number].1 / BLOCK_BYTES + 1;
            let mut order: Vec<usize> = (0..messages.places.len()).collect();
            order.sort_unstable_by_key(|number| blocks(*number));
            let mut hashes = vec![B256::ZERO; order.len()];
            for group in order.chunk_by(|a, b| blocks(*a) == blocks(*b)) {
                for numbers in group.chunks($lanes) {
                    // Lanes without a message of their own repeat the first.
                    let starts: [usize; $lanes] = std::array::from_fn(|lane| {
                        messages.places[*numbers.get(lane).unwrap_or(&numbers[0])].0
                    });
                    let state = absorb(&messages.bytes, starts, blocks(numbers[0]));
                    for (word, lanes) in state[..4].iter().enumerate() {
                        // SAFETY: as many bytes, without padding or invalid values.
                        let lanes: [u64; $lanes] = unsafe { std::mem::transmute(*lanes) };
                        for (number, lane) in numbers.iter().zip(lanes) {
                            hashes[*number].0[8 * word..8 * word + 8]
                                .copy_from_slice(&lane.to_le_bytes());
                        }
                    }
                }
            }
            hashes
        }

        #[target_feature(enable = $feature)]
        fn absorb(bytes: &[u8], starts: [usize; $lanes], blocks: usize) -> [Word; 25] {
            let mut state = [zero(); 25];
            for block in 0..blocks {
                let lanes = starts.map(|start| {
                    let at = start + block * BLOCK_BYTES;
                    let (words, _) = bytes[at..at + BLOCK_BYTES].as_chunks::<8>();
                    words
                });
                for word in 0..BLOCK_BYTES / 8 {
                    let input = load(lanes.map(|words| u64::from_le_bytes(words[word])));
                    state[word] = xor(state[word], input);
                }
                permute(&mut state);
            }
            state
        }

        /// Keccak-f[1600] in every lane: FIPS 202, section 3.3. Word (x, y) lies at x + 5·y.
        #[target_feature(enable = $feature)]
        fn permute(state: &mut [Word; 25]) {
            let mut s = *state;
            for round in ROUNDS {
                // θ: the parity of each column, and what the neighbours' add to it.
                let c: [Word; 5] = [
                    parity(s[0], s[5], s[10], s[15], s[20]),
                    parity(s[1], s[6], s[11], s[16], s[21]),
                    parity(s[2], s[7], s[12], s[17], s[22]),
                    parity(s[3], s[8], s[13], s[18], s[23]),
                    parity(s[4], s[9], s[14], s[19], s[24]),
                ];
                let d = [
                    xor(c[4], rotate::<1, 63>(c[1])),
                    xor(c[0], rotate::<1, 63>(c[2])),
                    xor(c[1], rotate::<1, 63>(c[3])),
                    xor(c[2], rotate::<1, 63>(c[4])),
                    xor(c[3], rotate::<1, 63>(c[0])),
                ];
                // θ applied, ρ and π: the word from (x, y), rotated, in the order of where it goes. χ follows row by
                // row, so that a row at a time is in registers.
                macro_rules! moved {
                    ($x:literal, $y:literal, $by:literal) => {
                        rotate::<$by, { 64 - $by }>(xor(s[$x + 5 * $y], d[$x]))
                    };
                }
                macro_rules! row {
                    ($t:ident, $y:literal, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
                        let (a, b, c, d, e) = ($a, $b, $c, $d, $e);
                        $t[5 * $y] = chi(a, b, c);
                        $t[5 * $y + 1] = chi(b, c, d);
                        $t[5 * $y + 2] = chi(c, d, e);
                        $t[5 * $y + 3] = chi(d, e, a);
                        $t[5 * $y + 4] = chi(e, a, b);
                    };
                }
                let mut t = [zero(); 25];
                row!(
                    t, 0,
                    xor(s[0], d[0]), moved!(1, 1, 44), moved!(2, 2, 43), moved!(3, 3, 21), moved!(4, 4, 14)
                );
                row!(
                    t, 1,
                    moved!(3, 0, 28), moved!(4, 1, 20), moved!(0, 2, 3), moved!(1, 3, 45), moved!(2, 4, 61)
                );
                row!(
                    t, 2,
                    moved!(1, 0, 1), moved!(2, 1, 6), moved!(3, 2, 25), moved!(4, 3, 8), moved!(0, 4, 18)
                );
                row!(
                    t, 3,
                    moved!(4, 0, 27), moved!(0, 1, 36), moved!(1, 2, 10), moved!(2, 3, 15), moved!(3, 4, 56)
                );
                row!(
                    t, 4,
                    moved!(2, 0, 62), moved!(3, 1, 55), moved!(4, 2, 39), moved!(0, 3, 41), moved!(1, 4, 2)
                );
                // ι
                t[0] = xor(t[0], splat(round));
                s = t;
            }
            *state = s;
        }
    };
}
pub(super) use lanes;
