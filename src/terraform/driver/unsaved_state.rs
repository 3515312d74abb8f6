//! A state that Terraform failed to save: the file that it leaves, or else what it prints.

use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use crate::{base::run_folder::read_left_file, terraform::output::events::PrintedState};

/// The file to which Terraform writes the state if it fails to save it.
pub(crate) const ERRORED_STATE: &str = "errored.tfstate";

/// A state that Terraform failed to save.
pub(crate) enum UnsavedState {
    File {
        path: PathBuf,
        /// None if cdflow cannot read the file.
        content: Option<Vec<u8>>,
    },
    /// Terraform could not write the file either, and printed the state.
    Printed(Vec<u8>),
    /// There is only a part of it, or nothing. The text says why.
    Lost(&'static str),
}

impl UnsavedState {
    /// None if Terraform left nothing in `infra` and printed nothing.
    pub(super) fn find(infra: &Path, printed: Option<PrintedState>) -> Option<Self> {
        let path = infra.join(ERRORED_STATE);
        let left = path.symlink_metadata().is_ok().then(|| read_left_file(&path));
        match (left, printed) {
            (Some(Ok(content)), _) if is_json(&content) => {
                Some(Self::File { path, content: Some(content) })
            }
            (_, Some(PrintedState::Whole(state))) => {
                Some(Self::Printed(state.get().as_bytes().to_vec()))
            }
            (_, Some(PrintedState::TooLarge)) => Some(Self::Lost(
                "Terraform could not write errored.tfstate, and the state that it \
                                 printed is larger than 256 MiB",
            )),
            (Some(Ok(_)), None) => {
                Some(Self::Lost("Terraform left an empty or incomplete errored.tfstate"))
            }
            (Some(Err(_)), None) => Some(Self::File { path, content: None }),
            (None, None) => None,
        }
    }
}

/// Terraform creates the file before it writes to it.
fn is_json(content: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(content).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn an_incomplete_file_is_not_taken_for_a_state() {
        let folder = tempfile::tempdir().unwrap();
        let find = |printed| UnsavedState::find(folder.path(), printed);
        let printed = || RawValue::from_string("{\"serial\":2}".to_owned()).unwrap();
        assert!(find(None).is_none());
        for incomplete in ["", "{\"serial\":"] {
            fs::write(folder.path().join(ERRORED_STATE), incomplete).unwrap();
            assert!(matches!(find(None), Some(UnsavedState::Lost(_))));
            assert!(matches!(find(Some(PrintedState::TooLarge)), Some(UnsavedState::Lost(_))));
            let Some(UnsavedState::Printed(state)) = find(Some(PrintedState::Whole(printed())))
            else {
                panic!("the printed state is not found")
            };
            assert_eq!(state, b"{\"serial\":2}");
        }
        fs::write(folder.path().join(ERRORED_STATE), "{\"serial\":1}").unwrap();
        for printed in [None, Some(PrintedState::Whole(printed()))] {
            let Some(UnsavedState::File { content: Some(content), .. }) = find(printed) else {
                panic!("the file is not found")
            };
            assert_eq!(content, b"{\"serial\":1}");
        }
    }
}
