//! The binder as the optimizer sees it: SQL texts of descriptors become expressions.

use std::sync::Arc;

use crate::bind::{self, BindContext, Clause};
use crate::catalog::TableDescriptor;
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::optimize::TableExprs;

pub struct Texts<'a>(pub BindContext<'a>);

impl TableExprs for Texts<'_> {
    fn table_expr(&self, table: &Arc<TableDescriptor>, text: &str) -> SqlResult<Expr> {
        bind::bind_scalar(self.0, text, table, Clause::Check)
    }

    fn default_expr(&self, table: &Arc<TableDescriptor>, position: usize) -> SqlResult<Expr> {
        let column = table
            .public_columns()
            .nth(position)
            .ok_or_else(|| SqlError::internal(format!("table {} has no column {position}", table.name)))?;
        bind::bind_column_default(self.0, column)
    }
}
