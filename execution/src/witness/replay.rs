//! Executing a block again from its witness, and judging what is claimed of it.

use std::sync::Arc;

use alloy_primitives::B256;
use blindfold_crypto::{CommitteePublic, check_opening, reseal};
use blindfold_wire::{
    AdmissionRules, Certified, CheckedEnvelope, Envelope, FinalizationCertificate, ForcedSpan,
    Genesis, OpenedBatch, Opening, OrderCommitment, Prices, Signature65, SignedCommitment,
    executed_root, order_root,
};

use super::compare::differences;
use super::file::{
    ClaimedBlock, ClaimedForced, ClaimedOutcome, ClaimedReceipt, ClaimedStatus, FileOpening,
    OrderedEnvelope, ReplayFile, ReplayFileError,
};
use super::report::{Difference, Location, ReplayReport};
use super::state::{WitnessFault, WitnessState};
use crate::bal::BlockAccessList;
use crate::evm::{Engine as _, Finished, Forced, Run, Sequential, assemble};
use crate::executor::{BlockContext, ExecutionError};
use crate::state::{Overlay, StateView, StoreError};

/// Commitments between a height and the one whose certificate makes it final, at most.
const MAX_DESCENDANTS: usize = 1_024;

/// Why a block could not be executed again, so that nothing can be said of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file is none.
    #[error(transparent)]
    File(#[from] ReplayFileError),
    /// The witness does not suffice.
    #[error(transparent)]
    Witness(#[from] WitnessFault),
    /// The EVM failed in a way that no input should cause.
    #[error(transparent)]
    Execution(ExecutionError),
}

impl From<ExecutionError> for ReplayError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Store(StoreError::Witness(fault)) => Self::Witness(fault),
            other => Self::Execution(other),
        }
    }
}

/// Why an order is not what it is claimed to be, or that it cannot be read.
enum OrderError {
    File(ReplayFileError),
    Differs(Box<Difference>),
}

impl From<ReplayFileError> for OrderError {
    fn from(error: ReplayFileError) -> Self {
        Self::File(error)
    }
}

/// Executes a block again and compares every output with what is claimed: the order with its certificate,
/// outcomes with charges, receipts, accesses with their values, every field of the header, and the roots.
///
/// In order, on one thread, from nothing but the file.
///
/// # Errors
///
/// [`ReplayError`] if the file cannot be judged. That it claims something wrong is no error, but the report.
pub fn replay(file: &ReplayFile) -> Result<ReplayReport, ReplayError> {
    file.genesis.validate().map_err(|error| ReplayFileError::Genesis(error.to_string()))?;
    let state = WitnessState::new(&file.witness).map_err(ReplayFileError::Witness)?;
    let claimed = &file.claimed;
    let mut report = ReplayReport {
        ok: false,
        height: claimed.header.number,
        block_hash: claimed.header.hash_slow(),
        genesis_hash: file.genesis.hash(),
        state_root: None,
        forced: 0,
        executed: 0,
        skipped: 0,
        undecryptable: 0,
        gas_used: 0,
        differences: Vec::new(),
    };
    let (batch, context) = match ordered(file) {
        Ok(ordered) => ordered,
        Err(OrderError::File(error)) => return Err(error.into()),
        Err(OrderError::Differs(difference)) => {
            report.differences.push(*difference);
            return Ok(report);
        }
    };
    let indices = context.forced.items().len() + batch.items().len();
    BlockAccessList::new(claimed.access_list.clone(), indices)
        .map_err(ReplayFileError::AccessList)?;
    let computed = execute(&file.genesis, state, &batch, &context)?;
    let count =
        |status| computed.outcomes.iter().filter(|outcome| outcome.status == status).count();
    report.state_root = Some(computed.header.state_root);
    report.forced = computed.forced.len();
    report.executed = count(ClaimedStatus::Executed);
    report.skipped = count(ClaimedStatus::Skipped);
    report.undecryptable = count(ClaimedStatus::Undecryptable);
    report.gas_used = computed.header.gas_used;
    report.differences = differences(claimed, &computed);
    report.ok = report.differences.is_empty();
    Ok(report)
}

/// Checks who led, that the height is final, and that the envelopes are those that were ordered.
fn ordered(file: &ReplayFile) -> Result<(OpenedBatch, BlockContext), OrderError> {
    let genesis = &file.genesis;
    let signed = SignedCommitment::decode(&file.commitment)
        .map_err(|error| ReplayFileError::field("commitment", error))?;
    let members = genesis.committee.members.len();
    let certificate = FinalizationCertificate::decode_engine(&file.certificate, members)
        .map_err(|error| ReplayFileError::field("certificate", error))?;
    if file.descendants.len() > MAX_DESCENDANTS {
        let reason = format!("{} of at most {MAX_DESCENDANTS}", file.descendants.len());
        return Err(ReplayFileError::field("descendants", reason).into());
    }
    let descendants = file
        .descendants
        .iter()
        .map(|link| {
            OrderCommitment::decode(link)
                .map_err(|error| ReplayFileError::field("descendants", error))
        })
        .collect::<Result<Vec<_>, _>>()?;

    let leader = signed.recover_leader().ok();
    let member = leader.and_then(|signer| genesis.member_by_signer(signer));
    let member = member.and_then(|member| genesis.committee.members.get(member as usize));
    let Some(member) = member else {
        let claimed = leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
        return Err(differs(None, "leader", claimed, "a member of the committee"));
    };
    let commitment = signed.commitment;
    let certified = certify(genesis, commitment, &descendants, &certificate)?;
    let count = certified.get().count;
    if usize::try_from(count) != Ok(file.envelopes.len()) {
        return Err(differs(None, "count", count, file.envelopes.len()));
    }
    let rules =
        genesis.admission_rules().map_err(|error| ReplayFileError::field("genesis", error))?;
    let public =
        genesis.committee_public().map_err(|error| ReplayFileError::field("genesis", error))?;
    let mut items = Vec::with_capacity(file.envelopes.len());
    for (position, envelope) in file.envelopes.iter().enumerate() {
        items.push(opened(&rules, &public, position, envelope)?);
    }
    let forced = ForcedSpan::decode(&file.forced)
        .map_err(|error| ReplayFileError::field("forced", error))?;
    forced.check(certified.get()).map_err(|error| differs(None, "forced", "consumed", error))?;
    let claimed = certified.get().order_root;
    let ids: Vec<B256> = items.iter().map(|(envelope, _)| envelope.id()).collect();
    let computed = order_root(&ids);
    let batch = OpenedBatch::new(certified, items)
        .map_err(|_| differs(None, "orderRoot", claimed, computed))?;
    Ok((batch, BlockContext { beneficiary: member.fee_address, forced: Arc::new(forced) }))
}

fn certify(
    genesis: &Genesis,
    commitment: OrderCommitment,
    descendants: &[OrderCommitment],
    certificate: &FinalizationCertificate,
) -> Result<Certified<OrderCommitment>, OrderError> {
    let votes =
        genesis.vote_committee().map_err(|error| ReplayFileError::field("genesis", error))?;
    let refused = |error| differs(None, "certificate", "final", error);
    let Some((last, between)) = descendants.split_last() else {
        return Certified::by_certificate(commitment, certificate, &votes).map_err(refused);
    };
    let mut child =
        Certified::by_certificate(last.clone(), certificate, &votes).map_err(refused)?;
    for link in between.iter().rev() {
        child = Certified::by_child(link.clone(), &child).map_err(refused)?;
    }
    Certified::by_child(commitment, &child).map_err(refused)
}

/// Makes the envelope that was ordered from its clear fields and its opening.
fn opened(
    rules: &AdmissionRules,
    public: &CommitteePublic,
    position: usize,
    given: &OrderedEnvelope,
) -> Result<(CheckedEnvelope, Opening), OrderError> {
    let malformed = |reason: &dyn std::fmt::Display| ReplayFileError::envelope(position, reason);
    let header = given.header();
    let (bytes, opening) = match &given.opening {
        FileOpening::Opened { seed, message } => {
            let signature: &[u8; 65] = given
                .signature
                .as_ref()
                .try_into()
                .map_err(|_| malformed(&"the signature has not 65 bytes"))?;
            let signature =
                Signature65::from_bytes(signature).map_err(|error| malformed(&error))?;
            let label = header.label(given.payer);
            let ciphertext = reseal(&rules.committee, &label, &seed.0, message)
                .map_err(|error| malformed(&error))?;
            let envelope = Envelope { header: header.clone(), ciphertext, signature };
            let opening = Opening::Opened { seed: seed.0, message: message.to_vec() };
            (envelope.encode(), opening)
        }
        FileOpening::Undecryptable { secret, envelope } => {
            let secret: [u8; 48] = secret
                .as_ref()
                .try_into()
                .map_err(|_| malformed(&"the secret has not 48 bytes"))?;
            (envelope.to_vec(), Opening::Undecryptable { secret })
        }
    };
    // The id covers everything but the signature, and the signature is over the id.
    let id = Envelope::decode(&bytes).map_err(|error| malformed(&error))?.id();
    if id != given.id {
        return Err(differs(Some(position), "envelope id", given.id, id));
    }
    let checked = CheckedEnvelope::check(rules, &bytes)
        .map_err(|error| differs(Some(position), "envelope", "valid", error))?;
    if checked.payer() != given.payer {
        return Err(differs(Some(position), "payer", given.payer, checked.payer()));
    }
    if *checked.header() != header {
        let computed = format!("{:?}", checked.header());
        return Err(differs(Some(position), "clear fields", format!("{header:?}"), computed));
    }
    if matches!(opening, Opening::Undecryptable { .. }) {
        let sealed = &checked.envelope().ciphertext;
        check_opening(public, checked.label(), sealed, &opening)
            .map_err(|error| differs(Some(position), "opening", "undecryptable", error))?;
    }
    Ok((checked, opening))
}

fn differs(
    position: Option<usize>,
    field: &str,
    claimed: impl std::fmt::Display,
    computed: impl std::fmt::Display,
) -> OrderError {
    OrderError::Differs(Box::new(Difference {
        position,
        item: None,
        transaction_hash: None,
        location: Location::Order { field: field.to_owned() },
        claimed: claimed.to_string(),
        computed: computed.to_string(),
    }))
}

/// Executes in order on what the witness proves.
///
/// # Errors
///
/// [`ReplayError`] if the witness does not suffice.
pub fn execute(
    genesis: &Genesis,
    state: WitnessState,
    batch: &OpenedBatch,
    context: &BlockContext,
) -> Result<ClaimedBlock, ReplayError> {
    let parent = state.parent().clone();
    let params = &genesis.params;
    let facts = assemble::facts_of(
        parent.header.number,
        batch.certified(),
        context,
        genesis.chain_id,
        params,
    )?;
    let state = Arc::new(state);
    let mut overlay = Overlay::new(Arc::clone(&state) as Arc<dyn StateView>);
    overlay.record_access();
    let params = Arc::new(params.clone());
    let commitment = batch.commitment();
    let forced = Forced::of(&context.forced, commitment, genesis.chain_id)?;
    let (forced, overlay, gas_used) = forced.run(&params, facts, overlay)?;
    // An engine of its own: codes that others have read are not in this witness.
    let engine = Sequential::default();
    let decode = |messages| engine.decode(messages, genesis.chain_id);
    let (jobs, held) = assemble::prepare(batch.items(), Prices::from(commitment), decode);
    let run = Run { params, facts, overlay, gas_used };
    let Finished { results, diff, access } = engine.run(run, jobs)?;
    let results = assemble::results(forced, batch.items(), held, results, facts.base_fee_wei);
    let state_root = state.root_after(&diff)?;
    let digest = batch.certified().digest();
    let header = assemble::header(&facts, digest, parent.hash, state_root, &results);
    let opening_root = batch.opening_root();
    let access_list = BlockAccessList::of(&access.unwrap_or_default());
    Ok(ClaimedBlock {
        header,
        receipts: results.receipts.iter().map(ClaimedReceipt::from).collect(),
        outcomes: results.outcomes.iter().map(ClaimedOutcome::from).collect(),
        forced: results.forced.iter().map(ClaimedForced::from).collect(),
        opening_root,
        executed_root: executed_root(state_root, opening_root),
        access_list: access_list.accounts().to_vec(),
    })
}
