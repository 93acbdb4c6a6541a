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
    routes: ROUTES,
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
    trailing_slash: None,
    openapi: include_str!("../../../docs/openapi/ncloud.json"),
};

const ROUTES: &[Route] = routes![error::reject;
    GET "/applications/{applicationId}" => application::get,
    PUT "/applications/{applicationId}" => application::put,
    GET "/api/v1/applications/{applicationId}" => application::get_v1,
    PUT "/api/v1/applications/{applicationId}" => application::put_v1,
];
