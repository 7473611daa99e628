//! The simple query protocol: one string, any number of statements.

use std::sync::Arc;

use meridian_storage::base::runtime::yield_now;

use super::client::Client;
use super::prepared::Prepared;
use super::statement::Delivery;
use super::transaction::State;
use super::{Session, classify};
use crate::error::SqlResult;
use crate::parse;

/// After so many statements of a string, others have their turn: none of them may have waited for anything.
const YIELD_EVERY: usize = 16;

impl Session {
    /// Runs all statements of `text` in order, in one implicit transaction unless they make their own. An error ends the
    /// string; it is for the caller to report and to follow with [`Session::fail`].
    pub async fn simple_query(&mut self, text: &str, client: &mut dyn Client) -> SqlResult<()> {
        self.cancel.clear();
        // The unnamed statement and portal do not survive a simple query.
        self.prepared.remove("");
        self.portals.remove("");
        let statements = parse::parse(text)?;
        if statements.is_empty() {
            client.empty_query();
            return Ok(());
        }
        let alone = statements.len() == 1;
        let params = self.no_params.clone();
        for (n, parsed) in statements.into_iter().enumerate() {
            if n > 0 && n.is_multiple_of(YIELD_EVERY) {
                let others = async {
                    yield_now().await;
                    Ok(())
                };
                self.guarded(others).await?;
            }
            let text = parsed.text().to_string();
            if !alone && !matches!(self.state, State::Block(_)) {
                classify::refuse_among_others(&parsed.statement, "cannot run inside a transaction block")?;
            }
            let prepared = Arc::new(Prepared::new(&text, Some(parsed), None));
            let delivery = Delivery { client, formats: &[], describe: true, max_rows: 0, autocommit: alone };
            self.run(&prepared, &params, delivery).await?;
        }
        self.commit_implicit(client).await
    }
}
