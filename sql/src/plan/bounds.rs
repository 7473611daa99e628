//! The part of an index that is read, as expressions: keys and spans are made of it at each execution.
//!
//! It is a union of *sections*, one for each alternative of an OR, or just one. Nothing is promised about how sections lie
//! to each other: which of their ranges are empty, overlap or come first depends on parameters. Execution
//! (`exec::bounds`) makes them ascending and disjoint, so that no row is read twice and rows come in the order of the index.

use crate::expr::Expr;

/// What is read of an index: whatever is in one of the sections.
/// Expressions are over parameters only, or, in a lookup join, over the left row too. A NULL in a comparison means
/// that no row of its section qualifies.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub sections: Vec<Section>,
    /// The conditions that the bounds stand for, over the access's columns, for EXPLAIN.
    pub conjuncts: Vec<Expr>,
}

/// Every combination of the prefix's values, then a range of the next column.
#[derive(Debug, Default, Clone)]
pub struct Section {
    pub prefix: Vec<KeyPart>,
    pub range: Option<KeyRange>,
}

#[derive(Debug, Clone)]
pub enum KeyPart {
    Eq(Expr),
    /// Any of these.
    In(Vec<Expr>),
    /// Any element of the array.
    InArray(Expr),
    IsNull,
}

/// A range in the order of values, whatever the order of the index. NULLs are never in it: open on both sides it is how
/// `IS NOT NULL` reads.
#[derive(Debug, Clone, Default)]
pub struct KeyRange {
    pub lower: Option<(Expr, bool)>,
    pub upper: Option<(Expr, bool)>,
}

impl Bounds {
    pub fn of(section: Section) -> Self {
        Bounds { sections: vec![section], conjuncts: Vec::new() }
    }

    /// The whole index is read.
    pub fn is_whole(&self) -> bool {
        self.sections.iter().any(|s| s.prefix.is_empty() && s.range.is_none())
    }

    /// Every one of the index's `columns` key columns is compared with one value.
    pub fn is_one_key(&self, columns: usize) -> bool {
        let [section] = self.sections.as_slice() else { return false };
        section.prefix.len() == columns && section.prefix.iter().all(|p| matches!(p, KeyPart::Eq(_)))
    }
}

impl Section {
    /// Whether no entry of the section has a NULL in the key column of this position.
    pub fn excludes_null(&self, position: usize) -> bool {
        match self.prefix.get(position) {
            Some(part) => !matches!(part, KeyPart::IsNull),
            None => position == self.prefix.len() && self.range.is_some(),
        }
    }
}
