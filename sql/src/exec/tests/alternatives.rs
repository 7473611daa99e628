//! Conditions that are ORs, against the same rows in a table that has no index to answer them with.
//!
//! Arms are drawn at random: points, ranges (overlapping, inverted, empty, beyond the column's type, with NULL for a bound),
//! lists, NULLs, prefixes of two columns; over ascending, descending and composite indexes; bounds as constants and
//! as parameters. Whatever plan is chosen, rows, order and what is written have to be the same.

use meridian_txn::Isolation;
use meridian_txn::testing::run;

use super::world::World;
use crate::types::Datum;

const COLUMNS: &str = "id int, a int, b bigint, c smallint, s text, f float8";
const ROWS: u64 = 150;
const ROUNDS: usize = 108;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A condition under construction, with the values of its parameters.
struct Condition<'r> {
    random: &'r mut Random,
    params: Vec<Datum>,
}

impl Condition<'_> {
    fn parameter(&mut self, value: Datum, ty: &str) -> String {
        self.params.push(value);
        format!("${}::{ty}", self.params.len())
    }

    /// Something to compare the column with.
    fn value(&mut self, column: &str) -> String {
        let n = self.random.below(20) as i64;
        let null = self.random.chance(4);
        let parameter = self.random.chance(50);
        match column {
            "s" if parameter => {
                let text = if null { Datum::Null } else { Datum::Text(format!("s{n}").into()) };
                self.parameter(text, "text")
            }
            "s" if null => "null::text".into(),
            "s" => format!("'s{n}'"),
            "f" if parameter => {
                let value = [n as f64, f64::NAN, f64::INFINITY, -0.0][self.random.below(16).min(3) as usize];
                let value = if self.random.chance(70) { n as f64 } else { value };
                self.parameter(if null { Datum::Null } else { Datum::Float8(value) }, "float8")
            }
            "f" if null => "null::float8".into(),
            "f" => self.random.of(&["'NaN'::float8", "'-0'::float8", "'3'::float8", "'11'::float8"]).into(),
            _ if null => self.parameter(Datum::Null, "int"),
            // Wider than the column, and perhaps beyond it.
            _ if self.random.chance(8) => {
                let far = [i64::MIN, -3_000_000_000, 40_000, 3_000_000_000, i64::MAX];
                let far = far[self.random.below(5) as usize];
                self.parameter(Datum::Int8(far), "bigint")
            }
            _ if parameter && self.random.chance(20) => self.parameter(Datum::Int8(n), "bigint"),
            _ if parameter => self.parameter(Datum::Int4(n as i32), "int"),
            _ => n.to_string(),
        }
    }

    fn comparison(&mut self, column: &str) -> String {
        match self.random.below(10) {
            0 => format!("{column} is null"),
            1 => format!("{column} = {}", self.value(column)),
            2 => format!("{column} in ({}, {})", self.value(column), self.value(column)),
            3 => format!("{} > {column}", self.value(column)),
            4 => format!("{column} {} {}", self.random.of(&["<", "<=", ">", ">="]), self.value(column)),
            5 => format!("{column} > {} and {column} < {}", self.value(column), self.value(column)),
            _ => format!("{column} between {} and {}", self.value(column), self.value(column)),
        }
    }

    fn arm(&mut self, columns: &[&str]) -> String {
        let first = columns[0];
        let more = if self.random.chance(15) { " and id % 3 > 0" } else { "" };
        let said = match columns.get(1) {
            Some(second) if self.random.chance(80) => {
                let pinned = if self.random.chance(80) {
                    format!("{first} = {}", self.value(first))
                } else {
                    format!("{first} is null")
                };
                format!("{pinned} and {}", self.comparison(second))
            }
            _ => self.comparison(first),
        };
        said + more
    }

    fn draw(&mut self, columns: &[&str]) -> String {
        if columns.len() > 1 && self.random.chance(25) {
            let pinned = format!("{} = {}", columns[0], self.value(columns[0]));
            return format!("{pinned} and {}", self.draw(&columns[1..]));
        }
        let arms = 2 + self.random.below(5);
        let arms: Vec<String> = (0..arms).map(|_| format!("({})", self.arm(columns))).collect();
        let any = format!("({})", arms.join(" or "));
        match self.random.below(10) {
            0 => format!("{any} and {}", self.comparison(columns[0])),
            1 => format!("{any} and id % 3 <> 0"),
            _ => any,
        }
    }
}

async fn fill(world: &mut World, random: &mut Random) {
    for sql in [
        format!("create table plain ({COLUMNS})"),
        format!("create table indexed ({COLUMNS}, primary key (id))"),
        "create index by_a on indexed (a)".into(),
        "create index by_b on indexed (b desc)".into(),
        "create index by_c on indexed (c desc nulls last) include (a)".into(),
        "create index by_s on indexed (s)".into(),
        "create index by_f on indexed (f)".into(),
        "create index by_ab on indexed (a, b desc)".into(),
        "create index by_sc on indexed (s desc, c)".into(),
        "create unique index by_fid on indexed (f, id)".into(),
    ] {
        assert_eq!(world.run(&sql).await, "ok", "{sql}");
    }
    for id in 0..ROWS {
        let mut value = |text: fn(u64) -> String| {
            let n = random.below(20);
            if random.chance(10) { "null".into() } else { text(n) }
        };
        let values = [
            value(|n| n.to_string()),
            value(|n| n.to_string()),
            value(|n| n.to_string()),
            value(|n| format!("'s{n}'")),
            value(|n| if n == 19 { "'NaN'".into() } else { n.to_string() }),
        ];
        for table in ["plain", "indexed"] {
            let sql = format!("insert into {table} values ({id}, {})", values.join(", "));
            assert_eq!(world.run(&sql).await, "INSERT 1", "{sql}");
        }
    }
}

/// The answer of both tables, which is the same.
async fn same(world: &World, sql: &str, params: &[Datum]) {
    let txn = world.begin(Isolation::Serializable);
    let expected = world.run_with(&txn, &sql.replace("TABLE", "plain"), params).await;
    let actual = world.run_with(&txn, &sql.replace("TABLE", "indexed"), params).await;
    assert!(!expected.starts_with("ERROR"), "{sql} {params:?}: {expected}");
    assert_eq!(actual, expected, "{sql} {params:?}");
}

/// What a statement that writes does to both tables, none of which lasts.
async fn same_writes(world: &World, sql: &str, params: &[Datum]) {
    let txn = world.begin(Isolation::ReadCommitted);
    let mut seen = Vec::new();
    for table in ["plain", "indexed"] {
        let done = world.run_with(&txn, &sql.replace("TABLE", table), params).await;
        assert!(!done.starts_with("ERROR"), "{sql} {params:?}: {done}");
        let left = format!("select id, a, b, c, s, f from {table} order by id");
        seen.push((done, world.run_in(&txn, &left).await));
        // Through the indexes, too, and over what the transaction itself has just written.
        let again = format!("select count(*), sum(id) from {table} where a between 3 and 5 or a in (7, 9)");
        seen.push((world.run_in(&txn, &again).await, String::new()));
    }
    assert_eq!(seen[..2], seen[2..], "{sql} {params:?}");
    txn.rollback().await;
}

#[test]
fn alternatives_give_what_a_full_scan_gives() {
    run(async |db| {
        let mut random = Random(20);
        let mut world = World::new(db);
        fill(&mut world, &mut random).await;
        let mut unions = 0;
        for round in 0..ROUNDS {
            let columns: &[&str] =
                [&["a"][..], &["b"], &["c"], &["s"], &["f"], &["id"], &["a", "b"], &["s", "c"], &["f", "id"]]
                    [round % 9];
            let mut condition = Condition { random: &mut random, params: Vec::new() };
            let text = condition.draw(columns);
            let params = condition.params;
            let sorted = &columns[random.below(columns.len() as u64) as usize..];
            let keys = sorted.join(", ");
            let direction = random.of(&["", "desc", "nulls first", "desc nulls last"]);
            let order: Vec<String> = sorted.iter().map(|c| format!("{c} {direction}")).collect();
            let order = order.join(", ");
            let ordered = format!("select {keys} from TABLE where {text} order by {order}");
            let limit = 1 + random.below(9);
            for sql in [
                format!("select count(*), sum(id) from TABLE where {text}"),
                format!("select * from (select * from TABLE where {text}) x order by id"),
                format!("{ordered} limit {limit}"),
                ordered,
                format!("select id from TABLE where {text} order by id for update"),
            ] {
                same(&world, &sql, &params).await;
            }
            for sql in [
                format!("update TABLE set {0} = {0} where {text}", columns[0]),
                format!("update TABLE set a = a + 3, b = b - 2, c = c + 1 where {text}"),
                format!("delete from TABLE where {text}"),
            ] {
                same_writes(&world, &sql, &params).await;
            }
            let txn = world.begin(Isolation::Serializable);
            let plan = format!("explain select {keys} from indexed where {text}");
            let plan = world.run_with(&txn, &plan, &params).await;
            unions += usize::from(plan.contains("Index Cond") && plan.contains(" OR "));
        }
        assert!(unions > ROUNDS / 2, "only {unions} plans were unions");
    });
}
