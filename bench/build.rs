//! Lets the baseline link.
//!
//! `ethrex-crypto` and `keccak-asm`, which alloy's primitives stand on, bring the same assembly of Keccak-f
//! (CRYPTOGAMS), and both export it as `KeccakF1600`. They do the same, so either will do. Only `root` has both, but
//! cargo takes flags for all benchmarks or for none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-benches=-Wl,--allow-multiple-definition");
    }
}
