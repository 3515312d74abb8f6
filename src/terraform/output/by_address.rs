//! Items found by the address of their resource. A plan can have ten thousand resources.

use std::collections::HashMap;

/// Items by address; those of one address are in their order.
pub(super) struct ByAddress<'a, T>(HashMap<&'a str, Vec<&'a T>>);

impl<'a, T> ByAddress<'a, T> {
    pub(super) fn of(items: &'a [T], address: impl Fn(&'a T) -> &'a str) -> Self {
        let mut found: HashMap<&str, Vec<&T>> = HashMap::new();
        for item in items {
            found.entry(address(item)).or_default().push(item);
        }
        Self(found)
    }

    /// Returns the items of an address.
    pub(super) fn at(&self, address: &str) -> &[&'a T] {
        self.0.get(address).map_or(&[], Vec::as_slice)
    }
}
