//! Statements that are not plans, each sent to the module that runs it; and the fields of what they return.
//!
//! What must stay true: every statement that [`is_utility`](super::classify::is_utility) claims has its arm here; one
//! without an arm of its own changes the schema, or is refused there. The fields that Describe is told are those of the
//! rows that the run then sends.
//!
//! EXECUTE runs a statement, which comes back here if it has no plan: the future is boxed for that.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::Session;
use super::prepared::{Prepared, Running};
use super::set_show::show_fields;
use super::statement::Delivery;
use crate::error::{SqlError, SqlResult};
use crate::parse::{Statement, ast};
use crate::plan::Schema;
use crate::types::Datum;

impl Session {
    /// The fields of the rows that a statement without a plan would return now.
    pub(super) fn utility_fields(&mut self, statement: &Statement) -> SqlResult<Option<Schema>> {
        match statement {
            Statement::Sql(sql) => match &**sql {
                ast::Statement::ShowVariable { variable } => Ok(Some(show_fields(variable))),
                ast::Statement::Execute { name: Some(name), .. } => self.execute_fields(name),
                _ => Ok(None),
            },
            Statement::Fetch(f) => Ok(self.fetch_fields(f)),
            _ => Ok(None),
        }
    }

    pub(super) fn run_utility<'a>(
        &'a mut self,
        prepared: &'a Arc<Prepared>,
        params: &'a Arc<[Datum]>,
        delivery: &'a mut Delivery<'_>,
    ) -> BoxFuture<'a, SqlResult<Running>> {
        Box::pin(self.dispatch_utility(prepared, params, delivery))
    }

    async fn dispatch_utility(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<Running> {
        let Some(parsed) = &prepared.parsed else { return Ok(Running::Finished) };
        let done = match &parsed.statement {
            Statement::Begin(modes) => {
                let as_of = self.time_said(parsed)?;
                self.begin(*modes, as_of, delivery.client).await
            }
            Statement::SetTransaction { session, modes } => {
                let as_of = self.time_said(parsed)?;
                self.set_transaction(*session, *modes, as_of, delivery).await
            }
            Statement::Vacuum(v) => self.vacuum(v, delivery).await,
            Statement::DeclareCursor(d) => self.declare_cursor(d, prepared, params, delivery).await,
            Statement::Fetch(f) => self.fetch(f, delivery).await,
            Statement::Prepare { name, types, statement: _ } => {
                self.prepare(name, types, parsed, delivery.client).await
            }
            Statement::SetConstraints { .. } => {
                // Nothing is deferrable yet: constraints are checked at once, which is what was asked for or safer.
                delivery.client.complete("SET CONSTRAINTS");
                Ok(())
            }
            Statement::Checkpoint => {
                delivery.client.complete("CHECKPOINT");
                Ok(())
            }
            Statement::Reindex(r) => self.reindex(r, delivery.client),
            Statement::Cluster(c) => self.cluster(c, delivery.client),
            Statement::Sql(sql) => match &**sql {
                ast::Statement::Commit { chain, .. } => self.commit(*chain, delivery.client).await,
                ast::Statement::Rollback { chain, savepoint: None } => {
                    self.rollback(*chain, delivery.client).await
                }
                ast::Statement::Rollback { savepoint: Some(name), .. } => {
                    self.rollback_to(name, delivery.client)
                }
                ast::Statement::Savepoint { name } => self.savepoint(name, delivery.client),
                ast::Statement::ReleaseSavepoint { name } => self.release(name, delivery.client),
                ast::Statement::Set(set) => self.set(set, delivery),
                ast::Statement::Reset(reset) => self.reset(&reset.reset, delivery),
                ast::Statement::ShowVariable { variable } => self.show(variable, delivery),
                ast::Statement::Discard { object_type } => self.discard(object_type, delivery.client),
                ast::Statement::Deallocate { name, .. } => self.deallocate(name, delivery.client),
                ast::Statement::Execute { name: Some(name), parameters, .. } => {
                    return self.execute_prepared(name, parameters, &parsed.source, delivery).await;
                }
                ast::Statement::Close { cursor } => self.close_cursor(cursor, delivery.client),
                ast::Statement::Copy { .. } => self.copy(sql, parsed, delivery).await,
                ast::Statement::Lock(_) => self.lock_table(delivery.client),
                _ => self.change_schema(parsed, params, delivery).await,
            },
            Statement::AlterSequence(_) | Statement::SplitAt(_) => {
                self.change_schema(parsed, params, delivery).await
            }
            Statement::Explain(_) => Err(SqlError::unsupported("EXPLAIN of this statement")),
        };
        done.map(|()| Running::Finished)
    }
}
