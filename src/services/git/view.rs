//! A private git folder through which the git program sees a checkout, but not its settings.
//!
//! git runs programs that settings name: filters, hooks, file monitors, helpers, SSH commands.
//! Every call of git uses this folder, whose settings are cdflow's own. From the checkout's
//! settings it has only a few values that describe files and cannot name a program.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::place::Place;
use crate::{
    base::{
        error::{Error, Result},
        limits::Limit,
        process::{Captured, Life, Program},
        run_as::RunAs,
        run_folder::PrivateFolder,
    },
    services::ci::host::Host,
};

/// In `.git`, with HEAD, objects and index: data that names no program.
const DATA: [&str; 4] = ["refs", "packed-refs", "reftable", "shallow"];
/// The settings that are taken over, and their permitted values.
const SETTINGS: [(&str, &[&str]); 7] = [
    ("core.autocrlf", &["true", "false", "input"]),
    ("core.eol", &["lf", "crlf", "native"]),
    ("core.filemode", &["true", "false"]),
    ("core.ignorecase", &["true", "false"]),
    ("core.symlinks", &["true", "false"]),
    ("extensions.objectformat", &["sha1", "sha256"]),
    ("extensions.refstorage", &["files", "reftable"]),
];
/// The settings of the checkout that cdflow asks for.
const ASKED: &str = r"^(core\.|extensions\.|remote\.origin\.url$)";
/// The settings of every call.
const OWN: [(&str, &str); 4] = [
    ("core.bare", "false"),
    ("core.commitGraph", "false"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
];

/// A checkout that git reads through a private folder.
pub(super) struct View<'a> {
    pub(super) root: PathBuf,
    /// The URL of the remote `origin`.
    pub(super) origin: Option<String>,
    git: &'a Path,
    host: &'a Host,
    run_as: RunAs,
    folder: PrivateFolder,
    env: BTreeMap<OsString, OsString>,
}

impl<'a> View<'a> {
    pub(super) async fn create(git: &'a Path, host: &'a Host, place: &Place) -> Result<Self> {
        let folder = PrivateFolder::create(&host.environment, &host.log)?;
        let view = folder.folder("git")?;
        let failed = |error: io::Error| Error::io("can't read the checkout", &place.root, &error);
        link(place, &view).map_err(failed)?;
        let run_as = host.run_as.with_owner_of(&place.root);
        folder.give_content(run_as)?;
        let env = environment(host, place, &view);
        let root = place.root.clone();
        let mut it = Self { root, origin: None, git, host, run_as, folder, env };
        let settings = it.settings(&place.common.join("config")).await?;
        let taken = settings.iter().filter(|(name, value)| {
            let permitted = SETTINGS.iter().find(|(setting, _)| setting == name);
            permitted.is_some_and(|(_, values)| values.contains(&value.as_str()))
        });
        let taken = taken.map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
        let (format, values) = taken.iter().partition::<Vec<_>, _>(|(name, _)| is_format(name));
        it.env.extend(as_variables(OWN.iter().chain(values)));
        if !format.is_empty() {
            fs::write(view.join("config"), format_file(&format)).map_err(failed)?;
        }
        it.origin = settings
            .into_iter()
            .rev()
            .find(|(name, _)| name == "remote.origin.url")
            .map(|(_, url)| url);
        Ok(it)
    }

    /// Reads a settings file as data: names are lower case, and includes are ignored.
    async fn settings(&self, file: &Path) -> Result<Vec<(String, String)>> {
        if !file.is_file() {
            return Ok(Vec::new());
        }
        let args = ["config", "--no-includes", "--null", "--file"].map(OsStr::new);
        let args = args.into_iter().chain([file.as_os_str()]);
        let args = args.chain(["--get-regexp", ASKED].map(OsStr::new));
        let answer = self.run(self.folder.path(), args, Vec::new()).await?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let pair = |line: &str| {
            let (name, value) = line.split_once('\n')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(text.split('\0').filter_map(pair).collect())
    }

    /// Returns the trimmed output; None if git fails.
    pub(super) async fn answer(&self, folder: &Path, args: &[&str]) -> Result<Option<String>> {
        let captured = self.run(folder, args, Vec::new()).await?;
        let text = String::from_utf8_lossy(&captured.stdout).trim().to_owned();
        Ok((captured.code == 0).then_some(text))
    }

    /// Returns the reason of a failure from git's output. It names the checkout's `.git`, not the
    /// private folder.
    pub(super) fn reason(&self, captured: &Captured) -> String {
        let line = captured.stderr.lines().map(str::trim).find(|line| !line.is_empty());
        let private = self.folder.path().join("git");
        line.unwrap_or("git gave no reason").replace(&*private.to_string_lossy(), ".git")
    }

    pub(super) async fn run(
        &self,
        folder: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: Vec<u8>,
    ) -> Result<Captured> {
        let life = Life::Expendable(Limit::Git);
        let program = Program::new(self.git, folder, &self.env, self.run_as, life);
        let program = program.args(args).input(input);
        let Host { log, interrupt, .. } = self.host;
        let captured = program.capture(log, interrupt).await?;
        interrupt.check("asking git")?;
        Ok(captured)
    }
}

/// Whether git reads the setting only from the file of the repository.
fn is_format(name: &str) -> bool {
    name.starts_with("extensions.")
}

fn format_file(settings: &[&(&str, &str)]) -> String {
    let lines = settings
        .iter()
        .map(|(name, value)| format!("\t{} = {value}\n", name.trim_start_matches("extensions.")));
    let lines = lines.collect::<String>();
    format!("[core]\n\trepositoryformatversion = 1\n[extensions]\n{lines}")
}

/// Returns the variables by which git gets settings without a file.
fn as_variables<'s>(
    settings: impl Iterator<Item = &'s (&'s str, &'s str)>,
) -> BTreeMap<OsString, OsString> {
    let mut env = BTreeMap::new();
    let mut count = 0;
    for (name, value) in settings {
        env.insert(format!("GIT_CONFIG_KEY_{count}").into(), name.into());
        env.insert(format!("GIT_CONFIG_VALUE_{count}").into(), value.into());
        count += 1;
    }
    env.insert("GIT_CONFIG_COUNT".into(), count.to_string().into());
    env
}

/// Links the data of the checkout into the folder.
fn link(place: &Place, view: &Path) -> io::Result<()> {
    fs::write(view.join("HEAD"), format!("{}\n", place.head))?;
    for name in DATA.iter().filter(|name| place.common.join(name).exists()) {
        symlink(place.common.join(name), view.join(name))?;
    }
    if !view.join("refs").exists() {
        fs::create_dir(view.join("refs"))?;
    }
    fs::create_dir(view.join("info"))?;
    if place.excludes && place.common.join("info/exclude").is_file() {
        symlink(place.common.join("info/exclude"), view.join("info/exclude"))?;
    }
    // A split index has its other part next to it.
    for entry in fs::read_dir(&place.own)?.filter_map(io::Result::ok) {
        if entry.file_name().to_string_lossy().starts_with("sharedindex.") {
            symlink(entry.path(), view.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Nothing of cdflow's environment but PATH: no token, and no variable that git understands.
fn environment(host: &Host, place: &Place, view: &Path) -> BTreeMap<OsString, OsString> {
    let mut env = host.environment.for_programs();
    env.retain(|name, _| name == "PATH");
    let paths = [
        ("HOME", view.to_owned()),
        ("GIT_DIR", view.to_owned()),
        ("GIT_WORK_TREE", place.root.clone()),
        ("GIT_OBJECT_DIRECTORY", place.common.join("objects")),
        ("GIT_INDEX_FILE", place.own.join("index")),
    ];
    let fixed = [
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        // A repository that lacks objects would fetch them, with the programs that its settings
        // name.
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_ALLOW_PROTOCOL", ""),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        // Asking must not write into the checkout.
        ("GIT_OPTIONAL_LOCKS", "0"),
    ];
    env.extend(paths.map(|(name, path)| (name.into(), path.into_os_string())));
    env.extend(fixed.map(|(name, value)| (name.into(), value.into())));
    env
}
