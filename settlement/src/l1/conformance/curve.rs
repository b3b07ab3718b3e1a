//! The seven precompiles of EIP-2537, against blst and the vectors of RFC 9380.

use alloy_primitives::{Address, Bytes, U256, hex};
use blst::{min_pk, min_sig};

use super::{Bench, probe::Probe};
use crate::points::{g1_to_eip2537, g2_to_eip2537};

/// Gas forwarded: more than any of these needs, and what a contract of ours would cap it at.
const CAP: u64 = 300_000;

/// RFC 9380, J.9.2 (encode_to_curve into G1), message "": u and the point.
const MAP_G1: [&str; 3] = [
    "156c8a6a2c184569d69a76be144b5cdc5141d2d2ca4fe341f011e25e3969c55ad9e9b9ce2eb833c81a908e5fa4ac5f03",
    "184bb665c37ff561a89ec2122dd343f20e0f4cbcaec84e3c3052ea81d1834e192c426074b02ed3dca4e7676ce4ce48ba",
    "04407b8d35af4dacc809927071fc0405218f1401a6d15af775810e4e460064bcc9468beeba82fdc751be70476c888bf3",
];

/// RFC 9380, J.10.2 (encode_to_curve into G2), message "": u and the point, real parts first.
const MAP_G2: [&str; 6] = [
    "07355d25caf6e7f2f0cb2812ca0e513bd026ed09dda65b177500fa31714e09ea0ded3a078b526bed3307f804d4b93b04",
    "02829ce3c021339ccb5caf3e187f6370e1e2a311dec9b75363117063ab2015603ff52c3d3b98f19c2f65575e99e8b78c",
    "00e7f4568a82b4b7dc1f14c6aaa055edf51502319c723c4dc2688c7fe5944c213f510328082396515734b6612c4e7bb7",
    "126b855e9e69b1f691f816e48ac6977664d24d99f8724868a184186469ddfd4617367e94527d4b74fc86413483afb35b",
    "0caead0fd7b6176c01436833c79d305c78be307da5f6af6c133c47311def6ff1e0babf57a0fb5539fce7ee12407b0a42",
    "1498aadcf7ae2b345243e281ae076df6de84455d766ab6fcdaad71fab60abb2e8b980a440043cd305db09d283c895e3d",
];

/// `factor` times the generator of G1.
fn g1(factor: u8) -> Vec<u8> {
    let key = min_pk::SecretKey::from_bytes(&scalar(factor)).expect("below the order");
    g1_to_eip2537(&key.sk_to_pk().compress()).expect("a point").to_vec()
}

/// `factor` times the generator of G2.
fn g2(factor: u8) -> Vec<u8> {
    let key = min_sig::SecretKey::from_bytes(&scalar(factor)).expect("below the order");
    g2_to_eip2537(&key.sk_to_pk().compress()).expect("a point").to_vec()
}

fn scalar(value: u8) -> [u8; 32] {
    let mut out = [0; 32];
    out[31] = value;
    out
}

/// The generator of G1 with its y negated: p − y.
fn minus_g1() -> Vec<u8> {
    const P: [u8; 48] = hex!(
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
    );
    let mut point = g1(1);
    let mut borrow = 0i16;
    for index in (0..48).rev() {
        let difference = i16::from(P[index]) - i16::from(point[80 + index]) - borrow;
        borrow = i16::from(difference < 0);
        point[80 + index] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    point
}

fn elements(parts: &[&str]) -> Vec<u8> {
    let padded = parts.iter().map(|part| format!("{}{part}", "00".repeat(16)));
    hex::decode(padded.collect::<String>()).expect("hex")
}

async fn run(bench: &mut Bench<'_>, name: &str, address: u8, input: Vec<u8>) -> Option<Vec<u8>> {
    let call = Probe::precompileCall {
        at: Address::with_last_byte(address),
        gasLimit: U256::from(CAP),
        input: Bytes::from(input),
    };
    let result = bench.read(call).await;
    let gas = u64::try_from(result.gasUsed).expect("below the cap");
    bench.gas.insert(format!("precompile {name}"), gas);
    result.ok.then(|| result.output.to_vec())
}

/// Each gives what blst gives, and each takes all the gas it gets when its input is wrong.
pub(super) async fn precompiles(bench: &mut Bench<'_>) {
    let sum = run(bench, "g1 add", 0x0b, [g1(2), g1(3)].concat()).await;
    assert_eq!(sum.expect("valid"), g1(5));
    let terms = [g1(2), scalar(3).to_vec(), g1(5), scalar(4).to_vec()].concat();
    assert_eq!(run(bench, "g1 msm", 0x0c, terms).await.expect("valid"), g1(26));
    let sum = run(bench, "g2 add", 0x0d, [g2(2), g2(3)].concat()).await;
    assert_eq!(sum.expect("valid"), g2(5));
    let terms = [g2(2), scalar(3).to_vec(), g2(5), scalar(4).to_vec()].concat();
    assert_eq!(run(bench, "g2 msm", 0x0e, terms).await.expect("valid"), g2(26));
    // e(6 g₁, g₂) · e(−g₁, 6 g₂) = 1, and with 7 it is not.
    for (factor, expected) in [(6, 1), (7, 0)] {
        let pairs = [g1(6), g2(1), minus_g1(), g2(factor)].concat();
        let result = run(bench, "pairing", 0x0f, pairs).await.expect("valid");
        assert_eq!(result, scalar(expected));
    }
    let mapped = run(bench, "map to g1", 0x10, elements(&MAP_G1[..1])).await;
    assert_eq!(mapped.expect("valid"), elements(&MAP_G1[1..]));
    let mapped = run(bench, "map to g2", 0x11, elements(&MAP_G2[..2])).await;
    assert_eq!(mapped.expect("valid"), elements(&MAP_G2[2..]));

    let mut bad = [g1(2), g1(3)].concat();
    bad[127] ^= 1;
    assert_eq!(run(bench, "g1 add of no point", 0x0b, bad).await, None);
    assert!(bench.gas["precompile g1 add of no point"] > CAP, "bad input burns what was forwarded");
}
