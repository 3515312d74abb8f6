//! The state in a saved plan: what an apply without changes would save.

use std::io::Read;

use serde::Deserialize;
use serde_json::Value;
use zip::ZipArchive;

use super::plan::Plan;
use crate::base::small_file;

/// The state after the refresh, in the file of a plan.
const MEMBER: &str = "tfstate";
/// In bytes. A larger state is applied by Terraform.
const LIMIT: u64 = 64 << 20;

/// What the apply of a plan without changes can change.
#[derive(Deserialize)]
struct Checks {
    check_results: Option<Value>,
}

impl Plan {
    /// Returns the bytes that an apply would save if it changes nothing: the plan has no changes,
    /// its refresh found none, and the code has no conditions that the apply evaluates again.
    pub(crate) fn unchanged_state(&self) -> Option<Vec<u8>> {
        if self.has_changes || !self.text.is_plain_no_changes() {
            return None;
        }
        let file = small_file::open(&self.request.plan_file).ok()?;
        let mut archive = ZipArchive::new(file).ok()?;
        let member = archive.by_name(MEMBER).ok()?;
        let mut bytes = Vec::new();
        member.take(LIMIT + 1).read_to_end(&mut bytes).ok()?;
        let is_whole = u64::try_from(bytes.len()).is_ok_and(|size| size <= LIMIT);
        let has_checks = || {
            let checks = serde_json::from_slice::<Checks>(&bytes);
            checks.map_or(true, |it| it.check_results.is_some())
        };
        (is_whole && !has_checks()).then_some(bytes)
    }
}
