//! Blobs and their commitments.
//!
//! The trusted setup is Ethereum's, compiled in. It is loaded on first use without precomputed tables:
//! that takes some milliseconds instead of seconds and 100 MB, and makes proofs (a few a minute, by a
//! poster) slower, not their verification.

use std::sync::LazyLock;

use alloy_eips::{
    eip4844::{Blob, kzg_to_versioned_hash},
    eip7594::BlobTransactionSidecarEip7594,
};
use alloy_primitives::B256;
use c_kzg::KzgSettings;

use super::L1Error;

static SETTINGS: LazyLock<&'static KzgSettings> = LazyLock::new(|| c_kzg::ethereum_kzg_settings(0));

/// The trusted setup.
pub(crate) fn settings() -> &'static KzgSettings {
    *SETTINGS
}

/// The versioned hash of a blob (EIP-4844): 0x01 and the last 31 bytes of SHA-256 of its commitment.
///
/// # Errors
/// [`L1Error::BadBlob`] if a field element is not below the modulus.
pub fn blob_hash(blob: &Blob) -> Result<B256, L1Error> {
    let blob = c_kzg::Blob::new(blob.0);
    let commitment = settings()
        .blob_to_kzg_commitment(&blob)
        .map_err(|error| L1Error::BadBlob(error.to_string()))?;
    Ok(kzg_to_versioned_hash(commitment.as_slice()))
}

/// Whether the blobs are those that the hashes name, in order.
///
/// # Errors
/// [`L1Error::BadBlob`] if not: whoever gave them is wrong.
pub fn check_blobs(blobs: &[Blob], hashes: &[B256]) -> Result<(), L1Error> {
    if blobs.len() != hashes.len() {
        return Err(L1Error::BadBlob(format!("{} blobs for {} hashes", blobs.len(), hashes.len())));
    }
    for (blob, expected) in blobs.iter().zip(hashes) {
        let got = blob_hash(blob)?;
        if got != *expected {
            return Err(L1Error::BadBlob(format!("asked for {expected}, got {got}")));
        }
    }
    Ok(())
}

/// Commitments and cell proofs (EIP-7594) for blobs, as a type-3 transaction carries them. Takes some 100 ms a blob.
///
/// # Errors
/// [`L1Error::BadBlob`] if a field element is not below the modulus.
pub fn seal_blobs(blobs: Vec<Blob>) -> Result<BlobTransactionSidecarEip7594, L1Error> {
    BlobTransactionSidecarEip7594::try_from_blobs_with_settings(blobs, settings())
        .map_err(|error| L1Error::BadBlob(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs;

    #[test]
    fn hashes_are_those_of_the_sidecar() {
        let packed = blobs::pack(&[7; 200]).unwrap();
        let sidecar = seal_blobs(packed.clone()).unwrap();
        let hashes: Vec<_> = sidecar.versioned_hashes().collect();
        assert_eq!(hashes, [blob_hash(&packed[0]).unwrap()]);
        assert_eq!(hashes[0][0], 1);
        assert_eq!(sidecar.cell_proofs.len(), 128);
        assert!(check_blobs(&packed, &hashes).is_ok());
        assert!(check_blobs(&packed, &[]).is_err());
        assert!(check_blobs(&blobs::pack(&[8; 200]).unwrap(), &hashes).is_err());
        let mut over = packed[0];
        over[0] = 0xff;
        assert!(matches!(blob_hash(&over), Err(L1Error::BadBlob(_))));
        assert!(matches!(seal_blobs(vec![over]), Err(L1Error::BadBlob(_))));
    }
}
