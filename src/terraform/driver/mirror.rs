//! `terraform providers mirror`: downloads providers for platforms other than this one.

use std::path::Path;

use super::folder::Folder;
use crate::{
    base::{
        error::{Exit, Result},
        limits::Limit,
        process::Life,
    },
    terraform::output::failure::OutputLines,
};

impl Folder {
    /// Downloads what the code of the folder requires from the registries, for `platforms`, into
    /// the mirror `to`. Returns the output if a package could not be downloaded.
    pub(crate) async fn mirror_providers(
        &self,
        platforms: &[&str],
        to: &Path,
    ) -> Result<Option<OutputLines>> {
        let mut args = ["providers", "mirror", "-no-color"].map(str::to_owned).to_vec();
        args.extend(platforms.iter().map(|platform| format!("-platform={platform}")));
        args.push(to.display().to_string());
        let mut output = OutputLines::default();
        let mut show = |line: &str| {
            output.push(line);
            self.host.log.program_output(line);
        };
        let _progress = self.host.progress("downloading providers", None);
        let program = self.program(&args, Life::Expendable(Limit::TerraformInit));
        let ended = program.relay(&self.host.log, &self.host.interrupt, &mut show).await;
        let ended = ended.map_err(|error| match error.exit() {
            Exit::PlanFailed => error.exit_with(Exit::BuildFailed),
            _ => error,
        })?;
        self.host.interrupt.check("downloading providers")?;
        Ok((ended.code != 0).then_some(output))
    }
}
