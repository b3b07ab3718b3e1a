//! Generated blocks: few accounts and contracts, so that nearly everything depends on something.

use std::collections::HashMap;

use alloy_consensus::TxType;
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_sol_types::SolCall;
use blindfold_wire::SigningKey;
use proptest::prelude::*;

use super::{Engines, THREADS};
use crate::contracts::{IToken, token_creation_code};
use crate::replay::{Engine, Fork, MemoryState, ReplayBlock, ReplayTransaction};
use crate::state::Account;
use crate::testkit::workloads::{CALLER_CODE, calls};

/// Accounts with keys.
const PEOPLE: usize = 6;

/// Salts that are used again and again.
const SALTS: u8 = 3;

/// `slot ← slot + 1` for the slot in the input.
const COUNTER: &[u8] = &hex!("600035 80 54 600101 90 55 00");
/// Stores the balance of the address in the input.
const BALANCE_READER: &[u8] = &hex!("600035 80 31 90 55 00");
/// Stores the code hash of the address in the input.
const CODE_READER: &[u8] = &hex!("600035 80 3f 90 55 00");
/// Stores the balance of the beneficiary and its own.
const FEE_READER: &[u8] = &hex!("41 31 6000 55 30 31 6001 55 00");
/// Sends the value it gets on to the address in the input.
const FORWARDER: &[u8] = &hex!("6000 6000 6000 6000 34 600035 5a f1 50 00");
/// CREATE2 with the salt in the input and the init code behind it; stores the address.
const FACTORY: &[u8] = &hex!("6020 36 03 80 6020 6000 37 600035 90 6000 6000 f5 6000 55 00");
/// Without input counts in slot 0; with an address destroys itself in favour of it.
const PHOENIX: &[u8] = &hex!("36 600e 57 6000 54 6001 01 6000 55 00 5b 600035 ff");

/// Where the contracts lie.
const CONTRACTS: [(u8, &[u8]); 8] = [
    (0xa1, COUNTER),
    (0xa2, BALANCE_READER),
    (0xa3, CODE_READER),
    (0xa4, FEE_READER),
    (0xa5, FORWARDER),
    (0xa6, FACTORY),
    (0xa7, PHOENIX),
    (0xa8, &CALLER_CODE),
];

fn contract(code: &[u8]) -> Address {
    let found = CONTRACTS.iter().find(|(_, other)| *other == code);
    Address::repeat_byte(found.expect("a contract").0)
}

const TOKEN_DEPLOYER: Address = Address::repeat_byte(0xee);

/// Init code of a phoenix that begins with a slot that is set.
fn phoenix_init() -> Vec<u8> {
    let mut init = hex!("6001 6007 55 6013 6011 6000 39 6013 6000 f3").to_vec();
    init.extend_from_slice(PHOENIX);
    init
}

fn phoenix(salt: u8) -> Address {
    contract(FACTORY).create2(B256::from(U256::from(salt)), keccak256(phoenix_init()))
}

fn word(address: Address) -> Vec<u8> {
    address.into_word().to_vec()
}

/// Something a transaction can point at: a person, a contract, a phoenix, or nobody yet.
#[derive(Clone, Copy, Debug)]
enum Place {
    Person(usize),
    Contract(usize),
    Phoenix(u8),
    Nobody(u8),
    Beneficiary,
}

#[derive(Clone, Debug)]
enum Act {
    Pay(Place, u16),
    MoveTokens(usize, u8),
    Count(u8),
    ReadBalance(Place),
    ReadCode(Place),
    ReadFees,
    Forward(Place, u16),
    Create,
    Redeploy(u8),
    RedeployAndDestroy(u8, Place),
    Destroy(u8, Place),
    DestroyFixed(Place),
    CountPhoenix(u8),
    Delegate { authority: usize, to: Place, right_nonce: bool },
    CallPerson(usize),
    TooPoor,
    TooLittleGas,
    OutOfGas,
}

/// A sender does something, or what is done cannot be done.
#[derive(Clone, Debug)]
enum Step {
    Act(usize, Act),
    /// The transaction before so many again.
    Again(usize),
    /// With a nonce that is off by that much.
    WrongNonce(usize, i8),
}

#[derive(Clone, Debug)]
struct Plan {
    fork: Fork,
    beneficiary: Place,
    tip: u8,
    steps: Vec<Step>,
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => (0..PEOPLE).prop_map(Place::Person),
        2 => (0..CONTRACTS.len()).prop_map(Place::Contract),
        2 => (0..SALTS).prop_map(Place::Phoenix),
        1 => (0..2u8).prop_map(Place::Nobody),
        1 => Just(Place::Beneficiary),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (place(), any::<u16>()).prop_map(|(to, wei)| Act::Pay(to, wei)),
        4 => (0..PEOPLE, any::<u8>()).prop_map(|(to, amount)| Act::MoveTokens(to, amount)),
        2 => (0..3u8).prop_map(Act::Count),
        2 => place().prop_map(Act::ReadBalance),
        1 => place().prop_map(Act::ReadCode),
        1 => Just(Act::ReadFees),
        2 => (place(), any::<u16>()).prop_map(|(to, wei)| Act::Forward(to, wei)),
        1 => Just(Act::Create),
        2 => (0..SALTS).prop_map(Act::Redeploy),
        2 => (0..SALTS, place()).prop_map(|(salt, to)| Act::RedeployAndDestroy(salt, to)),
        2 => (0..SALTS, place()).prop_map(|(salt, to)| Act::Destroy(salt, to)),
        1 => place().prop_map(Act::DestroyFixed),
        2 => (0..SALTS).prop_map(Act::CountPhoenix),
        2 => (0..PEOPLE, place(), prop::bool::weighted(0.8)).prop_map(
            |(authority, to, right_nonce)| Act::Delegate { authority, to, right_nonce }
        ),
        1 => (0..PEOPLE).prop_map(Act::CallPerson),
        1 => Just(Act::TooPoor),
        1 => Just(Act::TooLittleGas),
        1 => Just(Act::OutOfGas),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..PEOPLE, act()).prop_map(|(sender, act)| Step::Act(sender, act)),
        1 => (1..5usize).prop_map(Step::Again),
        1 => (0..PEOPLE, -2..3i8).prop_map(|(sender, off)| Step::WrongNonce(sender, off)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let fork = prop_oneof![
        8 => Just(Fork::Osaka),
        2 => Just(Fork::Cancun),
        2 => Just(Fork::Shanghai),
        1 => Just(Fork::London),
        1 => Just(Fork::Istanbul),
        1 => Just(Fork::Byzantium),
        1 => Just(Fork::SpuriousDragon),
        1 => Just(Fork::Tangerine),
        1 => Just(Fork::Homestead),
    ];
    let steps = prop::collection::vec(step(), 1..40);
    (fork, place(), 0..3u8, steps).prop_map(|(fork, beneficiary, tip, steps)| Plan {
        fork,
        beneficiary,
        tip,
        steps,
    })
}

/// A plan on its way to a block.
struct Maker {
    keys: Vec<SigningKey>,
    nonces: HashMap<Address, u64>,
    block: ReplayBlock,
    token: Address,
    tip: u8,
}

impl Maker {
    fn new(plan: &Plan) -> Self {
        let keys: Vec<_> =
            (0..PEOPLE).map(|index| SigningKey::random([index as u8 + 1; 32])).collect();
        let mut maker = Self {
            keys,
            nonces: HashMap::new(),
            block: ReplayBlock {
                gas_limit: 1_000_000_000,
                base_fee_wei: if plan.fork >= Fork::London { 7 } else { 0 },
                ..ReplayBlock::empty(plan.fork)
            },
            token: TOKEN_DEPLOYER.create(0),
            tip: plan.tip,
        };
        maker.block.beneficiary = match plan.beneficiary {
            Place::Beneficiary => Address::ZERO,
            place => maker.address(place),
        };
        maker
    }

    fn person(&self, index: usize) -> Address {
        self.keys[index].address()
    }

    fn address(&self, place: Place) -> Address {
        match place {
            Place::Person(index) => self.person(index),
            Place::Contract(index) => Address::repeat_byte(CONTRACTS[index].0),
            Place::Phoenix(salt) => phoenix(salt),
            Place::Nobody(which) => Address::repeat_byte(0xd0 + which),
            Place::Beneficiary => self.block.beneficiary,
        }
    }

    /// Everybody has wei and tokens; the last person has little.
    fn state(&self) -> MemoryState {
        let mut state = MemoryState::new();
        let endow = |state: &mut MemoryState, address, wei: u128| {
            state.set_account(address, Account { balance: U256::from(wei), ..Account::default() });
        };
        for index in 0..PEOPLE {
            endow(&mut state, self.person(index), 10u128.pow(18));
        }
        endow(&mut state, self.person(PEOPLE - 1), 40_000_000);
        for (byte, code) in CONTRACTS {
            let balance = U256::from(u64::from(byte));
            state.set_contract(
                Address::repeat_byte(byte),
                balance,
                1,
                Bytes::copy_from_slice(code),
            );
        }
        state.set_storage(contract(PHOENIX), U256::from(7), U256::from(1));

        endow(&mut state, TOKEN_DEPLOYER, 10u128.pow(18));
        let mut setup = ReplayBlock { gas_limit: 1 << 40, ..ReplayBlock::empty(Fork::Osaka) };
        let legacy = |nonce, to| ReplayTransaction::legacy(TOKEN_DEPLOYER, nonce, to, 5_000_000);
        setup.transactions.push(ReplayTransaction {
            input: token_creation_code("T", "T", U256::from(1_000_000)),
            ..legacy(0, TxKind::Create)
        });
        for index in 0..PEOPLE {
            let to = self.person(index);
            let call = IToken::transferCall { to, amount: U256::from(100) };
            setup.transactions.push(ReplayTransaction {
                input: call.abi_encode().into(),
                ..legacy(index as u64 + 1, TxKind::Call(self.token))
            });
        }
        let outcome = Engines::with_threads(&[]).agree("setup", &setup, &state);
        assert!(outcome.receipts.iter().all(|receipt| receipt.success), "{outcome:?}");
        state.apply(&outcome.diff);
        state
    }

    /// A transaction with the sender's next nonce.
    fn transaction(&self, sender: Address, to: TxKind) -> ReplayTransaction {
        let nonce = self.nonces.get(&sender).copied().unwrap_or_default();
        let tip = u128::from(self.tip);
        let legacy = ReplayTransaction::legacy(sender, nonce, to, 300_000);
        if self.block.fork < Fork::London {
            return ReplayTransaction { max_fee_per_gas_wei: 7 + tip, ..legacy };
        }
        ReplayTransaction {
            tx_type: TxType::Eip1559,
            chain_id: Some(1),
            max_fee_per_gas_wei: 20,
            max_priority_fee_per_gas_wei: Some(tip),
            ..legacy
        }
    }

    fn used_nonce(&mut self, sender: Address) {
        *self.nonces.entry(sender).or_default() += 1;
    }

    fn authorization(&self, authority: usize, to: Address, nonce: u64) -> SignedAuthorization {
        let authorization = Authorization { chain_id: U256::from(1), address: to, nonce };
        let signature = self.keys[authority].sign_digest(authorization.signature_hash());
        let (r, s) = (U256::from_be_bytes(signature.r), U256::from_be_bytes(signature.s));
        SignedAuthorization::new_unchecked(authorization, u8::from(signature.y_parity), r, s)
    }

    fn act(&mut self, sender: usize, act: &Act) {
        let from = self.person(sender);
        let call = |maker: &Self, to, input: Vec<u8>| ReplayTransaction {
            input: input.into(),
            ..maker.transaction(from, TxKind::Call(to))
        };
        let create2 = |salt: u8| [U256::from(salt).to_be_bytes_vec(), phoenix_init()].concat();
        let mut runs = true;
        let transaction = match act {
            Act::Pay(to, wei) => ReplayTransaction {
                value_wei: U256::from(*wei),
                ..call(self, self.address(*to), Vec::new())
            },
            Act::MoveTokens(to, amount) => {
                let to = self.person(*to);
                let amount = U256::from(*amount);
                call(self, self.token, IToken::transferCall { to, amount }.abi_encode())
            }
            Act::Count(slot) => call(self, contract(COUNTER), U256::from(*slot).to_be_bytes_vec()),
            Act::ReadBalance(of) => call(self, contract(BALANCE_READER), word(self.address(*of))),
            Act::ReadCode(of) => call(self, contract(CODE_READER), word(self.address(*of))),
            Act::ReadFees => call(self, contract(FEE_READER), Vec::new()),
            Act::Forward(to, wei) => ReplayTransaction {
                value_wei: U256::from(*wei),
                ..call(self, contract(FORWARDER), word(self.address(*to)))
            },
            Act::Create => ReplayTransaction {
                input: phoenix_init().into(),
                value_wei: U256::from(3),
                ..self.transaction(from, TxKind::Create)
            },
            Act::Redeploy(salt) => call(self, contract(FACTORY), create2(*salt)),
            Act::RedeployAndDestroy(salt, to) => {
                let steps = [
                    (contract(FACTORY), create2(*salt)),
                    (phoenix(*salt), word(self.address(*to))),
                ];
                call(self, contract(&CALLER_CODE), calls(&steps).to_vec())
            }
            Act::Destroy(salt, to) => call(self, phoenix(*salt), word(self.address(*to))),
            Act::DestroyFixed(to) => call(self, contract(PHOENIX), word(self.address(*to))),
            Act::CountPhoenix(salt) => call(self, phoenix(*salt), Vec::new()),
            Act::Delegate { authority, to, right_nonce } => {
                let who = self.person(*authority);
                let next = self.nonces.get(&who).copied().unwrap_or_default();
                let next = next + u64::from(who == from) + u64::from(!right_nonce);
                let to = self.address(*to);
                let authorization = self.authorization(*authority, to, next);
                if self.block.fork >= Fork::Prague {
                    let transaction = self.transaction(from, TxKind::Call(who));
                    // In this order: the sender's nonce is used before the authority's.
                    self.used_nonce(from);
                    if *right_nonce {
                        self.used_nonce(who);
                    }
                    runs = false;
                    ReplayTransaction {
                        tx_type: TxType::Eip7702,
                        authorization_list: vec![authorization],
                        ..transaction
                    }
                } else {
                    call(self, who, Vec::new())
                }
            }
            Act::CallPerson(to) => {
                let input = U256::from(1).to_be_bytes_vec();
                call(self, self.person(*to), input)
            }
            Act::TooPoor => {
                runs = false;
                let value_wei = U256::from(10u128.pow(20));
                ReplayTransaction { value_wei, ..call(self, self.token, Vec::new()) }
            }
            Act::TooLittleGas => {
                runs = false;
                ReplayTransaction { gas_limit: 20_999, ..call(self, self.token, Vec::new()) }
            }
            Act::OutOfGas => ReplayTransaction {
                gas_limit: 24_000,
                ..call(self, contract(COUNTER), U256::from(1).to_be_bytes_vec())
            },
        };
        if runs {
            self.used_nonce(from);
        }
        self.block.transactions.push(transaction);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Act(sender, act) => self.act(*sender, act),
            Step::Again(back) => {
                let at = self.block.transactions.len().checked_sub(*back);
                if let Some(again) = at.and_then(|at| self.block.transactions.get(at)).cloned() {
                    self.block.transactions.push(again);
                }
            }
            Step::WrongNonce(sender, off) => {
                let target = TxKind::Call(contract(FEE_READER));
                let mut transaction = self.transaction(self.person(*sender), target);
                transaction.nonce = transaction.nonce.saturating_add_signed(i64::from(*off));
                if *off == 0 {
                    self.used_nonce(transaction.sender);
                }
                self.block.transactions.push(transaction);
            }
        }
    }
}

fn check(engines: &Engines, plan: &Plan) -> usize {
    let mut maker = Maker::new(plan);
    let state = maker.state();
    for step in &plan.steps {
        maker.step(step);
    }
    let outcome = engines.agree("generated", &maker.block, &state);
    outcome.receipts.iter().filter(|receipt| receipt.success).count()
}

proptest! {
    #[test]
    fn generated_blocks_come_to_the_same(plan in plan(), seed in any::<u64>()) {
        let engines = Engines {
            sequential: Engine::sequential(),
            parallel: THREADS.iter().map(|threads| Engine::forced(*threads, seed)).collect(),
        };
        check(&engines, &plan);
    }
}

/// Generated blocks are worth something only if most of what is in them happens.
#[test]
fn most_of_what_is_generated_succeeds() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let engines = Engines::with_threads(&[]);
    let (mut steps, mut succeeded) = (0, 0);
    for _ in 0..20 {
        let plan = Plan { fork: Fork::Osaka, ..plan().new_tree(&mut runner).unwrap().current() };
        steps += plan.steps.len();
        succeeded += check(&engines, &plan);
    }
    assert!(succeeded * 2 > steps, "{succeeded} of {steps}");
    assert!(succeeded < steps, "nothing was refused");
}
