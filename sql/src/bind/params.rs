//! Types of `$n` parameters, declared by the client or found from where they stand.
//!
//! What must stay true: a plan has a parameter only where whoever runs it gives its value. A statement whose text is all
//! there is (the simple protocol's, the catalog's) has none, and one that it names is an error: run without its value it
//! would be NULL.

use crate::error::{SqlError, SqlResult, state};
use crate::registry::type_name;
use crate::types::Oid;

/// PostgreSQL's limit: the protocol counts them in 16 bits.
const PARAMS_MAX: usize = 65_535;

/// One slot per parameter up to the highest seen; `UNKNOWN` until something determines the type.
pub struct Params {
    types: Vec<Oid>,
    given: bool,
}

impl Params {
    /// Of a statement that is run without any.
    pub fn none() -> Self {
        Params { types: Vec::new(), given: false }
    }

    /// As many as the statement names, of the types that the client declared.
    pub fn new(hints: &[Oid]) -> Self {
        let known = |oid: &Oid| if *oid == Oid::INVALID { Oid::UNKNOWN } else { *oid };
        Params { types: hints.iter().map(known).collect(), given: true }
    }

    /// The type so far of the parameter written `$text`.
    pub fn lookup(&mut self, text: &str) -> SqlResult<(usize, Oid)> {
        let number: usize = text.strip_prefix('$').and_then(|n| n.parse().ok()).unwrap_or(0);
        if !self.given || number == 0 || number > PARAMS_MAX {
            return Err(SqlError::new(state::UNDEFINED_PARAMETER, format!("there is no parameter {text}")));
        }
        if self.types.len() < number {
            self.types.resize(number, Oid::UNKNOWN);
        }
        Ok((number - 1, self.types[number - 1]))
    }

    /// Something needs the parameter to be of type `oid`.
    pub fn determine(&mut self, index: usize, oid: Oid) -> SqlResult<()> {
        let slot = &mut self.types[index];
        if *slot == Oid::UNKNOWN {
            *slot = oid;
            return Ok(());
        }
        if *slot == oid {
            return Ok(());
        }
        Err(SqlError::new(
            state::AMBIGUOUS_PARAMETER,
            format!("inconsistent types deduced for parameter ${}", index + 1),
        )
        .with_detail(format!("{} versus {}", type_name(*slot), type_name(oid))))
    }

    pub fn finish(&mut self) -> SqlResult<Vec<Oid>> {
        match self.types.iter().position(|t| *t == Oid::UNKNOWN) {
            Some(i) => Err(SqlError::new(
                state::INDETERMINATE_DATATYPE,
                format!("could not determine data type of parameter ${}", i + 1),
            )),
            None => Ok(std::mem::take(&mut self.types)),
        }
    }
}
