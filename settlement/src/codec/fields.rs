//! Kinds of fields that occur in several rows: values that occurred before, addresses, round amounts, signatures.

use std::{collections::HashMap, hash::Hash};

use alloy_primitives::{Address, U256};
use blindfold_wire::Signature65;

use super::{
    CodecError,
    columns::{Column, Reader, Writer},
};

/// Bytes of an address.
pub(super) const ADDRESS_BYTES: usize = 20;

/// Values that occurred before.
pub(super) struct Dictionary<V> {
    values: Vec<V>,
    places: HashMap<V, usize>,
}

impl<V: Copy + Eq + Hash> Dictionary<V> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }

    /// The place of `value`, counted from 1, or 0 if it is new; then it is known from now on.
    pub(super) fn place(&mut self, value: V) -> usize {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        self.add(value);
        0
    }

    pub(super) fn add(&mut self, value: V) {
        self.values.push(value);
        self.places.insert(value, self.values.len());
    }

    pub(super) fn get(&self, place: usize) -> Result<V, CodecError> {
        let index = place.checked_sub(1).ok_or(CodecError::Range)?;
        self.values.get(index).copied().ok_or(CodecError::Range)
    }
}

pub(super) fn write_signature(out: &mut Writer, column: Column, signature: &Signature65) {
    out.parity(signature.y_parity);
    out.bytes(column, &signature.r);
    out.bytes(column, &signature.s);
}

pub(super) fn read_signature(
    rows: &mut Reader<'_>,
    column: Column,
) -> Result<Signature65, CodecError> {
    let y_parity = rows.parity()?;
    Ok(Signature65 { y_parity, r: rows.array(column)?, s: rows.array(column)? })
}

/// A number: its place among known ones, and itself if it is new.
pub(super) fn write_known(
    out: &mut Writer,
    known: &mut Dictionary<u128>,
    (place, new): (Column, Column),
    value: u128,
) {
    let index = known.place(value);
    out.length(place, index);
    if index == 0 {
        out.number(new, value);
    }
}

pub(super) fn read_known(
    rows: &mut Reader<'_>,
    known: &mut Dictionary<u128>,
    (place, new): (Column, Column),
) -> Result<u128, CodecError> {
    match rows.number(place)? {
        0 => {
            let value = rows.number(new)?;
            known.add(value);
            Ok(value)
        }
        index => known.get(index),
    }
}

pub(super) fn write_address(
    out: &mut Writer,
    (column, new): (Column, Column),
    place: usize,
    address: Address,
) {
    out.length(column, place);
    if place == 0 {
        out.bytes(new, address.as_slice());
    }
}

pub(super) fn read_address(
    rows: &mut Reader<'_>,
    known: &mut Dictionary<Address>,
    place: usize,
    new: Column,
) -> Result<Address, CodecError> {
    if place > 0 {
        return known.get(place);
    }
    let address = Address::from(rows.array::<ADDRESS_BYTES>(new)?);
    known.add(address);
    Ok(address)
}

/// Most zeros that a number of 256 bits ends in, in decimal.
const MAX_ZEROS: u8 = 77;

/// A number as digits and zeros: amounts that people choose have few digits and many zeros.
pub(super) fn write_decimal(
    out: &mut Writer,
    (zeros, length, rest): (Column, Column, Column),
    mut value: U256,
) {
    let ten = U256::from(10u8);
    let mut count = 0u8;
    while !value.is_zero() {
        let (quotient, remainder) = value.div_rem(ten);
        if !remainder.is_zero() {
            break;
        }
        (value, count) = (quotient, count + 1);
    }
    out.byte(zeros, count);
    let bytes = value.to_be_bytes_trimmed_vec();
    out.byte(length, bytes.len() as u8);
    out.bytes(rest, &bytes);
}

pub(super) fn read_decimal(
    rows: &mut Reader<'_>,
    (zeros, length, rest): (Column, Column, Column),
) -> Result<U256, CodecError> {
    let count = rows.byte(zeros)?;
    let length = rows.byte(length)?;
    let bytes = rows.bytes(rest, length.into())?;
    if count > MAX_ZEROS {
        return Err(CodecError::Range);
    }
    U256::try_from_be_slice(bytes)
        .and_then(|digits| digits.checked_mul(U256::from(10u8).pow(U256::from(count))))
        .ok_or(CodecError::Range)
}
