//! The Docker engine, over its API: which one there is, what it can do, and what it is told.

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
    credentials::RegistryCredentials, push::PushRejection, running::Running,
};
