//! `policy` of the account scheme: rules for every component, which no cdflow.yml can loosen.

mod file;
mod ingredients;
mod required_hook;
mod rules;
mod sources;

pub(crate) use self::{
    file::{PolicyFile, check_values},
    ingredients::{Ingredients, bullets},
    rules::Policy,
};
