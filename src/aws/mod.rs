//! What the parts need to know of AWS.

pub(crate) mod failure;
