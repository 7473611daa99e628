//! Golden scripts: statements and what the binder makes of them. `REWRITE=1` writes what comes out.
//!
//! A script is a list of blocks: a statement, `----`, the plan or the error, an empty line. CREATE TABLE and CREATE
//! VIEW make the schema; lines that begin with `#` say what a script is about.

use std::path::Path;
use std::sync::Arc;

use sqlparser::ast;

use super::*;
use crate::catalog::*;
use crate::parse::{Statement, parse, parse_single};
use crate::plan::Field;
use crate::types::SqlType;

const DATABASE: DatabaseId = DatabaseId(1);
const PUBLIC: SchemaId = SchemaId(2200);

struct World {
    catalog: Catalog,
}

impl World {
    fn new() -> Self {
        let mut catalog = Catalog::default();
        catalog
            .databases
            .insert(DATABASE, Arc::new(DatabaseDescriptor { id: DATABASE, name: "postgres".into() }));
        catalog.schemas.insert(
            PUBLIC,
            Arc::new(SchemaDescriptor { id: PUBLIC, database: DATABASE, name: "public".into() }),
        );
        World { catalog }
    }

    fn context<'a>(&'a self, eval: &'a EvalContext<'a>) -> BindContext<'a> {
        BindContext {
            catalog: &self.catalog,
            database: DATABASE,
            search_path: &[PUBLIC],
            virtual_tables: |schema, name| {
                let field =
                    |name: &str, oid| Field { name: name.into(), ty: SqlType::new(oid), origin: None };
                ((schema, name) == ("pg_catalog", "pg_class"))
                    .then(|| Arc::new(vec![field("oid", Oid::OID), field("relname", Oid::NAME)]))
            },
            eval,
        }
    }

    fn add(&mut self, kind: TableKind, name: &str, columns: Vec<ColumnDescriptor>) -> TableDescriptor {
        let id = 16384 + self.catalog.tables.len() as u32;
        TableDescriptor {
            id: TableId(id),
            database: DATABASE,
            schema: PUBLIC,
            name: name.into(),
            version: 1,
            kind,
            next_column: columns.len() as u32 + 1,
            columns,
            primary: index(1, "", Vec::new(), false),
            indexes: Vec::new(),
            next_index: 2,
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            next_constraint: 1,
        }
    }

    fn create_table(&mut self, create: &ast::CreateTable) {
        let name = create.name.0[0].as_ident().expect("a name").value.clone();
        let mut columns = Vec::new();
        let mut keys: Vec<(bool, Vec<String>)> = Vec::new();
        let mut checks = Vec::new();
        for (i, c) in create.columns.iter().enumerate() {
            let mut column =
                column(i as u32 + 1, &c.name.value, bind_data_type(&c.data_type).expect("a type"));
            for o in &c.options {
                match &o.option {
                    ast::ColumnOption::NotNull => column.not_null = true,
                    ast::ColumnOption::Default(e) => column.default = Some(e.to_string()),
                    ast::ColumnOption::PrimaryKey(_) => keys.push((true, vec![c.name.value.clone()])),
                    ast::ColumnOption::Unique(_) => keys.push((false, vec![c.name.value.clone()])),
                    ast::ColumnOption::Check(check) => checks.push(check.expr.to_string()),
                    ast::ColumnOption::Generated { .. } => column.identity = Some(Identity::Always),
                    other => panic!("column option {other}"),
                }
            }
            columns.push(column);
        }
        for constraint in &create.constraints {
            let names =
                |columns: &[ast::IndexColumn]| columns.iter().map(|c| c.column.expr.to_string()).collect();
            match constraint {
                ast::TableConstraint::PrimaryKey(k) => keys.push((true, names(&k.columns))),
                ast::TableConstraint::Unique(k) => keys.push((false, names(&k.columns))),
                ast::TableConstraint::Check(c) => checks.push(c.expr.to_string()),
                other => panic!("constraint {other}"),
            }
        }
        if !keys.iter().any(|(primary, _)| *primary) {
            let mut rowid = column(100, "rowid", SqlType::new(Oid::INT8));
            rowid.hidden = true;
            columns.push(rowid);
        }
        let mut table = self.add(TableKind::Table, &name, columns);
        for (primary, names) in keys {
            let ids: Vec<ColumnId> = names
                .iter()
                .map(|n| table.columns.iter().find(|c| c.name == *n).expect("a column").id)
                .collect();
            let number = if primary { 1 } else { table.indexes.len() as u32 + 2 };
            let name = format!(
                "{name}_{}",
                if primary { "pkey".into() } else { format!("{}_key", names.join("_")) }
            );
            let built = index(number, &name, ids, primary);
            if primary { table.primary = built } else { table.indexes.push(built) }
        }
        for (i, expr) in checks.into_iter().enumerate() {
            let name = format!("{name}_check{i}");
            table.checks.push(CheckConstraint { oid: Oid(1), name, expr, validated: true });
        }
        self.catalog.insert_table(table);
    }

    fn create_view(&mut self, view: &ast::CreateView) {
        let name = view.name.0[0].as_ident().expect("a name").value.clone();
        let kind = TableKind::View { query: view.query.to_string() };
        let columns = view.columns.iter().enumerate();
        let columns =
            columns.map(|(i, c)| column(i as u32 + 1, &c.name.value, SqlType::new(Oid::TEXT))).collect();
        let table = self.add(kind, &name, columns);
        self.catalog.insert_table(table);
    }

    fn run(&mut self, sql: &str) -> String {
        let parsed = match parse_single(sql) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return "nothing".into(),
            Err(e) => return show_error(&e),
        };
        match &parsed.statement {
            Statement::Sql(s) if matches!(**s, ast::Statement::CreateTable(_)) => {
                let ast::Statement::CreateTable(create) = &**s else { unreachable!() };
                self.create_table(create);
                return "ok".into();
            }
            Statement::Sql(s) if matches!(**s, ast::Statement::CreateView(_)) => {
                let ast::Statement::CreateView(view) = &**s else { unreachable!() };
                self.create_view(view);
                return "ok".into();
            }
            _ => {}
        }
        let eval = EvalContext::detached();
        match bind_statement(&parsed, self.context(&eval), Some(&[])) {
            Err(e) => show_error(&e),
            Ok(BoundStatement::Utility(s)) => format!("utility {}", utility_name(s)),
            Ok(BoundStatement::Query(q) | BoundStatement::Explain(_, q)) => show_query(&q),
        }
    }
}

fn utility_name(s: &Statement) -> String {
    let text = format!("{s:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_string()
}

fn show_query(q: &BoundQuery) -> String {
    let mut text = q.plan.to_text();
    if !q.params.is_empty() {
        let types: Vec<String> = q.params.iter().map(|p| crate::registry::type_name(*p)).collect();
        text.push_str(&format!("params: {}\n", types.join(", ")));
    }
    if let Some(output) = &q.output {
        let fields: Vec<String> =
            output.iter().map(|f| format!("{} {}", f.name, crate::registry::format_type(f.ty))).collect();
        text.push_str(&format!("output: {}", fields.join(", ")));
    }
    text.trim_end().to_string()
}

fn show_error(e: &SqlError) -> String {
    let f = e.fields();
    let mut text = format!("ERROR {}: {}", f.code, f.message);
    if let Some(p) = f.position {
        text.push_str(&format!(" at {p}"));
    }
    for (name, value) in [("DETAIL", &f.detail), ("HINT", &f.hint)] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}

fn column(id: u32, name: &str, ty: SqlType) -> ColumnDescriptor {
    ColumnDescriptor {
        id: ColumnId(id),
        name: name.into(),
        ty,
        not_null: false,
        default: None,
        owned_sequence: None,
        identity: None,
        hidden: false,
        state: ElementState::Public,
        missing_value: None,
    }
}

fn index(id: u32, name: &str, columns: Vec<ColumnId>, primary: bool) -> IndexDescriptor {
    let column = |column| IndexColumn { column, descending: false, nulls_first: false };
    IndexDescriptor {
        id: IndexId(id),
        name: name.into(),
        oid: Oid(30_000 + id),
        unique: true,
        constraint: true,
        is_primary_key: primary,
        key: columns.into_iter().map(column).collect(),
        include: Vec::new(),
        predicate: None,
        state: ElementState::Public,
    }
}

fn run_script(path: &Path) {
    let script = std::fs::read_to_string(path).expect("a script");
    let mut world = World::new();
    let mut actual = String::new();
    for block in script.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let (input, _) = block.split_once("\n----").unwrap_or((block.trim_end(), ""));
        let sql: String = input.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let sql = sql.trim();
        if sql.is_empty() {
            actual.push_str(&format!("{}\n\n", input.trim()));
            continue;
        }
        actual.push_str(&format!("{}\n----\n{}\n\n", input.trim(), world.run(sql)));
    }
    let actual = format!("{}\n", actual.trim_end());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, actual).expect("the script is writable");
        return;
    }
    if actual != script {
        let difference = actual.lines().zip(script.lines()).find(|(a, b)| a != b);
        panic!("{}: first difference {difference:?}\n\n{actual}", path.display());
    }
}

#[test]
fn golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bind/testdata");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().for_each(|p| run_script(p));
}

/// Neither deep nesting nor long chains overflow the stack, in parsing, binding or dropping.
#[test]
fn deep_statements() {
    let world = World::new();
    let eval = EvalContext::detached();
    let outcome = |sql: &str| match parse(sql) {
        Ok(parsed) => match bind_statement(&parsed[0], world.context(&eval), Some(&[])) {
            Ok(_) => "ok",
            Err(e) => e.code(),
        },
        Err(e) => e.code(),
    };
    let nested = |open: &str, inner: &str, close: &str, n: usize| {
        format!("select {}{inner}{}", open.repeat(n), close.repeat(n))
    };
    for n in [10_000, 100_000] {
        assert_eq!(outcome(&nested("(", "1", ")", n)), "54001");
        assert_eq!(outcome(&nested("(select ", "1", ")", n)), "54001");
        assert_eq!(outcome(&nested("not ", "true", "", n)), "54001");
        assert_eq!(outcome(&nested("- ", "1", "", n)), "54001");
        assert_eq!(outcome(&format!("select 1{}", " + 1".repeat(n))), "54001");
        assert_eq!(outcome(&format!("select 1{}", " union select 1".repeat(n + 1))), "54001");
    }
    assert_eq!(outcome(&format!("select true{}", " or true".repeat(10_000))), "ok");
    assert_eq!(outcome(&format!("select true{}", " and true".repeat(10_000))), "ok");
    assert_eq!(outcome(&format!("select 1{}", " union select 1".repeat(10_000))), "ok");
    assert_eq!(outcome(&format!("select 1{}", " except select 1".repeat(10_000))), "54001");
    assert_eq!(outcome(&nested("(", "1", ")", 100)), "ok");
    assert_eq!(outcome(&format!("select 1{}", " + 1".repeat(300))), "ok");
}
