//! The seam to whoever speaks with the client: the PostgreSQL protocol in the binary, a recorder in tests.
//!
//! What must stay true: calls come in the order in which the client is to see their effects, and nothing is promised to
//! have left the machine before [`Client::flush`] returns. A slow client makes `flush` slow, and nothing else.

use bytes::Bytes;
use meridian_storage::base::BoxFuture;

use crate::error::{SqlError, SqlResult};
use crate::plan::Field;
use crate::types::text::TextContext;
use crate::types::{Batch, Oid};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

/// PostgreSQL's levels below ERROR that reach a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Notice,
    Warning,
    Info,
}

pub trait Client: Send {
    /// RowDescription. `formats` as [`column_format`] reads them.
    fn describe_rows(&mut self, fields: &[Field], formats: &[Format]);
    /// DataRows. Errors are of single values (invalid for their output form).
    fn rows(
        &mut self,
        batch: &Batch,
        fields: &[Field],
        formats: &[Format],
        text: &TextContext<'_>,
    ) -> SqlResult<()>;
    fn complete(&mut self, tag: &str);
    fn empty_query(&mut self);
    fn portal_suspended(&mut self);
    fn notice(&mut self, severity: Severity, notice: &SqlError);
    /// A setting that the client tracks has changed.
    fn parameter_status(&mut self, name: &str, value: &str);
    /// Bytes that wait to be sent; the session flushes between batches when they are many.
    fn pending(&self) -> usize;
    /// A point in what waits to be sent.
    fn mark(&self) -> (u64, usize);
    /// Takes back everything since the mark; `false` if some of it has been sent.
    fn rewind(&mut self, mark: (u64, usize)) -> bool;
    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>>;

    fn copy_in_begin(&mut self, format: Format, columns: usize);
    /// The next piece of COPY data; `None` at its end. An error if the client gave up (57014) or broke the protocol.
    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>>;
    fn copy_out_begin(&mut self, format: Format, columns: usize);
    fn copy_out_data(&mut self, data: &[u8]);
    fn copy_out_end(&mut self);
}

/// How many bytes may wait for a client before its query waits too.
pub const FLUSH_AT: usize = 64 << 10;

/// PostgreSQL's rule: no formats = all text, one = for all columns, else one each.
pub fn column_format(formats: &[Format], column: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(column).copied().unwrap_or_default(),
    }
}

/// The wire size of a type: its fixed length, or -1.
pub fn type_len(oid: Oid) -> i16 {
    match oid {
        Oid::BOOL | Oid::CHAR => 1,
        Oid::INT2 => 2,
        Oid::INT4
        | Oid::FLOAT4
        | Oid::DATE
        | Oid::OID
        | Oid::REGCLASS
        | Oid::REGTYPE
        | Oid::REGPROC
        | Oid::REGNAMESPACE
        | Oid::REGROLE
        | Oid::VOID => 4,
        Oid::INT8 | Oid::FLOAT8 | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::TIME | Oid::MONEY => 8,
        Oid::INTERVAL | Oid::UUID => 16,
        Oid::NAME => 64,
        Oid::UNKNOWN | Oid::CSTRING => -2,
        _ => -1,
    }
}
