//! What is read from, and run on, the state of the executed tip: the only one that is kept.

use super::{MemberError, Shared, chain::Chain, documents::failed};
use crate::rpc::api::{CallOutcome, CallRequest, ReadError};
use blindfold_execution::{
    CallError, CallSettings,
    state::{ParentState, StateError},
};

/// Times a call is begun anew because the chain moved on under it.
const CALL_RETRIES: usize = 5;

/// Reads the state if `height` is the executed tip.
pub(super) fn read<T>(
    chain: &Chain,
    height: u64,
    read: impl FnOnce(&ParentState) -> Result<T, MemberError>,
) -> Result<T, ReadError> {
    chain.read(|state| {
        let newest = state.tip().height;
        if height != newest {
            return Err(ReadError::HistoryUnavailable {
                requested: height,
                oldest: newest,
                newest,
            });
        }
        read(state).map_err(failed)
    })
}

/// See [`NodeApi::call`](crate::rpc::NodeApi::call).
pub(super) fn call(
    shared: &Shared,
    height: u64,
    request: CallRequest,
) -> Result<CallOutcome, ReadError> {
    let settings = settings(shared, &request);
    let request = execution_request(request);
    let call = |state: &ParentState| blindfold_execution::call(state, &settings, &request);
    match run(&shared.chain, height, call)? {
        Ok(outcome) => Ok(CallOutcome::Returned(outcome.output)),
        Err(error) => call_outcome(error),
    }
}

/// See [`NodeApi::estimate_gas`](crate::rpc::NodeApi::estimate_gas).
pub(super) fn estimate_gas(
    shared: &Shared,
    height: u64,
    request: CallRequest,
) -> Result<Result<u64, CallOutcome>, ReadError> {
    let settings = settings(shared, &request);
    let request = execution_request(request);
    let estimate =
        |state: &ParentState| blindfold_execution::estimate_gas(state, &settings, &request);
    match run(&shared.chain, height, estimate)? {
        Ok(gas) => Ok(Ok(gas)),
        Err(error) => call_outcome(error).map(Err),
    }
}

/// Runs something long on the state of `height`, again if the chain moves on meanwhile and the
/// caller asked for the tip.
fn run<T>(
    chain: &Chain,
    height: u64,
    run: impl Fn(&ParentState) -> Result<T, CallError>,
) -> Result<Result<T, CallError>, ReadError> {
    let mut state = chain.state();
    let asked_for_tip = height == state.tip().height;
    for _ in 0..CALL_RETRIES {
        let newest = state.tip().height;
        // A tip named a moment ago may be one behind by now; the newest state answers as well.
        if !asked_for_tip && height.saturating_add(1) < newest || height > newest {
            return Err(ReadError::HistoryUnavailable {
                requested: height,
                oldest: newest,
                newest,
            });
        }
        match run(&state) {
            Err(CallError::State(StateError::Moved { .. })) => state = chain.state(),
            answer => return Ok(answer),
        }
    }
    Err(ReadError::Unavailable("the chain moves faster than the call runs; try again".to_owned()))
}

fn settings(shared: &Shared, request: &CallRequest) -> CallSettings {
    CallSettings::new(&shared.genesis, request.gas_limit)
}

fn execution_request(call: CallRequest) -> blindfold_execution::CallRequest {
    blindfold_execution::CallRequest {
        from: call.from,
        to: call.to,
        value: call.value,
        data: call.input,
        gas: Some(call.gas_limit),
        max_fee_per_gas: (call.gas_price_wei > 0).then_some(call.gas_price_wei),
        access_list: call.access_list,
        authorization_list: call.authorization_list,
        ..blindfold_execution::CallRequest::default()
    }
}

fn call_outcome(error: CallError) -> Result<CallOutcome, ReadError> {
    match error {
        CallError::Reverted { data, .. } => Ok(CallOutcome::Reverted(data)),
        error @ (CallError::Halted { .. } | CallError::Invalid(_) | CallError::GasCap { .. }) => {
            Ok(CallOutcome::Halted(error.to_string()))
        }
        error @ (CallError::State(_) | CallError::Evm(_)) => Err(failed(error)),
    }
}
