//! Who gets in: tenants and the OAuth 2.0 applications they own.

pub mod application;
pub mod consent;
pub mod tenant;
