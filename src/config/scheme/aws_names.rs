//! What AWS accepts as names in an account scheme.

pub(super) const BUCKET_RULE: &str = "3 to 63 lowercase letters, digits, `.` and `-`";
pub(super) const TABLE_RULE: &str = "3 to 255 letters, digits, `.`, `_` and `-`";

/// What AWS accepts as the name of a bucket.
pub(super) fn is_bucket(text: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
    (3..=63).contains(&text.len()) && text.bytes().all(is_valid)
}

/// What AWS accepts as the name of a DynamoDB table.
pub(super) fn is_table(text: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (3..=255).contains(&text.len()) && text.bytes().all(is_valid)
}

/// What IAM accepts as the name of a role, with a path before it.
pub(super) fn is_role(text: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&b);
    !text.is_empty() && text.bytes().all(is_valid)
}

pub(super) fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
