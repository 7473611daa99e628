//! What PostgreSQL's users do for its storage and its locks, and what of it is left to do here: VACUUM, ANALYZE, LOCK TABLE.
//!
//! Dead versions go by themselves, so that VACUUM is a word that old scripts may say; ANALYZE counts, and the optimizer
//! reads what it has counted. Table locks are refused rather than pretended.
//!
//! What must stay true: ANALYZE stores its statistics through the transaction it runs in, counts there as a statement and as
//! a change of the catalog and, where it stands alone, is acknowledged after that transaction's commit. It can be
//! cancelled while it counts.

use super::Session;
use super::block::outside_block;
use super::client::{Client, Severity};
use super::statement::Delivery;
use crate::catalog::TableId;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::analyze::analyze;
use crate::parse::Vacuum;
use crate::schema_change;

impl Session {
    pub(super) async fn vacuum(&mut self, v: &Vacuum, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        if !v.only_analyze && self.state.in_block() {
            return Err(SqlError::new(
                state::ACTIVE_SQL_TRANSACTION,
                "VACUUM cannot run inside a transaction block",
            ));
        }
        if !v.analyze && v.tables.iter().any(|t| !t.columns.is_empty()) {
            return Err(SqlError::new(
                state::FEATURE_NOT_SUPPORTED,
                "ANALYZE option must be specified when a column list is provided",
            ));
        }
        let targets = self.analyze_targets(v, delivery.client)?;
        // Dead versions go by themselves, in compactions: VACUUM has nothing to do but what ANALYZE does.
        if v.analyze {
            self.ensure_transaction()?;
            let Some(active) = self.state.active_mut() else { return Ok(()) };
            // Statistics are a part of the catalog's descriptors: a retry that begins again would lose them.
            active.has_ddl = true;
            let txn = active.txn.clone();
            let snapshot = self.catalog.snapshot();
            for id in targets {
                let ctx = self.exec_context(&self.no_params.clone(), None).await?;
                let Some(table) = snapshot.tables.get(&id) else { continue };
                let statistics = {
                    let work = analyze(&ctx, table);
                    self.guarded(work).await?
                };
                schema_change::store_statistics(&txn, &mut self.catalog, id, statistics)?;
            }
            if let Some(active) = self.state.active_mut() {
                active.statements += 1;
            }
            if delivery.autocommit {
                self.commit_implicit(delivery.client).await?;
            }
        }
        delivery.client.complete(if v.only_analyze { "ANALYZE" } else { "VACUUM" });
        Ok(())
    }

    /// The tables that it is about; of what else is named, the client is told that it is passed over.
    fn analyze_targets(&mut self, v: &Vacuum, client: &mut dyn Client) -> SqlResult<Vec<TableId>> {
        let view = self.view();
        let snapshot = self.catalog.snapshot();
        let targets =
            schema_change::analyze_targets(&snapshot, self.database, view.search_path(), &v.tables)?;
        let verb = if v.only_analyze { "analyze" } else { "vacuum" };
        for name in &targets.skipped {
            let text = format!("skipping \"{name}\" --- cannot {verb} non-tables or special system tables");
            client.notice(Severity::Warning, &SqlError::new(state::WARNING, text));
        }
        Ok(targets.tables)
    }

    pub(super) fn lock_table(&mut self, client: &mut dyn Client) -> SqlResult<()> {
        if !self.state.in_block() {
            return Err(outside_block("LOCK TABLE"));
        }
        let _ = client;
        Err(SqlError::unsupported("LOCK TABLE")
            .with_hint("Serializable transactions need no table locks; SELECT … FOR UPDATE locks rows."))
    }
}
