//! Time that this thread has computed, as a measurement for `criterion`.
//!
//! A machine that does other work at the same time stretches wall time by any factor; the time that the
//! kernel charges to a thread it stretches little. Only for work on one thread.

use std::time::Duration;

use criterion::{
    Bencher, BenchmarkId, Criterion, SamplingMode, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};

/// Whether measurements are to be short: the environment variable `BLINDFOLD_BENCH_QUICK` says so.
pub fn quick() -> bool {
    std::env::var_os("BLINDFOLD_BENCH_QUICK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// How long things are measured: ten samples, and at most as long as they have to be.
pub fn criterion<M: Measurement + 'static>(measurement: M) -> Criterion<M> {
    let (warm_up_ms, measurement_ms) = if quick() { (20, 100) } else { (200, 800) };
    Criterion::default()
        .with_measurement(measurement)
        .sample_size(10)
        .nresamples(2_000)
        .warm_up_time(Duration::from_millis(warm_up_ms))
        .measurement_time(Duration::from_millis(measurement_ms))
}

/// Measures under the name `id` what `prepare` returns, which handles `items` items each time. Prepares only
/// what is asked for on the command line.
///
/// # Panics
/// When `id` has no parameters.
pub fn measure<M: Measurement, T, R: FnMut() -> T>(
    criterion: &mut Criterion<M>,
    id: &str,
    items: usize,
    prepare: impl FnOnce() -> R,
) {
    let mut routine = Lazy { prepare: Some(prepare), made: None };
    measure_with(criterion, id, items, |bencher| bencher.iter(routine.get()));
}

/// As [`measure`], with criterion's own way of calling the routine.
///
/// # Panics
/// When `id` has no parameters.
pub fn measure_with<M: Measurement>(
    criterion: &mut Criterion<M>,
    id: &str,
    items: usize,
    run: impl FnMut(&mut Bencher<'_, M>),
) {
    let (operation, parameters) = id.split_once('/').expect("stage::operation/key=value");
    criterion
        .benchmark_group(operation)
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Elements(items as u64))
        .bench_function(BenchmarkId::from_parameter(parameters), run);
}

/// Something made at its first use: criterion comes back to a benchmark many times.
struct Lazy<P, R> {
    prepare: Option<P>,
    made: Option<R>,
}

impl<R, P: FnOnce() -> R> Lazy<P, R> {
    fn get(&mut self) -> &mut R {
        let Self { prepare, made } = self;
        made.get_or_insert_with(|| prepare.take().expect("made once")())
    }
}

/// CPU time of the calling thread.
pub struct ThreadTime {
    wall: WallTime,
}

impl ThreadTime {
    /// The measurement.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { wall: WallTime }
    }
}

/// CPU time of the calling thread since its start.
pub fn thread_time() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of this process since its start.
pub fn process_time() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both clocks exist on Linux, and `time` is a timespec to write to.
    let code = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(code, 0, "this system has no such CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_time() - start
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.wall.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.wall.formatter()
    }
}
