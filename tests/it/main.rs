//! Tests of the whole server: real HTTP, real databases.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends there"
)]
mod support;

mod acts;
mod bounds;
mod catalogue;
mod cli;
mod contacts;
mod crash;
mod delivery;
mod ends;
mod fuzz;
mod http;
mod ispring;
mod kolleges;
mod lengths;
mod lists;
mod matrix;
mod migrations;
mod naming;
mod native;
mod ncloud;
mod neighbours;
mod openapi;
mod partner;
mod pipeline;
mod releases;
mod silence;
mod solapi;
mod tables;
mod tags;
mod tidy;
mod trees;
mod wires;
