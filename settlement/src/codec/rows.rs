//! Heights and items, field by field, into columns and back.

use std::{collections::HashMap, hash::Hash};

use alloy_primitives::{Address, B256, Bytes, U256};
use blindfold_crypto::MAX_MESSAGE_BYTES;
use blindfold_wire::{Envelope, EnvelopeHeader, MAX_BLOCK_COUNT, MAX_ENVELOPE_BYTES, Signature65};

use super::{
    CodecError, EncodeError, Payer, PostedHeight, PostedItem, PostedOpening,
    columns::{Column, Reader, Writer},
    transaction::{TxFields, TxForm, join, split},
};

/// Shape of an undecryptable item.
const UNDECRYPTABLE: u8 = 0xff;
/// Form of a message that is written as it is.
const RAW: u8 = 0x0f;
/// Set in the shape of an opened item whose payer is not the signer of its transaction.
const OTHER_PAYER: u8 = 0x10;

/// Kind of a word that is a number of at most [`NUMBER_BYTES`].
const NUMBER: u8 = 0;
/// Longest number.
const NUMBER_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 20;
const WORD_BYTES: usize = 32;
const SELECTOR_BYTES: usize = 4;

/// Values that occurred before.
struct Dictionary<V> {
    values: Vec<V>,
    places: HashMap<V, usize>,
}

impl<V: Copy + Eq + Hash> Dictionary<V> {
    fn new() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }

    /// The place of `value`, counted from 1, or 0 if it is new; then it is known from now on.
    fn place(&mut self, value: V) -> usize {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        self.add(value);
        0
    }

    fn add(&mut self, value: V) {
        self.values.push(value);
        self.places.insert(value, self.values.len());
    }

    fn get(&self, place: usize) -> Result<V, CodecError> {
        let index = place.checked_sub(1).ok_or(CodecError::Range)?;
        self.values.get(index).copied().ok_or(CodecError::Range)
    }
}

/// What a row refers back to. Writer and reader go through the same states.
pub(super) struct Rows {
    chain_id: u64,
    height: u64,
    view: u64,
    time: u64,
    base_fee: u128,
    l1_block: u64,
    l1_base_fee: u64,
    cursor: u64,
    forced_hash: B256,
    keys: Dictionary<u128>,
    tips: Dictionary<u128>,
    fees: Dictionary<u128>,
    classes: Dictionary<u128>,
    tx_chains: Dictionary<u128>,
    tx_fees: Dictionary<u128>,
    tx_tips: Dictionary<u128>,
    tx_gas: Dictionary<u128>,
    selectors: Dictionary<u128>,
    addresses: Dictionary<Address>,
    word_addresses: Dictionary<Address>,
}

impl Rows {
    pub(super) fn new(chain_id: u64, first_height: u64) -> Self {
        Self {
            chain_id,
            height: first_height,
            view: 0,
            time: 0,
            base_fee: 0,
            l1_block: 0,
            l1_base_fee: 0,
            cursor: 0,
            forced_hash: B256::ZERO,
            keys: Dictionary::new(),
            tips: Dictionary::new(),
            fees: Dictionary::new(),
            classes: Dictionary::new(),
            tx_chains: Dictionary::new(),
            tx_fees: Dictionary::new(),
            tx_tips: Dictionary::new(),
            tx_gas: Dictionary::new(),
            selectors: Dictionary::new(),
            addresses: Dictionary::new(),
            word_addresses: Dictionary::new(),
        }
    }

    pub(super) fn write_height(
        &mut self,
        out: &mut Writer,
        height: &PostedHeight,
    ) -> Result<(), EncodeError> {
        if height.items.len() > MAX_BLOCK_COUNT {
            return Err(EncodeError::TooLong { limit: MAX_BLOCK_COUNT, got: height.items.len() });
        }
        out.length(Column::Count, height.items.len());
        out.distance(Column::View, self.view, height.view);
        out.distance(Column::Time, self.time, height.timestamp_ms);
        out.wide_distance(Column::BaseFee, self.base_fee, height.base_fee);
        out.distance(Column::L1Block, self.l1_block, height.l1_block);
        out.distance(Column::L1BaseFee, self.l1_base_fee, height.l1_base_fee);
        out.distance(Column::Cursor, self.cursor, height.forced_cursor);
        if height.forced_cursor != self.cursor {
            out.bytes(Column::Height, height.forced_hash.as_slice());
        } else if height.forced_hash != self.forced_hash {
            return Err(EncodeError::ForcedHash);
        }
        out.bytes(Column::Height, height.executed_root.as_slice());
        write_signature(out, Column::Height, &height.signature);
        for item in &height.items {
            self.write_item(out, item)?;
        }
        self.advance(height);
        Ok(())
    }

    pub(super) fn read_height(
        &mut self,
        rows: &mut Reader<'_>,
    ) -> Result<PostedHeight, CodecError> {
        let count: usize = rows.number(Column::Count)?;
        if count > MAX_BLOCK_COUNT {
            return Err(CodecError::TooLong { limit: MAX_BLOCK_COUNT, got: count });
        }
        let mut height = PostedHeight {
            view: rows.distance(Column::View, self.view)?,
            timestamp_ms: rows.distance(Column::Time, self.time)?,
            base_fee: rows.wide_distance(Column::BaseFee, self.base_fee)?,
            l1_block: rows.distance(Column::L1Block, self.l1_block)?,
            l1_base_fee: rows.distance(Column::L1BaseFee, self.l1_base_fee)?,
            forced_cursor: rows.distance(Column::Cursor, self.cursor)?,
            forced_hash: self.forced_hash,
            executed_root: B256::ZERO,
            signature: Signature65::ZERO,
            items: Vec::new(),
        };
        if height.forced_cursor != self.cursor {
            height.forced_hash = rows.array::<32>(Column::Height)?.into();
        }
        height.executed_root = rows.array::<32>(Column::Height)?.into();
        height.signature = read_signature(rows, Column::Height)?;
        for _ in 0..count {
            height.items.push(self.read_item(rows)?);
        }
        self.advance(&height);
        Ok(height)
    }

    fn advance(&mut self, height: &PostedHeight) {
        self.height = self.height.wrapping_add(1);
        self.view = height.view.wrapping_add(1);
        self.time = height.timestamp_ms;
        self.base_fee = height.base_fee;
        self.l1_block = height.l1_block;
        self.l1_base_fee = height.l1_base_fee;
        self.cursor = height.forced_cursor;
        self.forced_hash = height.forced_hash;
    }

    fn write_item(&mut self, out: &mut Writer, item: &PostedItem) -> Result<(), EncodeError> {
        match item {
            PostedItem::Opened(opened) => self.write_opened(out, opened),
            PostedItem::Undecryptable { envelope, secret } => {
                let bytes = envelope.encode();
                if bytes.len() > MAX_ENVELOPE_BYTES {
                    let got = bytes.len();
                    return Err(EncodeError::TooLong { limit: MAX_ENVELOPE_BYTES, got });
                }
                out.byte(Column::Shape, UNDECRYPTABLE);
                out.length(Column::WholeLength, bytes.len());
                out.bytes(Column::Whole, &bytes);
                out.bytes(Column::Seed, secret);
                Ok(())
            }
        }
    }

    fn read_item(&mut self, rows: &mut Reader<'_>) -> Result<PostedItem, CodecError> {
        let shape = rows.byte(Column::Shape)?;
        if shape == UNDECRYPTABLE {
            let length = rows.number(Column::WholeLength)?;
            let envelope = Envelope::decode(rows.bytes(Column::Whole, length)?)
                .map_err(CodecError::Envelope)?;
            let envelope = Box::new(envelope);
            Ok(PostedItem::Undecryptable { envelope, secret: rows.array(Column::Seed)? })
        } else {
            self.read_opened(rows, shape).map(PostedItem::Opened)
        }
    }

    fn write_opened(
        &mut self,
        out: &mut Writer,
        opened: &PostedOpening,
    ) -> Result<(), EncodeError> {
        let header = &opened.header;
        if header.chain_id != self.chain_id {
            return Err(EncodeError::Chain(header.chain_id));
        }
        if opened.message.len() > MAX_MESSAGE_BYTES {
            let got = opened.message.len();
            return Err(EncodeError::TooLong { limit: MAX_MESSAGE_BYTES, got });
        }
        let fields = split(&opened.message);
        let form = fields.as_ref().map_or(RAW, |fields| fields.form as u8);
        let other_payer = match opened.payer {
            Payer::Signer => 0,
            Payer::Other(_) => OTHER_PAYER,
        };
        out.byte(Column::Shape, form | other_payer);
        let key = u64::from_be_bytes(header.key_id.0);
        write_known(out, &mut self.keys, (Column::Key, Column::NewKey), key.into());
        out.number(Column::Nonce, header.payer_nonce);
        let (tip, fee) = (header.max_priority_fee_per_gas, header.max_fee_per_gas);
        write_known(out, &mut self.tips, (Column::Tip, Column::NewTip), tip);
        let rest = fee.wrapping_sub(tip);
        write_known(out, &mut self.fees, (Column::Fee, Column::NewFee), rest);
        let class = header.gas_limit.into();
        write_known(out, &mut self.classes, (Column::Class, Column::NewClass), class);
        out.distance(Column::Expiry, self.height, header.expiry_height);
        if let Payer::Other(payer) = opened.payer {
            let place = self.addresses.place(payer);
            write_address(out, (Column::Payer, Column::NewAddress), place, payer);
        }
        write_signature(out, Column::PayerSignature, &opened.signature);
        out.bytes(Column::Seed, &opened.seed);
        match fields {
            Some(fields) => self.write_transaction(out, header, &fields),
            None => {
                out.length(Column::RawLength, opened.message.len());
                out.bytes(Column::Raw, &opened.message);
            }
        }
        Ok(())
    }

    fn read_opened(
        &mut self,
        rows: &mut Reader<'_>,
        shape: u8,
    ) -> Result<PostedOpening, CodecError> {
        let form = match shape & !OTHER_PAYER {
            RAW => None,
            form => Some(TxForm::from_byte(form).ok_or(CodecError::Shape(shape))?),
        };
        let key = read_known(rows, &mut self.keys, (Column::Key, Column::NewKey))?;
        let key = u64::try_from(key).map_err(|_| CodecError::Range)?;
        let payer_nonce = rows.number(Column::Nonce)?;
        let tip = read_known(rows, &mut self.tips, (Column::Tip, Column::NewTip))?;
        let rest = read_known(rows, &mut self.fees, (Column::Fee, Column::NewFee))?;
        let class = read_known(rows, &mut self.classes, (Column::Class, Column::NewClass))?;
        let header = EnvelopeHeader {
            chain_id: self.chain_id,
            key_id: key.to_be_bytes().into(),
            payer_nonce,
            max_fee_per_gas: rest.wrapping_add(tip),
            max_priority_fee_per_gas: tip,
            gas_limit: u64::try_from(class).map_err(|_| CodecError::Range)?,
            expiry_height: rows.distance(Column::Expiry, self.height)?,
        };
        let payer = match shape & OTHER_PAYER {
            0 => Payer::Signer,
            _ => {
                let place = rows.number(Column::Payer)?;
                let addresses = &mut self.addresses;
                Payer::Other(read_address(rows, addresses, place, Column::NewAddress)?)
            }
        };
        let signature = read_signature(rows, Column::PayerSignature)?;
        let seed = rows.array(Column::Seed)?;
        let message = match form {
            Some(form) => self.read_transaction(rows, &header, form)?,
            None => {
                let length = rows.number(Column::RawLength)?;
                rows.bytes(Column::Raw, length)?.to_vec()
            }
        };
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(CodecError::TooLong { limit: MAX_MESSAGE_BYTES, got: message.len() });
        }
        Ok(PostedOpening { header, payer, signature, seed, message: message.into() })
    }

    fn write_transaction(&mut self, out: &mut Writer, header: &EnvelopeHeader, tx: &TxFields) {
        if tx.form.has_chain() {
            let distance = tx.chain_id.wrapping_sub(self.chain_id).into();
            write_known(out, &mut self.tx_chains, (Column::TxChain, Column::NewTxChain), distance);
        }
        out.distance(Column::TxNonce, header.payer_nonce, tx.nonce);
        let distance = tx.fee.wrapping_sub(header.max_fee_per_gas);
        let columns = (Column::TxFee, Column::NewTxFee);
        write_known(out, &mut self.tx_fees, columns, super::columns::zigzag(distance));
        if tx.form.has_tip() {
            let distance = tx.tip.wrapping_sub(header.max_priority_fee_per_gas);
            let columns = (Column::TxTip, Column::NewTxTip);
            write_known(out, &mut self.tx_tips, columns, super::columns::zigzag(distance));
        }
        let gas = tx.gas_limit.into();
        write_known(out, &mut self.tx_gas, (Column::TxGas, Column::NewTxGas), gas);
        match tx.to {
            None => out.number(Column::TxTo, 0u8),
            Some(to) => {
                let place = self.addresses.place(to);
                out.length(Column::TxTo, place + 1);
                if place == 0 {
                    out.bytes(Column::NewAddress, to.as_slice());
                }
            }
        }
        write_decimal(out, (Column::ValueZeros, Column::ValueLength, Column::Value), tx.value);
        self.write_input(out, tx);
        if tx.form.has_access_list() {
            out.length(Column::AccessLength, tx.access_list.len());
            out.bytes(Column::Access, &tx.access_list);
        }
        if tx.form == TxForm::SetCode {
            out.length(Column::AuthorizationLength, tx.authorizations.len());
            out.bytes(Column::Authorization, &tx.authorizations);
        }
        out.parity(tx.parity);
        out.bytes(Column::TxSignature, &tx.r);
        out.bytes(Column::TxSignature, &tx.s);
    }

    fn read_transaction(
        &mut self,
        rows: &mut Reader<'_>,
        header: &EnvelopeHeader,
        form: TxForm,
    ) -> Result<Vec<u8>, CodecError> {
        let mut chain_id = 0;
        if form.has_chain() {
            let columns = (Column::TxChain, Column::NewTxChain);
            let distance = read_known(rows, &mut self.tx_chains, columns)?;
            let distance = u64::try_from(distance).map_err(|_| CodecError::Range)?;
            chain_id = self.chain_id.wrapping_add(distance);
        }
        let nonce = rows.distance(Column::TxNonce, header.payer_nonce)?;
        let code = read_known(rows, &mut self.tx_fees, (Column::TxFee, Column::NewTxFee))?;
        let fee = header.max_fee_per_gas.wrapping_add(super::columns::unzigzag(code));
        let mut tip = 0;
        if form.has_tip() {
            let code = read_known(rows, &mut self.tx_tips, (Column::TxTip, Column::NewTxTip))?;
            let distance = super::columns::unzigzag(code);
            tip = header.max_priority_fee_per_gas.wrapping_add(distance);
        }
        let gas = read_known(rows, &mut self.tx_gas, (Column::TxGas, Column::NewTxGas))?;
        let gas_limit = u64::try_from(gas).map_err(|_| CodecError::Range)?;
        let to = match rows.number::<usize>(Column::TxTo)?.checked_sub(1) {
            None => None,
            Some(place) => {
                Some(read_address(rows, &mut self.addresses, place, Column::NewAddress)?)
            }
        };
        let value = read_decimal(rows, (Column::ValueZeros, Column::ValueLength, Column::Value))?;
        let input = self.read_input(rows, to.is_some())?;
        let mut access_list = Vec::new();
        if form.has_access_list() {
            let length = rows.number(Column::AccessLength)?;
            access_list = rows.bytes(Column::Access, length)?.to_vec();
        }
        let mut authorizations = Vec::new();
        if form == TxForm::SetCode {
            let length = rows.number(Column::AuthorizationLength)?;
            authorizations = rows.bytes(Column::Authorization, length)?.to_vec();
        }
        let parity = rows.parity()?;
        let (r, s) = (rows.array(Column::TxSignature)?, rows.array(Column::TxSignature)?);
        join(&TxFields {
            form,
            chain_id,
            nonce,
            fee,
            tip,
            gas_limit,
            to,
            value,
            input,
            access_list,
            authorizations,
            parity,
            r,
            s,
        })
    }

    /// A call is a selector and words of 32 bytes; whatever is left, and code, is written as it is.
    fn write_input(&mut self, out: &mut Writer, tx: &TxFields) {
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

    fn read_input(&mut self, rows: &mut Reader<'_>, call: bool) -> Result<Bytes, CodecError> {
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
                let place = self.word_addresses.place(address);
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
            let addresses = &mut self.word_addresses;
            let address = read_address(rows, addresses, place, Column::NewWordAddress)?;
            word[begin..].copy_from_slice(address.as_slice());
        } else {
            word[begin..].copy_from_slice(rows.bytes(Column::Word, length)?);
        }
        Ok(word)
    }
}

fn write_signature(out: &mut Writer, column: Column, signature: &Signature65) {
    out.parity(signature.y_parity);
    out.bytes(column, &signature.r);
    out.bytes(column, &signature.s);
}

fn read_signature(rows: &mut Reader<'_>, column: Column) -> Result<Signature65, CodecError> {
    let y_parity = rows.parity()?;
    Ok(Signature65 { y_parity, r: rows.array(column)?, s: rows.array(column)? })
}

/// A number: its place among known ones, and itself if it is new.
fn write_known(
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

fn read_known(
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

fn write_address(
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

fn read_address(
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
fn write_decimal(
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

fn read_decimal(
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
