//! The population of clause 4.3.3, through COPY.

use bytes::Bytes;
use futures::SinkExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio_postgres::Client;

use super::random::*;
use super::{DISTRICTS, TpccArgs, schema};
use crate::workload::driver::{connect_first, describe};

/// Rows of one COPY; each is a transaction.
const ROWS: usize = 10_000;

pub async fn init(args: &TpccArgs) -> Result<(), String> {
    let client = connect_first(&args.target).await?;
    for table in schema::TABLES.iter().rev() {
        let sql = format!("DROP TABLE IF EXISTS {table}");
        client.batch_execute(&sql).await.map_err(|e| describe(&e))?;
    }
    client.batch_execute(schema::CREATE).await.map_err(|e| describe(&e))?;
    let mut load = Load { client: &client, rng: StdRng::seed_from_u64(42), args, rows: Vec::new() };
    load.items().await?;
    for w in 1..=args.warehouses {
        load.warehouse(w).await?;
        println!("warehouse {w} of {} loaded", args.warehouses);
    }
    client.batch_execute("ANALYZE").await.map_err(|e| describe(&e))
}

struct Load<'a> {
    client: &'a Client,
    rng: StdRng,
    args: &'a TpccArgs,
    rows: Vec<String>,
}

const NOW: &str = "2026-01-01 00:00:00+00";

impl Load<'_> {
    async fn copy(&mut self, table: &str) -> Result<(), String> {
        let rows = std::mem::take(&mut self.rows);
        for part in rows.chunks(ROWS) {
            let done = async {
                let sink = self.client.copy_in(&format!("COPY {table} FROM STDIN")).await?;
                let mut sink = std::pin::pin!(sink);
                sink.send(Bytes::from(part.concat())).await?;
                sink.finish().await
            };
            let n = done.await.map_err(|e| format!("{table}: {}", describe(&e)))?;
            if n != part.len() as u64 {
                return Err(format!("{table}: {n} of {} rows were loaded", part.len()));
            }
        }
        Ok(())
    }

    fn row(&mut self, values: &[&dyn std::fmt::Display]) {
        let text: Vec<String> = values.iter().map(|v| v.to_string()).collect();
        self.rows.push(text.join("\t") + "\n");
    }

    fn address(&mut self) -> [String; 5] {
        let r = &mut self.rng;
        [letters(r, 10, 20), letters(r, 10, 20), letters(r, 10, 20), letters(r, 2, 2), digits(r, 4) + "11111"]
    }

    async fn items(&mut self) -> Result<(), String> {
        for i in 1..=self.args.items {
            let (image, name) = (number(&mut self.rng, 1, 10_000), letters(&mut self.rng, 14, 24));
            let (price, data) = (money(number(&mut self.rng, 100, 10_000).into()), data(&mut self.rng));
            self.row(&[&i, &image, &name, &price, &data]);
        }
        self.copy("item").await
    }

    async fn warehouse(&mut self, w: i32) -> Result<(), String> {
        let name = letters(&mut self.rng, 6, 10);
        let [s1, s2, city, state, zip] = self.address();
        let tax = format!("0.{:04}", number(&mut self.rng, 0, 2000));
        // The year to date is the sum over the districts, which is the sum of the payments made.
        let ytd = money(i64::from(DISTRICTS) * 1000 * i64::from(self.args.customers));
        self.row(&[&w, &name, &s1, &s2, &city, &state, &zip, &tax, &ytd]);
        self.copy("warehouse").await?;
        self.stock(w).await?;
        for d in 1..=DISTRICTS {
            self.district(w, d).await?;
        }
        Ok(())
    }

    async fn stock(&mut self, w: i32) -> Result<(), String> {
        for i in 1..=self.args.items {
            let quantity = number(&mut self.rng, 10, 100);
            let dist: Vec<String> = (0..10).map(|_| letters(&mut self.rng, 24, 24)).collect();
            let (dist, data) = (dist.join("\t"), data(&mut self.rng));
            self.row(&[&w, &i, &quantity, &dist, &0, &0, &0, &data]);
        }
        self.copy("stock").await
    }

    async fn district(&mut self, w: i32, d: i32) -> Result<(), String> {
        let customers = self.args.customers;
        let name = letters(&mut self.rng, 6, 10);
        let [s1, s2, city, state, zip] = self.address();
        let tax = format!("0.{:04}", number(&mut self.rng, 0, 2000));
        let ytd = money(1000 * i64::from(customers));
        self.row(&[&w, &d, &name, &s1, &s2, &city, &state, &zip, &tax, &ytd, &(customers + 1)]);
        self.copy("district").await?;
        self.customers(w, d).await?;
        self.orders(w, d).await
    }

    async fn customers(&mut self, w: i32, d: i32) -> Result<(), String> {
        let mut history = Vec::new();
        for c in 1..=self.args.customers {
            let last = if c <= 1000 { c - 1 } else { nurand(&mut self.rng, 255, C_LAST_LOAD, 0, 999) };
            let (last, first) = (last_name(last), letters(&mut self.rng, 8, 16));
            let [s1, s2, city, state, zip] = self.address();
            let phone = digits(&mut self.rng, 16);
            let credit = if number(&mut self.rng, 1, 10) == 1 { "BC" } else { "GC" };
            let discount = format!("0.{:04}", number(&mut self.rng, 0, 5000));
            let data = letters(&mut self.rng, 300, 500);
            self.row(&[
                &w,
                &d,
                &c,
                &first,
                &"OE",
                &last,
                &s1,
                &s2,
                &city,
                &state,
                &zip,
                &phone,
                &NOW,
                &credit,
                &"50000.00",
                &discount,
                &"-10.00",
                &"10.00",
                &1,
                &0,
                &data,
            ]);
            let note = letters(&mut self.rng, 12, 24);
            history.push(format!("{c}\t{d}\t{w}\t{d}\t{w}\t{NOW}\t10.00\t{note}\n"));
        }
        self.copy("customer").await?;
        self.rows = history;
        self.copy("history").await
    }

    async fn orders(&mut self, w: i32, d: i32) -> Result<(), String> {
        let customers = self.args.customers;
        let mut order: Vec<i32> = (1..=customers).collect();
        order.shuffle(&mut self.rng);
        // The last 900 of 3000 orders are not delivered yet.
        let delivered = customers - customers * 3 / 10;
        let (mut lines, mut open) = (Vec::new(), Vec::new());
        for (i, c) in order.into_iter().enumerate() {
            let o = i as i32 + 1;
            let count = number(&mut self.rng, 5, 15);
            let carrier =
                if o <= delivered { number(&mut self.rng, 1, 10).to_string() } else { "\\N".to_string() };
            self.row(&[&w, &d, &o, &c, &NOW, &carrier, &count, &1]);
            if o > delivered {
                open.push(format!("{w}\t{d}\t{o}\n"));
            }
            for n in 1..=count {
                let item = number(&mut self.rng, 1, self.args.items);
                let (at, amount) = match o <= delivered {
                    true => (NOW, "0.00".to_string()),
                    false => ("\\N", money(number(&mut self.rng, 1, 999_999).into())),
                };
                let info = letters(&mut self.rng, 24, 24);
                lines.push(format!("{w}\t{d}\t{o}\t{n}\t{item}\t{w}\t{at}\t5\t{amount}\t{info}\n"));
            }
        }
        self.copy("oorder").await?;
        self.rows = open;
        self.copy("new_order").await?;
        self.rows = lines;
        self.copy("order_line").await
    }
}
