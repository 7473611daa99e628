//! Finding things in a [`Catalog`] by name, and keeping its maps in step with one another.

use std::sync::Arc;

use super::*;
use crate::types::Oid;

/// The schema of the built-in objects; in every database.
pub const CATALOG_SCHEMA: SchemaId = SchemaId(11);
/// `information_schema`; in every database.
pub const INFORMATION_SCHEMA: SchemaId = SchemaId(13_000);
/// Objects of this database are in every database.
pub const SHARED: DatabaseId = DatabaseId(0);

impl Catalog {
    pub fn database_named(&self, name: &str) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.values().find(|d| d.name == name)
    }

    pub fn schema_named(&self, database: DatabaseId, name: &str) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.values().find(|s| s.name == name && (s.database == database || s.database == SHARED))
    }

    /// The schemas that a database's sessions see.
    pub fn schemas_of(&self, database: DatabaseId) -> impl Iterator<Item = &Arc<SchemaDescriptor>> {
        self.schemas.values().filter(move |s| s.database == database || s.database == SHARED)
    }

    /// A table, view or sequence.
    pub fn relation(&self, schema: SchemaId, name: &str) -> Option<&Arc<TableDescriptor>> {
        // The map's key owns its name; one short allocation per lookup, and plans are cached.
        self.names.get(&(schema, name.to_owned())).and_then(|id| self.tables.get(id))
    }

    pub fn index_named(
        &self,
        schema: SchemaId,
        name: &str,
    ) -> Option<(&Arc<TableDescriptor>, &IndexDescriptor)> {
        let (table, index) = self.index_names.get(&(schema, name.to_owned()))?;
        let table = self.tables.get(table)?;
        Some((table, table.index(*index)?))
    }

    /// Whether a relation or index of this name exists.
    pub fn name_taken(&self, schema: SchemaId, name: &str) -> bool {
        let key = (schema, name.to_owned());
        self.names.contains_key(&key) || self.index_names.contains_key(&key)
    }

    pub fn schema_name(&self, id: SchemaId) -> &str {
        self.schemas.get(&id).map_or("pg_temp", |s| &s.name)
    }

    pub fn role_named(&self, name: &str) -> Option<&Arc<RoleDescriptor>> {
        self.roles.values().find(|r| r.name == name)
    }

    /// The table that has the index with this OID.
    pub fn index_by_oid(&self, oid: Oid) -> Option<(&Arc<TableDescriptor>, &IndexDescriptor)> {
        self.tables.values().find_map(|t| Some((t, t.all_indexes().find(|i| i.oid == oid)?)))
    }

    pub fn insert_table(&mut self, table: TableDescriptor) {
        self.insert_table_arc(Arc::new(table));
    }

    pub(super) fn insert_table_arc(&mut self, table: Arc<TableDescriptor>) {
        self.remove_table(table.id);
        self.names.insert((table.schema, table.name.clone()), table.id);
        for index in table.all_indexes().filter(|i| i.has_name()) {
            self.index_names.insert((table.schema, index.name.clone()), (table.id, index.id));
        }
        self.tables.insert(table.id, table.clone());
        for (position, key) in table.foreign_keys.iter().enumerate() {
            // In the order of the constraints' OIDs, which is the order in which they are looked at: the same on every
            // node, whatever schema changes it has seen.
            let order = |(id, at): (TableId, usize)| {
                let key = self.tables.get(&id).and_then(|t| t.foreign_keys.get(at));
                (key.map(|k| k.oid), id, at)
            };
            let list = self.inbound.entry(key.references).or_default();
            let own = (table.id, position);
            list.insert(list.partition_point(|&other| order(other) < order(own)), own);
        }
    }

    pub fn remove_table(&mut self, id: TableId) -> Option<Arc<TableDescriptor>> {
        let table = self.tables.remove(&id)?;
        self.names.remove(&(table.schema, table.name.clone()));
        for index in table.all_indexes().filter(|i| i.has_name()) {
            self.index_names.remove(&(table.schema, index.name.clone()));
        }
        for key in &table.foreign_keys {
            if let Some(list) = self.inbound.get_mut(&key.references) {
                list.retain(|(from, _)| *from != id);
                if list.is_empty() {
                    self.inbound.remove(&key.references);
                }
            }
        }
        Some(table)
    }
}

impl TableDescriptor {
    pub fn is_table(&self) -> bool {
        matches!(self.kind, TableKind::Table)
    }

    pub fn sequence(&self) -> Option<&SequenceOptions> {
        match &self.kind {
            TableKind::Sequence(options) => Some(options),
            _ => None,
        }
    }

    pub fn column(&self, id: ColumnId) -> Option<&ColumnDescriptor> {
        self.columns.iter().find(|c| c.id == id)
    }

    /// A column that statements can name: public, and not the hidden row id.
    pub fn column_named(&self, name: &str) -> Option<&ColumnDescriptor> {
        self.visible_columns().find(|c| c.name == name)
    }

    /// What `SELECT *` shows.
    pub fn visible_columns(&self) -> impl Iterator<Item = &ColumnDescriptor> {
        self.columns.iter().filter(|c| c.state == ElementState::Public && !c.hidden)
    }

    /// The columns of a row as plans and codecs see it, the hidden row id included.
    pub fn public_columns(&self) -> impl Iterator<Item = &ColumnDescriptor> {
        self.columns.iter().filter(|c| c.state == ElementState::Public)
    }

    /// The primary index, then the secondary ones. For views and sequences the primary index stands for nothing.
    pub fn all_indexes(&self) -> impl Iterator<Item = &IndexDescriptor> {
        std::iter::once(&self.primary).chain(&self.indexes)
    }

    pub fn index(&self, id: IndexId) -> Option<&IndexDescriptor> {
        self.all_indexes().find(|i| i.id == id)
    }

    pub fn has_primary_key(&self) -> bool {
        self.primary.is_primary_key
    }

    /// pg_attribute.attnum: column ids count from 1, the hidden row id has a system column's number.
    pub fn attribute_number(&self, column: ColumnId) -> i16 {
        match self.column(column) {
            Some(c) if c.hidden => -1,
            _ => column.0 as i16,
        }
    }
}

impl IndexDescriptor {
    /// False for the primary index over the hidden row id (and of what is not a table), which no name space knows.
    pub fn has_name(&self) -> bool {
        !self.name.is_empty()
    }
}
