//! cdflow carries a component from commit to running infrastructure: build once, publish one immutable release,
//! deploy that release to any environment.
#![cfg_attr(not(test), allow(dead_code, reason = "skeleton"))]

mod account;
mod digest;
mod document;
mod error;
mod git;
mod interrupt;
mod log;
mod manifest;
mod names;
mod process;
mod redact;
mod release;
mod terraform;
