//! Results that are there as a whole before the client has asked for all of them.
//!
//! SHOW, EXPLAIN and FETCH answer at once, whatever the number of rows that Execute wants: their rows are kept with the
//! portal, and handed over piece by piece, as PostgreSQL does it. A cursor over such a statement reads from there too.
//!
//! What must stay true: the statement has run to its end when its first row is handed over; what it says besides rows
//! (notices, settings) reaches the client at once. Nothing of a run that is repeated is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::BoxFuture;

use super::Session;
use super::client::{Client, FLUSH_AT, Format, Severity};
use super::prepared::{Prepared, Running, Stored};
use super::statement::{Delivery, split};
use crate::error::{SqlError, SqlResult};
use crate::plan::Field;
use crate::types::text::TextContext;
use crate::types::{Batch, Datum};

impl Session {
    /// Runs a statement to its end and keeps its rows. It is not committed: they are to be handed over first.
    pub(super) fn run_whole<'a>(
        &'a mut self,
        prepared: &'a Arc<Prepared>,
        params: &'a Arc<[Datum]>,
        client: &'a mut dyn Client,
    ) -> BoxFuture<'a, SqlResult<Stored>> {
        Box::pin(async move {
            let mut store = Store { client, rows: VecDeque::new(), tag: String::new() };
            let delivery = Delivery {
                client: &mut store,
                formats: &[],
                describe: false,
                max_rows: 0,
                autocommit: false,
            };
            self.run(prepared, params, delivery).await?;
            Ok(Stored { rows: store.rows, tag: store.tag })
        })
    }

    /// Hands over kept rows, to their end or the row limit.
    pub(super) async fn deliver(
        &mut self,
        mut stored: Stored,
        fields: &[Field],
        delivery: Delivery<'_>,
    ) -> SqlResult<Running> {
        let view = self.view();
        let limit = if delivery.max_rows == 0 { usize::MAX } else { delivery.max_rows };
        let mut sent = 0;
        while sent < limit
            && let Some(batch) = stored.rows.pop_front()
        {
            let (now, later) = split(batch, limit - sent);
            sent += now.rows;
            if let Some(later) = later {
                stored.rows.push_front(later);
            }
            delivery.client.rows(&now, fields, delivery.formats, &view.text())?;
            if delivery.client.pending() > FLUSH_AT {
                let flushed = delivery.client.flush();
                self.guarded(flushed).await?;
            }
        }
        if sent == limit {
            delivery.client.portal_suspended();
            return Ok(Running::Stored(stored));
        }
        delivery.client.complete(&stored.tag_of(sent as u64));
        Ok(Running::Finished)
    }
}

/// Keeps the rows, passes on all else.
struct Store<'a> {
    client: &'a mut dyn Client,
    rows: VecDeque<Batch>,
    tag: String,
}

impl Client for Store<'_> {
    fn describe_rows(&mut self, _: &[Field], _: &[Format]) {}
    fn rows(&mut self, batch: &Batch, _: &[Field], _: &[Format], _: &TextContext<'_>) -> SqlResult<()> {
        self.rows.push_back(batch.clone());
        Ok(())
    }
    fn complete(&mut self, tag: &str) {
        self.tag = tag.into();
    }
    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {}
    fn notice(&mut self, severity: Severity, notice: &SqlError) {
        self.client.notice(severity, notice);
    }
    fn parameter_status(&mut self, name: &str, value: &str) {
        self.client.parameter_status(name, value);
    }
    fn pending(&self) -> usize {
        self.client.pending()
    }
    fn mark(&self) -> (u64, usize) {
        self.client.mark()
    }
    /// Marks are set before the statement's first row.
    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        self.rows.clear();
        self.client.rewind(mark)
    }
    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        self.client.flush()
    }
    fn copy_in_begin(&mut self, format: Format, columns: usize) {
        self.client.copy_in_begin(format, columns);
    }
    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        self.client.copy_in_next()
    }
    fn copy_out_begin(&mut self, format: Format, columns: usize) {
        self.client.copy_out_begin(format, columns);
    }
    fn copy_out_data(&mut self, data: &[u8]) {
        self.client.copy_out_data(data);
    }
    fn copy_out_end(&mut self) {
        self.client.copy_out_end();
    }
}
