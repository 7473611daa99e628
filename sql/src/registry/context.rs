//! What functions may ask of their surroundings: settings, the statement's time, the session, catalog names.

use crate::error::{SqlError, SqlResult, state};
use crate::types::text::{FormatSettings, ObjectNames, TextContext};
use crate::types::{Datum, Oid};

/// One evaluation's surroundings. Cheap to make: everything is borrowed.
#[derive(Clone, Copy)]
pub struct EvalContext<'a> {
    /// Transaction start (now()) and statement start, microseconds since 2000-01-01 UTC.
    pub transaction_time: i64,
    pub statement_time: i64,
    pub params: &'a [Datum],
    /// DateStyle, TimeZone and the like.
    pub format: &'a FormatSettings,
    pub session: &'a dyn SessionFunctions,
    /// Rows of the enclosing queries, innermost last: `Expr::Outer { depth: 1 }` reads the last.
    pub outer: &'a [&'a [Datum]],
}

impl<'a> EvalContext<'a> {
    /// Where there is no session: constant folding of immutable expressions, defaults in the catalog, tests.
    pub fn detached() -> EvalContext<'static> {
        EvalContext {
            transaction_time: 0,
            statement_time: 0,
            params: &[],
            format: FormatSettings::default_ref(),
            session: &NoSession,
            outer: &[],
        }
    }

    pub fn text(&self) -> TextContext<'_> {
        TextContext {
            format: self.format,
            transaction_time: self.transaction_time,
            names: self.session.object_names(),
        }
    }
}

/// What a session does for functions. Every method has an answer for "not known here", so that tests and constant
/// folding need no session.
pub trait SessionFunctions: Sync {
    /// Names of relations, schemas and roles, for the reg* types.
    fn object_names(&self) -> &dyn ObjectNames;

    /// Wall time, microseconds since 2000-01-01 UTC (`clock_timestamp()`).
    fn clock(&self) -> Option<i64> {
        None
    }
    /// 64 random bits.
    fn random(&self) -> u64 {
        0
    }
    fn current_user(&self) -> &str {
        ""
    }
    fn session_user(&self) -> &str {
        self.current_user()
    }
    fn current_database(&self) -> &str {
        ""
    }
    /// The existing schemas of the search path, without the implicit pg_catalog.
    fn search_path(&self) -> Vec<String> {
        Vec::new()
    }
    fn backend_pid(&self) -> i32 {
        0
    }
    fn transaction_id(&self) -> SqlResult<u64> {
        Err(unavailable("txid_current"))
    }
    /// `current_setting`; `None` if there is no such setting.
    fn setting(&self, _name: &str) -> SqlResult<Option<String>> {
        Ok(None)
    }
    /// `set_config`: the new value; given none, the default.
    fn set_setting(&self, _name: &str, _value: Option<&str>, _local: bool) -> SqlResult<String> {
        Err(unavailable("set_config"))
    }
    fn currval(&self, _sequence: Oid) -> SqlResult<i64> {
        Err(unavailable("currval"))
    }
    fn lastval(&self) -> SqlResult<i64> {
        Err(unavailable("lastval"))
    }
    /// The sequence that a column owns, as a quoted qualified name (`pg_get_serial_sequence`).
    fn serial_sequence(&self, _table: &str, _column: &str) -> SqlResult<Option<String>> {
        Err(unavailable("pg_get_serial_sequence"))
    }
    /// Texts that the catalog reconstructs; `None` for an OID that is not there.
    fn definition(&self, _kind: DefinitionKind, _oid: Oid, _column: i32) -> SqlResult<Option<String>> {
        Ok(None)
    }
    /// Whether an object is found by its bare name on the search path; `None`: no such object.
    fn is_visible(&self, _kind: VisibleKind, _oid: Oid) -> Option<bool> {
        None
    }
    /// Bytes that a relation occupies, approximately (`pg_table_size` and the like).
    fn relation_size(&self, _oid: Oid) -> Option<i64> {
        None
    }
    /// (address, port) of the two ends of the connection.
    fn client_address(&self) -> Option<(String, i32)> {
        None
    }
    fn server_address(&self) -> Option<(String, i32)> {
        None
    }
    /// When the server started, microseconds since 2000-01-01 UTC.
    fn start_time(&self) -> Option<i64> {
        None
    }
}

/// What `definition` gives the text of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefinitionKind {
    /// `pg_get_indexdef(oid, column)`; column 0: the whole statement.
    Index,
    Constraint,
    View,
    /// Column default: `oid` is pg_attrdef's.
    Default,
    /// `obj_description` / `col_description`.
    Comment,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VisibleKind {
    Relation,
    Type,
    Function,
}

fn unavailable(function: &str) -> SqlError {
    SqlError::new(state::FEATURE_NOT_SUPPORTED, format!("{function} is not supported outside of a session"))
}

struct NoSession;

impl SessionFunctions for NoSession {
    fn object_names(&self) -> &dyn ObjectNames {
        &crate::types::text::NoNames
    }
}
