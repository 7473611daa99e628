//! What the tree of a statement says before anything of it runs: which way it goes, where it is allowed, what a second
//! execution answers. Only the tree is looked at, never the session.
//!
//! What must stay true: what [`is_utility`] claims, [`super::utility`] can run; everything else has a plan.
//! [`ends_failed`] names exactly the statements that get a client out of a failed block, and none by which a failed
//! transaction could go on writing.

use super::prepared::Prepared;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::{Reindex, ReindexKind, Statement, ast};

/// Whether the statement is run from its tree rather than from a plan.
pub(super) fn is_utility(statement: &Statement) -> bool {
    match statement {
        Statement::Sql(sql) => !matches!(
            **sql,
            ast::Statement::Query(_)
                | ast::Statement::Insert(_)
                | ast::Statement::Update(_)
                | ast::Statement::Delete(_)
                | ast::Statement::Merge(_)
        ),
        Statement::Explain(_) => false,
        _ => true,
    }
}

/// Whether a statement that is no plan has all its rows before the first of them is handed over.
pub(super) fn answers_at_once(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(_) => true,
        Statement::Fetch(f) => !f.only_move,
        Statement::Sql(sql) => matches!(**sql, ast::Statement::ShowVariable { .. }),
        _ => false,
    }
}

/// Whether the statement runs one that was prepared under a name.
pub(super) fn executes_another(statement: &Statement) -> bool {
    matches!(statement, Statement::Sql(sql) if matches!(**sql, ast::Statement::Execute { .. }))
}

/// The name of the statement that an EXECUTE runs.
pub(super) fn executed_name(statement: &Statement) -> Option<&ast::ObjectName> {
    match statement {
        Statement::Sql(sql) => match &**sql {
            ast::Statement::Execute { name, .. } => name.as_ref(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the statement is allowed in a failed transaction block.
pub(super) fn ends_failed(statement: &Statement) -> bool {
    matches!(statement, Statement::Sql(sql)
        if matches!(**sql, ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }))
}

/// Whether the statement may run in the transaction that another AS OF SYSTEM TIME has begun for itself: if it ends that, or
/// looks at no data but that of its cursors.
pub(super) fn beside_past(statement: &Statement) -> bool {
    use ast::Statement::{Close, Deallocate, Set, ShowVariable};
    ends_failed(statement)
        || matches!(statement, Statement::Fetch(_))
        || matches!(statement, Statement::Sql(sql)
            if matches!(**sql, ShowVariable { .. } | Set(_) | Deallocate { .. } | Close { .. }))
}

/// How PostgreSQL calls a REINDEX that makes transactions of its own.
pub(super) fn alone(reindex: &Reindex) -> Option<&'static str> {
    match reindex.kind {
        ReindexKind::Index | ReindexKind::Table if reindex.concurrently => Some("REINDEX CONCURRENTLY"),
        ReindexKind::Index | ReindexKind::Table => None,
        ReindexKind::Schema => Some("REINDEX SCHEMA"),
        ReindexKind::Database => Some("REINDEX DATABASE"),
        ReindexKind::System => Some("REINDEX SYSTEM"),
    }
}

/// VACUUM and the like cannot run among other statements, those of a string or of a pipeline. `what`: the error's end.
pub(super) fn refuse_among_others(statement: &Statement, what: &str) -> SqlResult<()> {
    let name = match statement {
        Statement::Vacuum(v) if !v.only_analyze => "VACUUM",
        Statement::Reindex(r) => match alone(r) {
            Some(name) => name,
            None => return Ok(()),
        },
        Statement::Cluster(c) if c.table.is_none() => "CLUSTER",
        Statement::Sql(sql) => match **sql {
            ast::Statement::Discard { object_type: ast::DiscardObject::ALL } => "DISCARD ALL",
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    Err(SqlError::new(state::ACTIVE_SQL_TRANSACTION, format!("{name} {what}")))
}

/// The tag of a portal with rows that is executed again after their end.
pub(super) fn finished_tag(prepared: &Prepared) -> &'static str {
    match prepared.parsed.as_ref().map(|p| &p.statement) {
        Some(Statement::Sql(sql)) => match **sql {
            ast::Statement::Insert(_) => "INSERT 0 0",
            ast::Statement::Update(_) => "UPDATE 0",
            ast::Statement::Delete(_) => "DELETE 0",
            ast::Statement::ShowVariable { .. } => "SHOW",
            _ => "SELECT 0",
        },
        Some(Statement::Fetch(_)) => "FETCH 0",
        Some(Statement::Explain(_)) => "EXPLAIN",
        _ => "SELECT 0",
    }
}
