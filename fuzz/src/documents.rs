//! JSON that a wallet reads from a node it need not trust.

use crate::{bounded::bounded, world::COMMITTEE};
use blindfold_sdk::{
    Committee, SignedReceipt,
    rpc::{
        CommitmentDocument, CommitteeDocument, EvidenceDocument, ExecutedNotice, HeadDocument,
        HeightDocument, OpenedNotice, OpeningDocument, OrderedNotice, PayerDocument,
        PendingDocument, ReceiptDocument, SendDocument,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// Reads a document, and demands that its own JSON reads back as the same.
fn reads<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let document: T = bounded(data.len(), || serde_json::from_slice(data)).ok()?;
    let json = serde_json::to_vec(&document).expect("a plain value");
    assert_eq!(serde_json::from_slice::<T>(&json).expect("own JSON"), document);
    Some(document)
}

/// Every `sealed_*` document; the first byte chooses which.
pub(crate) fn documents(data: &[u8]) -> bool {
    let Some((kind, data)) = data.split_first() else { return false };
    match kind % 13 {
        0 => reads::<CommitteeDocument>(data).is_some_and(|document| {
            // A node may show any genesis; the wallet takes the pinned one alone.
            let pinned = COMMITTEE.genesis.hash();
            match Committee::from_rlp(&document.genesis_rlp, pinned) {
                Ok(committee) => assert_eq!(committee.genesis(), &COMMITTEE.genesis),
                Err(_) => assert_ne!(document.genesis_rlp, COMMITTEE.genesis.encode()),
            }
            true
        }),
        1 => reads::<SendDocument>(data).is_some(),
        2 => reads::<ReceiptDocument>(data).is_some_and(|document| {
            let Ok(signed) = SignedReceipt::try_from(&document) else { return false };
            assert_eq!(ReceiptDocument::from(&signed), document);
            true
        }),
        3 => reads::<HeadDocument>(data).is_some(),
        4 => reads::<PayerDocument>(data).is_some(),
        5 => reads::<CommitmentDocument>(data).is_some(),
        6 => reads::<PendingDocument>(data).is_some(),
        7 => reads::<HeightDocument>(data).is_some(),
        8 => reads::<EvidenceDocument>(data).is_some(),
        9 => reads::<OpeningDocument>(data).is_some(),
        10 => reads::<OrderedNotice>(data).is_some(),
        11 => reads::<OpenedNotice>(data).is_some(),
        _ => reads::<ExecutedNotice>(data).is_some(),
    }
}
