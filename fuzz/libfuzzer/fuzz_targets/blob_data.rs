#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("blob_data");
