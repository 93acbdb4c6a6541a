//! Accounts, the people in them, and how they are organised.

pub mod account;
pub mod credential;
pub mod department;
pub mod known;
pub mod network;
pub mod person;
pub mod role;
pub mod throttle;
