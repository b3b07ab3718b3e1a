//! Finding the highest rate that the network keeps up with.

/// Where the search begins: sealed transactions a second.
const START_RATE: f64 = 100.0;
/// Steps at most.
const MAX_STEPS: usize = 8;
/// The search ends when the highest rate that held and the lowest that did not are this close.
const CLOSE_ENOUGH: f64 = 1.12;

/// What is known so far.
#[derive(Clone, Debug)]
pub struct Search {
    held: f64,
    failed: Option<f64>,
    steps: usize,
    max_rate: f64,
}

impl Search {
    /// Nothing is known. Rates stay up to `max_rate`.
    pub fn new(max_rate: f64) -> Self {
        Self { held: 0.0, failed: None, steps: 0, max_rate }
    }

    /// The next rate to try; none when enough is known.
    pub fn next(&self) -> Option<f64> {
        if self.steps >= MAX_STEPS {
            return None;
        }
        match self.failed {
            None if self.held == 0.0 => Some(START_RATE.min(self.max_rate)),
            None if self.held >= self.max_rate => None,
            None => Some((self.held * 2.0).min(self.max_rate)),
            // Slower than the first step: down by halves.
            Some(failed) if self.held == 0.0 => (failed > 2.0).then_some(failed / 2.0),
            Some(failed) if failed / self.held <= CLOSE_ENOUGH => None,
            Some(failed) => Some((failed * self.held).sqrt()),
        }
    }

    /// Notes whether a rate held.
    pub fn note(&mut self, rate: f64, held: bool) {
        self.steps += 1;
        match held {
            true => self.held = self.held.max(rate),
            false => self.failed = Some(self.failed.map_or(rate, |failed| failed.min(rate))),
        }
    }

    /// The highest rate that held; none if none did.
    pub fn best(&self) -> Option<f64> {
        (self.held > 0.0).then_some(self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(capacity: f64, max_rate: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(max_rate);
        while let Some(rate) = search.next() {
            assert!(rate <= max_rate);
            search.note(rate, rate <= capacity);
        }
        (search.best(), search.steps)
    }

    #[test]
    fn capacities_are_found_from_below() {
        for capacity in [7.0, 99.0, 100.0, 345.0, 790.0] {
            let (best, steps) = find(capacity, 5_000.0);
            let best = best.expect("found");
            assert!(best <= capacity && steps <= MAX_STEPS, "{capacity}: {best}");
            assert!(capacity / best <= 2.0, "{capacity}: {best}");
        }
        assert!(find(345.0, 5_000.0).0.expect("found") > 345.0 / CLOSE_ENOUGH);
        assert_eq!(find(1e9, 300.0).0, Some(300.0), "never beyond the bound");
        assert_eq!(find(0.0, 5_000.0).0, None);
    }
}
