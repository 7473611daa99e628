//! What parses, and as what; what does not, and in which words.

use super::*;

fn printed(expr: &str) -> String {
    fn show(e: &ast::Expr) -> String {
        match e {
            ast::Expr::BinaryOp { left, op, right } => format!("({} {op} {})", show(left), show(right)),
            ast::Expr::UnaryOp { op, expr } => format!("({op} {})", show(expr)),
            ast::Expr::Nested(e) => show(e),
            ast::Expr::Cast { expr, data_type, .. } => format!("({}::{data_type})", show(expr)),
            other => other.to_string(),
        }
    }
    show(&parse_expression(expr).expect("an expression"))
}

#[test]
fn precedence() {
    for (text, tree) in [
        ("-2 ^ 2", "((- 2) ^ 2)"),
        ("a ~ b || c", "((a ~ b) || c)"),
        ("@ a + b", "(@ (a + b))"),
        ("a + b * c", "(a + (b * c))"),
        ("a || b || c", "((a || b) || c)"),
        ("- a::int", "(- (a::INT))"),
        ("not a = b", "(NOT (a = b))"),
        ("a = b and c or d", "(((a = b) AND c) OR d)"),
        ("a operator(pg_catalog.+) b * c", "(a OPERATOR(pg_catalog.+) (b * c))"),
        ("a & b | c", "((a & b) | c)"),
        ("2 - -1", "(2 - (- 1))"),
        ("a -> 'b' ->> 'c'", "((a -> 'b') ->> 'c')"),
    ] {
        assert_eq!(printed(text), tree, "{text}");
    }
}

fn fails(sql: &str) -> String {
    let e = parse(sql).expect_err(sql);
    format!("{} {} {:?}", e.code(), e.message(), e.fields().position)
}

#[test]
fn errors() {
    assert_eq!(fails("selec 1"), "42601 syntax error at or near \"selec\" Some(1)");
    assert_eq!(fails("select 1 +"), "42601 syntax error at end of input Some(11)");
    assert_eq!(fails("select * from t where"), "42601 syntax error at end of input Some(22)");
    assert_eq!(fails("select 'abc"), "42601 unterminated quoted string at or near \"'abc\" Some(8)");
    assert_eq!(fails("select 1; selec 2"), "42601 syntax error at or near \"selec\" Some(11)");
    assert_eq!(fails("select 1 from t t2 t3"), "42601 syntax error at or near \"t3\" Some(20)");
    assert_eq!(fails("insert into t values (1,)"), "42601 syntax error at or near \")\" Some(25)");
    assert_eq!(
        fails("begin isolation level nonsense"),
        "42601 syntax error at or near \"nonsense\" Some(23)"
    );
    for refused in ["execute", "explain", "prepare", "begin", "set", "show", "create", "fetch", "copy"] {
        let expected = format!("42601 syntax error at or near \"{refused}\" Some(14)");
        assert_eq!(fails(&format!("prepare p as {refused} x")), expected);
    }
    for refused in ["explain", "prepare", "begin", "set", "show", "fetch", "copy", "checkpoint"] {
        let expected = format!("42601 syntax error at or near \"{refused}\" Some(9)");
        assert_eq!(fails(&format!("explain {refused} x")), expected);
    }
    let chain = format!("{}select 1", "explain ".repeat(20_000));
    assert_eq!(fails(&chain), "42601 syntax error at or near \"explain\" Some(9)");
    assert_eq!(
        fails("explain (costs off) create temp view v as select 1"),
        "42601 syntax error at or near \"view\" Some(33)"
    );
    assert_eq!(fails("explain create table t (a int)"), "42601 syntax error at end of input Some(31)");
    assert_eq!(fails("prepare p as"), "42601 syntax error at end of input Some(13)");
}

#[test]
fn splits_statements() {
    let all = parse(" select 1 ;; -- nothing\n ; select 'a;b';").expect("two statements");
    let texts: Vec<&str> = all.iter().map(ParsedStatement::text).collect();
    assert_eq!(texts, ["select 1", "select 'a;b'"]);
    assert!(parse(" -- nothing\n ;").expect("nothing").is_empty());
    let error = parse_single("select 1; select 2").expect_err("two statements");
    assert_eq!(error.message(), "cannot insert multiple commands into a prepared statement");
}

#[test]
fn explains_what_has_a_plan() {
    for explained in [
        "select 1",
        "((select 1))",
        "with a as (select 1) table a",
        "values (1)",
        "insert into t values (1)",
        "update t set a = 1",
        "delete from t",
        "declare c cursor for select 1",
        "execute p",
        "create table t as select 1",
        "create temp table t as select 1",
        "create materialized view v as select 1",
    ] {
        for options in ["", "analyze verbose ", "(costs off, analyze) "] {
            let sql = format!("explain {options}{explained}");
            assert!(parse(&sql).is_ok(), "{sql}");
        }
    }
}

/// What psql, pgbench, sysbench and drivers send, one statement a line; `REWRITE=1` writes what is refused, and how.
#[test]
fn clients_statements() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/parse/testdata");
    let statements = std::fs::read_to_string(folder.join("clients.txt")).expect("the statements");
    let mut refused = String::new();
    for sql in statements.lines() {
        if let Err(e) = parse(sql) {
            refused.push_str(&format!("{sql}\n    {e}\n"));
        }
    }
    let path = folder.join("refused.txt");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &refused).expect("the list is writable");
    }
    assert_eq!(refused, std::fs::read_to_string(&path).expect("the list"));
}

#[test]
fn adjacent_strings_join_across_lines() {
    assert!(parse("select 'a'\n'b'").is_ok());
}

/// In a time that grows as the text does, on one line or on many.
#[test]
fn long_strings_of_statements() {
    const STATEMENTS: usize = 20_000;
    for (between, statement) in
        [(" ", "INSERT INTO t VALUES (1, 'é')"), ("\n", "INSERT INTO t\n VALUES (1, 'é')")]
    {
        let one = format!("{statement};{between}");
        let sql = one.repeat(STATEMENTS);
        let began = std::time::Instant::now();
        let parsed = parse(&sql).expect("statements");
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(4), "{took:?}");
        assert_eq!(parsed.len(), STATEMENTS);
        for (n, p) in parsed.iter().enumerate() {
            assert_eq!((p.span.start, p.text()), (n * one.len(), statement));
        }
        let position = sql.chars().count() + 1;
        let expected = format!("42601 syntax error at or near \"selec\" Some({position})");
        assert_eq!(fails(&(sql + "selec 1; SELECT 1")), expected);
    }
}
