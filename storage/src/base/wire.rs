//! The byte form of what replicas store and send: fixed-width integers in big-endian order, and byte strings with a
//! varint length. A decoder takes bytes from outside the process: every malformed input is an error, never a panic,
//! and no length is trusted before the bytes are there.

use bytes::Bytes;

use super::{Key, StorageError, StorageResult, Timestamp};

/// Appends `n` in seven-bit groups, least significant first.
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub fn put_bytes(out: &mut Vec<u8>, b: &[u8]) {
    put_varint(out, b.len() as u64);
    out.extend_from_slice(b);
}

pub fn put_timestamp(out: &mut Vec<u8>, t: Timestamp) {
    out.extend_from_slice(&t.wall.to_be_bytes());
    out.extend_from_slice(&t.logical.to_be_bytes());
}

/// Takes values off the front of a byte string. Byte strings share the input's memory.
pub struct Reader {
    rest: Bytes,
    what: &'static str,
}

impl Reader {
    /// `what` names the thing decoded, for the error.
    pub fn new(bytes: Bytes, what: &'static str) -> Self {
        Reader { rest: bytes, what }
    }

    pub fn malformed(&self) -> StorageError {
        StorageError::Corruption(format!("{} is malformed", self.what))
    }

    fn fixed<const N: usize>(&mut self) -> StorageResult<[u8; N]> {
        if self.rest.len() < N {
            return Err(self.malformed());
        }
        let head = self.rest.split_to(N);
        head[..].try_into().map_err(|_| self.malformed())
    }

    pub fn u8(&mut self) -> StorageResult<u8> {
        Ok(self.fixed::<1>()?[0])
    }

    pub fn u32(&mut self) -> StorageResult<u32> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    pub fn u64(&mut self) -> StorageResult<u64> {
        Ok(u64::from_be_bytes(self.fixed()?))
    }

    pub fn timestamp(&mut self) -> StorageResult<Timestamp> {
        Ok(Timestamp::new(self.u64()?, self.u32()?))
    }

    pub fn varint(&mut self) -> StorageResult<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            n |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(self.malformed())
    }

    pub fn bytes(&mut self) -> StorageResult<Bytes> {
        let n = usize::try_from(self.varint()?).map_err(|_| self.malformed())?;
        if n > self.rest.len() {
            return Err(self.malformed());
        }
        Ok(self.rest.split_to(n))
    }

    pub fn key(&mut self) -> StorageResult<Key> {
        Ok(Key::new(self.bytes()?))
    }

    /// A count of things that take at least one byte each, so that nothing is allocated for a lie.
    pub fn count(&mut self) -> StorageResult<usize> {
        let n = usize::try_from(self.varint()?).map_err(|_| self.malformed())?;
        if n > self.rest.len() {
            return Err(self.malformed());
        }
        Ok(n)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// Checks that nothing is left.
    pub fn end(self) -> StorageResult<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_round_trip_and_truncations_are_refused() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        put_bytes(&mut out, b"abc");
        put_timestamp(&mut out, Timestamp::new(7, 9));
        let read = |b: Bytes| -> StorageResult<(u64, Bytes, Timestamp)> {
            let mut r = Reader::new(b, "a test value");
            let v = (r.varint()?, r.bytes()?, r.timestamp()?);
            r.end()?;
            Ok(v)
        };
        let all = Bytes::from(out);
        assert_eq!(
            read(all.clone()).expect("well formed"),
            (u64::MAX, Bytes::from_static(b"abc"), Timestamp::new(7, 9))
        );
        for n in 0..all.len() {
            assert!(read(all.slice(..n)).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f, 1]), "a test value");
        assert!(r.bytes().is_err());
    }
}
