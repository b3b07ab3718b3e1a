//! Errors. What they carry is public data only.

use thiserror::Error;

/// Why bytes are not an acceptable group element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PointError {
    /// The bytes are not the canonical encoding of anything.
    #[error("not a canonical point encoding")]
    Encoding,
    /// The coordinates do not satisfy the curve equation.
    #[error("point is not on the curve")]
    NotOnCurve,
    /// Infinity, where a real point is needed.
    #[error("point is infinity")]
    Infinity,
    /// The point has a component of small order.
    #[error("point is not in the prime-order subgroup")]
    Subgroup,
}

/// The fields of a ciphertext that are points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointField {
    /// `u`.
    U,
    /// `u_bar`.
    UBar,
    /// `w`.
    W,
    /// `w_bar`.
    WBar,
}

impl std::fmt::Display for PointField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::U => "u",
            Self::UBar => "u_bar",
            Self::W => "w",
            Self::WBar => "w_bar",
        })
    }
}

/// Why a ciphertext is invalid. Whoever made or forwarded it is at fault: validity needs nothing but
/// the ciphertext, its label and the committee key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CiphertextError {
    /// A point field is not acceptable.
    #[error("{field}: {error}")]
    Point {
        /// Which field.
        field: PointField,
        /// What is wrong with it.
        error: PointError,
    },
    /// `z` is not below the group order.
    #[error("z is not a canonical scalar")]
    Scalar,
    /// The body is not 16 bytes longer than one of the padded lengths.
    #[error("body of {len} bytes has no padded length")]
    BodyLength {
        /// Length of the body in bytes.
        len: usize,
    },
    /// The proof does not hold for this label and key.
    #[error("proof does not hold for this label and committee key")]
    Proof,
}

/// Why a message cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The message does not fit the largest padded length.
    #[error("message of {len} bytes is longer than {max}")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message that can be sealed, in bytes.
        max: usize,
    },
    /// The seed leads to a zero scalar. Take another one. No seed with this property is known.
    #[error("seed leads to a zero scalar, take another one")]
    DegenerateSeed,
}

/// Why bytes are not a decryption key share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecryptionKeyError {
    /// Not a canonical scalar, or zero.
    #[error("not a canonical non-zero scalar")]
    Scalar,
}

/// Why the public data of a committee is not consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommitteeError {
    /// The threshold is zero or larger than the committee.
    #[error("threshold {threshold} does not fit {members} members")]
    Threshold {
        /// Shares needed to open.
        threshold: usize,
        /// Members of the committee.
        members: usize,
    },
    /// More members than [`crate::MAX_MEMBERS`].
    #[error("{members} members are more than {max}")]
    TooManyMembers {
        /// Members of the committee.
        members: usize,
        /// The bound.
        max: usize,
    },
    /// The committee key in G1 is not acceptable.
    #[error("committee key in G1: {0}")]
    Key(PointError),
    /// The committee key in G2 is not acceptable.
    #[error("committee key in G2: {0}")]
    KeyG2(PointError),
    /// A member's verification key is not acceptable.
    #[error("verification key of member {member}: {error}")]
    VerificationKey {
        /// Index of the member.
        member: usize,
        /// What is wrong.
        error: PointError,
    },
    /// The keys in G1 and G2 do not belong to one secret.
    #[error("the committee keys in G1 and G2 differ")]
    KeyMismatch,
    /// The verification keys and the committee key are not on one polynomial of the right degree.
    #[error("verification keys do not interpolate to the committee key")]
    Degree,
}

/// Why shares do not combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CombineError {
    /// No share at all.
    #[error("no share")]
    Empty,
    /// A member occurs twice.
    #[error("member {member} occurs twice")]
    Duplicate {
        /// Index of the member.
        member: usize,
    },
    /// A share is not a point.
    #[error("share of member {member}: {error}")]
    Share {
        /// Index of the member.
        member: usize,
        /// What is wrong.
        error: PointError,
    },
}

/// Why an opening is not the opening of a ciphertext. Whoever served it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpeningError {
    /// Sealing the message again from the seed gives other bytes.
    #[error("sealing again does not give the ciphertext")]
    Mismatch,
    /// The published secret, or `u` of the ciphertext, is not acceptable as a point.
    #[error("secret: {0}")]
    Secret(PointError),
    /// The published secret is not the ciphertext's.
    #[error("secret does not satisfy the pairing equation")]
    WrongSecret,
    /// The secret is right, but it opens the ciphertext: the opening must be seed and message.
    #[error("ciphertext called undecryptable can be opened")]
    Decryptable,
}

/// Why the test dealer cannot deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DealError {
    /// The threshold is zero or larger than the committee, or the committee too large.
    #[error("cannot deal {members} shares with threshold {threshold}")]
    Shape {
        /// Members of the committee.
        members: usize,
        /// Shares needed to open.
        threshold: usize,
    },
}
