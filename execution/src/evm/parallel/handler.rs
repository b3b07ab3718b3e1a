//! The mainnet rules, but for two things that would tie every transaction to the one before it: the
//! beneficiary's reward is noted rather than added, and instructions that look at a balance say so.

use alloy_primitives::{Address, U256};
use revm::MainnetEvm;
use revm::bytecode::opcode;
use revm::context::{Block as _, ContextTr, JournalTr, Transaction as _};
use revm::context_interface::result::{EVMError, HaltReason, InvalidTransaction};
use revm::handler::{EvmTr as _, FrameResult, Handler, MainnetContext};
use revm::interpreter::instructions::{contract, host};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::InputsTr as _;
use revm::interpreter::{Instruction, InstructionContext, InstructionExecResult};
use revm::primitives::hardfork::SpecId;

use super::view::View;
use crate::state::StoreError;

pub(super) type LazyContext = MainnetContext<View>;
pub(super) type LazyEvm = MainnetEvm<LazyContext>;

/// The mainnet handler, except that [`View::reward_wei`] takes what the beneficiary earns.
pub(super) struct LazyHandler;

impl Handler for LazyHandler {
    type Evm = LazyEvm;
    type Error = EVMError<StoreError, InvalidTransaction>;
    type HaltReason = HaltReason;

    fn reward_beneficiary(
        &self,
        evm: &mut LazyEvm,
        exec_result: &mut FrameResult,
    ) -> Result<(), Self::Error> {
        let gas = exec_result.gas();
        let (block, tx, cfg, journal, _, _) = evm.ctx().all_mut();
        let base_fee = u128::from(block.basefee());
        let price = tx.effective_gas_price(base_fee);
        let price = match cfg.spec().is_enabled_in(SpecId::LONDON) {
            true => price.saturating_sub(base_fee),
            false => price,
        };
        let used = gas.used().saturating_sub(gas.reservoir());
        journal.db_mut().reward_wei = U256::from(price.wrapping_mul(u128::from(used)));
        Ok(())
    }
}

/// Has the instructions that look at a balance note it.
pub(super) fn watch_balances(evm: &mut LazyEvm) {
    let table = evm.instruction.instruction_table_mut();
    let watched: [(u8, Instruction<EthInterpreter, LazyContext>); 7] = [
        (opcode::BALANCE, Instruction::new(balance)),
        (opcode::SELFBALANCE, Instruction::new(self_balance)),
        (opcode::CALL, Instruction::new(call)),
        (opcode::CALLCODE, Instruction::new(call_code)),
        (opcode::CREATE, Instruction::new(create)),
        (opcode::CREATE2, Instruction::new(create2)),
        (opcode::SELFDESTRUCT, Instruction::new(self_destruct)),
    ];
    for (code, instruction) in watched {
        table[usize::from(code)] = instruction;
    }
}

type At<'a> = InstructionContext<'a, LazyContext, EthInterpreter>;

/// The item so far below the top of the stack; zero if there is none, and then the instruction fails.
fn item(at: &At<'_>, depth: usize) -> U256 {
    at.interpreter.stack.data().iter().rev().nth(depth).copied().unwrap_or_default()
}

fn look_at(at: &mut At<'_>, address: Address) {
    at.host.db_mut().look_at(address);
}

fn look_at_self(at: &mut At<'_>) {
    let address = at.interpreter.input.target_address();
    look_at(at, address);
}

fn balance(mut at: At<'_>) -> InstructionExecResult {
    let address = Address::from_word(item(&at, 0).into());
    look_at(&mut at, address);
    host::balance(at)
}

fn self_balance(mut at: At<'_>) -> InstructionExecResult {
    look_at_self(&mut at);
    host::selfbalance(at)
}

fn call(mut at: At<'_>) -> InstructionExecResult {
    // Gas, target, value.
    if !item(&at, 2).is_zero() {
        look_at_self(&mut at);
    }
    contract::call::<{ opcode::CALL }, _, _>(at)
}

fn call_code(mut at: At<'_>) -> InstructionExecResult {
    if !item(&at, 2).is_zero() {
        look_at_self(&mut at);
    }
    contract::call::<{ opcode::CALLCODE }, _, _>(at)
}

fn create(mut at: At<'_>) -> InstructionExecResult {
    if !item(&at, 0).is_zero() {
        look_at_self(&mut at);
    }
    contract::create::<false, _, _>(at)
}

fn create2(mut at: At<'_>) -> InstructionExecResult {
    if !item(&at, 0).is_zero() {
        look_at_self(&mut at);
    }
    contract::create::<true, _, _>(at)
}

fn self_destruct(mut at: At<'_>) -> InstructionExecResult {
    look_at_self(&mut at);
    host::selfdestruct(at)
}
