//! What PostgreSQL's users do for its storage and its locks, and what of it is left to do here: VACUUM, ANALYZE,
//! REINDEX, CLUSTER, LOCK TABLE.
//!
//! Dead versions go by themselves, so that VACUUM is a word that old scripts may say; ANALYZE counts, and the optimizer
//! reads what it has counted. Indexes are never bloated or invalid, and rows always lie in the order of their primary key:
//! of REINDEX and CLUSTER only the names are checked. Table locks are refused rather than pretended.
//!
//! What must stay true: ANALYZE stores its statistics through the transaction it runs in, counts there as a statement and as
//! a change of the catalog and, where it stands alone, is acknowledged after that transaction's commit. It can be
//! cancelled while it counts.

use super::Session;
use super::block::outside_block;
use super::classify::alone;
use super::client::{Client, Severity};
use super::statement::Delivery;
use super::transaction::read_only;
use crate::bind::{fold, object_name_parts};
use crate::catalog::TableId;
use crate::error::{SqlError, SqlResult, state};
use crate::exec::analyze::analyze;
use crate::parse::ast::ObjectName;
use crate::parse::{Cluster, Reindex, ReindexKind, Vacuum};
use crate::schema_change::{self, Target, find_target, undefined_schema};

impl Session {
    pub(super) async fn vacuum(&mut self, v: &Vacuum, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        if !v.only_analyze && self.state.in_block() {
            return Err(inside_block("VACUUM"));
        }
        let refused = |text| Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, text));
        if v.full && v.parallel {
            return refused("VACUUM FULL cannot be performed in parallel");
        }
        if v.full && v.disable_page_skipping {
            return refused("VACUUM option DISABLE_PAGE_SKIPPING cannot be used with FULL");
        }
        if !v.analyze && v.tables.iter().any(|t| !t.columns.is_empty()) {
            return refused("ANALYZE option must be specified when a column list is provided");
        }
        let targets = self.analyze_targets(v, delivery.client)?;
        // Dead versions go by themselves, in compactions: VACUUM has nothing to do but what ANALYZE does.
        if v.analyze {
            self.ensure_transaction()?;
            let Some(active) = self.state.active_mut() else { return Ok(()) };
            if active.modes.read_only {
                return Err(read_only("ANALYZE"));
            }
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

    pub(super) fn reindex(&mut self, r: &Reindex, client: &mut dyn Client) -> SqlResult<()> {
        if let Some(name) = alone(r)
            && self.state.in_block()
        {
            return Err(inside_block(name));
        }
        if let Some(tablespace) = r.tablespace.as_ref().filter(|t| *t != "pg_default") {
            let text = format!("tablespace \"{tablespace}\" does not exist");
            return Err(SqlError::new(state::UNDEFINED_OBJECT, text));
        }
        let view = self.view();
        let catalog = self.catalog.snapshot();
        let find = || find_target(&catalog, self.database, view.search_path(), &r.name);
        let not = |name: &str, kind: &str| {
            Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {kind}")))
        };
        match r.kind {
            ReindexKind::Table => match find()? {
                Target::Table(_) | Target::System(_) => {}
                Target::Index(name) | Target::Other(name) => {
                    return not(name, "a table or materialized view");
                }
            },
            ReindexKind::Index => match find()? {
                Target::Index(_) => {}
                Target::Table(table) => return not(&table.name, "an index"),
                Target::System(table) => return not(table.name, "an index"),
                Target::Other(name) => return not(name, "an index"),
            },
            ReindexKind::Schema => {
                let name = only_name(&r.name)?;
                if catalog.schema_named(self.database, &name).is_none() {
                    return Err(undefined_schema(&name));
                }
            }
            ReindexKind::Database | ReindexKind::System => {
                let name = only_name(&r.name)?;
                if catalog.databases.get(&self.database).is_none_or(|d| d.name != name) {
                    return Err(SqlError::new(
                        state::FEATURE_NOT_SUPPORTED,
                        "can only reindex the currently open database",
                    ));
                }
            }
        }
        client.complete("REINDEX");
        Ok(())
    }

    pub(super) fn cluster(&mut self, c: &Cluster, client: &mut dyn Client) -> SqlResult<()> {
        let Some(table) = &c.table else {
            if self.state.in_block() {
                return Err(inside_block("CLUSTER"));
            }
            client.complete("CLUSTER");
            return Ok(());
        };
        let view = self.view();
        let catalog = self.catalog.snapshot();
        match find_target(&catalog, self.database, view.search_path(), table)? {
            Target::Table(table) => {
                let Some(index) = &c.index else {
                    // What a table was clustered by is not kept: it may be any of its indexes.
                    if table.primary.is_primary_key || !table.indexes.is_empty() {
                        client.complete("CLUSTER");
                        return Ok(());
                    }
                    return Err(SqlError::new(
                        state::UNDEFINED_OBJECT,
                        format!("there is no previously clustered index for table \"{}\"", table.name),
                    ));
                };
                let index = fold(index);
                let (code, text) = match catalog.index_named(table.schema, &index) {
                    Some((of, _)) if of.id == table.id => {
                        client.complete("CLUSTER");
                        return Ok(());
                    }
                    Some(_) => (
                        state::WRONG_OBJECT_TYPE,
                        format!("\"{index}\" is not an index for table \"{}\"", table.name),
                    ),
                    None => (
                        state::UNDEFINED_OBJECT,
                        format!("index \"{index}\" for table \"{}\" does not exist", table.name),
                    ),
                };
                Err(SqlError::new(code, text))
            }
            Target::System(_) => Err(SqlError::unsupported("CLUSTER of a system catalog")),
            Target::Index(name) | Target::Other(name) => Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a table or materialized view"),
            )),
        }
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

fn inside_block(statement: &str) -> SqlError {
    SqlError::new(state::ACTIVE_SQL_TRANSACTION, format!("{statement} cannot run inside a transaction block"))
}

/// A name that has no schema.
fn only_name(name: &ObjectName) -> SqlResult<String> {
    match object_name_parts(name)?[..] {
        [name] => Ok(fold(name).into_owned()),
        _ => Err(SqlError::new(state::SYNTAX_ERROR, "syntax error at or near \".\"")),
    }
}
