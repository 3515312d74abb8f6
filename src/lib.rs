//! cdflow carries a component from commit to running infrastructure: build once, publish one immutable release,
//! deploy that release to any environment.
#![cfg_attr(not(test), allow(dead_code, reason = "skeleton"))]

mod account;
mod artifact;
mod aws;
mod bundle;
mod digest;
mod document;
mod environment;
mod error;
mod git;
mod host;
mod interrupt;
mod ledger;
mod log;
mod manifest;
mod names;
mod private;
mod process;
mod redact;
mod release;
mod source;
mod store;
mod terraform;
