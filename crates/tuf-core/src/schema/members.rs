//! Members that several kinds of metadata have: versions, thresholds, key ids and keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::canonical::{INTEGER_LIMIT, ReadError, Reader, Wire, write_str};
use crate::key::PublicKey;
use crate::names::KeyId;

pub(super) fn read_version(reader: &mut Reader<'_>) -> Result<u64, ReadError> {
    match reader.u64()? {
        0 => Err(ReadError::new("versions begin at 1")),
        version if version >= INTEGER_LIMIT => Err(ReadError::new("is too large")),
        version => Ok(version),
    }
}

pub(super) fn read_threshold(reader: &mut Reader<'_>) -> Result<u32, ReadError> {
    match u32::try_from(reader.u64()?) {
        Ok(0) => Err(ReadError::new("a threshold is at least 1")),
        Ok(threshold) => Ok(threshold),
        Err(_) => Err(ReadError::new("is too large")),
    }
}

pub(super) fn read_keyids(reader: &mut Reader<'_>) -> Result<Vec<KeyId>, ReadError> {
    let mut keyids = Vec::new();
    let mut seen = BTreeSet::new();
    reader.array(|reader| {
        let keyid = KeyId::new(&reader.string()?)?;
        if !seen.insert(keyid.clone()) {
            return Err(ReadError::new(format!("key id {keyid} is listed twice")));
        }
        keyids.push(keyid);
        Ok(())
    })?;
    Ok(keyids)
}

pub(super) fn write_keyids(out: &mut Vec<u8>, keyids: &[KeyId]) {
    out.push(b'[');
    for (index, keyid) in keyids.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_str(out, keyid.as_str());
    }
    out.push(b']');
}

pub(super) fn read_keys(reader: &mut Reader<'_>) -> Result<BTreeMap<KeyId, PublicKey>, ReadError> {
    let mut keys = BTreeMap::new();
    reader.object(|keyid, reader| {
        keys.insert(KeyId::new(keyid)?, PublicKey::read(reader)?);
        Ok(())
    })?;
    Ok(keys)
}

pub(super) fn write_keys(out: &mut Vec<u8>, keys: &BTreeMap<KeyId, PublicKey>) {
    write_map(out, keys.iter().map(|(keyid, key)| (keyid.as_str(), key)));
}

/// Writes an object whose keys already come in sorted order.
pub(super) fn write_map<'a, V: Wire + 'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = (&'a str, &'a V)>) {
    out.push(b'{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_str(out, key);
        out.push(b':');
        value.write(out);
    }
    out.push(b'}');
}

/// Writes an array.
pub(super) fn write_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
