//! Docker images: what is sent to the engine, how it is built and pushed, and who may do that.

pub(crate) mod containers;
#[cfg_attr(not(test), expect(dead_code, reason = "the types of images come next"))]
pub(crate) mod context;
mod ignore;
#[cfg_attr(not(test), expect(dead_code, reason = "the types of images come next"))]
pub(crate) mod logins;
