//! What is known of each type, and the names by which SQL knows it.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::tables::types::TYPES;
use crate::types::{Oid, SqlType};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeKind {
    Base,
    Pseudo,
}

/// An entry of pg_type.
#[derive(Clone, Debug)]
pub struct TypeInfo {
    pub oid: Oid,
    /// pg_type.typname
    pub name: &'static str,
    /// As messages and format_type show it, without modifier.
    pub sql_name: &'static str,
    /// Bytes, -1 for varying, -2 for NUL-terminated.
    pub len: i16,
    pub kind: TypeKind,
    /// PostgreSQL's type category: N numbers, S strings, D date/time, A arrays …
    pub category: u8,
    /// The type that its category turns to when in doubt.
    pub preferred: bool,
    pub element: Oid,
    /// The type of arrays of this type.
    pub array: Oid,
}

impl TypeInfo {
    pub fn is_pseudo(&self) -> bool {
        self.kind == TypeKind::Pseudo
    }

    pub fn is_array(&self) -> bool {
        self.category == b'A'
    }
}

struct TypeIndex {
    by_oid: FxHashMap<Oid, &'static TypeInfo>,
    by_name: FxHashMap<&'static str, Oid>,
}

static INDEX: LazyLock<TypeIndex> = LazyLock::new(|| {
    let mut by_name: FxHashMap<&'static str, Oid> = TYPES.iter().map(|t| (t.name, t.oid)).collect();
    by_name.extend(TYPES.iter().filter(|t| !t.is_array()).map(|t| (t.sql_name.trim_matches('"'), t.oid)));
    by_name.extend(SPELLINGS.iter().copied());
    TypeIndex { by_oid: TYPES.iter().map(|t| (t.oid, t)).collect(), by_name }
});

/// What SQL calls types besides their own names. The grammar turns CHAR and CHARACTER into bpchar (with length 1
/// unless given); `"char"` in quotes is the one-byte type, see [`type_by_name`].
const SPELLINGS: &[(&str, Oid)] = &[
    ("int", Oid::INT4),
    ("integer", Oid::INT4),
    ("smallint", Oid::INT2),
    ("bigint", Oid::INT8),
    ("real", Oid::FLOAT4),
    ("float", Oid::FLOAT8),
    ("double", Oid::FLOAT8),
    ("double precision", Oid::FLOAT8),
    ("decimal", Oid::NUMERIC),
    ("dec", Oid::NUMERIC),
    ("boolean", Oid::BOOL),
    ("char", Oid::BPCHAR),
    ("character", Oid::BPCHAR),
    ("nchar", Oid::BPCHAR),
    ("national character", Oid::BPCHAR),
    ("char varying", Oid::VARCHAR),
    ("character varying", Oid::VARCHAR),
    ("string", Oid::TEXT),
    ("time without time zone", Oid::TIME),
    ("time with time zone", Oid::TIMETZ),
    ("timestamp without time zone", Oid::TIMESTAMP),
    ("timestamp with time zone", Oid::TIMESTAMPTZ),
    ("any", Oid::ANY),
];

pub fn type_info(oid: Oid) -> Option<&'static TypeInfo> {
    INDEX.by_oid.get(&oid).copied()
}

/// All built-in types, by OID.
pub fn all_types() -> &'static [TypeInfo] {
    TYPES
}

/// The type that SQL calls so: any spelling, any case, `[]` for arrays, an optional `pg_catalog.`. `"char"` (with the
/// quotes) is the one-byte type, `char` is bpchar.
pub fn type_by_name(name: &str) -> Option<Oid> {
    let name = name.trim();
    if let Some(element) = name.strip_suffix(']') {
        let (element, _bound) = element.rsplit_once('[')?;
        let element = type_by_name(element)?;
        // Arrays of arrays are arrays of more dimensions: the same type.
        return Some(if element_of(element).is_some() { element } else { array_of(element)? });
    }
    if let Some(quoted) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        return TYPES.iter().find(|t| t.name == quoted).map(|t| t.oid);
    }
    let lower = name.to_ascii_lowercase();
    let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    let words = lower.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    INDEX.by_name.get(words.as_str()).copied()
}

/// The type's name as messages show it: `integer`, `character varying`, `text[]`.
pub fn type_name(oid: Oid) -> String {
    match type_info(oid) {
        Some(info) => info.sql_name.to_owned(),
        None => oid.to_string(),
    }
}

pub fn element_of(oid: Oid) -> Option<Oid> {
    type_info(oid).filter(|t| t.is_array()).map(|t| t.element)
}

pub fn array_of(oid: Oid) -> Option<Oid> {
    type_info(oid).map(|t| t.array).filter(|a| *a != Oid::INVALID)
}

/// PostgreSQL's `format_type(oid, typmod)`.
pub fn format_type(ty: SqlType) -> String {
    let Some(info) = type_info(ty.oid) else { return "???".to_owned() };
    if let Some(element) = element_of(ty.oid).filter(|_| info.name.starts_with('_')) {
        return format!("{}[]", format_type(SqlType::with_typmod(element, ty.typmod)));
    }
    if ty.typmod < 0 {
        // `character` alone would mean character(1).
        return if ty.oid == Oid::BPCHAR { "bpchar".to_owned() } else { info.sql_name.to_owned() };
    }
    let length = ty.typmod - 4;
    match ty.oid {
        Oid::VARCHAR | Oid::BPCHAR => format!("{}({length})", info.sql_name),
        Oid::NUMERIC => {
            let (precision, scale) = crate::types::typmod::numeric_parts(ty.typmod);
            format!("numeric({precision},{scale})")
        }
        Oid::TIME | Oid::TIMETZ | Oid::TIMESTAMP | Oid::TIMESTAMPTZ => {
            let (first, rest) = info.sql_name.split_once(' ').unwrap_or((info.sql_name, ""));
            format!("{first}({}) {rest}", ty.typmod)
        }
        Oid::INTERVAL => crate::types::typmod::format_interval(ty.typmod),
        _ => info.sql_name.to_owned(),
    }
}
