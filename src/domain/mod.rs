//! The rules: pure, synchronous, without I/O, HTTP or SQL. A dialect turns wire into
//! [`command::Command`]s; the pipeline decides and commits them.

pub mod access;
pub mod actor;
pub mod change;
pub mod command;
pub mod error;
pub mod facts;
pub mod fields;
pub mod kind;
pub mod list;
pub mod names;
pub mod patch;
pub mod record;
pub mod standing;
pub mod table;
pub mod tag;
pub mod text;

pub mod certificate;
pub mod delivery;
pub mod learning;
pub mod people;
pub mod relation;
pub mod sign_in;
pub mod teaching;
pub mod time;
