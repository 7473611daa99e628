//! The five transactions of clause 2, in the mix of clause 5.2.3.

use meridian_storage::base::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::random::*;
use super::{DISTRICTS, TpccArgs};
use crate::workload::driver::Worker;

const STATEMENTS: [&str; 31] = [
    // New-Order
    "SELECT c_discount::float8, c_last, c_credit, w_tax::float8 FROM warehouse, customer
     WHERE w_id = $1 AND c_w_id = w_id AND c_d_id = $2 AND c_id = $3",
    "SELECT d_next_o_id, d_tax::float8 FROM district WHERE d_w_id = $1 AND d_id = $2 FOR UPDATE",
    "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_w_id = $1 AND d_id = $2",
    "INSERT INTO oorder (o_w_id, o_d_id, o_id, o_c_id, o_entry_d, o_ol_cnt, o_all_local)
     VALUES ($1, $2, $3, $4, now(), $5, $6)",
    "INSERT INTO new_order (no_w_id, no_d_id, no_o_id) VALUES ($1, $2, $3)",
    "SELECT i_price::float8, i_name, i_data FROM item WHERE i_id = $1",
    "SELECT s_quantity, s_data, s_dist_01, s_dist_02, s_dist_03, s_dist_04, s_dist_05, s_dist_06, s_dist_07,
            s_dist_08, s_dist_09, s_dist_10
     FROM stock WHERE s_w_id = $1 AND s_i_id = $2 FOR UPDATE",
    "UPDATE stock SET s_quantity = $3, s_ytd = s_ytd + $4, s_order_cnt = s_order_cnt + 1,
            s_remote_cnt = s_remote_cnt + $5 WHERE s_w_id = $1 AND s_i_id = $2",
    "INSERT INTO order_line (ol_w_id, ol_d_id, ol_o_id, ol_number, ol_i_id, ol_supply_w_id, ol_quantity, ol_amount,
            ol_dist_info)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8::float8::numeric(6,2), $9)",
    // Payment
    "UPDATE warehouse SET w_ytd = w_ytd + $2::float8::numeric(12,2) WHERE w_id = $1",
    "SELECT w_name, w_street_1, w_city, w_state, w_zip FROM warehouse WHERE w_id = $1",
    "UPDATE district SET d_ytd = d_ytd + $3::float8::numeric(12,2) WHERE d_w_id = $1 AND d_id = $2",
    "SELECT d_name, d_street_1, d_city, d_state, d_zip FROM district WHERE d_w_id = $1 AND d_id = $2",
    "SELECT count(c_id) FROM customer WHERE c_w_id = $1 AND c_d_id = $2 AND c_last = $3",
    "SELECT c_id FROM customer WHERE c_w_id = $1 AND c_d_id = $2 AND c_last = $3 ORDER BY c_first",
    "SELECT c_credit, c_balance::float8, c_data FROM customer WHERE c_w_id = $1 AND c_d_id = $2 AND c_id = $3 FOR UPDATE",
    "UPDATE customer SET c_balance = c_balance - $4::float8::numeric(12,2),
            c_ytd_payment = c_ytd_payment + $4::float8::numeric(12,2), c_payment_cnt = c_payment_cnt + 1
     WHERE c_w_id = $1 AND c_d_id = $2 AND c_id = $3",
    "UPDATE customer SET c_balance = c_balance - $4::float8::numeric(12,2),
            c_ytd_payment = c_ytd_payment + $4::float8::numeric(12,2), c_payment_cnt = c_payment_cnt + 1, c_data = $5
     WHERE c_w_id = $1 AND c_d_id = $2 AND c_id = $3",
    "INSERT INTO history (h_c_d_id, h_c_w_id, h_c_id, h_d_id, h_w_id, h_date, h_amount, h_data)
     VALUES ($1, $2, $3, $4, $5, now(), $6::float8::numeric(6,2), $7)",
    // Order-Status
    "SELECT c_balance::float8, c_first, c_middle, c_last FROM customer WHERE c_w_id = $1 AND c_d_id = $2 AND c_id = $3",
    "SELECT o_id, o_entry_d::text, o_carrier_id FROM oorder WHERE o_w_id = $1 AND o_d_id = $2 AND o_c_id = $3
     ORDER BY o_id DESC LIMIT 1",
    "SELECT ol_i_id, ol_supply_w_id, ol_quantity, ol_amount::float8, ol_delivery_d::text FROM order_line
     WHERE ol_w_id = $1 AND ol_d_id = $2 AND ol_o_id = $3",
    // Delivery
    "SELECT no_o_id FROM new_order WHERE no_w_id = $1 AND no_d_id = $2 ORDER BY no_o_id LIMIT 1 FOR UPDATE",
    "DELETE FROM new_order WHERE no_w_id = $1 AND no_d_id = $2 AND no_o_id = $3",
    "SELECT o_c_id FROM oorder WHERE o_w_id = $1 AND o_d_id = $2 AND o_id = $3",
    "UPDATE oorder SET o_carrier_id = $4 WHERE o_w_id = $1 AND o_d_id = $2 AND o_id = $3",
    "UPDATE order_line SET ol_delivery_d = now() WHERE ol_w_id = $1 AND ol_d_id = $2 AND ol_o_id = $3",
    "SELECT sum(ol_amount)::float8 FROM order_line WHERE ol_w_id = $1 AND ol_d_id = $2 AND ol_o_id = $3",
    "UPDATE customer SET c_balance = c_balance + $4::float8::numeric(12,2), c_delivery_cnt = c_delivery_cnt + 1
     WHERE c_w_id = $1 AND c_d_id = $2 AND c_id = $3",
    // Stock-Level
    "SELECT d_next_o_id FROM district WHERE d_w_id = $1 AND d_id = $2",
    "SELECT count(DISTINCT s_i_id) FROM order_line, stock
     WHERE ol_w_id = $1 AND ol_d_id = $2 AND ol_o_id < $3 AND ol_o_id >= $3 - 20
       AND s_w_id = $1 AND s_i_id = ol_i_id AND s_quantity < $4",
];

#[derive(Clone, Copy)]
enum Kind {
    NewOrder,
    Payment,
    OrderStatus,
    Delivery,
    StockLevel,
}

/// One terminal, at home in one warehouse.
pub struct Terminal {
    args: TpccArgs,
    home: i32,
    rng: StdRng,
    /// The same random choices for each attempt of a transaction.
    seed: u64,
    kind: Kind,
    statements: Vec<Statement>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The statements with their connection.
struct Run<'a> {
    client: &'a Client,
    statements: &'a [Statement],
}

impl Run<'_> {
    async fn one(&self, n: usize, params: Params<'_>) -> Result<Row, Error> {
        self.client.query_one(&self.statements[n], params).await
    }

    async fn rows(&self, n: usize, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.client.query(&self.statements[n], params).await
    }

    async fn run(&self, n: usize, params: Params<'_>) -> Result<u64, Error> {
        self.client.execute(&self.statements[n], params).await
    }
}

impl Terminal {
    pub fn new(args: &TpccArgs, i: usize) -> Self {
        Terminal {
            args: args.clone(),
            home: 1 + i as i32 % args.warehouses,
            rng: StdRng::seed_from_u64(rand::random()),
            seed: 0,
            kind: Kind::NewOrder,
            statements: Vec::new(),
        }
    }

    fn other_warehouse(&self, rng: &mut StdRng) -> i32 {
        match self.args.warehouses {
            1 => 1,
            n => 1 + (self.home + number(rng, 0, n - 2)) % n,
        }
    }

    async fn new_order(&self, t: &Run<'_>, rng: &mut StdRng) -> Result<&'static str, Error> {
        let (w, d, c) = (self.home, number(rng, 1, DISTRICTS), customer(rng, self.args.customers));
        let count = number(rng, 5, 15);
        // One order in a hundred names an item that does not exist, and is rolled back.
        let wrong = number(rng, 1, 100) == 1;
        let mut lines: Vec<(i32, i32, i32)> = (1..=count)
            .map(|_| {
                let supply = if number(rng, 1, 100) == 1 { self.other_warehouse(rng) } else { w };
                (item(rng, self.args.items), supply, number(rng, 1, 10))
            })
            .collect();
        if wrong {
            lines[count as usize - 1].0 = self.args.items + 1;
        }
        // In the same order everywhere, so that two orders do not wait for each other.
        lines.sort_by_key(|(i, s, _)| (*s, *i));
        let local = i32::from(lines.iter().all(|(_, s, _)| *s == w));
        t.one(0, &[&w, &d, &c]).await?;
        let o: i32 = t.one(1, &[&w, &d]).await?.get(0);
        t.run(2, &[&w, &d]).await?;
        t.run(3, &[&w, &d, &o, &c, &count, &local]).await?;
        t.run(4, &[&w, &d, &o]).await?;
        for (n, (i, supply, quantity)) in lines.iter().enumerate() {
            let Some(found) = t.rows(5, &[i]).await?.into_iter().next() else {
                t.client.batch_execute("ROLLBACK; BEGIN").await?;
                return Ok("new order, undone");
            };
            let price: f64 = found.get(0);
            let stock = t.one(6, &[supply, i]).await?;
            let old: i32 = stock.get(0);
            let left = if old - quantity >= 10 { old - quantity } else { old - quantity + 91 };
            let remote = i32::from(*supply != w);
            t.run(7, &[supply, i, &left, quantity, &remote]).await?;
            let (number, amount) = (n as i32 + 1, price * f64::from(*quantity));
            let info: String = stock.get(1 + d as usize);
            t.run(8, &[&w, &d, &o, &number, i, supply, quantity, &amount, &info]).await?;
        }
        Ok("new order")
    }

    /// The customer, six times in ten by last name.
    async fn customer(&self, t: &Run<'_>, rng: &mut StdRng, w: i32, d: i32) -> Result<i32, Error> {
        let by_name = number(rng, 1, 100) <= 60;
        let id = customer(rng, self.args.customers);
        let last = last_name(nurand(rng, 255, C_LAST_RUN, 0, 999.min(self.args.customers - 1)));
        if !by_name {
            return Ok(id);
        }
        let rows = t.rows(14, &[&w, &d, &last]).await?;
        // The one in the middle, rounded up.
        Ok(rows.get(rows.len().div_ceil(2).saturating_sub(1)).map_or(id, |r| r.get(0)))
    }

    async fn payment(&self, t: &Run<'_>, rng: &mut StdRng) -> Result<&'static str, Error> {
        let (w, d) = (self.home, number(rng, 1, DISTRICTS));
        let (cw, cd) = match number(rng, 1, 100) <= 85 {
            true => (w, d),
            false => (self.other_warehouse(rng), number(rng, 1, DISTRICTS)),
        };
        let amount = f64::from(number(rng, 100, 500_000)) / 100.0;
        t.run(9, &[&w, &amount]).await?;
        let w_name: String = t.one(10, &[&w]).await?.get(0);
        t.run(11, &[&w, &d, &amount]).await?;
        let d_name: String = t.one(12, &[&w, &d]).await?.get(0);
        let c = self.customer(t, rng, cw, cd).await?;
        let found = t.one(15, &[&cw, &cd, &c]).await?;
        if found.get::<_, String>(0) == "BC" {
            let mut data = format!("{c} {cd} {cw} {d} {w} {amount:.2}|{}", found.get::<_, String>(2));
            data.truncate(500);
            t.run(17, &[&cw, &cd, &c, &amount, &data]).await?;
        } else {
            t.run(16, &[&cw, &cd, &c, &amount]).await?;
        }
        let note = format!("{w_name}    {d_name}");
        t.run(18, &[&cd, &cw, &c, &d, &w, &amount, &note]).await?;
        Ok("payment")
    }

    async fn order_status(&self, t: &Run<'_>, rng: &mut StdRng) -> Result<&'static str, Error> {
        let (w, d) = (self.home, number(rng, 1, DISTRICTS));
        let c = self.customer(t, rng, w, d).await?;
        t.one(19, &[&w, &d, &c]).await?;
        if let Some(order) = t.rows(20, &[&w, &d, &c]).await?.first() {
            let o: i32 = order.get(0);
            t.rows(21, &[&w, &d, &o]).await?;
        }
        Ok("order status")
    }

    async fn delivery(&self, t: &Run<'_>, rng: &mut StdRng) -> Result<&'static str, Error> {
        let (w, carrier) = (self.home, number(rng, 1, 10));
        for d in 1..=DISTRICTS {
            let Some(open) = t.rows(22, &[&w, &d]).await?.into_iter().next() else { continue };
            let o: i32 = open.get(0);
            t.run(23, &[&w, &d, &o]).await?;
            let c: i32 = t.one(24, &[&w, &d, &o]).await?.get(0);
            t.run(25, &[&w, &d, &o, &carrier]).await?;
            t.run(26, &[&w, &d, &o]).await?;
            let total: f64 = t.one(27, &[&w, &d, &o]).await?.get(0);
            t.run(28, &[&w, &d, &c, &total]).await?;
        }
        Ok("delivery")
    }

    async fn stock_level(&self, t: &Run<'_>, rng: &mut StdRng) -> Result<&'static str, Error> {
        let (w, d, threshold) = (self.home, number(rng, 1, DISTRICTS), number(rng, 10, 20));
        let next: i32 = t.one(29, &[&w, &d]).await?.get(0);
        t.one(30, &[&w, &d, &next, &threshold]).await?;
        Ok("stock level")
    }
}

impl Worker for Terminal {
    fn connected<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.statements.clear();
            for sql in STATEMENTS {
                self.statements.push(client.prepare(sql).await?);
            }
            Ok(())
        })
    }

    fn choose(&mut self) {
        self.seed = rand::random();
        self.kind = match number(&mut self.rng, 1, 100) {
            1..=45 => Kind::NewOrder,
            46..=88 => Kind::Payment,
            89..=92 => Kind::OrderStatus,
            93..=96 => Kind::Delivery,
            _ => Kind::StockLevel,
        };
    }

    fn transaction<'a>(&'a mut self, client: &'a Client) -> BoxFuture<'a, Result<&'static str, Error>> {
        Box::pin(async move {
            let mut rng = StdRng::seed_from_u64(self.seed);
            let t = Run { client, statements: &self.statements };
            match self.kind {
                Kind::NewOrder => self.new_order(&t, &mut rng).await,
                Kind::Payment => self.payment(&t, &mut rng).await,
                Kind::OrderStatus => self.order_status(&t, &mut rng).await,
                Kind::Delivery => self.delivery(&t, &mut rng).await,
                Kind::StockLevel => self.stock_level(&t, &mut rng).await,
            }
        })
    }
}
