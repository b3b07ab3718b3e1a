#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("access_list");
