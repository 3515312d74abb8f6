//! The state in a saved plan: what an apply without changes would save.

use std::{
    fs::File,
    io::{self, Read},
};

use serde::Deserialize;
use serde_json::Value;
use zip::{ZipArchive, read::ZipFile};

use super::plan::Plan;
use crate::{base::small_file, config::flavor::Flavor};

/// The state after the refresh, in the file of a plan.
const STATE: &str = "tfstate";
/// The folder with the code, and that of its modules.
pub(super) const CODE: &str = "tfconfig/";
/// What the apply evaluates, also if nothing changes.
const CONDITIONS: [&str; 4] = ["check", "postcondition", "precondition", "validation"];
/// Settings by which OpenTofu writes a state once more.
const ENCRYPTION: &str = "encryption";
/// In bytes. Terraform applies plans with larger members.
const LIMIT: u64 = 64 << 20;

/// Results of conditions that the state has and the code need not have any more.
#[derive(Deserialize)]
struct Checks {
    check_results: Option<Value>,
}

impl Plan {
    /// Returns the bytes that an apply would save if it changes nothing: the plan has no changes,
    /// its refresh found none, and neither code nor state has conditions that the apply evaluates
    /// again.
    pub(crate) fn unchanged_state(&self, flavor: Flavor) -> Option<Vec<u8>> {
        if self.has_changes || !self.text.is_plain_no_changes() {
            return None;
        }
        let file = small_file::open(&self.request.plan_file).ok()?;
        let mut archive = ZipArchive::new(file).ok()?;
        if is_evaluated(&mut archive, flavor).unwrap_or(true) {
            return None;
        }
        let bytes = whole(archive.by_name(STATE).ok()?).ok()?;
        let checks: Checks = serde_json::from_slice(&bytes).ok()?;
        checks.check_results.is_none().then_some(bytes)
    }
}

/// Whether the code has words that can be a condition, or set up encryption.
fn is_evaluated(archive: &mut ZipArchive<File>, flavor: Flavor) -> io::Result<bool> {
    let mut has_code = false;
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        if !member.name()?.starts_with(CODE) || member.is_dir() {
            continue;
        }
        has_code = true;
        let code = whole(member)?;
        let has = |word: &&str| has_word(&code, word.as_bytes());
        if CONDITIONS.iter().any(has) || (flavor == Flavor::OpenTofu && has(&ENCRYPTION)) {
            return Ok(true);
        }
    }
    Ok(!has_code)
}

pub(super) fn whole(member: ZipFile<'_, File>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    member.take(LIMIT + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|size| size <= LIMIT) {
        true => Ok(bytes),
        false => Err(io::Error::other("too large")),
    }
}

/// Whether `word` is there as an identifier, and not as a part of one.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
    };
    text.windows(word.len()).enumerate().any(|(at, found)| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        found == word && !is_part(before) && !is_part(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        for (text, expected) in [
            ("check \"x\" {", true),
            ("{\"check\": {}}", true),
            ("check", true),
            ("health_check {", false),
            ("check_interval = 1", false),
            ("checks = []", false),
            ("", false),
        ] {
            assert_eq!(has_word(text.as_bytes(), b"check"), expected, "{text}");
        }
    }
}
