//! What was earned: certificate and badge designs, forms, issued certificates.

pub mod achievement;
pub mod design;
pub mod form;
pub mod image;
pub mod issue;
