//! Where it is taught: partners, classes, invite codes, students and their memberships, models.

pub mod class;
pub mod invite_code;
pub mod join;
pub mod membership;
pub mod model;
pub mod partner;
pub mod student;
