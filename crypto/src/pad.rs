//! Padding: a message hides its length up to a power of two.

use zeroize::Zeroizing;

use crate::error::SealError;

/// Bytes of the length in front of a message.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Smallest padded length in bytes.
pub const MIN_PADDED_BYTES: usize = 256;
/// Largest padded length in bytes.
pub const MAX_PADDED_BYTES: usize = 64 * 1024;
/// Longest message that can be sealed, in bytes.
pub const MAX_MESSAGE_BYTES: usize = MAX_PADDED_BYTES - LENGTH_BYTES;

/// Returns the padded length of a message, its 4-byte length included: the smallest 256·2^k bytes
/// that fit. `None` when the message is longer than [`MAX_MESSAGE_BYTES`].
///
/// ```
/// assert_eq!(blindfold_crypto::padded_len(252), Some(256));
/// assert_eq!(blindfold_crypto::padded_len(253), Some(512));
/// assert_eq!(blindfold_crypto::padded_len(65_533), None);
/// ```
pub fn padded_len(message_len: usize) -> Option<usize> {
    (message_len <= MAX_MESSAGE_BYTES)
        .then(|| (message_len + LENGTH_BYTES).next_power_of_two().max(MIN_PADDED_BYTES))
}

/// Whether a length is one of the padded lengths.
pub fn is_padded_len(len: usize) -> bool {
    len.is_power_of_two() && (MIN_PADDED_BYTES..=MAX_PADDED_BYTES).contains(&len)
}

/// pad(m) = big-endian u32 length ‖ m ‖ zeros.
pub(crate) fn pad(message: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let error = SealError::TooLong { len: message.len(), max: MAX_MESSAGE_BYTES };
    let padded_len = padded_len(message.len()).ok_or(error)?;
    let length = u32::try_from(message.len()).map_err(|_| error)?;
    let mut padded = Zeroizing::new(vec![0; padded_len]);
    padded[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    padded[LENGTH_BYTES..LENGTH_BYTES + message.len()].copy_from_slice(message);
    Ok(padded)
}

/// The message inside padded bytes; `None` unless they are exactly what [`pad`] makes of it.
pub(crate) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (message, zeros) = rest.split_at_checked(length)?;
    (padded_len(length) == Some(padded.len()) && zeros.iter().all(|byte| *byte == 0))
        .then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_padding_is_undone() {
        for len in [0, 1, 251, 252, 253, 508, 509, MAX_MESSAGE_BYTES] {
            let message = vec![7; len];
            let mut padded = pad(&message).unwrap();
            assert!(is_padded_len(padded.len()));
            assert_eq!(unpad(&padded), Some(message.as_slice()));

            let longer = [padded.as_slice(), &vec![0; padded.len()]].concat();
            assert_eq!(unpad(&longer), None, "{len}: not the smallest length");
            if len + LENGTH_BYTES < padded.len() {
                *padded.last_mut().unwrap() = 1;
                assert_eq!(unpad(&padded), None, "{len}: not zeros");
            }
        }
        assert!(matches!(pad(&vec![0; MAX_MESSAGE_BYTES + 1]), Err(SealError::TooLong { .. })));
        assert_eq!(unpad(&[0; 3]), None);
        assert_eq!(unpad(&[0xff; 256]), None);
    }
}
