//! Docker images: what is sent to the engine, how it is built and pushed, and who may do that.

pub(crate) mod base_images;
pub(crate) mod context;
pub(crate) mod engine;
mod ignore;
