//! Threads that help a block along. They live as long as the engine and sleep between blocks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Something that several threads can work on.
pub(super) trait Task: Send + Sync {
    /// Works until there is nothing left to do.
    fn work(self: Arc<Self>);
}

#[derive(Default)]
struct State {
    task: Option<Arc<dyn Task>>,
    /// Number of the task; helpers join each once.
    number: u64,
    helping: usize,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Helpers wait here for a task.
    offered: Condvar,
    /// Who offered the task waits here for the helpers to leave.
    left: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed number of helper threads.
pub(super) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Held while a task is under way: one at a time.
    busy: Mutex<()>,
}

impl Pool {
    /// A pool in which whoever runs a task works on it together with `helpers` more threads. Fewer if the
    /// system gives no more.
    pub(super) fn new(helpers: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let helpers = (0..helpers)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let name = format!("execute-{number}");
                std::thread::Builder::new().name(name).spawn(move || help(&shared)).ok()
            })
            .collect();
        Self { shared, helpers, busy: Mutex::default() }
    }

    /// Threads that work on a task, the caller's own among them.
    pub(super) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Works on a task with all helpers; returns when all have left it. While another task is under way the
    /// caller works alone.
    pub(super) fn run(&self, task: &Arc<impl Task + 'static>) {
        let Ok(_busy) = self.busy.try_lock() else { return Arc::clone(task).work() };
        let mut state = self.shared.lock();
        state.task = Some(Arc::clone(task) as Arc<dyn Task>);
        state.number = state.number.wrapping_add(1);
        drop(state);
        self.shared.offered.notify_all();
        let _leave = Leave(&self.shared);
        Arc::clone(task).work();
    }
}

/// Takes the task back and waits for the helpers, also if the caller panics.
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.task = None;
        while state.helping > 0 {
            state = self.0.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.offered.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches the panics of its tasks.
            let _ = helper.join();
        }
    }
}

fn help(shared: &Shared) {
    let mut last = 0;
    let mut state = shared.lock();
    while !state.stop {
        let task = match &state.task {
            Some(task) if state.number != last => Arc::clone(task),
            _ => {
                state = shared.offered.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
        };
        last = state.number;
        state.helping += 1;
        drop(state);
        if catch_unwind(AssertUnwindSafe(|| task.work())).is_err() {
            tracing::error!(target: "blindfold::execution", "a helper thread panicked");
        }
        state = shared.lock();
        state.helping -= 1;
        if state.helping == 0 {
            shared.left.notify_all();
        }
    }
}
