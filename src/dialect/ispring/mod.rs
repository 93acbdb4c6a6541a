//! iSpring Learn REST API: enrollments. Wire rules: `docs/compatibility/ispring.md`.

mod auth;
mod body;
mod date;
mod enrollment;
mod error;
mod format;
mod token;
mod xml;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Ispring,
    routes: ROUTES,
    prefixes: &[
        "/enrollment",
        "/enrollments",
        "/api/v2/enrollment",
        "/api/v2/enrollments",
        "/api/v3",
        "/index.php",
    ],
    reject: error::reject,
    malformed: error::malformed,
    openapi: include_str!("../../../docs/openapi/ispring.json"),
};

const ROUTES: &[Route] = routes![error::reject;
    GET "/enrollment/{enrollment_id}" => enrollment::get,
    POST "/enrollment/{enrollment_id}" => enrollment::edit,
    GET "/api/v2/enrollment/{enrollment_id}" => enrollment::get,
    POST "/api/v2/enrollment/{enrollment_id}" => enrollment::edit,
    GET "/api/v3/enrollment/{enrollment_id}" => enrollment::get,
    POST "/api/v3/enrollment/{enrollment_id}" => enrollment::edit,
    GET "/index.php/api/v2/enrollment/{enrollment_id}" => enrollment::get,
    POST "/index.php/api/v2/enrollment/{enrollment_id}" => enrollment::edit,
    POST "/api/v3/token" => token::issue,
];
