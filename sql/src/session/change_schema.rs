//! The way to schema changes: what such a statement gets from the session, and what it leaves there.
//!
//! The changes themselves, and their jobs, are [`crate::schema_change`]; here are the transaction around them and the
//! answer.
//!
//! What must stay true: the transaction is marked as changing the schema before the change begins, since what may be
//! retried, and how, depends on it. Notices reach the client also when the change fails. A change that stands alone is
//! committed before it is acknowledged.

use std::sync::Arc;

use super::Session;
use super::client::Severity;
use super::statement::Delivery;
use super::transaction::read_only;
use crate::error::{SqlError, SqlResult};
use crate::parse::ParsedStatement;
use crate::schema_change::{self, SchemaContext};
use crate::types::Datum;

impl Session {
    pub(super) async fn change_schema(
        &mut self,
        parsed: &ParsedStatement,
        _params: &Arc<[Datum]>,
        delivery: &mut Delivery<'_>,
    ) -> SqlResult<()> {
        self.ensure_transaction()?;
        let view = self.view();
        let in_block = self.state.in_block();
        let Some(active) = self.state.active_mut() else {
            return Err(SqlError::internal("a statement runs in a transaction"));
        };
        if active.modes.read_only {
            return Err(read_only("a schema change"));
        }
        active.has_ddl = true;
        let txn = active.txn.clone();
        let mut notices = Vec::new();
        let guard = self.guard();
        let done = {
            let context = SchemaContext {
                db: &self.node.db,
                txn: &txn,
                catalog: &mut self.catalog,
                database: self.database,
                search_path: view.search_path(),
                user: &self.user,
                session: view.clone(),
                // Several statements in one message are a transaction together.
                in_block: in_block || !delivery.autocommit,
                cancel: guard.cancel.flag().clone(),
                guard: &guard,
                notices: &mut notices,
            };
            schema_change::execute(context, parsed).await
        };
        for notice in &notices {
            delivery.client.notice(Severity::Notice, notice);
        }
        let tag = done?;
        if let Some(active) = self.state.active_mut() {
            active.statements += 1;
        }
        if delivery.autocommit {
            self.commit_implicit(delivery.client).await?;
        }
        delivery.client.complete(&tag);
        Ok(())
    }
}
