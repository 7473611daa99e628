//! What makes a plan deeper or larger than the statement: answered or refused, without using up the stack or the memory.

use meridian_txn::testing::run;

use super::two_rows;

/// What comes of a statement over `t (id, v)` with the rows (1, 10) and (2, 20).
fn outcome(sql: &str) -> String {
    let mut text = String::new();
    run(async |db| text = two_rows(db).await.run(sql).await.trim().to_string());
    text
}

fn wrapped(inner: &str, n: usize, around: impl Fn(&str) -> String) -> String {
    (0..n).fold(inner.to_string(), |sql, _| around(&sql))
}

#[test]
fn expressions_of_a_chain_of_ctes_are_one() {
    let plus = " + 1".repeat(120);
    let chain = |n: usize| {
        let next = (1..n).map(|i| format!(", c{i} AS (SELECT x{plus} AS x FROM c{})", i - 1));
        let all: String = next.collect();
        format!("WITH c0 AS (SELECT v AS x FROM t){all} SELECT * FROM c{} WHERE x = 130", n - 1)
    };
    assert_eq!(outcome(&chain(2)), "130");
    let refused = outcome(&chain(100));
    assert!(refused.contains("54001"), "{refused}");
}

#[test]
fn conditions_do_not_double_with_each_projection() {
    let doubled = wrapped("SELECT v AS x FROM t", 40, |q| format!("SELECT x + x AS x FROM ({q}) s"));
    let wide = doubled.replacen("SELECT v AS x", "SELECT v::numeric AS x", 1);
    assert_eq!(outcome(&format!("SELECT * FROM ({wide}) s WHERE x = 10995116277760")), "10995116277760");
    let grouped = wrapped("SELECT v::numeric AS x FROM t", 30, |q| {
        format!("SELECT x + x AS x FROM ({q}) s GROUP BY x + x")
    });
    assert_eq!(outcome(&format!("SELECT * FROM ({grouped}) s WHERE x = 10737418240")), "10737418240");
}

/// A condition goes through a projection as ever, if that does not make it large.
#[test]
fn small_conditions_go_down() {
    let plan = outcome("EXPLAIN SELECT * FROM (SELECT v AS x, v + v AS y FROM t) s WHERE x = 10 AND y = 20");
    assert!(plan.contains("Index"), "{plan}");
}

#[test]
fn nested_not_in_does_not_triple() {
    let nested =
        wrapped("SELECT v FROM t WHERE v < 0", 25, |q| format!("SELECT v FROM t WHERE v NOT IN ({q})"));
    assert_eq!(outcome(&format!("SELECT count(*) FROM ({nested}) s")), "2");
}

#[test]
fn recursive_queries_in_recursive_queries_are_read_once() {
    let nested = wrapped("SELECT 1 AS x", 30, |q| {
        format!(
            "WITH RECURSIVE r AS (SELECT x FROM ({q}) s UNION SELECT x FROM r WHERE false) SELECT x FROM r"
        )
    });
    assert_eq!(outcome(&format!("WITH once AS (SELECT 1 AS y) SELECT x, y FROM ({nested}) s, once")), "1|1");
}

/// A volatile subquery is one value; copies for each branch would be several.
#[test]
fn volatile_subqueries_are_not_copied_into_branches() {
    let branches = "SELECT id AS x FROM t UNION ALL SELECT id FROM t";
    let plan = outcome(&format!("EXPLAIN SELECT * FROM ({branches}) s WHERE x < (SELECT random() * 3)"));
    assert_eq!(plan.matches("random").count().max(plan.matches("InitPlan").count()), 1, "{plan}");
}
