//! Terraform's output without colours and boxes.

/// Removes ANSI colours and the box that Terraform draws around diagnostics.
pub(crate) fn plain(line: &str) -> String {
    let out: String =
        without_colors(line).chars().filter(|c| !['│', '╷', '╵'].contains(c)).collect();
    out.trim_end().to_owned()
}

/// Removes ANSI escape sequences.
pub(crate) fn without_colors(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                chars.by_ref().find(|c| c.is_ascii_alphabetic());
            }
            c => out.push(c),
        }
    }
    out
}
