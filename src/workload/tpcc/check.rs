//! Consistency conditions 1 to 4 (clause 3.3.2), as queries that count what breaks them.

use std::time::Duration;

use super::TpccArgs;
use crate::workload::driver::{connect_first, describe};

const CONDITIONS: [(&str, &str); 4] = [
    (
        "1: W_YTD = sum(D_YTD)",
        "SELECT count(*) FROM warehouse w
         WHERE w_ytd <> (SELECT sum(d_ytd) FROM district WHERE d_w_id = w.w_id)",
    ),
    (
        "2: D_NEXT_O_ID - 1 = max(O_ID) = max(NO_O_ID)",
        "SELECT count(*) FROM district d
         JOIN (SELECT o_w_id, o_d_id, max(o_id) AS top FROM oorder GROUP BY o_w_id, o_d_id) o
           ON o_w_id = d_w_id AND o_d_id = d_id
         LEFT JOIN (SELECT no_w_id, no_d_id, max(no_o_id) AS newest FROM new_order GROUP BY no_w_id, no_d_id) n
           ON no_w_id = d_w_id AND no_d_id = d_id
         WHERE d_next_o_id - 1 <> top OR (newest IS NOT NULL AND newest <> top)",
    ),
    (
        "3: max(NO_O_ID) - min(NO_O_ID) + 1 = count(NEW_ORDER)",
        "SELECT count(*) FROM (
             SELECT max(no_o_id) - min(no_o_id) + 1 AS span, count(*) AS rows
             FROM new_order GROUP BY no_w_id, no_d_id) s WHERE span <> rows",
    ),
    (
        "4: sum(O_OL_CNT) = count(ORDER_LINE)",
        "SELECT count(*) FROM
             (SELECT o_w_id, o_d_id, sum(o_ol_cnt) AS lines FROM oorder GROUP BY o_w_id, o_d_id) o
         JOIN (SELECT ol_w_id, ol_d_id, count(*) AS rows FROM order_line GROUP BY ol_w_id, ol_d_id) l
           ON o_w_id = ol_w_id AND o_d_id = ol_d_id
         WHERE lines <> rows",
    ),
];

/// Prints each condition's verdict; `ran`: also the throughput of new orders over that time.
pub async fn check(args: &TpccArgs, ran: Option<Duration>) -> Result<(), String> {
    let client = connect_first(&args.target).await?;
    let count = async |sql: &str| -> Result<i64, String> {
        client.query_one(sql, &[]).await.map(|row| row.get(0)).map_err(|e| describe(&e))
    };
    if let Some(time) = ran {
        let first = i64::from(args.customers) * i64::from(args.warehouses) * i64::from(super::DISTRICTS);
        let made = count("SELECT count(*) FROM oorder").await? - first;
        println!(
            "orders since the load: {made} (tpmC if all are of this run: {:.0})",
            made as f64 / time.as_secs_f64() * 60.0
        );
    }
    let mut broken = 0;
    for (name, sql) in CONDITIONS {
        let n = count(sql).await?;
        println!(
            "condition {name}: {}",
            if n == 0 { "holds".to_string() } else { format!("BROKEN in {n} places") }
        );
        broken += i64::from(n != 0);
    }
    if broken > 0 {
        return Err(format!("{broken} consistency conditions are broken"));
    }
    Ok(())
}
