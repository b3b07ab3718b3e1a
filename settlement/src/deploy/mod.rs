//! Putting the contracts on an L1.
//!
//! The addresses follow from the deployer and its nonce alone, so the genesis document can name the inbox
//! before anything exists; the contracts then get the hash of that document. Nothing can be changed
//! afterwards: no proxies, no owner. Each constructor checks that it stands at the address planned.
//!
//! ```text
//! deployer, nonce ─▶ DeploymentPlan ─▶ genesis.settlement ─▶ genesis hash ─▶ creations ─▶ deploy
//! ```
//!
//! [`deploy`] and [`fund_members`] look at the chain before each step and do only what is missing, so
//! both can be called again after a crash at any point.

mod members;
mod params;
mod sender;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use alloy_network::TransactionBuilder as _;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use alloy_provider::{DynProvider, Provider as _};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolConstructor as _;
use async_trait::async_trait;
use blindfold_wire::{Genesis, MemberInfo, SigningKey};
use serde::{Deserialize, Serialize};

use crate::{
    accumulator::LeaderTable,
    bindings::{
        BatchInbox, Bridge, CommitteeRegistry, ForcedQueue, OperatorRegistry, OutputOracle,
        Slasher, StakeVault,
    },
    l1::{L1, L1Error, SendFault, embedded::MAX_TX_GAS},
    points::{self, PointError},
};

use self::sender::Sender;
pub use self::{
    members::{Funding, fund_members},
    params::L1Params,
};

/// Contracts that are deployed, in the order of their nonces.
pub const CONTRACTS: [&str; 8] = [
    "StakeVault",
    "OperatorRegistry",
    "CommitteeRegistry",
    "ForcedQueue",
    "BatchInbox",
    "OutputOracle",
    "Bridge",
    "Slasher",
];

/// Place of the inbox among [`CONTRACTS`].
const INBOX: u64 = 4;

/// Members of a first committee: their keys are arguments of the registry's creation, whose code EIP-3860
/// limits to 49,152 bytes. (A later committee may have 64.)
pub const MAX_GENESIS_MEMBERS: usize = 31;

/// Times [`deploy`] and [`fund_members`] look for a receipt before they give up.
const MAX_POLLS: usize = 600;

/// How a caller waits between two looks at the chain: it sleeps on a running chain, and makes a block on
/// one that is mined on demand.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Lets the chain go on.
    async fn pause(&self);
}

/// Where the contracts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Addresses {
    /// Stake.
    pub vault: Address,
    /// Operators and their vote keys.
    pub operators: Address,
    /// Committees by epoch.
    pub committees: Address,
    /// Forced transactions.
    pub queue: Address,
    /// Batches; also the EIP-712 verifying contract.
    pub inbox: Address,
    /// State roots.
    pub oracle: Address,
    /// Deposits and withdrawals.
    pub bridge: Address,
    /// Evidence.
    pub slasher: Address,
}

impl Addresses {
    /// All eight in the order of [`CONTRACTS`].
    #[must_use]
    pub const fn all(&self) -> [Address; 8] {
        [
            self.vault,
            self.operators,
            self.committees,
            self.queue,
            self.inbox,
            self.oracle,
            self.bridge,
            self.slasher,
        ]
    }
}

/// Which account deploys, from which nonce on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentPlan {
    /// The account that creates the contracts.
    pub deployer: Address,
    /// Nonce of its first creation; the seven after it follow without a gap.
    pub nonce: u64,
}

impl DeploymentPlan {
    /// A plan.
    #[must_use]
    pub const fn new(deployer: Address, nonce: u64) -> Self {
        Self { deployer, nonce }
    }

    /// Where the contracts will be.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let at = |place: u64| self.deployer.create(self.nonce.saturating_add(place));
        Addresses {
            vault: at(0),
            operators: at(1),
            committees: at(2),
            queue: at(3),
            inbox: at(INBOX),
            oracle: at(5),
            bridge: at(6),
            slasher: at(7),
        }
    }

    /// What the genesis document names as its settlement contract: the inbox.
    #[must_use]
    pub fn settlement_address(&self) -> Address {
        self.deployer.create(self.nonce.saturating_add(INBOX))
    }
}

/// Why the contracts are not on L1.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A parameter that the contracts refuse.
    #[error("L1 parameter {name}: {reason}")]
    Params {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More members than can be deployed with.
    #[error(
        "the contracts can be deployed with {MAX_GENESIS_MEMBERS} members, the genesis document has {0}"
    )]
    TooManyMembers(usize),
    /// The genesis document names another settlement contract than the plan's.
    #[error("the genesis document names {named} as settlement, the plan says {planned}")]
    OtherSettlement {
        /// By the document.
        named: Address,
        /// By the plan.
        planned: Address,
    },
    /// A key of the genesis document is no point. Validate the document.
    #[error("member {member}'s {what}: {source}")]
    Key {
        /// Index of the member; the number of members for the committee's own keys.
        member: usize,
        /// Which key.
        what: &'static str,
        /// What is wrong with it.
        source: PointError,
    },
    /// The key given is not the deployer's.
    #[error("the plan's deployer is {planned}, the key given is that of {given}")]
    OtherDeployer {
        /// By the plan.
        planned: Address,
        /// The key's address.
        given: Address,
    },
    /// The deployer has used a planned nonce for something else.
    #[error("{contract} cannot be at its address any more: the deployer's nonce {nonce} is used")]
    NonceUsed {
        /// The contract.
        contract: &'static str,
        /// Its nonce.
        nonce: u64,
    },
    /// The deployer's nonce has not reached the plan's.
    #[error("the deployer's nonce is {got}, the plan begins at {planned}")]
    NonceAhead {
        /// By the plan.
        planned: u64,
        /// On the chain.
        got: u64,
    },
    /// A transaction reverted.
    #[error("{what} reverted in transaction {transaction}")]
    Reverted {
        /// What it does.
        what: &'static str,
        /// Its hash.
        transaction: B256,
    },
    /// What stands at an address is not the contract.
    #[error("what stands at {address} is not this deployment's {contract}")]
    NotOurs {
        /// The contract.
        contract: &'static str,
        /// Its address.
        address: Address,
    },
    /// L1 took no transaction.
    #[error("L1 did not take {what}: {fault:?}")]
    Send {
        /// What it does.
        what: &'static str,
        /// Why not.
        fault: SendFault,
    },
    /// A transaction is in no block after many looks.
    #[error("{0} is in no block after {MAX_POLLS} looks; run the same command again")]
    Stuck(&'static str),
    /// L1 gave no usable answer.
    #[error(transparent)]
    L1(#[from] L1Error),
}

/// The genesis document's committee as its registry's constructor takes it, with the leaders of all slots.
///
/// # Errors
/// If a key is no point, or there are too many members.
pub fn genesis_committee(
    genesis: &Genesis,
    leaders: &LeaderTable,
) -> Result<CommitteeRegistry::GenesisCommittee, DeployError> {
    let committee = &genesis.committee;
    let count = committee.members.len();
    if count > MAX_GENESIS_MEMBERS {
        return Err(DeployError::TooManyMembers(count));
    }
    let key = |member, what| move |source| DeployError::Key { member, what, source };
    let member = |(index, info): (usize, &MemberInfo)| {
        Ok(CommitteeRegistry::Member {
            signer: info.signer,
            feeAddress: info.fee_address,
            voteKey: points::g2_to_eip2537(&info.vote_key).map_err(key(index, "vote key"))?.into(),
            voteKeyPossession: points::g1_to_eip2537(&info.vote_key_pop)
                .map_err(key(index, "proof of possession"))?
                .into(),
            shareKey: points::g2_to_eip2537(&info.verification_key)
                .map_err(key(index, "verification key"))?
                .into(),
        })
    };
    Ok(CommitteeRegistry::GenesisCommittee {
        epoch: committee.epoch,
        threshold: committee.threshold,
        y: points::g1_to_eip2537(&committee.y).map_err(key(count, "key Y"))?.into(),
        y2: points::g2_to_eip2537(&committee.y2).map_err(key(count, "key Y2"))?.into(),
        scheduleRoot: leaders.root(),
        members: committee
            .members
            .iter()
            .enumerate()
            .map(member)
            .collect::<Result<_, DeployError>>()?,
    })
}

/// One contract to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its name.
    pub contract: &'static str,
    /// The deployer's nonce.
    pub nonce: u64,
    /// Where it will be.
    pub address: Address,
    /// Creation code and constructor arguments.
    pub code: Bytes,
    /// A gas limit that is enough, below EIP-7825's cap.
    pub gas_limit: u64,
}

/// Addresses and parameters in one contract's own types.
macro_rules! arguments {
    ($contract:ident, $addresses:expr, $genesis:expr, $params:expr) => {{
        let (addresses, genesis, params): (&Addresses, &Genesis, &L1Params) =
            ($addresses, $genesis, $params);
        (
            $contract::Addresses {
                vault: addresses.vault,
                operators: addresses.operators,
                committees: addresses.committees,
                queue: addresses.queue,
                inbox: addresses.inbox,
                oracle: addresses.oracle,
                bridge: addresses.bridge,
                slasher: addresses.slasher,
            },
            $contract::Params {
                l2ChainId: genesis.chain_id,
                genesisHash: genesis.hash(),
                executedLag: genesis.params.executed_lag,
                forcedDelayBlocks: params.forced_delay_blocks,
                forcedDeadlineBlocks: params.forced_deadline_blocks,
                forcedFallbackBlocks: params.forced_fallback_blocks,
                challengeWindow: params.challenge_window_s,
                evidenceWindow: params.evidence_window_s,
                exitDelay: params.exit_delay_s,
                outputWindow: params.output_window_s,
                proveWindow: params.prove_window_s,
                revealDelayBlocks: params.reveal_delay_blocks,
                minStake: params.min_stake_wei,
                rewardCap: params.reward_cap_wei,
                challengeBond: params.challenge_bond_wei,
                outputBond: params.output_bond_wei,
                forcedFee: params.forced_fee_wei,
            },
        )
    }};
}

/// The eight creations, in order.
///
/// # Errors
/// If parameters or the genesis document do not fit the contracts, or each other.
pub fn creations(
    plan: &DeploymentPlan,
    genesis: &Genesis,
    leaders: &LeaderTable,
    params: &L1Params,
) -> Result<Vec<Creation>, DeployError> {
    params.validate()?;
    let planned = plan.settlement_address();
    if genesis.settlement != planned {
        return Err(DeployError::OtherSettlement { named: genesis.settlement, planned });
    }
    let addresses = plan.addresses();
    let committee = genesis_committee(genesis, leaders)?;
    let members = committee.members.len() as u64;
    macro_rules! code {
        ($contract:ident) => {{
            let (a, p) = arguments!($contract, &addresses, genesis, params);
            let arguments = $contract::constructorCall { a, p }.abi_encode();
            [&$contract::BYTECODE[..], &arguments].concat()
        }};
    }
    let registry = {
        let (a, p) = arguments!(CommitteeRegistry, &addresses, genesis, params);
        let arguments = CommitteeRegistry::constructorCall { a, p, g: committee }.abi_encode();
        [&CommitteeRegistry::BYTECODE[..], &arguments].concat()
    };
    // The bridge and the operator registry ignore the parameters; Solidity leaves them without a name.
    let bridge = {
        let (a, p) = arguments!(Bridge, &addresses, genesis, params);
        [&Bridge::BYTECODE[..], &Bridge::constructorCall { a, _1: p }.abi_encode()].concat()
    };
    let operators = {
        let (a, p) = arguments!(OperatorRegistry, &addresses, genesis, params);
        let arguments = OperatorRegistry::constructorCall { a, _1: p }.abi_encode();
        [&OperatorRegistry::BYTECODE[..], &arguments].concat()
    };
    let codes = [
        code!(StakeVault),
        operators,
        registry,
        code!(ForcedQueue),
        code!(BatchInbox),
        code!(OutputOracle),
        bridge,
        code!(Slasher),
    ];
    let places = (0u64..).zip(CONTRACTS).zip(addresses.all()).zip(codes);
    Ok(places
        .map(|(((place, contract), address), code)| {
            let members = if contract == "CommitteeRegistry" { members } else { 0 };
            let gas_limit = gas_limit(code.len() as u64, members).min(MAX_TX_GAS);
            let nonce = plan.nonce.saturating_add(place);
            Creation { contract, nonce, address, code: code.into(), gas_limit }
        })
        .collect())
}

/// Enough gas to create a contract of so many bytes, arguments included, that checks the keys of
/// `members` and stores them: what the bytes cost to send, twice over because a contract may create
/// another, and 200 for each that is kept.
const fn gas_limit(bytes: u64, members: u64) -> u64 {
    500_000 + 240 * bytes + MEMBER_GAS * members
}

/// Gas to check one member's keys and keep them, less what its bytes are counted at already.
const MEMBER_GAS: u64 = 150_000;

/// Creates what is not there yet, and checks that all eight contracts are this deployment's. Returns gas
/// used by contract, of those that were created now.
///
/// # Errors
/// [`DeployError`]. What was created stays, and the next call goes on from there.
pub async fn deploy(
    l1: &dyn L1,
    key: &SigningKey,
    plan: &DeploymentPlan,
    creations: &[Creation],
    genesis: &Genesis,
    pace: &dyn Pace,
) -> Result<BTreeMap<&'static str, u64>, DeployError> {
    if key.address() != plan.deployer {
        let given = key.address();
        return Err(DeployError::OtherDeployer { planned: plan.deployer, given });
    }
    let sender = Sender::new(l1, key, pace);
    let next = sender.nonce().await?;
    if next < plan.nonce {
        return Err(DeployError::NonceAhead { planned: plan.nonce, got: next });
    }
    let mut sent = Vec::new();
    for creation in creations {
        if creation.nonce < next {
            if sender.code(creation.address).await?.is_empty() {
                let (contract, nonce) = (creation.contract, creation.nonce);
                return Err(DeployError::NonceUsed { contract, nonce });
            }
            continue;
        }
        let request = TransactionRequest::default()
            .with_input(creation.code.clone())
            .with_kind(TxKind::Create)
            .with_nonce(creation.nonce)
            .with_gas_limit(creation.gas_limit);
        let transaction = sender.send(creation.contract, request).await?;
        sent.push((creation.contract, transaction));
    }
    let mut gas = BTreeMap::new();
    for (contract, transaction) in sent {
        gas.insert(contract, sender.receipt(contract, transaction).await?);
    }
    check(&sender.provider, plan, genesis).await?;
    Ok(gas)
}

/// Whether the contracts of this plan, for this genesis document, are on L1.
///
/// # Errors
/// [`DeployError::NotOurs`] if something else is there, or nothing.
pub async fn check(
    provider: &DynProvider,
    plan: &DeploymentPlan,
    genesis: &Genesis,
) -> Result<(), DeployError> {
    let addresses = plan.addresses();
    for (contract, address) in CONTRACTS.into_iter().zip(addresses.all()) {
        let code = provider.get_code_at(address).await.map_err(L1Error::from)?;
        if code.is_empty() {
            return Err(DeployError::NotOurs { contract, address });
        }
    }
    // The inbox keeps the hash of the genesis document, which covers all else; the registry too.
    let ours = genesis.hash();
    let inbox = BatchInbox::new(addresses.inbox, provider);
    let registry = CommitteeRegistry::new(addresses.committees, provider);
    let not_ours = |contract, address| move |_| DeployError::NotOurs { contract, address };
    let hash = inbox.genesisHash().call().await.map_err(not_ours("BatchInbox", addresses.inbox))?;
    if hash != ours {
        return Err(DeployError::NotOurs { contract: "BatchInbox", address: addresses.inbox });
    }
    let hash = registry
        .genesisHash()
        .call()
        .await
        .map_err(not_ours("CommitteeRegistry", addresses.committees))?;
    if hash != ours {
        let address = addresses.committees;
        return Err(DeployError::NotOurs { contract: "CommitteeRegistry", address });
    }
    Ok(())
}
