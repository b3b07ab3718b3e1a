#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("served_opening");
