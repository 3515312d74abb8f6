//! What a registry is told to let us in.

use crate::redact::Secret;

/// A user and a password, or a token that stands for both.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// An OAuth refresh token, as `docker login` keeps for some registries.
    IdentityToken(Secret),
}
