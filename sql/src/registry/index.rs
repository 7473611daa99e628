//! The maps over the static tables, built once at first use.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::cast::{CastEntry, CastMethod};
use super::function::Function;
use super::operator::Operator;
use super::{functions, tables};
use crate::types::Oid;

struct Index {
    functions: Vec<&'static Function>,
    by_name: FxHashMap<&'static str, Vec<&'static Function>>,
    by_oid: FxHashMap<Oid, &'static Function>,
    operators: Vec<&'static Operator>,
    operators_by_name: FxHashMap<&'static str, Vec<&'static Operator>>,
    operators_by_oid: FxHashMap<Oid, &'static Operator>,
    casts: FxHashMap<(Oid, Oid), &'static CastEntry>,
    /// A `'static` cast method for each function that stands behind a cast, for element-wise casts.
    function_casts: FxHashMap<Oid, CastMethod>,
}

static INDEX: LazyLock<Index> = LazyLock::new(build);

fn build() -> Index {
    let functions: Vec<&'static Function> = functions::AREAS.iter().flat_map(|area| area.iter()).collect();
    let by_oid: FxHashMap<Oid, &'static Function> = functions.iter().map(|f| (f.oid, *f)).collect();
    let mut by_name: FxHashMap<&'static str, Vec<&'static Function>> = FxHashMap::default();
    for f in &functions {
        by_name.entry(f.name).or_default().push(f);
    }
    let operators: Vec<&'static Operator> =
        tables::operators::OPERATORS.iter().filter(|o| by_oid.contains_key(&o.function)).collect();
    let mut operators_by_name: FxHashMap<&'static str, Vec<&'static Operator>> = FxHashMap::default();
    for o in &operators {
        operators_by_name.entry(o.name).or_default().push(o);
    }
    let operators_by_oid = operators.iter().map(|o| (o.oid, *o)).collect();
    let usable = |c: &&CastEntry| match c.kind {
        super::cast::CastKind::Function(oid) => by_oid.contains_key(&oid),
        _ => true,
    };
    let casts: FxHashMap<(Oid, Oid), &'static CastEntry> =
        tables::casts::CASTS.iter().filter(usable).map(|c| ((c.from, c.to), c)).collect();
    let function_casts = casts
        .values()
        .filter_map(|c| match c.kind {
            super::cast::CastKind::Function(oid) => Some((oid, CastMethod::Function(by_oid[&oid]))),
            _ => None,
        })
        .collect();
    Index {
        functions,
        by_name,
        by_oid,
        operators,
        operators_by_name,
        operators_by_oid,
        casts,
        function_casts,
    }
}

pub fn all_functions() -> &'static [&'static Function] {
    &INDEX.functions
}

pub fn all_operators() -> &'static [&'static Operator] {
    &INDEX.operators
}

/// All functions, aggregates and window functions of a name (lower case).
pub fn functions_named(name: &str) -> &'static [&'static Function] {
    INDEX.by_name.get(name).map_or(&[], Vec::as_slice)
}

/// All operators of a symbol; those with `left` = 0 are prefix operators.
pub fn operators_named(name: &str) -> &'static [&'static Operator] {
    INDEX.operators_by_name.get(name).map_or(&[], Vec::as_slice)
}

pub fn function_by_oid(oid: Oid) -> Option<&'static Function> {
    INDEX.by_oid.get(&oid).copied()
}

pub fn operator_by_oid(oid: Oid) -> Option<&'static Operator> {
    INDEX.operators_by_oid.get(&oid).copied()
}

/// The operator for which a function stands, if it stands for one.
pub fn operator_of(function: &Function) -> Option<&'static Operator> {
    INDEX.operators.iter().find(|o| o.function == function.oid).copied()
}

/// The function with the arguments swapped (`<` to `>`), for an operator's function.
pub fn commutator(function: &Function) -> Option<&'static Function> {
    function_by_oid(operator_by_oid(operator_of(function)?.commutator)?.function)
}

/// The function that gives the opposite (`<` to `>=`), for an operator's function.
pub fn negator(function: &Function) -> Option<&'static Function> {
    function_by_oid(operator_by_oid(operator_of(function)?.negator)?.function)
}

pub fn all_casts() -> impl Iterator<Item = &'static CastEntry> {
    tables::casts::CASTS.iter().filter(|c| INDEX.casts.contains_key(&(c.from, c.to)))
}

pub(super) fn cast(from: Oid, to: Oid) -> Option<&'static CastEntry> {
    INDEX.casts.get(&(from, to)).copied()
}

pub(super) fn function_cast(function: &Function) -> Option<&'static CastMethod> {
    INDEX.function_casts.get(&function.oid)
}
