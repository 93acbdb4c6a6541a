//! Ncloud Single Sign-On: OAuth 2.0 applications. Two editions of the vendor's page describe one
//! URL; here the older one is served below `/applications` and the newer one below `/api/v1`, over
//! the same records. Wire rules: `docs/compatibility/ncloud.md`.

mod application;
mod auth;
mod error;

use super::{Dialect, Route, Wire, routes};
pub use auth::POLICIES;

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Ncloud,
    roots: &["", application::NEWER_ROOT],
    routes: ROUTES,
    unrooted: &[],
    prefixes: &[
        "/application",
        "/applications",
        "/tenant",
        "/tenants",
        "/api/v1",
        "/api/v2/applications",
        "/api/v2/tenant",
    ],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: None,
    openapi: Some(include_str!("../../../docs/openapi/ncloud.json")),
};

const ROUTES: &[Route] = routes![
    GET "/applications/{applicationId}" => application::get,
    PUT "/applications/{applicationId}" => application::put,
];
