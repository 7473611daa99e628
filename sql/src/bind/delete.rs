//! DELETE.

use sqlparser::ast;

use super::Binder;
use super::select::Clause;
use crate::error::{SqlError, SqlResult};
use crate::plan::{Delete, LogicalPlan, RowLockStrength};

impl Binder<'_> {
    pub fn bind_delete(&mut self, delete: &ast::Delete) -> SqlResult<LogicalPlan> {
        self.writes = true;
        let foreign = !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some();
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let [target] = from.as_slice() else {
            return Err(SqlError::unsupported("DELETE from several tables"));
        };
        if foreign || !target.joins.is_empty() {
            return Err(SqlError::unsupported("this form of DELETE"));
        }
        let (table, bound) = self.bind_modified(&target.relation, "delete from", RowLockStrength::Update)?;
        let mut bound = match &delete.using {
            None => bound,
            Some(items) => self.bind_more(bound, items)?,
        };
        let scope = bound.take_scope(None);
        let mut input = bound.plan;
        if let Some(condition) = &delete.selection {
            let predicate = self
                .in_level(Clause::Where, |b| b.bind_condition(condition, &scope, Clause::Where, "WHERE"))?;
            input = LogicalPlan::Filter { input: Box::new(input), predicate };
        }
        let returning = self.bind_returning(delete.returning.as_deref(), &scope)?;
        Ok(LogicalPlan::Delete(Box::new(Delete { table, input, returning })))
    }
}
