//! `blindfold bench load`: the real binary, a low rate, a few seconds. Figures of speed are not judged here.

use crate::harness::BLINDFOLD;
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn load(arguments: &[&str]) -> Output {
    Command::new(BLINDFOLD)
        .args(["bench", "load", "--json"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn every_transaction_of_a_load_is_accounted_for() {
    let output = load(&["--rate", "20", "--seconds", "3"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {report}"));

    assert_eq!(report["nodes"], 4);
    for (phase, offered) in [("full", Some(60)), ("half", None)] {
        let ends = &report[phase]["ends"];
        let count = |name: &str| ends[name].as_u64().unwrap_or_else(|| panic!("{name}: {ends}"));
        let named = ["executed", "skipped", "undecryptable", "refused", "unresolved"];
        let ended: u64 = named.iter().map(|name| count(name)).sum();
        assert_eq!(ended, count("sealed"), "{ends}");
        assert_eq!(count("executed"), count("sealed"), "transfers of funded payers: {ends}");
        assert!(offered.is_none_or(|offered| count("sealed") == offered), "{ends}");
        // A message crosses the wire to each of three others, and QUIC adds to it.
        let wire = number(&report[phase]["wire_sent_bytes_per_transaction_per_member"]);
        let payload = number(&report[phase]["payload_sent_bytes_per_transaction_per_member"]);
        assert!(payload > 500.0 && wire > payload, "{wire} on the wire for {payload}");
        assert!(number(&report[phase]["members_cpu_us_per_transaction"]) > 0.0);
        for step in [
            "submit_to_ordered_ms",
            "ordered_to_opened_ms",
            "opened_to_executed_ms",
            "submit_to_executed_ms",
        ] {
            let quantiles = &report[phase]["latencies"][step];
            assert!(number(&quantiles["p50"]) <= number(&quantiles["p99"]), "{step}: {report}");
        }
    }
    let (sustained, limit) = (number(&report["sustained_per_s"]), number(&report["limit_per_s"]));
    assert!(sustained > 0.0 && limit > 0.0);
    assert!((number(&report["ratio"]) - sustained / limit).abs() < 1e-9);
    assert_eq!((&report["opened_before_final"], &report["diverged_nodes"]), (&0.into(), &0.into()));
    assert!(number(&report["bundles_checked"]) > 0.0);
}

#[test]
fn loads_beyond_the_bounds_are_refused() {
    for (arguments, word) in [
        (["--rate", "5001", "--seconds", "1"], "5000"),
        (["--rate", "1", "--seconds", "121"], "120"),
        (["--rate", "0", "--seconds", "1"], "above 0"),
        (["--rate", "4000", "--seconds", "100"], "200000"),
        (["--n", "17", "--seconds", "1"], "16"),
    ] {
        let output = load(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}
