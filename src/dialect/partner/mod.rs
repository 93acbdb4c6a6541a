//! Partner API: classes and courses, in the manner of FastAPI. Wire rules:
//! `docs/compatibility/partner.md`.

mod auth;
mod class;
mod course;
mod error;
mod instant;
mod json;
mod request;
mod validate;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Partner,
    routes: ROUTES,
    prefixes: &["/partner"],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    openapi: include_str!("../../../docs/openapi/partner.json"),
};

const ROUTES: &[Route] = routes![error::reject;
    GET "/partner/{partner_id}/classes/{class_id}" => class::get,
    PATCH "/partner/{partner_id}/classes/{class_id}" => class::patch,
    GET "/partner/{partner_id}/course" => course::list,
    POST "/partner/{partner_id}/course" => course::create,
    GET "/partner/{partner_id}/course/{course_id}" => course::get,
    PATCH "/partner/{partner_id}/course/{course_id}" => course::patch,
    DELETE "/partner/{partner_id}/course/{course_id}" => course::delete,
    GET "/partner/{partner_id}/classes/{class_id}/" => request::redirect,
    PATCH "/partner/{partner_id}/classes/{class_id}/" => request::redirect,
    GET "/partner/{partner_id}/course/" => request::redirect,
    POST "/partner/{partner_id}/course/" => request::redirect,
    GET "/partner/{partner_id}/course/{course_id}/" => request::redirect,
    PATCH "/partner/{partner_id}/course/{course_id}/" => request::redirect,
    DELETE "/partner/{partner_id}/course/{course_id}/" => request::redirect,
];
