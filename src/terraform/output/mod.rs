//! What Terraform prints: plans, events, diagnostics, failures.

mod by_address;
pub(crate) mod cause;
pub(crate) mod changes;
pub(crate) mod diagnostics;
pub(crate) mod effects;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod identity;
pub(crate) mod json_diagnostics;
pub(crate) mod located;
pub(crate) mod plain;
pub(crate) mod plan_document;
pub(crate) mod plan_text;
pub(crate) mod progress;
pub(crate) mod results;
pub(crate) mod risk;
pub(crate) mod unknown;
