//! What a load run ends with: a table, and one JSON object whose field names are the interface.

use super::ledger::{Ends, Latencies};
use serde::Serialize;
use std::collections::BTreeMap;

/// One stretch at one rate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Phase {
    /// Sealed transactions a second that were due.
    pub offered_per_s: f64,
    /// How long they were, in seconds.
    pub seconds: f64,
    /// Executed a second while they were, without the warm-up.
    pub sustained_per_s: f64,
    /// Whether the network kept up.
    pub held: bool,
    /// How the envelopes ended.
    pub ends: Ends,
    /// Reasons of the refused ones.
    pub refusals: BTreeMap<String, usize>,
    /// Submissions repeated because a member was busy.
    pub retries: usize,
    /// Envelopes that the generator sent more than a second late.
    pub sent_late: usize,
    /// Heights in the stretch, and those that ordered something.
    pub heights: (usize, usize),
    /// From the first submission to the last execution, in milliseconds.
    pub elapsed_ms: u64,
    /// CPU time of all members over that time, for each executed transaction.
    pub members_cpu_us_per_transaction: f64,
    /// The same of the generator.
    pub generator_cpu_us_per_transaction: f64,
    /// Cores that the members used, on average.
    pub members_cores: f64,
    /// Cores that the generator used.
    pub generator_cores: f64,
    /// Cores that everything else on the machine used, or that the host took away: noise.
    pub others_cores: f64,
    /// UDP bytes that one member sent to its peers for each executed transaction.
    pub wire_sent_bytes_per_transaction_per_member: f64,
    /// Of that, bytes of messages.
    pub payload_sent_bytes_per_transaction_per_member: f64,
    /// Latencies.
    pub latencies: Latencies,
}

/// The whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Members.
    pub nodes: usize,
    /// Cores of the machine.
    pub cores: usize,
    /// Whether the members' code was optimised.
    pub release_build: bool,
    /// Payers, who take turns.
    pub payers: usize,
    /// Bytes of one encoded envelope, on average.
    pub envelope_bytes: usize,
    /// Rates that were tried to find the highest, with what was executed a second and whether it held.
    pub search: Vec<(f64, f64, bool)>,
    /// The stretch at the full rate.
    pub full: Phase,
    /// The stretch at half of what was sustained.
    pub half: Phase,
    /// Sealed transactions executed a second, in the first stretch.
    pub sustained_per_s: f64,
    /// `cores` divided by the members' CPU time for a transaction: more than that no wiring could serve here.
    pub limit_per_s: f64,
    /// The first as a share of the second.
    pub ratio: f64,
    /// The same against the cores that nothing else used: what a machine of its own would show.
    pub ratio_of_free_cores: f64,
    /// Sealed transactions released without proof of finality.
    pub opened_before_final: usize,
    /// Signed share bundles checked for that.
    pub bundles_checked: usize,
    /// Members whose state root differs somewhere.
    pub diverged_nodes: usize,
}

impl Report {
    /// Whether every transaction is accounted for and nothing unsafe was seen. Speed is no verdict.
    pub fn good(&self) -> bool {
        [&self.full, &self.half].into_iter().all(|phase| phase.ends.accounted())
            && self.opened_before_final == 0
            && self.diverged_nodes == 0
            && (self.full.ends.executed == 0 || self.bundles_checked > 0)
    }

    /// Prints it on standard output; with `json`, as one object on the last line too.
    pub fn print(&self, json: bool) {
        println!("\n{}", self.table());
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: the report does not serialize: {error}"),
            }
        }
    }

    fn table(&self) -> String {
        let mut lines = vec![
            format!(
                "{} members, {} cores, {} build, {} payers, envelopes of {} bytes",
                self.nodes,
                self.cores,
                if self.release_build { "release" } else { "development" },
                self.payers,
                self.envelope_bytes
            ),
            format!(
                "sustained {:.0} of {:.0} a second that the machine could carry: {:.0} % ({:.0} % of the free cores)",
                self.sustained_per_s,
                self.limit_per_s,
                self.ratio * 100.0,
                self.ratio_of_free_cores * 100.0
            ),
            String::new(),
            format!("{:<44}{:>12}{:>12}", "", "full", "half load"),
        ];
        let mut row = |name: &str, of: &dyn Fn(&Phase) -> String| {
            lines.push(format!("{name:<44}{:>12}{:>12}", of(&self.full), of(&self.half)));
        };
        let one = |value: f64| format!("{value:.1}");
        row("offered, transactions a second", &|phase| one(phase.offered_per_s));
        row("sustained, transactions a second", &|phase| one(phase.sustained_per_s));
        row("sealed", &|phase| phase.ends.sealed.to_string());
        row("executed", &|phase| phase.ends.executed.to_string());
        row("skipped, undecryptable", &|phase| {
            format!("{}, {}", phase.ends.skipped, phase.ends.undecryptable)
        });
        row("refused, unresolved", &|phase| {
            format!("{}, {}", phase.ends.refused, phase.ends.unresolved)
        });
        row("repeated because a member was busy", &|phase| phase.retries.to_string());
        row("heights with transactions", &|phase| phase.heights.1.to_string());
        row("members' CPU a transaction, us", &|phase| {
            format!("{:.0}", phase.members_cpu_us_per_transaction)
        });
        row("cores: members, generator, others", &|phase| {
            format!(
                "{:.1} {:.1} {:.1}",
                phase.members_cores, phase.generator_cores, phase.others_cores
            )
        });
        row("UDP bytes a transaction and member, sent", &|phase| {
            format!("{:.0}", phase.wire_sent_bytes_per_transaction_per_member)
        });
        for (name, of) in [
            ("due to ordered, ms (p50, p99)", 0),
            ("ordered to opened, ms", 1),
            ("opened to executed, ms", 2),
            ("due to executed, ms", 3),
        ] {
            row(name, &|phase| {
                let all = &phase.latencies;
                let quantiles = [
                    all.submit_to_ordered_ms,
                    all.ordered_to_opened_ms,
                    all.opened_to_executed_ms,
                    all.submit_to_executed_ms,
                ][of];
                format!("{}, {}", quantiles.p50, quantiles.p99)
            });
        }
        lines.push(format!(
            "\nopened before final: {} (checked {} signed bundles); diverged members: {}",
            self.opened_before_final, self.bundles_checked, self.diverged_nodes
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_transaction_spoils_the_verdict() {
        let ends = Ends { sealed: 3, executed: 3, ..Ends::default() };
        let phase = Phase { ends, ..Phase::default() };
        let good =
            Report { full: phase.clone(), half: phase, bundles_checked: 4, ..Report::default() };
        assert!(good.good());
        let mut lost = good.clone();
        lost.half.ends.executed = 2;
        assert!(!lost.good());
        assert!(!Report { opened_before_final: 1, ..good.clone() }.good());
        assert!(!Report { diverged_nodes: 1, ..good.clone() }.good());
        assert!(!Report { bundles_checked: 0, ..good }.good());
    }
}
