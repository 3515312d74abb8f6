//! man: writes the manual pages into a folder, for packages.

use std::path::Path;

use crate::{
    base::error::{Error, Result},
    cli::guides,
    services::ci::host::Host,
};

pub(crate) fn run(folder: &Path, host: &Host) -> Result<()> {
    let pages = guides::manual(folder).map_err(|error| {
        Error::io("cannot write the manual pages", folder, &error).hint("name a writable folder")
    })?;
    host.log.done(&format!("{pages} manual pages in `{}`", folder.display()));
    Ok(())
}
