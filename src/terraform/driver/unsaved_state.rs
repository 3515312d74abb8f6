//! A state that Terraform failed to save: the file that it leaves, or else what it prints.

use std::path::{Path, PathBuf};

use serde::{Deserialize, de::IgnoredAny};

use crate::{base::run_folder::read_left_file, terraform::output::events::PrintedState};

/// The file to which Terraform writes the state if it fails to save it.
pub(crate) const ERRORED_STATE: &str = "errored.tfstate";

/// A state that Terraform failed to save.
pub(crate) enum UnsavedState {
    File {
        path: PathBuf,
        /// Or why cdflow cannot read the file.
        content: Result<Vec<u8>, String>,
    },
    /// Terraform could not write the file either, and printed the state.
    Printed(Vec<u8>),
    /// There is only a part of it, or nothing. The text says why.
    Lost(&'static str),
}

impl UnsavedState {
    /// For an apply that failed. None if Terraform left nothing in `infra` and printed nothing.
    pub(super) fn find(infra: &Path, printed: Option<PrintedState>) -> Option<Self> {
        let path = infra.join(ERRORED_STATE);
        let left = path.symlink_metadata().is_ok().then(|| read_left_file(&path));
        match (left, printed) {
            (Some(Ok(content)), _) if is_state(&content) => {
                Some(Self::File { path, content: Ok(content) })
            }
            (_, Some(PrintedState::Whole(state))) if is_state(state.get().as_bytes()) => {
                Some(Self::Printed(state.get().as_bytes().to_vec()))
            }
            (_, Some(PrintedState::Whole(_))) => {
                Some(Self::Lost("Terraform printed a state that is not valid"))
            }
            (_, Some(PrintedState::TooLarge)) => Some(Self::Lost(
                "Terraform could not write errored.tfstate, and the state that it \
                                 printed is larger than 256 MiB",
            )),
            (Some(Ok(_)), None) => {
                Some(Self::Lost("Terraform left an empty or incomplete errored.tfstate"))
            }
            (Some(Err(error)), None) => Some(Self::File { path, content: Err(error.to_string()) }),
            (None, None) => None,
        }
    }
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    lineage: String,
    encrypted_data: Option<IgnoredAny>,
}

/// Terraform creates the file before it writes to it. A push would accept a state without lineage,
/// whatever is stored.
fn is_state(content: &[u8]) -> bool {
    serde_json::from_slice::<State>(content)
        .is_ok_and(|state| !state.lineage.is_empty() || state.encrypted_data.is_some())
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
        let state = |serial: u64| format!("{{\"serial\":{serial},\"lineage\":\"a\"}}");
        let printed =
            |text: &str| Some(PrintedState::Whole(RawValue::from_string(text.to_owned()).unwrap()));
        assert!(find(None).is_none());
        for incomplete in ["", "{\"serial\":", "{\"serial\":9,\"lineage\":\"\"}"] {
            fs::write(folder.path().join(ERRORED_STATE), incomplete).unwrap();
            assert!(matches!(find(None), Some(UnsavedState::Lost(_))));
            assert!(matches!(find(Some(PrintedState::TooLarge)), Some(UnsavedState::Lost(_))));
            assert!(matches!(find(printed("{\"serial\":9}")), Some(UnsavedState::Lost(_))));
            let Some(UnsavedState::Printed(found)) = find(printed(&state(2))) else {
                panic!("the printed state is not found")
            };
            assert_eq!(found, state(2).as_bytes());
        }
        fs::write(folder.path().join(ERRORED_STATE), state(1)).unwrap();
        for printed in [None, printed(&state(2))] {
            let Some(UnsavedState::File { content: Ok(content), .. }) = find(printed) else {
                panic!("the file is not found")
            };
            assert_eq!(content, state(1).as_bytes());
        }
    }
}
