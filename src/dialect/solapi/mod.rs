//! SOLAPI CRM core: edges between CRM records. Wire rules: `docs/compatibility/solapi.md`.

mod auth;
mod error;
mod relationship;

use super::{Dialect, Route, Wire, routes};
pub use auth::ROLES;

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Solapi,
    roots: &[""],
    routes: ROUTES,
    unrooted: &[],
    prefixes: &["/crm-core"],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: None,
    openapi: Some(include_str!("../../../docs/openapi/solapi.json")),
};

const ROUTES: &[Route] = routes![
    GET "/crm-core/v1/relationships/{relationshipId}" => relationship::get,
    PATCH "/crm-core/v1/relationships/{relationshipId}" => relationship::patch,
];
