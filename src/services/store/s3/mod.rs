//! A release store in an S3 bucket.

pub(crate) mod client;
pub(crate) mod download;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
