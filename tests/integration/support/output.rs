//! How a program ended and what it said; every assertion that fails shows all of it.

use super::{Sandbox, Scrub};

pub(crate) struct Output {
    /// The exit code; 128 and the signal's number for a program that a signal ended.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) elapsed: std::time::Duration,
    pub(super) command: String,
    pub(super) scrub: Scrub,
    /// Keeps the folders that the output speaks of.
    pub(super) _sandbox: Sandbox,
}

impl Output {
    #[track_caller]
    pub(crate) fn success(&self) -> &Self {
        self.fails(0)
    }

    /// Ended with this exit code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> &Self {
        self.check(self.code == code, &format!("expected exit code {code}"))
    }

    #[track_caller]
    pub(crate) fn stdout_has(&self, text: &str) -> &Self {
        self.check(self.stdout.contains(text), &format!("expected on stdout: {text}"))
    }

    #[track_caller]
    pub(crate) fn stderr_has(&self, text: &str) -> &Self {
        self.check(self.stderr.contains(text), &format!("expected on stderr: {text}"))
    }

    /// Neither stream holds this text, as it is or in another letter case.
    #[track_caller]
    pub(crate) fn lacks(&self, text: &str) -> &Self {
        let said = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        self.check(!said.contains(&text.to_lowercase()), &format!("expected nowhere: {text}"))
    }

    /// These texts, each after the one before it.
    #[track_caller]
    pub(crate) fn stdout_has_in_order(&self, texts: &[&str]) -> &Self {
        let mut rest = self.stdout.as_str();
        for text in texts {
            let Some(at) = rest.find(text) else {
                return self.check(
                    false,
                    &format!("expected on stdout, in this order: {texts:#?}\nmissing: {text}"),
                );
            };
            rest = &rest[at + text.len()..];
        }
        self
    }

    /// All of stdout, scrubbed.
    #[track_caller]
    pub(crate) fn stdout_is(&self, expected: &str) -> &Self {
        self.same("stdout", &self.scrubbed(&self.stdout), expected)
    }

    /// All of stderr, scrubbed.
    #[track_caller]
    pub(crate) fn stderr_is(&self, expected: &str) -> &Self {
        self.same("stderr", &self.scrubbed(&self.stderr), expected)
    }

    /// Stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("expected JSON on stdout: {error}\n{self}"),
        }
    }

    pub(crate) fn scrubbed(&self, text: &str) -> String {
        self.scrub.apply(text)
    }

    #[track_caller]
    fn same(&self, stream: &str, actual: &str, expected: &str) -> &Self {
        let at = actual
            .lines()
            .zip(expected.lines())
            .take_while(|(actual, expected)| actual == expected)
            .count();
        let line = |text: &str| text.lines().nth(at).map_or("(nothing)".to_owned(), str::to_owned);
        self.check(
            actual == expected,
            &format!(
                "{stream} differs from line {} on\n  expected: {}\n  actual:   {}\n--- {stream}, \
                scrubbed\n{actual}",
                at + 1,
                line(expected),
                line(actual)
            ),
        )
    }

    #[track_caller]
    fn check(&self, holds: bool, expected: &str) -> &Self {
        assert!(holds, "{expected}\n{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr, elapsed, command, .. } = self;
        write!(
            f,
            "--- command ({:.1} s)\n{command}\n--- exit code\n{code}\n--- stdout\n{stdout}\n--- \
            stderr\n{stderr}\n---",
            elapsed.as_secs_f64()
        )
    }
}
