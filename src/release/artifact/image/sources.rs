//! The files that an image is built from.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        small_file,
    },
    config::component::Docker,
    release::{
        artifact::{
            NEVER_RELEASED, RECOVERY_COPIES,
            function::{Code, Images, Profile},
        },
        source::TreeFile,
    },
    services::docker::context::{BuildContext, ContextEntry, EntryKind, IgnoreDialect},
};

/// cdflow runs it after the build.
const HOOK: &str = "on-docker-build";
/// How many bytes of it are read to find its first line. Linux reads 256.
const FIRST_LINE: u64 = 256;

/// What an image is built from.
pub(crate) struct ImageSources {
    pub(crate) context: BuildContext,
    pub(crate) hook: Option<PathBuf>,
    /// The base images that the Dockerfile names.
    pub(crate) bases: Vec<String>,
    /// The inputs of a Dockerfile that cdflow generates. The source digest covers them instead of
    /// the text, which depends on the version of cdflow.
    pub(crate) generated_by: Option<Value>,
    /// Files that decide what is built and are not always in the context.
    settings: Vec<PathBuf>,
    /// The folder of the context.
    folder: PathBuf,
}

/// Reads the build context, and finds the hook next to cdflow.yml.
pub(crate) fn sources(
    settings: &Docker,
    folder: &Path,
    root: &Path,
    builder: IgnoreDialect,
) -> Result<ImageSources> {
    let context = match &settings.context {
        None => folder.to_owned(),
        Some(context) => inside(&folder.join(context), "docker.context", root)?,
    };
    let dockerfile = match &settings.dockerfile {
        None => context.join("Dockerfile"),
        Some(dockerfile) => folder.join(dockerfile),
    };
    if !dockerfile.is_file() {
        return Err(Error::input(format!("`{}` not found", dockerfile.display()))
            .hint("add a Dockerfile, or set its path in cdflow.yml (`docker: {dockerfile: …}`)"));
    }
    let dockerfile = inside(&dockerfile, "docker.dockerfile", root)?;
    let text = small_file::text(&dockerfile)
        .map_err(|error| Error::io("cannot read", &dockerfile, &error))?;
    Ok(ImageSources {
        context: BuildContext::read(
            &context,
            &dockerfile,
            builder,
            &never_sent().iter().map(String::as_str).collect::<Vec<_>>(),
        )?,
        hook: hook(folder)?,
        bases: bases(&text),
        generated_by: None,
        settings: present([
            dockerfile.with_added_extension("dockerignore"),
            context.join(".dockerignore"),
            dockerfile,
        ]),
        folder: context,
    })
}

/// Returns the sources of a function's image.
pub(crate) fn function_sources(
    code: &Code,
    images: &Images,
    folder: &Path,
) -> Result<ImageSources> {
    Ok(ImageSources {
        context: code.context(Profile::Release, images)?,
        hook: hook(folder)?,
        bases: Vec::new(),
        generated_by: Some(
            json!({"build-image": images.build.as_str(), "runtime-image": images.runtime.as_str()}),
        ),
        settings: present([".rocherc", "src/.rocherc"].map(|name| folder.join(name))),
        folder: folder.to_owned(),
    })
}

fn present<const N: usize>(paths: [PathBuf; N]) -> Vec<PathBuf> {
    paths.into_iter().filter(|path| fs::symlink_metadata(path).is_ok()).collect()
}

fn never_sent() -> Vec<String> {
    let names = NEVER_RELEASED.iter().map(|name| format!("**/{name}"));
    names.chain(RECOVERY_COPIES.map(str::to_owned)).collect()
}

/// Resolves `path` and rejects it outside the checkout: a release is made from a commit.
fn inside(path: &Path, key: &str, root: &Path) -> Result<PathBuf> {
    let found = fs::canonicalize(path).map_err(|error| {
        Error::io("cannot find", path, &error)
            .hint(format!("`{key}` is relative to the folder of cdflow.yml"))
    })?;
    match found.starts_with(root) {
        true => Ok(found),
        false => Err(Error::input(format!("cdflow.yml: `{key}` is outside the checkout"))
            .why(format!("it resolves to `{}`", found.display()))
            .hint("move these files into the checkout")),
    }
}

fn hook(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join(HOOK);
    let Ok(found) = fs::metadata(&path) else { return Ok(None) };
    if found.is_file() && found.permissions().mode() & 0o100 != 0 {
        check_first_line(&path)?;
        return Ok(Some(path));
    }
    Err(Error::input(format!("`{}` is not an executable file", path.display()))
        .why("cdflow runs a file of this name after it has built the image")
        .hint("make it executable (`chmod +x`), or rename it"))
}

/// Rejects a script that Linux cannot start, because its own message would be about another file.
fn check_first_line(path: &Path) -> Result<()> {
    let mut start = Vec::new();
    small_file::open(path)
        .and_then(|file| file.take(FIRST_LINE).read_to_end(&mut start))
        .map_err(|error| Error::io("cannot read", path, &error))?;
    let invalid = |why: &str| {
        Error::input(format!("`{}` cannot be started", path.display())).why(why.to_owned())
    };
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if start.starts_with(b"\x7fELF") || (line.starts_with(b"#!") && !line.ends_with(b"\r")) {
        return Ok(());
    }
    Err(match line.ends_with(b"\r") {
        true => invalid("its lines end with CRLF, as on Windows").hint(
            "save it with LF; `*.sh text eol=lf` and the name of this file in .gitattributes keep \
             it that way",
        ),
        false => invalid("its first line does not name a program")
            .hint("begin it with `#!/bin/sh`, without anything before it"),
    })
}

/// Returns the image of every `FROM [--flag] image [AS name]` that is not a stage of the file.
fn bases(dockerfile: &str) -> Vec<String> {
    let mut stages: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for line in dockerfile.lines() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("from")) {
            continue;
        }
        let mut words = words.filter(|word| !word.starts_with("--"));
        let Some(image) = words.next() else { continue };
        if !stages.iter().any(|stage| stage.eq_ignore_ascii_case(image))
            && !found.iter().any(|it| it == image)
        {
            found.push(image.to_owned());
        }
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
            stages.extend(words.next().map(str::to_owned));
        }
    }
    found
}

impl ImageSources {
    /// The files of the build context.
    pub(crate) fn files(&self) -> Vec<TreeFile> {
        let file = |entry: &ContextEntry| match &entry.kind {
            EntryKind::File { path, size, executable, .. } => Some(TreeFile {
                name: entry.name.clone(),
                path: path.clone(),
                executable: *executable,
                size: *size,
            }),
            _ => None,
        };
        self.context.entries.iter().filter_map(file).collect()
    }

    /// Returns the files that decide what is built and are not always in the context: the
    /// Dockerfile, the rules of `.dockerignore`, the hook.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &Path> {
        self.settings.iter().chain(&self.hook).map(PathBuf::as_path)
    }

    /// Returns the paths of the context's links, which are sent as links.
    pub(crate) fn links(&self) -> impl Iterator<Item = PathBuf> {
        let links = self.context.entries.iter();
        let links = links.filter(|entry| matches!(entry.kind, EntryKind::Link { .. }));
        links.map(|entry| self.folder.join(&entry.name))
    }

    /// Returns everything except the content of files that the image depends on, for the source
    /// digest: folders, links, the Dockerfile's name or inputs, the hook.
    pub(crate) fn shape(&self) -> Result<Value> {
        let mut entries = serde_json::Map::new();
        for entry in &self.context.entries {
            let value = match &entry.kind {
                EntryKind::File { .. } => continue,
                EntryKind::Text(_) if self.generated_by.is_some() => continue,
                EntryKind::Folder => json!("folder"),
                EntryKind::Link { target } => json!({"link": target}),
                EntryKind::Text(text) => json!({"text": Sha256::of(text)}),
            };
            entries.insert(entry.name.clone(), value);
        }
        let digest = |path: &PathBuf| {
            Sha256::of_file(path).map_err(|error| Error::io("cannot read", path, &error))
        };
        let hook = self.hook.as_ref().map(digest).transpose()?;
        let dockerfile =
            self.generated_by.clone().unwrap_or_else(|| json!(self.context.dockerfile));
        Ok(json!({"entries": entries, "dockerfile": dockerfile, "hook": hook}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_in_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in [
            "Dockerfile",
            ".git/config",
            "recovery-platform-checkout-live-20260102T030405Z.tfstate",
            "states/recovery/platform/checkout/live/20260102T030405Z.tfstate",
            "recovery-plan.tfstate",
            "tests/recovery/a.tfstate",
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        // No rule takes them back.
        fs::write(root.join(".dockerignore"), "!**/*.tfstate\n").unwrap();
        for dialect in [IgnoreDialect::Classic, IgnoreDialect::BuildKit] {
            let sources = sources(&Docker::default(), &root, &root, dialect).unwrap();
            let mut names: Vec<_> = sources.files().into_iter().map(|file| file.name).collect();
            names.sort();
            let sent = [
                ".dockerignore",
                "Dockerfile",
                "recovery-plan.tfstate",
                "tests/recovery/a.tfstate",
            ];
            assert_eq!(names, sent, "{dialect:?}");
        }
    }

    #[test]
    fn a_hook_that_linux_cannot_start_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(HOOK);
        for (content, why) in [
            (&b"#!/bin/sh\necho\n"[..], None),
            (b"\x7fELF\x02\x01", None),
            (b"#!/usr/bin/env python3", None),
            (b"#!/bin/sh\r\necho\r\n", Some("CRLF")),
            (b"echo one\r\n", Some("CRLF")),
            (b"echo one\n", Some("does not name a program")),
            (b"\xef\xbb\xbf#!/bin/sh\n", Some("does not name a program")),
            (b"", Some("does not name a program")),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let checked = hook(folder.path()).map_err(|error| error.to_string());
            match why {
                None => assert_eq!(checked.unwrap().as_deref(), Some(path.as_path())),
                Some(why) => assert!(checked.as_ref().is_err_and(|it| it.contains(why)), "{why}"),
            }
        }
    }

    #[test]
    fn base_images() {
        let text = "# FROM comment\nARG V=1\nFROM --platform=linux/amd64 rust:1 AS build\n\
                    RUN echo FROM x\nfrom build as test\nFROM debian:${V}\nFROM rust:1\n\
                    FROM scratch\n";
        assert_eq!(bases(text), ["rust:1", "debian:${V}", "scratch"]);
    }
}
