//! The input `ca-certificates`: PEM text, or the path of a PEM file.

use std::path::Path;

use crate::{
    base::{
        authorities::Given,
        error::{Error, Result},
        small_file,
    },
    config::settings::FileInput,
};

/// Reads the text, and names its origin for messages.
pub(crate) fn read(input: &FileInput) -> Result<Given> {
    match input {
        FileInput::Content(text) => {
            Ok(Given { text: text.expose().to_owned(), origin: "`ca-certificates`".to_owned() })
        }
        FileInput::File(path) => of_file(path),
    }
}

fn of_file(path: &Path) -> Result<Given> {
    let shown = path.display().to_string();
    if shown.contains(char::is_control) {
        return Err(Error::input(
            "`ca-certificates` is neither certificates nor the path of a file",
        )
        .why("it has several lines, and none starts with `-----BEGIN`")
        .hint("set it to certificates in PEM format, or to the path of a PEM file"));
    }
    let content = small_file::read(path).map_err(|error| {
        Error::io("cannot read the file of `ca-certificates`,", path, &error).hint(
            "set it to the path of a file in the checkout, or to the certificates themselves: the \
             Action's container sees no other files of the runner",
        )
    })?;
    // Comments in such files can have any encoding.
    let text = String::from_utf8_lossy(&content).into_owned();
    Ok(Given { text, origin: format!("`{shown}` (`ca-certificates`)") })
}
