//! The account scheme: which environment lives in which account, and where releases and state are
//! kept.

mod account_scheme;
mod aws_names;
mod encryption;
mod file;
mod frozen;
mod plan_encryption;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    account_scheme::{Account, AccountScheme, ImageRegistry, Matched, StateBackend, Storage},
    encryption::Encryption,
    frozen::FrozenAccount,
    plan_encryption::PlanEncryption,
};
