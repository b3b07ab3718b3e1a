//! `blindfold-sim`: runs simulated worlds and prints those that break a property.

use blindfold_sim::{
    plan::{AdversaryKind, Mutation, Plan},
    report::{ReplayHint, replay_command},
    world,
};
use clap::{Parser, builder::PossibleValuesParser};
use std::{process::ExitCode, time::Instant};

/// Runs whole simulated networks, each fixed by its seed, and checks their properties.
#[derive(Parser)]
#[command(name = "blindfold-sim")]
struct Args {
    /// Run this world only.
    #[arg(long)]
    seed: Option<u64>,
    /// How many worlds to run, from `--from`.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Put this adversary into the world instead of the seed's own. A fault that lasts is left out.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(
        AdversaryKind::ALL.map(|(name, _)| name)
    ))]
    adversary: Option<String>,
    /// Deliver messages late, twice and again, whatever the seed says.
    #[arg(long)]
    storm: bool,
    /// Break the protocol on purpose: this many members release before the certificate. A check of
    /// the checks; it must fail.
    #[arg(long, value_name = "MEMBERS")]
    eager: Option<usize>,
    /// Print what was seen on the network, and log what members do (filter: `RUST_LOG`).
    #[arg(long)]
    verbose: bool,
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::new(seed);
        let named = |name: &String| AdversaryKind::ALL.into_iter().find(|(other, _)| other == name);
        if let Some((_, kind)) = self.adversary.as_ref().and_then(named) {
            plan = plan.with_adversary(kind);
        }
        plan.storm |= self.storm;
        match self.eager {
            Some(members) => plan.with_mutation(Mutation::EagerRelease { members }),
            None => plan,
        }
    }

    /// What makes a world another one than its seed's.
    fn overrides(&self) -> String {
        let adversary = self.adversary.as_ref().map(|kind| format!("--adversary {kind}"));
        let storm = self.storm.then(|| "--storm".to_owned());
        let eager = self.eager.map(|members| format!("--eager {members}"));
        [adversary, storm, eager].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.verbose {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,blindfold=info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let range = args.from..args.from.saturating_add(args.seeds);
    let seeds: Vec<u64> = args.seed.map_or_else(|| range.collect(), |seed| vec![seed]);
    let mut failed = Vec::new();
    for seed in &seeds {
        let _hint = ReplayHint(*seed, args.overrides());
        let plan = args.plan(*seed);
        let started = Instant::now();
        println!("{plan}");
        let outcome = world::run(&plan);
        let world = &outcome.observation;
        if args.verbose {
            for event in &world.log.events {
                println!("{:>6} ms  member {}  {:?}", event.at_ms, event.member, event.said);
            }
        }
        println!(
            "  {} heights, {} envelopes, {} ms simulated, {} ms real, fingerprint {}",
            outcome.heights(),
            world.expected.len(),
            outcome.simulated_ms,
            started.elapsed().as_millis(),
            &outcome.fingerprint[..16.min(outcome.fingerprint.len())],
        );
        if let Some(recovery) = &world.recovery {
            let next_ms = recovery.next_ms.map(|next_ms| next_ms - recovery.calm_ms);
            println!("  calm at {} ms, next height after {next_ms:?} ms", recovery.calm_ms);
        }
        if world.adversary.is_some() {
            let proofs: usize = world.honest().map(|(_, member)| member.accusations.len()).sum();
            println!("  the adversary acted {} times; {proofs} proofs are held", world.deeds);
        }
        for violation in &outcome.violations {
            println!("  VIOLATED {violation}");
        }
        if !outcome.violations.is_empty() {
            failed.push(*seed);
        }
    }
    println!("{} of {} worlds keep every property", seeds.len() - failed.len(), seeds.len());
    for seed in &failed {
        println!("replay with: {}", replay_command(*seed, &args.overrides()));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
