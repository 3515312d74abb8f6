//! Why a file was not decrypted.

use std::io;

/// Why a file was not decrypted.
#[derive(Debug)]
pub(crate) enum OpenError {
    Io(io::Error),
    /// It was encrypted to another key.
    OtherKey,
    /// It was changed, or is not a file of age for one X25519 key.
    Damaged,
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}
