//! The way of an envelope into the pool: the checks, one by one and in batches, and the pool's rules.

use crate::{
    input::{Input, seldom},
    world::{COMMITTEE, ENVELOPES, ETHER, PAYERS, RULES, key, sealed},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_crypto::{Ciphertext, verify, verify_batch};
use blindfold_mempool::{BlockTarget, Change, Mempool, MempoolConfig, OrderedEnvelope, PoolStatus};
use blindfold_wire::{CheckedEnvelope, EnvelopeHeader, envelope::sign_envelope};
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

/// Envelopes that one input of [`admission`] may hold, when it does not ask for a large batch.
const FEW: usize = 3;
/// A batch that goes through multi-scalar multiplication (16 and more) and bisection.
const MANY: usize = 18;
/// Changes to one envelope.
const MAX_CHANGES: usize = 4;

/// Envelopes made by changing valid ones, checked one by one and together: the verdicts agree, and
/// nothing passes that its payer did not seal and sign.
pub(crate) fn admission(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let few = input.u8();
    let count = match few {
        _ if seldom(data, 256) => MANY,
        0..0xe0 => 1,
        few => 1 + usize::from(few) % FEW,
    };
    let mut changed = 0;
    let mut envelopes: Vec<Bytes> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = changed;
        let made = make(&mut input, &envelopes, &mut changed);
        // A large batch is mostly of good ones: else bisection has nothing to find.
        let kept = changed == before || changed <= FEW;
        envelopes.push(if kept { made } else { ENVELOPES[0].bytes().clone() });
    }
    let one_by_one: Vec<_> = envelopes
        .iter()
        .map(|bytes| match ENVELOPES.iter().find(|good| good.bytes() == bytes) {
            // Checked when it was made.
            Some(good) => Ok(good.clone()),
            None => CheckedEnvelope::check(&RULES, bytes),
        })
        .collect();
    // A small batch is checked one by one too: that it agrees need not be seen each time.
    if count == MANY || seldom(data, 4) {
        assert_eq!(CheckedEnvelope::check_batch(&RULES, &envelopes, input.array()), one_by_one);
    }

    let mut admitted = false;
    let mut pool = Mempool::new(MempoolConfig::new(COMMITTEE.genesis.params.clone()));
    let accounts = rich();
    for (bytes, verdict) in envelopes.iter().zip(one_by_one) {
        let Ok(checked) = verdict else {
            continue;
        };
        assert!(
            ENVELOPES.iter().any(|good| {
                good.header() == checked.header()
                    && good.payer() == checked.payer()
                    && good.envelope().ciphertext == checked.envelope().ciphertext
            }),
            "an envelope that nobody sealed is valid: {checked:?}"
        );
        assert_eq!(checked.bytes(), bytes);
        let known = pool.contains(&checked.id());
        let result = pool.admit(checked.clone(), &accounts, 0);
        pool.assert_consistent();
        assert!(!(known && result.is_ok()), "admitted twice");
        if let Err(rejection) = &result {
            assert!(!rejection.peer_at_fault(), "{rejection} blames the peer for a valid envelope");
        }
        admitted |= result.is_ok();
    }
    admitted
}

/// One envelope: a valid one, changed as the input says.
fn make(input: &mut Input<'_>, earlier: &[Bytes], changed: &mut usize) -> Bytes {
    let template = &ENVELOPES[input.below(ENVELOPES.len())];
    let mut envelope = template.envelope().clone();
    let changes = input.below(MAX_CHANGES);
    let mut bytes: Option<Vec<u8>> = None;
    *changed += usize::from(changes > 0);
    for _ in 0..changes {
        match input.below(8) {
            0 => change_header(input, &mut envelope.header),
            1 | 2 => change_ciphertext(input, &mut envelope.ciphertext),
            3 => {
                // Signed anew, by its payer or by another.
                let payer = key(input.below(PAYERS));
                envelope = sign_envelope(envelope.header, envelope.ciphertext, &payer);
            }
            4 => {
                // Another envelope's ciphertext under this header.
                let other = &ENVELOPES[input.below(ENVELOPES.len())];
                envelope.ciphertext = other.envelope().ciphertext.clone();
            }
            5 => envelope.signature.y_parity ^= true,
            6 => {
                let raw = bytes.get_or_insert_with(|| envelope.encode());
                change_bytes(input, raw);
            }
            _ if !earlier.is_empty() => return earlier[input.below(earlier.len())].clone(),
            _ => {
                let length = usize::from(input.u16());
                return Bytes::copy_from_slice(input.bytes(length));
            }
        }
    }
    bytes.unwrap_or_else(|| envelope.encode()).into()
}

fn change_header(input: &mut Input<'_>, header: &mut EnvelopeHeader) {
    let value = input.u64();
    match input.below(7) {
        0 => header.chain_id = value,
        1 => header.key_id = value.to_be_bytes().into(),
        2 => header.payer_nonce = value,
        3 => header.max_fee_per_gas = u128::from(value) << input.below(64),
        4 => header.max_priority_fee_per_gas = u128::from(value) << input.below(64),
        5 => header.gas_limit = if value < 64 { 1 << value } else { value },
        _ => header.expiry_height = value,
    }
}

fn change_bytes(input: &mut Input<'_>, raw: &mut Vec<u8>) {
    let at = usize::from(input.u16());
    match input.below(4) {
        0 => raw.truncate(at),
        1 => raw.extend_from_slice(input.bytes(at)),
        _ => {
            if let Some(byte) = raw.get_mut(at) {
                *byte ^= input.u8().max(1);
            }
        }
    }
}

/// Encodings of points that a ciphertext must not get through with, or that nobody sealed.
fn point(input: &mut Input<'_>) -> [u8; 48] {
    let mut point = [0u8; 48];
    match input.below(6) {
        // Infinity, and infinity spelt wrongly.
        0 => point[0] = 0xc0,
        1 => (point[0], point[47]) = (0xc0, 1),
        // (0, 2): on the curve, of order three.
        2 => point[0] = 0x80,
        3 => point[0] = 0xa0,
        // Points of other envelopes.
        4 => point = ENVELOPES[input.below(ENVELOPES.len())].envelope().ciphertext.u,
        _ => point = input.array(),
    }
    point
}

fn change_ciphertext(input: &mut Input<'_>, sealed: &mut Ciphertext) {
    match input.below(9) {
        0 => sealed.u = point(input),
        1 => sealed.u_bar = point(input),
        2 => sealed.w = point(input),
        3 => sealed.w_bar = point(input),
        4 => std::mem::swap(&mut sealed.u, &mut sealed.u_bar),
        5 => std::mem::swap(&mut sealed.w, &mut sealed.w_bar),
        6 => sealed.z[input.below(32)] ^= input.u8().max(1),
        7 => sealed.wrapped_seed[input.below(32)] ^= input.u8().max(1),
        _ => change_bytes(input, &mut sealed.body),
    }
}

/// The proof alone, without encoding and signature: single and batched verdicts on changed ciphertexts.
pub(crate) fn ciphertext(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let many = seldom(data, 256);
    let at = input.below(ENVELOPES.len());
    let (label, good) = sealed(&ENVELOPES[at]);
    let mut changed = good.clone();
    for _ in 0..1 + input.below(MAX_CHANGES) {
        change_ciphertext(&mut input, &mut changed);
    }
    let single = verify(&RULES.committee, &label, &changed);
    // Alone, and among good ones: then the equations are added up.
    let mut items = vec![(label, &changed)];
    if many {
        items.extend(ENVELOPES.iter().cycle().take(MANY - 1).map(sealed));
        let place = input.below(MANY);
        items.swap(0, place);
        let verdicts = verify_batch(&RULES.committee, &items, input.array());
        for (position, verdict) in verdicts.into_iter().enumerate() {
            let expected = if position == place { single.map(drop) } else { Ok(()) };
            assert_eq!(verdict.map(drop), expected, "position {position}");
        }
    } else if seldom(data, 4) {
        assert_eq!(verify_batch(&RULES.committee, &items, input.array()), [single]);
    }
    assert_eq!(single.is_ok(), changed == *good, "{changed:?}");
    single.is_ok()
}

type Accounts = HashMap<Address, (u64, U256)>;

fn rich() -> Accounts {
    (0..PAYERS).map(|payer| (key(payer).address(), (0, ETHER * U256::from(1_000)))).collect()
}

/// Envelopes that compete: three payers, five nonces, three fees, two expiries.
static COMPETING: LazyLock<Vec<CheckedEnvelope>> = LazyLock::new(|| {
    let mut envelopes = Vec::new();
    for payer in 0..PAYERS {
        for nonce in 0..5u64 {
            for (fee, expiry_height) in [(1u128, 40), (2, 8), (3, 40)] {
                let header = EnvelopeHeader {
                    payer_nonce: nonce,
                    max_fee_per_gas: fee * 10_000_000_000,
                    max_priority_fee_per_gas: fee * 1_000_000_000,
                    expiry_height,
                    ..COMMITTEE.header(nonce)
                };
                let message = vec![fee as u8; if nonce == 3 { 600 } else { 20 }];
                envelopes.push(COMMITTEE.envelope(&key(payer), header, &message));
            }
        }
    }
    envelopes
});

/// A pool under any sequence of calls: its indexes agree, its bounds hold, what it tells its owner to
/// store is what it holds, and what it offers a leader can be ordered.
pub(crate) fn mempool(data: &[u8]) -> bool {
    let config = MempoolConfig {
        max_bytes: 14_000,
        max_envelopes: 8,
        max_per_payer: 4,
        nonce_window: 4,
        max_ended: 8,
        ..MempoolConfig::new(COMMITTEE.genesis.params.clone())
    };
    let mut pool = Mempool::new(config.clone());
    let mut accounts = rich();
    let mut stored: BTreeMap<B256, Bytes> = BTreeMap::new();
    let (mut height, mut input, mut admitted) = (0u64, Input::new(data), false);
    while !input.is_empty() {
        match input.below(8) {
            0..=3 => {
                let envelope = &COMPETING[input.below(COMPETING.len())];
                let before = (pool.len(), pool.size_bytes());
                match pool.admit(envelope.clone(), &accounts, height) {
                    Ok(_) => {
                        admitted = true;
                        assert!(pool.contains(&envelope.id()));
                    }
                    Err(rejection) => {
                        assert!(!rejection.peer_at_fault(), "{rejection}");
                        assert_eq!((pool.len(), pool.size_bytes()), before, "{rejection}");
                    }
                }
            }
            4 => {
                let target = BlockTarget {
                    height: height + 1,
                    floor: (u128::from(input.u8()) * 100_000_000).into(),
                    max_count: input.below(6),
                    max_bytes: usize::from(input.u16()),
                    max_gas: u64::from(input.u8()) << 16,
                };
                let chosen = pool.candidates(&accounts, &target);
                check_candidates(&pool, &chosen, &accounts, &target);
                height += 1;
                let ordered: Vec<_> = chosen.iter().map(ordered).collect();
                for envelope in &chosen {
                    let account = accounts.entry(envelope.payer()).or_default();
                    account.0 = account.0.max(envelope.header().payer_nonce + 1);
                }
                pool.on_height(height, target.floor, &ordered, &accounts);
                for envelope in &chosen {
                    assert!(!pool.contains(&envelope.id()), "ordered, and still pooled");
                }
            }
            5 => {
                let payer = key(input.below(PAYERS)).address();
                let account = accounts.entry(payer).or_default();
                account.1 = U256::from(input.u16()) * U256::from(10_000_000_000_000u64);
                account.0 += u64::from(input.u8() % 2);
                pool.revalidate([payer], &accounts);
            }
            6 => {
                height += u64::from(input.u8() % 8);
                pool.prune_expired(height);
            }
            _ => {
                // A restart: what is stored comes back, and nothing else.
                let content: Vec<_> = pool.iter().cloned().collect();
                pool = Mempool::new(config.clone());
                pool.restore(content, &accounts, height);
            }
        }
        pool.assert_consistent();
        for change in pool.drain_changes() {
            match change {
                Change::Insert { id, bytes } => assert!(stored.insert(id, bytes).is_none()),
                Change::Remove { id, .. } => {
                    assert!(stored.remove(&id).is_some(), "removed what was never stored");
                }
            }
        }
        let held: BTreeMap<_, _> =
            pool.iter().map(|envelope| (envelope.id(), envelope.bytes().clone())).collect();
        assert_eq!(held, stored, "the pool and what its owner stored differ");
    }
    admitted
}

fn ordered(envelope: &CheckedEnvelope) -> OrderedEnvelope {
    OrderedEnvelope {
        id: envelope.id(),
        payer: envelope.payer(),
        nonce: envelope.header().payer_nonce,
    }
}

fn check_candidates(
    pool: &Mempool,
    chosen: &[CheckedEnvelope],
    accounts: &Accounts,
    target: &BlockTarget,
) {
    assert!(chosen.len() <= target.max_count);
    let bytes: usize = chosen.iter().map(CheckedEnvelope::size_bytes).sum();
    let gas: u64 = chosen.iter().map(|envelope| envelope.header().gas_limit).sum();
    assert!(bytes <= target.max_bytes && gas <= target.max_gas);
    let mut next: HashMap<Address, u64> = HashMap::new();
    for envelope in chosen {
        let header = envelope.header();
        let nonce = next.entry(envelope.payer()).or_insert_with(|| accounts[&envelope.payer()].0);
        assert_eq!(header.payer_nonce, *nonce, "a gap, or out of turn");
        *nonce += 1;
        assert!(header.max_fee_per_gas >= target.floor.least_max_fee);
        assert!(header.expiry_height >= target.height);
        assert_eq!(pool.status(&envelope.id()), Some(PoolStatus::Pending));
    }
}
