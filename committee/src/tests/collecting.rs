//! The collector: step tables, and a property over random schedules with one faulty member.

use std::collections::{BTreeMap, VecDeque};

use blindfold_wire::Evidence;
use proptest::prelude::*;

use super::*;
use crate::{
    BundleError, CertifiedError, Collector, DecideJob, Effect,
    collector::{
        EARLY_WINDOW_HEIGHTS, MAX_EARLY_BYTES_PER_MEMBER, MAX_OPEN_HEIGHTS, RETAINED_HEIGHTS,
    },
};

fn collector() -> Collector {
    Collector::new(collector_config(1))
}

/// The only effect.
fn one(effects: Vec<Effect>) -> Effect {
    assert_eq!(effects.len(), 1, "{effects:?}");
    effects.into_iter().next().unwrap()
}

fn job(effects: Vec<Effect>) -> DecideJob {
    match one(effects) {
        Effect::Decide(job) => job,
        other => panic!("{other:?}"),
    }
}

fn offender(evidence: &Evidence) -> u32 {
    let decoded = Evidence::decode(&evidence.encode()).unwrap();
    assert_eq!(&decoded, evidence);
    evidence.verify(&COMMITTEE.genesis, &PUBLIC).unwrap().member
}

#[test]
fn opens_with_t_bundles_and_not_before() {
    let batch = batch(1, &[0, 1], 0);
    let mut collector = collector();
    assert!(collector.on_bundle(honest(3, &batch)).unwrap().is_empty());
    assert!(collector.on_certified(batch.clone()).unwrap().is_empty());
    assert_eq!(collector.open_heights().collect::<Vec<_>>(), [1]);
    assert!(collector.on_bundle(honest(0, &batch)).unwrap().is_empty());
    assert_eq!(collector.missing_members(1), [1, 2]);
    let job = job(collector.on_bundle(honest(2, &batch)).unwrap());
    assert_eq!((job.height(), job.len()), (1, 2));
    assert!(collector.on_bundle(honest(1, &batch)).unwrap().is_empty(), "one job at a time");
    match one(collector.on_decided(job.run(2))) {
        Effect::Opened(opened) => assert_opened(&opened, 1, &[0, 1]),
        other => panic!("{other:?}"),
    }
    assert_eq!(collector.open_heights().count(), 0);
    assert!(collector.on_certified(batch).unwrap().is_empty(), "already opened");
}

#[test]
fn chunks_come_in_order_before_the_whole_and_leave_out_what_is_not_open() {
    let numbers: Vec<u64> = (0..7).collect();
    let batch = batch(1, &numbers, 0);
    let mut collector = collector();
    collector.on_certified(batch.clone()).unwrap();
    let mut shares = honest(0, &batch).shares;
    shares[2] = honest(1, &batch).shares[2];
    collector.on_bundle(signed(0, 1, batch.digest(), shares)).unwrap();
    collector.on_bundle(honest(1, &batch)).unwrap();
    let job = job(collector.on_bundle(honest(2, &batch)).unwrap());
    let (mut positions, mut to_come) = (Vec::new(), vec![7]);
    let decided = job.run_in_chunks(3, |chunk| {
        to_come.push(chunk.to_come);
        for opened in &chunk.positions {
            assert_eq!(opened.envelope, &batch.envelopes()[opened.position]);
            let Opening::Opened { message: found, .. } = opened.opening else { panic!("opens") };
            assert_eq!(*found, message(opened.position as u64));
            positions.push(opened.position);
        }
    });
    assert_eq!(positions, [0, 1, 3, 4, 5, 6], "one share of position 2 is wrong");
    assert!(to_come.len() > 2 && to_come.is_sorted_by(|before, after| before > after));
    assert_eq!(to_come.last(), Some(&0));
    assert_eq!(decided.missing().collect::<Vec<_>>(), [2]);
}

#[test]
fn bundles_alone_open_nothing() {
    let batch = batch(1, &[0], 0);
    let mut collector = collector();
    for member in 0..MEMBERS {
        assert!(collector.on_bundle(honest(member, &batch)).unwrap().is_empty());
    }
    assert_eq!(job(collector.on_certified(batch).unwrap()).len(), 1);
}

#[test]
fn a_height_that_orders_nothing_needs_no_share() {
    let mut collector = collector();
    let job = job(collector.on_certified(batch(1, &[], 0)).unwrap());
    assert!(job.is_empty());
    assert!(
        matches!(one(collector.on_decided(job.run(1))), Effect::Opened(opened) if opened.items().is_empty())
    );
}

#[test]
fn a_wrong_share_is_proved_and_the_height_opens_without_it() {
    let batch = batch(1, &[0, 1], 0);
    let mut collector = collector();
    collector.on_certified(batch.clone()).unwrap();
    let mut shares = honest(0, &batch).shares;
    shares[1] = honest(1, &batch).shares[1];
    collector.on_bundle(signed(0, 1, batch.digest(), shares)).unwrap();
    collector.on_bundle(honest(1, &batch)).unwrap();
    let first = job(collector.on_bundle(honest(2, &batch)).unwrap());
    match one(collector.on_decided(first.run(1))) {
        Effect::Evidence(evidence) => assert_eq!(offender(&evidence), 0),
        other => panic!("{other:?}"),
    }
    let second = job(collector.on_bundle(honest(3, &batch)).unwrap());
    assert_eq!(second.len(), 1, "what was decided stays decided");
    assert_eq!(second.members().collect::<Vec<_>>(), [1, 2, 3], "who lied once is not asked again");
    assert!(matches!(one(collector.on_decided(second.run(1))), Effect::Opened(_)));
}

#[test]
fn a_double_release_is_proved_whenever_it_comes() {
    let (good, fork) = (batch(1, &[0], 0), batch(1, &[0], 1));
    // 0: both early, 1: the second after certification, 2: after opening.
    for certify_at in 0..3 {
        let mut collector = collector();
        let mut proofs = Vec::new();
        let mut uncertified = 0;
        let mut note = |effects: Vec<Effect>| {
            let mut jobs = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Evidence(evidence) => proofs.push(offender(&evidence)),
                    Effect::Uncertified(release) => {
                        assert_eq!(release.certified, good.digest());
                        assert_eq!(release.signed.header.commitment, fork.digest());
                        uncertified += 1;
                    }
                    Effect::Decide(job) => jobs.push(job),
                    Effect::Opened(_) => {}
                }
            }
            jobs
        };
        note(collector.on_bundle(honest(2, &good)).unwrap());
        if certify_at == 0 {
            note(collector.on_bundle(honest(2, &fork)).unwrap());
        }
        note(collector.on_certified(good.clone()).unwrap());
        if certify_at == 1 {
            note(collector.on_bundle(honest(2, &fork)).unwrap());
        }
        note(collector.on_bundle(honest(0, &good)).unwrap());
        let mut jobs = note(collector.on_bundle(honest(1, &good)).unwrap());
        note(collector.on_decided(jobs.pop().unwrap().run(1)));
        if certify_at == 2 {
            note(collector.on_bundle(honest(2, &fork)).unwrap());
        }
        assert!(matches!(collector.on_bundle(honest(2, &fork)), Err(BundleError::Duplicate)));
        assert_eq!((&proofs[..], uncertified), (&[2][..], 1), "certified at {certify_at}");
        assert_eq!(collector.open_heights().count(), 0);
    }
}

#[test]
fn bundles_that_cannot_be_used_are_typed() {
    let batch = batch(1, &[0, 1], 0);
    let mut collector = collector();
    collector.on_certified(batch.clone()).unwrap();
    let good = honest(0, &batch);
    let refused = |collector: &mut Collector, tamper: &dyn Fn(&mut ShareBundle)| {
        let mut bundle = good.clone();
        tamper(&mut bundle);
        collector.on_bundle(bundle).map(|_| ()).unwrap_err()
    };
    type Tamper<'a> = &'a dyn Fn(&mut ShareBundle);
    let faults: [(Tamper<'_>, &str); 6] = [
        (&|bundle| bundle.header.chain_id += 1, "OtherChain"),
        (&|bundle| bundle.header.settlement.0[0] ^= 1, "OtherChain"),
        (&|bundle| bundle.header.member = 4, "UnknownMember"),
        (&|bundle| bundle.header.member = 1, "Forged"),
        (&|bundle| bundle.shares.swap(0, 1), "Forged"),
        (&|bundle| bundle.signature = honest(1, &batch).signature, "Forged"),
    ];
    for (tamper, name) in faults {
        let error = refused(&mut collector, tamper);
        assert!(format!("{error:?}").starts_with(name), "{error:?} is not {name}");
        assert!(error.peer_at_fault());
    }
    let short = signed(0, 1, batch.digest(), good.shares[..1].to_vec());
    assert!(matches!(
        collector.on_bundle(short),
        Err(BundleError::Count { expected: 2, got: 1, .. })
    ));
    let far = signed(0, 2 + EARLY_WINDOW_HEIGHTS, B256::ZERO, Vec::new());
    let error = collector.on_bundle(far).unwrap_err();
    assert!(matches!(error, BundleError::TooEarly { .. }) && !error.peer_at_fault());
    collector.on_bundle(good.clone()).unwrap();
    let error = collector.on_bundle(good.clone()).unwrap_err();
    assert!(matches!(error, BundleError::Duplicate) && !error.peer_at_fault());
}

#[test]
fn early_bundles_are_bounded_per_member() {
    let mut collector = collector();
    let shares = vec![Share([0; 96]); 4_096];
    let mut kept = 0;
    let full = loop {
        match collector.on_bundle(signed(0, 1 + kept, B256::ZERO, shares.clone())) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, BundleError::EarlyFull { member: 0 }) && !full.peer_at_fault());
    assert_eq!(kept as usize, MAX_EARLY_BYTES_PER_MEMBER / (4_096 * 96 + 256));
    collector
        .on_bundle(signed(1, 1, B256::ZERO, shares.clone()))
        .expect("others have their own room");
    // Knowing the height gives the room back.
    collector.on_certified(batch(1, &[0], 0)).unwrap();
    collector.on_bundle(signed(0, 1 + kept, B256::ZERO, shares)).unwrap();
}

#[test]
fn open_heights_are_bounded_and_forks_are_seen() {
    let mut collector = collector();
    for height in 1..=MAX_OPEN_HEIGHTS as u64 {
        collector.on_certified(batch(height, &[0], 0)).unwrap();
    }
    let next = batch(MAX_OPEN_HEIGHTS as u64 + 1, &[0], 0);
    assert_eq!(collector.on_certified(next.clone()).unwrap_err(), CertifiedError::Backlog);
    let forked = collector.on_certified(batch(2, &[0], 1)).unwrap_err();
    assert!(matches!(forked, CertifiedError::Forked { height: 2, .. }));
    let first = batch(1, &[0], 0);
    let opened = open_directly(&first);
    collector.on_opened_elsewhere(&opened);
    collector.on_certified(next).unwrap();
}

fn open_directly(batch: &SealedBatch) -> OpenedBatch {
    let bundles: Vec<_> = (0..3).map(|member| honest(member, batch)).collect();
    let contributions: Vec<_> = bundles
        .iter()
        .map(|bundle| crate::Contribution { member: bundle.header.member, shares: &bundle.shares })
        .collect();
    crate::decide_batch(&PUBLIC, batch, &contributions, 1).into_opened().unwrap().unwrap()
}

#[test]
fn an_opening_from_elsewhere_ends_the_collection() {
    let batch = batch(1, &[0], 0);
    let mut collector = collector();
    collector.on_certified(batch.clone()).unwrap();
    for member in 0..2 {
        collector.on_bundle(honest(member, &batch)).unwrap();
    }
    let late = job(collector.on_bundle(honest(2, &batch)).unwrap());
    collector.on_opened_elsewhere(&open_directly(&batch));
    assert!(collector.on_decided(late.run(1)).is_empty(), "opened once only");
    assert!(collector.on_bundle(honest(3, &batch)).unwrap().is_empty());
    assert!(collector.missing_members(1).is_empty());
}

#[test]
fn what_is_old_is_forgotten() {
    let mut collector = collector();
    let last = RETAINED_HEIGHTS + 10;
    for height in 1..=last {
        let job = job(collector.on_certified(batch(height, &[], 0)).unwrap());
        assert_eq!(collector.on_decided(job.run(1)).len(), 1);
    }
    let old = signed(0, last - RETAINED_HEIGHTS - 1, B256::ZERO, Vec::new());
    assert!(matches!(collector.on_bundle(old), Err(BundleError::TooOld { .. })));
    let recent = signed(0, last - RETAINED_HEIGHTS, B256::ZERO, Vec::new());
    assert!(matches!(one(collector.on_bundle(recent).unwrap()), Effect::Uncertified(_)));
}

/// What the faulty member does at a height.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Silent,
    Garbage,
    Borrowed,
    Short,
    OtherDigest,
    Double,
}

const HEIGHTS: u64 = 3;

fn numbers(height: u64) -> Vec<u64> {
    (0..height).collect()
}

fn bundles_of(member: u32, height: u64, fault: Option<Fault>) -> Vec<ShareBundle> {
    static MADE: LazyLock<Mutex<HashMap<(u32, u64), ShareBundle>>> = LazyLock::new(Mutex::default);
    let honest = |member| {
        let mut made = MADE.lock().unwrap();
        made.entry((member, height))
            .or_insert_with(|| honest(member, &batch(height, &numbers(height), 0)))
            .clone()
    };
    let good = honest(member);
    let digest = good.header.commitment;
    let count = good.shares.len();
    let with = |digest, shares| signed(member, height, digest, shares);
    let garbage = vec![Share([7; 96]); count];
    match fault {
        None => vec![good],
        Some(Fault::Silent) => Vec::new(),
        Some(Fault::Garbage) => vec![with(digest, garbage)],
        Some(Fault::Borrowed) => vec![with(digest, honest((member + 1) % MEMBERS).shares)],
        Some(Fault::Short) => vec![with(digest, good.shares[1..].to_vec())],
        Some(Fault::OtherDigest) => vec![with(B256::repeat_byte(3), garbage)],
        Some(Fault::Double) => vec![with(B256::repeat_byte(3), garbage), good],
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Silent),
        Just(Fault::Garbage),
        Just(Fault::Borrowed),
        Just(Fault::Short),
        Just(Fault::OtherDigest),
        Just(Fault::Double),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Certified(u64),
    Bundle(Box<ShareBundle>),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// In any order, with repetitions and one faulty member, every height opens once, with the right
    /// messages, after it was certified; whoever is accused is the faulty member.
    #[test]
    fn one_faulty_member_never_stops_a_height(
        faulty in 0..MEMBERS,
        faults in prop::collection::vec(fault(), HEIGHTS as usize),
        shuffle in prop::collection::vec(any::<prop::sample::Index>(), 40),
        run_jobs_late: bool,
    ) {
        let mut events = Vec::new();
        for height in 1..=HEIGHTS {
            events.push(Event::Certified(height));
            for member in 0..MEMBERS {
                let fault = (member == faulty).then(|| faults[height as usize - 1]);
                for bundle in bundles_of(member, height, fault) {
                    events.push(Event::Bundle(Box::new(bundle.clone())));
                    events.push(Event::Bundle(Box::new(bundle)));
                }
            }
        }
        for (at, index) in shuffle.iter().enumerate() {
            let (at, other) = (at % events.len(), index.index(events.len()));
            events.swap(at, other);
        }

        let mut collector = collector();
        let mut certified = [false; HEIGHTS as usize + 1];
        let mut opened: BTreeMap<u64, OpenedBatch> = BTreeMap::new();
        let mut jobs: VecDeque<DecideJob> = VecDeque::new();
        let mut pending: VecDeque<Effect> = VecDeque::new();
        let mut events = events.into_iter();
        loop {
            if let Some(effect) = pending.pop_front() {
                match effect {
                    Effect::Decide(job) => {
                        prop_assert!(certified[job.height() as usize], "nothing is decided before it is final");
                        jobs.push_back(job);
                    }
                    Effect::Opened(batch) => {
                        prop_assert!(opened.insert(batch.height(), batch).is_none(), "opened once");
                    }
                    Effect::Evidence(evidence) => prop_assert_eq!(offender(&evidence), faulty),
                    Effect::Uncertified(release) => {
                        prop_assert_eq!(release.signed.header.member, faulty);
                    }
                }
                continue;
            }
            if !(run_jobs_late && events.len() > 0) && let Some(job) = jobs.pop_front() {
                pending.extend(collector.on_decided(job.run(1)));
                continue;
            }
            match events.next() {
                Some(Event::Certified(height)) => {
                    certified[height as usize] = true;
                    pending.extend(collector.on_certified(batch(height, &numbers(height), 0)).unwrap());
                }
                Some(Event::Bundle(bundle)) => {
                    let member = bundle.header.member;
                    match collector.on_bundle(*bundle) {
                        Ok(effects) => pending.extend(effects),
                        Err(BundleError::Duplicate) => {}
                        Err(BundleError::Count { .. }) => prop_assert_eq!(member, faulty),
                        Err(error) => prop_assert!(false, "{:?}", error),
                    }
                }
                None if jobs.is_empty() => break,
                None => {}
            }
        }
        for height in 1..=HEIGHTS {
            prop_assert!(opened.contains_key(&height), "height {} never opened", height);
            assert_opened(&opened[&height], height, &numbers(height));
        }
    }
}
