//! What people write and what follows from it: cdflow.yml, the account scheme, names. Nothing here
//! does I/O.

/// Reads types from scalars by their own `FromStr`.
macro_rules! deserialize_from_str {
    ($($name:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

mod address;
mod approvals;
pub(crate) mod branches;
pub(crate) mod comments;
pub(crate) mod component;
pub(crate) mod defaults;
pub(crate) mod duration;
pub(crate) mod flavor;
mod guard_file;
pub(crate) mod guards;
pub(crate) mod hooks;
pub(crate) mod identity;
pub(crate) mod location;
pub(crate) mod names;
pub(crate) mod notify;
pub(crate) mod platforms;
pub(crate) mod policy;
pub(crate) mod preview;
pub(crate) mod review_rule;
#[cfg(test)]
mod schema;
pub(crate) mod scheme;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod team_name;
pub(crate) mod variable_name;
pub(crate) mod version_constraint;
pub(crate) mod version_pick;
