//! Tests that every release must pass.

pub mod functions;

#[test]
fn greets_by_default() {
    assert_eq!(functions::greeting(), "Hello");
}
