//! The last lines of a build step, for the error when it fails.

use std::collections::VecDeque;

/// Lines of a failed step's output that go into the error.
const TAIL: usize = 20;

/// The last lines of something.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_only() {
        let mut tail = Tail::default();
        (0..100).for_each(|n| tail.push(&n.to_string()));
        assert_eq!((tail.lines().len(), tail.lines()[0].as_str()), (TAIL, "80"));
    }
}
