//! Haksa's own API, `/haksa/v1`: what none of the vendors has. Bearer key, JSON, problem details
//! (RFC 9457).

mod auth;
mod certificates;
mod error;
mod history;
mod image;
mod message;
mod model;
mod page;
mod record;

use super::{Dialect, Route, Wire, routes};

/// The dialect.
pub const WIRE: Wire = Wire {
    dialect: Dialect::Native,
    roots: &[""],
    routes: ROUTES,
    unrooted: &[],
    prefixes: &["/haksa"],
    reject: error::reject,
    malformed: error::malformed,
    strays: &[],
    long_bodies: &[],
    caller: |call| Box::pin(auth::caller(call)),
    trailing_slash: None,
    openapi: Some(include_str!("../../../docs/openapi/native.json")),
};

const ROUTES: &[Route] = routes![
    GET "/haksa/v1/records/{kind}/{id}/history" => history::list,
    GET "/haksa/v1/changes" => history::changes,
    GET "/haksa/v1/changes/{id}" => history::change,
    POST "/haksa/v1/changes/{id}/undo" => history::undo,
    GET "/haksa/v1/messages" => message::list,
    GET "/haksa/v1/messages/{id}" => message::read,
    POST "/haksa/v1/messages/{id}/retry" => message::retry,
    GET "/haksa/v1/images/{id}" => image::get,
    GET "/haksa/v1/achievements/{id}" => certificates::achievement,
    PATCH "/haksa/v1/achievements/{id}" => certificates::edit_achievement,
    GET "/haksa/v1/forms/{id}" => certificates::form,
    PATCH "/haksa/v1/forms/{id}" => certificates::edit_form,
    GET "/haksa/v1/designs" => certificates::designs,
    POST "/haksa/v1/designs" => certificates::make_design,
    GET "/haksa/v1/designs/{id}" => certificates::design,
    PATCH "/haksa/v1/designs/{id}" => certificates::edit_design,
    DELETE "/haksa/v1/designs/{id}" => certificates::delete_design,
    GET "/haksa/v1/account" => certificates::account,
    PATCH "/haksa/v1/account" => certificates::edit_account,
    GET "/haksa/v1/models" => model::list,
    POST "/haksa/v1/models" => model::create,
    GET "/haksa/v1/models/{id}" => model::get,
    PATCH "/haksa/v1/models/{id}" => model::patch,
    DELETE "/haksa/v1/models/{id}" => model::delete,
];

/// True when `name` names a right of this dialect.
pub fn is_right(name: &str) -> bool {
    auth::grant(name).is_some()
}
