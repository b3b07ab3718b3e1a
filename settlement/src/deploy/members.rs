//! Stake and registrations of the first members.

use alloy_network::TransactionBuilder as _;
use alloy_primitives::{Bytes, U256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall as _;
use blindfold_wire::{Genesis, SigningKey};

use super::{Addresses, DeployError, Pace, sender::Sender};
use crate::{
    bindings::{OperatorRegistry, StakeVault},
    l1::{L1, L1Error},
    points,
};

/// What a development network gives its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funding {
    /// Stake of each, in wei; at least the parameters' minimum.
    pub stake_wei: U256,
    /// Balance of each signer for gas, in wei.
    pub gas_wei: U256,
}

/// Stakes for every genesis member, gives each signer wei for gas, and registers the vote keys of those
/// whose keys are given (each registration carries its signer's own signature). For development
/// networks; on others operators do this themselves.
///
/// # Errors
/// [`DeployError`]. What was done stays, and the next call goes on from there.
pub async fn fund_members(
    l1: &dyn L1,
    key: &SigningKey,
    addresses: &Addresses,
    genesis: &Genesis,
    signers: &[SigningKey],
    funding: &Funding,
    pace: &dyn Pace,
) -> Result<(), DeployError> {
    let sender = Sender::new(l1, key, pace);
    let vault = StakeVault::new(addresses.vault, &sender.provider);
    let operators = OperatorRegistry::new(addresses.operators, &sender.provider);
    let unusable = |error: alloy_contract::Error| L1Error::Unusable(error.to_string());
    let mut nonce = sender.nonce().await?;
    let mut sent = Vec::new();
    for (index, member) in genesis.committee.members.iter().enumerate() {
        let mut todo: Vec<(&'static str, TransactionRequest)> = Vec::new();
        let stake = vault.stakeOf(member.signer).call().await.map_err(unusable)?;
        if stake < funding.stake_wei {
            let call = StakeVault::depositCall { signer: member.signer }.abi_encode();
            let request = TransactionRequest::default()
                .with_to(addresses.vault)
                .with_input(call)
                .with_value(funding.stake_wei - stake);
            todo.push(("a deposit of stake", request.with_gas_limit(200_000)));
        }
        let balance = sender.provider.get_balance(member.signer).await.map_err(L1Error::from)?;
        if balance < funding.gas_wei {
            let request = TransactionRequest::default()
                .with_to(member.signer)
                .with_value(funding.gas_wei - balance);
            todo.push(("a transfer", request.with_gas_limit(30_000)));
        }
        let registered = operators.voteKeyHashOf(member.signer).call().await.map_err(unusable)?;
        let signer = signers.iter().find(|signer| signer.address() == member.signer);
        if let (true, Some(signer)) = (registered.is_zero(), signer) {
            let vote_key =
                Bytes::from(points::g2_to_eip2537(&member.vote_key).map_err(|source| {
                    DeployError::Key { member: index, what: "vote key", source }
                })?);
            let possession = points::g1_to_eip2537(&member.vote_key_pop).map_err(|source| {
                DeployError::Key { member: index, what: "proof of possession", source }
            })?;
            let digest =
                operators.registrationDigest(vote_key.clone()).call().await.map_err(unusable)?;
            let call = OperatorRegistry::registerCall {
                signer: member.signer,
                voteKey: vote_key,
                possession: possession.into(),
                authorisation: signer.sign_digest(digest).to_bytes().into(),
            };
            let request = TransactionRequest::default()
                .with_to(addresses.operators)
                .with_input(call.abi_encode());
            todo.push(("a registration", request.with_gas_limit(1_000_000)));
        }
        for (what, request) in todo {
            sent.push((what, sender.send(what, request.with_nonce(nonce)).await?));
            nonce += 1;
        }
    }
    for (what, transaction) in sent {
        sender.receipt(what, transaction).await?;
    }
    Ok(())
}
