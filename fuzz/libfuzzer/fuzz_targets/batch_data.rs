#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("batch_data");
