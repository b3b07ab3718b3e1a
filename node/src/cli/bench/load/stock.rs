//! Sealed transactions made in advance: sealing costs CPU that must not be taken from the members while
//! they are measured.

use crate::cli::{bench::progress::Progress, devnet::rng::Choices, tx};
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use blindfold_sdk::{Committee, Fees, SigningKey, Wallet};
use eyre::Result;
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Wei per gas that envelopes and inner transactions offer at most; a devnet's base fee stays far below.
const MAX_FEE_WEI: u128 = 100_000_000_000;
/// Wei per gas that envelopes bid.
const PRIORITY_FEE_WEI: u128 = 1_000_000;

/// A sealed transaction ready to be sent.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its envelope's id.
    pub id: B256,
    /// The encoded envelope.
    pub bytes: Bytes,
    /// Number of its payer.
    pub payer: usize,
}

struct Payer {
    key: SigningKey,
    wallet: Wallet,
    next_nonce: u64,
}

/// The payers, and what they have sealed so far.
pub struct Stock {
    payers: Vec<Payer>,
    next_payer: usize,
}

/// The payers' keys, which follow from the seed.
pub fn keys(seed: u64, payers: usize) -> Vec<SigningKey> {
    let mut choices = Choices::new(seed, "load payers");
    (0..payers).map(|_| SigningKey::random(choices.bytes())).collect()
}

impl Stock {
    /// Payers that have sent nothing yet.
    pub fn new(keys: Vec<SigningKey>, committee: &Committee) -> Self {
        let payer = |key: SigningKey| Payer {
            wallet: Wallet::new(key.clone(), committee.clone()),
            key,
            next_nonce: 0,
        };
        Self { payers: keys.into_iter().map(payer).collect(), next_payer: 0 }
    }

    /// Number of payers.
    pub fn payers(&self) -> usize {
        self.payers.len()
    }

    /// Signs and seals `count` transfers, the payers in turn, on up to `threads` threads. They may be
    /// ordered up to `expiry_height`.
    ///
    /// # Errors
    /// If sealing fails, or `interrupted` is raised.
    pub fn seal(
        &mut self,
        count: usize,
        expiry_height: u64,
        threads: usize,
        interrupted: &AtomicBool,
    ) -> Result<Vec<Ready>> {
        let payers = self.payers.len();
        // Payer and nonce of each, in the order in which they are sent.
        let mut plan = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.next_payer;
            plan.push((at, self.payers[at].next_nonce));
            self.payers[at].next_nonce += 1;
            self.next_payer = (at + 1) % payers;
        }
        let fees = Fees {
            max_fee_per_gas: MAX_FEE_WEI,
            max_priority_fee_per_gas: PRIORITY_FEE_WEI,
            gas_limit: TRANSFER_GAS,
            expiry_height,
        };
        let (done, stock) = (AtomicUsize::new(0), &*self);
        let progress = Progress::new(format!("sealing {count}"));
        thread::scope(|scope| {
            let handles: Vec<_> = plan
                .chunks(count.div_ceil(threads.max(1)).max(1))
                .map(|part| {
                    let done = &done;
                    scope.spawn(move || -> Result<Vec<Ready>> {
                        let mut sealed = Vec::with_capacity(part.len());
                        for (payer, nonce) in part {
                            eyre::ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
                            sealed.push(stock.seal_one(*payer, *nonce, &fees)?);
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(sealed)
                    })
                })
                .collect();
            while handles.iter().any(|handle| !handle.is_finished()) {
                let done = done.load(Ordering::Relaxed);
                progress.show(done as f64 / count.max(1) as f64, &format!("{done} sealed"));
                thread::sleep(Duration::from_millis(50));
            }
            let mut all = Vec::with_capacity(count);
            for handle in handles {
                all.extend(handle.join().map_err(|_| eyre::eyre!("a sealing thread panicked"))??);
            }
            Ok(all)
        })
    }

    /// A transfer of one wei to the next payer.
    fn seal_one(&self, at: usize, nonce: u64, fees: &Fees) -> Result<Ready> {
        let payer = &self.payers[at];
        let to: Address = self.payers[(at + 1) % self.payers.len()].key.address();
        let transaction = tx::sign(
            TxEip1559 {
                chain_id: payer.wallet.committee().chain_id(),
                nonce,
                gas_limit: TRANSFER_GAS,
                max_fee_per_gas: MAX_FEE_WEI,
                max_priority_fee_per_gas: 0,
                to: TxKind::Call(to),
                value: U256::from(1),
                access_list: Default::default(),
                input: Bytes::new(),
            },
            &payer.key,
        );
        let sealed = payer.wallet.seal_with_nonce(&transaction.encoded_2718(), nonce, fees)?;
        Ok(Ready { id: sealed.id(), bytes: sealed.encode().into(), payer: at })
    }
}
