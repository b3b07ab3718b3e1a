#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("signed_commitment");
