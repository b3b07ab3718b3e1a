#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("genesis_json");
