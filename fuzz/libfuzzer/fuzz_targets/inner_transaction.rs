#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("inner_transaction");
