//! Changes of type: which exist, and in which contexts they apply by themselves.

use super::function::Function;
use super::index;
use super::type_info::{element_of, type_info};
use crate::types::Oid;

/// Where a cast stands. Each context allows what those before it allow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CastContext {
    /// In an expression, unasked.
    Implicit,
    /// The value of a column in INSERT or UPDATE.
    Assignment,
    /// CAST or `::`.
    Explicit,
}

/// An entry of pg_cast.
#[derive(Debug)]
pub struct CastEntry {
    pub from: Oid,
    pub to: Oid,
    pub kind: CastKind,
    pub context: CastContext,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CastKind {
    Function(Oid),
    Relabel,
    InOut,
}

/// How a value changes its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CastMethod {
    /// Same value under another type. (Between integers and OIDs the representation changes, never the value.)
    Relabel,
    Function(&'static Function),
    /// Through the text form of the one and the input of the other type.
    InOut,
    /// Applies `to.typmod` (length, precision) to a value of the same type.
    Typmod,
    /// Element-wise on arrays; the cast between the elements.
    Array(&'static CastMethod),
}

static RELABEL: CastMethod = CastMethod::Relabel;
static IN_OUT: CastMethod = CastMethod::InOut;

/// How to get from one type to another in this context, if at all. Equal types need no cast ([`CastMethod::Relabel`]);
/// typmods are the caller's affair ([`CastMethod::Typmod`] after it).
pub fn find_cast(from: Oid, to: Oid, context: CastContext) -> Option<CastMethod> {
    if from == to {
        return Some(CastMethod::Relabel);
    }
    if from == Oid::UNKNOWN {
        return Some(CastMethod::InOut);
    }
    if let Some(entry) = index::cast(from, to) {
        return (entry.context <= context).then(|| entry_method(entry)).flatten();
    }
    // Not to the vector types, which would otherwise capture what should go to real arrays.
    let to_vector = matches!(to, Oid::INT2VECTOR | Oid::OIDVECTOR);
    if let (Some(from), Some(to), false) = (element_of(from), element_of(to), to_vector) {
        return match find_cast(from, to, context)? {
            CastMethod::Relabel => Some(CastMethod::Array(&RELABEL)),
            CastMethod::InOut => Some(CastMethod::Array(&IN_OUT)),
            CastMethod::Function(f) => index::function_cast(f).map(CastMethod::Array),
            CastMethod::Typmod | CastMethod::Array(_) => None,
        };
    }
    let (from_info, to_info) = (type_info(from)?, type_info(to)?);
    let has_text =
        |info: &super::TypeInfo| !info.is_pseudo() || info.oid == Oid::RECORD || info.oid == Oid::VOID;
    if !has_text(from_info) || !has_text(to_info) {
        return None;
    }
    let through_text = (context >= CastContext::Assignment && to_info.category == b'S')
        || (context >= CastContext::Explicit && from_info.category == b'S');
    through_text.then_some(CastMethod::InOut)
}

/// Whether a cast costs nothing and loses nothing.
pub fn is_binary_coercible(from: Oid, to: Oid) -> bool {
    from == to
        || index::cast(from, to)
            .is_some_and(|c| c.kind == CastKind::Relabel && c.context == CastContext::Implicit)
}

fn entry_method(entry: &CastEntry) -> Option<CastMethod> {
    match entry.kind {
        CastKind::Relabel => Some(CastMethod::Relabel),
        CastKind::InOut => Some(CastMethod::InOut),
        CastKind::Function(oid) => index::function_by_oid(oid).map(CastMethod::Function),
    }
}
