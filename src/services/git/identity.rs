//! The identity of a person, as git writes it into commits.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::{Git, place};
use crate::base::{
    limits::Limit,
    process::{Life, Program},
    run_as::RunAs,
};

/// The setting, in the file of the checkout or of the user.
const EMAIL: &str = "user.email";

impl Git<'_> {
    /// Returns the e-mail address for commits in `folder`: that of the checkout, or else that of
    /// the user. None if there is none.
    pub(crate) async fn email(&self, folder: &Path) -> Option<String> {
        if let Some(place) = place::find(folder) {
            // As data: an include could name any file.
            let file = place.common.join("config").into_os_string();
            let args = ["config".into(), "--no-includes".into(), "--file".into(), file];
            if let Some(email) = self.ask(args.into()).await {
                return Some(email);
            }
        }
        self.ask(vec!["config".into(), "--global".into()]).await
    }

    async fn ask(&self, mut args: Vec<OsString>) -> Option<String> {
        args.extend([OsString::from("--get"), EMAIL.into()]);
        let mut env = self.host.environment.for_programs();
        let kept = ["PATH", "HOME", "XDG_CONFIG_HOME"].map(OsStr::new);
        env.retain(|name, _| kept.contains(&name.as_os_str()));
        let life = Life::Expendable(Limit::Git);
        let program = Program::new(&self.program, Path::new("/"), &env, RunAs::Ourselves, life);
        let answer = program.args(args).capture(&self.host.log, &self.host.interrupt).await.ok()?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        (answer.code == 0 && !text.is_empty()).then_some(text)
    }
}
