//! The build context of a function: its code, and a Dockerfile that cdflow generates.

use super::{Images, Profile, code::Code, compile_time, dockerfile};
use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    services::docker::context::BuildContext,
};

const DOCKERFILE: &str = "Dockerfile";

impl Code {
    /// Returns the files for the engine. Only these can get into the image, so a `.dockerignore`
    /// has no effect.
    pub(crate) fn context(&self, profile: Profile, images: &Images) -> Result<BuildContext> {
        let mut files = self.sources();
        match profile {
            Profile::Release => self.check_compile_time()?,
            Profile::Dev => {
                let names = self.environment_files.iter();
                files.extend(names.map(|name| (name.clone(), self.folder.join(name))));
            }
        }
        BuildContext::of(&files, DOCKERFILE, &self.dockerfile(profile, images))
    }

    pub(crate) fn dockerfile(&self, profile: Profile, images: &Images) -> String {
        dockerfile::text(
            self,
            profile,
            images.build.as_str(),
            images.runtime.as_str(),
            images.runtime.has_no_shell(),
        )
    }

    fn check_compile_time(&self) -> Result<()> {
        for (name, path) in self.sources() {
            let text =
                small_file::text(&path).map_err(|error| Error::io("cannot read", &path, &error))?;
            if let Some((line, found)) = compile_time::environment_file(&text) {
                return Err(Error::refused(format!(
                    "{name}:{line}: `{found}` reads an environment file at compile time"
                ))
                .why(
                    "its values would be in the image, for everyone who can pull it; a release \
                     build gets no such files",
                )
                .hint(
                    "read variables at run time (`std::env::var`), and set their values in infra/",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        base::error::Exit, release::artifact::function::code::tests::component,
        services::docker::context::EntryKind,
    };

    fn names(context: &BuildContext) -> Vec<&str> {
        context.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    fn images() -> Images {
        Images::plain("build:1", "runtime:1")
    }

    #[test]
    fn environment_files_are_for_the_developer_alone() {
        let component = component(&[
            ("functions.rs", ""),
            ("lib.rs", ""),
            (".env", "SECRET=1"),
            (".env.local", "SECRET=2"),
            (".envrc", ""),
            (".dockerignore", "!.env\nfunctions.rs\n"),
            ("other.rs", ""),
        ]);
        let code = Code::find(component.path()).unwrap();
        let context = |profile| code.context(profile, &images()).unwrap();
        assert_eq!(names(&context(Profile::Release)), ["Dockerfile", "functions.rs", "lib.rs"]);
        let dev = context(Profile::Dev);
        assert_eq!(
            names(&dev),
            [".env", ".env.local", ".envrc", "Dockerfile", "functions.rs", "lib.rs"]
        );
        let EntryKind::Text(dockerfile) = &dev.entries[3].kind else {
            panic!("{:?}", dev.entries[3])
        };
        assert!(std::str::from_utf8(dockerfile).unwrap().contains("/app-build/src/.env.local"));
    }

    #[test]
    fn code_that_reads_an_environment_file_when_it_is_compiled() {
        let component =
            component(&[("src/functions.rs", "fn a() {\n  include_str!(\"../.env\");\n}\n")]);
        let code = Code::find(component.path()).unwrap();
        let refused = code.context(Profile::Release, &images()).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(
            refused
                .to_string()
                .starts_with("functions.rs:2: `include_str!` reads an environment file"),
            "{refused}"
        );
        assert!(code.context(Profile::Dev, &images()).is_ok());
    }
}
