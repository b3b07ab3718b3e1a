//! The columns of a batch, and where each is stored.
//!
//! Values of one kind stand next to each other, so that a compressor sees what they have in common. What is
//! random anyway (signatures, seeds, hashes, new addresses) stands apart: among other bytes it would only
//! spoil their statistics.

use super::{CodecError, SECTIONS};

macro_rules! columns {
    ($($(#[doc = $doc:literal])* $name:ident: $section:ident),* $(,)?) => {
        /// One kind of field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Column {
            $($(#[doc = $doc])* $name,)*
        }

        /// The section of every column, in the order in which columns stand there.
        const LAYOUT: &[Section] = &[$(Section::$section),*];
    };
}

/// Parts of a batch that are compressed on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// Kinds, differences, places in dictionaries: mostly small and alike.
    Regular,
    /// Numbers and bytes of transactions.
    Content,
    /// What no compressor can make smaller.
    Random,
}

columns![
    /// Per height: number of items.
    Count: Regular,
    /// Per height: distance of the view from the one after the last height's.
    View: Regular,
    /// Per height: distance of the timestamp from the last height's.
    Time: Regular,
    /// Per height: distance of the base fee from the last height's.
    BaseFee: Regular,
    /// Per height: distance of the L1 block from the last height's.
    L1Block: Regular,
    /// Per height: distance of the L1 base fee from the last height's.
    L1BaseFee: Regular,
    /// Per height: distance of the forced cursor from the last height's.
    Cursor: Regular,
    /// Per item: what it is, and how its message is written.
    Shape: Regular,
    /// Per opened item: place of the key id in its dictionary.
    Key: Regular,
    /// New key ids.
    NewKey: Content,
    /// Per opened item: the payer's nonce.
    Nonce: Content,
    /// Per opened item: place of the priority fee in its dictionary.
    Tip: Regular,
    /// New priority fees.
    NewTip: Content,
    /// Per opened item: place of fee − priority fee in its dictionary.
    Fee: Regular,
    /// New values of fee − priority fee.
    NewFee: Content,
    /// Per opened item: place of the gas class in its dictionary.
    Class: Regular,
    /// New gas classes.
    NewClass: Regular,
    /// Per opened item: distance of the expiry from the height.
    Expiry: Regular,
    /// Per opened item with a payer of its own: place in the dictionary of addresses.
    Payer: Regular,
    /// Per transaction: place of its distance from the chain id in its dictionary.
    TxChain: Regular,
    /// New distances from the chain id.
    NewTxChain: Content,
    /// Per transaction: distance of its nonce from the payer's.
    TxNonce: Regular,
    /// Per transaction: place of its fee's distance from the envelope's in its dictionary.
    TxFee: Regular,
    /// New distances between fees.
    NewTxFee: Content,
    /// Per transaction with a priority fee: place of its distance from the envelope's.
    TxTip: Regular,
    /// New distances between priority fees.
    NewTxTip: Content,
    /// Per transaction: place of the gas limit in its dictionary.
    TxGas: Regular,
    /// New gas limits.
    NewTxGas: Content,
    /// Per transaction: 0 creates a contract, else 1 + place of the target in the dictionary of addresses.
    TxTo: Regular,
    /// Per transaction: how many zeros its value ends in, in decimal.
    ValueZeros: Regular,
    /// Per transaction: length of the rest of the value.
    ValueLength: Regular,
    /// The rests of the values.
    Value: Content,
    /// Per transaction: length of the input.
    InputLength: Regular,
    /// Per call: place of the selector in its dictionary.
    Selector: Regular,
    /// New selectors.
    NewSelector: Content,
    /// Per word of a call: 0 a number, 20 an address, else its length without leading zeros.
    WordKind: Regular,
    /// Per number: how many zeros it ends in, in decimal.
    WordZeros: Regular,
    /// Per number: length of the rest.
    WordLength: Regular,
    /// The rests of the numbers.
    WordNumber: Content,
    /// Per address in a call: place in the dictionary of words.
    WordAddress: Regular,
    /// Words that are neither.
    Word: Content,
    /// Bytes that make up no word, and the input of what creates a contract.
    Tail: Content,
    /// Per transaction of a kind that has one: length of the access list.
    AccessLength: Regular,
    /// Access lists.
    Access: Content,
    /// Per transaction of type 4: length of the authorization list.
    AuthorizationLength: Regular,
    /// Authorization lists.
    Authorization: Content,
    /// Per message that is no transaction: its length.
    RawLength: Regular,
    /// Messages that are no transactions.
    Raw: Content,
    /// Per undecryptable item: length of the envelope.
    WholeLength: Regular,
    /// Undecryptable envelopes.
    Whole: Random,
    /// Parities of all signatures, one bit each, lowest first.
    Parity: Random,
    /// Per height: forced hash, if the cursor moved; executed root; r and s of the leader's signature.
    Height: Random,
    /// r and s of the payers' signatures.
    PayerSignature: Random,
    /// Seeds, and the secrets of what is undecryptable.
    Seed: Random,
    /// r and s of the transactions' signatures.
    TxSignature: Random,
    /// New targets and payers.
    NewAddress: Random,
    /// New addresses in calls.
    NewWordAddress: Random,
];

/// How many columns there are.
pub(super) const COLUMNS: usize = LAYOUT.len();

/// Columns being written.
pub(super) struct Writer {
    columns: [Vec<u8>; COLUMNS],
    bits: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { columns: std::array::from_fn(|_| Vec::new()), bits: 0 }
    }

    pub(super) fn byte(&mut self, column: Column, value: u8) {
        self.columns[column as usize].push(value);
    }

    pub(super) fn bytes(&mut self, column: Column, value: &[u8]) {
        self.columns[column as usize].extend_from_slice(value);
    }

    pub(super) fn number(&mut self, column: Column, value: impl Into<u128>) {
        write_number(&mut self.columns[column as usize], value.into());
    }

    /// A length, or another number that fits memory.
    pub(super) fn length(&mut self, column: Column, value: usize) {
        write_number(&mut self.columns[column as usize], value as u128);
    }

    /// `value − base`, modulo 2^64.
    pub(super) fn distance(&mut self, column: Column, base: u64, value: u64) {
        let distance = value.wrapping_sub(base) as i64;
        self.number(column, ((distance << 1) ^ (distance >> 63)) as u64);
    }

    /// `value − base`, modulo 2^128.
    pub(super) fn wide_distance(&mut self, column: Column, base: u128, value: u128) {
        self.number(column, zigzag(value.wrapping_sub(base)));
    }

    pub(super) fn parity(&mut self, odd: bool) {
        let column = &mut self.columns[Column::Parity as usize];
        if self.bits.is_multiple_of(8) {
            column.push(0);
        }
        if let (true, Some(last)) = (odd, column.last_mut()) {
            *last |= 1 << (self.bits % 8);
        }
        self.bits += 1;
    }

    /// The sections: each a length for every column, and the columns.
    pub(super) fn finish(self) -> [Vec<u8>; SECTIONS] {
        let mut sections: [Vec<u8>; SECTIONS] = std::array::from_fn(|_| Vec::new());
        for (column, section) in self.columns.iter().zip(LAYOUT) {
            write_number(&mut sections[*section as usize], column.len() as u128);
        }
        for (column, section) in self.columns.iter().zip(LAYOUT) {
            sections[*section as usize].extend_from_slice(column);
        }
        sections
    }
}

/// Columns being read. Every read takes bytes away; [`Reader::finish`] wants none to be left.
pub(super) struct Reader<'a> {
    columns: [&'a [u8]; COLUMNS],
    bits: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sections: &'a [Vec<u8>; SECTIONS]) -> Result<Self, CodecError> {
        let mut rests: [&[u8]; SECTIONS] = std::array::from_fn(|i| sections[i].as_slice());
        let mut lengths = [0; COLUMNS];
        for (length, section) in lengths.iter_mut().zip(LAYOUT) {
            let number = read_number(&mut rests[*section as usize])?;
            *length = usize::try_from(number).map_err(|_| CodecError::Truncated)?;
        }
        let mut columns: [&[u8]; COLUMNS] = [&[]; COLUMNS];
        for ((column, length), section) in columns.iter_mut().zip(lengths).zip(LAYOUT) {
            let rest = &mut rests[*section as usize];
            (*column, *rest) = rest.split_at_checked(length).ok_or(CodecError::Truncated)?;
        }
        match rests.iter().all(|rest| rest.is_empty()) {
            true => Ok(Self { columns, bits: 0 }),
            false => Err(CodecError::Trailing),
        }
    }

    pub(super) fn byte(&mut self, column: Column) -> Result<u8, CodecError> {
        let (byte, rest) =
            self.columns[column as usize].split_first().ok_or(CodecError::Truncated)?;
        self.columns[column as usize] = rest;
        Ok(*byte)
    }

    pub(super) fn bytes(&mut self, column: Column, length: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) =
            self.columns[column as usize].split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.columns[column as usize] = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, column: Column) -> Result<[u8; N], CodecError> {
        let (bytes, rest) =
            self.columns[column as usize].split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.columns[column as usize] = rest;
        Ok(*bytes)
    }

    pub(super) fn number<T: TryFrom<u128>>(&mut self, column: Column) -> Result<T, CodecError> {
        let number = read_number(&mut self.columns[column as usize])?;
        T::try_from(number).map_err(|_| CodecError::Range)
    }

    pub(super) fn distance(&mut self, column: Column, base: u64) -> Result<u64, CodecError> {
        let code: u64 = self.number(column)?;
        let distance = (code >> 1) as i64 ^ -((code & 1) as i64);
        Ok(base.wrapping_add(distance as u64))
    }

    pub(super) fn wide_distance(&mut self, column: Column, base: u128) -> Result<u128, CodecError> {
        let code: u128 = self.number(column)?;
        Ok(base.wrapping_add(unzigzag(code)))
    }

    pub(super) fn parity(&mut self) -> Result<bool, CodecError> {
        let column = self.columns[Column::Parity as usize];
        let byte = column.get(self.bits / 8).ok_or(CodecError::Truncated)?;
        let odd = byte >> (self.bits % 8) & 1 == 1;
        self.bits += 1;
        Ok(odd)
    }

    /// Nothing may be left. (Unused bits of the last parity byte are found by encoding again.)
    pub(super) fn finish(mut self) -> Result<(), CodecError> {
        self.bytes(Column::Parity, self.bits.div_ceil(8))?;
        match self.columns.iter().all(|column| column.is_empty()) {
            true => Ok(()),
            false => Err(CodecError::Trailing),
        }
    }
}

/// A difference modulo 2^128 as a number that is small if the difference is, whatever its sign.
pub(super) fn zigzag(difference: u128) -> u128 {
    let signed = difference as i128;
    ((signed << 1) ^ (signed >> 127)) as u128
}

pub(super) fn unzigzag(code: u128) -> u128 {
    (code >> 1) ^ (code & 1).wrapping_neg()
}

/// LEB128: seven bits a byte, lowest first, shortest form.
pub(super) fn write_number(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`write_number`] wrote, and nothing else.
pub(super) fn read_number(bytes: &mut &[u8]) -> Result<u128, CodecError> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CodecError::Truncated)?;
        *bytes = rest;
        let bits = u128::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return Err(CodecError::Range);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            // A last byte of zero could have been left out.
            return if bits == 0 && shift > 0 { Err(CodecError::NotCanonical) } else { Ok(value) };
        }
    }
    Err(CodecError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_have_one_form(value in any::<u128>(), shift in 0u32..128) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_number(&mut bytes, value);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_number(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(unzigzag(zigzag(value)), value);
            // The same number with a byte more.
            let last = bytes.len() - 1;
            bytes[last] |= 0x80;
            bytes.push(0);
            prop_assert!(read_number(&mut bytes.as_slice()).is_err());
        }
    }

    #[test]
    fn numbers_over_128_bits_are_refused() {
        let mut bytes = vec![0xff; 18];
        bytes.push(0x03);
        assert_eq!(read_number(&mut bytes.as_slice()), Ok(u128::MAX));
        bytes[18] = 0x04;
        assert_eq!(read_number(&mut bytes.as_slice()), Err(CodecError::Range));
        bytes[18] = 0x83;
        assert_eq!(read_number(&mut bytes.as_slice()), Err(CodecError::Range));
        assert_eq!(read_number(&mut [0x80].as_slice()), Err(CodecError::Truncated));
    }
}
