//! Mainnet blocks against their headers.

use crate::replay::folder::BlockFolder;
use crate::replay::tests::Engines;
use crate::testkit::fixtures;

#[test]
fn mainnet_blocks_come_to_what_their_headers_say() {
    let Some(folder) = fixtures::mainnet_blocks() else { return };
    let folder = BlockFolder::open(&folder, &fixtures::LocalDisk).unwrap();
    let engines = Engines::new();
    let mut blocks = 0;
    for number in folder.numbers() {
        let found = folder.load(number).unwrap().expect("listed");
        let outcome = engines.agree(&format!("block {number}"), &found.block, &found.pre_state);
        let wrong = found.header.disagreements(found.block.fork, &outcome);
        assert!(wrong.is_empty(), "block {number}: {wrong:?}");
        blocks += 1;
    }
    assert_eq!(blocks, 5);
}
