//! Terraform's lines of progress before a plan, without what could be a sensitive value.

use super::plain::without_colors;

/// Terraform's words after the address of a resource.
const VERBS: [&str; 11] = [
    "Refreshing state...",
    "Reading...",
    "Still reading...",
    "Read complete",
    "Preparing import...",
    "Opening...",
    "Still opening...",
    "Opening complete",
    "Closing...",
    "Still closing...",
    "Closing complete",
];
/// Terraform's words about the lock of the state.
const LOCK: [&str; 2] = [
    "Acquiring state lock. This may take a few moments...",
    "Releasing state lock. This may take a few moments...",
];

/// Returns what can be shown of a line of progress before the plan's sensitive values are known:
/// names of the code, Terraform's own words and times. None if it is another line.
///
/// The id of a resource and a key of `for_each` are values, and can be sensitive.
pub(crate) fn progress(line: &str) -> Option<String> {
    let line = without_colors(line);
    let line = line.trim();
    if LOCK.contains(&line) {
        return Some(line.to_owned());
    }
    let (address, rest) = address(line)?;
    let rest = rest.strip_prefix(": ")?;
    let verb = VERBS.iter().find(|verb| rest.starts_with(**verb))?;
    let time = time(rest).map(|time| format!(" [{time}]")).unwrap_or_default();
    Some(format!("{address}: {verb}{time}"))
}

/// Splits a line into the address at its start, without the keys of instances, and the rest.
fn address(line: &str) -> Option<(String, &str)> {
    let (mut shown, mut rest) = (String::new(), line);
    loop {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let end = rest.find(|c| !is_name(c)).filter(|end| *end > 0)?;
        shown.push_str(&rest[..end]);
        rest = &rest[end..];
        if let Some(key) = rest.strip_prefix('[') {
            let (key, after) = split_key(key)?;
            shown.push_str(&format!("[{key}]"));
            rest = after;
        }
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None => return Some((shown, rest)),
        }
        shown.push('.');
    }
}

/// Splits after the bracket of an instance's key. A number is that of `count`, and stays.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (number, rest) = text.split_once(']')?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        return is_number.then_some((number, rest));
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some(("...", quoted[end..].strip_prefix("\"]")?))
}

/// Returns `10s elapsed` or `after 1m2s`.
fn time(rest: &str) -> Option<String> {
    let is_time = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"hms.".contains(&byte))
    };
    if let Some((_, after)) = rest.split_once(" complete after ") {
        let time = after.split(' ').next().filter(|time| is_time(time))?;
        return Some(format!("after {time}"));
    }
    let time = rest.strip_suffix(" elapsed]")?.rsplit([' ', '[']).next()?;
    is_time(time).then(|| format!("{time} elapsed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_of_progress() {
        for (line, shown) in [
            (
                "\u{1b}[0m\u{1b}[1ma.b: Refreshing state... [id=x: y]\u{1b}[0m",
                "a.b: Refreshing state...",
            ),
            ("a.b[\"hush\"]: Refreshing state... [id=1]", "a.b[...]: Refreshing state..."),
            ("a.b[\"k]: Reading...\\\" x\"]: Reading...", "a.b[...]: Reading..."),
            ("module.m[\"k\"].data.a.b[12]: Reading...", "module.m[...].data.a.b[12]: Reading..."),
            (
                "data.a.b: Still reading... [10s elapsed]",
                "data.a.b: Still reading... [10s elapsed]",
            ),
            (
                "a.b: Still reading... [id=p w, 1m10s elapsed]",
                "a.b: Still reading... [1m10s elapsed]",
            ),
            ("a.b: Read complete after 0s [id=pw]", "a.b: Read complete [after 0s]"),
            ("a.b: Preparing import... [id=pw]", "a.b: Preparing import..."),
            (
                "ephemeral.a.b: Opening complete after 1s",
                "ephemeral.a.b: Opening complete [after 1s]",
            ),
            (LOCK[0], LOCK[0]),
        ] {
            assert_eq!(progress(line).as_deref(), Some(shown), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_progress() {
        for line in [
            "",
            "pass word: Reading...",
            "  + input = \"a.b: Reading...\"",
            "a.b[\"k\": Reading...",
            "a.b[k]: Reading...",
            "a.b: hush",
            "a.b",
            "Acquiring a password",
        ] {
            assert_eq!(progress(line), None, "{line}");
        }
    }
}
