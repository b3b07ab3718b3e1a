#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("share_message");
