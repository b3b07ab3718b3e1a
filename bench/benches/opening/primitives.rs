//! What the steps are made of, one at a time: the prices in the formulas of the limits.

use std::{hint::black_box, ptr};

use blindfold_bench::{
    clock::{ThreadTime, measure},
    height::bytes,
};
use blst::*;
use criterion::Criterion;

/// Products of the field that one iteration makes.
const PRODUCTS: usize = 1_000;

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    points(criterion);
    sums(criterion);
    pairings(criterion);
    others(criterion);
}

/// A point of G1 that follows from `index`.
fn point(index: usize) -> blst_p1 {
    let (message, tag) = (bytes(5, index), b"BENCH");
    let mut out = blst_p1::default();
    // SAFETY: pointers with their lengths; no augmentation.
    unsafe {
        blst_hash_to_g1(&mut out, message.as_ptr(), 32, tag.as_ptr(), tag.len(), ptr::null(), 0);
    }
    out
}

fn affine(point: &blst_p1) -> blst_p1_affine {
    let mut out = blst_p1_affine::default();
    // SAFETY: two pointers to points.
    unsafe { blst_p1_to_affine(&mut out, point) };
    out
}

/// A scalar of 255 bits, below the order.
fn scalar(index: usize) -> [u8; 32] {
    let mut bytes =
        bytes(6, index).map(|byte| byte.wrapping_mul(167).wrapping_add(index as u8 | 1));
    bytes[31] = 0x73;
    bytes[30] = 0;
    bytes
}

fn mul(point: &blst_p1, scalar: &[u8; 32], bits: usize) -> blst_p1 {
    let mut out = blst_p1::default();
    // SAFETY: a scalar with enough bytes.
    unsafe { blst_p1_mult(&mut out, point, scalar.as_ptr(), bits) };
    out
}

fn points(criterion: &mut Criterion<ThreadTime>) {
    for bits in [255, 128] {
        measure(criterion, &format!("primitive::g1_mul/bits={bits}"), 1, || {
            let (point, scalar) = (point(0), scalar(0));
            move || mul(black_box(&point), black_box(&scalar), bits)
        });
    }
    measure(criterion, "primitive::g1_fixed_base_mul/bits=255", 1, || {
        let (table, scalar) = (table(&point(0)), scalar(0));
        move || fixed_base_mul(&table, black_box(&scalar))
    });
    measure(criterion, "primitive::g1_decompress/points=1", 1, || {
        let mut encoded = [0; 48];
        // SAFETY: 48 bytes for an encoding.
        unsafe { blst_p1_compress(encoded.as_mut_ptr(), &point(0)) };
        move || {
            let mut out = blst_p1_affine::default();
            // SAFETY: 48 bytes.
            let code = unsafe { blst_p1_uncompress(&mut out, black_box(&encoded).as_ptr()) };
            assert!(code == BLST_ERROR::BLST_SUCCESS);
            out
        }
    });
    measure(criterion, "primitive::g1_decode_raw/points=1", 1, || {
        let mut encoded = [0; 96];
        // SAFETY: 96 bytes for an encoding.
        unsafe { blst_p1_serialize(encoded.as_mut_ptr(), &point(0)) };
        move || {
            let mut out = blst_p1_affine::default();
            // SAFETY: 96 bytes.
            let code = unsafe { blst_p1_deserialize(&mut out, black_box(&encoded).as_ptr()) };
            assert!(code == BLST_ERROR::BLST_SUCCESS);
            out
        }
    });
    measure(criterion, "primitive::g1_subgroup/points=1", 1, || {
        let point = affine(&point(0));
        // SAFETY: a point on the curve.
        move || assert!(unsafe { blst_p1_affine_in_g1(black_box(&point)) })
    });
    measure(criterion, "primitive::g1_add/points=1", 1, || {
        let (left, right) = (point(0), point(1));
        move || {
            let mut out = blst_p1::default();
            // SAFETY: three pointers to points.
            unsafe { blst_p1_add_or_double(&mut out, black_box(&left), black_box(&right)) };
            out
        }
    });
    for bits in [255, 128] {
        measure(criterion, &format!("primitive::g2_mul/bits={bits}"), 1, || {
            let scalar = scalar(0);
            move || {
                let mut out = blst_p2::default();
                // SAFETY: a scalar with enough bytes.
                unsafe {
                    blst_p2_mult(&mut out, blst_p2_generator(), black_box(&scalar).as_ptr(), bits);
                }
                out
            }
        });
    }
    measure(criterion, "primitive::hash_to_g1/bytes=32", 1, || || point(black_box(0)));
}

/// For each byte of a scalar the multiples 1 to 255 of its place.
fn table(base: &blst_p1) -> Vec<blst_p1_affine> {
    let mut step = *base;
    let mut rows = Vec::with_capacity(32 * 255);
    for _ in 0..32 {
        let mut multiple = step;
        for _ in 0..255 {
            rows.push(affine(&multiple));
            let mut next = blst_p1::default();
            // SAFETY: three pointers to points.
            unsafe { blst_p1_add_or_double(&mut next, &multiple, &step) };
            multiple = next;
        }
        step = multiple;
    }
    rows
}

fn fixed_base_mul(table: &[blst_p1_affine], scalar: &[u8; 32]) -> blst_p1 {
    let mut sum = blst_p1::default();
    for (row, digit) in table.chunks_exact(255).zip(scalar) {
        if let Some(multiple) = usize::from(*digit).checked_sub(1).and_then(|index| row.get(index))
        {
            let mut next = blst_p1::default();
            // SAFETY: three pointers to points.
            unsafe { blst_p1_add_or_double_affine(&mut next, &sum, multiple) };
            sum = next;
        }
    }
    sum
}

fn sums(criterion: &mut Criterion<ThreadTime>) {
    for (bits, count) in [(255, 11), (255, 512), (255, 1024), (128, 512), (128, 1024), (128, 5632)]
    {
        measure(criterion, &format!("primitive::g1_msm/bits={bits},points={count}"), 1, || {
            let points: Vec<_> = (0..count).map(|index| affine(&point(index))).collect();
            // The stride of blst's scalars is as short as they are.
            let scalars: Vec<u8> =
                (0..count).flat_map(|index| scalar(index).into_iter().take(bits / 8 + 1)).collect();
            let scalars: Vec<u8> = match bits {
                255 => scalars,
                _ => scalars.chunks_exact(17).flat_map(|scalar| &scalar[..16]).copied().collect(),
            };
            // SAFETY: a size.
            let scratch_bytes = unsafe { blst_p1s_mult_pippenger_scratch_sizeof(count) };
            let mut scratch = vec![0u64; scratch_bytes.div_ceil(8)];
            move || {
                let (points, scalars) =
                    ([points.as_ptr(), ptr::null()], [scalars.as_ptr(), ptr::null()]);
                let mut out = blst_p1::default();
                // SAFETY: contiguous arrays after the first entry, lengths as counted, scratch space as asked.
                unsafe {
                    blst_p1s_mult_pippenger(
                        &mut out,
                        points.as_ptr(),
                        count,
                        scalars.as_ptr(),
                        bits,
                        scratch.as_mut_ptr(),
                    );
                }
                out
            }
        });
    }
}

fn pairings(criterion: &mut Criterion<ThreadTime>) {
    let miller = || {
        let mut out = blst_fp12::default();
        let point = affine(&point(0));
        // SAFETY: pointers to points of both groups.
        unsafe { blst_miller_loop(&mut out, blst_p2_affine_generator(), black_box(&point)) };
        out
    };
    measure(criterion, "primitive::miller_loop/pairs=1", 1, || {
        let point = affine(&point(0));
        move || {
            let mut out = blst_fp12::default();
            // SAFETY: pointers to points of both groups.
            unsafe { blst_miller_loop(&mut out, blst_p2_affine_generator(), black_box(&point)) };
            out
        }
    });
    measure(criterion, "primitive::final_exponentiation/pairs=1", 1, || {
        let value = miller();
        move || {
            let mut out = blst_fp12::default();
            // SAFETY: two pointers to field elements.
            unsafe { blst_final_exp(&mut out, black_box(&value)) };
            out
        }
    });
}

fn others(criterion: &mut Criterion<ThreadTime>) {
    measure(criterion, &format!("primitive::fp_mul/products={PRODUCTS}"), PRODUCTS, || {
        let mut values: [blst_fp; 8] = std::array::from_fn(|index| affine(&point(index)).x);
        let factor = affine(&point(8)).x;
        // Eight chains, so that none waits for its last product.
        move || {
            for _ in 0..PRODUCTS / values.len() {
                for value in &mut values {
                    // SAFETY: pointers to field elements, which may be the same.
                    unsafe { blst_fp_mul(value, value, &factor) };
                }
            }
            black_box(&values);
        }
    });
    measure(criterion, "primitive::fp_inverse/elements=1", 1, || {
        let value = affine(&point(0)).x;
        move || {
            let mut out = blst_fp::default();
            // SAFETY: two pointers to field elements.
            unsafe { blst_fp_eucl_inverse(&mut out, black_box(&value)) };
            out
        }
    });
    measure(criterion, "primitive::keccak/bytes=300", 1, || {
        || alloy_primitives::keccak256(black_box([7; 300]))
    });
    measure(criterion, "primitive::secp256k1_recover/signatures=1", 1, || {
        use secp256k1::{Message, Secp256k1, SecretKey};

        let context = Secp256k1::new();
        let message = Message::from_digest(bytes(7, 1));
        let key = SecretKey::from_byte_array(bytes(7, 2)).expect("below the order");
        let signature = context.sign_ecdsa_recoverable(message, &key);
        move || context.recover_ecdsa(black_box(message), &signature).expect("a right signature")
    });
}
