//! One line of output.

use std::io::Write;

/// Ignores errors: a closed pipe (`| head`) must not stop an apply.
pub(super) fn write_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}
