//! GitHub: what the runner reads from us (files).

mod files;

pub(crate) use files::Files;
