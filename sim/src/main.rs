//! `blindfold-sim`: runs simulated worlds and prints those that break a property.

use blindfold_sim::{
    plan::{Mutation, Plan},
    report::{ReplayHint, replay_command},
    world,
};
use clap::Parser;
use std::{process::ExitCode, time::Instant};

/// Runs whole simulated networks, each fixed by its seed, and checks their properties.
#[derive(Parser)]
#[command(name = "blindfold-sim")]
struct Args {
    /// Run this world only.
    #[arg(long)]
    seed: Option<u64>,
    /// How many worlds to run, from seed 0.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Break the protocol on purpose: this many members release before the certificate. A check of
    /// the checks; it must fail.
    #[arg(long, value_name = "MEMBERS")]
    eager: Option<usize>,
    /// Print what was seen on the network, and log what members do (filter: `RUST_LOG`).
    #[arg(long)]
    verbose: bool,
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
    let seeds: Vec<u64> = args.seed.map_or_else(|| (0..args.seeds).collect(), |seed| vec![seed]);
    let mut failed = Vec::new();
    for seed in &seeds {
        let _hint = ReplayHint(*seed, args.eager);
        let plan = Plan::new(*seed);
        let plan = match args.eager {
            Some(members) => plan.with_mutation(Mutation::EagerRelease { members }),
            None => plan,
        };
        let started = Instant::now();
        let outcome = world::run(&plan);
        if args.verbose {
            for event in &outcome.observation.log.events {
                println!("{:>6} ms  member {}  {:?}", event.at_ms, event.member, event.said);
            }
        }
        println!(
            "{plan}\n  {} heights, {} envelopes, {} ms simulated, {} ms real, fingerprint {}",
            outcome.heights(),
            outcome.observation.expected.len(),
            outcome.simulated_ms,
            started.elapsed().as_millis(),
            &outcome.fingerprint[..16.min(outcome.fingerprint.len())],
        );
        for violation in &outcome.violations {
            println!("  VIOLATED {violation}");
        }
        if !outcome.violations.is_empty() {
            failed.push(*seed);
        }
    }
    println!("{} of {} worlds keep every property", seeds.len() - failed.len(), seeds.len());
    for seed in &failed {
        println!("replay with: {}", replay_command(*seed, args.eager));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
