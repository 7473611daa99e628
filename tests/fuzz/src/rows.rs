//! Rows of tables whose columns and indexes are chosen, too.
//!
//! Whatever the bytes: a row is read or refused, never a panic. What was written into every index reads back from each, and
//! each entry finds its row.

use meridian_sql::catalog::*;
use meridian_sql::row::{PrimaryKeyFinder, RowBuf, RowDecoder, TableCodec, covers};
use meridian_sql::types::{Datum, SqlType};
use meridian_txn::rpc::KvBlockBuilder;

use super::choices::Choices;
use super::columns::{TYPES, value};

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let table = table(&mut choices);
    let codec = TableCodec::new(&table).expect("columns that indexes can have");
    let wanted: Vec<ColumnId> = table.columns.iter().map(|c| c.id).collect();
    if choices.flag() {
        written(&table, &codec, &wanted, &mut choices);
    } else {
        damaged(&table, &codec, &wanted, &mut choices);
    }
}

fn written(table: &TableDescriptor, codec: &TableCodec, wanted: &[ColumnId], choices: &mut Choices<'_>) {
    let keys = &table.primary.key;
    let mut row: Vec<Datum> = Vec::new();
    for column in &table.columns {
        let of_key = keys.iter().any(|k| k.column == column.id);
        let datum = if choices.u8() == 0 { Datum::Null } else { value(column.ty.oid, choices) };
        if of_key && datum.is_null() {
            return;
        }
        row.push(datum);
    }
    let mut buf = RowBuf::default();
    let Ok(key) = codec.primary.encode_key(&row) else { return };
    let stored = codec.primary.encode_value(&row, &mut buf).expect("what a key can hold, a value can");
    let mut block = KvBlockBuilder::new();
    block.push(&key, &stored);
    let decoder = RowDecoder::primary(table, wanted).expect("columns of the table");
    let batch = decoder.decode_block(&block.build()).expect("a row that was written");
    let read: Vec<Datum> = batch.columns.iter().map(|c| c.datum(0)).collect();
    assert_eq!(format!("{read:?}"), format!("{row:?}"));
    for (index, (encoder, _)) in table.indexes.iter().zip(&codec.secondary) {
        let Ok(entry) = encoder.encode_key(&row) else { continue };
        let stored = encoder.encode_value(&row, &mut buf).expect("what a row holds, an entry can");
        let finder = PrimaryKeyFinder::new(table, index).expect("an index of the table");
        assert_eq!(finder.primary_key(&entry, &stored).expect("an entry that was written"), key);
        let covered: Vec<ColumnId> = wanted.iter().copied().filter(|c| covers(table, index, *c)).collect();
        let decoder = RowDecoder::secondary(table, index, &covered).expect("columns of the index");
        let mut columns = decoder.columns();
        decoder.decode_row(&entry, &stored, &mut columns).expect("an entry that was written");
        for (column, id) in columns.iter().zip(&covered) {
            let was = &row[id.0 as usize - 1];
            assert_eq!(format!("{:?}", column.datum(0)), format!("{was:?}"), "{id:?} of {}", index.name);
        }
    }
}

fn damaged(table: &TableDescriptor, codec: &TableCodec, wanted: &[ColumnId], choices: &mut Choices<'_>) {
    let mut key = codec.primary.prefix().to_vec();
    key.extend_from_slice(choices.some_bytes());
    let stored = choices.some_bytes();
    let some = &wanted[choices.below(wanted.len())..];
    for wanted in [wanted, some] {
        let decoder = RowDecoder::primary(table, wanted).expect("columns of the table");
        let _ = decoder.decode_row(&key, stored, &mut decoder.columns());
        let _ = decoder.decode_row(stored, stored, &mut decoder.columns());
    }
    for (index, (encoder, _)) in table.indexes.iter().zip(&codec.secondary) {
        let mut entry = encoder.prefix().to_vec();
        entry.extend_from_slice(&key[9..]);
        let finder = PrimaryKeyFinder::new(table, index).expect("an index of the table");
        let _ = finder.primary_key(&entry, stored);
        let _ = finder.primary_key(stored, stored);
        let covered: Vec<ColumnId> = wanted.iter().copied().filter(|c| covers(table, index, *c)).collect();
        let decoder = RowDecoder::secondary(table, index, &covered).expect("columns of the index");
        let _ = decoder.decode_row(&entry, stored, &mut decoder.columns());
    }
}

fn table(choices: &mut Choices<'_>) -> TableDescriptor {
    let columns: Vec<ColumnDescriptor> = (0..2 + choices.below(4))
        .map(|n| ColumnDescriptor {
            id: ColumnId(n as u32 + 1),
            name: format!("c{n}"),
            ty: SqlType::new(choices.one_of(&TYPES)),
            not_null: false,
            default: None,
            owned_sequence: None,
            identity: None,
            hidden: false,
            state: ElementState::Public,
            missing_value: None,
        })
        .collect();
    let primary = index(1, columns.len(), true, choices);
    let indexes = (0..choices.below(3)).map(|n| index(n as u32 + 2, columns.len(), choices.flag(), choices));
    let indexes = indexes.collect();
    TableDescriptor {
        id: TableId(100),
        database: DatabaseId(1),
        schema: SchemaId(2200),
        name: "t".into(),
        version: 1,
        kind: TableKind::Table,
        next_column: columns.len() as u32 + 1,
        columns,
        primary,
        indexes,
        next_index: 9,
        checks: vec![],
        foreign_keys: vec![],
        next_constraint: 1,
    }
}

/// An index of one or two columns; it may include a third.
fn index(id: u32, columns: usize, unique: bool, choices: &mut Choices<'_>) -> IndexDescriptor {
    let first = choices.below(columns);
    let mut key = vec![first];
    if choices.flag() {
        key.push((first + 1) % columns);
    }
    let included = (first + 2) % columns;
    let include =
        (id != 1 && choices.flag() && !key.contains(&included)).then_some(ColumnId(included as u32 + 1));
    IndexDescriptor {
        id: IndexId(id),
        name: format!("i{id}"),
        oid: meridian_sql::types::Oid(20_000 + id),
        unique,
        constraint: id == 1,
        is_primary_key: id == 1,
        key: key
            .into_iter()
            .map(|n| IndexColumn {
                column: ColumnId(n as u32 + 1),
                descending: choices.flag(),
                nulls_first: choices.flag(),
            })
            .collect(),
        include: include.into_iter().collect(),
        predicate: None,
        state: ElementState::Public,
    }
}
