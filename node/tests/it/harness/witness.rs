//! Writes down what members say while they run, to be held against what they say in the end.

use super::Network;
use alloy_primitives::{B256, Bytes};
use blindfold_sdk::{Client, rpc::HeightDocument};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Pause between two rounds of questions.
const PACE: Duration = Duration::from_millis(250);

/// What was said of a height, by member.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// (member, height) → digest of the final commitment.
    pub ordered: BTreeMap<(usize, u64), B256>,
    /// (member, height) → the header of the bundle it signed.
    pub released: BTreeMap<(usize, u64), Bytes>,
    /// What a member said differently at another time.
    pub contradictions: Vec<String>,
}

impl Sightings {
    /// Adds what `member` says now.
    pub fn add(&mut self, member: usize, said: &HeightDocument) {
        let key = (member, said.height);
        let digest = *self.ordered.entry(key).or_insert(said.digest);
        if digest != said.digest {
            let text =
                format!("member {member}, height {}: {digest}, then {}", said.height, said.digest);
            self.contradictions.push(text);
        }
        let Some(released) = &said.released else { return };
        let first = self.released.entry(key).or_insert_with(|| released.clone());
        if first != released {
            let text = format!(
                "member {member} released height {} twice: {first}, {released}",
                said.height
            );
            self.contradictions.push(text);
        }
    }
}

/// A thread that asks all members for every height as it becomes final.
pub struct Witness {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sightings>>,
}

impl Witness {
    pub fn start(network: &Network) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = network.new_clients().into_iter().enumerate().map(|(member, client)| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || watch(member, &client, &stop))
        });
        // One thread each: a frozen member must not keep the others from being heard.
        let threads: Vec<_> = threads.collect();
        let thread = thread::spawn(move || {
            let mut all = Sightings::default();
            for thread in threads {
                let one = thread.join().expect("the witness");
                all.ordered.extend(one.ordered);
                all.released.extend(one.released);
                all.contradictions.extend(one.contradictions);
            }
            all
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it; what was seen.
    pub fn stop(mut self) -> Sightings {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("a running witness").join().expect("the witness")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(member: usize, client: &Client, stop: &AtomicBool) -> Sightings {
    let mut seen = Sightings::default();
    let mut next = 1;
    while !stop.load(Ordering::Relaxed) {
        while let Ok(Some(document)) =
            client.request::<Option<HeightDocument>>("sealed_getHeight", [format!("0x{next:x}")])
        {
            seen.add(member, &document);
            next += 1;
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        thread::sleep(PACE);
    }
    seen
}
