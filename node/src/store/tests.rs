//! The database on a temporary folder.

use std::{collections::BTreeMap, fs, path::PathBuf};

use blindfold_committee::JournalStore as _;
use blindfold_execution::state::Column as StateColumn;
use bytes::BufMut;
use commonware_codec::{Buf, EncodeSize, Error as CodecError, Read, ReadExt as _};
use commonware_consensus::{
    Block, Heightable,
    marshal::store::{Blocks, Certificates},
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalization, Finalize, Proposal},
    },
    types::{Epoch, Height, Round, View},
};
use commonware_cryptography::{
    Digestible, Hasher as _, Sha256, Signer as _, ed25519::PrivateKey, sha256::Digest,
};
use commonware_parallel::Sequential;
use commonware_storage::archive::Identifier;
use commonware_utils::{non_empty, ordered::Set};
use futures::executor::block_on;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    marshal::{MarshalBlocks, MarshalCertificates},
    *,
};

const GENESIS: [u8; 32] = [1; 32];

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn open(folder: &TempDir) -> Store {
    Store::open(folder.path(), GENESIS).expect("open")
}

fn put(family: Family, key: &[u8], value: &[u8]) -> Write {
    (family, key.to_vec(), Some(value.to_vec()))
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = folder();
    let state = Family::State(StateColumn::Accounts);
    {
        let store = open(&folder);
        let writes = vec![
            put(Family::Heights, &7u64.to_be_bytes(), b"seven"),
            put(Family::Heights, &8u64.to_be_bytes(), b"eight"),
            put(state, b"account", b"row"),
            put(Family::Mempool, b"id", b"envelope"),
            (Family::Mempool, b"id".to_vec(), None),
        ];
        store.write(writes, Durability::Buffered).expect("write");
        store.put_synced(b"slot", b"digest and bytes").expect("journal");
    }
    let store = open(&folder);
    let seven = store.get(Family::Heights, &7u64.to_be_bytes()).expect("read");
    assert_eq!(seven.as_deref(), Some(b"seven".as_slice()));
    assert_eq!(store.last(Family::Heights).expect("read").expect("two").1, b"eight");
    assert_eq!(store.range(Family::Heights, &8u64.to_be_bytes(), 9).expect("read").len(), 1);
    assert_eq!(store.range(Family::Heights, &0u64.to_be_bytes(), 1).expect("read").len(), 1);
    assert!(store.scan(Family::Mempool).expect("read").is_empty(), "the later write wins");
    assert!(!store.has(Family::Mempool, b"id").expect("read"));
    let journal: &dyn blindfold_committee::JournalStore = &store;
    assert_eq!(
        journal.get(b"slot").expect("read").as_deref(),
        Some(b"digest and bytes".as_slice())
    );
    let executed: &dyn blindfold_execution::state::StateStore = &store;
    let row = executed.get(StateColumn::Accounts, b"account").expect("read");
    assert_eq!(row.as_deref(), Some(b"row".as_slice()));
    assert_eq!(executed.get(StateColumn::Storage, b"account").expect("read"), None);
}

#[test]
fn cache_and_open_files_are_as_configured() {
    let folder = folder();
    let bounds =
        StorageConfig { cache_bytes: 3 << 20, max_open_files: 77, ..StorageConfig::default() };
    let store = Store::open_within(folder.path(), GENESIS, &bounds).expect("open");
    for family in Family::all() {
        let cf = store.cf(family).expect("known");
        let capacity = store.db.property_int_value_cf(cf, "rocksdb.block-cache-capacity");
        assert_eq!(capacity.expect("a property"), Some(3 << 20), "{}", family.name());
    }
    // What the database says of itself, in its newest file of options.
    let names = fs::read_dir(folder.path()).expect("listed").map(|entry| entry.expect("entry"));
    let options = names.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("OPTIONS-"))
    });
    let text = fs::read_to_string(options.max().expect("written")).expect("read");
    assert!(text.lines().any(|line| line.trim() == "max_open_files=77"), "{text}");
}

#[test]
fn families_have_names_of_their_own() {
    let mut names: Vec<_> = Family::all().map(Family::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(!names.contains(&"default"), "RocksDB's own");
}

#[test]
fn a_second_process_is_refused_with_advice() {
    let folder = folder();
    let first = open(&folder);
    let refused = Store::open(folder.path(), GENESIS).expect_err("locked");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().contains("stop that node first"));
    drop(first);
    open(&folder);
}

#[test]
fn another_chain_is_refused() {
    let folder = folder();
    drop(open(&folder));
    let refused = Store::open(folder.path(), [2; 32]).expect_err("other genesis");
    assert!(matches!(refused, StoreError::WrongChain { .. }), "{refused:?}");
    open(&folder);
}

#[test]
fn other_schemas_are_refused() {
    let folder = folder();
    {
        let store = open(&folder);
        let later = (SCHEMA_VERSION + 1).to_be_bytes();
        let write = put(Family::Meta, KEY_SCHEMA, &later);
        store.write(vec![write], Durability::Synced).expect("write");
    }
    let refused = Store::open(folder.path(), GENESIS).expect_err("later schema");
    assert!(matches!(refused, StoreError::Schema { .. }), "{refused:?}");

    let folder = self::folder();
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(DB::open_cf(&options, folder.path(), ["default", "from_the_future"]).expect("raw"));
    let refused = Store::open(folder.path(), GENESIS).expect_err("unknown family");
    assert!(refused.to_string().contains("from_the_future"), "{refused}");
}

#[test]
fn an_unusable_folder_is_an_error() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, b"not a folder").expect("write");
    assert!(matches!(Store::open(&file, GENESIS), Err(StoreError::Folder { .. })));
}

/// Writes `rounds` atomic writes over three families, then copies the live database as a power
/// failure would find it. Returns the copy and its write-ahead log.
fn crashed(rounds: u64) -> (TempDir, PathBuf) {
    let (original, copy) = (folder(), folder());
    let store = open(&original);
    for round in 1..=rounds {
        let value = round.to_be_bytes();
        let writes = vec![
            put(Family::Heights, b"round", &value),
            put(Family::State(StateColumn::Meta), b"round", &value),
            put(Family::Executed, &value, &[round as u8; 100]),
        ];
        store.write(writes, Durability::Buffered).expect("write");
    }
    store.sync().expect("sync");
    let mut log = None;
    for entry in fs::read_dir(original.path()).expect("list") {
        let entry = entry.expect("entry");
        if !entry.file_type().expect("type").is_file() {
            continue;
        }
        let target = copy.path().join(entry.file_name());
        fs::copy(entry.path(), &target).expect("copy");
        if target.extension().is_some_and(|extension| extension == "log") {
            log = Some(target);
        }
    }
    (copy, log.expect("a write-ahead log"))
}

#[test]
fn a_torn_log_loses_whole_writes_from_its_end_only() {
    const ROUNDS: u64 = 20;
    let full = fs::metadata(crashed(ROUNDS).1).expect("log").len();
    let mut seen = Vec::new();
    for cut in (0..full / 2).step_by(97) {
        let (copy, log) = crashed(ROUNDS);
        let file = fs::OpenOptions::new().write(true).open(&log).expect("log");
        file.set_len(full - cut).expect("truncate");
        let store = open(&copy);
        let number = |family, key: &[u8]| {
            let value = store.get(family, key).expect("read");
            value.map_or(0, |value| u64::from_be_bytes(value.try_into().expect("eight bytes")))
        };
        let round = number(Family::Heights, b"round");
        assert_eq!(number(Family::State(StateColumn::Meta), b"round"), round, "cut {cut}");
        let executed = store.scan(Family::Executed).expect("read");
        let expected: Vec<_> = (1..=round).map(|round| round.to_be_bytes().to_vec()).collect();
        assert_eq!(executed.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
        seen.push(round);
    }
    assert_eq!(seen[0], ROUNDS, "nothing torn, nothing lost");
    assert!(seen.is_sorted_by(|longer, shorter| longer >= shorter));
    assert!(seen.last().is_some_and(|least| *least < ROUNDS), "the cuts did cut");
}

#[test]
fn a_log_damaged_in_the_middle_refuses_to_open() {
    let (copy, log) = crashed(20);
    let mut bytes = fs::read(&log).expect("log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("log");
    let refused = Store::open(copy.path(), GENESIS).expect_err("damaged");
    assert!(matches!(refused, StoreError::Damaged(_)), "{refused:?}");
}

#[test]
fn finalized_blocks_come_without_their_prefix() {
    let folder = folder();
    let store = open(&folder);
    let writes = vec![
        put(Family::Blocks, &1u64.to_be_bytes(), b"\0\0\0\x05block"),
        put(Family::Blocks, &2u64.to_be_bytes(), b"\0\0\0\x09block"),
        put(Family::Blocks, &3u64.to_be_bytes(), b"\0\0"),
    ];
    store.write(writes, Durability::Buffered).expect("write");
    let block = store.finalized_block(1).expect("read");
    assert_eq!(block.as_deref(), Some(b"block".as_slice()));
    assert!(matches!(store.finalized_block(2), Err(StoreError::Value { .. })));
    assert!(matches!(store.finalized_block(3), Err(StoreError::Value { .. })));
    assert_eq!(store.finalized_block(4).expect("read"), None);
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TestBlock {
    height: u64,
    salt: u64,
}

impl commonware_codec::Write for TestBlock {
    fn write(&self, buf: &mut impl BufMut) {
        self.height.write(buf);
        self.salt.write(buf);
    }
}

impl EncodeSize for TestBlock {
    fn encode_size(&self) -> usize {
        16
    }
}

impl Read for TestBlock {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        Ok(Self { height: u64::read(buf)?, salt: u64::read(buf)? })
    }
}

impl Digestible for TestBlock {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        digest_of(self.salt)
    }
}

impl Heightable for TestBlock {
    fn height(&self) -> Height {
        Height::new(self.height)
    }
}

impl Block for TestBlock {
    fn parent(&self) -> Digest {
        digest_of(0)
    }
}

fn digest_of(salt: u64) -> Digest {
    let mut hasher = Sha256::default();
    hasher.update(&salt.to_be_bytes());
    hasher.finalize().1
}

/// What both stores should hold: height → salt.
#[derive(Debug, Default)]
struct Model(BTreeMap<u64, u64>);

impl Model {
    fn put(&mut self, height: u64, salt: u64) {
        if !self.0.contains_key(&height) && !self.0.values().any(|known| *known == salt) {
            self.0.insert(height, salt);
        }
    }

    fn has(&self, height: u64) -> bool {
        self.0.contains_key(&height)
    }

    fn last(&self) -> Option<u64> {
        self.0.keys().next_back().copied()
    }

    fn end_of_range(&self, height: u64) -> Option<u64> {
        self.has(height).then(|| (height..).take_while(|h| self.has(*h)).last().unwrap_or(height))
    }

    fn starts(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied().filter(|h| *h == 0 || !self.has(h - 1))
    }

    fn next_gap(&self, height: u64) -> (Option<u64>, Option<u64>) {
        (self.end_of_range(height), self.starts().find(|start| *start > height))
    }

    fn missing(&self, start: u64, max: usize) -> Vec<u64> {
        let Some(last) = self.last() else { return Vec::new() };
        (start..=last).filter(|height| !self.has(*height)).take(max).collect()
    }

    fn ranges_from(&self, from: u64) -> Vec<(u64, u64)> {
        let ranges = self.starts().map(|start| (start, self.end_of_range(start).expect("start")));
        ranges.filter(|(_, end)| *end >= from).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put { height: u64, salt: u64 },
    Sync,
    Prune(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u64..24, 0u64..64).prop_map(|(height, salt)| Step::Put { height, salt }),
        1 => Just(Step::Sync),
        1 => (0u64..24).prop_map(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

type TestBlocks = MarshalBlocks<TestBlock>;
type TestCertificates = MarshalCertificates<Scheme, Digest>;

fn stores(folder: &TempDir) -> (TestBlocks, TestCertificates) {
    let store = open(folder);
    let blocks = MarshalBlocks::open(store.clone(), ()).expect("blocks");
    (blocks, MarshalCertificates::open(store).expect("certificates"))
}

fn finalization(scheme: &Scheme, salt: u64) -> Finalization<Scheme, Digest> {
    let round = Round::new(Epoch::new(0), View::new(salt + 1));
    let proposal = Proposal::new(round, View::new(salt), digest_of(salt));
    let vote = Finalize::sign(scheme, proposal).expect("a participant");
    Finalization::from_finalizes(scheme, non_empty![&vote], &Sequential).expect("quorum of one")
}

fn agree(
    model: &Model,
    blocks: &TestBlocks,
    certificates: &TestCertificates,
    scheme: &Scheme,
) -> Result<(), TestCaseError> {
    let last = model.last().map(Height::new);
    prop_assert_eq!(blocks.last_index(), last);
    prop_assert_eq!(certificates.last_index(), last);
    for height in 0..26 {
        let at = Height::new(height);
        let expected = model.0.get(&height).map(|salt| TestBlock { height, salt: *salt });
        let block = block_on(blocks.get(Identifier::Index(height))).expect("read");
        prop_assert_eq!(&block, &expected);
        let certificate = block_on(certificates.get(Identifier::Index(height))).expect("read");
        let expected = model.0.get(&height).map(|salt| finalization(scheme, *salt));
        prop_assert_eq!(certificate, expected);
        prop_assert_eq!(block_on(certificates.has(at)).expect("read"), model.has(height));
        let (end, next) = blocks.next_gap(at);
        let gap = (end.map(Height::get), next.map(Height::get));
        prop_assert_eq!(gap, model.next_gap(height));
        let missing: Vec<_> = blocks.missing_items(at, 5).into_iter().map(Height::get).collect();
        prop_assert_eq!(missing, model.missing(height, 5));
        let ranges: Vec<_> =
            certificates.ranges_from(at).map(|(start, end)| (start.get(), end.get())).collect();
        prop_assert_eq!(ranges, model.ranges_from(height));
    }
    for salt in 0..64 {
        let digest = digest_of(salt);
        let known = model.0.values().any(|stored| *stored == salt);
        let block = block_on(blocks.get(Identifier::Key(&digest))).expect("read");
        prop_assert_eq!(block.is_some_and(|block| block.salt == salt), known);
        let certificate = block_on(certificates.get(Identifier::Key(&digest))).expect("read");
        prop_assert_eq!(certificate.is_some(), known);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn marshal_stores_behave_like_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let key = PrivateKey::from_seed(1);
        let participants = Set::from_iter_dedup([key.public_key()]);
        let scheme = Scheme::signer(b"test", participants, key).expect("a participant");
        let folder = folder();
        let mut model = Model::default();
        let (mut blocks, mut certificates) = stores(&folder);
        for step in steps {
            match step {
                Step::Put { height, salt } => {
                    model.put(height, salt);
                    let block = TestBlock { height, salt };
                    let digest = digest_of(salt);
                    let proof = finalization(&scheme, salt);
                    blocks = block_on(blocks.put(digest, &block)).expect("put");
                    let at = Height::new(height);
                    certificates = block_on(certificates.put(at, digest, &proof)).expect("put");
                }
                Step::Sync => {
                    blocks = block_on(blocks.start_sync()).expect("sync").0;
                    certificates = block_on(certificates.sync()).expect("sync");
                }
                Step::Prune(min) => {
                    model.0 = model.0.split_off(&min);
                    blocks = block_on(blocks.prune(Height::new(min))).expect("prune");
                    certificates = block_on(certificates.prune(Height::new(min))).expect("prune");
                }
                Step::Reopen => {
                    drop((blocks, certificates));
                    (blocks, certificates) = stores(&folder);
                }
            }
        }
        agree(&model, &blocks, &certificates, &scheme)?;
        drop((blocks, certificates));
        let (blocks, certificates) = stores(&folder);
        agree(&model, &blocks, &certificates, &scheme)?;
    }
}

#[test]
fn a_sync_inside_tokio_reaches_the_disk_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let folder = folder();
    runtime.block_on(async {
        let (blocks, _) = stores(&folder);
        let block = TestBlock { height: 3, salt: 3 };
        let blocks = blocks.put(digest_of(3), &block).await.expect("put");
        let (blocks, done) = blocks.start_sync().await.expect("sync");
        done.await.expect("durable");
        assert_eq!(blocks.read(3).expect("read"), Some(block));
    });
}
