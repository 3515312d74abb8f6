//! Tests that every release must pass.

pub mod functions;

#[test]
fn greets_without_being_told_how() {
    assert_eq!(functions::greeting(), "Hello");
}
