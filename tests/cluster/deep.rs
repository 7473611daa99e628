//! No statement ends the node: what nests deeply, or repeats itself without end, is answered or refused, soon.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::node::{Node, Ports};

/// How long one statement may take, in a build without optimizations on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn nested(open: &str, inner: &str, close: &str, n: usize) -> String {
    format!("{}{inner}{}", open.repeat(n), close.repeat(n))
}

/// `first`, then one `next` for each number from 1 on.
fn chained(first: &str, n: usize, next: impl Fn(usize) -> String) -> String {
    (1..n).fold(first.to_string(), |text, i| text + &next(i))
}

fn relations(n: usize) -> Vec<String> {
    let count = |from: String| format!("SELECT count(*) FROM {from}");
    let mut all = vec![
        count(chained("one t0", n, |i| format!(" JOIN one t{i} ON t{i}.a = t{}.a", i - 1))),
        count(chained("one t0", n, |i| format!(" LEFT JOIN one t{i} ON t{i}.a = t{}.a", i - 1))),
        count(chained("one t0", n, |i| format!(" NATURAL JOIN one t{i}"))),
        count(chained("one t0", n, |i| format!(", one t{i}"))),
        count(chained("one t0", n, |i| format!(", LATERAL (SELECT t{}.a) t{i}", i - 1))),
    ];
    for word in ["", "MATERIALIZED"] {
        let first = format!("WITH c0 AS {word} (SELECT 1 AS x)");
        let chain = chained(&first, n, |i| format!(", c{i} AS {word} (SELECT x + 1 AS x FROM c{})", i - 1));
        all.push(format!("{chain} SELECT * FROM c{}", n - 1));
    }
    for operation in ["UNION ALL", "UNION", "INTERSECT", "EXCEPT"] {
        all.push(format!("SELECT a FROM one{}", format!(" {operation} SELECT a FROM one").repeat(n)));
    }
    all
}

/// Put in place of each other's columns, the expressions of these queries are one.
fn substituted(queries: usize, operators: usize) -> String {
    let plus = "+1".repeat(operators);
    let first = "WITH c0 AS (SELECT a AS x FROM one)";
    let chain = chained(first, queries, |i| format!(",c{i} AS (SELECT x{plus} AS x FROM c{})", i - 1));
    format!("{chain} SELECT * FROM c{} WHERE x = 5", queries - 1)
}

fn expressions(n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("(SELECT ", "1", ")"),
        ("abs(", "1", ")"),
        ("NOT ", "true", ""),
        ("- ", "1", ""),
        ("CASE WHEN true THEN ", "1", " END"),
        ("CASE WHEN a = 2 THEN 1 ELSE ", "1", " END"),
        ("coalesce(a, ", "1", ")"),
        ("ARRAY[", "1", "]"),
        ("row(", "1", ")"),
        ("EXISTS (SELECT 1 FROM one WHERE ", "true", ")"),
        ("1 IN (SELECT 1 FROM one WHERE ", "true", ")"),
        ("a = 1 AND (a = 2 OR ", "true", ")"),
        ("a", "", "[1]"),
        ("a", " + a", ""),
        ("nullif(", "a", ", 1)"),
        ("(", "true", " BETWEEN false AND true)"),
        ("CASE ", "a", " WHEN 1 THEN 1 WHEN 2 THEN 2 END"),
        ("a NOT IN (SELECT a FROM one WHERE ", "true", ")"),
        ("(SELECT x + x AS x FROM (", "SELECT a AS x FROM one", ") s WHERE x = 1)"),
    ] {
        all.push(format!("SELECT {} FROM one", nested(open, inner, close, n)));
    }
    for (first, next) in [
        ("1", " + 1"),
        ("a", " + a"),
        ("a = 1", " OR a = 2"),
        ("a = 1", " AND a <> 2"),
        ("1", "::int"),
        ("a", "::text::int"),
        ("'a'", " || 'b'"),
        ("'a'", " COLLATE \"C\""),
        ("1", " IS NULL"),
        ("now()", " AT TIME ZONE 'utc'"),
        ("(ARRAY[1])", "[1]"),
        ("a IN (SELECT a FROM one)", " OR a IN (SELECT a FROM one)"),
        ("sum(a) OVER ()", " + sum(a) OVER ()"),
    ] {
        let chain = format!("{first}{}", next.repeat(n));
        all.push(format!("SELECT {chain} FROM one"));
        all.push(format!("PREPARE p AS SELECT {chain} FROM one"));
        all.push(format!("EXPLAIN VERBOSE SELECT {chain} FROM one"));
        all.push(format!("CREATE VIEW v{n} AS SELECT {chain} AS x FROM one"));
    }
    for condition in
        ["a = 1".to_string() + &" OR a = 2".repeat(n), "a".to_string() + &" + 0".repeat(n) + " > 0"]
    {
        all.push(format!("CREATE TABLE c{n} (a int CHECK ({condition}))"));
        all.push(format!("INSERT INTO c{n} VALUES (1)"));
        all.push(format!("DROP TABLE IF EXISTS c{n}"));
        all.push(format!("DELETE FROM one WHERE a = 7 AND ({condition})"));
    }
    all
}

/// Long lists are no nesting: they are answered.
fn lists(n: usize) -> Vec<String> {
    let list = chained("0", n, |i| format!(", {i}"));
    let rows = chained("(0)", n, |i| format!(", ({i})"));
    vec![
        format!("SELECT 1 FROM one WHERE a IN ({list})"),
        format!("SELECT ARRAY[{list}]"),
        format!("VALUES {rows}"),
        format!("INSERT INTO list VALUES {rows}"),
    ]
}

/// Nor are branches, and subqueries beside each other.
fn branches(n: usize) -> Vec<String> {
    let arms = chained("SELECT 0", n, |i| format!(" UNION ALL SELECT {i}"));
    let tables = chained("SELECT a FROM one", n, |_| " UNION ALL SELECT a FROM one".to_string());
    let distinct = chained("SELECT a FROM one", n, |_| " UNION SELECT a FROM one".to_string());
    let one = "((SELECT a FROM one WHERE a = 1))";
    vec![
        beside("", 60, 400),
        beside("MATERIALIZED", 300, 200),
        format!("INSERT INTO list {arms}"),
        format!("EXPLAIN {tables}"),
        format!("SELECT count(*) FROM ({tables}) s WHERE a = 1"),
        distinct,
        format!("INSERT INTO list VALUES {}", chained(one, n, |_| format!(", {one}"))),
    ]
}

/// Queries with long expressions that do not read each other.
fn beside(word: &str, queries: usize, operators: usize) -> String {
    let query = |i: usize| format!("c{i} AS {word} (SELECT a{} AS x FROM one)", " + a".repeat(operators));
    let all = chained(&format!("WITH {}", query(0)), queries, |i| format!(", {}", query(i)));
    format!("{all} {}", chained("SELECT x FROM c0", queries, |i| format!(" UNION ALL SELECT x FROM c{i}")))
}

/// Runs a statement by both protocols; yields the error's code, if there is one.
async fn codes(client: &Client, sql: &str) -> [Option<String>; 2] {
    let simple = client.batch_execute(sql).await.err();
    let extended = client.execute(sql, &[]).await.err();
    [simple, extended].map(|e| {
        e.map(|e| {
            let code = e.code().unwrap_or_else(|| panic!("{e} of: {}", shown(sql)));
            code.code().to_string()
        })
    })
}

fn shown(sql: &str) -> &str {
    &sql[..sql.len().min(60)]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_ends_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    let tables =
        "CREATE TABLE one (a int PRIMARY KEY); INSERT INTO one VALUES (1); CREATE TABLE list (a int)";
    client.batch_execute(tables).await.expect("creates");
    let mut all = vec![format!("{}SELECT 1", "EXPLAIN ".repeat(30_000))];
    for n in [450, 5_000] {
        all.extend(relations(n));
    }
    all.push(substituted(998, 490));
    for n in [150, 30_000] {
        all.extend(expressions(n));
    }
    for sql in &all {
        let begun = Instant::now();
        let codes = codes(&client, sql).await;
        assert!(begun.elapsed() < LIMIT, "{:?} for {}", begun.elapsed(), shown(sql));
        // Whatever else it may be refused for, it is not that something broke.
        assert!(codes.iter().flatten().all(|c| !c.starts_with("XX")), "{codes:?} of {}", shown(sql));
        assert!(node.runs(), "{} ended the node", shown(sql));
    }
    for sql in lists(20_000).into_iter().chain(branches(5_000)) {
        assert_eq!(codes(&client, &sql).await, [None, None], "{}", shown(&sql));
    }
    client.batch_execute("SELECT 1").await.expect("the node still serves");
}

/// Views that read the one before twice, or compute twice what it computes.
#[tokio::test(flavor = "multi_thread")]
async fn views_that_double() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    for (name, query) in [
        ("joined", "SELECT l.a FROM # l JOIN # r ON l.a = r.a"),
        ("united", "SELECT a FROM # UNION ALL SELECT a FROM #"),
        ("nested", "SELECT a FROM # WHERE a IN (SELECT a FROM #)"),
        ("computed", "SELECT a + a AS a FROM #"),
    ] {
        client
            .batch_execute(&format!("CREATE VIEW {name}0 AS SELECT 1::numeric AS a"))
            .await
            .expect("creates");
        for n in 1..40 {
            let begun = Instant::now();
            let query = query.replace('#', &format!("{name}{}", n - 1));
            let created = client.batch_execute(&format!("CREATE VIEW {name}{n} AS {query}")).await;
            let read = match &created {
                Ok(()) => client.batch_execute(&format!("SELECT * FROM {name}{n} WHERE a = 3")).await,
                Err(_) => Ok(()),
            };
            assert!(begun.elapsed() < LIMIT, "{:?} for {name}{n}", begun.elapsed());
            assert!(node.runs(), "{name}{n} ended the node");
            if let Err(e) = created.and(read) {
                assert_eq!(e.code().expect("an error of the node").code(), "54001");
                assert!(n > 6 && name != "computed", "{name}{n} is refused");
                break;
            }
            assert!(n < 39 || name == "computed", "{name} never becomes too large");
        }
    }
}

/// Views of views: each is short, all together are not.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_views() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    client.batch_execute("CREATE VIEW v0 AS SELECT 1 AS a").await.expect("creates");
    let mut depth = 0;
    let refused = loop {
        let create = format!("CREATE VIEW v{} AS SELECT a FROM v{depth}", depth + 1);
        match client.batch_execute(&create).await {
            Ok(()) => depth += 1,
            Err(e) => break e,
        }
        assert!(depth < 1_000, "the views never become too deep");
    };
    assert_eq!(refused.code().expect("an error of the node").code(), "54001");
    assert!(depth >= 100, "{depth} views are not many");
    client.batch_execute(&format!("SELECT * FROM v{}", depth - 1)).await.expect("selects");
    assert!(node.runs());
}
