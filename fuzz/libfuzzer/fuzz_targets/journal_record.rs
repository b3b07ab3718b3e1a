#![no_main]

blindfold_fuzz_libfuzzer::fuzz!("journal_record");
