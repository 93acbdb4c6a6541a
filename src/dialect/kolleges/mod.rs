//! Kolleges Open API: certificates, their forms and designs. Wire rules: `docs/compatibility/kolleges.md`.

mod achievement;
mod auth;
mod date;
mod design;
mod encode;
mod error;
mod form;
mod issue;
mod request;

use super::{Dialect, LongBody, Route, Wire, routes, upload};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Kolleges,
    roots: &[""],
    routes: ROUTES,
    unrooted: &[],
    prefixes: &["/open-api"],
    reject: error::reject,
    malformed: error::malformed,
    strays: STRAYS,
    long_bodies: LONG_BODIES,
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: None,
    openapi: Some(include_str!("../../../docs/openapi/kolleges.json")),
};

const ROUTES: &[Route] = routes![
    GET "/open-api/achievements" => achievement::list,
    GET "/open-api/achievements/{achievementId}" => achievement::get,
    PATCH "/open-api/achievements/{achievementId}" => achievement::patch,
    DELETE "/open-api/achievements/{achievementId}" => achievement::delete,
    POST "/open-api/achievements/issue" => issue::post,
    GET "/open-api/achievements/forms" => form::list,
    POST "/open-api/achievements/forms" => form::post,
    GET "/open-api/achievements/forms/{achievementFormId}" => form::get,
    PATCH "/open-api/achievements/forms/{achievementFormId}" => form::patch,
    GET "/open-api/certificate-designs" => design::list_certificates,
    GET "/open-api/certificate-designs/{certificateDesignId}"
        => design::get_certificate,
    GET "/open-api/badge-designs" => design::list_badges,
    GET "/open-api/badge-designs/{badgeDesignId}"
        => design::get_badge,
    POST "/open-api/badge-designs" => design::post_badge,
    POST "/open-api/achievements/badge-designs" => design::post_badge,
];

/// To the vendor's router these are certificates whose id is no number.
const STRAYS: &[Route] = routes![
    PATCH "/open-api/achievements/forms" => achievement::no_number,
    DELETE "/open-api/achievements/forms" => achievement::no_number,
    GET "/open-api/achievements/issue" => achievement::no_number,
    PATCH "/open-api/achievements/issue" => achievement::no_number,
    DELETE "/open-api/achievements/issue" => achievement::no_number,
    GET "/open-api/achievements/badge-designs" => achievement::no_number,
    PATCH "/open-api/achievements/badge-designs" => achievement::no_number,
    DELETE "/open-api/achievements/badge-designs" => achievement::no_number,
];

/// Routes that take longer bodies, from callers that are known.
const LONG_BODIES: &[LongBody] = &[
    LongBody { path: "/open-api/achievements/issue", max: issue::BODY_MAX },
    LongBody { path: "/open-api/badge-designs", max: upload::BODY_MAX },
    LongBody { path: "/open-api/achievements/badge-designs", max: upload::BODY_MAX },
];
