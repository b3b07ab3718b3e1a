//! Brings in what a block changed, on all threads: the end of a stretch and of a block would else be the time in
//! which one thread works and the others wait.

use std::sync::{Arc, Mutex, PoisonError};

use super::Parallel;
use super::cells::Settled;
use crate::executor::ExecutionError;
use crate::state::{Changes, Overlay, PARTS, Part, StateView, StoreError};

/// With fewer accounts or slots one thread is done before another has woken.
const MANY: usize = 1_024;

/// Shares for each thread, so that one that wakes late finds less to do.
const SHARES_PER_THREAD: usize = 2;

/// The end of a stretch.
struct Drain {
    settled: Settled,
    view: Arc<dyn StateView>,
    parts: [Mutex<Part>; PARTS],
    /// How it went, by share; none if the share was not done.
    done: Vec<Mutex<Option<Result<(), StoreError>>>>,
}

impl Drain {
    /// Each share looks through all that was committed and takes what is in its parts.
    fn share(&self, share: usize) {
        let shares = self.done.len();
        let mut number = 0..;
        let mut mine = self.parts.each_ref().map(|part| {
            let number: usize = number.next().unwrap_or_default();
            (number % shares == share).then(|| part.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let result = self.settled.drain(&*self.view, &mut mine);
        *self.done[share].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// Puts what a stretch committed into the overlay that it was built over.
pub(super) fn drain(
    engine: &Parallel,
    settled: Settled,
    overlay: &mut Overlay,
) -> Result<(), ExecutionError> {
    let (accounts, slots) = settled.count();
    let shares = match engine.is_forced() || accounts.max(slots) >= MANY {
        true => (engine.threads() * SHARES_PER_THREAD).min(PARTS),
        false => 1,
    };
    let (parts, view) = overlay.take_parts();
    let done = std::iter::repeat_with(Mutex::default).take(shares).collect();
    let drain = Arc::new(Drain { settled, view, parts: parts.map(Mutex::new), done });
    if shares == 1 {
        drain.share(0);
    } else {
        let shared = Arc::clone(&drain);
        engine.share(shares, || (), move |(), share| shared.share(share));
    }
    let Some(Drain { parts, done, .. }) = Arc::into_inner(drain) else { return Err(panicked()) };
    for done in done {
        done.into_inner().unwrap_or_else(PoisonError::into_inner).ok_or_else(panicked)??;
    }
    overlay.put_parts(parts.map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner)));
    Ok(())
}

/// What changed in each part of a block's overlay that had so many accounts.
pub(super) fn changes(
    engine: &Parallel,
    accounts: usize,
    parts: [Part; PARTS],
) -> Result<[Changes; PARTS], ExecutionError> {
    if !engine.is_forced() && (accounts < MANY || engine.threads() < 2) {
        return Ok(parts.map(Part::into_changes));
    }
    let all = Arc::new(parts.map(|part| Mutex::new((part, None))));
    let shared = Arc::clone(&all);
    engine.share(
        PARTS,
        || (),
        move |(), share| {
            let mut at = shared[share].lock().unwrap_or_else(PoisonError::into_inner);
            at.1 = Some(std::mem::take(&mut at.0).into_changes());
        },
    );
    let mut all_done = true;
    let changes = Arc::into_inner(all).ok_or_else(panicked)?.map(|at| {
        let (_, changes) = at.into_inner().unwrap_or_else(PoisonError::into_inner);
        all_done &= changes.is_some();
        changes.unwrap_or_default()
    });
    all_done.then_some(changes).ok_or_else(panicked)
}

fn panicked() -> ExecutionError {
    ExecutionError::Evm("a thread panicked".to_owned())
}
