//! Kolleges Open API: issued certificates. Wire rules: `docs/compatibility/kolleges.md`.

mod achievement;
mod auth;
mod date;
mod encode;
mod error;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Kolleges,
    routes: ROUTES,
    prefixes: &["/open-api"],
    reject: error::reject,
    malformed: error::malformed,
    trailing_slash: None,
    openapi: include_str!("../../../docs/openapi/kolleges.json"),
};

const ROUTES: &[Route] = routes![error::reject;
    GET "/open-api/achievements" => achievement::list,
    GET "/open-api/achievements/{achievementId}" => achievement::get,
    PATCH "/open-api/achievements/{achievementId}" => achievement::patch,
];
