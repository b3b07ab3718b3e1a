//! The outermost layer of batch data: version, place, and compressed sections.

use zstd::zstd_safe;

use super::{
    CodecError, EncodeError, MAX_DATA_BYTES, MAX_HEIGHTS, MAX_UNPACKED_BYTES, SECTIONS, VERSION,
    ZSTD_LEVEL,
    columns::{read_number, write_number},
};

/// Bytes that sections may unpack to, whatever the length of the data.
const FREE_UNPACKED_BYTES: usize = 64 << 10;
/// Bytes that sections may unpack to for each byte of data.
const MAX_RATIO: usize = 64;

/// The four bytes that a zstd frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What stands before the sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chain_id: u64,
    pub(super) epoch: u64,
    pub(super) first_height: u64,
    /// How many heights; at least one.
    pub(super) heights: u32,
}

pub(super) fn pack(place: Place, sections: &[Vec<u8>; SECTIONS]) -> Result<Vec<u8>, EncodeError> {
    let total: usize = sections.iter().map(Vec::len).sum();
    if total > MAX_UNPACKED_BYTES {
        return Err(EncodeError::TooLong { limit: MAX_UNPACKED_BYTES, got: total });
    }
    let data = pack_with(place, sections, compress);
    // What unpacks to more than a reader allows is stored as it is.
    let data = match total <= most_unpacked(data.len()) {
        true => data,
        false => pack_with(place, sections, |_| None),
    };
    match data.len() <= MAX_DATA_BYTES {
        true => Ok(data),
        false => Err(EncodeError::TooLong { limit: MAX_DATA_BYTES, got: data.len() }),
    }
}

fn pack_with(
    place: Place,
    sections: &[Vec<u8>; SECTIONS],
    compress: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let mut data = vec![VERSION];
    write_number(&mut data, place.chain_id.into());
    write_number(&mut data, place.epoch.into());
    write_number(&mut data, place.first_height.into());
    write_number(&mut data, place.heights.into());
    for section in sections {
        let packed = compress(section);
        let stored = packed.as_deref().unwrap_or(section);
        write_number(&mut data, section.len() as u128);
        write_number(&mut data, stored.len() as u128);
        data.extend_from_slice(stored);
    }
    data
}

/// A shorter form of `section`, if there is one.
fn compress(section: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(section, ZSTD_LEVEL).ok().filter(|packed| packed.len() < section.len())
}

/// Sections as they are, so that tests reach every byte.
#[cfg(test)]
pub(super) fn pack_plain(place: Place, sections: &[Vec<u8>; SECTIONS]) -> Vec<u8> {
    pack_with(place, sections, |_| None)
}

/// Compressed, whatever a reader thinks of it.
#[cfg(test)]
pub(super) fn pack_packed(place: Place, sections: &[Vec<u8>; SECTIONS]) -> Vec<u8> {
    pack_with(place, sections, compress)
}

/// A first section that is stored as `stored` and says that it has `length` bytes.
#[cfg(test)]
pub(super) fn pack_stored(place: Place, length: usize, stored: &[u8]) -> Vec<u8> {
    let mut data = pack_plain(place, &std::array::from_fn(|_| Vec::new()));
    data.truncate(data.len() - 2 * SECTIONS);
    write_number(&mut data, length as u128);
    write_number(&mut data, stored.len() as u128);
    data.extend_from_slice(stored);
    data.extend_from_slice(&[0; 2 * (SECTIONS - 1)]);
    data
}

fn most_unpacked(data_len: usize) -> usize {
    (FREE_UNPACKED_BYTES + MAX_RATIO * data_len).min(MAX_UNPACKED_BYTES)
}

pub(super) fn unpack(data: &[u8]) -> Result<(Place, [Vec<u8>; SECTIONS]), CodecError> {
    if data.len() > MAX_DATA_BYTES {
        return Err(CodecError::TooLong { limit: MAX_DATA_BYTES, got: data.len() });
    }
    let (&version, mut rest) = data.split_first().ok_or(CodecError::Truncated)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let place = Place {
        chain_id: read(&mut rest)?,
        epoch: read(&mut rest)?,
        first_height: read(&mut rest)?,
        heights: read(&mut rest)?,
    };
    if place.heights == 0 || place.heights > MAX_HEIGHTS {
        return Err(CodecError::Heights(place.heights));
    }
    if place.first_height.checked_add(place.heights.into()).is_none() {
        return Err(CodecError::Range);
    }
    let mut allowed = most_unpacked(data.len());
    let mut sections: [Vec<u8>; SECTIONS] = std::array::from_fn(|_| Vec::new());
    for section in &mut sections {
        let length: usize = read(&mut rest)?;
        let stored: usize = read(&mut rest)?;
        allowed = allowed.checked_sub(length).ok_or(CodecError::Bomb)?;
        let (packed, after) = rest.split_at_checked(stored).ok_or(CodecError::Truncated)?;
        rest = after;
        *section = match stored == length {
            true => packed.to_vec(),
            false => decompress(packed, length)?,
        };
    }
    if rest.is_empty() { Ok((place, sections)) } else { Err(CodecError::Trailing) }
}

fn read<T: TryFrom<u128>>(rest: &mut &[u8]) -> Result<T, CodecError> {
    T::try_from(read_number(rest)?).map_err(|_| CodecError::Range)
}

/// Exactly one frame, which says how long its content is, and is right.
fn decompress(packed: &[u8], length: usize) -> Result<Vec<u8>, CodecError> {
    let one_frame = packed.len() < length
        && packed.starts_with(&MAGIC)
        && zstd_safe::find_frame_compressed_size(packed) == Ok(packed.len())
        && zstd_safe::get_frame_content_size(packed).is_ok_and(|size| size == Some(length as u64));
    if !one_frame {
        return Err(CodecError::Compression);
    }
    let section = zstd::bulk::decompress(packed, length).map_err(|_| CodecError::Compression)?;
    if section.len() == length { Ok(section) } else { Err(CodecError::Compression) }
}
