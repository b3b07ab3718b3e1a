//! Verifies pairs of conflicting engine votes from their bytes, as a stranger would.

use blindfold_ordering::{
    engine::{self, Digest, OrderingScheme},
    events::{VoteFault, VoteFaultKind},
};
use blindfold_wire::Genesis;
use commonware_codec::DecodeExt as _;
use commonware_consensus::simplex::types::{
    Attributable as _, ConflictingFinalize, ConflictingNotarize, NullifyFinalize,
};
use commonware_parallel::Sequential;
use commonware_runtime::IoBuf;
use rand::{SeedableRng as _, rngs::StdRng};

/// Who cast both votes.
///
/// # Errors
/// If the proof does not show that.
///
/// # Panics
/// If the genesis has no valid vote keys.
pub fn offender(genesis: &Genesis, fault: &VoteFault) -> Result<usize, String> {
    let identities = engine::identities(genesis).expect("a valid genesis");
    let scheme = engine::scheme(genesis, &identities[0], None).expect("a valid genesis");
    // Weights of a batch of two; nobody knows the seed's use before the votes are cast.
    let mut random = StdRng::seed_from_u64(1);
    let proof = || IoBuf::from(fault.proof.clone());
    let (verified, signer) = match fault.kind {
        VoteFaultKind::ConflictingNotarize => {
            let pair = ConflictingNotarize::<OrderingScheme, Digest>::decode(proof())
                .map_err(|error| error.to_string())?;
            (pair.verify(&mut random, &scheme, &Sequential), pair.signer())
        }
        VoteFaultKind::ConflictingFinalize => {
            let pair = ConflictingFinalize::<OrderingScheme, Digest>::decode(proof())
                .map_err(|error| error.to_string())?;
            (pair.verify(&mut random, &scheme, &Sequential), pair.signer())
        }
        VoteFaultKind::NullifyFinalize => {
            let pair = NullifyFinalize::<OrderingScheme, Digest>::decode(proof())
                .map_err(|error| error.to_string())?;
            (pair.verify(&mut random, &scheme, &Sequential), pair.signer())
        }
    };
    if verified { Ok(usize::from(signer)) } else { Err("a vote is not its signer's".to_owned()) }
}
