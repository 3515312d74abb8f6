//! Rules that are evaluated before anything is applied.

pub(crate) mod hold;
pub(crate) mod label;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod plan_role;
pub(crate) mod release;
pub(crate) mod state;
#[cfg(test)]
mod tests;
