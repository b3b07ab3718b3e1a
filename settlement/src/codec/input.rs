//! The input of an inner transaction: of a call its selector and words, of a creation the code.

use alloy_primitives::{Address, Bytes, U256};
use blindfold_crypto::MAX_MESSAGE_BYTES;

use super::{
    CodecError,
    columns::{Column, Reader, Writer},
    fields::{
        ADDRESS_BYTES, Dictionary, read_address, read_decimal, read_known, write_address,
        write_decimal, write_known,
    },
    transaction::TxFields,
};

/// Kind of a word that is a number of at most [`NUMBER_BYTES`].
const NUMBER: u8 = 0;
/// Longest number.
const NUMBER_BYTES: usize = 16;
const WORD_BYTES: usize = 32;
const SELECTOR_BYTES: usize = 4;

/// What inputs refer back to.
pub(super) struct Inputs {
    selectors: Dictionary<u128>,
    addresses: Dictionary<Address>,
}

impl Inputs {
    pub(super) fn new() -> Self {
        Self { selectors: Dictionary::new(), addresses: Dictionary::new() }
    }

    /// A call is a selector and words of 32 bytes; whatever is left, and code, is written as it is.
    pub(super) fn write(&mut self, out: &mut Writer, tx: &TxFields) {
        out.length(Column::InputLength, tx.input.len());
        let (Some(_), Some((selector, arguments))) =
            (tx.to, tx.input.split_first_chunk::<SELECTOR_BYTES>())
        else {
            return out.bytes(Column::Tail, &tx.input);
        };
        let selector = u32::from_be_bytes(*selector).into();
        let columns = (Column::Selector, Column::NewSelector);
        write_known(out, &mut self.selectors, columns, selector);
        let (words, tail) = arguments.as_chunks::<WORD_BYTES>();
        for word in words {
            self.write_word(out, word);
        }
        out.bytes(Column::Tail, tail);
    }

    pub(super) fn read(&mut self, rows: &mut Reader<'_>, call: bool) -> Result<Bytes, CodecError> {
        let length: usize = rows.number(Column::InputLength)?;
        if length > MAX_MESSAGE_BYTES {
            return Err(CodecError::TooLong { limit: MAX_MESSAGE_BYTES, got: length });
        }
        if !call || length < SELECTOR_BYTES {
            return Ok(Bytes::copy_from_slice(rows.bytes(Column::Tail, length)?));
        }
        let columns = (Column::Selector, Column::NewSelector);
        let selector = read_known(rows, &mut self.selectors, columns)?;
        let selector = u32::try_from(selector).map_err(|_| CodecError::Range)?;
        let mut input = Vec::with_capacity(length);
        input.extend_from_slice(&selector.to_be_bytes());
        for _ in 0..(length - SELECTOR_BYTES) / WORD_BYTES {
            input.extend_from_slice(&self.read_word(rows)?);
        }
        input.extend_from_slice(rows.bytes(Column::Tail, length - input.len())?);
        Ok(input.into())
    }

    fn write_word(&mut self, out: &mut Writer, word: &[u8; WORD_BYTES]) {
        let zeros = word.iter().take_while(|byte| **byte == 0).count();
        let rest = &word[zeros..];
        match rest.len() {
            0..=NUMBER_BYTES => {
                out.byte(Column::WordKind, NUMBER);
                let columns = (Column::WordZeros, Column::WordLength, Column::WordNumber);
                write_decimal(out, columns, U256::from_be_bytes(*word));
            }
            ADDRESS_BYTES => {
                out.byte(Column::WordKind, ADDRESS_BYTES as u8);
                let address = Address::from_slice(rest);
                let place = self.addresses.place(address);
                let columns = (Column::WordAddress, Column::NewWordAddress);
                write_address(out, columns, place, address);
            }
            length => {
                out.byte(Column::WordKind, length as u8);
                out.bytes(Column::Word, rest);
            }
        }
    }

    fn read_word(&mut self, rows: &mut Reader<'_>) -> Result<[u8; WORD_BYTES], CodecError> {
        let kind = rows.byte(Column::WordKind)?;
        if kind == NUMBER {
            let columns = (Column::WordZeros, Column::WordLength, Column::WordNumber);
            return read_decimal(rows, columns).map(|number| number.to_be_bytes());
        }
        let length = usize::from(kind);
        let mut word = [0; WORD_BYTES];
        let begin = WORD_BYTES.checked_sub(length).ok_or(CodecError::Shape(kind))?;
        if length == ADDRESS_BYTES {
            let place = rows.number(Column::WordAddress)?;
            let addresses = &mut self.addresses;
            let address = read_address(rows, addresses, place, Column::NewWordAddress)?;
            word[begin..].copy_from_slice(address.as_slice());
        } else {
            word[begin..].copy_from_slice(rows.bytes(Column::Word, length)?);
        }
        Ok(word)
    }
}
