//! Where it is taught: partners, classes, invite codes, the models that a class may use.

pub mod class;
pub mod invite_code;
pub mod model;
pub mod partner;
