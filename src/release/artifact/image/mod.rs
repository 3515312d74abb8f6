//! A Docker image: what it is built from, its name, its build and its push.

mod latest;
mod name;
mod push;
mod release_image;
mod request;
mod sources;

pub(crate) use self::{
    name::{ImageName, registry_host},
    release_image::{ImageInputs, ImageTarget, ReleaseImage},
    sources::{function_sources, sources},
};
