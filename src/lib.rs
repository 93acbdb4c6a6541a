//! Haksa (학사): one self-hosted server that speaks five documented APIs over one domain, one
//! database, one permission model and one history.

pub mod alarm;
pub mod app;
pub mod budget;
pub mod check;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod dialect;
pub mod domain;
pub mod gallery;
pub mod guesses;
pub mod health;
pub mod hmac_header;
pub mod http;
pub mod log;
pub mod memory;
pub mod payer;
pub mod picture;
pub mod pipeline;
pub mod sabotage;
pub mod seats;
pub mod store;
pub mod telemetry;
pub mod turns;
pub mod vault;
