//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE, over the same portals as the extended protocol.
//!
//! Cursors go forward only and end with their transaction: backward fetches and WITH HOLD are refused.
//!
//! What must stay true: a cursor ends with the subtransaction in which it was declared, so that no rows are fetched that
//! ROLLBACK TO has taken back. RELEASE hands it to the one around. One that is older than the savepoint stays, where it is.

use std::sync::Arc;

use super::block::outside_block;
use super::client::Client;
use super::prepared::{Portal, Prepared, Running};
use super::statement::Delivery;
use super::transaction::SubtransactionId;
use super::{FLUSH_AT, Session};
use crate::bind::fold;
use crate::error::{SqlError, SqlResult, state};
use crate::parse::{DeclareCursor, FetchCount, FetchCursor, ParsedStatement, ast};
use crate::plan::Schema;

impl Session {
    /// Of what is made now.
    pub(super) fn subtransaction(&self) -> SubtransactionId {
        self.state.active().map(|a| a.subtransaction()).unwrap_or_default()
    }

    /// Portals made in a subtransaction, or in one within it, end.
    pub(super) fn drop_portals_of(&mut self, subtransaction: SubtransactionId) {
        self.portals.retain(|_, p| p.made_in < subtransaction);
    }

    /// As if portals of a subtransaction, and of those within it, had been made in the one around it.
    pub(super) fn hand_portals_over(&mut self, from: SubtransactionId, to: SubtransactionId) {
        for portal in self.portals.values_mut().filter(|p| p.made_in >= from) {
            portal.made_in = to;
        }
    }

    pub(super) async fn declare_cursor(
        &mut self,
        d: &DeclareCursor,
        parsed: &ParsedStatement,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        let name = fold(&d.name).into_owned();
        if d.hold {
            return Err(SqlError::unsupported("DECLARE CURSOR … WITH HOLD"));
        }
        if d.scroll == Some(true) {
            return Err(SqlError::unsupported("DECLARE … SCROLL CURSOR"));
        }
        if d.binary {
            return Err(SqlError::unsupported("DECLARE … BINARY CURSOR"));
        }
        if !self.state.in_block() {
            return Err(outside_block("DECLARE CURSOR"));
        }
        if self.portals.contains_key(&name) {
            return Err(SqlError::new(state::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        let inner = parsed.inner()?;
        let prepared = Arc::new(Prepared::new(parsed.text(), Some(inner), None));
        self.ensure_transaction()?;
        let planned = self.planned(&prepared)?;
        let fields = self.fields_of(&prepared, &planned)?;
        let params = self.no_params.clone();
        let made_in = self.subtransaction();
        let portal =
            Portal { prepared, fields, params, formats: Vec::new(), made_in, running: Running::NotStarted };
        self.portals.insert(name, portal);
        client.complete("DECLARE CURSOR");
        Ok(())
    }

    /// The fields of the rows that FETCH returns; MOVE returns none.
    pub(super) fn fetch_fields(&self, f: &FetchCursor) -> Option<Schema> {
        let portal = self.portals.get(&*fold(&f.cursor)).filter(|_| !f.only_move)?;
        portal.fields.clone()
    }

    pub(super) async fn fetch(&mut self, f: &FetchCursor, delivery: &mut Delivery<'_>) -> SqlResult<()> {
        let name = fold(&f.cursor).into_owned();
        let backward = || {
            SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
                .with_hint("Declare it with SCROLL option to enable backward scan.")
        };
        let count = match f.count {
            FetchCount::Relative(n) if n > 0 => n as u64,
            FetchCount::All { backward: false } => u64::MAX,
            _ => return Err(backward()),
        };
        let mut portal = self.portals.remove(&name).ok_or_else(|| {
            SqlError::new(state::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
        })?;
        let collected = self.collect(&mut portal, count).await;
        self.portals.insert(name, portal);
        let (fields, batches) = collected?;
        // What has been fetched cannot be taken back: the transaction cannot begin again unnoticed.
        if let Some(active) = self.state.active_mut() {
            active.statements += 1;
        }
        let rows: usize = batches.iter().map(|b| b.rows).sum();
        if !f.only_move {
            let view = self.view();
            if delivery.describe {
                delivery.client.describe_rows(&fields, delivery.formats);
            }
            for batch in &batches {
                delivery.client.rows(batch, &fields, delivery.formats, &view.text())?;
                if delivery.client.pending() > FLUSH_AT {
                    let flushed = delivery.client.flush();
                    self.guarded(flushed).await?;
                }
            }
        }
        delivery.client.complete(&format!("{} {rows}", if f.only_move { "MOVE" } else { "FETCH" }));
        Ok(())
    }

    pub(super) fn close_cursor(
        &mut self,
        cursor: &ast::CloseCursor,
        client: &mut dyn Client,
    ) -> SqlResult<()> {
        match cursor {
            ast::CloseCursor::All => {
                self.portals.clear();
                client.complete("CLOSE CURSOR ALL");
            }
            ast::CloseCursor::Specific { name } => {
                let name = fold(name).into_owned();
                if self.portals.remove(&name).is_none() {
                    return Err(SqlError::new(
                        state::INVALID_CURSOR_NAME,
                        format!("cursor \"{name}\" does not exist"),
                    ));
                }
                client.complete("CLOSE CURSOR");
            }
        }
        Ok(())
    }
}
