//! One line of output.

use std::io::Write;

/// A closed pipe (`| head`) is no reason to stop an apply half way.
pub(super) fn write_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
