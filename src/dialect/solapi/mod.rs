//! SOLAPI CRM core: edges between CRM records. Wire rules: `docs/compatibility/solapi.md`.

mod auth;
mod error;
mod relationship;

use super::{Dialect, Route, Wire, routes};
pub use auth::ROLES;

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Solapi,
    routes: ROUTES,
    prefixes: &["/crm-core"],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    trailing_slash: None,
    openapi: include_str!("../../../docs/openapi/solapi.json"),
};

const ROUTES: &[Route] = routes![error::reject;
    GET "/crm-core/v1/relationships/{relationshipId}" => relationship::get,
    PATCH "/crm-core/v1/relationships/{relationshipId}" => relationship::patch,
];
