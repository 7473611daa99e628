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
fn operands_that_are_used_twice_do_not_double() {
    for (inner, around) in [
        ("v", ["nullif(", ", 1)"]),
        ("true", ["(", " BETWEEN false AND true)"]),
        ("v", ["CASE ", " WHEN 1 THEN 1 WHEN 2 THEN 2 END"]),
    ] {
        let nested = wrapped(inner, 50, |e| format!("{}{e}{}", around[0], around[1]));
        let refused = outcome(&format!("SELECT {nested} FROM t"));
        assert!(refused.contains("54001"), "{refused}");
    }
}

#[test]
fn grouping_sets_of_grouping_sets_are_bounded() {
    let cube = |q: &str| format!("SELECT id, count(*) AS v FROM ({q}) s GROUP BY CUBE (id, v)");
    let nested = |n| format!("SELECT count(*) FROM ({}) s", wrapped("SELECT id, v FROM t", n, cube));
    assert_eq!(outcome(&nested(1)), "7");
    let refused = outcome(&nested(30));
    assert!(refused.contains("54001"), "{refused}");
}

#[test]
fn nested_not_in_does_not_triple() {
    let nested =
        wrapped("SELECT v FROM t WHERE v < 0", 25, |q| format!("SELECT v FROM t WHERE v NOT IN ({q})"));
    assert_eq!(outcome(&format!("SELECT count(*) FROM ({nested}) s")), "2");
}

#[test]
fn many_subqueries_do_not_make_a_tower_of_joins() {
    let groups = ", (SELECT count(*) FROM t i WHERE i.v + 0 = o.v)".repeat(1_000);
    let row = outcome(&format!("SELECT o.id{groups} FROM t o WHERE id = 1"));
    assert_eq!(row, format!("1{}", "|1".repeat(1_000)));
    let exist = " AND EXISTS (SELECT 1 FROM t i WHERE i.v = o.v)".repeat(600);
    assert_eq!(outcome(&format!("SELECT count(*) FROM t o WHERE true{exist}")), "2");
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

/// Each copy of this condition weighs thousands of expressions, none of them constant.
#[test]
fn conditions_are_not_copied_without_end_into_branches() {
    let list = (0..5_000).map(|i| format!("x + {i}, ")).collect::<String>() + "x + 123456";
    let branches =
        |n: usize| "SELECT v AS x FROM t".to_string() + &" UNION ALL SELECT v FROM t".repeat(n - 1);
    let query = |n| format!("SELECT count(*) FROM ({}) s WHERE x IN ({list})", branches(n));
    assert_eq!(outcome(&query(2)), "4");
    let copies = |n| outcome(&format!("EXPLAIN {}", query(n))).matches("123456").count();
    assert_eq!(copies(2), 2, "it goes down");
    let many = copies(200);
    assert!((1..100).contains(&many), "{many}");
}

/// A volatile subquery is one value; copies for each branch would be several.
#[test]
fn volatile_subqueries_are_not_copied_into_branches() {
    let branches = "SELECT id AS x FROM t UNION ALL SELECT id FROM t";
    let plan = outcome(&format!("EXPLAIN SELECT * FROM ({branches}) s WHERE x < (SELECT random() * 3)"));
    assert_eq!(plan.matches("random").count().max(plan.matches("InitPlan").count()), 1, "{plan}");
}

#[test]
fn branches_and_rows_may_be_many() {
    for operation in ["UNION ALL", "UNION", "INTERSECT"] {
        let arms = format!(" {operation} SELECT v FROM t").repeat(4_999);
        let expected = if operation == "UNION ALL" { "10000" } else { "2" };
        assert_eq!(outcome(&format!("SELECT count(*) FROM (SELECT v FROM t{arms}) s")), expected);
    }
    let rows: String = (0..3_000).map(|i| format!(", ({}, (SELECT v FROM t WHERE id = 2))", i + 4)).collect();
    let insert = format!("INSERT INTO t VALUES (3, (SELECT v FROM t WHERE id = 1)){rows}");
    assert_eq!(outcome(&insert), "INSERT 3001");
    let arms: String = (0..3_000).map(|i| format!(" UNION ALL SELECT {}, 1", i + 4)).collect();
    assert_eq!(outcome(&format!("INSERT INTO t SELECT 3, 1{arms}")), "INSERT 3001");
}

/// Types are found from left to right, branch by branch, and operations apply in their order.
#[test]
fn branches_are_put_together_from_the_left() {
    for (sql, rows) in [
        ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 2.5 UNION ALL SELECT 4", "1\n2\n2.5\n4"),
        ("SELECT 1 UNION ALL SELECT 1 UNION SELECT 1 UNION ALL SELECT 1", "1\n1"),
        ("SELECT 1 EXCEPT SELECT 1 EXCEPT SELECT 2 UNION ALL SELECT 3", "3"),
        ("SELECT 1 EXCEPT (SELECT 1 EXCEPT SELECT 1)", "1"),
        ("SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 2 UNION ALL SELECT 3", "1\n2\n3"),
        ("SELECT 'a' UNION ALL SELECT NULL UNION ALL SELECT 'b' UNION ALL SELECT 'c'", "a\nNULL\nb\nc"),
    ] {
        assert_eq!(outcome(sql), rows, "{sql}");
    }
}
