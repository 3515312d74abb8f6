//! dockerfile: prints or writes the Dockerfile of a function component.

use std::{fs::File, io, io::Write};

use super::function::FunctionComponent;
use crate::{
    base::error::{Error, Result},
    cli::args::{DockerfileInputs, Global},
    release::artifact::function::{Code, Profile, log_inputs},
    services::{ci::host::Host, docker::engine::Engine, registry::logins::Logins},
};

const FILE: &str = "Dockerfile";

/// Prints the Dockerfile and describes the build context and base images; or writes the Dockerfile.
pub(crate) async fn run(global: &Global, inputs: &DockerfileInputs, host: &Host) -> Result<()> {
    let component = FunctionComponent::open(global)?;
    let images = component.images(Profile::Release, &inputs.images, host)?;
    let code = Code::find(&component.folder)?;
    // Rejects what a release would reject.
    let context = code.context(Profile::Release, &images)?;
    let text = code.dockerfile(Profile::Release, &images);
    if inputs.write {
        write(&code, &text)?;
        host.log.done(&format!("Wrote `{}`", code.folder.join(FILE).display()));
        return Ok(());
    }
    text.lines().for_each(|line| host.log.output(line));
    let engine = Engine::connect(host).await.ok();
    let logins = Logins::gather(&[], &host.environment, &host.log.redactor)?;
    log_inputs(&images, &context, engine.as_ref(), &logins, host).await;
    Ok(())
}

/// Never overwrites: an existing Dockerfile might have been edited.
fn write(code: &Code, text: &str) -> Result<()> {
    let path = code.folder.join(FILE);
    let mut file = File::create_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::input(format!("`{}` already exists", path.display()))
                .why("cdflow does not overwrite a Dockerfile")
                .hint("print it with `cdflow dockerfile`, or remove the old file first")
        }
        _ => Error::io("cannot write", &path, &error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| Error::io("cannot write", &path, &error))
}
