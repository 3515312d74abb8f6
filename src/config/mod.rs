//! What people write and what follows from it: cdflow.yml, the account scheme, names. Nothing here does I/O.

pub(crate) mod component;
pub(crate) mod guards;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod preview;
pub(crate) mod scheme;
pub(crate) mod version_constraint;
