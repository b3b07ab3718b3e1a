//! What the wallets do: open a market, then trade on it.

use super::{
    bot::SWAP_GAS,
    contracts::{Market, TOKEN, add_liquidity, approve_all, transfer},
    wallets::{Action, DevWallet, MAX_IN_FLIGHT, Members, Sent},
};
use alloy_primitives::{Address, U256};
use blindfold_execution::contracts::{exchange_creation_code, token_creation_code};
use eyre::{Result, bail};
use std::{collections::VecDeque, sync::Mutex, time::Duration};

/// Tokens of each kind that each wallet starts with.
const WALLET_TOKENS: u128 = 10_000 * TOKEN;
/// Tokens of each kind in the exchange.
const POOL_TOKENS: u128 = 100_000 * TOKEN;
/// Gas of the larger set-up transactions.
const CREATE_GAS: u64 = 2_000_000;
/// Gas of an ERC-20 call.
const TOKEN_GAS: u64 = 65_000;
/// Trading wallets.
pub const TRADERS: usize = 8;
/// One in this many transactions is a transfer, the others are swaps.
const TRANSFER_EVERY: usize = 4;

/// Deploys the contracts and hands out tokens. The contracts' addresses follow from the deployer's
/// nonces, so nothing has to be waited for.
pub fn open_market(
    deployer: &mut DevWallet,
    traders: &mut [DevWallet],
    bot: &mut DevWallet,
    members: &Members,
    market: Market,
) -> Result<Vec<Sent>> {
    let supply = U256::from(POOL_TOKENS + WALLET_TOKENS * (TRADERS as u128 + 2));
    let action = |to, input, gas_limit| Action { to, input, gas_limit, bid_wei: None };
    let mut actions = vec![
        action(None, token_creation_code("Apple", "APL", supply), CREATE_GAS),
        action(None, token_creation_code("Birch", "BIR", supply), CREATE_GAS),
        action(None, exchange_creation_code(market.token_a, market.token_b), CREATE_GAS),
        action(Some(market.token_a), approve_all(market.exchange), TOKEN_GAS),
        action(Some(market.token_b), approve_all(market.exchange), TOKEN_GAS),
        action(
            Some(market.exchange),
            add_liquidity(U256::from(POOL_TOKENS), U256::from(POOL_TOKENS)),
            4 * TOKEN_GAS,
        ),
    ];
    let holders: Vec<_> = traders.iter().map(DevWallet::address).chain([bot.address()]).collect();
    for holder in holders {
        for token in [market.token_a, market.token_b] {
            actions.push(action(
                Some(token),
                transfer(holder, U256::from(WALLET_TOKENS)),
                TOKEN_GAS,
            ));
        }
    }
    let mut sent = Vec::new();
    for action in &actions {
        sent.push(deployer.send(members, action)?);
    }
    for holder in traders.iter_mut().chain([bot]) {
        for token in [market.token_a, market.token_b] {
            sent.push(
                holder
                    .send(members, &action(Some(token), approve_all(market.exchange), TOKEN_GAS))?,
            );
        }
    }
    Ok(sent)
}

/// Has the traders send their transactions, each at its own pace, none with more in flight than the
/// protocol's nonce window allows.
pub fn trade(
    transactions: usize,
    traders: &mut [DevWallet],
    members: &Members,
    market: Market,
    stop: &(dyn Fn() -> Result<bool> + Sync),
) -> Result<Vec<Sent>> {
    let count = traders.len();
    let addresses: Vec<_> = traders.iter().map(DevWallet::address).collect();
    let all = Mutex::new(Vec::with_capacity(transactions));
    std::thread::scope(|scope| -> Result<()> {
        let handles: Vec<_> = traders
            .iter_mut()
            .enumerate()
            .map(|(at, trader)| {
                let share = transactions / count + usize::from(at < transactions % count);
                let (all, addresses) = (&all, &addresses);
                scope.spawn(move || -> Result<()> {
                    let client = &members.clients[at % members.clients.len()];
                    let mut in_flight: VecDeque<Sent> = VecDeque::new();
                    let mut ended = Vec::new();
                    for number in 0..share {
                        while in_flight.len() >= MAX_IN_FLIGHT {
                            if stop()? {
                                bail!("interrupted");
                            }
                            let Some(first) = in_flight.front_mut() else { break };
                            match client.status(first.envelope_id) {
                                Ok(Some(status)) if status.is_terminal() => {
                                    first.end = Some(status);
                                    ended.extend(in_flight.pop_front());
                                }
                                _ => std::thread::sleep(Duration::from_millis(30)),
                            }
                        }
                        let action = choose(number, trader, addresses, market);
                        in_flight.push_back(trader.send(members, &action)?);
                    }
                    ended.extend(in_flight);
                    all.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(ended);
                    Ok(())
                })
            })
            .collect();
        for handle in handles {
            handle.join().map_err(|_| eyre::eyre!("a trader's thread panicked"))??;
        }
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// A transfer now and then, swaps in either direction otherwise.
pub fn choose(number: usize, trader: &mut DevWallet, others: &[Address], market: Market) -> Action {
    let own = trader.address();
    let choices = trader.choices();
    let token = if choices.below(2) == 0 { market.token_a } else { market.token_b };
    let amount = U256::from(choices.between(1, 40)) * U256::from(TOKEN);
    if number % TRANSFER_EVERY == TRANSFER_EVERY - 1 {
        let to = others[choices.below(others.len())];
        return Action {
            to: Some(token),
            input: transfer(to, amount),
            gas_limit: TOKEN_GAS,
            bid_wei: None,
        };
    }
    let input = market.sell(token, amount, own);
    Action { to: Some(market.exchange), input, gas_limit: SWAP_GAS, bid_wei: None }
}
