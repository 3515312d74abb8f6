//! The Docker engine, over its API: connecting, building, pushing, and following containers.

mod address;
mod build;
mod builder;
mod buildkit_session;
mod connection;
mod credentials;
mod images;
mod output;
mod push;
mod running;

pub(crate) use self::{
    address::EngineAddress, build::Build, builder::Builder, connection::Engine,
    credentials::RegistryCredentials, push::PushRejection,
};
