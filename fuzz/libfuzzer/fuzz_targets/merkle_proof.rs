#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("merkle_proof");
