//! Partner API: classes, invite codes, students, courses and models, in the manner of FastAPI. Wire
//! rules: `docs/compatibility/partner.md`.

mod auth;
mod class;
mod course;
mod email;
mod error;
mod instant;
mod invite;
mod json;
mod login;
mod member;
mod model;
mod request;
mod student;
mod user;
mod validate;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Partner,
    roots: &[""],
    routes: ROUTES,
    unrooted: &[],
    prefixes: &["/partner", "/course", "/models", "/user"],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: Some(|call| Box::pin(async { Ok(request::redirect(call)) })),
    openapi: Some(include_str!("../../../docs/openapi/partner.json")),
};

const ROUTES: &[Route] = routes![
    GET "/partner/{partner_id}/classes" => class::list,
    POST "/partner/{partner_id}/classes" => class::create,
    GET "/partner/{partner_id}/classes/{class_id}" => class::get,
    PATCH "/partner/{partner_id}/classes/{class_id}" => class::patch,
    DELETE "/partner/{partner_id}/classes/{class_id}" => class::delete,
    GET "/partner/{partner_id}/classes/{class_id}/invite-codes" => invite::list,
    POST "/partner/{partner_id}/classes/{class_id}/invite-codes" => invite::create,
    PATCH "/partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}"
        => invite::patch,
    DELETE "/partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}"
        => invite::delete,
    GET "/partner/{partner_id}/classes/{class_id}/enrollments" => member::of_class,
    GET "/partner/{partner_id}/student" => student::list,
    GET "/partner/{partner_id}/student/{student_id}" => student::get,
    PATCH "/partner/{partner_id}/student/{student_id}" => student::patch,
    DELETE "/partner/{partner_id}/student/{student_id}" => student::delete,
    POST "/partner/{partner_id}/student/{student_id}/deactivate" => student::deactivate,
    POST "/partner/{partner_id}/student/{student_id}/archive" => student::archive,
    GET "/partner/{partner_id}/student/{student_id}/enrollments" => member::of_student,
    POST "/partner/{partner_id}/student/{student_id}/enrollments" => member::create,
    PATCH "/partner/{partner_id}/student/enrollments/{enrollment_id}" => member::patch,
    DELETE "/partner/{partner_id}/student/enrollments/{enrollment_id}" => member::delete,
    POST "/partner/{partner_id}/student/enrollments/{enrollment_id}/complete" => member::complete,
    POST "/partner/{partner_id}/student/enrollments/{enrollment_id}/drop" => member::drop,
    GET "/partner/{partner_id}/course" => course::list,
    POST "/partner/{partner_id}/course" => course::create,
    GET "/partner/{partner_id}/course/{course_id}" => course::get,
    PATCH "/partner/{partner_id}/course/{course_id}" => course::patch,
    DELETE "/partner/{partner_id}/course/{course_id}" => course::delete,
    GET "/course" => course::list_public,
    GET "/partner/{partner_id}/catalog/models" => model::list,
    GET "/models" => model::list_public,
    POST "/user/login" => login::login,
    POST "/user/refresh" => login::refresh,
    POST "/user/class/invites/redeem" => user::redeem,
    GET "/user/classes" => user::classes,
    DELETE "/user/class/enrollments/{enrollment_id}" => user::leave,
];
