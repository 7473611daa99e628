//! The byte form of messages: a minimal, versioned, self-delimiting encoding without a schema compiler.
//!
//! Integers are LEB128 varints, byte strings are length-prefixed, enums begin with a one-byte tag that is never reused,
//! structs are their fields in order. Keys and values that are taken out share the buffer they arrived in.
//!
//! What must stay true: taking apart any byte string whatever either succeeds or answers [`Malformed`]; it never panics
//! and never allocates more than a small multiple of the input.

use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Key, NodeId, RangeId, ReplicaId, Span, Timestamp, TxnId};

/// The bytes are not a message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

pub trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut Input) -> Result<Self, Malformed>;
}

/// What is left to be taken apart.
pub struct Input {
    rest: Bytes,
}

impl Input {
    pub fn new(bytes: Bytes) -> Self {
        Input { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let first = *self.rest.first().ok_or(Malformed)?;
        bytes::Buf::advance(&mut self.rest, 1);
        Ok(first)
    }

    fn bytes(&mut self, len: usize) -> Result<Bytes, Malformed> {
        if len > self.rest.len() {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(len))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Wire for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(*self, out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        input.varint()
    }
}

impl Wire for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(*self), out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        u32::try_from(input.varint()?).map_err(|_| Malformed)
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        let len = usize::try_from(input.varint()?).map_err(|_| Malformed)?;
        input.bytes(len)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        String::from_utf8(Bytes::take(input)?.to_vec()).map_err(|_| Malformed)
    }
}

impl Wire for Key {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok(Key::new(Bytes::take(input)?))
    }
}

impl Wire for Span {
    fn put(&self, out: &mut Vec<u8>) {
        self.start.put(out);
        self.end.put(out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        let (start, end) = (Key::take(input)?, Key::take(input)?);
        if start < end { Ok(Span { start, end }) } else { Err(Malformed) }
    }
}

impl Wire for Timestamp {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.wall, out);
        put_varint(u64::from(self.logical), out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok(Timestamp::new(u64::take(input)?, u32::take(input)?))
    }
}

impl Wire for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX), out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok(Duration::from_nanos(u64::take(input)?))
    }
}

impl Wire for TxnId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        let bytes = input.bytes(16)?;
        let bytes: [u8; 16] = bytes.as_ref().try_into().map_err(|_| Malformed)?;
        Ok(TxnId(u128::from_be_bytes(bytes)))
    }
}

macro_rules! wire_id {
    ($($id:ident),*) => {$(
        impl Wire for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(input: &mut Input) -> Result<Self, Malformed> {
                Ok($id(Wire::take(input)?))
            }
        }
    )*};
}

wire_id!(NodeId, RangeId, ReplicaId);

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for item in self {
            item.put(out);
        }
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        let len = usize::try_from(input.varint()?).map_err(|_| Malformed)?;
        // Every item takes at least a byte: a length beyond what is left is a lie, and must not allocate.
        if len > input.rest.len() {
            return Err(Malformed);
        }
        let mut items = Vec::with_capacity(len.min(1024));
        for _ in 0..len {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok(Box::new(T::take(input)?))
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut Input) -> Result<Self, Malformed> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

/// A struct is its fields, in the order named here.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::rpc::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::rpc::wire::Wire::put(&self.$field, out);)*
                let _ = out;
            }
            fn take(
                input: &mut $crate::rpc::wire::Input,
            ) -> Result<Self, $crate::rpc::wire::Malformed> {
                $(let $field = $crate::rpc::wire::Wire::take(input)?;)*
                let _ = input;
                Ok($name { $($field),* })
            }
        }
    };
}

/// An enum is the tag of its variant, then the variant's fields. Tags are never reused.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal => $variant:ident $({ $($field:ident),* $(,)? })? $(( $inner:ident ))?),* $(,)? }) => {
        impl $crate::rpc::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $({ $($field),* })? $(( $inner ))? => {
                        out.push($tag);
                        $($($crate::rpc::wire::Wire::put($field, out);)*)?
                        $($crate::rpc::wire::Wire::put($inner, out);)?
                    })*
                }
            }
            fn take(
                input: &mut $crate::rpc::wire::Input,
            ) -> Result<Self, $crate::rpc::wire::Malformed> {
                match input.byte()? {
                    $($tag => {
                        $($(let $field = $crate::rpc::wire::Wire::take(input)?;)*)?
                        $(let $inner = $crate::rpc::wire::Wire::take(input)?;)?
                        Ok($name::$variant $({ $($field),* })? $(( $inner ))?)
                    })*
                    _ => Err($crate::rpc::wire::Malformed),
                }
            }
        }
    };
}

pub(crate) use {wire_enum, wire_struct};
