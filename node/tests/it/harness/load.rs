//! Wallets: one at a time, or several that go on whatever happens to members.

use super::Network;
use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U256};
use blindfold_node::cli::tx;
use blindfold_sdk::{
    Client, ClientError, Committee, SealedTransaction, SigningKey, Wallet, rpc::codes,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// One key that sends and pays.
pub struct Payer {
    key: SigningKey,
    wallet: Wallet,
    inner_nonce: u64,
}

impl Payer {
    pub fn new(key: SigningKey, committee: Committee) -> Self {
        Self { wallet: Wallet::new(key.clone(), committee), key, inner_nonce: 0 }
    }

    /// Seals the next transfer of one wei, with fees as `client` suggests.
    pub fn seal(&mut self, client: &Client) -> Result<SealedTransaction, ClientError> {
        let fees = client.suggest_fees(21_000)?;
        let transfer = TxEip1559 {
            chain_id: client.committee().genesis().chain_id,
            nonce: self.inner_nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(Address::repeat_byte(0xaa)),
            value: U256::from(1),
            access_list: Default::default(),
            input: Default::default(),
        };
        let signed = tx::sign(transfer, &self.key).encoded_2718();
        self.inner_nonce += 1;
        Ok(self.wallet.seal(&signed, &fees).unwrap())
    }

    /// Seals `count` transfers and hands them to `member`.
    pub fn send(&mut self, network: &Network, member: usize, count: usize) -> Vec<B256> {
        let client = &network.clients[member];
        (0..count)
            .map(|_| {
                let sealed = network.until("a member suggests fees", || self.seal(client).ok());
                network.until("an envelope is admitted", || client.submit(&sealed).ok());
                sealed.id()
            })
            .collect()
    }
}

/// Threads that seal and submit until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<B256>>>,
}

/// Pause between two envelopes of one payer.
const PACE: Duration = Duration::from_millis(150);
/// Most envelopes one payer sends, so that a forgotten load ends.
const MOST: usize = 2_000;
/// Pause before a refused envelope is tried again.
const AGAIN: Duration = Duration::from_millis(50);

impl Load {
    /// One thread per key, each handing every envelope to two of the members at `entries`: one that
    /// is killed right after it answered must not hold up its payer's later ones.
    pub fn start(network: &Network, keys: &[SigningKey], entries: &[usize]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = keys
            .iter()
            .map(|key| {
                let (payer, stop) = (network.wallet(key.clone()), Arc::clone(&stop));
                let mut all: Vec<_> = network.new_clients().into_iter().map(Some).collect();
                let clients = entries.iter().filter_map(|member| all[*member].take()).collect();
                thread::spawn(move || Self::drive(payer, clients, &stop))
            })
            .collect();
        Self { stop, threads }
    }

    fn drive(mut payer: Payer, clients: Vec<Client>, stop: &AtomicBool) -> Vec<B256> {
        let mut admitted = Vec::new();
        let mut next = 0;
        let stopped = || stop.load(Ordering::Relaxed);
        while !stopped() && admitted.len() < MOST {
            next += 1;
            let Ok(sealed) = payer.seal(&clients[next % clients.len()]) else {
                thread::sleep(AGAIN);
                continue;
            };
            let (mut copies, mut tries) = (0, 0);
            let copies_wanted = clients.len().min(2);
            while copies < copies_wanted && (tries < 4 * clients.len() || copies == 0) {
                if stopped() && tries > 0 {
                    break;
                }
                match clients[(next + tries) % clients.len()].submit(&sealed) {
                    Ok(_) => copies += 1,
                    Err(error) if is_known(&error) => copies += 1,
                    Err(_) => thread::sleep(AGAIN),
                }
                tries += 1;
            }
            if copies > 0 {
                admitted.push(sealed.id());
            }
            thread::sleep(PACE);
        }
        admitted
    }

    /// Ends the load; the envelopes that a member took.
    pub fn stop(mut self) -> Vec<B256> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().flat_map(|thread| thread.join().expect("the load")).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whether the member has the envelope already, pooled or ordered.
fn is_known(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { code, message, .. }
        if *code == codes::ENVELOPE_REFUSED && message.contains("already"))
}
