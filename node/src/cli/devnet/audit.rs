//! Checks what the members say about every height, with the genesis document alone as trust.
//!
//! *Opened before final* is counted here, not assumed: a member that signed a share bundle must show
//! a certificate chain, held when it released, that makes exactly that commitment final. A bundle of
//! another commitment, a chain that does not verify, a missing chain, and a height that was opened
//! with fewer than t members showing their bundles all count.

use super::wallets::Members;
use blindfold_sdk::rpc::HeightDocument;
use blindfold_wire::{
    Certified, FinalizationCertificate, OrderCommitment, SignedBundleHeader, VoteCommittee,
    genesis::Genesis,
};
use eyre::{Result, WrapErr as _};
use std::collections::BTreeMap;

/// What the members' own records prove.
#[derive(Debug, Default)]
pub struct Audit {
    /// Envelopes in heights that some member released without proof of finality.
    pub opened_before_final: usize,
    /// Signed bundles looked at.
    pub bundles_checked: usize,
    /// Members whose order or state root differs from the majority's somewhere.
    pub diverged_nodes: usize,
    /// Records of the first member, by height.
    pub heights: BTreeMap<u64, HeightDocument>,
    /// State root at the last height all members executed.
    pub state_root: String,
}

/// Looks at heights 1 to `last` at every member.
pub fn audit(members: &Members, genesis: &Genesis, last: u64) -> Result<Audit> {
    let votes = VoteCommittee::from_genesis(genesis).wrap_err("genesis")?;
    let mut audit = Audit::default();
    let mut diverged = vec![false; members.clients.len()];
    for height in 1..=last {
        let mut documents = Vec::new();
        for (index, client) in members.clients.iter().enumerate() {
            let document: Option<HeightDocument> = client
                .request("sealed_getHeight", [format!("0x{height:x}")])
                .wrap_err_with(|| format!("member {index} does not answer for height {height}"))?;
            documents.push(document);
        }
        for (index, differs) in diverging(&documents).into_iter().enumerate() {
            diverged[index] |= differs;
        }
        let (mut early, mut shown) = (false, 0);
        for (index, document) in documents.iter().enumerate() {
            let Some(document) = document else { continue };
            let Some(released) = &document.released else { continue };
            audit.bundles_checked += 1;
            shown += 1;
            if let Err(reason) = release_is_final(document, released, index, genesis, &votes) {
                eprintln!("member {index}, height {height}: {reason:#}");
                early = true;
            }
        }
        let Some(first) = documents.into_iter().flatten().next() else { continue };
        if first.count > 0 && shown < genesis.committee.threshold {
            eprintln!("height {height}: opened, but only {shown} members show what they signed");
            early = true;
        }
        if early {
            audit.opened_before_final += first.count as usize;
        }
        if let Some(root) = first.state_root {
            audit.state_root = root.to_string();
        }
        audit.heights.insert(height, first);
    }
    audit.diverged_nodes = diverged.into_iter().filter(|differs| *differs).count();
    Ok(audit)
}

/// Which of the members differ from what most of them say. A member without the record differs.
fn diverging(documents: &[Option<HeightDocument>]) -> Vec<bool> {
    let says = |document: &Option<HeightDocument>| {
        document.as_ref().map(|known| (known.digest, known.state_root))
    };
    let mut counts = BTreeMap::new();
    for document in documents {
        *counts.entry(says(document)).or_insert(0usize) += 1;
    }
    let majority =
        counts.iter().filter(|(said, _)| said.is_some()).max_by_key(|(_, count)| **count);
    let majority = majority.map(|(said, _)| *said);
    documents.iter().map(|document| Some(says(document)) != majority).collect()
}

/// Fails unless the member's signed bundle is for a commitment that its own proof makes final.
fn release_is_final(
    document: &HeightDocument,
    released: &[u8],
    member: usize,
    genesis: &Genesis,
    votes: &VoteCommittee,
) -> Result<()> {
    let signed =
        SignedBundleHeader::decode(released).wrap_err("the bundle header does not decode")?;
    let signer = signed.recover_signer().wrap_err("the bundle's signature")?;
    let header = &signed.header;
    eyre::ensure!(
        genesis.committee.members.get(member).is_some_and(|info| info.signer == signer)
            && usize::try_from(header.member) == Ok(member),
        "the bundle is signed by somebody else"
    );
    let commitment =
        OrderCommitment::decode(&document.commitment).wrap_err("the commitment does not decode")?;
    eyre::ensure!(
        header.height == commitment.height && header.commitment == commitment.digest(),
        "shares were released for another commitment than the final one"
    );
    let certificate = FinalizationCertificate::decode_engine(
        &document.certificate,
        genesis.committee.members.len(),
    )
    .wrap_err("the certificate does not decode")?;
    let descendants = document
        .descendants
        .iter()
        .map(|link| OrderCommitment::decode(link).wrap_err("a descendant does not decode"))
        .collect::<Result<Vec<_>>>()?;
    let certified = match descendants.split_last() {
        None => Certified::by_certificate(commitment, &certificate, votes)?,
        Some((tip, between)) => {
            let mut child = Certified::by_certificate(tip.clone(), &certificate, votes)?;
            for link in between.iter().rev() {
                child = Certified::by_child(link.clone(), &child)?;
            }
            Certified::by_child(commitment, &child)?
        }
    };
    eyre::ensure!(certified.digest() == header.commitment, "the proof is for another commitment");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    fn document(root: u8) -> Option<HeightDocument> {
        Some(HeightDocument {
            height: 1,
            digest: B256::repeat_byte(1),
            leader: 0,
            count: 0,
            proposed_ms: 0,
            ordered_ms: 0,
            opened_ms: 0,
            executed_ms: 0,
            commitment: Default::default(),
            certificate: Default::default(),
            descendants: Vec::new(),
            released: None,
            l1_block: 0,
            l1_base_fee_wei: 0,
            forced: Vec::new(),
            state_root: Some(B256::repeat_byte(root)),
            executed: 0,
            skipped: 0,
            undecryptable: 0,
        })
    }

    #[test]
    fn the_minority_diverges() {
        assert_eq!(
            diverging(&[document(1), document(1), document(2), document(1)]),
            [false, false, true, false]
        );
        assert_eq!(diverging(&[document(1), None, document(1)]), [false, true, false]);
        assert_eq!(diverging(&[document(1), document(1)]), [false, false]);
        assert_eq!(diverging(&[None, None]), [true, true]);
    }
}
