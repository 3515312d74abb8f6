//! Tests that each release must pass. A component without tests needs no lib.rs.

pub mod functions;

#[test]
fn greets() {
    assert_eq!(functions::greeting(), "Hello");
}
