//! What a second thread gains, in wall time: one and two threads take turns on the same height, and the least
//! time of each counts. A machine with other work to do only makes some rounds longer.

use std::{
    cell::RefCell,
    env, fs,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use blindfold_bench::{
    clock::{criterion, measure_with, process_time, quick},
    limits::{MEMBERS, MESSAGE_BYTES},
    ordered::Ordered,
    results::{SpeedUp, THREADS_FILE},
};
use blindfold_committee::{Contribution, SealedBatch, decide_batch};
use blindfold_crypto::Share;
use blindfold_wire::CheckedEnvelope;
use criterion::{Criterion, measurement::WallTime};

/// Positions of the height.
const BATCH: usize = 512;

/// What one round took.
#[derive(Clone, Copy)]
struct Round {
    wall: Duration,
    cpu: Duration,
}

impl Round {
    fn of(work: impl FnOnce()) -> Self {
        let (start, cpu_start) = (Instant::now(), process_time());
        work();
        Self { wall: start.elapsed(), cpu: process_time() - cpu_start }
    }
}

/// The rounds on one thread and on two.
#[derive(Default)]
struct Rounds([Vec<Round>; 2]);

impl Rounds {
    /// One round each; returns the wall time on `threads`.
    fn take_turns(&mut self, threads: usize, work: impl Fn(usize)) -> Duration {
        let turns = [1, 2].map(|threads| Round::of(|| work(threads)));
        for (rounds, turn) in self.0.iter_mut().zip(turns) {
            rounds.push(turn);
        }
        turns[threads - 1].wall
    }

    fn speed_up(&self, work: &str) -> Option<SpeedUp> {
        let ns = |time: Duration| time.as_secs_f64() * 1e9;
        let best = |rounds: &[Round]| rounds.iter().copied().min_by_key(|round| round.wall);
        let least_cpu = |rounds: &[Round]| rounds.iter().map(|round| round.cpu).min();
        let [one, two] = &self.0;
        Some(SpeedUp {
            work: work.to_owned(),
            rounds: one.len(),
            one_thread_min_ns: ns(best(one)?.wall),
            two_threads_min_ns: ns(best(two)?.wall),
            one_thread_cpu_min_ns: ns(least_cpu(one)?),
            two_threads_cpu_min_ns: ns(least_cpu(two)?),
            cpu_per_wall: ns(best(two)?.cpu) / ns(best(two)?.wall),
        })
    }
}

/// More samples than elsewhere: each is a chance that no other program runs.
pub fn settings() -> Criterion<WallTime> {
    criterion(WallTime).sample_size(if quick() { 10 } else { 30 })
}

/// Work on some threads.
type Work = fn(&World, usize);

pub fn all(criterion: &mut Criterion<WallTime>) {
    let world = Rc::new(RefCell::new(None));
    let mut speed_ups = Vec::new();
    let works: [(&str, Work); 2] = [
        ("open::after_commit/batch=512", World::after_commit),
        ("open::total/batch=512", World::total),
    ];
    for (name, work) in works {
        let mut rounds = Rounds::default();
        for threads in [1, 2] {
            measure_with(criterion, &format!("{name},threads={threads}"), BATCH, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut world = world.borrow_mut();
                    let world = world.get_or_insert_with(World::new);
                    (0..iterations)
                        .map(|_| rounds.take_turns(threads, |threads| work(world, threads)))
                        .sum()
                });
            });
        }
        speed_ups.extend(rounds.speed_up(name));
    }
    if let (Some(folder), false) = (env::var_os("CRITERION_HOME"), speed_ups.is_empty()) {
        let path = PathBuf::from(folder).join(THREADS_FILE);
        let json = serde_json::to_vec_pretty(&speed_ups).expect("plain figures");
        fs::write(path, json).expect("criterion writes there, too");
    }
}

/// A height whose shares have all arrived.
struct World {
    ordered: Ordered,
    envelopes: Vec<CheckedEnvelope>,
    batch: SealedBatch,
    shares: Vec<(u32, Vec<Share>)>,
}

impl World {
    fn new() -> Self {
        let ordered = Ordered::new(MEMBERS, BATCH, BATCH, MESSAGE_BYTES);
        let envelopes = ordered.admit(BATCH);
        let batch = ordered.order(envelopes.clone());
        let shares = ordered
            .quorum()
            .into_iter()
            .map(|member| (member as u32, ordered.shares(member, &envelopes)))
            .collect();
        Self { ordered, envelopes, batch, shares }
    }

    fn after_commit(&self, threads: usize) {
        let contributions: Vec<_> = self
            .shares
            .iter()
            .map(|(member, shares)| Contribution { member: *member, shares })
            .collect();
        let decided = decide_batch(&self.ordered.public, &self.batch, &contributions, threads);
        assert!(decided.is_complete());
    }

    /// Admission without the payers' signatures, one member's shares, and the opening.
    fn total(&self, threads: usize) {
        let key = &self.ordered.committee.members[0].decryption;
        let (public, envelopes) = (&self.ordered.public, &self.envelopes);
        std::thread::scope(|scope| {
            for part in envelopes.chunks(BATCH.div_ceil(threads)) {
                scope.spawn(move || {
                    let sealed =
                        |envelope: &CheckedEnvelope| envelope.envelope().ciphertext.clone();
                    let sealed: Vec<_> = part.iter().map(sealed).collect();
                    let labels = part.iter().map(|envelope| *envelope.label());
                    let statements: Vec<_> = labels.zip(&sealed).collect();
                    let verdicts =
                        blindfold_crypto::verify_batch(public.key(), &statements, [3; 32]);
                    let points: Vec<_> = verdicts
                        .into_iter()
                        .map(|verdict| verdict.expect("checked before"))
                        .collect();
                    std::hint::black_box(key.shares(&points));
                });
            }
        });
        self.after_commit(threads);
    }
}
