//! Databases, schemas, roles, comments, and the few fixed objects that clients join with.

use super::{Rows, Source};
use crate::catalog::bootstrap::{SUPERUSER, TEMPLATE0, TEMPLATE1};
use crate::catalog::{RoleDescriptor, lookup::SHARED};
use crate::error::SqlResult;
use crate::types::Oid;

/// pg_database, pg_authid: their comments are shared by all databases.
const SHARED_CATALOGS: [Oid; 2] = [Oid(1262), Oid(1260)];

pub fn pg_namespace(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for schema in source.catalog.schemas_of(source.database) {
        rows.set("oid", schema.id.0).set("nspname", &schema.name).set("nspowner", SUPERUSER).push();
    }
    Ok(())
}

pub fn pg_database(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for database in source.catalog.databases.values().filter(|d| d.id != SHARED) {
        let template = database.id == TEMPLATE0 || database.id == TEMPLATE1;
        rows.set("oid", database.id.0)
            .set("datname", &database.name)
            .set("datdba", SUPERUSER)
            .set("encoding", 6)
            .set("datlocprovider", 'c')
            .set("datistemplate", template)
            .set("datallowconn", database.id != TEMPLATE0)
            .set("datconnlimit", -1)
            .set_all(&["datfrozenxid", "datminmxid"], 0)
            .set("dattablespace", 1663)
            .set_all(&["datcollate", "datctype"], "C.UTF-8")
            .push();
    }
    Ok(())
}

fn rights<'r>(rows: &'r mut Rows, role: &RoleDescriptor) -> &'r mut Rows {
    rows.set("oid", role.oid)
        .set("rolname", &role.name)
        .set("rolsuper", role.superuser)
        .set("rolinherit", true)
        .set_all(&["rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"], role.superuser)
        .set("rolcanlogin", role.can_login)
        .set("rolconnlimit", -1)
}

pub fn pg_roles(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for role in source.catalog.roles.values() {
        rights(rows, role).set("rolpassword", "********").push();
    }
    Ok(())
}

/// Without passwords: there are no privileges that would keep them from being read.
pub fn pg_authid(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for role in source.catalog.roles.values() {
        rights(rows, role).push();
    }
    Ok(())
}

pub fn pg_user(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for role in source.catalog.roles.values().filter(|r| r.can_login) {
        rows.set("usename", &role.name)
            .set("usesysid", role.oid)
            .set_all(&["usecreatedb", "usesuper", "userepl", "usebypassrls"], role.superuser)
            .set("passwd", "********")
            .push();
    }
    Ok(())
}

pub fn pg_description(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for ((class, oid, column), text) in &source.catalog.comments {
        if !SHARED_CATALOGS.contains(class) {
            rows.set("objoid", *oid).set("classoid", *class).set("objsubid", *column);
            rows.set("description", &**text).push();
        }
    }
    Ok(())
}

pub fn pg_shdescription(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for ((class, oid, _), text) in &source.catalog.comments {
        if SHARED_CATALOGS.contains(class) {
            rows.set("objoid", *oid).set("classoid", *class).set("description", &**text).push();
        }
    }
    Ok(())
}

pub fn pg_tablespace(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (oid, name) in [(1663, "pg_default"), (1664, "pg_global")] {
        rows.set("oid", oid).set("spcname", name).set("spcowner", SUPERUSER).push();
    }
    Ok(())
}

pub fn pg_am(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (oid, name, kind) in [(2, "heap", 't'), (403, "btree", 'i')] {
        rows.set("oid", oid).set("amname", name).set("amhandler", 0).set("amtype", kind).push();
    }
    Ok(())
}

pub fn pg_collation(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (oid, name, provider) in [(100, "default", 'd'), (950, "C", 'c'), (951, "POSIX", 'c')] {
        rows.set("oid", oid)
            .set("collname", name)
            .set("collnamespace", 11)
            .set("collowner", SUPERUSER)
            .set("collprovider", provider)
            .set("collisdeterministic", true)
            .set("collencoding", -1)
            .push();
    }
    Ok(())
}

pub fn pg_language(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (oid, name) in [(12, "internal"), (14, "sql")] {
        rows.set("oid", oid)
            .set("lanname", name)
            .set("lanowner", SUPERUSER)
            .set("lanispl", false)
            .set("lanpltrusted", oid == 14)
            .set_all(&["lanplcallfoid", "laninline", "lanvalidator"], 0)
            .push();
    }
    Ok(())
}
