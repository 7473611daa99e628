//! Identifiers as PostgreSQL folds them.

use std::borrow::Cow;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::error::{SqlError, SqlResult};

/// PostgreSQL cuts identifiers to this many bytes.
const NAME_BYTES_MAX: usize = 63;

/// The name that an identifier stands for: lower case unless quoted.
pub fn fold(ident: &Ident) -> Cow<'_, str> {
    let text = truncate(&ident.value);
    if ident.quote_style.is_some() || !text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.to_ascii_lowercase())
}

fn truncate(text: &str) -> &str {
    if text.len() <= NAME_BYTES_MAX {
        return text;
    }
    let mut end = NAME_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The identifiers of a dotted name.
pub fn object_name_parts(name: &ObjectName) -> SqlResult<Vec<&Ident>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(ident),
            ObjectNamePart::Function(_) => Err(SqlError::unsupported("a function call in a name")),
        })
        .collect()
}

/// As messages show a dotted name.
pub fn dotted(parts: &[&Ident]) -> String {
    parts.iter().map(|p| fold(p)).collect::<Vec<_>>().join(".")
}
