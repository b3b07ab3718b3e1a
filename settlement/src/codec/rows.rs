//! Heights and items, field by field, into columns and back.

use alloy_primitives::{Address, B256};
use blindfold_crypto::MAX_MESSAGE_BYTES;
use blindfold_wire::{Envelope, EnvelopeHeader, MAX_BLOCK_COUNT, MAX_ENVELOPE_BYTES, Signature65};

use super::{
    CodecError, EncodeError, Payer, PostedHeight, PostedItem, PostedOpening,
    columns::{Column, Reader, Writer, unzigzag, zigzag},
    fields::{
        Dictionary, read_address, read_decimal, read_known, read_signature, write_address,
        write_decimal, write_known, write_signature,
    },
    input::Inputs,
    transaction::{TxFields, TxForm, join, split},
};

/// Shape of an undecryptable item.
const UNDECRYPTABLE: u8 = 0xff;
/// Form of a message that is written as it is.
const RAW: u8 = 0x0f;
/// Set in the shape of an opened item whose payer is not the signer of its transaction.
const OTHER_PAYER: u8 = 0x10;

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
    addresses: Dictionary<Address>,
    inputs: Inputs,
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
            addresses: Dictionary::new(),
            inputs: Inputs::new(),
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
        write_known(out, &mut self.tx_fees, columns, zigzag(distance));
        if tx.form.has_tip() {
            let distance = tx.tip.wrapping_sub(header.max_priority_fee_per_gas);
            let columns = (Column::TxTip, Column::NewTxTip);
            write_known(out, &mut self.tx_tips, columns, zigzag(distance));
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
        self.inputs.write(out, tx);
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
        let fee = header.max_fee_per_gas.wrapping_add(unzigzag(code));
        let mut tip = 0;
        if form.has_tip() {
            let code = read_known(rows, &mut self.tx_tips, (Column::TxTip, Column::NewTxTip))?;
            let distance = unzigzag(code);
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
        let input = self.inputs.read(rows, to.is_some())?;
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
}
