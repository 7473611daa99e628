//! Ranges are split at keys that are there, in all tables and indexes that clients have made.

use rand::Rng;

use super::{Doing, Nemesis, Site};
use crate::client::{bounded, connect};

/// Splits at a time.
const SPLITS: usize = 4;
/// Indexes of the clients' tables, each with the first column of its key.
const INDEXES: &str = "SELECT t.relname::text, i.relname::text, a.attname::text, x.indisprimary FROM pg_index x \
    JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid \
    JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'public' \
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = split_part(x.indkey::text, ' ', 1)::int2";

pub struct Ranges;

impl Nemesis for Ranges {
    fn inject<'a>(&'a mut self, site: &'a mut Site) -> Doing<'a> {
        Box::pin(async {
            let nodes: Vec<_> = site.cluster.nodes.iter().map(|n| n.number).collect();
            let number = site.choose(&nodes);
            let url = site.node(number)?.url();
            let client = connect(&url).await.map_err(|e| format!("n{number}: {e:?}"))?;
            let indexes =
                bounded(client.query(INDEXES, &[])).await.map_err(|e| format!("the indexes: {e:?}"))?;
            let mut said = Vec::new();
            for _ in 0..SPLITS.min(indexes.len()) {
                let row = &indexes[site.chance.random_range(0..indexes.len())];
                let [table, index, column] = [0, 1, 2].map(|i| row.get::<_, String>(i));
                let some =
                    format!("SELECT quote_literal({column}::text) FROM {table} ORDER BY random() LIMIT 1");
                let Ok(found) = bounded(client.query_opt(&some, &[])).await else { continue };
                let Some(value) = found.and_then(|r| r.get::<_, Option<String>>(0)) else { continue };
                let (kind, name) = if row.get(3) { ("TABLE", &table) } else { ("INDEX", &index) };
                let split = format!("ALTER {kind} {name} SPLIT AT VALUES ({value})");
                match bounded(client.batch_execute(&split)).await {
                    Ok(()) => said.push(format!("{name} at {value}")),
                    Err(e) => said.push(format!("{name} not ({})", e.kind())),
                }
            }
            Ok(format!("through n{number}, split {}", said.join(", ")))
        })
    }

    fn heal<'a>(&'a mut self, _: &'a mut Site) -> Doing<'a> {
        Box::pin(async { Ok("ranges stay split".into()) })
    }
}
