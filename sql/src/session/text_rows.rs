//! Results that no operator makes: rows of text columns, known as a whole when they are sent. SHOW and EXPLAIN answer so.
//!
//! What must stay true: RowDescription goes before the rows exactly where the delivery asks for it, with the fields that
//! Describe is told ([`text_fields`] of the same names). The command tag is for the caller to send.

use std::sync::Arc;

use super::statement::Delivery;
use super::surroundings::View;
use crate::error::SqlResult;
use crate::plan::{Field, Schema};
use crate::types::{Batch, Column, Datum, Oid, SqlType};

/// Text columns of those names.
pub(super) fn text_fields(names: &[&str]) -> Schema {
    let field = |name: &&str| Field { name: name.to_string(), ty: SqlType::new(Oid::TEXT), origin: None };
    Arc::new(names.iter().map(field).collect())
}

/// A result of text columns.
pub(super) fn send_table(
    delivery: &mut Delivery<'_>,
    names: &[&str],
    rows: &[Vec<String>],
    view: &View,
) -> SqlResult<()> {
    let fields = text_fields(names);
    let columns = (0..names.len()).map(|i| {
        let mut c = Column::for_type(Oid::TEXT);
        rows.iter().for_each(|r| c.push(&Datum::text(&r[i])));
        Arc::new(c)
    });
    let batch = Batch { columns: columns.collect(), rows: rows.len() };
    if delivery.describe {
        delivery.client.describe_rows(&fields, delivery.formats);
    }
    delivery.client.rows(&batch, &fields, delivery.formats, &view.text())
}

/// A result of one text column: a line a row.
pub(super) fn send_lines(
    delivery: &mut Delivery<'_>,
    name: &str,
    lines: &[String],
    view: &View,
) -> SqlResult<()> {
    let rows: Vec<Vec<String>> = lines.iter().map(|l| vec![l.clone()]).collect();
    send_table(delivery, &[name], &rows, view)
}
