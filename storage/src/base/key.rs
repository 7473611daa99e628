//! Keys and spans of keys.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// A byte string, ordered as bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Bytes);

impl Key {
    pub const MIN: Key = Key(Bytes::new());

    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Key(bytes.into())
    }

    pub fn copy_from(bytes: &[u8]) -> Self {
        Key(Bytes::copy_from_slice(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The smallest key above this one.
    #[must_use]
    pub fn next(&self) -> Key {
        let mut v = Vec::with_capacity(self.0.len() + 1);
        v.extend_from_slice(&self.0);
        v.push(0);
        Key(v.into())
    }

    /// The smallest key above every key that begins with this one; `None` if there is none (all bytes 0xff).
    #[must_use]
    pub fn prefix_end(&self) -> Option<Key> {
        let mut v = self.0.to_vec();
        while let Some(last) = v.pop() {
            if last < 0xff {
                v.push(last + 1);
                return Some(Key(v.into()));
            }
        }
        None
    }
}

impl Deref for Key {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// So that ordered maps of keys can be asked with plain bytes.
impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Key {
    fn from(v: Vec<u8>) -> Self {
        Key(v.into())
    }
}

impl From<&[u8]> for Key {
    fn from(v: &[u8]) -> Self {
        Key::copy_from(v)
    }
}

impl From<&str> for Key {
    fn from(v: &str) -> Self {
        Key::copy_from(v.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The keys from `start` (included) to `end` (excluded). Never empty: `start < end`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: Key,
    pub end: Key,
}

impl Span {
    /// Panics if the span would be empty: that is a bug in the caller.
    pub fn new(start: Key, end: Key) -> Self {
        assert!(start < end, "empty span {start:?}..{end:?}");
        Span { start, end }
    }

    /// The span of one key.
    pub fn point(key: Key) -> Self {
        let end = key.next();
        Span { start: key, end }
    }

    /// Every key that begins with `prefix`, which must not be all 0xff.
    pub fn prefix(prefix: Key) -> Self {
        match prefix.prefix_end() {
            Some(end) => Span { start: prefix, end },
            None => panic!("no key follows prefix {prefix:?}"),
        }
    }

    pub fn is_point(&self) -> bool {
        self.end.len() == self.start.len() + 1
            && self.end.last() == Some(&0)
            && self.end.starts_with(&self.start)
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }

    pub fn contains_span(&self, other: &Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    pub fn overlaps(&self, other: &Span) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The keys in both, if any.
    pub fn intersect(&self, other: &Span) -> Option<Span> {
        let start = self.start.clone().max(other.start.clone());
        let end = self.end.clone().min(other.end.clone());
        (start < end).then_some(Span { start, end })
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}, {:?})", self.start, self.end)
    }
}
