//! What a node gives to those who have no state: witnesses, access lists, and files of blocks to be executed
//! again. Whatever they hold, nothing but the true block is believed.

use crate::{
    bounded::canonical,
    input::Input,
    opened,
    world::{COMMITTEE, ENVELOPES, GENESIS_COMMITMENT},
};
use blindfold_execution::{
    BlockContext, ExecutedBlock, ExecutionParent, Executor as _, SequentialExecutor,
    bal::{BalExecutor, BlockAccessList, HintUse},
    genesis_block,
    state::{MemoryStore, ParentState, StateStore},
    witness::{
        ClaimedBlock, ExecutionWitness, ReplayFile, ReplayParts, WitnessState, build_witness,
        execute_on, replay,
    },
};
use blindfold_wire::{Address, Block, ForcedItem, OpenedBatch, U256};
use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

/// Envelopes in the block.
const COUNT: usize = 4;

/// Forced items of the block.
const FORCED: usize = 2;

/// A block on top of genesis, with all that is made of it.
struct Truth {
    state: ParentState,
    batch: OpenedBatch,
    context: BlockContext,
    block: ExecutedBlock,
    witness: ExecutionWitness,
    claimed: ClaimedBlock,
    file: ReplayFile,
}

static TRUTH: LazyLock<Truth> = LazyLock::new(|| {
    let genesis = &COMMITTEE.genesis;
    let store = Arc::new(MemoryStore::new());
    let first = genesis_block(genesis).expect("valid genesis");
    store.apply(first.writes()).expect("memory");
    let state = ParentState::open(store as Arc<dyn StateStore>).expect("written");

    // Transfers and rubbish, and the one that does not open.
    let last = ENVELOPES.len() - 1;
    let chosen = [0, 3, 4, last];
    let items: Vec<_> = opened::right()
        .zip(ENVELOPES.iter())
        .enumerate()
        .filter(|(at, _)| chosen.contains(at))
        .map(|(_, ((opening, _), envelope))| (envelope.clone(), opening.clone()))
        .collect();
    assert_eq!(items.len(), COUNT);
    let envelopes: Vec<_> = items.iter().map(|(envelope, _)| envelope.clone()).collect();
    let openings: Vec<_> = items.iter().map(|(_, opening)| opening.clone()).collect();
    // A deposit, and a transaction that is none.
    let item = |index, kind, data| ForcedItem { index, kind, sender: Address::ZERO, data };
    let deposit = [&[7; 20][..], &U256::from(5).to_be_bytes::<32>()].concat();
    let forced = vec![item(0, 2, deposit.into()), item(1, 1, b"no transaction".to_vec().into())];
    assert_eq!(forced.len(), FORCED);
    let (commitment, forced) = COMMITTEE.forcing(&GENESIS_COMMITMENT, forced, &envelopes);
    let certificate = COMMITTEE.certificate(&commitment);
    let certified = COMMITTEE.certify(commitment.clone());
    let batch = OpenedBatch::new(certified, items).expect("as ordered");
    let beneficiary = genesis.committee.members[0].fee_address;
    let context = BlockContext { beneficiary, forced: Arc::new(forced.clone()) };
    let block = SequentialExecutor::new(genesis)
        .execute(&state, &batch, &context)
        .expect("no content is an error");

    let root = block.record.state_root();
    let header = |height| (height == 0).then(|| first.record.header.clone());
    let witness = build_witness(&state, &block.access, &block.diff, root, header).expect("stored");
    let proved = WitnessState::new(&witness).expect("canonical");
    let claimed = execute_on(genesis, proved, &batch, &context).expect("suffices");
    let ordered = Block {
        commitment: commitment.sign(&COMMITTEE.members[0].signer),
        envelopes: envelopes.iter().map(|envelope| envelope.bytes().clone()).collect(),
        forced,
    };
    let file = ReplayFile::new(&ReplayParts {
        genesis,
        block: &ordered,
        certificate: &certificate,
        descendants: &[],
        openings: &openings,
        record: &block.record,
        access_list: &BlockAccessList::of(&block.access),
        witness: &witness,
    })
    .expect("pairs up");
    Truth { state, batch, context, block, witness, claimed, file }
});

/// A witness: raw bytes, or the true one with entries changed, dropped and added. It leads to the true block,
/// or to an error.
pub(crate) fn witness(data: &[u8]) -> bool {
    let truth = &*TRUTH;
    let Some((kind, rest)) = data.split_first() else { return false };
    let witness = match kind % 2 {
        0 => {
            let decode = |data: &[u8]| ExecutionWitness::decode(data).ok();
            match canonical(rest, decode, ExecutionWitness::encode) {
                Some(witness) => witness,
                None => return false,
            }
        }
        _ => changed(rest),
    };
    let Ok(state) = WitnessState::new(&witness) else { return false };
    let (genesis, batch) = (&COMMITTEE.genesis, &truth.batch);
    let Ok(computed) = execute_on(genesis, state, batch, &truth.context) else { return false };
    // The parent is what it is proved against; another one is another block.
    if computed.header.parent_hash != truth.claimed.header.parent_hash {
        return false;
    }
    assert_eq!(computed, truth.claimed, "another block from the same parent");
    true
}

/// The true witness with some changes.
fn changed(data: &[u8]) -> ExecutionWitness {
    let mut input = Input::new(data);
    let mut witness = TRUTH.witness.clone();
    while !input.is_empty() {
        let list = match input.below(4) {
            0 => &mut witness.headers,
            1 => &mut witness.codes,
            _ => &mut witness.state,
        };
        let at = input.below(list.len().max(1));
        match input.below(4) {
            0 if at < list.len() => drop(list.remove(at)),
            1 if at < list.len() => {
                let mut entry = list[at].to_vec();
                let byte = usize::from(input.u16()) % entry.len();
                entry[byte] ^= input.u8();
                list[at] = entry.into();
            }
            2 => {
                let length = usize::from(input.u8());
                list.push(input.bytes(length).to_vec().into());
            }
            _ => {}
        }
    }
    // Sorted, so that more than the order is looked at.
    for list in [&mut witness.state, &mut witness.codes] {
        list.sort();
        list.dedup();
    }
    witness
}

/// A block access list as a hint: the block is the same, and only the true list counts as right.
pub(crate) fn access_list(data: &[u8]) -> bool {
    let truth = &*TRUTH;
    let decode = |data: &[u8]| BlockAccessList::decode(data, FORCED + COUNT).ok();
    let Some(list) = canonical(data, decode, |list| list.encode().to_vec()) else { return false };
    let threads = NonZeroUsize::MIN;
    let ordinary = SequentialExecutor::new(&COMMITTEE.genesis);
    let executor = BalExecutor::new(&COMMITTEE.genesis, threads).forced();
    let parent = ExecutionParent::of(&truth.state);
    let (block, used) = executor
        .execute_along(&ordinary, &parent, &truth.batch, &truth.context, data)
        .expect("a hint is no error");
    let block = block.seal(&truth.state).expect("the next height");
    assert_eq!(block, truth.block, "a hint changed the block");
    let right = list == BlockAccessList::of(&truth.block.access);
    assert_eq!(right, used == HintUse::Followed);
    true
}

/// A file of a block to be executed again.
pub(crate) fn replay_file(data: &[u8]) -> bool {
    let Ok(file) = ReplayFile::from_json(data) else { return false };
    let again = ReplayFile::from_json(file.to_json().as_bytes()).expect("own output");
    assert_eq!(again, file);
    let Ok(report) = replay(&file) else { return false };
    assert_eq!(report.ok, report.differences.is_empty());
    if report.ok && file.genesis == COMMITTEE.genesis && report.height == 1 {
        assert_eq!(file.claimed, TRUTH.claimed, "another block was believed");
    }
    true
}

/// Seeds of the three targets.
pub(crate) fn seeds() -> [(&'static str, Vec<u8>); 4] {
    let truth = &*TRUTH;
    [
        ("witness", [&[0], &truth.witness.encode()[..]].concat()),
        ("witness", vec![1, 2, 0, 3]),
        ("access_list", BlockAccessList::of(&truth.block.access).encode().to_vec()),
        ("replay_file", truth.file.to_json().into_bytes()),
    ]
}
