//! iSpring Learn REST API: enrollments. Wire rules: `docs/compatibility/ispring.md`.

mod auth;
mod body;
mod date;
mod enrollment;
mod error;
mod format;
mod token;
mod tree;
mod xml;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Ispring,
    roots: &["", "/api/v2", "/api/v3", "/index.php/api/v2"],
    routes: ROUTES,
    unrooted: routes![POST "/api/v3/token" => token::issue],
    prefixes: PREFIXES,
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: None,
    openapi: Some(include_str!("../../../docs/openapi/ispring.json")),
};

/// Where the vendor has anything, but for what another dialect serves a route of: an unknown path is in
/// the words of whoever owns those beside it. Of `/api/v2` another dialect has a part, which comes before
/// this one in [`super::WIRES`].
const PREFIXES: &[&str] = &[
    "/api/v2",
    "/api/v3",
    "/index.php",
    "/assignment",
    "/assignments",
    "/certificate",
    "/content",
    "/contents",
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
    "/users",
    "/webhook",
];

const ROUTES: &[Route] = routes![
    GET "/enrollment/{enrollment_id}" => enrollment::get,
    POST "/enrollment/{enrollment_id}" => enrollment::edit,
];
