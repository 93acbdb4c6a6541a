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
    prefixes: PREFIXES,
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    trailing_slash: None,
    openapi: include_str!("../../../docs/openapi/ispring.json"),
};

/// The token endpoint, which words faults of the request otherwise.
pub const TOKEN: Wire =
    Wire { prefixes: &["/api/v3/token"], malformed: error::malformed_token, ..WIRE };

/// The vendor's roots, and the prefixes below which it has them once more. Of `/api/v2` another
/// dialect has a part, which comes before this one in [`super::WIRES`].
const PREFIXES: &[&str] = &[
    "/api/v2",
    "/api/v3",
    "/index.php",
    "/assignment",
    "/assignments",
    "/certificate",
    "/content",
    "/contents",
    "/course",
    "/course_fields",
    "/courses",
    "/courses_tree",
    "/department",
    "/departments",
    "/enrollment",
    "/enrollments",
    "/gamification",
    "/group",
    "/groups",
    "/job-training",
    "/learners",
    "/learning_track",
    "/performance-management",
    "/quizzes",
    "/report",
    "/role",
    "/statistics",
    "/task",
    "/training",
    "/user",
    "/users",
    "/webhook",
];

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
