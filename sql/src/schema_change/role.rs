//! Roles: who may log in. Every role may do everything, so there is nothing to grant; what would restrict is refused.

use std::sync::Arc;

use super::SchemaContext;
use crate::bind::{fold, object_name_parts};
use crate::catalog::RoleDescriptor;
use crate::catalog::bootstrap::SUPERUSER;
use crate::catalog::store::{self, Change, NameSpace};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{CreateRole, ObjectName, Password};

pub async fn create(ctx: &mut SchemaContext<'_>, create: &CreateRole) -> SqlResult<&'static str> {
    if !create.in_role.is_empty()
        || !create.in_group.is_empty()
        || !create.role.is_empty()
        || !create.admin.is_empty()
    {
        return Err(SqlError::unsupported("membership in roles"));
    }
    let password = match &create.password {
        Some(Password::Password(text)) => Some(text.to_string().trim_matches('\'').replace("''", "'")),
        Some(Password::NullPassword) | None => None,
    };
    for name in &create.names {
        let parts = object_name_parts(name)?;
        let name = parts.last().map(|p| fold(p).into_owned()).unwrap_or_default();
        if name.starts_with("pg_") {
            return Err(SqlError::new("42939", format!("role name \"{name}\" is reserved"))
                .with_detail("Role names starting with \"pg_\" are reserved."));
        }
        let oid = ctx.new_oid().await?;
        let exists = ctx.snapshot().role_named(&name).is_some();
        if exists || !store::take_name(ctx.txn, NameSpace::Role, &name, oid.0).await? {
            if create.if_not_exists {
                ctx.notice(state::DUPLICATE_OBJECT, format!("role \"{name}\" already exists, skipping"));
                continue;
            }
            return Err(SqlError::new(state::DUPLICATE_OBJECT, format!("role \"{name}\" already exists")));
        }
        let role = RoleDescriptor {
            oid,
            name,
            superuser: create.superuser.unwrap_or(false),
            can_login: create.login.unwrap_or(false),
            password: password.clone(),
        };
        ctx.change(Change::Role(oid, Some(Arc::new(role))));
    }
    Ok("CREATE ROLE")
}

pub async fn drop(ctx: &mut SchemaContext<'_>, name: &ObjectName, if_exists: bool) -> SqlResult<()> {
    let parts = object_name_parts(name)?;
    let name = parts.last().map(|p| fold(p).into_owned()).unwrap_or_default();
    let snapshot = ctx.snapshot();
    let Some(role) = snapshot.role_named(&name) else {
        if if_exists {
            ctx.notice("00000", format!("role \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(SqlError::new(state::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
    };
    if role.oid == SUPERUSER {
        return Err(SqlError::new(
            state::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop role {name} because it is required by the database system"),
        ));
    }
    if name == ctx.user {
        return Err(SqlError::new("55006", "current user cannot be dropped"));
    }
    store::give_name_back(ctx.txn, NameSpace::Role, &name);
    ctx.change(Change::Role(role.oid, None));
    Ok(())
}

/// There are no privileges: nothing that GRANT or REVOKE could say would be kept.
pub fn grant(command: &str) -> SqlResult<String> {
    Err(SqlError::unsupported(command).with_hint("Every role may use every object."))
}

pub fn create_extension(name: &str, _if_not_exists: bool) -> SqlResult<String> {
    match name {
        // Always there: there is nothing in it.
        "plpgsql" => Ok("CREATE EXTENSION".into()),
        _ => {
            Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, format!("extension \"{name}\" is not available")))
        }
    }
}
