#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("member_secrets");
