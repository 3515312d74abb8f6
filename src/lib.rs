//! cdflow carries a component from commit to running infrastructure: build once, publish one immutable release,
//! deploy that release to any environment.
#![cfg_attr(not(test), allow(dead_code, reason = "skeleton"))]

mod aws;
mod digest;
mod error;
mod store;
