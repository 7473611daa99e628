//! What an operator is: a symbol over two types (or one, prefix), standing for a function.

use crate::types::Oid;

/// An entry of pg_operator.
#[derive(Debug)]
pub struct Operator {
    pub oid: Oid,
    pub name: &'static str,
    /// `Oid::INVALID` for a prefix operator.
    pub left: Oid,
    pub right: Oid,
    pub result: Oid,
    pub function: Oid,
    /// The operator with the arguments swapped, if any.
    pub commutator: Oid,
    /// The operator that gives the opposite, if any.
    pub negator: Oid,
}

impl Operator {
    pub fn is_prefix(&self) -> bool {
        self.left == Oid::INVALID
    }
}
