//! What a new cluster begins with.

use super::lookup::SHARED;
use super::*;
use crate::types::Oid;

pub const POSTGRES: DatabaseId = DatabaseId(5);
pub const TEMPLATE0: DatabaseId = DatabaseId(4);
pub const TEMPLATE1: DatabaseId = DatabaseId(1);
/// The schema `public` of database `postgres`.
pub const PUBLIC: SchemaId = SchemaId(2200);
/// The role `postgres`.
pub const SUPERUSER: Oid = Oid(10);

pub fn databases() -> Vec<DatabaseDescriptor> {
    [(POSTGRES, "postgres"), (TEMPLATE0, "template0"), (TEMPLATE1, "template1")]
        .map(|(id, name)| DatabaseDescriptor { id, name: name.into() })
        .into()
}

pub fn schemas() -> Vec<SchemaDescriptor> {
    [
        (CATALOG_SCHEMA, SHARED, "pg_catalog"),
        (INFORMATION_SCHEMA, SHARED, "information_schema"),
        (PUBLIC, POSTGRES, "public"),
    ]
    .map(|(id, database, name)| SchemaDescriptor { id, database, name: name.into() })
    .into()
}

pub fn roles() -> Vec<RoleDescriptor> {
    vec![RoleDescriptor {
        oid: SUPERUSER,
        name: "postgres".into(),
        superuser: true,
        can_login: true,
        password: None,
    }]
}
