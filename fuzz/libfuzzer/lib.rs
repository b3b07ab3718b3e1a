//! What the binaries in `fuzz_targets/` share.

pub use libfuzzer_sys;

/// Makes the binary of one target of `blindfold-fuzz`.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            static TARGET: std::sync::LazyLock<fn(&[u8]) -> bool> =
                std::sync::LazyLock::new(|| $crate::run_of($name));
            let _ = TARGET(data);
        });
    };
}

/// The function of the target called `name`.
///
/// # Panics
/// If there is none.
pub fn run_of(name: &str) -> fn(&[u8]) -> bool {
    blindfold_fuzz::target(name).unwrap_or_else(|| panic!("no target {name}")).run
}
