//! Who gets in: tenants and the OAuth 2.0 applications they own.

mod address;
pub mod application;
pub mod consent;
pub mod tenant;
